// What AWQ and GPTQ are asked for, and what they give: finished blocks, a part of the model at a time.

import type { Backend } from "../engine/backend.ts";
import type { WeightType } from "../engine/weights.ts";
import type { OpenedModel } from "../models/index.ts";
import type { Calibration } from "../train/index.ts";
import type { Part, StreamState } from "./stream.ts";

/** Blocks of a matrix, rows in Hugging Face's order. */
export interface Blocks {
  readonly type: WeightType;
  readonly bytes: Uint8Array;
}

/** How far a matrix is from the original in what it computes: tr(ΔW H ΔWᵀ) / tr(W H Wᵀ), H = Σ x xᵀ of its inputs. */
export interface MatrixError {
  /** Of blocks rounded with importance alone. */
  readonly rounded: number;
  /** Of the blocks that are given. */
  readonly error: number;
}

/** A part of the model that a calibrated method is done with. */
export interface FinishedPart {
  readonly part: Part;
  readonly index: number;
  readonly parts: number;
  /** Every matrix of `types` in this part. */
  readonly blocks: ReadonlyMap<string, Blocks>;
  /** Norms and biases that changed (AWQ folds scales into them). */
  readonly vectors: ReadonlyMap<string, Float32Array>;
  /** Of matrices that were calibrated. */
  readonly errors: ReadonlyMap<string, MatrixError>;
  /** What to go on with behind this part: hand it back as `resume`. */
  readonly state: StreamState;
}

export interface CalibratedOptions {
  readonly method: "awq" | "gptq";
  /** The block type of every matrix that is to be quantized, decided before. */
  readonly types: ReadonlyMap<string, WeightType>;
  readonly calibration: Calibration;
  /** Hidden states go on through the quantized weights, or through the original ones. */
  readonly through?: "original" | "quantized";
  /** The `state` of the last finished part. */
  readonly resume?: StreamState;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: {
    readonly part: Part;
    readonly stage: "measuring" | "quantizing";
    readonly done: number;
    readonly total: number;
  }) => void;
}

/**
 * AWQ and GPTQ. Parts come in the model's order, "embed" first, each with finished blocks. For imatrix: `measureImportance`
 * in stream.ts, and then blocks as rtn makes them.
 */
export type QuantizeCalibrated = (
  model: OpenedModel,
  backend: Backend,
  options: CalibratedOptions,
) => AsyncGenerator<FinishedPart, void, undefined>;
