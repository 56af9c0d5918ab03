import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { evaluate } from "../evaluate/index.ts";
import { loadModel } from "../generate/index.ts";
import { heldOut } from "./generation-figures.ts";
import { distillRecursively, generationTable, type RecursiveOptions } from "./index.ts";
import { sharesOf } from "./recursive.ts";

const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-recursive-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

const { stories } = await import(new URL("../../models/stories/corpus.mjs", import.meta.url).href);
const texts: string[] = stories(40, 21);
const data = join(dir, "stories.jsonl");
await writeFile(data, texts.map((text) => `${JSON.stringify({ text })}\n`).join(""));
const task = join(dir, "task.jsonl");
await writeFile(
  task,
  ["Once upon a", "Once upon"]
    .map((prompt) => `${JSON.stringify({ prompt, completion: " time" })}\n`)
    .join(""),
);

const out = join(dir, "out");
const options: RecursiveOptions = {
  shares: "100% > 75% > 50%",
  data,
  task,
  out,
  max_steps: 4,
  batch_tokens: 512,
  lr: 1e-3,
  calibration_tokens: 1024,
  trial_tokens: 512,
  held_tokens: 800,
  threads: 1,
  seed: 3,
};

test("shares fall from 100 %", () => {
  expect(sharesOf("100% > 50% > 25%")).toEqual([1, 0.5, 0.25]);
  expect(sharesOf("0.6>.3")).toEqual([1, 0.6, 0.3]);
  expect(sharesOf([0.5])).toEqual([1, 0.5]);
  expect(() => sharesOf("100% > half")).toThrow('"half" is no share, wanted one as 50% or 0.5');
  expect(() => sharesOf("100% > 50% > 50%")).toThrow("wanted at least two shares, each below the one before");
  expect(() => sharesOf("100%")).toThrow("at least two shares");
  expect(() => sharesOf([1, 0])).toThrow("each below the one before");
});

test("generations are pruned, taught and measured; a run that stopped goes on behind the last finished one", async () => {
  const seen: string[] = [];
  const stopped = (async () => {
    for await (const { generation, stage, step } of distillRecursively(STORIES, options)) {
      if (seen.at(-1) !== `${generation} ${stage}`) seen.push(`${generation} ${stage}`);
      if (generation === 2 && step) throw new Error("enough");
    }
  })();
  await expect(stopped).rejects.toThrow("enough");
  expect(seen).toEqual([
    "0 measuring",
    "0 done",
    "1 pruning",
    "1 distilling",
    "1 measuring",
    "1 done",
    "2 pruning",
    "2 distilling",
  ]);
  await expect(distillRecursively(STORIES, options).result).rejects.toThrow(
    "wanted an empty folder, or resume",
  );
  await expect(distillRecursively(STORIES, { ...options, lr: 2e-3, resume: true }).result).rejects.toThrow(
    /lr was 0.001 .* and is 0.002 now/,
  );
  const again: string[] = [];
  const job = distillRecursively(STORIES, { ...options, resume: true });
  for await (const { generation, stage } of job)
    if (again.at(-1) !== `${generation} ${stage}`) again.push(`${generation} ${stage}`);
  expect(again.filter((one) => one.startsWith("0") || one.startsWith("1"))).toEqual(["0 done", "1 done"]);
  expect(again).not.toContain("2 pruning");
  const { generations, report } = await job.result;
  expect(generations.map(({ generation, share }) => [generation, share])).toEqual([
    [0, 1],
    [1, 0.75],
    [2, 0.5],
  ]);
  for (const { parameters, share, loss, kl_teacher, kl_first, scores, tokens_per_second } of generations) {
    expect(parameters).toBeLessThanOrEqual(share * generations[0]!.parameters);
    expect(loss).toBeGreaterThan(0);
    expect(scores!.exact_match!.value).toBeGreaterThanOrEqual(0);
    expect(tokens_per_second).toBeGreaterThan(0);
    if (share < 1) expect(kl_teacher! > 0 && kl_first! > 0).toBe(true);
  }
  expect(generations[1]!.kl_teacher).toBe(generations[1]!.kl_first);
  expect(generations[2]!.kl_teacher).not.toBe(generations[2]!.kl_first);
  expect(generationTable(generations)).toHaveLength(4);
  expect(await readFile(report, "utf8")).toContain("KL to its teacher");

  // A finished run gives what it gave; one whose files were changed is refused.
  expect((await distillRecursively(STORIES, { ...options, resume: true }).result).generations).toEqual(
    generations,
  );
  const file = join(out, "generation-1", "config.json");
  await writeFile(file, `${await readFile(file, "utf8")} `);
  await expect(distillRecursively(STORIES, { ...options, resume: true }).result).rejects.toThrow(
    /Cannot resume behind generation 1: the digest of .* wanted/,
  );
});

test("loss and divergence on samples are those of the evaluation of a text", async () => {
  const [model, other] = [await loadModel(STORIES, { threads: 1 }), await loadModel(STORIES, { threads: 1 })];
  const text = texts[0]!;
  const ids = Int32Array.from(model.tokenizer.encode(text));
  const sample = { ids, learned: new Uint8Array(ids.length).fill(1), source: { file: "x", line: 1 } };
  const signal = new AbortController().signal;
  const found = await heldOut(model, [other], [sample], signal);
  const wanted = await evaluate(model, { text, base: other, stride: ids.length, ctx: ids.length });
  expect(found.targets).toBe(wanted.tokens);
  expect(found.loss).toBeCloseTo(wanted.nll, 6);
  expect(found.kl).toEqual([wanted.kl_mean]);
  const half = { ...sample, learned: sample.learned.map((_, i) => Number(i > ids.length / 2)) };
  expect((await heldOut(model, [], [half], signal)).targets).toBe(Math.ceil(ids.length / 2) - 1);
  await model.close();
  await other.close();
});
