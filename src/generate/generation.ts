// What a caller holds while text is generated: one object, to be awaited for the whole or iterated for the parts.

import type { FinishReason } from "./sequence.ts";
import type { Part, TextStream, TokenLogprob } from "./stream.ts";

export interface GenerationResult {
  /** Without end tokens and without the stop string that ended it. */
  readonly text: string;
  /** "stop": an end token or a stop string. "length": maxTokens or the context. "abort": `cancel`. */
  readonly finishReason: FinishReason;
  readonly usage: {
    readonly promptTokens: number;
    readonly completionTokens: number;
    /** Tokens of the prompt whose keys and values were still in the cache. */
    readonly cachedTokens: number;
  };
  /** Every token that was chosen, the end token included. */
  readonly ids: readonly number[];
  readonly logprobs?: readonly TokenLogprob[];
  /**
   * The document, when a schema was given and the answer is complete. Absent when it ended before (finishReason "length"
   * or "abort", or a stop string): `text` then holds its beginning.
   */
  readonly parsed?: unknown;
  readonly stats: GenerationStats;
  /** Gives the same text again. */
  readonly seed: number | bigint;
}

/** Times count from the call, waiting for others included. */
export interface GenerationStats {
  readonly firstTokenMs: number;
  readonly totalMs: number;
  /** Tokens of the prompt that were computed, over the time to the first token. */
  readonly promptTokensPerSecond: number;
  /** Tokens after the first, over the time after it. */
  readonly tokensPerSecond: number;
}

/** The sequence behind a generation, as far as its holder is concerned. */
export interface GenerationSource {
  promptTokens(): number;
  cachedTokens(): number;
  seed(): number | bigint;
  /** The document of a complete answer under a schema. */
  parsed(): unknown;
  cancel(): void;
}

interface Waiter {
  resolve(result: IteratorResult<Part, undefined>): void;
  reject(reason: unknown): void;
}

/**
 * Text on its way. `await` gives the result; `for await` gives parts, and breaking off the loop cancels. It runs in any
 * case. What goes wrong rejects the one or is thrown in the other.
 */
export class Generation implements Promise<GenerationResult>, AsyncIterableIterator<Part, undefined> {
  readonly [Symbol.toStringTag] = "Generation";
  readonly #stream: TextStream;
  readonly #source: GenerationSource;
  readonly #waiting: Waiter[] = [];
  #thrown = false;
  // Made on demand: where nobody awaits, a failure must not count as an unhandled rejection.
  #promise: Promise<GenerationResult> | undefined;
  #settle: (() => void) | undefined;

  constructor(stream: TextStream, source: GenerationSource) {
    this.#stream = stream;
    this.#source = source;
    stream.onChange = () => this.#serve();
  }

  /** Ends it: the text so far is the result, with finishReason "abort". */
  cancel(): void {
    this.#source.cancel();
  }

  // biome-ignore lint/suspicious/noThenProperty: being awaitable is its purpose
  then<A = GenerationResult, B = never>(
    onfulfilled?: ((value: GenerationResult) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#whole().then(onfulfilled, onrejected);
  }

  catch<B = never>(
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<GenerationResult | B> {
    return this.#whole().catch(onrejected);
  }

  finally(onfinally?: (() => void) | null): Promise<GenerationResult> {
    return this.#whole().finally(onfinally);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Part, undefined>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#serve();
    });
  }

  return(): Promise<IteratorResult<Part, undefined>> {
    this.cancel();
    return Promise.resolve({ value: undefined, done: true });
  }

  #whole(): Promise<GenerationResult> {
    this.#promise ??= new Promise((resolve, reject) => {
      this.#settle = () => {
        const { error } = this.#stream;
        if (error) reject(error.reason);
        else resolve(this.#result());
      };
      if (this.#stream.finishReason !== undefined) this.#settle();
    });
    return this.#promise;
  }

  #serve(): void {
    const ended = this.#stream.finishReason !== undefined;
    if (ended) this.#settle?.();
    while (this.#waiting.length > 0) {
      const part = this.#stream.take();
      if (!part && !ended) return;
      const waiter = this.#waiting.shift()!;
      if (part) waiter.resolve({ value: part, done: false });
      else if (this.#stream.error && !this.#thrown) {
        this.#thrown = true;
        waiter.reject(this.#stream.error.reason);
      } else waiter.resolve({ value: undefined, done: true });
    }
  }

  #result(): GenerationResult {
    const { text, ids, logprobs, finishReason, startedAt, firstTokenAt, endedAt } = this.#stream;
    const promptTokens = this.#source.promptTokens();
    const cachedTokens = this.#source.cachedTokens();
    const firstTokenMs = firstTokenAt - startedAt;
    const parsed = this.#source.parsed();
    const perSecond = (tokens: number, ms: number) => (tokens > 0 && ms > 0 ? (tokens * 1000) / ms : 0);
    return {
      text,
      finishReason: finishReason!,
      usage: { promptTokens, completionTokens: ids.length, cachedTokens },
      ids,
      ...(logprobs && { logprobs }),
      ...(parsed !== undefined && { parsed }),
      stats: {
        firstTokenMs,
        totalMs: endedAt - startedAt,
        promptTokensPerSecond: perSecond(promptTokens - cachedTokens, firstTokenMs),
        tokensPerSecond: perSecond(ids.length - 1, endedAt - firstTokenAt),
      },
      seed: this.#source.seed(),
    };
  }
}
