// What both file formats give: named tensors, each a byte range of a source.

import type { WeightType } from "../engine/weights.ts";
import type { Source } from "./source.ts";
import type { StorageType } from "./storage.ts";

/** A tensor that lies in a file. Its bytes are read only when asked for. */
export interface TensorInfo {
  readonly name: string;
  readonly type: StorageType;
  /** Outermost dimension first, as Hugging Face prints it; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** Absolute position of the first byte in `source`. */
  readonly offset: number;
  readonly bytes: number;
  readonly source: Source;
}

/** A tensor of a type the engine computes with. */
export interface WeightTensor extends TensorInfo {
  readonly type: WeightType;
}

/** A tensor to be written. `data` gives exactly the bytes that `type` and `shape` want, whole or in pieces. */
export interface TensorToWrite {
  readonly name: string;
  readonly type: StorageType;
  readonly shape: readonly number[];
  readonly data: () => Promise<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** How far a write has come: bytes of tensor data, and the tensor just finished. */
export interface WriteProgress {
  readonly tensor: string;
  readonly bytes: number;
  readonly totalBytes: number;
}
