// Times that were taken of a model, over several visits, and the figures that they give. Numbers only.

import { percentile } from "../evaluate/statistics.ts";
import { median } from "../generate/bench.ts";
import type { Answers, Compared, Energy, Speed } from "./types.ts";

/** Tokens of a short answer. */
export const ANSWER_TOKENS = 16;
/** Answers of a visit before the first that counts. */
export const WARM_UP = 5;
/** So many are timed in a visit, however long they take. */
const MIN_ANSWERS = 20;
/** Tokens a second that are fluent in every use, for which `largest_at_150` tells the size. */
const FLUENT = 150;

/** Tokens a second, a number for each round; milliseconds, a number for each answer. */
export class Samples {
  readonly loads: number[] = [];
  /** That were asked for and are over. */
  rounds = 0;
  readonly prefill: number[] = [];
  prefillTokens = 0;
  readonly decode: number[] = [];
  readonly decode8: number[] = [];
  /** Bytes a second of a plain read of memory. */
  readonly reads: number[] = [];
  readonly answers: number[] = [];
  answerTokens = ANSWER_TOKENS;
  readonly firstTokens: number[] = [];
  /** What decoding so many tokens took. */
  readonly energy = { tokens: 0, cpu_seconds: 0, joules: 0, told: true };

  /**
   * Times answers, one after another, until there are `count` or `seconds` are over.
   * @param ask gives answer `i`, and the milliseconds to its first token where they are known
   */
  async time(
    ask: (i: number) => Promise<number | undefined>,
    { count, seconds }: { count: number; seconds: number },
    onAnswer: (done: number) => void,
  ): Promise<void> {
    const from = this.answers.length;
    for (let i = 0; i < WARM_UP; i++) await ask(from + i);
    const end = performance.now() + 1000 * seconds;
    for (let n = 1; n <= count && (n <= MIN_ANSWERS || performance.now() < end); n++) {
      const start = performance.now();
      const firstToken = await ask(WARM_UP + this.answers.length);
      this.answers.push(performance.now() - start);
      if (firstToken !== undefined) this.firstTokens.push(firstToken);
      onAnswer(this.answers.length);
    }
  }

  /** @param weights of a model that is computed here: bytes that a token reads, and bits a weight */
  figures(weights?: {
    readonly perToken: number;
    readonly bits: number;
  }): Pick<Compared, "load_ms" | "speed" | "answers" | "energy"> {
    const { loads, answers } = this;
    return {
      // The others waited for something else, too.
      ...(loads.length > 0 && { load_ms: Math.min(...loads) }),
      speed: this.#speed(weights),
      ...(answers.length > 0 && { answers: this.#answers() }),
      ...(this.energy.tokens > 0 && { energy: this.#energy() }),
    };
  }

  #speed(weights?: { readonly perToken: number; readonly bits: number }): Speed {
    const { prefill, prefillTokens, decode, decode8, reads } = this;
    const bytes = weights && decode.length > 0 ? median(decode) * weights.perToken : undefined;
    return {
      ...(prefill.length > 0 && { prefill: median(prefill), prefill_tokens: prefillTokens }),
      ...(decode.length > 0 && { decode: median(decode) }),
      ...(decode8.length > 0 && { decode_8: median(decode8) }),
      ...(bytes !== undefined && {
        decode_bytes: bytes,
        largest_at_150: bytes / FLUENT / (weights!.bits / 8),
      }),
      ...(reads.length > 0 && { read_bytes: median(reads) }),
    };
  }

  #answers(): Answers {
    const ms = [...this.answers].sort((a, b) => a - b);
    const count = ms.length;
    return {
      count,
      tokens: this.answerTokens,
      ...(this.firstTokens.length > 0 && { first_token_p50: median(this.firstTokens) }),
      p50: percentile(ms, 0.5),
      ...(count >= 100 && { p99: percentile(ms, 0.99) }),
      ...(count >= 1000 && { p99_9: percentile(ms, 0.999) }),
      ms: ms.map((value) => Number(value.toFixed(3))),
    };
  }

  #energy(): Energy {
    const { tokens, cpu_seconds, joules, told } = this.energy;
    return {
      ...(told && { joules_per_token: joules / tokens }),
      cpu_seconds_per_token: cpu_seconds / tokens,
    };
  }
}
