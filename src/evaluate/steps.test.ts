import fc from "fast-check";
import { expect, it } from "vitest";
import { expOfNegative } from "./divergence.ts";
import { type Scored, scoreSteps } from "./steps.ts";
import { windows } from "./windows.ts";

const sequences = fc.array(
  fc
    .integer({ min: 2, max: 120 })
    .chain((length) =>
      fc
        .integer({ min: 1, max: length - 1 })
        .map((from): Scored => ({ ids: Int32Array.from({ length }, (_, i) => length * 1000 + i), from })),
    ),
  { maxLength: 12 },
);

it("computes every token but the last once, in order, and gives every target its row", () => {
  fc.assert(
    fc.property(
      sequences,
      fc.record({
        T: fc.integer({ min: 1, max: 80 }),
        S: fc.integer({ min: 1, max: 5 }),
        R: fc.integer({ min: 1, max: 30 }),
      }),
      (list, maxima) => {
        const past = new Map<string, number>(); // by pages: what a segment continues
        const targets = list.map(() => new Set<number>());
        const ended: number[] = [];
        let computed = 0;
        for (const step of scoreSteps(list, maxima, { pages: 2 * maxima.S, pagesPerSequence: 3 })) {
          const { T, S, R } = step.dims;
          expect(T).toBeLessThanOrEqual(maxima.T);
          expect(S).toBeLessThanOrEqual(maxima.S);
          expect(R).toBeLessThanOrEqual(maxima.R);
          computed += T;
          const { segments, positions, tokens, pages, rows } = step.inputs;
          let start = 0;
          const used = new Set<number>();
          for (let s = 0; s < S; s++) {
            const [at, count, before] = segments!.subarray(s * 4);
            expect(at).toBe(start);
            const own = pages!.subarray(s * 3, s * 3 + 2);
            for (const page of own) used.add(page);
            const key = own.join();
            const continued = before === 0 ? 0 : past.get(key);
            expect(before).toBe(continued);
            past.set(key, before! + count!);
            for (let i = 0; i < count!; i++) expect(positions![start + i]).toBe(before! + i);
            start += count!;
          }
          expect(used.size).toBe(2 * S);
          expect(start).toBe(T);
          for (let r = 0; r < R; r++) {
            const { ids } = list[step.sequence[r]!]!;
            expect(targets[step.sequence[r]!]!.has(step.token[r]!)).toBe(false);
            targets[step.sequence[r]!]!.add(step.token[r]!);
            expect(step.inputs.targets![r]).toBe(ids[step.token[r]!]);
            expect(tokens![rows![r]!]).toBe(ids[step.token[r]! - 1]);
          }
          ended.push(...step.ended);
        }
        expect(computed).toBe(list.reduce((sum, { ids }) => sum + ids.length - 1, 0));
        expect(ended.sort((a, b) => a - b)).toEqual(list.map((_, i) => i));
        list.forEach(({ ids, from }, i) => {
          expect(targets[i]!.size).toBe(ids.length - from);
        });
      },
    ),
    { numRuns: 60 },
  );
});

it("scores every token of a text once with a stride, and the first of a window never", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 90 }),
      fc
        .integer({ min: 4, max: 40 })
        .chain((ctx) => fc.record({ ctx: fc.constant(ctx), stride: fc.integer({ min: 1, max: ctx }) })),
      (length, size) => {
        const cut = windows(
          Array.from({ length }, (_, i) => i),
          size,
        );
        const seen: number[] = [];
        let computed = 0;
        for (let i = 0; i < cut.count; i++) {
          const { ids, from } = cut.sequence(i);
          expect(from).toBeGreaterThanOrEqual(1);
          expect(ids.length).toBeLessThanOrEqual(size.ctx);
          expect(ids[0]).toBe(i * size.stride);
          seen.push(...ids.subarray(from));
          computed += ids.length - 1;
        }
        // With windows that do not overlap, the first token of each has nothing before it.
        const all = Array.from({ length: length - 1 }, (_, i) => i + 1);
        expect(seen).toEqual(size.stride < size.ctx ? all : all.filter((i) => i % size.ctx !== 0));
        expect([cut.scored, cut.computed]).toEqual([seen.length, computed]);
      },
    ),
  );
});

it("knows e^x", () => {
  let worst = 0;
  for (let x = 0; x > -700; x -= 0.0371)
    worst = Math.max(worst, Math.abs(expOfNegative(x) / Math.exp(x) - 1));
  expect(worst).toBeLessThan(1e-13);
  expect([expOfNegative(0), expOfNegative(-800), expOfNegative(-Infinity)]).toEqual([1, 0, 0]);
});
