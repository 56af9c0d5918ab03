import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { TINY, tinyIds, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import type { Backend } from "../engine/backend.ts";
import { createBackend } from "../engine/backends/index.ts";
import { emptyParts, GRIDS, packParts, type QuantType, unpackParts } from "../engine/grids.ts";
import { reshape } from "../engine/nn.ts";
import { record } from "../engine/program.ts";
import { dequantize, quantize, weightBytes } from "../engine/weights.ts";
import { linearTargets, type OpenedModel, openModel, parameterValues } from "../models/index.ts";
import {
  describeQuantized,
  packItems,
  type QuantizedMatrix,
  type QuantizedOptions,
  quantizedTrainable,
  Random,
  type Sample,
} from "../train/index.ts";
import { checkLearning, type LearnOptions, learn, learnMemory } from "./learned.ts";

const dir = await mkdtemp(join(tmpdir(), "pith-learned-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

const NO_DIMS = { T: 0, S: 0, R: 0 };
/** Its k_proj is [32, 256]. */
const N = 32;
const wide = { ...TINY.qwen2, hidden_size: 256, intermediate_size: 256, num_hidden_layers: 1 };

async function opened(name: string, config: typeof wide): Promise<OpenedModel> {
  await writeTinyModel(join(dir, name), config);
  return openModel(join(dir, name));
}

/** Blocks that hold any number a type can. */
function anyBlocks(type: QuantType, elements: number): QuantizedMatrix {
  const { levels, scales, mins } = GRIDS[type];
  const random = new Random(7, 1);
  const parts = emptyParts(type, elements);
  const from = ([low, high]: readonly [number, number]) => low + random.below(high - low + 1);
  for (let i = 0; i < elements; i++) parts.codes[i] = random.below(levels);
  for (let i = 0; i < (parts.scales?.length ?? 0); i++) parts.scales![i] = from(scales!);
  for (let i = 0; i < (parts.mins?.length ?? 0); i++) parts.mins![i] = from(mins!);
  for (const floats of [parts.d, parts.dmin])
    floats?.forEach((_, i) => {
      floats[i] = 0.01 * (random.uniform() + 0.1);
    });
  return { type, bytes: packParts(type, parts) };
}

/** A matrix as programs compute it, and as its blocks decode. */
async function both(
  backend: Backend,
  model: OpenedModel,
  name: string,
  blocks: Map<string, QuantizedMatrix>,
  options: QuantizedOptions,
  change: (values: Float32Array, name: string) => Float32Array,
): Promise<{ computed: Float32Array; decoded: Float32Array; bytes: Uint8Array }> {
  const trainable = await quantizedTrainable(model, backend, blocks, options);
  const values = new Map<string, Float32Array>();
  for (const [key, storage] of trainable.storages) {
    if (!trainable.trained.has(key)) continue;
    const found = new Float32Array(storage.bytes / 4);
    backend.read(storage, found);
    values.set(key, change(found, key));
    backend.write(storage, values.get(key)!);
  }
  const program = record((g) => {
    const w = trainable.module(g).param(name);
    return { w: reshape(w, w.shape) };
  });
  const run = backend.compile(program, NO_DIMS);
  for (const { name } of program.params) run.bind(name!, trainable.storages.get(name!)!);
  await run.run(NO_DIMS, {});
  const computed = new Float32Array(
    model.definition
      .params(model.config)
      .get(name)!
      .reduce((a, b) => a * b, 1),
  );
  run.read("w", computed);
  run.free();
  for (const storage of trainable.storages.values()) storage.free();
  const { type, bytes } = trainable.blocks((key) => values.get(key)!).get(name)!;
  const decoded = new Float32Array(computed.length);
  dequantize(type, bytes, decoded);
  return { computed, decoded, bytes };
}

const types = (Object.keys(GRIDS) as QuantType[]).flatMap((type) => [
  [type, false] as const,
  [type, true] as const,
]);
test.each(types)(
  "%s, codes trained: %s: what is computed with is what the blocks hold",
  async (type, codes) => {
    const model = await opened("wide", wide);
    const backend = await createBackend({ threads: 1 });
    const name = "model.layers.0.self_attn.k_proj.weight";
    const first = anyBlocks(type, N * 256);
    const blocks = new Map([[name, first]]);
    const options: QuantizedOptions = { codes: () => codes };
    const same = await both(backend, model, name, blocks, options, (values) => values);
    expect(same.bytes).toEqual(first.bytes);
    // Rounded once or twice.
    const close = ({ computed, decoded }: typeof same) => {
      const largest = decoded.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      const off = computed.reduce((most, x, i) => Math.max(most, Math.abs(x - decoded[i]!)), 0);
      expect(off / largest).toBeLessThan(2e-7);
    };
    close(same);
    const random = new Random(8, 1);
    const far = (values: Float32Array, key: string) => {
      const by = key.endsWith(":codes") || key.endsWith(":mins") ? 3 : 0.2;
      return values.map((x) => x + by * (2 * random.uniform() - 1));
    };
    const moved = await both(backend, model, name, blocks, options, far);
    close(moved);
    expect(moved.bytes).not.toEqual(first.bytes);
    const [was, is] = [first.bytes, moved.bytes].map((bytes) => unpackParts(type, bytes, N * 256).codes);
    expect(is!.some((code, i) => code !== was![i])).toBe(codes);
    backend.close();
    await model.close();
  },
);

function samplesOf(vocab: number, count: number): Sample[] {
  return Array.from({ length: count }, (_, i) => {
    const ids = Int32Array.from(tinyIds(17, vocab, i + 1));
    return { ids, learned: new Uint8Array(17).fill(1), source: { file: "x.txt", line: i + 1 } };
  });
}

async function small() {
  const model = await opened("small", TINY.qwen2 as typeof wide);
  const backend = await createBackend({ threads: 1 });
  const blocks = new Map<string, QuantizedMatrix>();
  for (const { weight } of linearTargets(model.definition, model.config).values())
    blocks.set(weight, { type: "q4_0", bytes: quantize("q4_0", await parameterValues(model, weight)) });
  const samples = samplesOf(TINY.qwen2.vocab_size, 40);
  const limits = { ctx: 16, tokens: 64, sequences: 8 };
  const calibration = { batches: packItems(samples, limits), limits, digests: { "x.txt": "1" } };
  const options: LearnOptions = {
    calibration,
    steps: 12,
    batch_tokens: 128,
    eval_steps: 4,
    lr: 5e-3,
  };
  return { model, backend, blocks, options };
}

test("scales that are trained come nearer to the model, and so do codes; what comes no nearer is not taken", async () => {
  const { model, backend, blocks, options } = await small();
  const learned = await learn(model, backend, blocks, { ...options, embeddings: () => false }).result;
  const { first_eval, eval_loss } = learned.fit;
  expect(eval_loss!).toBeLessThan(0.9 * first_eval!);
  expect([...learned.blocks.keys()]).not.toContain("model.embed_tokens.weight");
  expect(learned.vectors.size).toBeGreaterThan(4);
  // So few steps want fast codes.
  const fast = { codes: () => true, ratios: { codes: 2 } };
  const finer = await learn(model, backend, blocks, { ...options, ...fast }).result;
  expect(finer.fit.eval_loss!).toBeLessThan(eval_loss!);
  const embedding = finer.blocks.get("model.embed_tokens.weight")!;
  expect(embedding.bytes.length).toBe(weightBytes("q4_0", 70 * 64));
  expect(embedding.bytes).not.toEqual(blocks.get("model.embed_tokens.weight")!.bytes);
  const wild = await learn(model, backend, blocks, { ...options, lr: 3, steps: 4 }).result;
  expect(wild.fit.eval_loss!).toBeGreaterThan(wild.fit.first_eval!);
  expect([wild.blocks.size, wild.vectors.size]).toEqual([0, 0]);
  backend.close();
  await model.close();
});

test("a run that was stopped and goes on ends in the same bytes", async () => {
  const { model, backend, blocks, options } = await small();
  const whole = await learn(model, backend, blocks, options).result;
  const folder = join(dir, "run");
  const stop = new AbortController();
  const job = learn(model, backend, blocks, { ...options, folder, save_steps: 3, signal: stop.signal });
  job.result.catch(() => {});
  await expect(
    (async () => {
      for await (const { step } of job) if (step === 5) stop.abort();
    })(),
  ).rejects.toThrow(/stopped after step \d+ of 12/);
  expect((await readdir(join(folder, "checkpoints"))).length).toBeGreaterThan(0);
  await expect(
    learn(model, backend, blocks, { ...options, temperature: 2, folder, resume: true }).result,
  ).rejects.toThrow(/temperature was 1 when the run began, and is 2 now/);
  const resumed = await learn(model, backend, blocks, { ...options, folder, resume: true }).result;
  expect(resumed.blocks).toEqual(whole.blocks);
  expect(resumed.vectors).toEqual(whole.vectors);
  backend.close();
  await model.close();
});

test("too few samples are refused, and memory is told before anything is loaded", async () => {
  const { model, backend, blocks, options } = await small();
  const calibration = { ...options.calibration, batches: options.calibration.batches.slice(0, 1) };
  await expect(learn(model, backend, blocks, { ...options, calibration }).result).rejects.toThrow(
    /from 4 samples of x.txt: wanted at least 10/,
  );
  const types = new Map([...blocks].map(([name, { type }]) => [name, type]));
  const [plain, finer] = [false, true].map((codes) =>
    learnMemory(model, types, { ...options, codes: () => codes }),
  );
  const { matrices, bytes, trained } = describeQuantized(model, types, { codes: () => false });
  const elements = [...matrices.values()].reduce((sum, { N, K }) => sum + N * K, 0);
  const numbers = [...trained.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  expect(plain!.weights).toBe(bytes);
  expect(plain!.optimizer).toBe(12 * numbers);
  expect(finer!.optimizer - plain!.optimizer).toBe(12 * elements);
  const check = (available: number) => () =>
    checkLearning(model, types, { ...options, codes: () => true }, available);
  check(finer!.total)();
  expect(check(finer!.total - 1)).toThrow(/^Cannot learn the blocks of .*: it takes .*--codes fixed\)$/);
  expect(check(plain!.total - 1)).toThrow(/it would still take .*: gptq is wanted$/);
  backend.close();
  await model.close();
});
