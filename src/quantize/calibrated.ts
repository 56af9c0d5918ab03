// What AWQ and GPTQ are asked for, and what they give: finished blocks, a part of the model at a time.

import type { Backend } from "../engine/backend.ts";
import { isQuantType, type QuantType } from "../engine/grids.ts";
import { dequantize, quantize, type WeightType, type WritableType } from "../engine/weights.ts";
import { type OpenedModel, parameterValues } from "../models/index.ts";
import type { Calibration } from "../train/index.ts";
import { Rounder } from "./gptq.ts";
import { makeTriangle, productsOf, RowErrors, type TriangleOptions } from "./moments.ts";
import { type LinearInput, type Part, type StreamState, streamParts } from "./stream.ts";

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

export interface CalibratedOptions extends TriangleOptions {
  readonly method: "awq" | "gptq";
  /** The block type of every matrix that is to be quantized, decided before. */
  readonly types: ReadonlyMap<string, WeightType>;
  readonly calibration: Calibration;
  /** Hidden states go on through the quantized weights (the default), or through the original ones. */
  readonly through?: "original" | "quantized";
  /** The `state` of the last finished part. */
  readonly resume?: StreamState;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: {
    readonly part: Part;
    readonly index: number;
    readonly stage: "measuring" | "quantizing";
    readonly done: number;
    readonly total: number;
  }) => void;
}

/**
 * AWQ and GPTQ. Parts come in the model's order, "embed" first, each with finished blocks. For imatrix: `measureImportance`
 * in stream.ts, and then blocks as rtn makes them.
 * @throws {TypeError | RangeError} naming what cannot be calibrated, before anything is measured
 */
export async function* quantizeCalibrated(
  model: OpenedModel,
  backend: Backend,
  options: CalibratedOptions,
): AsyncGenerator<FinishedPart, void, undefined> {
  const { types, calibration, through = "quantized", resume, signal, onProgress } = options;
  const shapes = model.definition.params(model.config);
  const stream = streamParts(model, backend, calibration, {
    moments: "products",
    through,
    ...(resume && { resume }),
    ...(signal && { signal }),
    onBatch: (part, index, done, total) => onProgress?.({ part, index, stage: "measuring", done, total }),
  });
  for await (const visit of stream) {
    const { part, index } = visit;
    const blocks = new Map<string, Blocks>();
    const errors = new Map<string, MatrixError>();
    const names = visit.parameters.filter((name) => isQuantType(types.get(name) ?? ""));
    // Linears that read the same come one after another, so that one triangle at a time is in memory.
    const groups = [...new Set(names.map((name) => visit.inputs.get(name)))];
    let done = 0;
    for (const input of groups) {
      const own = names.filter((name) => visit.inputs.get(name) === input);
      const tools =
        input &&
        (await openTools(
          backend,
          input,
          own.length === 0 ? 0 : Math.max(...own.map((name) => shapes.get(name)![0]!)),
          options,
        ));
      try {
        for (const name of own) {
          signal?.throwIfAborted();
          const type = types.get(name) as QuantType;
          const values = await parameterValues(model, name);
          const cols = shapes.get(name)!.at(-1)!;
          let bytes = await roundBlocks(backend, type, values, cols, input?.squares);
          if (tools) {
            const rounded = await tools.errors.sum(difference(type, values, bytes));
            bytes = await tools.rounder.round(type, values, bytes);
            const error = await tools.errors.sum(difference(type, values, bytes));
            const whole = await tools.errors.sum(values);
            errors.set(name, { rounded: rounded / whole, error: error / whole });
          }
          blocks.set(name, { type, bytes });
          visit.replace(name, { type, bytes });
          onProgress?.({ part, index, stage: "quantizing", done: ++done, total: names.length });
        }
      } finally {
        tools?.free();
      }
    }
    const state = await visit.finish();
    yield { part, index, parts: visit.parts, blocks, vectors: new Map(), errors, state };
  }
}

async function openTools(backend: Backend, input: LinearInput, rows: number, options: CalibratedOptions) {
  const triangle = await makeTriangle(backend, input, options);
  const rounder = new Rounder(backend, triangle);
  const errors = new RowErrors(backend, productsOf(input), input.columns, rows);
  const free = () => {
    errors.free();
    rounder.free();
    triangle.free();
  };
  return { rounder, errors, free };
}

/** Blocks less what they were made of. */
function difference(type: QuantType, values: Float32Array, bytes: Uint8Array): Float32Array {
  const delta = new Float32Array(values.length);
  dequantize(type, bytes, delta);
  for (let i = 0; i < delta.length; i++) delta[i]! -= values[i]!;
  return delta;
}

/** Blocks of a matrix by the least (weighted) squared error. */
async function roundBlocks(
  _backend: Backend,
  type: QuantType,
  values: Float32Array,
  _cols: number,
  _importance: Float32Array | undefined,
): Promise<Uint8Array> {
  return quantize(type as WritableType, values);
}
