/**
 * Choosing the next token from logits: the definition, in plain TypeScript, and the flat arrays that carry a request
 * to `kernels/sampler.h`, which does the same quickly. Ids and numbers only: no text, no sequences.
 *
 * Order: repetition, presence and frequency penalties → bias → mask → top_k → top_p → min_p → temperature (llama.cpp's
 * default order, so its recommended settings carry over). Adjusted logits are rounded to f32; all else is float64.
 */

/** Token counts that the penalties look at. */
export interface SampleHistory {
  /** Each id at most once; the first `length` are valid. */
  ids: Int32Array;
  /** How often each id was generated; 0: it occurs in the prompt only. */
  counts: Int32Array;
  length: number;
}

/** How one row of logits is sampled. */
export interface SampleRow {
  /** 0: the largest logit wins, the lowest id among equals. */
  temperature: number;
  /** Keeps the k largest; 0: off. */
  top_k: number;
  /** Keeps the fewest largest whose probabilities reach top_p; 1: off. Probabilities at temperature 1, after top_k. */
  top_p: number;
  /** Keeps what has at least min_p times the largest probability; 0: off. */
  min_p: number;
  /** Divides a positive logit, multiplies a negative one, of every id in the history; 1: off. */
  repetition_penalty: number;
  /** Subtracted once from ids that were generated. */
  presence_penalty: number;
  /** Subtracted for every time an id was generated. */
  frequency_penalty: number;
  history?: SampleHistory | undefined;
  /** Added to logits; -Infinity forbids. */
  bias?: { readonly ids: Int32Array; readonly values: Float64Array } | undefined;
  /** Bit id % 32 of word id / 32 set: allowed. At least ceil(vocab / 32) words. */
  mask?: Uint32Array | undefined;
  /** Low and high 32 bits. */
  seed: readonly [number, number];
  /** Position in the random stream: the draw depends on (seed, counter) and nothing else. */
  counter: number;
  /**
   * How many of the likeliest tokens to report; 0: only the chosen one; -1: none (`logprob` is NaN). These are
   * log-softmax of the logits as the model gave them, before penalties, bias, mask and truncation.
   */
  logprobs: number;
}

export interface SampleResult {
  /** The token, or a negative number: see `sampleError`. */
  id: number;
  logprob: number;
  top?: { id: number; logprob: number }[];
}

/** `SampleResult.id` when no token is allowed. */
export const SAMPLE_NONE_ALLOWED = -1;
/** `SampleResult.id` when a logit is NaN or +Infinity. */
export const SAMPLE_NOT_FINITE = -2;

/** What went wrong in a row, or undefined. One row's failure says nothing about the others of the step. */
export function sampleError(result: SampleResult): Error | undefined {
  if (result.id >= 0) return undefined;
  if (result.id === SAMPLE_NONE_ALLOWED)
    return new RangeError("Cannot choose a token: mask and bias allow none, wanted at least one");
  return new Error("Cannot choose a token: the model's logits hold NaN or Infinity, wanted finite numbers");
}

/** Samples one row of logits [vocab]. The definition of truth for every backend. */
export function sample(logits: Float32Array | Float64Array, row: SampleRow): SampleResult {
  const x = Float32Array.from(logits);
  for (const value of x)
    if (Number.isNaN(value) || value === Infinity) return { id: SAMPLE_NOT_FINITE, logprob: Number.NaN };

  let logSum = Number.NaN;
  let top: { id: number; logprob: number }[] | undefined;
  if (row.logprobs >= 0) {
    const max = x.reduce((a, b) => Math.max(a, b), -Infinity);
    logSum = max + Math.log(x.reduce((sum, value) => sum + Math.exp(value - max), 0));
    if (row.logprobs > 0)
      top = descending(x)
        .slice(0, row.logprobs)
        .map((id) => ({ id, logprob: x[id]! - logSum }));
  }

  const adjusted = x.slice();
  adjust(adjusted, row);
  const id = choose(adjusted, row);
  const logprob = id >= 0 ? x[id]! - logSum : Number.NaN;
  return top ? { id, logprob, top } : { id, logprob };
}

/** Penalties, bias and mask, in place. */
function adjust(x: Float32Array, row: SampleRow): void {
  const { history, bias, mask } = row;
  for (let j = 0; history && j < history.length; j++) {
    const id = history.ids[j]!;
    const count = history.counts[j]!;
    let value = x[id]!;
    value = value > 0 ? value / row.repetition_penalty : value * row.repetition_penalty;
    if (count > 0) value -= row.presence_penalty + count * row.frequency_penalty;
    x[id] = value;
  }
  for (let j = 0; bias && j < bias.ids.length; j++) x[bias.ids[j]!]! += bias.values[j]!;
  if (mask)
    for (let id = 0; id < x.length; id++) if (((mask[id >>> 5]! >>> (id & 31)) & 1) === 0) x[id] = -Infinity;
}

function choose(x: Float32Array, row: SampleRow): number {
  let best = -1;
  for (let id = 0; id < x.length; id++) if (x[id]! > (best < 0 ? -Infinity : x[best]!)) best = id;
  if (best < 0) return SAMPLE_NONE_ALLOWED;
  const max = x[best]!;
  if (!(row.temperature > 0) || max === Infinity) return best;

  const truncated = row.top_k > 0 || row.top_p < 1 || row.min_p > 0;
  // With nothing to cut there is nothing to sort: the draw then walks in order of id.
  let kept = truncated ? descending(x) : Array.from(x, (_, id) => id).filter((id) => x[id]! > -Infinity);
  if (row.top_k > 0) kept = kept.slice(0, row.top_k);
  if (row.top_p < 1) {
    const total = kept.reduce((sum, id) => sum + Math.exp(x[id]! - max), 0);
    let sum = 0;
    const n = kept.findIndex((id) => (sum += Math.exp(x[id]! - max)) >= row.top_p * total);
    if (n >= 0) kept = kept.slice(0, n + 1);
  }
  if (row.min_p > 0) kept = kept.filter((id) => Math.exp(x[id]! - max) >= Math.min(row.min_p, 1));

  const weights = kept.map((id) => Math.exp((x[id]! - max) / row.temperature));
  const target = uniform(row.seed, row.counter) * weights.reduce((a, b) => a + b, 0);
  let sum = 0;
  const at = weights.findIndex((weight) => (sum += weight) > target);
  return kept[at < 0 ? kept.length - 1 : at]!;
}

/** Ids of possible tokens, largest logit first, the lowest id first among equals. */
function descending(x: Float32Array): number[] {
  const ids: number[] = [];
  for (let id = 0; id < x.length; id++) if (x[id]! > -Infinity) ids.push(id);
  return ids.sort((a, b) => x[b]! - x[a]! || a - b);
}

/** A number in [0, 1) with 53 random bits: the first two words of Philox 4x32-10 at (counter, 0, 0, 0). */
export function uniform(seed: readonly [number, number], counter: number): number {
  const [a, b] = philox([counter, 0, 0, 0], seed);
  return ((a! >>> 5) * 0x4000000 + (b! >>> 6)) / 0x20000000000000;
}

/**
 * Philox 4x32 with 10 rounds: a random function of a counter under a key.
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
export function philox(counter: readonly number[], key: readonly [number, number]): number[] {
  let [a, b, c, d] = counter as [number, number, number, number];
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const low0 = Math.imul(0xd2511f53, a) >>> 0;
    const low1 = Math.imul(0xcd9e8d57, c) >>> 0;
    const high0 = multiplyHigh(0xd2511f53, a >>> 0);
    const high1 = multiplyHigh(0xcd9e8d57, c >>> 0);
    [a, b, c, d] = [(high1 ^ b ^ k0) >>> 0, low1, (high0 ^ d ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [a, b, c, d];
}

/** The high 32 bits of the product of two 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const [ah, al, bh, bl] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const mid = ah * bl + (((al * bl) >>> 16) >>> 0);
  const mid2 = al * bh + (mid % 0x10000);
  return ah * bh + Math.floor(mid / 0x10000) + Math.floor(mid2 / 0x10000);
}

/** Ints of a row's header in `PackedSample.ints`; the order that kernels/sampler.h reads. */
export const SAMPLE_INTS = 12;
/** Floats of a row's header in `PackedSample.floats`. */
export const SAMPLE_FLOATS = 6;

/**
 * Rows as flat arrays. Row r has its header at ints[r · SAMPLE_INTS] (top_k, logprobs, counter, seed low, seed high,
 * history length, bias length, mask words, then where in `ints` history ids (followed by counts), bias ids and mask
 * start, then where in `floats` bias values start) and at floats[r · SAMPLE_FLOATS] (temperature, top_p, min_p,
 * repetition, presence and frequency penalty).
 */
export interface PackedSample {
  ints: Int32Array;
  floats: Float64Array;
  /** Ids, and logprobs, of a row in the answer: the chosen token, then the likeliest ones. */
  stride: number;
}

/**
 * Packs rows for C++, which trusts what it is given: everything is checked here.
 * @throws RangeError for an id outside the vocabulary, a short mask or a setting that has no meaning
 */
export function packSample(rows: readonly SampleRow[], vocab: number): PackedSample {
  let nints = rows.length * SAMPLE_INTS;
  let nfloats = rows.length * SAMPLE_FLOATS;
  let stride = 1;
  for (const row of rows) {
    checkRow(row, vocab);
    nints +=
      2 * (row.history?.length ?? 0) + (row.bias?.ids.length ?? 0) + (row.mask ? (vocab + 31) >>> 5 : 0);
    nfloats += row.bias?.ids.length ?? 0;
    stride = Math.max(stride, 1 + Math.min(row.logprobs, vocab));
  }
  const ints = new Int32Array(nints);
  const floats = new Float64Array(nfloats);
  let i = rows.length * SAMPLE_INTS;
  let f = rows.length * SAMPLE_FLOATS;
  rows.forEach((row, r) => {
    const { history, bias, mask } = row;
    const nhistory = history?.length ?? 0;
    const nbias = bias?.ids.length ?? 0;
    const nmask = mask ? (vocab + 31) >>> 5 : 0;
    const h = r * SAMPLE_INTS;
    ints[h] = row.top_k;
    ints[h + 1] = Math.min(row.logprobs, vocab);
    ints[h + 2] = row.counter;
    ints[h + 3] = row.seed[0];
    ints[h + 4] = row.seed[1];
    ints[h + 5] = nhistory;
    ints[h + 6] = nbias;
    ints[h + 7] = nmask;
    ints[h + 8] = i;
    ints[h + 9] = i + 2 * nhistory;
    ints[h + 10] = i + 2 * nhistory + nbias;
    ints[h + 11] = f;
    const g = r * SAMPLE_FLOATS;
    floats[g] = row.temperature;
    floats[g + 1] = row.top_p;
    floats[g + 2] = row.min_p;
    floats[g + 3] = row.repetition_penalty;
    floats[g + 4] = row.presence_penalty;
    floats[g + 5] = row.frequency_penalty;
    if (history) {
      ints.set(history.ids.subarray(0, nhistory), i);
      ints.set(history.counts.subarray(0, nhistory), i + nhistory);
      i += 2 * nhistory;
    }
    if (bias) {
      ints.set(bias.ids, i);
      floats.set(bias.values, f);
      i += nbias;
      f += nbias;
    }
    if (mask) {
      ints.set(mask.subarray(0, nmask), i);
      i += nmask;
    }
  });
  return { ints, floats, stride };
}

/** The answer of C++ as results: row r at r · stride of both arrays. */
export function unpackSample(
  rows: readonly SampleRow[],
  stride: number,
  ids: Int32Array,
  logprobs: Float64Array,
): SampleResult[] {
  return rows.map((row, r) => {
    const at = r * stride;
    const result: SampleResult = { id: ids[at]!, logprob: logprobs[at]! };
    if (row.logprobs > 0 && result.id !== SAMPLE_NOT_FINITE) {
      result.top = [];
      for (let j = 1; j <= row.logprobs && j < stride && ids[at + j]! >= 0; j++)
        result.top.push({ id: ids[at + j]!, logprob: logprobs[at + j]! });
    }
    return result;
  });
}

function checkRow(row: SampleRow, vocab: number): void {
  const { history, bias, mask } = row;
  if (!(row.temperature >= 0 && row.temperature < Infinity))
    throw new RangeError(`Cannot sample: temperature is ${row.temperature}, wanted 0 or more`);
  if (!(row.repetition_penalty > 0 && row.repetition_penalty < Infinity))
    throw new RangeError(
      `Cannot sample: repetition_penalty is ${row.repetition_penalty}, wanted more than 0`,
    );
  if (mask && mask.length * 32 < vocab)
    throw new RangeError(`Cannot sample: the mask has ${mask.length} words, wanted ${(vocab + 31) >>> 5}`);
  if (bias && bias.ids.length !== bias.values.length)
    throw new RangeError(`Cannot sample: bias has ${bias.values.length} values, wanted ${bias.ids.length}`);
  const outside = (id: number) => !(id >= 0 && id < vocab);
  for (let j = 0; bias && j < bias.ids.length; j++) {
    if (outside(bias.ids[j]!))
      throw new RangeError(`Cannot sample: bias for token ${bias.ids[j]}, wanted 0 to ${vocab - 1}`);
    if (!(bias.values[j]! < Infinity))
      throw new RangeError(
        `Cannot sample: bias ${bias.values[j]} of token ${bias.ids[j]}, wanted a number below Infinity`,
      );
  }
  for (let j = 0; history && j < history.length; j++)
    if (outside(history.ids[j]!))
      throw new RangeError(`Cannot sample: token ${history.ids[j]} in the history, wanted 0 to ${vocab - 1}`);
}
