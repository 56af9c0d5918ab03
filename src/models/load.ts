// Loading: the weights of an opened model into a backend's memory, after everything that headers can tell is checked.

import type { Backend, Storage } from "../engine/backend.ts";
import { readTensorValues } from "../formats/index.ts";
import { moveRows } from "./gguf-names.ts";
import { checkTensors, type OpenedModel, weightSource } from "./open.ts";

export interface LoadProgress {
  /** The parameter just loaded. */
  readonly tensor: string;
  /** Bytes of the files' tensors. */
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface LoadOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
}

/**
 * Loads every parameter: matrices in the type they have on disk, vectors (norms, biases) as dense f32.
 * On an error or an abort nothing stays in memory.
 * @throws {RangeError | TypeError} when a tensor is missing, or has another shape or a type the engine does not know.
 */
export async function loadWeights(
  model: OpenedModel,
  backend: Backend,
  { signal, onProgress }: LoadOptions = {},
): Promise<Map<string, Storage>> {
  checkTensors(model);
  const weights = new Map<string, Storage>();
  const names = [...model.definition.params(model.config).keys()];
  const totalBytes = names.reduce((sum, name) => sum + model.tensors.get(name)!.bytes, 0);
  let bytes = 0;
  // The native backend's threads read files by themselves: with all loads under way they go on while JavaScript does
  // other work. Others pass every byte through JavaScript, and would hold all of them at once.
  const most = (name: string) =>
    backend.name === "native" && model.tensors.get(name)!.source.path !== undefined ? names.length : 1;
  const underWay = new Set<Promise<void>>();
  const one = async (name: string) => {
    weights.set(name, await loadWeight(model, backend, name, signal));
    bytes += model.tensors.get(name)!.bytes;
    onProgress?.({ tensor: name, bytes, totalBytes });
  };
  try {
    for (const name of names) {
      signal?.throwIfAborted();
      const load = one(name).finally(() => underWay.delete(load));
      underWay.add(load);
      if (underWay.size >= most(name)) await Promise.race(underWay);
    }
    await Promise.all(underWay);
  } catch (error) {
    await Promise.allSettled(underWay);
    for (const storage of weights.values()) storage.free();
    throw error;
  }
  return weights;
}

/** One parameter, as `loadWeights` loads it. */
export async function loadWeight(
  model: OpenedModel,
  backend: Backend,
  name: string,
  signal?: AbortSignal,
): Promise<Storage> {
  const source = weightSource(model, name);
  if (source.shape.length > 1) return backend.weight(source, signal);
  return backend.dense("f32", source.shape, await parameterValues(model, name));
}

/** A parameter's values, row-major, with rows in Hugging Face's order whatever the file has. */
export async function parameterValues(model: OpenedModel, name: string): Promise<Float32Array> {
  const { shape, interleavedHeads: heads } = weightSource(model, name);
  const values = await readTensorValues(model.tensors.get(name)!);
  if (!heads) return values;
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return new Float32Array(moveRows(bytes, shape[0]!, heads, "hf").buffer);
}
