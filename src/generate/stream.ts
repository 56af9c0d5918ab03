// Ids -> text as it becomes certain, collected into parts for a reader who may be slower than the engine.

import type { SampleResult } from "../engine/sampler.ts";
import { StreamDecoder, type Tokenizer } from "../tokenizer/index.ts";
import type { FinishReason, Sink } from "./sequence.ts";
import { StopMatcher } from "./stop.ts";

/** A token's logprob under the model (before penalties, bias, mask and truncation), and the likeliest tokens. */
export interface TokenLogprob {
  readonly id: number;
  readonly logprob: number;
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

/** Text since the last part; it never ends inside a character. */
export interface Part {
  readonly text: string;
  /** The tokens chosen meanwhile. */
  readonly ids: readonly number[];
  /** One for each of `ids`, when asked for. */
  readonly logprobs?: readonly TokenLogprob[];
}

/** A sink that makes text. `onChange` is called when there is something to take, and at the end. */
export class TextStream implements Sink {
  /** All tokens, the end token included. */
  readonly ids: number[] = [];
  /** All text, without end tokens and what a stop string cut off. */
  text = "";
  readonly logprobs: TokenLogprob[] | undefined;
  finishReason: FinishReason | undefined;
  error: { readonly reason: unknown } | undefined;
  readonly startedAt = performance.now();
  firstTokenAt = Number.NaN;
  endedAt = Number.NaN;
  onChange: (() => void) | undefined;
  onEnd: (() => void) | undefined;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #decoder: StreamDecoder | undefined;
  #stops: StopMatcher | undefined;
  /** What the next part begins with. */
  #pending = "";
  #taken = 0;

  /** @param tokenizer without one there is no text: parts hold ids alone */
  constructor(tokenizer: Tokenizer | undefined, logprobs: boolean) {
    this.#tokenizer = tokenizer;
    this.#decoder = tokenizer && new StreamDecoder(tokenizer, { skipSpecial: true });
    this.logprobs = logprobs ? [] : undefined;
  }

  /** The text continues that of a prompt: a space at its beginning is kept, where decoding from nothing drops it. */
  continueFrom(prompt: ArrayLike<number>): void {
    if (!this.#decoder) return;
    // A character has at most 4 bytes: what these tokens leave unfinished is all that could be.
    for (let i = Math.max(0, prompt.length - 4); i < prompt.length; i++)
      if (prompt[i]! < this.#tokenizer!.vocabSize) this.#decoder.push(prompt[i]!);
  }

  /** @throws {TypeError} for an empty stop string, or where there is no text to find one in */
  stopAt(stops: readonly string[]): void {
    if (stops.length === 0) return;
    if (!this.#decoder)
      throw new TypeError("Cannot stop at a string: the model has no tokenizer, wanted one");
    this.#stops = new StopMatcher(stops);
  }

  token(id: number, result: SampleResult, end: boolean): boolean {
    if (this.ids.length === 0) this.firstTokenAt = performance.now();
    this.ids.push(id);
    this.logprobs?.push({ id, logprob: result.logprob, top: result.top ?? [] });
    if (end) return true;
    // Embeddings are often padded beyond the vocabulary: such an id has no text.
    if (!this.#decoder) this.onChange?.();
    else if (id < this.#tokenizer!.vocabSize) this.#show(this.#decoder.push(id));
    return this.#stops?.stopped ?? false;
  }

  end(reason: FinishReason, error?: unknown): void {
    this.endedAt = performance.now();
    this.finishReason = reason;
    if (error !== undefined) this.error = { reason: error };
    const rest = this.#decoder?.flush() ?? "";
    this.#add(this.#stops ? this.#stops.push(rest) + this.#stops.flush() : rest);
    this.onEnd?.();
    this.onChange?.();
  }

  #show(piece: string): void {
    const text = this.#stops ? this.#stops.push(piece) : piece;
    if (text === "") return;
    this.#add(text);
    this.onChange?.();
  }

  #add(text: string): void {
    this.text += text;
    this.#pending += text;
  }

  /** What came since the last time; undefined while there is no text (tokens inside a character wait for it). */
  take(): Part | undefined {
    const from = this.#taken;
    const whole = this.finishReason !== undefined || !this.#decoder;
    if (this.#pending === "" && (!whole || from === this.ids.length)) return undefined;
    const part = { text: this.#pending, ids: this.ids.slice(from) };
    this.#pending = "";
    this.#taken = this.ids.length;
    return this.logprobs ? { ...part, logprobs: this.logprobs.slice(from) } : part;
  }
}
