// Vectors of a tiny random BERT against transformers' (test/golden/make-bert.py), on every backend; batches, prompts,
// cutting, formats.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TINY_BERT, writeTinyBert } from "../../test/helpers/tiny-bert.ts";
import { createBackend } from "../engine/backends/index.ts";
import { NativeBackend } from "../engine/backends/native.ts";
import { gradients } from "../engine/gradients.ts";
import { mul, reshape, sum_last, sum_rows } from "../engine/nn.ts";
import { record } from "../engine/program.ts";
import { convert, declareBatch, forward, loadWeights, openModel, plainModule } from "../models/index.ts";
import { type Embeddings, type EmbedOptions, embed, type LoadEncoderOptions, loadEncoder } from "./index.ts";

const TEXTS = [
  "The land and the sea.",
  "a king walks, talking!",
  "to be or not to be",
  "king ".repeat(40),
  "",
  "Unknowable",
];
type Golden = { text: string; ids: number[] } & Record<string, number[]>;
const MODES = {
  cls: "cls_token",
  max: "max_tokens",
  mean: "mean_tokens",
  mean_sqrt_len: "mean_sqrt_len_tokens",
  weightedmean: "weightedmean_tokens",
  lasttoken: "lasttoken",
};

let dir: string;
let golden: Golden[];
beforeAll(async () => {
  dir = process.env.UPDATE_GOLDEN ?? (await mkdtemp(join(tmpdir(), "pith-embed-")));
  await writeTinyBert(dir);
  if (process.env.UPDATE_GOLDEN) await writeFile(join(dir, "texts.json"), JSON.stringify(TEXTS));
  const file = fileURLToPath(new URL("../../test/golden/bert.json", import.meta.url));
  golden = JSON.parse(await readFile(file, "utf8").catch(() => "[]"));
});
afterAll(async () => {
  if (!process.env.UPDATE_GOLDEN) await rm(dir, { recursive: true, force: true });
});

async function vectorsOf(
  folder: string,
  texts: readonly string[],
  options: EmbedOptions = {},
  load: LoadEncoderOptions = {},
): Promise<Embeddings> {
  await using model = await loadEncoder(folder, { threads: 2, ...load });
  return await embed(model, texts, options);
}

const largestError = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(...Array.from(b, (x, i) => Math.abs(x - a[i]!)));

test("the folder is there", async () => expect((await openModel(dir)).close()).resolves.toBeUndefined());

const backends = ["reference", "wasm", ...(NativeBackend.available() ? (["native"] as const) : [])] as const;
describe.each(backends)("on %s", (backend) => {
  test("transformers' vectors, the long text cut", async () => {
    const result = await vectorsOf(dir, TEXTS, { normalize: false }, { backend });
    expect(golden.length).toBe(TEXTS.length);
    for (const [i, { mean }] of golden.entries())
      expect(largestError(result.vectors[i]!, mean!)).toBeLessThan(1e-5);
    expect(result).toMatchObject({ dimension: TINY_BERT.hidden_size, truncated: [3] });
    expect(result.tokens).toEqual(golden.map(({ ids }, i) => (i === 3 ? 42 : ids.length)));
  });

  test("the same bits alone, in any batch and in any order", async () => {
    const many = Array.from({ length: 70 }, (_, i) => `${TEXTS[i % 3]} ${"the sea ".repeat(i % 11)}`);
    await using model = await loadEncoder(dir, { backend, threads: 2 });
    const together = (await embed(model, many)).vectors;
    const backwards = (await embed(model, many.toReversed())).vectors.toReversed();
    expect(backwards).toEqual(together);
    for (const i of [0, 7, 69]) expect((await embed(model, [many[i]!])).vectors[0]).toEqual(together[i]);
    const at = await Promise.all([embed(model, many.slice(3, 9)), embed(model, many.slice(0, 3))]);
    expect([...at[1].vectors, ...at[0].vectors]).toEqual(together.slice(0, 9));
  });
});

test("every pooling, and one beside another", async () => {
  for (const [name, mode] of Object.entries(MODES)) {
    const folder = join(dir, name);
    await writeTinyBert(folder, { mode, normalize: false });
    const { vectors } = await vectorsOf(folder, TEXTS);
    for (const [i, g] of golden.entries())
      expect(largestError(vectors[i]!, g[name]!), name).toBeLessThan(1e-5);
  }
  const both = { pooling_mode_mean_tokens: true, pooling_mode_cls_token: true };
  await writeFile(join(dir, "max", "1_Pooling", "config.json"), JSON.stringify(both));
  const { vectors, dimension } = await vectorsOf(join(dir, "max"), TEXTS);
  expect(dimension).toBe(96);
  for (const [i, { cls, mean }] of golden.entries())
    expect(largestError(vectors[i]!, [...cls!, ...mean!])).toBeLessThan(1e-5);
});

test("vectors have length 1 where the files say so, and prompts go before texts", async () => {
  const { vectors } = await vectorsOf(dir, TEXTS);
  for (const v of vectors) expect(Math.hypot(...v)).toBeCloseTo(1, 6);
  const asked = await vectorsOf(dir, ["the sea"], { prompt: "query" });
  expect(asked.vectors).toEqual((await vectorsOf(dir, ["the king: the sea"])).vectors);
  await expect(vectorsOf(dir, ["x"], { prompt: "qury" })).rejects.toThrow(
    /prompt "qury": .* has "query", "document"$/,
  );
  const without = join(dir, "without");
  await writeTinyBert(without, { include_prompt: false, normalize: false });
  const model = await loadEncoder(without, { threads: 1 });
  // [CLS] the king [UNK] the sea [SEP]: the mean of the last three.
  const ids = model.tokenizer.encode("the king: the sea");
  const hidden = (await model.run([ids], ["all"]))[0]!;
  const { vectors: own } = await embed(model, ["the sea"], { prompt: "query" });
  await model.close();
  const width = TINY_BERT.hidden_size;
  const rows = [4, 5, 6].map((t) => hidden.subarray(t * width, (t + 1) * width));
  const mean = Array.from({ length: width }, (_, i) => rows.reduce((sum, row) => sum + row[i]!, 0) / 3);
  expect(ids.length).toBe(7);
  expect(largestError(own[0]!, mean)).toBeLessThan(1e-6);
});

test("from GGUF and from a folder written from that: the same vectors", async () => {
  const write = async (from: string, to: string, type?: "f16") => {
    const model = await openModel(from);
    const result = await convert(model, to, { overwrite: true, ...(type && { type }) });
    await model.close();
    return result;
  };
  const gguf = join(dir, "m.gguf");
  expect((await write(dir, gguf)).left_out).toEqual([]);
  const wanted = await vectorsOf(dir, TEXTS.slice(0, 3));
  expect(await vectorsOf(gguf, TEXTS.slice(0, 3))).toEqual(wanted);
  const back = join(dir, "back");
  await write(gguf, back);
  await write(dir, back);
  await write(gguf, back);
  expect(await vectorsOf(back, TEXTS.slice(0, 3))).toEqual(wanted);
  await write(dir, gguf, "f16");
  const rough = await vectorsOf(gguf, TEXTS.slice(0, 3));
  expect(rough).not.toEqual(wanted);
  rough.vectors.forEach((v, i) => {
    const cosine = v.reduce((sum, x, k) => sum + x * wanted.vectors[i]![k]!, 0);
    expect(cosine).toBeGreaterThan(0.99);
  });
});

test("tensors of other classes and of the first checkpoints have other names", async () => {
  const model = await openModel(dir);
  const { parameterName } = model.definition;
  await model.close();
  expect(parameterName!("bert.encoder.layer.1.output.LayerNorm.gamma")).toBe(
    "encoder.layer.1.output.LayerNorm.weight",
  );
  expect(parameterName!("bert.embeddings.LayerNorm.beta")).toBe("embeddings.LayerNorm.bias");
});

test("aborts, and refuses what it cannot do", async () => {
  const model = await loadEncoder(dir, { threads: 1 });
  await expect(embed(model, ["a"], { signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow("no");
  const later = new AbortController();
  const many = Array.from({ length: 200 }, () => "the sea");
  let steps = 0;
  const ends = embed(model, many, { signal: later.signal, onProgress: () => ++steps && later.abort() });
  await expect(ends).rejects.toThrow(/abort/i);
  expect(steps).toBe(1);
  await expect(embed(model, [3 as unknown as string])).rejects.toThrow(
    "Cannot embed text 0: found number, wanted a string",
  );
  await expect(embed(model, ["a"], { maxLength: 33 })).rejects.toThrow(
    "Cannot embed with maxLength 33: wanted a whole number from 3 to 32",
  );
  expect((await embed(model, ["the sea the sea"], { maxLength: 4 })).truncated).toEqual([0]);
  expect(await embed(model, [])).toMatchObject({ vectors: [], truncated: [] });
  await model.close();
  await model.close();
  await expect(embed(model, ["a"])).rejects.toThrow(/is closed/);

  const broken = join(dir, "broken");
  await writeTinyBert(broken);
  const refuses = async (name: string, content: unknown, message: RegExp) => {
    const before = await readFile(join(broken, name));
    await writeFile(join(broken, name), typeof content === "string" ? content : JSON.stringify(content));
    await expect(loadEncoder(broken)).rejects.toThrow(message);
    await writeFile(join(broken, name), before);
  };
  await refuses("modules.json", "{", /modules.json": .*JSON/);
  await refuses(
    "modules.json",
    { a: 1 },
    /modules.json": found an object, wanted a list of at most 16 modules$/,
  );
  const dense = [{ type: "x.Transformer" }, { type: "sentence_transformers.models.Dense", path: "2_Dense" }];
  await refuses("modules.json", dense, /\[1\]\.type is .*Dense", wanted Pooling or Normalize/);
  await refuses(
    "1_Pooling/config.json",
    { pooling_mode_cls_token: 1 },
    /pooling_mode_cls_token is 1, wanted/,
  );
  await refuses("sentence_bert_config.json", { max_seq_length: 0 }, /max_seq_length is 0, wanted a whole/);
  await refuses(
    "config_sentence_transformers.json",
    { prompts: { a: 1 } },
    /prompts.a is 1, wanted a string/,
  );
  await refuses(
    "config_sentence_transformers.json",
    { default_prompt_name: "q" },
    /default_prompt_name is "q"/,
  );
  await refuses("config.json", { ...TINY_BERT, is_decoder: true }, /is_decoder is true, wanted false/);
  await refuses("config.json", { ...TINY_BERT, hidden_act: "relu" }, /hidden_act is "relu", wanted "gelu"/);
});

test.skipIf(!NativeBackend.available())("gradients equal the float64 reference's", async () => {
  const model = await openModel(dir);
  const { definition, config } = model;
  const program = record(
    (g) => {
      const m = plainModule(g, definition, config);
      const hidden = forward(definition, m, declareBatch(g, config, 32, false)); // [R, C]
      const weighed = mul(hidden, g.input("weigh", "f32", ["R", config.hidden_size]));
      const loss = reshape(sum_rows(sum_last(weighed)), [1]);
      const params = [...definition.params(config).keys()].map((name) => m.param(name));
      return {
        loss,
        ...Object.fromEntries(gradients(loss, params).map((d, i) => [`d ${params[i]!.name}`, d])),
      };
    },
    { composed: true },
  );
  const found: Map<string, Float32Array>[] = [];
  for (const backend of ["reference", "native"] as const) {
    const made = await createBackend({ backend, threads: 2 });
    const weights = await loadWeights(model, made);
    const executable = made.compile(program, { T: 12, S: 2, R: 12 });
    for (const [name, shape] of definition.params(config)) {
      const dense = made.dense("f32", shape, await valuesOf(model, name));
      executable.bind(name, dense);
    }
    const ids = Int32Array.of(2, 5, 6, 7, 5, 8, 3, 2, 9, 10, 11, 3);
    const run = executable.run(
      { T: 12, S: 2, R: 12 },
      {
        tokens: ids,
        positions: Int32Array.of(0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4),
        segments: Int32Array.of(0, 7, 0, -1, 7, 5, 0, -1),
        rows: Int32Array.from(ids, (_, i) => i),
        token_types: Int32Array.from(ids, (_, i) => i % 2),
        weigh: Float32Array.from({ length: 12 * config.hidden_size }, (_, i) => Math.sin(i * 0.7)),
      },
    );
    await run;
    const all = new Map<string, Float32Array>();
    for (const [name, shape] of definition.params(config)) {
      const into = new Float32Array(shape.reduce((a, b) => a * b, 1));
      executable.read(`d ${name}`, into);
      all.set(name, into);
    }
    found.push(all);
    executable.free();
    for (const w of weights.values()) w.free();
    made.close();
  }
  await model.close();
  for (const [name, wanted] of found[0]!) {
    // A bias of all keys changes nothing: its gradient is 0.
    const scale = Math.max(...wanted.map(Math.abs), 0.1);
    expect(largestError(found[1]!.get(name)!, wanted) / scale, name).toBeLessThan(1e-4);
  }
});

async function valuesOf(model: Awaited<ReturnType<typeof openModel>>, name: string): Promise<Float32Array> {
  const { readTensorValues } = await import("../formats/index.ts");
  return readTensorValues(model.tensors.get(name)!);
}
