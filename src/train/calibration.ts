// Calibration data: samples of files, some of them by chance, packed as training packs them. For what measures a model
// without changing it: pruning, quantizing.

import { endTokens, type OpenedModel } from "../models/index.ts";
import { type Limits, packItems } from "./batches.ts";
import { fileDigests, readSamples } from "./data/index.ts";
import { Random } from "./random.ts";
import type { Sample, TrainBatch } from "./types.ts";

export interface CalibrationOptions {
  /** Files of text or samples (see `readSamples`): what is measured on. */
  readonly calibration: string | readonly string[];
  /** Tokens of them that are used, chosen by the seed. Default 32768. */
  readonly tokens?: number;
  /** Instead of `tokens`: so many samples. A text is cut into samples of `ctx` tokens. */
  readonly samples?: number;
  /** Longest sequence; what is longer is cut. Default: the lesser of the model's context and 512. */
  readonly ctx?: number;
  /** Default 0. */
  readonly seed?: number;
}

export interface Calibration {
  /** Largest micro-batch, and longest sequence. */
  readonly limits: Limits;
  readonly batches: readonly TrainBatch[];
  /** The samples in their order by chance, beyond `tokens` too. */
  readonly samples: readonly Sample[];
  /** Targets that a loss is the mean of. */
  readonly targets: number;
  /** File -> SHA-256. */
  readonly digests: Readonly<Record<string, string>>;
}

export const CALIBRATION_TOKENS = 32768;
/** Tokens of a sequence, and of a step, where nobody says. */
export const CALIBRATION_CTX = 512;
export const CALIBRATION_STEP = 1024;
const MAX_SEQUENCES = 128;
/** Names the stream of random numbers. */
const STREAM = 96;

/** @throws {RangeError} on a window of tokens longer than `model` was trained for */
export function checkContext(verb: string, model: OpenedModel, ctx: number): void {
  const longest = model.config.max_position_embeddings;
  if (!(Number.isInteger(ctx) && ctx >= 2 && ctx <= longest))
    throw new RangeError(
      `Cannot ${verb} ${JSON.stringify(model.name)} with a context of ${ctx}: wanted a whole number from 2 to ${longest}, for which it was trained`,
    );
}

/**
 * @param verb what an error says cannot be done, e.g. "prune"
 * @throws {SyntaxError | TypeError | RangeError} as `readSamples`, and on options that allow no token
 */
export async function readCalibration(
  verb: string,
  model: OpenedModel,
  options: CalibrationOptions,
  signal: AbortSignal,
): Promise<Calibration> {
  const longest = model.config.max_position_embeddings;
  const { ctx = Math.min(longest, CALIBRATION_CTX), tokens = CALIBRATION_TOKENS, seed = 0 } = options;
  const cannot = `Cannot ${verb} ${JSON.stringify(model.name)} with `;
  checkContext(verb, model, ctx);
  for (const [name, value] of Object.entries({ tokens, samples: options.samples ?? 1 }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`${cannot}${name} ${value}: wanted a whole number, 1 or more`);
  const tokenizer = await model.tokenizer();
  // One more than the context: the last token of a sample is a target only.
  const { samples, stats } = await readSamples(options.calibration, {
    tokenizer,
    ctx: ctx + 1,
    long: "cut",
    stopIds: endTokens(tokenizer, model),
    signal,
  });
  const usable = samples.filter(({ ids, learned }) => ids.length >= 2 && learned.includes(1, 1));
  if (usable.length === 0)
    throw new RangeError(
      `${cannot}${stats.files.map(({ file }) => file).join(", ")}: no sample has a token to predict`,
    );
  const order = [...new Random(seed, STREAM).permutation(usable.length)].map((i) => usable[i]!);
  const limits: Limits = { ctx, tokens: Math.max(ctx, CALIBRATION_STEP), sequences: MAX_SEQUENCES };
  const chosen =
    options.samples === undefined ? firstSamples(order, tokens) : order.slice(0, options.samples);
  const batches = packItems(chosen, limits);
  return {
    limits,
    batches,
    samples: order,
    targets: batches.reduce((sum, { targets }) => sum + targets.filter((id) => id >= 0).length, 0),
    digests: fileDigests(stats),
  };
}

/** So many samples that they reach `tokens`. */
export function firstSamples(samples: readonly Sample[], tokens: number): Sample[] {
  let sum = 0;
  const end = samples.findIndex(({ ids }) => (sum += ids.length - 1) >= tokens);
  return samples.slice(0, end < 0 ? samples.length : end + 1);
}
