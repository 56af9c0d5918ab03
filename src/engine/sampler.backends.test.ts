// kernels/sampler.h against its definition, on every backend that uses it: random logits, settings, masks, histories.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backends } from "../../test/helpers/backends.ts";
import * as nn from "./nn.ts";
import { record } from "./program.ts";
import { type SampleRow, sample, uniform } from "./sampler.ts";

/** Settings for a vocabulary of V. */
function settings(V: number, random: () => number): SampleRow {
  const pick = <T>(...values: T[]): T => values[Math.floor(random() * values.length)]!;
  const some = (n: number) =>
    Array.from({ length: Math.floor(random() * n) }, () => Math.floor(random() * V));
  const word = () => Math.floor(random() * 2 ** 32);
  const seen = [...new Set(some(10))];
  const biased = some(5);
  return {
    temperature: pick(0, 0.3, 1, 1, 5),
    top_k: pick(0, 0, 1, 3, 40, 5000),
    top_p: pick(1, 1, 0.95, 0.5, 0.1, 0),
    min_p: pick(0, 0, 0.05, 0.5, 1),
    repetition_penalty: pick(1, 1.3, 0.7),
    presence_penalty: pick(0, 0.5),
    frequency_penalty: pick(0, 0.2),
    history: pick(undefined, {
      ids: Int32Array.from(seen),
      counts: Int32Array.from(seen, () => Math.floor(random() * 4)),
      length: seen.length,
    }),
    bias: pick(undefined, {
      ids: Int32Array.from(biased),
      values: Float64Array.from(biased, () => pick(1, -2, 5, -Infinity)),
    }),
    mask: pick(
      undefined,
      Uint32Array.from({ length: (V + 31) >>> 5 }, () => pick(0, 1, word(), 0xffffffff)),
    ),
    seed: [word(), word()],
    counter: Math.floor(random() * 1e6),
    logprobs: pick(-1, 0, 1, 5, 5000),
  };
}

function logitsOf(V: number, random: () => number): Float32Array {
  const spread = [0, 0.1, 1, 5, 30, 1000][Math.floor(random() * 6)]!;
  const whole = random() < 0.3; // many equal ones
  const x = Float32Array.from({ length: V }, () => {
    const value = (random() + random() + random() - 1.5) * spread;
    return random() < 0.02 ? -Infinity : whole ? Math.round(value) : value;
  });
  if (random() < 0.03) x[Math.floor(random() * V)] = random() < 0.5 ? Number.NaN : Infinity;
  return x;
}

// The instruction sets share the sampler: the first is enough.
const pairs = ["native", "wasm"].flatMap((kind) =>
  backends.filter(([name]) => name.startsWith(kind)).slice(0, 1),
);

describe("sampler.h", () => {
  it.each(pairs)(
    "chooses the tokens that the definition chooses, with the same logprobs: %s",
    async (_, make) => {
      const R = 16;
      const backend = await make();
      const sizes = [1, 2, 5, 15, 16, 17, 63, 64, 65, 512, 1023, 1025, 3000];
      const programs = new Map(
        sizes.map((V) => {
          const program = record((g) => ({ logits: nn.scale(g.input("x", "f32", ["R", V]), 1) }));
          return [V, backend.compile(program, { T: 0, S: 0, R })];
        }),
      );
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...sizes), fc.nat(), async (V, seed) => {
          let drawn = 0;
          const random = () => uniform([seed, 0], drawn++);
          const rows = Array.from({ length: R }, () => settings(V, random));
          const logits = rows.map(() => logitsOf(V, random));
          const x = new Float32Array(R * V);
          logits.forEach((row, r) => {
            x.set(row, r * V);
          });
          const executable = programs.get(V)!;
          const got = await executable.run({ T: 0, S: 0, R }, { x }, rows);
          rows.forEach((row, r) => {
            const want = sample(logits[r]!, row);
            expect(got[r]!.id).toBe(want.id);
            expect(Number.isNaN(got[r]!.logprob)).toBe(Number.isNaN(want.logprob));
            if (!Number.isNaN(want.logprob)) expect(got[r]!.logprob).toBeCloseTo(want.logprob, 11);
            expect(got[r]!.top?.map((t) => t.id)).toEqual(want.top?.map((t) => t.id));
            const far = want.top?.findIndex(
              (t, j) => !(Math.abs(got[r]!.top![j]!.logprob - t.logprob) < 1e-11),
            );
            expect(far ?? -1).toBe(-1);
          });
          const after = new Float32Array(R * V);
          executable.read("logits", after);
          expect(
            Buffer.compare(Buffer.from(after.buffer), Buffer.from(x.buffer)),
            "the logits are put back",
          ).toBe(0);
        }),
        { numRuns: 50 },
      );
      backend.close();
    },
  );
});
