import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { TINY } from "../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../test/helpers/tiny-tokenizer.ts";
import { TINY_TYPES, writeTinyType } from "../../test/helpers/tiny-types.ts";
import { createBackend } from "../engine/backends/index.ts";
import { record } from "../engine/program.ts";
import {
  convert,
  declareBatch,
  forward,
  loadWeights,
  modelTables,
  openModel,
  parameterValues,
  plainModule,
  quantizedModel,
  saveFolder,
} from "../models/index.ts";
import { trainedRows } from "../train/methods/full.ts";
import { inputs } from "../train/step.ts";
import { type PruneOptions, prune } from "./index.ts";

const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-prune-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

// The text that the small model in this repository was trained on, of another seed.
const { stories } = await import(new URL("../../models/stories/corpus.mjs", import.meta.url).href);
const calibration = join(dir, "stories.jsonl");
const lines: string[] = stories(60, 11).map((text: string) => `${JSON.stringify({ text })}\n`);
await writeFile(calibration, lines.join(""));
const words = join(dir, "words.txt");
await writeFile(words, "the and a then, on in the end. no and the tea, in a tan tin! ".repeat(12));

let made = 0;
const run = (model: string, options: Omit<PruneOptions, "out" | "calibration"> & Partial<PruneOptions>) =>
  prune(model, {
    calibration,
    tokens: 1024,
    trial_tokens: 256,
    threads: 1,
    out: join(dir, `out-${made++}`),
    ...options,
  }).result;

/** Logits [T, V] of a sequence. */
async function logitsOf(folder: string, ids: readonly number[]): Promise<Float32Array> {
  const model = await openModel(folder);
  const { definition, config } = model;
  const backend = await createBackend({ threads: 1 });
  const T = ids.length;
  const batch = { tokens: Int32Array.from(ids), targets: new Int32Array(T), starts: [0] };
  const program = record((g) => ({
    logits: forward(definition, plainModule(g, definition, config), declareBatch(g, config, T, false)),
  }));
  const storages = await loadWeights(model, backend);
  for (const [name, { shape, data }] of modelTables(config, T))
    storages.set(name, backend.dense("f32", shape, data));
  const executable = backend.compile(program, { T, S: 1, R: T });
  for (const { name } of program.params) executable.bind(name!, storages.get(name!)!);
  await executable.run({ T, S: 1, R: T }, inputs(batch, Int32Array.from(ids.keys())));
  const logits = new Float32Array(T * config.vocab_size);
  executable.read("logits", logits);
  executable.free();
  for (const storage of storages.values()) storage.free();
  backend.close();
  await model.close();
  return logits;
}

const same = (a: Float32Array, b: Float32Array) =>
  Buffer.from(a.buffer).equals(Buffer.from(b.buffer)) && a.length === b.length;
const told = async (folder: string) => JSON.parse(await readFile(join(folder, "prune.json"), "utf8"));
const stay = (size: number, dead: readonly number[]) =>
  Array.from({ length: size }, (_, i) => i).filter((i) => !dead.includes(i));

const IDS = Array.from({ length: 40 }, (_, i) => (i * 7 + ((i * i) >> 1)) % 46);
const DEAD = { hidden: stay(48, []).filter((c) => c % 3 === 1), ffn: stay(80, []).filter((f) => f % 5 < 3) };

/** Zero columns of dead neurons, of the second group's heads, and of channels that nothing writes. */
function dying(
  config: { head_dim?: number; num_attention_heads: number; hidden_size: number },
  hidden: boolean,
) {
  const D = config.head_dim ?? config.hidden_size / config.num_attention_heads;
  return (name: string, [rows, cols = 1]: readonly number[], data: Float32Array) => {
    const zero = (row: (r: number) => boolean, col: (c: number) => boolean) => {
      for (let r = 0; r < rows!; r++)
        for (let c = 0; c < cols; c++) if (row(r) || col(c)) data[r * cols + c] = 0;
    };
    const gone = (c: number) => hidden && DEAD.hidden.includes(c);
    if (name.includes("down_proj")) zero(gone, (c) => cols > 1 && DEAD.ffn.includes(c));
    if (name.includes("o_proj")) zero(gone, (c) => cols > 1 && c >= 2 * D);
    if (name.includes("embed_tokens")) zero(() => false, gone);
  };
}

const BASES: Record<string, object> = {
  "llama, tied": {
    ...TINY.qwen2,
    ...TINY.llama,
    hidden_size: 48,
    intermediate_size: 80,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    tie_word_embeddings: true,
    vocab_size: 60,
  },
  qwen2: { ...TINY.qwen2, hidden_size: 48, intermediate_size: 80 },
  ...Object.fromEntries(
    ["llama-yarn", "mistral", "qwen3", "qwen3-sliding", "smollm3", "granite", "phi3"].map((name) => [
      name,
      TINY_TYPES[name]!.config,
    ]),
  ),
  "gemma3_text-layers": TINY_TYPES["gemma3_text-layers"]!.config,
};

test.each(Object.entries(BASES))(
  "%s loses its dead parts, just those, and nothing else changes",
  async (name, base) => {
    const config = { ...base, rms_norm_eps: 1e-9 } as unknown as Parameters<typeof dying>[0];
    const folder = join(dir, name);
    const hidden = config.hidden_size === 48 && !name.startsWith("gemma");
    await writeTinyType(folder, config, dying(config, hidden));
    await writeTinyTokenizer(folder);
    const out = join(dir, `${name}-pruned`);
    const sizes = { ffn: 32, heads: 2, ...(hidden && { hidden: 32 }) };
    const result = await run(folder, { ...sizes, calibration: words, ctx: 64, out });
    expect(result.after.sizes).toMatchObject({ ...sizes, kv_heads: 1 });
    const record = await told(out);
    for (const layer of record.layers) {
      expect(layer.ffn.kept).toEqual(stay(80, DEAD.ffn));
      expect(layer.heads.kept).toEqual([0, 1]);
    }
    if (hidden) expect(record.hidden.kept).toEqual(stay(48, DEAD.hidden));
    expect(result.after.loss).toBeCloseTo(result.before.loss, 4);
    const [before, after] = [await logitsOf(folder, IDS), await logitsOf(out, IDS)];
    before.forEach((x, i) => {
      expect(Math.abs(x - after[i]!)).toBeLessThan(2e-4);
    });
  },
);

test("pruning nothing changes no bit", async () => {
  for (const type of ["bf16", "gguf"] as const) {
    const model = type === "gguf" ? join(dir, "stories.gguf") : STORIES;
    if (type === "gguf") {
      const opened = await openModel(STORIES);
      await convert(opened, model);
      await opened.close();
    }
    const out = join(dir, `same-${type}`);
    const result = await run(model, { layers: 4, ffn: 352, heads: 8, hidden: 128, out });
    expect(result.after).toEqual(result.before);
    const [a, b] = [await openModel(STORIES), await openModel(out)];
    for (const name of a.definition.params(a.config).keys())
      expect(same(await parameterValues(b, name), await parameterValues(a, name)), name).toBe(true);
    expect(same(await logitsOf(out, IDS), await logitsOf(STORIES, IDS))).toBe(true);
    await a.close();
    await b.close();
  }
});

test("the layer that does nothing goes first, and a smaller model is chosen for a share of the parameters", async () => {
  const model = await openModel(STORIES);
  const { config, definition, generationConfig } = model;
  const folder = join(dir, "dead-layer");
  const parameters = await Promise.all(
    [...definition.params(config)].map(async ([name, shape]) => {
      const values = await parameterValues(model, name);
      if (/layers\.2\..*(o_proj|down_proj)/.test(name)) values.fill(0);
      return { source: trainedRows({ name, shape }, () => values), type: "f32" as const };
    }),
  );
  const toSave = { config, definition, generationConfig, name: "dead", parameters };
  await saveFolder(folder, { ...toSave, tokenizer: await model.tokenizer() });
  await model.close();
  const out = join(dir, "three-layers");
  const result = await run(folder, { layers: 3, out });
  expect(result.dropped_layers).toEqual([2]);
  expect(result.after.loss).toBe(result.before.loss);
  expect(same(await logitsOf(out, IDS), await logitsOf(folder, IDS))).toBe(true);

  const events: string[] = [];
  const job = prune(folder, {
    calibration,
    tokens: 2048,
    trial_tokens: 512,
    to: 0.7,
    out: join(dir, "share"),
  });
  for await (const { stage } of job) if (events.at(-1) !== stage) events.push(stage);
  const shared = await job.result;
  expect(events.filter((stage, i) => events.indexOf(stage) === i)).toEqual([
    "layers",
    "importance",
    "sizes",
    "writing",
    "measuring",
  ]);
  expect(shared.dropped_layers).toContain(2);
  expect(shared.after.parameters / shared.before.parameters).toBeLessThanOrEqual(0.7);
  expect(shared.after.parameters / shared.before.parameters).toBeGreaterThan(0.6);
  expect(shared.after.sizes.ffn % 32).toBe(0);
  expect(await readFile(shared.report, "utf8")).toContain("Loss by what is left");
});

test("what is chosen by importance is worth more than what chance leaves", async () => {
  for (const sizes of [{ ffn: 256 }, { hidden: 96 }, { heads: 6 }]) {
    const { after, before } = await run(STORIES, { ...sizes, tokens: 2048 });
    for (const seed of [1, 2]) {
      const chance = await run(STORIES, { ...sizes, tokens: 2048, importance: "random", seed });
      expect(after.loss - before.loss).toBeLessThan(0.9 * (chance.after.loss - chance.before.loss));
    }
  }
});

test("heads go with their group, or as many from each", async () => {
  const whole = await run(STORIES, { heads: 4, tokens: 256 });
  expect(whole.after.sizes).toMatchObject({ heads: 4, kv_heads: 2 });
  const within = await run(STORIES, { heads: 4, kv_heads: 4, tokens: 256 });
  expect(within.after.sizes).toMatchObject({ heads: 4, kv_heads: 4 });
  const { layers } = await told(within.folder);
  for (const { heads } of layers) expect(heads.kept.map((q: number) => q >> 1)).toEqual([0, 1, 2, 3]);
  const keys = await run(STORIES, { kv_heads: 1, ffn: 300, tokens: 256 });
  expect(keys.notes).toEqual([
    "intermediate_size 300 is no multiple of 32, which q8_0, q4_0 and K-quants want; 288 would be",
  ]);
  expect(keys.after.sizes).toMatchObject({ heads: 2, kv_heads: 1 });
});

test("what cannot be is refused before anything is written", async () => {
  const refused = async (message: string, options: Parameters<typeof run>[1], model = STORIES) =>
    expect(run(model, options)).rejects.toThrow(message);
  await refused("to num_hidden_layers 5: wanted a whole number from 1 to 4, which it has", { layers: 5 });
  await refused("to intermediate_size 0", { ffn: 0 });
  await refused("5 heads with 4 of keys and values: wanted for each", { heads: 5 });
  await refused("8 heads with 3 of keys and values", { heads: 8, kv_heads: 3 });
  await refused("8 heads with 2 of keys and values", { heads: 8, kv_heads: 2 });
  await refused("to nothing less", {});
  await refused("to sizes and to a share at once", { to: 0.5, layers: 2 });
  await refused("to 1.5 of it", { to: 1.5 });
  await refused("no less than", { to: 0.001 });
  await refused("a context of 1024: wanted a whole number from 2 to 512", { layers: 2, ctx: 1024 });
  const empty = join(dir, "empty.txt");
  await writeFile(empty, "");
  await refused("it has 0 bytes, wanted samples", { layers: 2, calibration: empty });
  await refused("a pruned model is a folder", { layers: 2, out: join(dir, "x.gguf") });
  await refused("it is the model that is pruned", { layers: 2, out: STORIES, overwrite: true });
  await mkdir(join(dir, "full"));
  await writeFile(join(dir, "full", "notes.txt"), "mine");
  await refused("it exists; ask to overwrite it", { layers: 2, out: join(dir, "full") });
  const stories = await openModel(STORIES);
  const packed = join(dir, "q8.gguf");
  await convert(quantizedModel(stories, "q8_0"), packed);
  await stories.close();
  await refused("is q8_0, wanted f32, f16 or bf16", { layers: 2 }, packed);
  for (const [type, why] of [
    ["gpt2", "its norms subtract a mean"],
    ["lfm2", "convolutions over the channels"],
    ["qwen3_5_text", "some of its layers are recurrent"],
  ] as const) {
    const folder = join(dir, type);
    await writeTinyType(folder, TINY_TYPES[type]!.config);
    await refused(why, { layers: 1 }, folder);
  }
  const gemma = join(dir, "gemma");
  await writeTinyType(gemma, TINY_TYPES.gemma3_text!.config);
  await refused("its embedding is multiplied by the root of the hidden size", { hidden: 32 }, gemma);
});

test("an end in the middle leaves what was there, and nothing half-written", async () => {
  const folder = await mkdtemp(join(dir, "stopped-"));
  const out = join(folder, "model");
  await mkdir(out);
  await writeFile(join(out, "config.json"), "old");
  for (const at of ["layers", "importance", "writing", "measuring"]) {
    const stop = new AbortController();
    const options = {
      calibration,
      tokens: 1024,
      layers: 3,
      ffn: 320,
      out,
      overwrite: true,
      signal: stop.signal,
    };
    const job = prune(STORIES, options);
    const events = (async () => {
      for await (const { stage } of job) if (stage === at) stop.abort(new Error("enough"));
    })();
    await expect(events).rejects.toThrow("enough");
    await expect(job.result).rejects.toThrow("enough");
    expect(await readdir(folder)).toEqual(["model"]);
    expect(await readdir(out)).toEqual(["config.json"]);
  }
  await run(STORIES, { layers: 3, out, overwrite: true });
  expect(await readdir(folder)).toEqual(["model"]);
  expect((await readdir(out)).sort()).toContain("model.safetensors");
});
