// Every verb as a step, run for real on tiny models: that options arrive, figures come back, and what is made can be read by
// the steps behind it.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openModel } from "../models/index.ts";
import { dryRunMake } from "./dry-run.ts";
import { type MadeStep, make } from "./make.ts";
import { defineRecipe } from "./recipe.ts";
import { step } from "./steps.ts";

const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
const here = process.cwd();
const root = await mkdtemp(join(tmpdir(), "pith-recipe-verbs-"));
beforeAll(() => process.chdir(root));
afterAll(async () => {
  process.chdir(here);
  await rm(root, { recursive: true, force: true });
});

test("every verb is a step", async () => {
  const { stories } = await import(new URL("../../models/stories/corpus.mjs", import.meta.url).href);
  const lines = (values: object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join("");
  await writeFile("stories.jsonl", lines(stories(12, 5).map((text: string) => ({ text }))));
  await writeFile("stories.txt", stories(8, 6).join("\n"));
  await writeFile("seeds.jsonl", lines([{ prompt: "Once upon a time" }, { prompt: "One day" }]));
  await writeFile("task.jsonl", lines([{ prompt: "Once upon a", completion: " time" }]));
  const short = { threads: 1, max_steps: 2, batch_tokens: 256 };

  const written = step.synthesize({
    teacher: STORIES,
    seeds: "seeds.jsonl",
    prompts: "seeds",
    count: 2,
    maxTokens: 64,
    stop: ["."],
    temperature: 0,
    sequences: 1,
  });
  const adapter = step.tune({ ...short, model: STORIES, data: ["stories.jsonl", written], rank: 2 });
  const fused = step.fuse({ model: STORIES, adapters: [adapter], scales: [0.5], as: "folder" });
  const averaged = step.average({ models: [STORIES, fused], weights: [3, 1], as: "folder" });
  const pruned = step.prune({
    model: fused,
    calibration: "stories.jsonl",
    layers: 3,
    tokens: 512,
    trial_tokens: 256,
  });
  const ternary = step.distill({ ...short, student: pruned, method: "ternary", data: "stories.jsonl" });
  const cached = step.distill({
    ...short,
    student: { config: { layers: 1, heads: 2, width: 32, ctx: 512 } },
    teacher: STORIES,
    data: "stories.jsonl",
    cache: "said.logits",
    top_k: 4,
    on_policy: 0,
  });
  const generations = step.distillRecursively({
    ...short,
    model: pruned,
    shares: [1, 0.7],
    data: "stories.jsonl",
    calibration_tokens: 256,
    trial_tokens: 128,
    held_tokens: 256,
    expect: { "generation-1.parameters": { at_least: 1 } },
  });
  const plain = step.convert({ model: generations.file("generation-1"), type: "f16" });
  const variants = step.quantize({
    model: plain,
    to: ["q8_0", "q4_0"],
    eval: "stories.txt",
    eval_limit: 1,
    threads: 1,
  });
  const packed = step.quantize({ model: fused, to: "q4_0", as: "folder", threads: 1 });
  const text = step.evaluate({
    model: variants.file("q8_0-rtn.gguf"),
    text: "stories.txt",
    limit: 1,
    threads: 1,
  });
  const task = step.evaluate({
    model: STORIES,
    adapters: [adapter],
    task: "task.jsonl",
    stop: [","],
    threads: 1,
    expect: { exact_match: { at_least: 1 } },
  });
  const beside = step.compare({
    models: { stories: STORIES, packed },
    text: "stories.txt",
    text_bytes: 2000,
    task: "task.jsonl",
    answers: 2,
    answer_seconds: 0.1,
    rounds: 1,
    threads: 1,
    expect: { "packed.decode": { at_least: 1 }, "packed.kl_mean": { at_most: 5 } },
  });
  const steps = {
    written,
    adapter,
    fused,
    averaged,
    pruned,
    ternary,
    cached,
    generations,
    plain,
    variants,
    packed,
    text,
    task,
    beside,
  };
  const recipe = defineRecipe({ name: "verbs", steps, outputs: { mine: packed } });

  const result = await make(recipe).result;
  const made = Object.fromEntries(result.steps.map((one) => [one.step, one])) as Record<
    keyof typeof steps,
    MadeStep
  >;
  expect(made.written.figures).toMatchObject({ accepted: 2 });
  expect((await readFile("made/written/written.jsonl", "utf8")).split("\n").length).toBe(3);
  expect(made.adapter.figures.trained!).toBeLessThan(made.adapter.figures.parameters! / 10);
  expect(made.fused.figures.changed).toBeGreaterThan(20);
  expect(made.averaged.figures.farthest).toBeGreaterThan(0);
  const size = async (path: string) => {
    const model = await openModel(path);
    await model.close();
    return model.config.num_hidden_layers;
  };
  expect(await size("made/fused")).toBe(4);
  expect(await size("made/averaged")).toBe(4);
  expect(await size("made/pruned")).toBe(3);
  expect(made.pruned.figures.share!).toBeLessThan(0.9);
  expect(await size("made/ternary")).toBe(3);
  expect(made.cached.figures.steps).toBe(2);
  expect(made.generations.figures["generation-1.kl_teacher"]!).toBeGreaterThan(0);
  expect(made.plain.path).toBe("made/plain/plain.gguf");
  expect(Object.keys(made.variants.figures)).toContain("q4_0-rtn.kl_mean");
  expect(made.variants.figures["q8_0-rtn.bits_per_weight"]!).toBeGreaterThan(8);
  expect(await size("mine")).toBe(4);
  expect(made.text.figures.perplexity!).toBeGreaterThan(1);
  expect(made.task.figures).toMatchObject({ exact_match: 1, lines: 1 });
  const { figures } = made.beside;
  expect(figures["stories.perplexity"]!).toBeGreaterThan(1);
  expect(figures["packed.bits_per_weight"]!).toBeLessThan(figures["stories.bits_per_weight"]!);
  expect(Object.keys(figures)).toEqual(expect.arrayContaining(["stories.p50", "packed.task.exact_match"]));
  expect(await readFile("made/beside/report.html", "utf8")).toContain("<html");
  // No path of this machine is in what others get.
  expect(await readFile("made/adapter/adapter_config.json", "utf8")).not.toContain(root);

  // All is there as it would be made; a hidden file of a model, and a note of a run, change nothing.
  expect((await dryRunMake(recipe)).flatMap(({ made, step }) => (made === "no" ? [] : step))).toEqual([]);
  await writeFile("made/fused/.notes", "x");
  expect((await make(recipe).result).steps.some((one) => one.made)).toBe(false);
  // The plans of verbs that have one.
  const plan = async (step: string) => {
    const all = await dryRunMake(recipe, { steps: [step], only: true, force: [step] });
    return all[0]!.plan.join("\n");
  };
  expect(await plan("adapter")).toMatch(
    /^2 steps over [\d]+ tokens, \d+ parameters trained; memory [\d.]+ MiB; about \d+ s/,
  );
  expect(await plan("cached")).toMatch(/^2 steps/);
  expect(await plan("variants")).toMatch(
    /^q8_0-rtn: [\d.]+ MiB, 8\.\d\d bits a weight; memory .*\nq4_0-rtn: /,
  );
});

test("options that a verb has not, or that steps have not, do not compile", () => {
  // @ts-expect-error: no such option
  step.train({ data: "a.txt", config: "c.json", learning_rate: 1 });
  // @ts-expect-error: a recipe says where things are made
  step.train({ data: "a.txt", config: "c.json", out: "here" });
  // @ts-expect-error: a number is no path
  step.tune({ model: 1, data: "a.txt" });
  // @ts-expect-error: no type of that name
  step.quantize({ model: "a", to: "q4" });
  // @ts-expect-error: a step is no number
  step.quantize({ model: "a", to: "q4_0", bits: step.convert({ model: "a" }) });
  step.run({
    inputs: { one: "a", more: ["b"] },
    settings: { n: 1 },
    run({ inputs, settings }) {
      const [one, more, n]: [string, string[], number] = [inputs.one, inputs.more, settings.n];
      // @ts-expect-error: no input of that name
      return { n: n + one.length + more.length + inputs.other.length };
    },
  });
});
