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
  | {
      readonly rope_type: "yarn";
      readonly factor: number;
      readonly original_max_position_embeddings: number;
      readonly beta_fast: number;
      readonly beta_slow: number;
      /** Cosines and sines are multiplied by it. */
      readonly attention_factor: number;
    }
  /** Divisors for sequences of up to `original_max_position_embeddings` positions, and for longer ones. */
  | {
      readonly rope_type: "longrope";
      readonly short_factor: readonly number[];
      readonly long_factor: readonly number[];
      readonly original_max_position_embeddings: number;
      readonly attention_factor: number;
    }
  /** The first ⌊partial_rotary_factor · d / 2⌋ of the d / 2 pairs turn, the others' frequency is 0. */
  | { readonly rope_type: "proportional"; readonly partial_rotary_factor: number }
  /** A divisor for each of the d / 2 frequencies, as GGUF's `rope_freqs.weight` holds them. */
  | { readonly rope_type: "factors"; readonly factors: readonly number[] };

export interface Rope {
  readonly rope_theta: number;
  /** Components of a head that are rotated, from the first; absent: all. Even. */
  readonly rotary_dim?: number;
  readonly scaling?: RopeScaling;
}

const THETA = { min: 1e-3, max: 1e15 };
const FACTOR = { min: 1e-3, max: 1e6 };

/**
 * Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before).
 * @param own the object that holds them, where it is not the config's own: one of several, by type of layer
 * @throws {TypeError | RangeError} also for a kind of scaling that is not implemented.
 */
export function readRope(config: Fields, head_dim: number, own?: Fields): Rope {
  const fields = own ?? config.object("rope_parameters") ?? config.object("rope_scaling");
  const theta = fields?.has("rope_theta") ? fields : config;
  const rope_theta = theta.number("rope_theta", THETA, 10000);
  const whole = fields?.value("rope_type") === "proportional";
  const rotary_dim = whole
    ? head_dim
    : rotaryDimOf(fields?.has("partial_rotary_factor") ? fields : config, head_dim);
  const plain = { rope_theta, ...(rotary_dim !== head_dim && { rotary_dim }) };
  if (!fields) return plain;
  const scaling = readScaling(fields, config, rotary_dim);
  return scaling ? { ...plain, scaling } : plain;
}

function rotaryDimOf(fields: Fields, head_dim: number): number {
  const partial = fields.number("partial_rotary_factor", { min: 0, max: 1 }, 1);
  if (partial === 1) return head_dim;
  const rotary_dim = Math.floor(head_dim * partial);
  if (rotary_dim < 2 || rotary_dim % 2 !== 0)
    fields.fail("partial_rotary_factor", partial, `one that gives an even part of head_dim ${head_dim}`);
  return rotary_dim;
}

const LENGTH = { min: 1, max: 2 ** 31 };

function readScaling(fields: Fields, config: Fields, rotary_dim: number): RopeScaling | undefined {
  const key = fields.has("rope_type") ? "rope_type" : "type";
  const rope_type = fields.string(key, "default");
  const original = () =>
    config.has("original_max_position_embeddings")
      ? config.integer("original_max_position_embeddings", LENGTH)
      : fields.integer("original_max_position_embeddings", LENGTH);
  switch (rope_type) {
    case "default":
      return undefined;
    case "linear":
      return { rope_type, factor: fields.number("factor", FACTOR) };
    case "proportional": {
      const factor = fields.number("factor", FACTOR, 1);
      if (factor !== 1) fields.fail("factor", factor, "1: proportional frequencies are not scaled");
      const partial_rotary_factor = fields.number("partial_rotary_factor", { min: 0, max: 1 }, 1);
      return partial_rotary_factor === 1 ? undefined : { rope_type, partial_rotary_factor };
    }
    case "llama3": {
      const scaling = {
        rope_type,
        factor: fields.number("factor", FACTOR),
        low_freq_factor: fields.number("low_freq_factor", FACTOR),
        high_freq_factor: fields.number("high_freq_factor", FACTOR),
        original_max_position_embeddings: original(),
      } as const;
      if (scaling.high_freq_factor <= scaling.low_freq_factor)
        fields.fail("high_freq_factor", scaling.high_freq_factor, `more than ${scaling.low_freq_factor}`);
      return scaling;
    }
    case "yarn":
      return readYarn(fields, original());
    case "longrope":
    case "su": {
      const length = original();
      const longest = config.integer("max_position_embeddings", LENGTH, length);
      const factor = fields.number("factor", FACTOR, longest / length);
      return {
        rope_type: "longrope",
        short_factor: readFactors(fields, "short_factor", rotary_dim / 2),
        long_factor: readFactors(fields, "long_factor", rotary_dim / 2),
        original_max_position_embeddings: length,
        attention_factor: fields.number(
          "attention_factor",
          FACTOR,
          factor > 1 ? Math.sqrt(1 + Math.log(factor) / Math.log(length)) : 1,
        ),
      };
    }
    default:
      return fields.fail(
        key,
        rope_type,
        'one that is implemented: "default", "linear", "proportional", "llama3", "yarn" or "longrope"',
      );
  }
}

function readYarn(fields: Fields, original_max_position_embeddings: number): RopeScaling {
  const factor = fields.number("factor", FACTOR);
  if (!fields.boolean("truncate", true))
    fields.fail("truncate", false, "true: bounds that are not rounded are not implemented");
  const mscale = fields.number("mscale", { min: 0, max: 1e3 }, 0);
  const all = fields.number("mscale_all_dim", { min: 0, max: 1e3 }, 0);
  const usual =
    mscale && all ? yarnAttention(factor, mscale) / yarnAttention(factor, all) : yarnAttention(factor);
  return {
    rope_type: "yarn",
    factor,
    original_max_position_embeddings,
    beta_fast: fields.number("beta_fast", FACTOR, 32),
    beta_slow: fields.number("beta_slow", FACTOR, 1),
    attention_factor: fields.number("attention_factor", FACTOR, usual),
  };
}

/** YaRN's factor of cosines and sines: 0.1 mscale ln(factor) + 1. Source: Peng et al., arXiv 2309.00071. */
export function yarnAttention(factor: number, mscale = 1): number {
  return factor > 1 ? 0.1 * mscale * Math.log(factor) + 1 : 1;
}

function readFactors(fields: Fields, name: string, count: number): number[] {
  const list = fields.value(name);
  if (!Array.isArray(list) || list.length !== count) fields.fail(name, list, `a list of ${count} numbers`);
  return list.map((x: unknown, i) => {
    if (typeof x !== "number" || !(x >= FACTOR.min && x <= FACTOR.max))
      fields.fail(`${name}[${i}]`, x, `a number from ${FACTOR.min} to ${FACTOR.max}`);
    return x;
  });
}

/** `rope_theta`, `rope_scaling` and `partial_rotary_factor` of a config.json, for writing. */
export function ropeToJson(
  { rope_theta, rotary_dim, scaling }: Rope,
  head_dim: number,
): Record<string, unknown> {
  if (scaling?.rope_type === "factors")
    throw new TypeError(
      "Cannot write config.json: the rope factors are none that llama3 scaling gives, which is all it can state",
    );
  return {
    rope_theta,
    ...(rotary_dim !== undefined && { partial_rotary_factor: rotary_dim / head_dim }),
    ...(scaling && { rope_scaling: scaling }),
    // Phi's longrope has its length beside the scaling.
    ...(scaling?.rope_type === "longrope" && {
      original_max_position_embeddings: scaling.original_max_position_embeddings,
    }),
  };
}

/**
 * Angle per position of each of the `rotary_dim / 2` pairs: `theta ** (-2i / rotary_dim)`, scaled.
 *
 * llama3, with wavelength w = 2π / f and L the original context: f when w < L / high_freq_factor, f / factor when
 * w > L / low_freq_factor, and between them (1 - s) f / factor + s f with
 * s = (L / w - low_freq_factor) / (high_freq_factor - low_freq_factor).
 * yarn: f where a head's pair turns more than beta_fast times in L, f / factor where less than beta_slow times, and
 * between them a line over the pair's number, whose ends are rounded outward.
 * longrope: its divisors for sequences of up to `ctx` positions.
 * proportional: f for the pairs that turn, 0 for the others.
 * Source: transformers, `modeling_rope_utils.py`.
 */
export function ropeFrequencies(rope: Rope, rotary_dim: number, ctx = 1): Float64Array {
  const factors = ropeFactors(rope, rotary_dim, ctx);
  return Float64Array.from(
    { length: rotary_dim / 2 },
    (_, i) => baseFrequency(rope, rotary_dim, i) / factors[i]!,
  );
}

/** The divisor of each frequency that the scaling amounts to, for sequences of up to `ctx` positions. */
export function ropeFactors(rope: Rope, rotary_dim: number, ctx = 1): Float64Array {
  const { scaling } = rope;
  return Float64Array.from({ length: rotary_dim / 2 }, (_, i) => {
    switch (scaling?.rope_type) {
      case undefined:
        return 1;
      case "linear":
        return scaling.factor;
      case "proportional":
        return i < Math.floor((scaling.partial_rotary_factor * rotary_dim) / 2)
          ? 1
          : Number.POSITIVE_INFINITY;
      case "factors":
        return scaling.factors[i]!;
      case "longrope":
        return (ctx > scaling.original_max_position_embeddings ? scaling.long_factor : scaling.short_factor)[
          i
        ]!;
      case "yarn": {
        const pair = (turns: number) =>
          (rotary_dim * Math.log(scaling.original_max_position_embeddings / (turns * 2 * Math.PI))) /
          (2 * Math.log(rope.rope_theta));
        const low = Math.max(Math.floor(pair(scaling.beta_fast)), 0);
        const high = Math.min(Math.ceil(pair(scaling.beta_slow)), rotary_dim - 1);
        const slow = Math.min(1, Math.max(0, (i - low) / Math.max(1e-3, high - low)));
        return 1 / (slow / scaling.factor + 1 - slow);
      }
      case "llama3": {
        const { factor, low_freq_factor: low, high_freq_factor: high } = scaling;
        const turns =
          (scaling.original_max_position_embeddings * baseFrequency(rope, rotary_dim, i)) / (2 * Math.PI);
        if (turns > high) return 1;
        if (turns < low) return factor;
        const smooth = (turns - low) / (high - low);
        return 1 / ((1 - smooth) / factor + smooth);
      }
    }
  });
}

function baseFrequency(rope: Rope, rotary_dim: number, i: number): number {
  return rope.rope_theta ** ((-2 * i) / rotary_dim);
}

/**
 * [ctx, rotary_dim] f32: for each position the cosines of its rotary_dim / 2 angles, then their sines, times the
 * scaling's attention factor. `ctx` is the longest sequence that there will be: longrope's divisors go by it.
 */
export function ropeTable(rope: Rope, rotary_dim: number, ctx: number): Float32Array {
  const frequencies = ropeFrequencies(rope, rotary_dim, ctx);
  const attention =
    (rope.scaling && "attention_factor" in rope.scaling && rope.scaling.attention_factor) || 1;
  const half = frequencies.length;
  const table = new Float32Array(ctx * rotary_dim);
  for (let position = 0; position < ctx; position++) {
    const row = position * rotary_dim;
    for (let i = 0; i < half; i++) {
      const angle = position * frequencies[i]!;
      table[row + i] = attention * Math.cos(angle);
      table[row + half + i] = attention * Math.sin(angle);
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
