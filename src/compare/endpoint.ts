// What is measured of a model behind an OpenAI-compatible endpoint: what a caller sees, the way there and back included.

import type { Task, TaskAnswer, TaskLine } from "../evaluate/index.ts";
import { percentile } from "../evaluate/statistics.ts";
import { type Ask, answerRoom, gradeAnswers } from "../evaluate/task.ts";
import { median } from "../generate/bench.ts";
import {
  type EndpointOptions,
  EndpointPool,
  modelOf,
  type TextAnswer,
  type TextRequest,
  writeText,
} from "../remote/index.ts";
import type { Limits } from "./local.ts";
import { longPrompt, shortPrompt } from "./prompts.ts";
import { ANSWER_TOKENS, type Samples } from "./samples.ts";
import type { DataUse } from "./types.ts";

/** One that does not answer at all is given up after so long. */
const PATIENCE_MS = 10_000;
/** A caller waits for these, and they count. */
const TRIES = 2;
const DECODED = 64;
/** Characters of a long prompt; the next where that is too long for it. */
const PROMPTS = [2000, 600];
/** Answers of one token in a visit, for the time to the first. */
const FIRST_TOKENS = 5;

/** An endpoint that answers, and in which form. */
export class Remote {
  readonly model: string;
  readonly host: string;
  /** Whether texts are asked for as an answer to a message: it has no `completions`. */
  readonly chatOnly: boolean;
  readonly #pool: EndpointPool;
  /** Answers of DECODED tokens, or what it ended them after. */
  readonly #longer: { readonly ms: number; readonly completionTokens: number }[] = [];
  /** Which of PROMPTS it takes. */
  #prompt = 0;

  private constructor(pool: EndpointPool, model: string, chatOnly: boolean) {
    this.#pool = pool;
    this.model = model;
    this.host = pool.urls[0]!.host;
    this.chatOnly = chatOnly;
  }

  /** @throws {Error} when the host is not allowed, does not answer, or serves no such model */
  static async open(url: string, options: EndpointOptions = {}, signal?: AbortSignal): Promise<Remote> {
    const pool = new EndpointPool(url, { patienceMs: PATIENCE_MS, tries: TRIES, ...options });
    try {
      if (pool.urls.length > 1)
        throw new TypeError(`Cannot compare ${pool.urls.length} endpoints as one model: wanted one URL`);
      const model = await modelOf(pool, options.model, signal);
      const probe = (prompt: TextRequest["prompt"]) =>
        writeText(pool, model, { prompt, maxTokens: 1 }, signal);
      let chatOnly = false;
      await probe("Hello").catch(async () => {
        signal?.throwIfAborted();
        chatOnly = true;
        await probe([{ role: "user", content: "Hello" }]);
      });
      return new Remote(pool, model, chatOnly);
    } catch (error) {
      pool.close();
      throw error;
    }
  }

  #write(prompt: string, maxTokens: number, signal: AbortSignal): Promise<TextAnswer> {
    const asked = this.chatOnly ? [{ role: "user", content: prompt }] : prompt;
    return writeText(this.#pool, this.model, { prompt: asked, maxTokens, temperature: 0 }, signal);
  }

  /** Milliseconds that an answer took, and the tokens that it counts. */
  async #timed(prompt: string, maxTokens: number, signal: AbortSignal) {
    const start = performance.now();
    const { promptTokens, completionTokens } = await this.#write(prompt, maxTokens, signal);
    return { ms: performance.now() - start, promptTokens, completionTokens };
  }

  /** Time of an answer of one token to a long prompt, as long as it takes one; undefined: it takes none. */
  async #long(round: number, signal: AbortSignal) {
    while (this.#prompt < PROMPTS.length) {
      try {
        return await this.#timed(longPrompt(round, PROMPTS[this.#prompt]!), 1, signal);
      } catch {
        signal.throwIfAborted();
        this.#prompt++;
      }
    }
    return undefined;
  }

  /**
   * Takes its times. The first token's is that of an answer of one token; decoding is what longer answers take beyond it, and
   * a prompt's speed counts the whole way. What an endpoint that counts no tokens says is not known.
   */
  async visit(
    samples: Samples,
    { rounds, ...limits }: Limits,
    signal: AbortSignal,
    tell: (stage: "speed" | "answers", done: number) => void,
  ): Promise<void> {
    const ask = async (i: number) => {
      await this.#write(shortPrompt(i), ANSWER_TOKENS, signal);
      return undefined;
    };
    await samples.time(ask, limits, (done) => tell("answers", done));
    for (let i = 0; i < FIRST_TOKENS; i++) {
      const { ms } = await this.#timed(shortPrompt(5000 + samples.firstTokens.length), 1, signal);
      samples.firstTokens.push(ms);
    }
    for (let i = 0; i < rounds; i++) {
      const round = samples.rounds++;
      const long = await this.#long(round, signal);
      if (long && long.promptTokens > 0) {
        samples.prefill.push((1000 * long.promptTokens) / long.ms);
        samples.prefillTokens = long.promptTokens;
      }
      const one = await this.#timed(shortPrompt(6000 + 10 * round), DECODED, signal);
      if (one.completionTokens > 8) this.#longer.push(one);
      const start = performance.now();
      const eight = await Promise.all(
        Array.from({ length: 8 }, (_, j) => this.#timed(shortPrompt(6001 + 10 * round + j), DECODED, signal)),
      );
      const tokens = eight.reduce((sum, answer) => sum + answer.completionTokens, 0);
      if (tokens > 64) samples.decode8.push((1000 * tokens) / (performance.now() - start));
      tell("speed", samples.rounds);
    }
    const decode = this.#decode(samples.firstTokens);
    samples.decode.splice(0, Infinity, ...(decode === undefined ? [] : [decode]));
  }

  /** Tokens a second of longer answers beyond the first token's time; undefined where that differs more by itself. */
  #decode(firstTokens: readonly number[]): number | undefined {
    if (this.#longer.length === 0) return undefined;
    const sorted = [...firstTokens].sort((a, b) => a - b);
    const beyond = median(this.#longer.map(({ ms }) => ms)) - median(sorted);
    if (beyond <= percentile(sorted, 0.9) - percentile(sorted, 0.1)) return undefined;
    return (1000 * (median(this.#longer.map(({ completionTokens }) => completionTokens)) - 1)) / beyond;
  }

  /** Answers to a task's lines, graded; undefined for choices, which are measured by probabilities. */
  async answerTask(
    task: Task,
    lines: readonly TaskLine[],
    signal: AbortSignal,
    onProgress: (done: number, total: number) => void,
    onAnswer: (answer: TaskAnswer) => void,
  ) {
    if (task.metric === "choice") return undefined;
    const ask: Ask = ({ messages, prompt, tools }, { maxTokens, stop, signal }) =>
      writeText(
        this.#pool,
        this.model,
        {
          prompt: messages ?? (this.chatOnly ? [{ role: "user", content: prompt! }] : prompt!),
          ...{ maxTokens, stop, temperature: 0 },
          ...(tools && { tools }),
        },
        signal,
      );
    // Its tokens are not known: of a right answer there are at most as many as bytes.
    const maxTokens = answerRoom(lines, (text) => Math.ceil(Buffer.byteLength(text) / 2));
    return gradeAnswers(ask, lines, {
      ...{ task, maxTokens, signal, onAnswer },
      onProgress: ({ done, total }) => onProgress(done, total),
    });
  }

  get data(): DataUse {
    const [usage] = this.#pool.usage;
    const { host, answered, failed, prompt_tokens, completion_tokens } = usage!;
    return { sent_to: host, requests: answered + failed, prompt_tokens, completion_tokens };
  }

  close(): void {
    this.#pool.close();
  }
}
