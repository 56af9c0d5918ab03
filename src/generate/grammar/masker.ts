// Token masks from a grammar, made in workers while the model computes. What the rest of pith sees of the grammar library.

import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { LIMITS } from "./limits.ts";
import { type WorkerReply, type WorkerRequest, type WorkerVocabulary, workerSource } from "./worker.ts";

/** Which tokens may come next in one text that follows a grammar. */
export interface TokenMasker {
  /** Adds tokens to the text, then says which may follow: bit id % 32 of word id / 32. One call at a time. */
  next(ids: readonly number[]): Promise<Uint32Array>;
  /** Ends it. More than once is no error. */
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

interface Pending {
  resolve(reply: WorkerReply): void;
  reject(error: unknown): void;
}

class GrammarWorker {
  ended = false;
  readonly #worker: Worker;
  readonly #onIdle: () => void;
  readonly #known = new Set<string>();
  readonly #open = new Set<number>();
  readonly #pending = new Map<number, Pending>();
  #ids = 0;

  constructor(vocabulary: WorkerVocabulary, onIdle: () => void) {
    this.#onIdle = onIdle;
    this.#worker = new Worker(workerSource(), { eval: true, workerData: vocabulary });
    this.#worker.unref();
    this.#worker.on("message", (reply: WorkerReply) => this.#settle(reply.id)?.resolve(reply));
    this.#worker.on("error", (error) => this.end(error));
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
    this.#known.add(grammar);
    this.#open.add(id);
    const { error } = await this.#ask(
      { kind: "open", id, grammar },
      LIMITS.compileMs,
      "compiling the grammar",
    );
    if (error !== undefined) {
      this.#known.delete(grammar);
      // The library gives up in the midst of its work: what it leaves is not used again.
      const failure = new SyntaxError(`Cannot constrain by a grammar: ${error}`);
      this.end(failure);
      throw failure;
    }
    return {
      next: async (ids) => {
        const reply = await this.#ask({ kind: "next", id, ids }, LIMITS.maskMs, "a mask");
        if (reply.error !== undefined) throw new Error(`Cannot constrain: ${reply.error}`);
        const { buffer, byteOffset, length } = reply.mask!;
        return new Uint32Array(buffer, byteOffset, length);
      },
      close: () => {
        if (!this.#open.delete(id)) return;
        if (!this.ended) this.#worker.postMessage({ kind: "close", id } satisfies WorkerRequest);
        if (this.idle) this.#onIdle();
      },
    };
  }

  #ask(request: WorkerRequest, limitMs: number, what: string): Promise<WorkerReply> {
    return new Promise((resolve, reject) => {
      if (this.ended) throw new Error("Cannot constrain: the grammar's worker has ended");
      const late = () => this.end(new Error(`Cannot constrain: ${what} took more than ${limitMs} ms`));
      const timer = setTimeout(late, limitMs);
      this.#pending.set(request.id, {
        resolve: (reply) => {
          clearTimeout(timer);
          resolve(reply);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      this.#worker.postMessage(request);
      this.#worker.ref();
    });
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#worker.unref();
    return pending;
  }

  end(error: unknown): void {
    if (this.ended) return;
    this.ended = true;
    void this.#worker.terminate();
    for (const id of [...this.#pending.keys()]) this.#settle(id)?.reject(error);
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
