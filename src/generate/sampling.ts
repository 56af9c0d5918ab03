// From what a caller asks for to what the sampler is told: names, ranges and defaults of the sampling settings.

import type { SampleRow } from "../engine/sampler.ts";
import type { GenerationConfig } from "../models/config.ts";

/** How tokens are chosen. See `SampleRow` for the arithmetic and its order. */
export interface SamplingOptions {
  /** 0: always the likeliest token. */
  readonly temperature?: number;
  /** Only the k likeliest tokens; 0: all. */
  readonly topK?: number;
  /** Only the fewest tokens that together have this probability; 1: all. */
  readonly topP?: number;
  /** Only tokens at least this times as likely as the likeliest; 0: all. */
  readonly minP?: number;
  /** Above 1: tokens of the prompt and the answer become less likely. */
  readonly repetitionPenalty?: number;
  /** Taken from the logit of every token that was generated before. */
  readonly presencePenalty?: number;
  /** Taken from the logit of a token each time that it was generated before. */
  readonly frequencyPenalty?: number;
  /** Added to the logits of these tokens; -Infinity forbids one. */
  readonly logitBias?: Readonly<Record<number, number>> | ReadonlyMap<number, number>;
  /** The same seed and prompt give the same text. Default: a random one. */
  readonly seed?: number | bigint;
  /** Reports the logprob of every chosen token, and of this many of the likeliest beside it. */
  readonly logprobs?: number;
}

/** What is used where neither the caller nor the model's maker says anything: llama.cpp's defaults. */
const DEFAULTS = { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05 };
/** What a maker's settings leave out is off. */
const OFF = { temperature: 1, top_k: 0, top_p: 1, min_p: 0 };

/**
 * The settings of a sequence. Where generation_config.json says how to sample, the model's maker decides what the
 * caller leaves open (`do_sample: false` is temperature 0).
 * @throws {RangeError | TypeError} naming the option, the value found and the value wanted
 */
export function sampleRow(options: SamplingOptions, maker: GenerationConfig, vocab_size: number): SampleRow {
  const { temperature, top_k, top_p, min_p } = maker;
  const given = [temperature, top_k, top_p, min_p].some((value) => value !== undefined);
  const base = given ? OFF : DEFAULTS;
  const greedy = maker.do_sample === false ? 0 : undefined;
  return {
    temperature:
      number("temperature", options.temperature, 0, 1e6) ?? greedy ?? temperature ?? base.temperature,
    top_k: integer("topK", options.topK, 0, 2 ** 31 - 1) ?? top_k ?? base.top_k,
    top_p: number("topP", options.topP, 0, 1) ?? top_p ?? base.top_p,
    min_p: number("minP", options.minP, 0, 1) ?? min_p ?? base.min_p,
    repetition_penalty:
      number("repetitionPenalty", options.repetitionPenalty, 1e-3, 1e3) ?? maker.repetition_penalty ?? 1,
    presence_penalty: number("presencePenalty", options.presencePenalty, -1e6, 1e6) ?? 0,
    frequency_penalty: number("frequencyPenalty", options.frequencyPenalty, -1e6, 1e6) ?? 0,
    bias: logitBias(options.logitBias, vocab_size),
    seed: seedWords(options.seed),
    counter: 0,
    logprobs: integer("logprobs", options.logprobs, 0, vocab_size) ?? -1,
  };
}

function number(name: string, value: unknown, min: number, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !(value >= min && value <= max))
    throw new RangeError(
      `Cannot generate with ${name} ${show(value)}: wanted a number from ${min} to ${max}`,
    );
  return value;
}

function integer(name: string, value: unknown, min: number, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max)
    throw new RangeError(
      `Cannot generate with ${name} ${show(value)}: wanted a whole number from ${min} to ${max}`,
    );
  return value as number;
}

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

function logitBias(bias: SamplingOptions["logitBias"], vocab_size: number): SampleRow["bias"] {
  if (bias === undefined) return undefined;
  const entries =
    bias instanceof Map ? [...bias] : Object.entries(bias).map(([id, value]) => [Number(id), value]);
  for (const [id, value] of entries) {
    if (!Number.isInteger(id) || id < 0 || id >= vocab_size)
      throw new RangeError(`Cannot bias token ${id}: wanted an id from 0 to ${vocab_size - 1}`);
    if (typeof value !== "number" || !(value <= 1e30))
      throw new RangeError(
        `Cannot bias token ${id} by ${show(value)}: wanted a number, or -Infinity to forbid it`,
      );
  }
  return {
    ids: Int32Array.from(entries, ([id]) => id!),
    values: Float64Array.from(entries, ([, value]) => value!),
  };
}

/** @throws {RangeError} for what is no whole number from 0 to 2^64 - 1 (2^53 - 1 as a number) */
function seedWords(seed: number | bigint | undefined): [number, number] {
  if (seed === undefined) {
    const [low, high] = crypto.getRandomValues(new Uint32Array(2));
    return [low!, high! & 0x1fffff]; // 53 bits: it can be given back as a number
  }
  const good =
    typeof seed === "bigint" ? seed >= 0n && seed < 1n << 64n : Number.isSafeInteger(seed) && seed >= 0;
  if (!good)
    throw new RangeError(
      `Cannot generate with seed ${show(seed)}: wanted a whole number, 0 or more, of 64 bits`,
    );
  const wide = BigInt(seed);
  return [Number(wide & 0xffffffffn), Number(wide >> 32n)];
}

/** The seed of a row as a number (or as a bigint above 2^53), to draw the same text again. */
export function seedOf(row: SampleRow): number | bigint {
  const [low, high] = row.seed;
  return high <= 0x1fffff ? high * 2 ** 32 + low : (BigInt(high) << 32n) | BigInt(low);
}
