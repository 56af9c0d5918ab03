// Rotary position embedding: frequencies with their scaling, and the table that the engine's rope op reads.
// Everything is computed in double.

import type { Fields } from "./fields.ts";

/** How the frequencies of a model differ from `theta ** (-2i / d)`. */
export type RopeScaling =
  | { readonly rope_type: "linear"; readonly factor: number }
  | {
      readonly rope_type: "llama3";
      readonly factor: number;
      readonly low_freq_factor: number;
      readonly high_freq_factor: number;
      readonly original_max_position_embeddings: number;
    }
  /** A divisor for each of the d / 2 frequencies, as GGUF's `rope_freqs.weight` holds them. */
  | { readonly rope_type: "factors"; readonly factors: readonly number[] };

export interface Rope {
  readonly rope_theta: number;
  readonly scaling?: RopeScaling;
}

const THETA = { min: 1e-3, max: 1e15 };
const FACTOR = { min: 1e-3, max: 1e6 };

/**
 * Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before).
 * @throws {TypeError | RangeError} also for a kind of scaling that is not implemented.
 */
export function readRope(config: Fields): Rope {
  const fields = config.object("rope_parameters") ?? config.object("rope_scaling");
  const own = fields?.has("rope_theta") ? fields : config;
  const rope_theta = own.number("rope_theta", THETA, 10000);
  if (!fields) return { rope_theta };
  const key = fields.has("rope_type") ? "rope_type" : "type";
  const rope_type = fields.string(key, "default");
  switch (rope_type) {
    case "default":
      return { rope_theta };
    case "linear":
      return { rope_theta, scaling: { rope_type, factor: fields.number("factor", FACTOR) } };
    case "llama3": {
      const scaling = {
        rope_type,
        factor: fields.number("factor", FACTOR),
        low_freq_factor: fields.number("low_freq_factor", FACTOR),
        high_freq_factor: fields.number("high_freq_factor", FACTOR),
        original_max_position_embeddings: fields.integer("original_max_position_embeddings", {
          min: 1,
          max: 2 ** 31,
        }),
      } as const;
      if (scaling.high_freq_factor <= scaling.low_freq_factor)
        fields.fail("high_freq_factor", scaling.high_freq_factor, `more than ${scaling.low_freq_factor}`);
      return { rope_theta, scaling };
    }
    default:
      return fields.fail(key, rope_type, `one that is implemented: "default", "linear" or "llama3"`);
  }
}

/**
 * Angle per position of each of the `rotary_dim / 2` pairs: `theta ** (-2i / rotary_dim)`, scaled.
 *
 * llama3, with wavelength w = 2π / f and L the original context: f when w < L / high_freq_factor, f / factor when
 * w > L / low_freq_factor, and between them (1 - s) f / factor + s f with
 * s = (L / w - low_freq_factor) / (high_freq_factor - low_freq_factor).
 * Source: transformers, `modeling_rope_utils.py`.
 */
export function ropeFrequencies(rope: Rope, rotary_dim: number): Float64Array {
  const factors = ropeFactors(rope, rotary_dim);
  return Float64Array.from(
    { length: rotary_dim / 2 },
    (_, i) => baseFrequency(rope, rotary_dim, i) / factors[i]!,
  );
}

/** The divisor of each frequency that the scaling amounts to. */
export function ropeFactors(rope: Rope, rotary_dim: number): Float64Array {
  const { scaling } = rope;
  return Float64Array.from({ length: rotary_dim / 2 }, (_, i) => {
    if (!scaling) return 1;
    if (scaling.rope_type === "linear") return scaling.factor;
    if (scaling.rope_type === "factors") return scaling.factors[i]!;
    const { factor, low_freq_factor: low, high_freq_factor: high } = scaling;
    const turns =
      (scaling.original_max_position_embeddings * baseFrequency(rope, rotary_dim, i)) / (2 * Math.PI);
    if (turns > high) return 1;
    if (turns < low) return factor;
    const smooth = (turns - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

function baseFrequency(rope: Rope, rotary_dim: number, i: number): number {
  return rope.rope_theta ** ((-2 * i) / rotary_dim);
}

/** [ctx, rotary_dim] f32: for each position the cosines of its rotary_dim / 2 angles, then their sines. */
export function ropeTable(rope: Rope, rotary_dim: number, ctx: number): Float32Array {
  const frequencies = ropeFrequencies(rope, rotary_dim);
  const half = frequencies.length;
  const table = new Float32Array(ctx * rotary_dim);
  for (let position = 0; position < ctx; position++) {
    const row = position * rotary_dim;
    for (let i = 0; i < half; i++) {
      const angle = position * frequencies[i]!;
      table[row + i] = Math.cos(angle);
      table[row + half + i] = Math.sin(angle);
    }
  }
  return table;
}

/**
 * The llama3 scaling that gives these divisors, or undefined when none does. GGUF keeps only the divisors; the three
 * lengths of llama3 are fixed by them up to one common factor, which is chosen so that low_freq_factor is 1, as in
 * every Llama 3.
 */
export function llama3Of(rope_theta: number, factors: readonly number[]): RopeScaling | undefined {
  const rotary_dim = factors.length * 2;
  const factor = Math.max(...factors);
  if (!(factor > 1)) return undefined;
  // Between the plateaus s is a line over the frequency f: s = slope f - offset.
  const between = factors.flatMap((divisor, i) =>
    divisor > 1 + 1e-5 && divisor < factor * (1 - 1e-5)
      ? [
          {
            f: baseFrequency({ rope_theta }, rotary_dim, i),
            s: (1 / divisor - 1 / factor) / (1 - 1 / factor),
          },
        ]
      : [],
  );
  const first = between[0];
  const last = between.at(-1);
  if (!first || !last) return undefined;
  let high = 4; // Llama 3's, where one point leaves it open
  let slope = ((high - 1) * first.s + 1) / first.f / (high - 1);
  if (first !== last) {
    slope = (first.s - last.s) / (first.f - last.f);
    high = nice(1 + 1 / (slope * last.f - last.s)); // the offset is low / (high - low), and low is 1
  }
  const original = nice(slope * (high - 1) * 2 * Math.PI);
  const scaling = {
    rope_type: "llama3",
    factor,
    low_freq_factor: 1,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  } as const;
  const again = ropeFactors({ rope_theta, scaling }, rotary_dim);
  const same = factors.every((divisor, i) => Math.abs(divisor - again[i]!) <= 1e-5 * divisor);
  return same && Number.isInteger(original) ? scaling : undefined;
}

/** The whole number that `x` was before it went through f32, if it is that near to one. */
function nice(x: number): number {
  const whole = Math.round(x);
  return Math.abs(x - whole) <= 1e-3 * whole ? whole : x;
}
