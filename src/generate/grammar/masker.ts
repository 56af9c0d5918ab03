// Token masks from a grammar, made in workers while the model computes. What the rest of pith sees of the grammar library.

import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { LIMITS } from "./limits.ts";
import {
  STATES,
  WORDS,
  type WorkerReply,
  type WorkerRequest,
  type WorkerStart,
  type WorkerVocabulary,
  workerSource,
} from "./worker.ts";

/** Which tokens may come next in one text that follows a grammar. */
export interface TokenMasker {
  /** Adds a token to the text, if one is given, and has a mask made of what may follow, from now on in another thread. */
  ask(id?: number): void;
  /**
   * The mask that was last asked for, bit id % 32 of word id / 32: a view that the next one overwrites. A promise where
   * it is not there yet.
   * @throws {Error} when the token does not fit, or it takes too long
   */
  mask(): Uint32Array | Promise<Uint32Array>;
  /** Ends it; a mask that is awaited is an error. More than once is none. */
  close(): void;
}

/** Workers at once: a grammar is compiled where no text is being followed, so that none has to wait for it. */
const MAX_WORKERS = 4;

/** Grammars over one vocabulary. Workers start when the first one is opened. */
export class Grammars {
  readonly #vocabulary: WorkerVocabulary;
  #workers: GrammarWorker[] = [];
  #waiting: (() => void)[] = [];
  #closed = false;

  /**
   * @param vocab_size of the model: ids beyond the tokenizer's are never allowed
   * @param eos tokens that may come when a text is complete, and only then
   */
  constructor(tokenizer: Tokenizer, vocab_size: number, eos: ReadonlySet<number>) {
    this.#vocabulary = vocabularyOf(tokenizer, vocab_size, eos);
  }

  /**
   * Begins a text.
   * @param grammar in XGrammar's EBNF
   * @throws {SyntaxError} on a grammar that cannot be read
   * @throws {Error} when it takes too long
   */
  async open(grammar: string, signal?: AbortSignal): Promise<TokenMasker> {
    for (;;) {
      signal?.throwIfAborted();
      if (this.#closed) throw new Error("Cannot constrain: the model is closed");
      const worker = this.#choose(grammar);
      if (worker) return worker.open(grammar);
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal?.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  #choose(grammar: string): GrammarWorker | undefined {
    this.#workers = this.#workers.filter((worker) => !worker.ended);
    const able = this.#workers.find((w) => w.knows(grammar)) ?? this.#workers.find((w) => w.idle);
    if (able || this.#workers.length >= MAX_WORKERS) return able;
    const worker = new GrammarWorker(this.#vocabulary, () => {
      for (const resolve of this.#waiting.splice(0)) resolve();
    });
    this.#workers.push(worker);
    return worker;
  }

  close(): void {
    this.#closed = true;
    for (const worker of this.#workers) worker.end(new Error("Cannot constrain: the model was closed"));
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** Of a worker that failed, or was ended, there is an error. */
interface Reply {
  readonly error?: unknown;
}

/** Milliseconds for which this thread sleeps until a mask is made, which takes less than being told of it. */
const NAP_MS = 0.5;

class GrammarWorker {
  ended = false;
  readonly #worker: Worker;
  readonly #bell = new Int32Array(new SharedArrayBuffer(4));
  readonly #words: number;
  readonly #onIdle: () => void;
  readonly #known = new Set<string>();
  readonly #open = new Set<number>();
  readonly #pending = new Map<number, (reply: Reply) => void>();
  #ids = 0;

  constructor(vocabulary: WorkerVocabulary, onIdle: () => void) {
    this.#onIdle = onIdle;
    this.#words = WORDS.mask + Math.ceil((vocabulary.offsets.length - 1) / 32);
    const workerData: WorkerStart = { ...vocabulary, bell: this.#bell };
    this.#worker = new Worker(workerSource(), { eval: true, workerData });
    this.#worker.on("message", (reply: WorkerReply) => this.#settle(reply.id, reply));
    this.#worker.on("error", (error) => this.end(error));
    this.#worker.unref(); // after its listeners, which make the process wait for it
  }

  get idle(): boolean {
    return this.#open.size === 0;
  }

  /** Whether this grammar is compiled there, or about to be. */
  knows(grammar: string): boolean {
    return this.#known.has(grammar);
  }

  async open(grammar: string): Promise<TokenMasker> {
    const id = this.#ids++;
    const words = new Int32Array(new SharedArrayBuffer(4 * this.#words));
    this.#known.add(grammar);
    this.#open.add(id);
    const opened = this.#reply(id);
    this.#send({ kind: "open", id, grammar, words });
    const { error } = await this.#within(LIMITS.compileMs, "compiling the grammar", opened);
    if (error !== undefined) {
      this.#known.delete(grammar);
      if (this.ended) throw error;
      // The library gives up in the midst of its work: what it leaves is not used again.
      const failure = new SyntaxError(`Cannot constrain by a grammar: ${error}`);
      this.end(failure);
      throw failure;
    }
    const made = new Uint32Array(words.buffer, 4 * WORDS.mask);
    let reply: Promise<Reply> | undefined;
    return {
      ask: (token = -1) => {
        reply = this.#reply(id);
        words[WORDS.token] = token;
        Atomics.store(words, WORDS.state, STATES.asked);
        this.#ring();
      },
      mask: () => {
        if (reply === undefined) throw new Error("Cannot give a mask: none was asked for");
        if (Atomics.load(words, WORDS.state) !== STATES.made)
          Atomics.wait(words, WORDS.state, STATES.asked, NAP_MS);
        const { asked, awaited, made: done } = STATES;
        if (Atomics.compareExchange(words, WORDS.state, asked, awaited) === done) {
          this.#settle(id, {});
          return made;
        }
        return this.#within(LIMITS.maskMs, "a mask", reply).then(({ error }) => {
          if (error === undefined) return made;
          throw this.ended ? error : new Error(`Cannot constrain: ${error}`);
        });
      },
      close: () => {
        if (!this.#open.delete(id)) return;
        // Whoever waits for a mask hears that there will be none.
        this.#settle(id, { error: "its text was closed" });
        if (!this.ended) this.#send({ kind: "close", id });
        if (this.idle) this.#onIdle();
      },
    };
  }

  #send(request: WorkerRequest): void {
    this.#worker.postMessage(request);
    this.#ring();
  }

  #ring(): void {
    Atomics.add(this.#bell, 0, 1);
    Atomics.notify(this.#bell, 0);
  }

  /** What will be said of a text: the answer to one question at a time. */
  #reply(id: number): Promise<Reply> {
    if (this.ended) throw new Error("Cannot constrain: the grammar's worker has ended");
    return new Promise((resolve) => this.#pending.set(id, resolve));
  }

  async #within(limitMs: number, what: string, reply: Promise<Reply>): Promise<Reply> {
    const late = () => this.end(new Error(`Cannot constrain: ${what} took more than ${limitMs} ms`));
    const timer = setTimeout(late, limitMs); // and the process lives on, as long as somebody waits
    return reply.finally(() => clearTimeout(timer));
  }

  #settle(id: number, reply: Reply): void {
    this.#pending.get(id)?.(reply);
    this.#pending.delete(id);
  }

  end(error: unknown): void {
    if (this.ended) return;
    this.ended = true;
    void this.#worker.terminate();
    for (const id of [...this.#pending.keys()]) this.#settle(id, { error });
    this.#open.clear();
    this.#onIdle();
  }
}

/** Control tokens have no bytes: they are no text. */
function vocabularyOf(tokenizer: Tokenizer, vocab_size: number, eos: ReadonlySet<number>): WorkerVocabulary {
  const known = Math.min(vocab_size, tokenizer.vocabSize);
  const offsets = new Uint32Array(vocab_size + 1);
  const tokens: Uint8Array[] = [];
  for (let id = 0; id < vocab_size; id++) {
    const text = id < known && !tokenizer.isSpecial(id) && !eos.has(id);
    tokens.push(text ? tokenizer.tokenBytes(id) : NOTHING);
    offsets[id + 1] = offsets[id]! + tokens[id]!.length;
  }
  const bytes = new Uint8Array(offsets[vocab_size]!);
  tokens.forEach((token, id) => {
    bytes.set(token, offsets[id]!);
  });
  const library = createRequire(import.meta.url).resolve("@mlc-ai/web-xgrammar");
  return { library, bytes, offsets, eos: [...eos].filter((id) => id < vocab_size) };
}

const NOTHING = new Uint8Array(0);
