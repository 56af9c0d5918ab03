// Calibration data: samples of files, some of them by chance, packed as training packs them.

import { endTokens, memoryNeeded, mib, type OpenedModel, weightShapes } from "../models/index.ts";
import { fileDigests, packItems, Random, readSamples, type Sample, type TrainBatch } from "../train/index.ts";
import type { Limits } from "./measure.ts";

export interface CalibrationOptions {
  /** Files of text or samples (see `readSamples`): what importance and losses are measured on. */
  readonly calibration: string | readonly string[];
  /** Tokens of them that are used, chosen by the seed. Default 32768. */
  readonly tokens?: number;
  /** Of these, so many for every trial of a layer or size. Default 4096. */
  readonly trial_tokens?: number;
  /** Longest sequence; what is longer is cut. Default: the lesser of the model's context and 512. */
  readonly ctx?: number;
  /** Default 0. */
  readonly seed?: number;
}

export interface Calibration {
  readonly limits: Limits;
  readonly batches: readonly TrainBatch[];
  /** A part of them, for what is measured again and again. */
  readonly trial: readonly TrainBatch[];
  /** Targets that a loss is the mean of. */
  readonly targets: number;
  /** File -> SHA-256. */
  readonly digests: Readonly<Record<string, string>>;
}

const DEFAULT_TOKENS = 32768;
const DEFAULT_TRIAL_TOKENS = 4096;
const DEFAULT_CTX = 512;
const BATCH_TOKENS = 1024;
const MAX_SEQUENCES = 128;
/** Names the stream of random numbers. */
const STREAM = 96;

/** @throws {SyntaxError | TypeError | RangeError} as `readSamples`, and on options that allow no token */
export async function readCalibration(
  model: OpenedModel,
  options: CalibrationOptions,
  signal: AbortSignal,
): Promise<Calibration> {
  const longest = model.config.max_position_embeddings;
  const { ctx = Math.min(longest, DEFAULT_CTX), seed = 0 } = options;
  const { tokens = DEFAULT_TOKENS, trial_tokens = DEFAULT_TRIAL_TOKENS } = options;
  const cannot = `Cannot prune ${JSON.stringify(model.name)} with `;
  if (!(Number.isInteger(ctx) && ctx >= 2 && ctx <= longest))
    throw new RangeError(
      `${cannot}a context of ${ctx}: wanted a whole number from 2 to ${longest}, for which it was trained`,
    );
  for (const [name, value] of Object.entries({ tokens, trial_tokens }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`${cannot}${name} ${value}: wanted a whole number, 1 or more`);
  const tokenizer = await model.tokenizer();
  const files = options.calibration;
  // One more than the context: the last token of a sample is a target only.
  const { samples, stats } = await readSamples(files, {
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
  const limits: Limits = { ctx, tokens: Math.max(ctx, BATCH_TOKENS), sequences: MAX_SEQUENCES };
  const batches = packItems(first(order, tokens), limits);
  return {
    limits,
    batches,
    trial: packItems(first(order, Math.min(tokens, trial_tokens)), limits),
    targets: batches.reduce((sum, { targets }) => sum + targets.filter((id) => id >= 0).length, 0),
    digests: fileDigests(stats),
  };
}

/** So many samples that they reach `tokens`. */
function first(samples: readonly Sample[], tokens: number): Sample[] {
  let sum = 0;
  const end = samples.findIndex(({ ids }) => (sum += ids.length - 1) >= tokens);
  return samples.slice(0, end < 0 ? samples.length : end + 1);
}

/** @throws {RangeError} with both numbers, when weights and activations do not fit */
export function checkMemory(model: OpenedModel, { limits }: Calibration, available: number): void {
  const { ctx, tokens, sequences } = limits;
  // Rows of logits are in chunks, whatever their number.
  const sizes = { ctx, kv: "f32", cacheTokens: 1, T: tokens, R: 64, S: sequences } as const;
  const { total } = memoryNeeded(model.config, weightShapes(model), sizes);
  if (total > available)
    throw new RangeError(
      `Cannot prune ${JSON.stringify(model.name)}: to run it takes ${mib(total)}, but ${mib(available)} of memory is available`,
    );
}
