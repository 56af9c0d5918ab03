// What AWQ and GPTQ are asked for, and what they give: finished blocks, a part of the model at a time.

import type { Backend } from "../engine/backend.ts";
import { isQuantType, type QuantType } from "../engine/grids.ts";
import { dequantize, floatRows, type WeightType } from "../engine/weights.ts";
import { type OpenedModel, parameterValues } from "../models/index.ts";
import type { Calibration } from "../train/index.ts";
import { type Folded, foldPart, type RoundRows, roundCut } from "./awq.ts";
import { Rounder } from "./gptq.ts";
import { makeTriangle, productsOf, RowErrors, type Triangle, type TriangleOptions } from "./moments.ts";
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
  /** Every matrix of `types` in this part. A tied head comes with the embedding, and again with the head: the last counts. */
  readonly blocks: ReadonlyMap<string, Blocks>;
  /** Norms and biases that changed (AWQ folds scales into them). */
  readonly vectors: ReadonlyMap<string, Float32Array>;
  /** Of matrices that were calibrated. */
  readonly errors: ReadonlyMap<string, MatrixError>;
  /** Of AWQ: matrices that were calibrated, but have nothing before them that a scale can be folded into. */
  readonly unfolded: readonly string[];
  /** What to go on with behind this part: hand it back as `resume`. */
  readonly state: StreamState;
}

export interface CalibratedOptions extends TriangleOptions {
  readonly method: "awq" | "gptq";
  /** The block type of every matrix that is to be quantized, decided before. */
  readonly types: ReadonlyMap<string, WeightType>;
  readonly calibration: Calibration;
  /** Hidden states go on through the quantized weights (default of GPTQ), or through the original ones (of AWQ). */
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
  const { method, calibration, resume, signal, onProgress } = options;
  const { through = method === "gptq" ? "quantized" : "original" } = options;
  const shapes = model.definition.params(model.config);
  const types = new Map<string, QuantType>();
  for (const [name, type] of options.types)
    if (isQuantType(type) && shapes.get(name)?.length === 2) types.set(name, type);
  const round = roundBlocks(backend);
  const read = (name: string) => parameterValues(model, name);
  const stream = streamParts(model, backend, calibration, {
    moments: "products",
    through,
    ...(resume && { resume }),
    ...(signal && { signal }),
    onBatch: (part, index, done, total) => onProgress?.({ part, index, stage: "measuring", done, total }),
  });
  for await (const visit of stream) {
    const { part, index, parts } = visit;
    const folded = method === "awq" ? await foldPart(visit, types, read, round, backend, signal) : undefined;
    const blocks = new Map<string, Blocks>();
    const errors = new Map<string, MatrixError>();
    const vectors = new Map([...(folded?.vectors ?? [])].map((name) => [name, folded!.values.get(name)!]));
    // A tied head: rounded with the embedding, so that hidden states have its rows, and once more when its inputs are known.
    const names = [...new Set([...visit.parameters, ...visit.inputs.keys()])].filter((name) =>
      types.has(name),
    );
    // Linears that read the same come one after another, so that one triangle at a time is in memory.
    const inputs = new Set(names.map((name) => visit.inputs.get(name)));
    for (const input of inputs) {
      const own = names.filter((name) => visit.inputs.get(name) === input);
      const tools =
        input &&
        (await Tools.open(backend, input, Math.max(...own.map((name) => shapes.get(name)![0]!)), options));
      try {
        for (const name of own) {
          signal?.throwIfAborted();
          const type = types.get(name)!;
          const values = await read(name);
          const bytes = await round(type, values, shapes.get(name)![1]!, input?.squares);
          const made = tools ? await tools.calibrate(name, type, values, bytes, round, folded) : { bytes };
          blocks.set(name, { type, bytes: made.bytes });
          if ("error" in made) errors.set(name, made.error);
          onProgress?.({ part, index, stage: "quantizing", done: blocks.size, total: names.length });
        }
      } finally {
        tools?.free();
      }
    }
    for (const [name, value] of [...blocks, ...vectors]) visit.replace(name, value);
    const unfolded = folded
      ? names.filter((name) => visit.inputs.has(name) && !folded.foldable.has(name))
      : [];
    yield { part, index, parts, blocks, vectors, errors, unfolded, state: await visit.finish() };
  }
}

/** What the linears with one input are rounded with. */
class Tools {
  readonly #input: LinearInput;
  readonly #errors: RowErrors;
  readonly #triangle: Triangle | undefined;
  readonly #rounder: Rounder | undefined;

  /** @param rows of the largest of them */
  static async open(backend: Backend, input: LinearInput, rows: number, options: CalibratedOptions) {
    const triangle = options.method === "gptq" ? await makeTriangle(backend, input, options) : undefined;
    return new Tools(backend, input, rows, triangle);
  }

  private constructor(backend: Backend, input: LinearInput, rows: number, triangle: Triangle | undefined) {
    this.#input = input;
    this.#triangle = triangle;
    this.#rounder = triangle && new Rounder(backend, triangle);
    this.#errors = new RowErrors(backend, productsOf(input), input.columns, rows);
  }

  /** @param rounded blocks of the values as they are */
  async calibrate(
    name: string,
    type: QuantType,
    values: Float32Array,
    rounded: Uint8Array,
    round: RoundRows,
    folded: Folded | undefined,
  ): Promise<{ bytes: Uint8Array; error: MatrixError }> {
    const whole = await this.#errors.sum(values);
    const before = await this.#errors.sum(difference(type, values, rounded));
    let bytes = rounded;
    if (this.#rounder) bytes = await this.#rounder.round(type, values, rounded);
    else if (folded) {
      const { columns, squares } = this.#input;
      const scales = folded.columns.get(name) ?? new Float32Array(columns).fill(1);
      const scaled = folded.values.get(name) ?? values;
      bytes = await roundCut(name, type, scaled, scales, squares, this.#errors, round);
    }
    const after = await this.#errors.sum(difference(type, values, bytes, name, folded));
    return { bytes, error: { rounded: before / whole, error: after / whole } };
  }

  free(): void {
    this.#errors.free();
    this.#rounder?.free();
    this.#triangle?.free();
  }
}

/** What blocks compute with, the factors of folding taken out again, less the values before. */
function difference(
  type: QuantType,
  values: Float32Array,
  bytes: Uint8Array,
  name = "",
  folded?: Folded,
): Float32Array {
  const delta = new Float32Array(values.length);
  dequantize(type, bytes, delta);
  const [columns, rows] = [folded?.columns.get(name), folded?.rows.get(name)];
  const K = columns?.length ?? values.length / (rows?.length ?? 1);
  if (columns) for (let i = 0; i < delta.length; i++) delta[i]! /= columns[i % K]!;
  if (rows) for (let i = 0; i < delta.length; i++) delta[i]! *= rows[Math.floor(i / K)]!;
  for (let i = 0; i < delta.length; i++) delta[i]! -= values[i]!;
  return delta;
}

/** Blocks of a matrix by the least (weighted) squared error. */
function roundBlocks(backend: Backend): RoundRows {
  return (type, values, cols, importance) => backend.encode(type, floatRows(values), cols, importance);
}
