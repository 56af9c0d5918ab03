import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { TINY_TYPES, writeTinyType } from "../../test/helpers/tiny-types.ts";
import { createBackend } from "../engine/backends/index.ts";
import { type matmul_nt, mul, sum_rows } from "../engine/nn.ts";
import { record } from "../engine/program.ts";
import { declareBatch, forward, frozenModule, loadWeights, modelTables, openModel } from "../models/index.ts";
import type { TrainBatch } from "../train/index.ts";
import { dims, inputs, rowsOf } from "../train/step.ts";
import { measureImportance, streamParts } from "./stream.ts";

const dir = await mkdtemp(join(tmpdir(), "pith-stream-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

const limits = { ctx: 12, tokens: 24, sequences: 4 };
function batchesOf(vocab: number): TrainBatch[] {
  return [
    { T: 20, starts: [0, 12] },
    { T: 9, starts: [0] },
  ].map(({ T, starts }, b) => {
    const tokens = Int32Array.from({ length: T }, (_, i) => (7 * i + 3 * b + 1) % vocab);
    const targets = tokens.map((_, i) => (i % 5 === 4 ? -1 : (i * 3) % vocab));
    return { tokens, targets, starts };
  });
}

/** Σx² over all tokens of what each linear reads, from the model recorded as a whole. */
async function wholeSquares(folder: string): Promise<Map<string, Float32Array>> {
  const model = await openModel(folder);
  const { definition, config } = model;
  const backend = await createBackend({ threads: 1 });
  const found = new Map<string, Float32Array>();
  const storages = await loadWeights(model, backend);
  for (const [name, { shape, data }] of modelTables(config, limits.ctx))
    storages.set(name, backend.dense("f32", shape, data));
  const program = record((g) => {
    const outputs: Record<string, ReturnType<typeof matmul_nt>> = {};
    const m = frozenModule(g, definition, config, (path, y, x) => {
      outputs[`${path}.weight`] = sum_rows(mul(x, x));
      return y;
    });
    forward(definition, m, declareBatch(g, config, limits.ctx, false));
    return outputs;
  });
  const executable = backend.compile(program, { T: 24, S: 4, R: 24 });
  for (const { name } of program.params) executable.bind(name!, storages.get(name!)!);
  for (const batch of batchesOf(config.vocab_size)) {
    const rows = rowsOf(batch);
    await executable.run(dims(batch, rows), inputs(batch, rows));
    for (const [name, { shape }] of program.outputs) {
      const sums = new Float32Array(Number(shape[0]));
      executable.read(name, sums);
      found.set(
        name,
        sums.map((x, i) => x + (found.get(name)?.[i] ?? 0)),
      );
    }
  }
  backend.close();
  await model.close();
  return found;
}

const close = (a: Float32Array, b: Float32Array) => {
  expect(a.length).toBe(b.length);
  a.forEach((x, i) => {
    expect(Math.abs(x - b[i]!), `${i}: ${x} and ${b[i]}`).toBeLessThan(1e-5 * (1 + Math.abs(b[i]!)));
  });
};

const decoders = Object.keys(TINY_TYPES).filter((name) => !/bert|sentence/.test(name));
describe.each(decoders)("%s", (name) => {
  test("part by part is the whole model", async () => {
    const folder = join(dir, name);
    await writeTinyType(folder, TINY_TYPES[name]!.config);
    const wanted = await wholeSquares(folder);
    const model = await openModel(folder);
    const backend = await createBackend({ threads: 1 });
    const calibration = { limits, batches: batchesOf(model.config.vocab_size) };
    const tokens = { T: 29, R: calibration.batches.reduce((n, b) => n + rowsOf(b).length, 0) };
    const owned: string[] = [];
    for await (const { parameters } of streamParts(model, backend, calibration, { moments: "squares" }))
      owned.push(...parameters);
    expect(owned.sort()).toEqual([...model.definition.params(model.config).keys()].sort());
    const found = await measureImportance(model, backend, calibration);
    expect([...found.keys()].sort()).toEqual([...wanted.keys()].sort());
    for (const [weight, squares] of found) {
      const head = !/\.(layers|h)\.|per_layer/.test(weight);
      close(
        squares.map((x) => x * (head ? tokens.R : tokens.T)),
        wanted.get(weight)!,
      );
    }
    backend.close();
    await model.close();
  });
});

test("products are those of the inputs, and a stream goes on where it was left", async () => {
  const folder = join(dir, "again");
  await writeTinyType(folder, TINY_TYPES.phi3!.config);
  const model = await openModel(folder);
  const backend = await createBackend({ threads: 1 });
  const calibration = { limits, batches: batchesOf(model.config.vocab_size) };
  const whole: Record<string, Float32Array[]> = {};
  const states = [];
  for await (const visit of streamParts(model, backend, calibration, { moments: "products" })) {
    for (const [weight, { products, columns, squares, tokens }] of visit.inputs) {
      const values = new Float32Array(columns ** 2);
      backend.read(products!, values);
      whole[weight] = [values, squares];
      squares.forEach((x, i) => {
        expect(values[i * columns + i]! / tokens).toBeCloseTo(x, 4);
        for (let j = 0; j < i; j++) expect(values[i * columns + j]).toBeCloseTo(values[j * columns + i]!, 3);
      });
    }
    states.push(await visit.finish());
  }
  const resume = states[1]!;
  for await (const visit of streamParts(model, backend, calibration, { moments: "products", resume })) {
    expect(visit.index).toBeGreaterThan(1);
    for (const [weight, { squares }] of visit.inputs) expect(squares).toEqual(whole[weight]![1]);
  }
  backend.close();
  await model.close();
});
