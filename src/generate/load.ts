// Bringing a model together for generation: files, backend, weights, cache, tokenizer.

import type { KvType } from "../engine/backend.ts";
import { type BackendName, createBackend } from "../engine/backends/index.ts";
import {
  adapterLoader,
  bitsPerWeight,
  createRuntime,
  type LoadProgress,
  type LoadType,
  modelIdentity,
  type OpenedModel,
  openModel,
  quantizedModel,
} from "../models/index.ts";
import { Model } from "./model.ts";

export interface LoadModelOptions {
  /** Most tokens of a prompt and its answer. Default: what the model was trained for, at most 4096. */
  readonly ctx?: number;
  /** Type of the KV cache. Default "f16". */
  readonly kv?: KvType;
  /** Default: `PITH_THREADS`, else the cores that the process may use. */
  readonly threads?: number;
  /** Default: `PITH_BACKEND`, else native where it loads, else wasm. */
  readonly backend?: BackendName;
  /** Instruction set of the native backend. Default: `PITH_KERNELS`, else the best there is. */
  readonly kernels?: string;
  /** Sequences that run at once; others wait. Default 8. */
  readonly sequences?: number;
  /** Tokens that all of them together may hold in the cache. Default: `ctx`. */
  readonly cacheTokens?: number;
  /** Rounds float matrices to this type while they are read. Default: they stay what they are. */
  readonly quantize?: LoadType;
  /** Tokens of a step: how much of a prompt is computed between two tokens of the others. Default 512. */
  readonly chunk?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** Rows of logits of a step, where fewer sequences run: what `Model.logits` gets at a time. */
const MIN_ROWS = 16;

/**
 * Loads a model: a folder, a GGUF file, or a hub name that is in the cache.
 * @throws {Error} that names what was found and what was wanted; nothing stays in memory then
 */
export async function loadModel(nameOrPath: string, options: LoadModelOptions = {}): Promise<Model> {
  const {
    backend: name,
    threads,
    kernels,
    sequences = 8,
    chunk = 512,
    ctx,
    kv,
    cacheTokens,
    quantize,
    ...rest
  } = options;
  count("sequences", sequences, 256);
  count("chunk", chunk, 8192);
  const found = await openModel(nameOrPath);
  try {
    const opened = quantize ? quantizedModel(found, quantize) : found;
    const backend = await createBackend({
      ...(name && { backend: name }),
      ...(threads !== undefined && { threads }),
      ...(kernels && { kernels }),
    });
    try {
      const loading = createRuntime(opened, backend, {
        ...rest,
        ...(ctx !== undefined && { ctx }),
        ...(kv && { kv }),
        ...(cacheTokens !== undefined && { cacheTokens }),
        maxima: { T: Math.max(chunk, sequences), S: sequences, R: Math.max(sequences, MIN_ROWS) },
      });
      // Read while the weights are: ids need none, so a missing tokenizer is an error only where text is asked for.
      const reading = opened.tokenizer().catch((error: unknown) => error as Error);
      const [runtime, tokenizer, identity] = await Promise.all([loading, reading, modelIdentity(opened)]);
      return new Model({
        name: opened.name,
        config: opened.config,
        generationConfig: opened.generationConfig,
        runner: runtime,
        tokenizer,
        backend,
        bytes: { ...runtime.bytes, perToken: runtime.bytes.weights - gatheredBytes(opened) },
        bitsPerWeight: bitsPerWeight(opened),
        identity,
        loadAdapter: adapterLoader(opened.name),
        release() {
          runtime.close();
          backend.close();
        },
      });
    } catch (error) {
      backend.close();
      throw error;
    }
  } finally {
    await found.close();
  }
}

/** Bytes of embeddings of which a token reads one row: no head is one of them. */
export function gatheredBytes({ config, tensors }: Pick<OpenedModel, "config" | "tensors">): number {
  const bytes = (name: string) => tensors.get(`model.${name}.weight`)?.bytes ?? 0;
  return (config.tie_word_embeddings ? 0 : bytes("embed_tokens")) + bytes("embed_tokens_per_layer");
}

function count(name: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw new RangeError(`Cannot load a model with ${name} ${value}: wanted a whole number from 1 to ${max}`);
}
