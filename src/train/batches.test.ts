import fc from "fast-check";
import { expect, test } from "vitest";
import {
  checkItems,
  consecutiveWindows,
  type Item,
  packedBatches,
  packItems,
  windowBatches,
} from "./batches.ts";
import { Random } from "./random.ts";
import { learningRate } from "./schedule.ts";
import type { Sample, TrainBatch } from "./types.ts";

const LIMITS = { ctx: 16, tokens: 40, sequences: 3 };
const sample = (length: number, line: number): Sample => ({
  ids: Int32Array.from({ length }, (_, i) => line * 100 + i),
  learned: Uint8Array.from({ length }, (_, i) => i % 2),
  source: { file: "f.jsonl", line },
});

/** The sequences of a batch as text, for comparing sets. */
const sequences = ({ tokens, targets, starts }: TrainBatch) =>
  starts.map((start, s) => {
    const end = starts[s + 1] ?? tokens.length;
    return JSON.stringify([[...tokens.subarray(start, end)], [...targets.subarray(start, end)]]);
  });
const asSequence = ({ ids, learned }: Sample) =>
  JSON.stringify([[...ids.subarray(0, -1)], [...ids.subarray(1)].map((id, i) => (learned[i + 1] ? id : -1))]);

test("every sample is trained on once an epoch, whole and within the limits, whatever the lengths", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 2, max: 17 }), { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 0, max: 1e6 }),
      (lengths, batch_tokens, seed) => {
        const items = lengths.map((length, i) => sample(length, i + 1));
        const data = packedBatches(items, { limits: LIMITS, batch_tokens, epochs: 2, seed });
        const seen: string[] = [];
        for (let i = 0; i < data.steps; i++) {
          const step = data.step(i);
          const tokens = step.batches.reduce((sum, b) => sum + b.tokens.length, 0);
          expect(tokens <= batch_tokens || step.sources.length === 1).toBe(true);
          for (const batch of step.batches) {
            expect(batch.tokens.length).toBeLessThanOrEqual(LIMITS.tokens);
            expect(batch.starts.length).toBeLessThanOrEqual(LIMITS.sequences);
            seen.push(...sequences(batch));
          }
          expect(step.epoch * items.length).toBeCloseTo(seen.length, 9);
        }
        const once = items.map(asSequence);
        expect(seen.sort()).toEqual([...once, ...once].sort());
        expect(data.step(data.steps - 1).epoch).toBe(2);
      },
    ),
    { numRuns: 60 },
  );
});

test("steps that are fewer than the epochs give are the same steps, and take no room for the rest", () => {
  const items = Array.from({ length: 30 }, (_, i) => sample(3 + (i % 9), i + 1));
  const options = { limits: LIMITS, batch_tokens: 20, seed: 1 };
  const all = packedBatches(items, { ...options, epochs: 7 });
  const few = packedBatches(items, { ...options, epochs: 1e9, max_steps: all.steps - 1 });
  expect(few.steps).toBe(all.steps - 1);
  for (let i = 0; i < few.steps; i++) expect(few.step(i)).toEqual(all.step(i));
});

test("a step is the same whenever it is asked for, and another seed or epoch gives another order", () => {
  const items = Array.from({ length: 40 }, (_, i) => sample(3 + (i % 9), i + 1));
  const options = { limits: LIMITS, batch_tokens: 50, epochs: 2, seed: 1 };
  const [a, b] = [packedBatches(items, options), packedBatches(items, options)];
  const backwards = Array.from({ length: a.steps }, (_, i) => b.step(a.steps - 1 - i)).reverse();
  expect(Array.from({ length: a.steps }, (_, i) => a.step(i))).toEqual(backwards);
  expect(packedBatches(items, { ...options, seed: 2 }).step(0)).not.toEqual(a.step(0));
  const half = packedBatches(items, { ...options, epochs: 0.5 });
  expect(half.step(half.steps - 1).epoch).toBe(0.5);
  expect(packedBatches(items, { ...options, max_steps: 3 }).steps).toBe(3);
});

test("packing is best fit: full micro-batches come out where the lengths allow them", () => {
  const items = [8, 14, 16, 12, 14, 16].map((rows, i) => sample(rows + 1, i + 1)); // 80 rows: two of 40
  expect(packItems(items, LIMITS).map((batch) => batch.tokens.length)).toEqual([40, 40]);
});

test("both answers of a pair lie in one micro-batch, the chosen one first", () => {
  const pairs: Item[] = [5, 9, 16].map((n, i) => ({
    chosen: sample(n, 2 * i + 1),
    rejected: sample(n - 1, 2 * i + 2),
  }));
  const found = packItems(pairs, LIMITS);
  expect(found.map((batch) => batch.starts.length)).toEqual([2, 2, 2]);
  expect(sequences(found[0]!)).toEqual([asSequence(sample(16, 5)), asSequence(sample(15, 6))]);
});

test("what cannot be trained on is refused by file and line", () => {
  const check = (item: Item) => () => checkItems([sample(5, 1), item], LIMITS);
  expect(check(sample(18, 7))).toThrow(
    'Cannot train on "f.jsonl" line 7: it has 18 tokens, wanted at most 17',
  );
  expect(check({ ...sample(5, 8), learned: new Uint8Array(5) })).toThrow("line 8: it has no token to learn");
  expect(check(sample(1, 9))).toThrow("line 9: it has no token to learn");
  expect(() => checkItems([], LIMITS)).toThrow("no samples");
  const small = { ...LIMITS, tokens: 20 };
  expect(() => checkItems([{ chosen: sample(14, 3), rejected: sample(14, 4) }], small)).toThrow(
    "line 3: it takes 26 tokens in 2 sequences, wanted at most 20",
  );
});

test("windows of a long text: random ones to train on, consecutive ones that cover it", () => {
  const ids = Int32Array.from({ length: 101 }, (_, i) => i);
  const all = consecutiveWindows(ids, 16, "text");
  expect(all.flatMap((w) => [...w.ids.subarray(1)])).toEqual([...ids.subarray(1)]);
  const options = { limits: LIMITS, ctx: 16, sequences: 3, steps: 50, seed: 4, file: "text" };
  const data = windowBatches(ids, options);
  const starts = new Set<number>();
  for (let i = 0; i < data.steps; i++) {
    const { batches } = data.step(i);
    expect(batches.flatMap((b) => b.starts.map((s) => b.targets[s]! - b.tokens[s]!))).toEqual([1, 1, 1]);
    for (const b of batches) for (const s of b.starts) starts.add(b.tokens[s]!);
  }
  expect([Math.min(...starts), Math.max(...starts)]).toEqual([0, 84]);
  expect(() => windowBatches(ids.subarray(0, 16), options)).toThrow("it has 16, wanted more than 16");
});

test("random numbers are even, and every name has its own stream", () => {
  const random = new Random(0);
  const values = Array.from({ length: 20_000 }, () => random.uniform());
  expect(values.reduce((a, b) => a + b) / values.length).toBeCloseTo(0.5, 2);
  const normals = Array.from({ length: 20_000 }, () => random.normal());
  expect(Math.abs(normals.reduce((a, b) => a + b) / normals.length)).toBeLessThan(0.02);
  expect(normals.reduce((a, b) => a + b * b) / normals.length).toBeCloseTo(1, 1);
  expect([...new Random(3).permutation(50)].sort((a, b) => a - b)).toEqual([...Array(50).keys()]);
  const names = [[0], [1], [0, 0], [0, 1], [1, 0], [2 ** 32], [2 ** 33]];
  expect(new Set(names.map((name) => new Random(...name).next())).size).toBe(names.length);
  expect(() => new Random(-1)).toThrow("wanted a whole number");
});

test("the learning rate rises, then falls as named", () => {
  const cosine = { lr: 1e-3, min_lr: 1e-4, warmup_steps: 100 };
  // nanoGPT's `get_lr` at iterations 0, 99, 100, 1050 and 1999 of 2000.
  const truth = [1e-3 / 101, 1e-1 / 101, 1e-3, 5.5e-4, 1.0000061e-4];
  expect([0, 99, 100, 1050, 1999].map((i) => learningRate(cosine, i, 2000))).toEqual(
    truth.map((x) => expect.closeTo(x, 9)),
  );
  expect(learningRate({ lr: 1, schedule: "linear", warmup_steps: 0 }, 5, 10)).toBe(0.5);
  expect(learningRate({ lr: 1, schedule: "constant", warmup_steps: 0.5 }, 9, 10)).toBe(1);
  expect(learningRate({ lr: 1, schedule: "constant", warmup_steps: 0.5 }, 0, 10)).toBe(1 / 6);
});
