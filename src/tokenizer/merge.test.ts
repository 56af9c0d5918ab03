import fc from "fast-check";
import { expect, test } from "vitest";
import { mergePairs } from "./merge.ts";
import { PairTable } from "./pair-table.ts";

/** The definition: again and again the pair of the lowest rank, the leftmost of equals. */
function mergeSlowly(symbols: number[], ranks: Map<string, [number, number]>): number[] {
  const out = [...symbols];
  for (;;) {
    let best = -1;
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < out.length; i++) {
      const rank = ranks.get(`${out[i]},${out[i + 1]}`)?.[0] ?? Number.POSITIVE_INFINITY;
      if (rank < lowest) {
        lowest = rank;
        best = i;
      }
    }
    if (best < 0) return out;
    out.splice(best, 2, ranks.get(`${out[best]},${out[best + 1]}`)![1]);
  }
}

const pair = fc.tuple(fc.nat(7), fc.nat(7), fc.nat(9));

test("short and long words merge as the definition says, equal ranks included", () => {
  const symbols = fc.array(fc.nat(3), { minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(fc.array(pair, { maxLength: 14 }), symbols, (pairs, word) => {
      const table = new PairTable(pairs.length);
      const ranks = new Map<string, [number, number]>();
      for (const [i, [a, b, rank]] of pairs.entries()) {
        if (ranks.has(`${a},${b}`)) continue;
        ranks.set(`${a},${b}`, [rank, 4 + (i % 4)]);
        table.add(a, b, rank, 4 + (i % 4));
      }
      const buffer = Int32Array.from(word);
      const count = mergePairs(buffer, word.length, table);
      expect(Array.from(buffer.subarray(0, count))).toEqual(mergeSlowly(word, ranks));
    }),
    { numRuns: 500 },
  );
});

test("a million equal symbols merge in the time of n log n", () => {
  const table = new PairTable(3);
  for (let i = 0; i < 3; i++) table.add(i, i, i, i + 1);
  const buffer = new Int32Array(1 << 20);
  expect(mergePairs(buffer, buffer.length, table)).toBe(1 << 17);
  expect(buffer[0]).toBe(3);
});

test("a full table refuses another pair", () => {
  const table = new PairTable(1);
  table.add(1, 2, 0, 3);
  table.add(1, 2, 5, 9);
  expect(table.rank[table.find(1, 2)]).toBe(0);
  expect(() => table.add(2, 1, 0, 3)).toThrow(RangeError);
});
