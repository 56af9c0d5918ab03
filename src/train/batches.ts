// Which samples a step trains on, and how they lie in its micro-batches. Everything is a function of the seed and the
// step's number, so a resumed run goes on with the same batches and nothing of this is stored.

import { Random, STREAM } from "./random.ts";
import type { Pair, Sample, TrainBatch } from "./types.ts";

/** What one step trains on. */
export interface StepData {
  readonly batches: readonly TrainBatch[];
  /** Passes over the data when the step is done. */
  readonly epoch: number;
  /** Where the samples came from. */
  readonly sources: readonly Sample["source"][];
}

/** All steps of a run. */
export interface Batches {
  readonly steps: number;
  /** Step i, counted from 0. */
  step(i: number): StepData;
}

/** Largest micro-batch and longest sequence, as `Learner.size`. */
export interface Limits {
  readonly ctx: number;
  readonly tokens: number;
  readonly sequences: number;
}

/** Sequences that must lie in one micro-batch, side by side: a sample, or both answers of a pair. */
export type Item = Sample | Pair;

export interface PackedOptions {
  readonly limits: Limits;
  /** A step takes samples up to so many tokens (at least one sample), in as many micro-batches as they need. */
  readonly batch_tokens: number;
  readonly epochs: number;
  readonly seed: number;
  /** Ends before the epochs do. */
  readonly max_steps?: number;
}

const parts = (item: Item): readonly Sample[] => ("ids" in item ? [item] : [item.chosen, item.rejected]);
/** The last token is only a target. */
const rows = (item: Item): number => parts(item).reduce((sum, { ids }) => sum + ids.length - 1, 0);

/**
 * Every sample once an epoch, in an order that the seed and the epoch give; a step's samples are packed into its
 * micro-batches by best fit. A step may begin in one epoch and end in the next, so only the last one is smaller.
 * @throws {RangeError} naming file and line of a sample that does not fit, or has nothing to learn.
 */
export function packedBatches(items: readonly Item[], options: PackedOptions): Batches {
  const { limits, batch_tokens, epochs, seed, max_steps } = options;
  for (const [name, value] of Object.entries({ batch_tokens, epochs }))
    if (!(value > 0)) throw new RangeError(`Cannot train with ${name} ${value}: wanted more than 0`);
  checkItems(items, limits);
  const lengths = Int32Array.from(items, rows);
  // As many passes as the steps can need at most, and one: what lies behind them is not laid out.
  const largest = lengths.reduce((most, length) => Math.max(most, length), batch_tokens);
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const passes = Math.min(epochs, 1 + Math.ceil(((max_steps ?? Infinity) * largest) / tokens));
  const order = new Uint32Array(Math.ceil(items.length * passes));
  for (let epoch = 0; epoch < passes; epoch++) {
    const [at, shuffled] = [
      epoch * items.length,
      new Random(seed, STREAM.order, epoch).permutation(items.length),
    ];
    order.set(shuffled.subarray(0, order.length - at), at);
  }
  const ends = cut(order, lengths, batch_tokens);
  return {
    steps: Math.min(ends.length, max_steps ?? Infinity),
    step(i) {
      const chosen = [...order.subarray(ends[i - 1] ?? 0, ends[i])].map((n) => items[n]!);
      return {
        batches: packItems(chosen, limits),
        epoch: ends[i]! / items.length,
        sources: chosen.flatMap((item) => parts(item).map(({ source }) => source)),
      };
    },
  };
}

/** Where the pieces of an order end that have at most `most` tokens, or one item. */
function cut(order: Uint32Array, lengths: Int32Array, most: number): number[] {
  const ends: number[] = [];
  let [start, tokens] = [0, 0];
  order.forEach((n, i) => {
    if (i > start && tokens + lengths[n]! > most) {
      ends.push(i);
      [start, tokens] = [i, 0];
    }
    tokens += lengths[n]!;
  });
  return [...ends, order.length];
}

/**
 * Micro-batches of items that `checkItems` finds nothing wrong with: best fit, the longest first. No sequence sees
 * another: each is a segment of its own.
 */
export function packItems(items: readonly Item[], limits: Limits): TrainBatch[] {
  const bins: { left: number; sequences: number; items: Item[] }[] = [];
  const ordered = items.map((item) => ({ item, length: rows(item) })).sort((a, b) => b.length - a.length);
  for (const { item, length } of ordered) {
    const sequences = parts(item).length;
    let best: (typeof bins)[number] | undefined;
    for (const bin of bins)
      if (bin.left >= length && bin.sequences >= sequences && (!best || bin.left < best.left)) best = bin;
    if (!best) bins.push((best = { left: limits.tokens, sequences: limits.sequences, items: [] }));
    best.left -= length;
    best.sequences -= sequences;
    best.items.push(item);
  }
  return bins.map(({ items }) => joined(items.flatMap(parts)));
}

/** Sequences end to end; the target of a token is the next one, where that is learned. */
function joined(samples: readonly Sample[]): TrainBatch {
  const count = samples.reduce((sum, { ids }) => sum + ids.length - 1, 0);
  const tokens = new Int32Array(count);
  const targets = new Int32Array(count);
  const starts: number[] = [];
  let at = 0;
  for (const { ids, learned } of samples) {
    starts.push(at);
    for (let i = 0; i + 1 < ids.length; i++, at++) {
      tokens[at] = ids[i]!;
      targets[at] = learned[i + 1] ? ids[i + 1]! : -1;
    }
  }
  return { tokens, targets, starts, samples };
}

/** @throws {RangeError} naming file and line of the first item that does not fit, or has nothing to learn. */
export function checkItems(items: readonly Item[], { ctx, tokens, sequences }: Limits): void {
  if (items.length === 0) throw new RangeError("Cannot train on no samples: wanted at least one");
  for (const item of items) {
    const samples = parts(item);
    for (const { ids, learned, source } of samples) {
      if (ids.length - 1 > ctx)
        throw new RangeError(
          `Cannot train on ${place(source)}: it has ${ids.length} tokens, wanted at most ${ctx + 1}`,
        );
      if (ids.length < 2 || !learned.includes(1, 1))
        throw new RangeError(`Cannot train on ${place(source)}: it has no token to learn after its first`);
    }
    if (rows(item) > tokens || samples.length > sequences)
      throw new RangeError(
        `Cannot train on ${place(samples[0]!.source)}: it takes ${rows(item)} tokens in ${samples.length} sequences, wanted at most ${tokens} in ${sequences} a micro-batch`,
      );
  }
}

const place = ({ file, line }: Sample["source"]) => `${JSON.stringify(file)} line ${line}`;

export interface WindowOptions {
  readonly limits: Limits;
  /** Tokens of a window. */
  readonly ctx: number;
  /** Windows a step. */
  readonly sequences: number;
  readonly steps: number;
  readonly seed: number;
  readonly file: string;
}

/** One long text: every step takes windows of `ctx` tokens from random places of it. */
export function windowBatches(ids: Int32Array, options: WindowOptions): Batches {
  const { limits, ctx, sequences, steps, seed, file } = options;
  if (ctx > Math.min(limits.ctx, limits.tokens))
    throw new RangeError(`Cannot train on windows of ${ctx} tokens: wanted at most ${limits.ctx}`);
  const places = ids.length - ctx;
  if (places < 1)
    throw new RangeError(
      `Cannot train on windows of ${ctx} tokens of ${JSON.stringify(file)}: it has ${ids.length}, wanted more than ${ctx}`,
    );
  return {
    steps,
    step(i) {
      const random = new Random(seed, STREAM.windows, i);
      const starts = Array.from({ length: sequences }, () => random.below(places));
      return {
        batches: packItems(
          starts.map((start) => slice(ids, start, ctx, file)),
          limits,
        ),
        epoch: ((i + 1) * sequences * ctx) / ids.length,
        sources: [{ file, line: 1 }],
      };
    },
  };
}

/** A long text cut into windows of `ctx` tokens that follow each other: every token but the first is a target once. */
export function consecutiveWindows(ids: Int32Array, ctx: number, file: string): Sample[] {
  const count = Math.ceil((ids.length - 1) / ctx);
  return Array.from({ length: Math.max(0, count) }, (_, n) => slice(ids, n * ctx, ctx, file));
}

function slice(ids: Int32Array, start: number, ctx: number, file: string): Sample {
  const window = ids.subarray(start, start + ctx + 1);
  return { ids: window, learned: new Uint8Array(window.length).fill(1), source: { file, line: 1 } };
}
