// What training takes in memory beside the weights, and the largest micro-batch that there is room for.

import { plan } from "../engine/plan.ts";
import { mib } from "../models/index.ts";
import { type ComputeOptions, recordGradients } from "./programs.ts";
import { count, type Trainable, weightBytes } from "./trainable.ts";
import type { Learner } from "./types.ts";

/** Records what a micro-batch's gradients are computed by. */
export type GradientProgram = typeof recordGradients;

export interface TrainingMemory {
  /** Bytes of weights, trained and frozen; of a plan also those of a teacher in this process. */
  readonly weights: number;
  /** Gradient sums and both moments. */
  readonly optimizer: number;
  /** Activations of the largest micro-batch, and what else grows. */
  readonly work: number;
  readonly total: number;
}

/** Threads' scratch, and the process's own growth. */
const OTHER_BYTES = 64 * 2 ** 20;
/** Tokens of a micro-batch beyond which a product is no faster. */
const ENOUGH_TOKENS = 2048;
const MAX_SEQUENCES = 128;

/** What a learner of this size takes, exactly as it is planned. */
export function trainingMemory(
  trainable: Trainable,
  size: Learner["size"],
  compute: ComputeOptions = {},
  record: GradientProgram = recordGradients,
): TrainingMemory {
  const weights = weightBytes(trainable);
  const trained = [...trainable.trained.values()];
  const optimizer = 12 * trained.reduce((sum, { shape }) => sum + count(shape), 0);
  const maxima = { T: size.tokens, S: size.sequences, R: size.tokens };
  const { arenaBytes } = plan(record(trainable, size.ctx, compute), maxima);
  const update = 4 * Math.max(...trained.map(({ shape }) => count(shape)));
  const work = arenaBytes + update + OTHER_BYTES;
  return { weights, optimizer, work, total: weights + optimizer + work };
}

export interface SizeOptions {
  /** Longest sequence. */
  readonly ctx: number;
  /** Tokens of a step. */
  readonly batch_tokens: number;
  /** Sequences that must lie in one micro-batch: 2 for pairs. */
  readonly together?: number;
  /** Bytes that may be taken beside the weights, which are loaded already. */
  readonly available: number;
  readonly compute?: ComputeOptions;
  /** The program of a micro-batch. Default: that of the samples' own tokens. */
  readonly record?: GradientProgram;
}

/**
 * The largest micro-batch that fits, up to a step's tokens.
 * @throws {RangeError} with both numbers, and the context that would fit
 */
export function chooseSize(trainable: Trainable, options: SizeOptions): Learner["size"] {
  const { ctx, batch_tokens, together = 1, available, compute, record } = options;
  const sized = (ctx: number, tokens: number) => ({
    ctx,
    tokens,
    sequences: Math.max(together, Math.min(MAX_SEQUENCES, tokens)),
  });
  const need = (size: Learner["size"]) => {
    const { optimizer, work } = trainingMemory(trainable, size, compute, record);
    return optimizer + work;
  };
  const least = ctx * together;
  let tokens = Math.max(least, Math.min(batch_tokens, Math.max(least, ENOUGH_TOKENS)));
  while (tokens > least && need(sized(ctx, tokens)) > available)
    tokens = Math.max(least, Math.floor(tokens / 2));
  const needed = need(sized(ctx, tokens));
  if (needed <= available) return sized(ctx, tokens);
  let fits = ctx;
  while (fits > 8 && need(sized(fits, fits * together)) > available) fits = Math.floor(fits / 2);
  const advice =
    fits > 8
      ? `a context of ${fits} would fit (--ctx ${fits})`
      : "no context would fit: a smaller model, or an adapter of it, is wanted";
  throw new RangeError(
    `Cannot train with a context of ${ctx}: beside the weights it needs ${mib(needed)}, but ${mib(available)} of memory is available; ${advice}`,
  );
}
