import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";
import { TINY, tinyWeights, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../test/helpers/tiny-tokenizer.ts";
import { readTensorValues } from "../formats/index.ts";
import { average, type ModelToAverage } from "./average.ts";
import { type ConvertOptions, convert } from "./convert.ts";
import { openModel } from "./open.ts";
import { quantizedModel } from "./quantized.ts";

let dir: string;
/** The tiny llama with every value moved by a sine of its place: others for each model. */
const movedBy = (size: number) => {
  const weights = tinyWeights(TINY.llama);
  for (const { data } of weights.values())
    for (let i = 0; i < data.length; i++) data[i] = data[i]! + size * Math.sin(i * (1 + size));
  return weights;
};
const MODELS = { a: movedBy(0), b: movedBy(0.125), c: movedBy(0.5) };

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-average-"));
  for (const [name, weights] of Object.entries(MODELS)) {
    await writeTinyModel(join(dir, name), TINY.llama, weights);
    await writeTinyTokenizer(join(dir, name));
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** @param models names, and what they count: "b=2" */
async function run(models: readonly string[], out: string, options: ConvertOptions = {}) {
  const opened: ModelToAverage[] = [];
  try {
    for (const text of models) {
      const [name, weight] = text.split("=");
      const model = await openModel(join(dir, name!));
      opened.push({ model, ...(weight !== undefined && { weight: Number(weight) }) });
    }
    return await average(opened, join(dir, out), options);
  } finally {
    for (const { model } of opened) await model.close();
  }
}

async function valuesOf(path: string): Promise<Map<string, Float32Array>> {
  const model = await openModel(join(dir, path));
  const all = new Map<string, Float32Array>();
  for (const [name, tensor] of model.tensors) all.set(name, await readTensorValues(tensor));
  await model.close();
  return all;
}

/** Σ share · value, in float64. */
function meanOf(shares: Readonly<Record<keyof typeof MODELS, number>>, name: string): Float32Array {
  const of = (model: keyof typeof MODELS, i: number) => shares[model] * MODELS[model].get(name)!.data[i]!;
  return MODELS.a.get(name)!.data.map((_, i) => of("a", i) + of("b", i) + of("c", i));
}

test("a mean of three folders is that of their values, weighted", async () => {
  const { format, type, distances } = await run(["a", "b=2", "c"], "mean");
  expect({ format, type }).toEqual({ format: "folder", type: "f32" });
  const shares = { a: 0.25, b: 0.5, c: 0.25 };
  const found = await valuesOf("mean");
  expect(found.size).toBe(MODELS.a.size);
  for (const [name, values] of found) expect(values).toEqual(meanOf(shares, name));

  const matrices = [...MODELS.a].filter(([, { shape }]) => shape.length > 1).map(([name]) => name);
  const length = (of: (name: string, i: number) => number) =>
    Math.hypot(...matrices.flatMap((name) => Array.from(meanOf(shares, name), (_, i) => of(name, i))));
  const mean = new Map(matrices.map((name) => [name, meanOf(shares, name)]));
  for (const [m, model] of (["a", "b", "c"] as const).entries()) {
    const away = length((name, i) => MODELS[model].get(name)!.data[i]! - mean.get(name)![i]!);
    expect(distances[m]).toBeCloseTo(away / length((name, i) => mean.get(name)![i]!), 5);
  }
});

test("of GGUF files too, and in another type", async () => {
  for (const name of ["a", "b"]) {
    const model = await openModel(join(dir, name));
    await convert(model, join(dir, `${name}.gguf`));
    await model.close();
  }
  await run(["a", "b"], "pair");
  await run(["a.gguf", "b.gguf"], "pair.gguf");
  const model = await openModel(join(dir, "pair.gguf"));
  await convert(model, join(dir, "back"));
  await model.close();
  expect(await valuesOf("back")).toEqual(await valuesOf("pair"));
  expect(await run(["a", "b"], "half", { type: "bf16" })).toMatchObject({ type: "bf16" });
});

test("a model with itself is itself", async () => {
  const { distances } = await run(["a", "a"], "same");
  expect(distances).toEqual([0, 0]);
  expect(await valuesOf("same")).toEqual(await valuesOf("a"));
});

test("what is no mean is refused by name, and nothing is written", async () => {
  await writeTinyModel(join(dir, "qwen2"), TINY.qwen2);
  await writeTinyTokenizer(join(dir, "qwen2"));
  await writeTinyModel(join(dir, "wide"), { ...TINY.llama, intermediate_size: 48 });
  await writeTinyTokenizer(join(dir, "wide"));
  await writeTinyModel(join(dir, "words"), TINY.llama);
  await writeTinyTokenizer(join(dir, "words"));
  const tokenizer = await readFile(join(dir, "a", "tokenizer.json"), "utf8");
  await writeFile(join(dir, "words", "tokenizer.json"), tokenizer.replaceAll("Ġ", "Ċ"));
  const blocks = quantizedModel(await openModel(join(dir, "a")), "q8_0");
  await convert(blocks, join(dir, "blocks.gguf"));
  await blocks.close();
  const refused = (models: string[], message: RegExp, options?: ConvertOptions) =>
    expect(run(models, "never", options)).rejects.toThrow(message);
  await refused(["a"], /Cannot average 1 models: wanted at least two/);
  await refused(["a", "b=0"], /with the weight 0: wanted a number above 0/);
  await refused(["a", "b=NaN"], /with the weight NaN/);
  await refused(["a", "qwen2"], /its model_type is "qwen2", wanted "llama"/);
  await refused(["a", "wide"], /its intermediate_size is 48, wanted 44/);
  await refused(["a", "words"], /its token \d+ is .*, wanted /);
  await refused(["a", "b.gguf"], /its kind of file is "gguf", wanted "folder"/);
  await refused(["b.gguf", "blocks.gguf"], /blocks.* is q8_0, wanted f32, f16 or bf16; .*--type f16/);
  await expect(run(["a", "b"], "mean")).rejects.toThrow(/it exists; ask to overwrite/);
  await expect(run(["a", "b"], "never", { signal: AbortSignal.abort() })).rejects.toThrow(/abort/);
  expect((await readdir(dir)).filter((name) => name.includes("never"))).toEqual([]);
});

test("pith average", async () => {
  const [a, b, out] = ["a", "b", "spoken"].map((name) => join(dir, name)) as [string, string, string];
  const said = await pith("average", a, `${b}=3`, "--out", out);
  expect(said).toEqual({ code: 0, out: "", err: expect.any(String) });
  expect(said.err).toMatch(
    /wrote .*spoken \(folder, f32\), the mean of 2 models\n.*a is [\d.]+ % of its length away/,
  );
  await run(["a", "b=3"], "called");
  expect(await valuesOf("spoken")).toEqual(await valuesOf("called"));
  const json = await pith("average", a, b, "--out", out, "--overwrite", "--type", "f16", "--json");
  expect(JSON.parse(json.out)).toMatchObject({
    type: "f16",
    distances: [expect.any(Number), expect.any(Number)],
  });
  expect((await pith("average", a, `${b}=much`, "--out", join(dir, "x"))).err).toContain(
    'its weight is "much", wanted a number',
  );
});
