// An encoder that is loaded: its program compiled with weights, its tokenizer, and how texts become vectors. Steps of
// many sequences end to end; nothing is padded.

import type { Backend, Executable, Storage } from "../engine/backend.ts";
import { type BackendName, createBackend } from "../engine/backends/index.ts";
import { fuse } from "../engine/fuse.ts";
import { availableMemory } from "../engine/machine.ts";
import {
  type Config,
  checkTensors,
  type LoadProgress,
  loadWeights,
  memoryNeeded,
  mib,
  openModel,
  recordEncoder,
  type SentenceConfig,
  weightShapes,
} from "../models/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

export interface LoadEncoderOptions {
  /** Default: `PITH_THREADS`, else the cores that the process may use. */
  readonly threads?: number;
  /** Default: `PITH_BACKEND`, else native where it loads, else wasm. */
  readonly backend?: BackendName;
  /** Instruction set of the native backend. Default: `PITH_KERNELS`, else the best there is. */
  readonly kernels?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** Tokens of a step, unless one text may be longer; sequences of a step. */
const STEP_TOKENS = 1024;
const STEP_SEQUENCES = 64;

/** Rows of hidden states of the sequences of a step, in their order. */
export type Hidden = readonly Float32Array[];

/** A loaded encoder. `embed` makes vectors with it. */
export class Encoder implements AsyncDisposable {
  readonly name: string;
  readonly config: Config;
  readonly tokenizer: Tokenizer;
  /** Pooling, normalisation and prompts, from the model's files. */
  readonly sentence: SentenceConfig;
  /** Longest text in tokens, with those that the tokenizer puts around it. */
  readonly maxLength: number;
  readonly backend: { readonly name: string; readonly kernels: string; readonly threads: number };
  /** Largest step. */
  readonly maxima: { readonly T: number; readonly S: number };
  readonly #executable: Executable;
  readonly #release: () => void;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** @internal `loadEncoder` makes them. */
  constructor(
    parts: Pick<Encoder, "name" | "config" | "tokenizer" | "sentence" | "maxLength" | "backend" | "maxima">,
    executable: Executable,
    release: () => void,
  ) {
    this.name = parts.name;
    this.config = parts.config;
    this.tokenizer = parts.tokenizer;
    this.sentence = parts.sentence;
    this.maxLength = parts.maxLength;
    this.backend = parts.backend;
    this.maxima = parts.maxima;
    this.#executable = executable;
    this.#release = release;
  }

  /**
   * One step: the wanted hidden states of each sequence, [rows.length, hidden_size].
   * @param rows of each sequence, or "all" of its tokens
   */
  run(
    sequences: readonly (readonly number[])[],
    rows: readonly ("all" | readonly number[])[],
  ): Promise<Hidden> {
    const next = this.#last.catch(() => undefined).then(() => this.#step(sequences, rows));
    this.#last = next;
    return next;
  }

  async #step(
    sequences: readonly (readonly number[])[],
    rows: readonly ("all" | readonly number[])[],
  ): Promise<Hidden> {
    if (this.#closed)
      throw new Error(`Cannot embed with ${JSON.stringify(this.name)}: it is closed, wanted an open one`);
    const T = sequences.reduce((sum, ids) => sum + ids.length, 0);
    const tokens = new Int32Array(T);
    const positions = new Int32Array(T);
    const segments = new Int32Array(sequences.length * 4);
    const wanted: number[] = [];
    const counts: number[] = [];
    let start = 0;
    for (const [s, ids] of sequences.entries()) {
      tokens.set(ids, start);
      for (let t = 0; t < ids.length; t++) positions[start + t] = t;
      segments.set([start, ids.length, 0, -1], s * 4);
      const own = rows[s]!;
      const list = own === "all" ? ids.keys() : own;
      for (const t of list) wanted.push(start + t);
      counts.push(own === "all" ? ids.length : own.length);
      start += ids.length;
    }
    const dims = { T, S: sequences.length, R: wanted.length };
    const inputs = { tokens, positions, segments, rows: Int32Array.from(wanted) };
    const types = this.config.type_vocab_size === undefined ? {} : { token_types: new Int32Array(T) };
    await this.#executable.run(dims, { ...inputs, ...types });
    const width = this.config.hidden_size;
    let at = 0;
    return counts.map((count) => {
      const hidden = new Float32Array(count * width);
      this.#executable.read("hidden", hidden, at * width);
      at += count;
      return hidden;
    });
  }

  /** Frees weights and threads, when the step that runs is done. More than once is no error. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#last.catch(() => undefined);
    this.#release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Loads an encoder: a folder, a GGUF file, or a hub name that is in the cache.
 * @throws {TypeError} for a model that is none. @throws {Error} on what `loadModel` throws too; nothing stays in memory
 */
export async function loadEncoder(nameOrPath: string, options: LoadEncoderOptions = {}): Promise<Encoder> {
  const { backend: backendName, threads, kernels, ...load } = options;
  const model = await openModel(nameOrPath);
  try {
    const { config, definition, sentence, name } = model;
    if (!definition.encoder || !sentence)
      throw new TypeError(
        `Cannot embed with ${JSON.stringify(name)}: ${config.model_type} is a decoder, wanted an encoder (bert)`,
      );
    checkTensors(model);
    const tokenizer = await model.tokenizer();
    const maxLength = Math.min(config.max_position_embeddings, sentence.max_seq_length ?? Infinity);
    const maxima = { T: Math.max(STEP_TOKENS, maxLength), S: STEP_SEQUENCES };
    const sizes = { ctx: maxLength, kv: "f16", cacheTokens: 0, T: maxima.T, R: 0 } as const;
    const needed = memoryNeeded(config, weightShapes(model), sizes).total;
    const available = availableMemory();
    if (needed > available)
      throw new RangeError(
        `Cannot load ${JSON.stringify(name)}: it needs ${mib(needed)}, but ${mib(available)} of memory is available`,
      );
    const backend = await createBackend({
      ...(backendName && { backend: backendName }),
      ...(threads !== undefined && { threads }),
      ...(kernels && { kernels }),
    });
    const owned: Storage[] = [];
    let executable: Executable | undefined;
    const release = () => {
      executable?.free();
      for (const storage of owned) storage.free();
      backend.close();
    };
    try {
      const weights = await loadWeights(model, backend, load);
      owned.push(...weights.values());
      executable = compile(backend, recordEncoder(definition, config, maxLength), maxima, weights);
      const parts = { name, config, tokenizer, sentence, maxLength, backend, maxima };
      return new Encoder(parts, executable, release);
    } catch (error) {
      release();
      throw error;
    }
  } finally {
    await model.close();
  }
}

function compile(
  backend: Backend,
  program: ReturnType<typeof recordEncoder>,
  { T, S }: Encoder["maxima"],
  weights: ReadonlyMap<string, Storage>,
): Executable {
  const fused = fuse(program);
  const executable = backend.compile(fused, { T, S, R: T });
  for (const { name } of fused.params) executable.bind(name!, weights.get(name!)!);
  return executable;
}
