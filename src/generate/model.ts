// A loaded model as the library gives it: prompts and messages in, text out. The command line and a server only wrap it.

import type { Dims } from "../engine/backend.ts";
import type { SampleResult } from "../engine/sampler.ts";
import type { Config, GenerationConfig } from "../models/config.ts";
import type { AdapterLoader } from "../models/index.ts";
import type { Runtime, Scoring } from "../models/runtime.ts";
import { type ChatMessage, ChatTemplate, encodeChat, type Tokenizer } from "../tokenizer/index.ts";
import { type Adapter, type AdapterChoice, Adapters, type AttachOptions } from "./adapters.ts";
import { withThinking } from "./chat.ts";
import { Engine } from "./engine.ts";
import { Generation } from "./generation.ts";
import { type ConstraintOptions, constraintGrammar, Grammars, type TokenMasker } from "./grammar/index.ts";
import { type SamplingOptions, sampleRow, seedOf } from "./sampling.ts";
import { type FinishReason, type Mask, Sequence, type Sink } from "./sequence.ts";
import { loadSession, type SessionKey, saveSession } from "./session.ts";
import { TextStream } from "./stream.ts";
import { TokenBytes, type Verbatim, VerbatimAnswer } from "./verbatim.ts";

export interface GenerateOptions extends SamplingOptions, ConstraintOptions {
  /** Default: as many as the context has room for. */
  readonly maxTokens?: number;
  /** Text that ends the answer; it is not part of it. */
  readonly stop?: string | readonly string[];
  /** Beside `schema`: which strings of the answer must be parts of a text. */
  readonly verbatim?: Verbatim;
  /** Which tokens may come next, asked before each. */
  readonly mask?: Mask;
  /** Ends it: it rejects with the signal's reason, and its place in the next step is free. */
  readonly signal?: AbortSignal;
  /** Names of control tokens in the prompt (`<|im_start|>`) are tokens, not text. A begin token is not put there twice. */
  readonly raw?: boolean;
  /** Attached adapters to run with (see `Model.adapter`); the base alone without. */
  readonly adapter?: AdapterChoice;
}

export interface ChatOptions extends Omit<GenerateOptions, "raw"> {
  /** Descriptions of functions, for templates that know tools. */
  readonly tools?: readonly unknown[];
  /** Whether the model shall think before it answers; only for templates with such a switch. Default: the template's. */
  readonly think?: boolean;
  /** More values for the template. */
  readonly template?: Readonly<Record<string, unknown>>;
}

/** With which adapters a session is computed. */
export type SessionOptions = Pick<GenerateOptions, "adapter">;

/** What a model is made of; `loadModel` brings it together. */
export interface ModelParts {
  readonly name: string;
  readonly config: Config;
  readonly generationConfig: GenerationConfig;
  readonly runner: Runtime;
  /** The tokenizer, or why there is none: ids go in and out without one. */
  readonly tokenizer: Tokenizer | Error;
  readonly backend: { readonly name: string; readonly kernels: string; readonly threads: number };
  /** Bytes of weights, of those that a token reads (not the embedding, where the head has its own), of the KV cache. */
  readonly bytes: { readonly weights: number; readonly perToken: number; readonly kv: number };
  /** Of the files' parameters. */
  readonly bitsPerWeight: number;
  /** Reads an adapter of this model; absent: none can be attached. */
  readonly loadAdapter?: AdapterLoader;
  /** Digest of the model, for sessions. */
  readonly identity: string;
  /** Frees weights, cache and threads. */
  release(): void;
}

export class Model implements AsyncDisposable {
  readonly name: string;
  readonly config: Config;
  readonly generationConfig: GenerationConfig;
  /** Most tokens of a prompt and its answer together. */
  readonly ctx: number;
  /** What computes: its name, instruction set and number of threads. */
  readonly backend: ModelParts["backend"];
  readonly bytes: ModelParts["bytes"];
  readonly bitsPerWeight: number;
  /** Tokens that end an answer: the tokenizer's and generation_config.json's. */
  readonly eosIds: ReadonlySet<number>;
  readonly #parts: ModelParts;
  readonly #engine: Engine;
  readonly #adapters: Adapters;
  #template: ChatTemplate | undefined;
  #grammars: Grammars | undefined;
  #tokenBytes: TokenBytes | undefined;
  #closed: Promise<void> | undefined;

  constructor(parts: ModelParts) {
    const { name, config, generationConfig, runner, tokenizer, backend, bytes } = parts;
    this.#parts = parts;
    this.name = name;
    this.config = config;
    this.generationConfig = generationConfig;
    this.backend = backend;
    this.bytes = bytes;
    this.bitsPerWeight = parts.bitsPerWeight;
    this.#engine = new Engine(runner);
    this.#adapters = new Adapters(name, parts.loadAdapter, runner.adapters?.targets, (digest) =>
      this.#engine.forget(digest),
    );
    this.ctx = this.#engine.ctx;
    const own = tokenizer instanceof Error ? [] : tokenizer.eosIds;
    this.eosIds = new Set([...own, ...generationConfig.eos_token_id]);
  }

  /** @throws {Error} when the model has none that can be read */
  get tokenizer(): Tokenizer {
    const { tokenizer } = this.#parts;
    if (tokenizer instanceof Error) throw tokenizer;
    return tokenizer;
  }

  /** Whether there is a chat template. */
  get canChat(): boolean {
    const { tokenizer } = this.#parts;
    return !(tokenizer instanceof Error) && tokenizer.chatTemplate !== undefined;
  }

  /** How many sequences run and wait, and how many KV pages are used. */
  get status(): { running: number; waiting: number; usedPages: number; pages: number } {
    const { running, waiting, pool } = this.#engine.scheduler;
    return {
      running: running.length,
      waiting: waiting.length,
      usedPages: pool.total - pool.available,
      pages: pool.total,
    };
  }

  /** Adapters that are attached. */
  get adapters(): readonly Adapter[] {
    return this.#adapters.attached;
  }

  /**
   * The attached adapter of a name; or attaches one: a PEFT folder or a GGUF file. Sequences with it, with others and
   * without any run side by side; none stops for it. What is attached already (the same bytes) is not read again.
   * @throws {Error} naming the first tensor that is not of this model, or not right
   */
  adapter(nameOrPath: string, options: AttachOptions = {}): Promise<Adapter> {
    return this.#adapters.adapter(nameOrPath, options);
  }

  /**
   * Continues a text, or ids. What is wrong with the request (a setting out of range, a prompt beyond the context)
   * rejects before any work is done.
   */
  generate(prompt: string | ArrayLike<number>, options: GenerateOptions = {}): Generation {
    return this.#start(() => this.encodePrompt(prompt, options.raw), options, true);
  }

  /** Answers a conversation, in the form of the model's own chat template. */
  chat(messages: readonly ChatMessage[], options: ChatOptions = {}): Generation {
    return this.#start(() => this.encodeMessages(messages, options), options, false);
  }

  /** The ids that `generate` makes of a prompt. */
  encodePrompt(prompt: string | ArrayLike<number>, raw = false): ArrayLike<number> {
    if (typeof prompt === "string") {
      const { bosId } = this.tokenizer;
      const begun = raw && bosId !== undefined && prompt.startsWith(this.tokenizer.tokenText(bosId)!);
      return this.tokenizer.encode(prompt, { addSpecial: !begun, parseSpecial: raw });
    }
    for (let i = 0; i < prompt.length; i++)
      if (!Number.isInteger(prompt[i]))
        throw new TypeError(
          `Cannot generate: token ${i} of the prompt is ${prompt[i]}, wanted a whole number`,
        );
    return prompt;
  }

  /** The ids that `chat` makes of messages. @throws {Error} when the model has no chat template */
  encodeMessages(
    messages: readonly ChatMessage[],
    options: Pick<ChatOptions, "tools" | "template" | "think"> = {},
  ): number[] {
    const { tokenizer } = this;
    if (tokenizer.chatTemplate === undefined)
      throw new Error(
        `Cannot chat with ${JSON.stringify(this.name)}: it has no chat template, wanted one; use generate`,
      );
    this.#template ??= new ChatTemplate(tokenizer.chatTemplate, this.name);
    const { tools, template, think } = options;
    const input = { ...template, messages, add_generation_prompt: true, ...(tools && { tools }) };
    const whole = think === undefined ? input : withThinking(this.#template, input, think);
    return encodeChat(tokenizer, this.#template, whole);
  }

  /** Logits of every position: [ids.length · vocab_size]. The whole in memory: for tests and evaluation. */
  logits(
    ids: ArrayLike<number>,
    { signal, adapter }: { signal?: AbortSignal; adapter?: AdapterChoice } = {},
  ): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const { vocab_size } = this.config;
      const all = new Float32Array(ids.length * vocab_size);
      const onAbort = () => this.#engine.end(sequence, "abort", signal!.reason);
      const adapters = this.#adapters.use(adapter);
      const sequence = new Sequence(this.encodePrompt(ids), {
        ...(adapters && { adapter: adapters.use }),
        sink: {
          logits: (from, rows) => all.set(rows, from * vocab_size),
          end: (reason, error) => {
            adapters?.release();
            signal?.removeEventListener("abort", onAbort);
            if (reason === "abort") reject(error);
            else resolve(all);
          },
        },
      });
      try {
        this.#engine.add(sequence);
      } catch (error) {
        adapters?.release();
        throw error;
      }
      signal?.addEventListener("abort", onAbort);
    });
  }

  /** A program that scores on this model's weights, with a cache of its own: what evaluation runs. The caller frees it. */
  scoring(maxima: Dims, pages: number, adapter?: AdapterChoice): Scoring {
    const adapters = this.#adapters.use(adapter);
    try {
      const scoring = this.#parts.runner.scoring(maxima, pages, adapters?.use.changes());
      const free = () => {
        scoring.free();
        adapters?.release();
      };
      return { ...scoring, free };
    } catch (error) {
      adapters?.release();
      throw error;
    }
  }

  /**
   * Writes keys and values of `ids` (a prompt and its answer) to a file whose name ends in .safetensors, as far as the
   * cache still has them: whole pages of 64 tokens. Gives the number of tokens; at 0 nothing is written.
   */
  async saveSession(path: string, ids: ArrayLike<number>, options: SessionOptions = {}): Promise<number> {
    const key = this.#sessionKey(options);
    return saveSession(path, ids, key, this.#engine.scheduler.pool, this.#parts.runner);
  }

  /**
   * Takes a session into the cache, where prompts that begin with its tokens find them. Gives these tokens.
   * @throws {Error} for a file that is damaged, or of another model, adapter or type of cache
   */
  async loadSession(path: string, options: SessionOptions = {}): Promise<Int32Array> {
    const key = this.#sessionKey(options);
    const { scheduler, vocab_size } = this.#engine;
    return loadSession(path, key, scheduler.pool, this.#parts.runner, vocab_size);
  }

  #sessionKey({ adapter }: SessionOptions): SessionKey {
    if (this.#closed) throw new Error("Cannot use a session: the model is closed");
    const used = this.#adapters.use(adapter);
    used?.release();
    // Its divisors go by the context: keys of a short one are of no use in a long one.
    const { scaling } = this.config.rope ?? {};
    const long =
      scaling?.rope_type === "longrope" && this.#parts.runner.ctx > scaling.original_max_position_embeddings;
    return { model: `${this.#parts.identity}${long ? "-long" : ""}`, adapter: used?.use.key ?? "" };
  }

  /** Ends what is running with an error and frees all memory. More than once is no error. */
  close(): Promise<void> {
    this.#closed ??= this.#engine.close().then(() => {
      this.#grammars?.close();
      this.#parts.release();
    });
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #start(encode: () => ArrayLike<number>, options: GenerateOptions, continues: boolean): Generation {
    const { tokenizer } = this.#parts;
    const { signal, mask, maxTokens } = options;
    const stream = new TextStream(
      tokenizer instanceof Error ? undefined : tokenizer,
      options.logprobs !== undefined,
    );
    let sequence: Sequence | undefined;
    let seed: number | bigint = 0;
    const engine = this.#engine;
    const generation = new Generation(stream, {
      promptTokens: () => sequence?.promptLength ?? 0,
      cachedTokens: () => Math.max(0, sequence?.cached ?? 0),
      seed: () => seed,
      cancel: () => sequence && engine.end(sequence),
      parsed: () => (options.schema !== undefined ? this.#parse(stream) : undefined),
    });
    try {
      signal?.throwIfAborted();
      if (maxTokens !== undefined && !(maxTokens >= 0))
        throw new RangeError(`Cannot generate with maxTokens ${maxTokens}: wanted 0 or more`);
      const sample = sampleRow(options, this.generationConfig, this.config.vocab_size);
      seed = seedOf(sample);
      stream.stopAt(typeof options.stop === "string" ? [options.stop] : (options.stop ?? []));
      const grammar = constraintGrammar(options);
      if (grammar !== undefined && mask)
        throw new TypeError(
          "Cannot generate with a mask beside schema, regex or grammar: wanted one of them",
        );
      if (options.verbatim && options.schema === undefined)
        throw new TypeError("Cannot answer verbatim without a schema: it says which strings there are");
      const answer = options.verbatim && new VerbatimAnswer(options.verbatim, this.#bytesOfTokens());
      const follower = grammar === undefined ? undefined : new Follower(stream, answer);
      const own = follower ? follower.mask : mask;
      const prompt = encode();
      const adapters = this.#adapters.use(options.adapter);
      let unfollow: (() => void) | undefined;
      stream.onEnd = () => {
        unfollow?.();
        follower?.close();
        adapters?.release();
      };
      sequence = new Sequence(prompt, {
        sink: follower ?? stream,
        ...(adapters && { adapter: adapters.use }),
        sample,
        eos: this.eosIds,
        ...(maxTokens !== undefined && { maxTokens: Math.floor(maxTokens) }),
        ...(own && { mask: own }),
      });
      if (continues) stream.continueFrom(sequence.tokens.subarray(0, sequence.length));
      if (follower) this.#addWhenReady(sequence, grammar!, follower);
      else engine.add(sequence);
      if (signal) unfollow = this.#follow(signal, sequence);
    } catch (error) {
      stream.end("abort", error);
    }
    return generation;
  }

  /** Compiling a grammar takes its time: until then the sequence takes part in no step. */
  #addWhenReady(sequence: Sequence, grammar: string, follower: Follower): void {
    if (this.eosIds.size === 0)
      throw new TypeError(
        `Cannot constrain ${JSON.stringify(this.name)}: it has no end token, wanted one to end the answer with`,
      );
    this.#grammars ??= new Grammars(this.tokenizer, this.config.vocab_size, this.eosIds);
    this.#grammars.open(grammar).then(
      (masker) => {
        try {
          follower.begin(masker);
          if (sequence.ended) return follower.close();
          this.#engine.add(sequence);
        } catch (error) {
          this.#engine.end(sequence, "abort", error);
        }
      },
      (error) => this.#engine.end(sequence, "abort", error),
    );
  }

  #bytesOfTokens(): TokenBytes {
    this.#tokenBytes ??= new TokenBytes(this.tokenizer, this.config.vocab_size);
    return this.#tokenBytes;
  }

  /** The document of a constrained answer that has reached its end. */
  #parse({ ids, text }: TextStream): unknown {
    return this.eosIds.has(ids.at(-1) ?? -1) ? JSON.parse(text) : undefined;
  }

  /** Returns what undoes it. */
  #follow(signal: AbortSignal, sequence: Sequence): () => void {
    const onAbort = () => this.#engine.end(sequence, "abort", signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    return () => signal.removeEventListener("abort", onAbort);
  }
}

/** The mask of one sequence that a grammar makes: asked for as soon as a token is known, wanted when the next step ends. */
class Follower implements Sink {
  readonly #sink: Sink;
  readonly #verbatim: VerbatimAnswer | undefined;
  #masker: TokenMasker | undefined;

  constructor(sink: Sink, verbatim?: VerbatimAnswer) {
    this.#sink = sink;
    this.#verbatim = verbatim;
  }

  begin(masker: TokenMasker): void {
    this.#masker = masker;
    masker.ask();
  }

  readonly mask: Mask = () => () => {
    const mask = this.#masker!.mask();
    const verbatim = this.#verbatim;
    if (!verbatim) return mask;
    return mask instanceof Promise ? mask.then((made) => verbatim.narrow(made)) : verbatim.narrow(mask);
  };

  token(id: number, result: SampleResult, end: boolean): boolean {
    this.#verbatim?.add(id);
    if (!end) this.#masker!.ask(id);
    return this.#sink.token!(id, result, end);
  }

  end(reason: FinishReason, error?: unknown): void {
    this.#sink.end(reason, error);
  }

  close(): void {
    this.#masker?.close();
  }
}
