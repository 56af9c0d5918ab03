// Perplexity of a text, and how far a model is from another on it.

import type { AdapterChoice } from "../generate/adapters.ts";
import type { Model } from "../generate/model.ts";
import { tokenName } from "../tokenizer/index.ts";
import { divergence } from "./divergence.ts";
import { Scorer } from "./scorer.ts";
import { meanAndError, percentile } from "./statistics.ts";
import { type Convention, type Windows, windows } from "./windows.ts";

export interface TextOptions {
  readonly text: string;
  /** What errors call the text. */
  readonly name?: string;
  /** Attached adapters that the model is evaluated with; the base is never. */
  readonly adapter?: AdapterChoice;
  /** A model to compare with, of the same vocabulary; it may be the same one, to see what an adapter changes. */
  readonly base?: Model;
  /** Tokens of a window. Default 512, or the model's context where that is less. */
  readonly ctx?: number;
  /** Given: the "strided" convention, with windows so many tokens apart. Default: "windows". */
  readonly stride?: number;
  /** At most so many windows, from the beginning. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: TextProgress) => void;
}

export interface TextProgress {
  /** Tokens computed, by one model, and in all. */
  readonly done: number;
  readonly total: number;
  /** What the finished windows give; undefined before the first. */
  result(): TextResult | undefined;
}

/** JSON-able. Logarithms are natural. */
export interface TextResult {
  /** e^nll */
  readonly perplexity: number;
  /** Standard error of it: perplexity · nll_se. */
  readonly perplexity_se: number;
  /** Mean negative log-likelihood of a token, and its standard error. */
  readonly nll: number;
  readonly nll_se: number;
  /** Tokens scored. */
  readonly tokens: number;
  /** Bits of the files' parameters over their number. */
  readonly bits_per_weight: number;
  /** How the text is cut: see `Convention`. */
  readonly convention: Convention;
  readonly ctx: number;
  readonly stride?: number;
  /** Windows finished, and of the whole text or the limit: less are finished when it was interrupted. */
  readonly windows: number;
  readonly windows_total: number;
  /** Against a base: mean of log(p_base / p) of the text's tokens = log(perplexity / base's), with its standard error. */
  readonly log_ratio?: number;
  readonly log_ratio_se?: number;
  readonly base_perplexity?: number;
  readonly base_bits_per_weight?: number;
  /** KL(base || model) of the next token's distribution, in nats: mean with its standard error, median, 99th percentile. */
  readonly kl_mean?: number;
  readonly kl_se?: number;
  readonly kl_median?: number;
  readonly kl_p99?: number;
  /** Share of tokens for which both find the same token likeliest. */
  readonly top1?: number;
}

const DEFAULT_CTX = 512;
/** Windows of the text are looked at before a step of theirs runs. */
const PROGRESS_MS = 100;

export async function evaluateText(model: Model, options: TextOptions): Promise<TextResult> {
  const { text, base, signal, onProgress, name = "the text" } = options;
  signal?.throwIfAborted();
  const longest = Math.min(model.ctx, base?.ctx ?? Infinity);
  const ctx = options.ctx ?? Math.min(DEFAULT_CTX, longest);
  if (ctx > longest)
    throw new RangeError(`Cannot evaluate with a ctx of ${ctx}: the context of the model is ${longest}`);
  const { limit } = options;
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1))
    throw new RangeError(`Cannot evaluate with a limit of ${limit}: wanted a whole number, 1 or more`);
  const ids = encode(model, text, name);
  if (base) checkSame(model, base, ids, text);
  const { tokenizer } = model;
  const cut = windows(ids, {
    ctx,
    ...(options.stride !== undefined && { stride: options.stride }),
    ...(tokenizer.addsBos && tokenizer.bosId !== undefined && { bosId: tokenizer.bosId }),
  });
  const total = Math.min(limit ?? Infinity, cut.count);
  const tally = new Tally(model, base, cut, total);
  const scorer = new Scorer(model, ctx, options.adapter);
  let other: Scorer | undefined;
  try {
    if (base) other = new Scorer(base, ctx);
    const n = scorer.vocab_size;
    const rows = other ? scorer.maxima.R : 0;
    const [logits, baseLogits] = [new Float32Array(rows * n), new Float32Array(rows * n)];
    let done = 0;
    let shown = performance.now();
    for (const step of scorer.steps(tally.sequences())) {
      signal?.throwIfAborted();
      const { R } = step.dims;
      const losses = await scorer.run(step);
      for (let r = 0; r < R; r++) tally.loss(step.sequence[r]!, step.token[r]!, losses[r]!);
      if (other) {
        const baseLosses = await other.run(step);
        scorer.logits(logits.subarray(0, R * n));
        other.logits(baseLogits.subarray(0, R * n));
        for (let r = 0; r < R; r++) {
          const { kl, same } = divergence(baseLogits, logits, r, n);
          tally.against(step.sequence[r]!, step.token[r]!, baseLosses[r]!, kl, same);
        }
      }
      for (const window of step.ended) tally.end(window);
      done += step.dims.T;
      const now = performance.now();
      if (now - shown > PROGRESS_MS) {
        shown = now;
        onProgress?.({ done, total: tally.computed, result: () => tally.result() });
        // A backend that computes on this thread leaves the event loop no other turn, and a signal comes by it.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    onProgress?.({ done, total: done, result: () => tally.result() });
    return tally.result()!;
  } finally {
    scorer.free();
    other?.free();
  }
}

function encode(model: Model, text: string, name: string): number[] {
  if (typeof text !== "string")
    throw new TypeError(`Cannot evaluate a text that is ${typeof text}: wanted a string`);
  if (text === "") throw new RangeError(`Cannot evaluate ${name}: it is empty, wanted text`);
  return model.tokenizer.encode(text);
}

/** @throws {TypeError} when the ids of one model do not mean the same to the other */
export function checkSame(model: Model, base: Model, ids: readonly number[], text: string): void {
  const cannot = `Cannot compare ${JSON.stringify(model.name)} with ${JSON.stringify(base.name)}: `;
  const [own, others] = [model.config.vocab_size, base.config.vocab_size];
  if (own !== others)
    throw new TypeError(`${cannot}their vocabularies have ${own} and ${others} tokens, wanted the same`);
  for (let id = 0; id < own; id++) {
    const [a, b] = [tokenName(model.tokenizer, id), tokenName(base.tokenizer, id)];
    if (a !== undefined && b !== undefined && a !== b)
      throw new TypeError(
        `${cannot}token ${id} is ${JSON.stringify(a)} to the one and ${JSON.stringify(b)} to the other, wanted the same tokenizer`,
      );
  }
  const baseIds = base.tokenizer.encode(text);
  const differs = ids.findIndex((id, i) => id !== baseIds[i]);
  if (differs >= 0 || ids.length !== baseIds.length)
    throw new TypeError(
      `${cannot}token ${differs < 0 ? ids.length : differs} of the text is ${ids[differs]} to the one and ${baseIds[differs]} to the other, wanted the same tokenizer`,
    );
}

/** What is known of every scored token, in the text's order; a result counts the windows before the first unfinished one. */
class Tally {
  /** Tokens that all windows make a model compute. */
  readonly computed: number;
  readonly #model: Model;
  readonly #base: Model | undefined;
  readonly #windows: Windows;
  readonly #total: number;
  /** Where the tokens of a window begin in the arrays, less the window's first scored token; and where they end. */
  readonly #place: Int32Array;
  readonly #end: Int32Array;
  readonly #ended: Uint8Array;
  readonly #nll: Float64Array;
  readonly #baseNll: Float64Array;
  readonly #kl: Float64Array;
  readonly #same: Uint8Array;
  #finished = 0;

  constructor(model: Model, base: Model | undefined, windows: Windows, total: number) {
    this.#model = model;
    this.#base = base;
    this.#windows = windows;
    this.#total = total;
    this.#place = new Int32Array(total);
    this.#end = new Int32Array(total);
    this.#ended = new Uint8Array(total);
    let [scored, computed] = [0, 0];
    for (let i = 0; i < total; i++) {
      const { ids, from } = windows.sequence(i);
      this.#place[i] = scored - from;
      scored += ids.length - from;
      this.#end[i] = scored;
      computed += ids.length - 1;
    }
    this.computed = computed;
    this.#nll = new Float64Array(scored);
    const compared = base ? scored : 0;
    this.#baseNll = new Float64Array(compared);
    this.#kl = new Float64Array(compared);
    this.#same = new Uint8Array(compared);
  }

  *sequences() {
    for (let i = 0; i < this.#total; i++) yield this.#windows.sequence(i);
  }

  loss(window: number, token: number, nll: number): void {
    this.#nll[this.#place[window]! + token] = nll;
  }

  against(window: number, token: number, nll: number, kl: number, same: boolean): void {
    const at = this.#place[window]! + token;
    this.#baseNll[at] = nll;
    this.#kl[at] = kl;
    this.#same[at] = same ? 1 : 0;
  }

  end(window: number): void {
    this.#ended[window] = 1;
    while (this.#finished < this.#total && this.#ended[this.#finished] === 1) this.#finished++;
  }

  result(): TextResult | undefined {
    const tokens = this.#finished === 0 ? 0 : this.#end[this.#finished - 1]!;
    if (tokens === 0) return undefined;
    const nll = this.#nll.subarray(0, tokens);
    const { mean, error } = meanAndError(nll);
    const { convention, ctx, stride } = this.#windows;
    return {
      perplexity: Math.exp(mean),
      perplexity_se: Math.exp(mean) * error,
      nll: mean,
      nll_se: error,
      tokens,
      ...(this.#base && this.#compared(this.#base, nll)),
      bits_per_weight: this.#model.bitsPerWeight,
      convention,
      ctx,
      ...(stride !== undefined && { stride }),
      windows: this.#finished,
      windows_total: this.#total,
    };
  }

  #compared(base: Model, nll: Float64Array): Partial<TextResult> {
    const tokens = nll.length;
    const baseNll = this.#baseNll.subarray(0, tokens);
    const ratio = meanAndError(nll.map((value, i) => value - baseNll[i]!));
    const kl = this.#kl.slice(0, tokens).sort();
    const { mean, error } = meanAndError(kl);
    let same = 0;
    for (let i = 0; i < tokens; i++) same += this.#same[i]!;
    return {
      log_ratio: ratio.mean,
      log_ratio_se: ratio.error,
      base_perplexity: Math.exp(meanAndError(baseNll).mean),
      base_bits_per_weight: base.bitsPerWeight,
      kl_mean: mean,
      kl_se: error,
      kl_median: percentile(kl, 0.5),
      kl_p99: percentile(kl, 0.99),
      top1: same / tokens,
    };
  }
}
