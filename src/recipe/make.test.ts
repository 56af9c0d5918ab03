import { appendFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { dryRunMake } from "./dry-run.ts";
import { make } from "./make.ts";
import type { MakeOptions } from "./plan.ts";
import { defineRecipe, type Expectations, type Recipe } from "./recipe.ts";
import { step } from "./steps.ts";

const root = await mkdtemp(join(tmpdir(), "pith-make-"));
afterAll(() => rm(root, { recursive: true, force: true }));

/** Every test has a folder of its own, as `pith make` has the recipe's. */
const here = process.cwd();
let count = 0;
beforeEach(async () => {
  const folder = join(root, `test${count++}`);
  await mkdir(folder);
  process.chdir(folder);
  await writeFile("rhyme.txt", "the cat sat on the mat. the dog sat on the log. ".repeat(40));
});
afterEach(() => process.chdir(here));

const SMALL = { threads: 1, max_steps: 6, batch_tokens: 128 };

/** Data, a teacher, a student of it in 4 bits, and what that is worth. */
function pipeline(
  change: { lr?: number; times?: number; to?: "q4_0" | "q8_0"; expect?: Expectations } = {},
): Recipe {
  const { lr = 5e-3, times = 3, to = "q4_0", expect } = change;
  const data = step.run({
    inputs: { rhyme: "rhyme.txt" },
    settings: { times },
    async run({ inputs, settings, out }) {
      const text = await readFile(inputs.rhyme, "utf8");
      const lines = text.split(". ").filter(Boolean);
      await writeFile(join(out, "text.txt"), lines.join(". "));
      const samples = lines.slice(0, 12).map((text) => JSON.stringify({ text: text.repeat(settings.times) }));
      await writeFile(join(out, "samples.jsonl"), samples.join("\n"));
      return { lines: lines.length };
    },
  });
  const teacher = step.train({
    ...SMALL,
    config: { layers: 2, heads: 2, width: 32, ctx: 48 },
    tokenizer: 270,
    data: data.file("text.txt"),
    lr,
  });
  const student = step.distill({
    ...SMALL,
    student: { config: { layers: 1, heads: 2, width: 32, ctx: 48 } },
    teacher,
    data: data.file("samples.jsonl"),
    long: "cut",
    on_policy: 0,
  });
  const small = step.quantize({ model: student, to, expect: { bits_per_weight: { at_most: 9 } } });
  const worth = step.evaluate({
    model: small,
    base: student,
    text: data.file("text.txt"),
    ctx: 32,
    threads: 1,
    ...(expect && { expect }),
  });
  return defineRecipe({
    name: "rhymes",
    steps: { worth, data, teacher, student, small },
    outputs: { "kept/small.gguf": small },
  });
}

/** Makes it, and says which steps were made. */
async function made(recipe: Recipe, options: MakeOptions = {}): Promise<string> {
  const { steps } = await make(recipe, options).result;
  return steps.flatMap((one) => (one.made ? one.step : [])).join(" ");
}
const planned = async (recipe: Recipe, options: MakeOptions = {}) =>
  Object.fromEntries((await dryRunMake(recipe, options)).map((one) => [one.step, one]));
const hex = async (path: string) => (await readFile(path)).toString("hex");
const ALL = "data teacher student small worth";

describe("a pipeline of all", () => {
  test("is made once, and then what changed of it, and what that changes", async () => {
    const before = await planned(pipeline());
    expect(Object.keys(before).join(" ")).toBe(ALL);
    expect(before.data).toMatchObject({ made: "yes", why: ["it was never made"] });
    expect(before.worth).toMatchObject({ made: "yes", why: ["it reads small, student, data"] });
    await expect(stat("made")).rejects.toThrow("ENOENT");

    const job = make(pipeline());
    const events: string[] = [];
    for await (const { step, stage } of job) if (stage !== "working") events.push(`${step} ${stage}`);
    expect(events).toEqual(ALL.split(" ").flatMap((name) => [`${name} begun`, `${name} done`]));
    const { steps, copied, report } = await job.result;
    expect(steps.map(({ path }) => path)).toEqual([
      "made/data",
      "made/teacher",
      "made/student",
      "made/small/small.gguf",
      "made/worth/worth.json",
    ]);
    const figures = Object.fromEntries(steps.map((one) => [one.step, one.figures]));
    expect(figures.data).toEqual({ lines: 80 });
    expect(figures.teacher!.steps).toBe(6);
    expect(figures.small!.bits_per_weight).toBeGreaterThan(4);
    expect(figures.worth!.kl_mean).toBeGreaterThan(0);
    expect(JSON.parse(await readFile("made/worth/worth.json", "utf8")).perplexity).toBe(
      figures.worth!.perplexity,
    );
    expect(JSON.parse(await readFile(report, "utf8"))).toMatchObject({ name: "rhymes", missed: [], steps });
    expect(copied).toEqual(["kept/small.gguf"]);
    expect(await hex("kept/small.gguf")).toBe(await hex("made/small/small.gguf"));

    // Nothing changed, another bound included: figures are judged anew, and nothing is made.
    expect(await made(pipeline())).toBe("");
    await expect(
      made(pipeline({ expect: { perplexity: { at_most: 1.5 }, top1: { at_least: 0 } } })),
    ).rejects.toThrow(/"rhymes" is not as expected: worth: perplexity is \d+\.\d+, wanted at most 1.5$/);
    expect(await made(pipeline({ expect: { perplexity: { at_most: 1e6 } } }))).toBe("");

    // An option: its step, and what reads it.
    const other = await planned(pipeline({ to: "q8_0" }));
    expect(other.student!.made).toBe("no");
    expect(other.small).toMatchObject({ made: "yes", why: ['to was "q4_0" and is "q8_0"'] });
    expect(other.small!.plan[0]).toMatch(/^q8_0-rtn: .* bits a weight; memory/);
    expect(other.worth).toMatchObject({ made: "perhaps", why: ["it reads small"] });
    expect(await made(pipeline({ to: "q8_0" }))).toBe("small worth");
    expect(await made(pipeline({ to: "q4_0" }))).toBe("small worth");

    // A file: what reads it, as far as what comes out is another.
    await appendFile("rhyme.txt", " ");
    expect((await planned(pipeline())).data!.why).toEqual(["inputs.rhyme: rhyme.txt changed"]);
    expect(await made(pipeline())).toBe("data teacher student small worth");
    // Twice as long samples, the same text: the teacher stays.
    expect(await made(pipeline({ times: 2 }))).toBe("data student small worth");
  });

  test("is made again where its files are gone or altered, or where it is told so, alike each time", async () => {
    await make(pipeline()).result;
    const weights = await hex("made/student/model.safetensors");
    await rm("made/student/model.safetensors");
    expect((await planned(pipeline())).student!.why).toEqual(['"made/student/model.safetensors" is gone']);
    // It comes out as it was, so what reads it stays.
    expect(await made(pipeline())).toBe("student");
    expect(await hex("made/student/model.safetensors")).toBe(weights);

    await appendFile("made/small/small.gguf", "x");
    await appendFile("kept/small.gguf", "x");
    expect((await planned(pipeline())).small!.why).toEqual(['"made/small/small.gguf" is not as it was made']);
    expect(await made(pipeline())).toBe("small");
    expect(await hex("kept/small.gguf")).toBe(await hex("made/small/small.gguf"));

    await rm("made/teacher", { recursive: true });
    expect(await made(pipeline(), { steps: ["worth"], only: true })).toBe("");
    expect(await made(pipeline(), { steps: ["teacher"] })).toBe("teacher");
    await rm("made/.make/small.json");
    await expect(made(pipeline(), { steps: ["worth"], only: true })).rejects.toThrow(
      "Cannot make worth: it reads small, which is not made",
    );
    await rm("made/small", { recursive: true });
    expect(await made(pipeline())).toBe("small");
    // What a run notes of itself may go.
    await rm("made/teacher/checkpoints", { recursive: true });
    await rm("made/teacher/report.html");
    expect(await made(pipeline(), { steps: ["data"], force: ["data"] })).toBe("data");
    expect(await made(pipeline())).toBe("");
  });
});

describe("smaller ones", () => {
  /** Writes its setting. */
  const text = (content: string, more: { expect?: Expectations } = {}) =>
    step.run({
      settings: { content },
      async run({ settings, out }) {
        await writeFile(join(out, "a.txt"), settings.content);
        return { length: settings.content.length };
      },
      ...more,
    });
  const recipe = (steps: Recipe["steps"], more: Partial<Recipe> = {}) =>
    defineRecipe({ name: "some", steps, ...more });

  test("what is interrupted goes on, and is told apart from what was changed meanwhile", async () => {
    const train = (lr: number) => {
      const model = step.train({
        ...SMALL,
        config: { layers: 1, heads: 2, width: 32, ctx: 16 },
        data: "rhyme.txt",
        max_steps: 30,
        save_steps: 5,
        lr,
      });
      return recipe({ model });
    };
    const stop = async (at: number) => {
      const job = make(train(1e-3));
      await expect(
        (async () => {
          for await (const { stage, done } of job) if (stage === "working" && done! >= at) break;
          await job.result;
        })(),
      ).rejects.toThrow("stopped after step");
    };
    await stop(7);
    expect((await planned(train(1e-3))).model!.why).toEqual(["it was begun, and goes on"]);
    expect((await planned(train(2e-3))).model!.why).toEqual(["lr was 0.001 and is 0.002"]);
    const job = make(train(1e-3));
    const seen: number[] = [];
    for await (const { stage, done } of job) if (stage === "working") seen.push(done!);
    await job.result;
    expect(seen[0]).toBeGreaterThan(7);
    expect(seen.at(-1)).toBe(30);
    const weights = await hex("made/model/model.safetensors");
    expect(await made(train(1e-3), { force: ["model"] })).toBe("model");
    expect(await hex("made/model/model.safetensors")).toBe(weights);
    await stop(31).catch(() => {});
    expect(await made(train(2e-3))).toBe("model");
    expect(await hex("made/model/model.safetensors")).not.toBe(weights);
  });

  test("what reads a step that missed its figures waits, others are made, and what was made stays", async () => {
    const bad = text("bad", { expect: { length: { at_least: 4 } } });
    const reader = step.run({
      inputs: { bad },
      run: ({ out }) => writeFile(join(out, "r"), "r"),
    });
    const later = step.run({
      inputs: { reader },
      run: ({ out }) => writeFile(join(out, "r"), "r"),
    });
    const good = text("good", { expect: { length: { at_least: 4, at_most: 4 } } });
    const all = recipe({ bad, reader, later, good }, { outputs: { kept: good } });
    const job = make(all);
    const events: string[] = [];
    await expect(
      (async () => {
        for await (const { step, stage } of job) events.push(`${step} ${stage}`);
      })(),
    ).rejects.toThrow('"some" is not as expected: bad: length is 3, wanted at least 4');
    expect(events).toEqual(["bad begun", "bad done", "reader held", "later held", "good begun", "good done"]);
    expect(await readFile("made/bad/a.txt", "utf8")).toBe("bad");
    await expect(stat("kept")).rejects.toThrow("ENOENT");
    expect(JSON.parse(await readFile("made/make.json", "utf8"))).toMatchObject({
      missed: ["bad: length is 3, wanted at least 4"],
      held: ["reader", "later"],
    });
    const wrong = text("bad", { expect: { lenght: { at_least: 4 } } });
    await expect(make(recipe({ bad: wrong })).result).rejects.toThrow(
      'Cannot judge bad by "lenght": it has length',
    );
  });

  test("a function sees inputs, their figures and settings, and runs again when its text or a source changes", async () => {
    await writeFile("source.mjs", "1");
    const a = text("abc");
    const card = (extra: string) =>
      step.run({
        inputs: { a, both: [a, "rhyme.txt"] },
        settings: { extra },
        sources: ["source.mjs"],
        async run({ inputs, figures, settings, out }) {
          const all = { inputs, figures, settings };
          await writeFile(join(out, "card.json"), JSON.stringify(all));
        },
      });
    expect(await made(recipe({ a, card: card("x") }))).toBe("a card");
    expect(JSON.parse(await readFile("made/card/card.json", "utf8"))).toEqual({
      inputs: { a: "made/a", both: ["made/a", "rhyme.txt"] },
      figures: { a: { length: 3 } },
      settings: { extra: "x" },
    });
    expect(await made(recipe({ a, card: card("x") }))).toBe("");
    expect(await made(recipe({ a, card: card("y") }))).toBe("card");
    const { sources: _, ...rest } = card("y").options as { sources: string[] };
    const located = step.run({ ...rest, sources: [pathToFileURL("source.mjs").href] } as never);
    expect(await made(recipe({ a, card: located }))).toBe("");
    await writeFile("source.mjs", "2");
    expect((await planned(recipe({ a, card: card("y") }))).card!.why).toEqual([
      "sources: source.mjs changed",
    ]);
    expect(await made(recipe({ a, card: card("y") }))).toBe("card");
    // The order of options means nothing.
    const turned = step.run({ ...Object.fromEntries(Object.entries(card("y").options).reverse()) } as never);
    expect(await made(recipe({ a, card: turned }))).toBe("");
    const other = step.run({ run: ({ out }) => writeFile(join(out, "x"), "x") });
    expect(await made(recipe({ other }))).toBe("other");
    const changed = step.run({ run: ({ out }) => writeFile(join(out, "x"), "y") });
    expect((await planned(recipe({ other: changed }))).other!.why).toEqual(["run changed"]);
  });

  test("a failing step is named, and is begun anew", async () => {
    let fails = true;
    const a = step.run({
      async run({ out }) {
        if (fails) {
          await writeFile(join(out, "half"), "x");
          throw new RangeError("the moon is full");
        }
        await writeFile(join(out, "whole"), "x");
      },
    });
    await expect(make(recipe({ a })).result).rejects.toThrow("Cannot make a: the moon is full");
    fails = false;
    expect(await made(recipe({ a }))).toBe("a");
    await expect(stat("made/a/half")).rejects.toThrow("ENOENT");
    const nothing = step.run({ run: () => {} });
    await expect(make(recipe({ nothing })).result).rejects.toThrow('it left "made/nothing" empty');
    const words = step.run({ run: () => ({ a: "b" }) as never });
    await expect(make(recipe({ words })).result).rejects.toThrow('Cannot take "b" as the figure "a"');
  });

  test("two at once are refused, and what is not the recipe's own is left alone", async () => {
    let [go, began] = [() => {}, () => {}];
    const wait = new Promise<void>((resolve) => (go = resolve));
    const begun = new Promise<void>((resolve) => (began = resolve));
    const slow = step.run({
      async run({ out }) {
        began();
        await wait;
        await writeFile(join(out, "x"), "x");
      },
    });
    const first = make(recipe({ slow }));
    await begun;
    await expect(make(recipe({ slow })).result).rejects.toThrow(
      `Cannot make "some": it is being made already: process ${process.pid}`,
    );
    go();
    await first.result;
    await mkdir("made/mine");
    await writeFile("made/mine/thesis.txt", "years of work");
    await expect(make(recipe({ mine: text("x") })).result).rejects.toThrow(
      'Cannot make mine: "made/mine" is there, and was not made by this recipe',
    );
    expect(await readFile("made/mine/thesis.txt", "utf8")).toBe("years of work");
    const other = defineRecipe({ name: "other", steps: { slow: text("x") } });
    await expect(make(other).result).rejects.toThrow(
      'Cannot make slow: "made/slow" was made by the recipe "some", and this is "other"; wanted another out',
    );
    expect(await readFile("made/slow/x", "utf8")).toBe("x");
    await writeFile("made/.make/slow.json", "{}");
    await expect(make(recipe({ slow })).result).rejects.toThrow("it is not what was written there");
  });

  test("recipes that cannot be made are refused before anything is", async () => {
    const a = text("a");
    const b = step.run({ inputs: { a }, run: () => {} });
    const no =
      (steps: object, more: object = {}) =>
      () =>
        recipe(steps as Recipe["steps"], more);
    expect(no({ b })).toThrow("its step b reads a step (run) that is not among its steps");
    expect(no({ a }, { outputs: { x: b } })).toThrow(
      "an output reads a step (run) that is not among its steps",
    );
    (a.options as Record<string, unknown>).inputs = { b };
    expect(no({ a, b })).toThrow("its steps wait for each other: a reads b reads a");
    expect(no({})).toThrow("it has no steps");
    const output = text("");
    expect(no({ output }, { outputs: { "made/output/y": output } })).toThrow(
      'its output "made/output/y" lies where steps are made, in "made"',
    );
    expect(no({ a: {} })).toThrow("its step a is no step");
    expect(no({ "../a": text("") })).toThrow('a step is named "../a"');
    expect(no({ a: text(""), A: text("") })).toThrow("steps are named a and A");
    const one = text("");
    expect(no({ a: one, b: one })).toThrow("one step has two names");
    const made = (steps: Recipe["steps"], options: MakeOptions = {}) => make(recipe(steps), options).result;
    await expect(made({ one }, { steps: ["two"] })).rejects.toThrow(
      'Cannot make the step "two" of "some": wanted one of one',
    );
    await expect(made({ one }, { only: true })).rejects.toThrow("Cannot make only some steps");
    await expect(made({ one: step.train({ data: "gone.txt", config: "no.json" }) })).rejects.toThrow(
      'Cannot make one: its input data is not there; Cannot read "gone.txt": no such file or directory',
    );
    await expect(made({ one: text("", { expect: { length: { below: 3 } as object } }) })).rejects.toThrow(
      'Cannot judge one by length: found "below", wanted at_least or at_most',
    );
    await expect(made({ one: step.run({ settings: { a: () => 1 }, run: () => {} }) })).rejects.toThrow(
      "Cannot make one: its option settings.a is a function, wanted plain data or a step",
    );
    await expect(
      made({ one, two: step.run({ inputs: { x: one.file("../../x") }, run: () => {} }) }),
    ).rejects.toThrow('is the file "../../x" of a step, wanted a path within its folder');
    await mkdir("all");
    await writeFile("all/text.txt", "x");
    const inside = step.run({ inputs: { all: "all" }, run: () => {} });
    await expect(make(recipe({ inside }, { out: "all/made" })).result).rejects.toThrow(
      'Cannot make inside: its input inputs.all, "all", holds the folder that is made, "all/made"',
    );
    await expect(make({} as Recipe).result).rejects.toThrow(
      "it has no steps, wanted what defineRecipe gives",
    );
  });
});
