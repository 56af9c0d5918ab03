// Rounding on the way into a file: rows of a parameter are read, put in the file's order, and encoded by the backend,
// a piece at a time; while one is encoded the next is read. A few rows of each matrix are compared with what they became.

import type { Backend } from "../engine/backend.ts";
import { isQuantType } from "../engine/grids.ts";
import {
  dequantize,
  float32View,
  quantize,
  type WeightType,
  type WritableType,
  weightBytes,
} from "../engine/weights.ts";
import { interleavedHeads } from "../models/gguf-names.ts";
import type { OpenedModel } from "../models/index.ts";
import { encodeRows, type RowSource } from "../models/rows.ts";

/** Rows of a matrix that are compared. */
const COMPARED = 64;

/** Σ(ŵ - w)² and Σw² of what was compared. */
export class ErrorSum {
  error = 0;
  norm = 0;

  get relative(): number {
    return this.norm > 0 ? Math.sqrt(this.error / this.norm) : 0;
  }

  add(written: Float32Array, exact: Float32Array): void {
    for (let i = 0; i < exact.length; i++) {
      this.error += (written[i]! - exact[i]!) ** 2;
      this.norm += exact[i]! ** 2;
    }
  }
}

export interface Rounding {
  readonly type: WeightType;
  /** Of each column, in the source's order: how much an error there counts. */
  readonly importance?: Float32Array | undefined;
  /** Told of the rows that are compared. */
  readonly errors?: ErrorSum;
}

/**
 * The bytes of a parameter in a type and order, in pieces.
 * @throws {RangeError} naming the tensor, where a value is not finite or does not fit the type
 */
export async function* roundedRows(
  source: RowSource,
  order: RowSource["order"],
  { definition, config }: Pick<OpenedModel, "definition" | "config">,
  backend: Backend,
  { type, importance, errors }: Rounding,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { shape, name } = source;
  const cols = shape.length > 1 ? shape.at(-1)! : 1;
  const rows = shape.length > 1 ? shape[0]! : shape.reduce((a, b) => a * b, 1) / cols;
  const { gguf } = definition;
  if (source.type === type && isQuantType(type)) {
    yield* encodeRows(source, type, order, gguf, config); // as it was: nothing to lose
    return;
  }
  const moved = source.order === order ? undefined : gguf.moved?.(name, config);
  const weights = importance && moved?.columns ? reordered(importance, moved.from, order) : importance;
  const encode = async (values: Float32Array): Promise<Uint8Array> => {
    try {
      if (isQuantType(type)) return await backend.encode(type, values, cols, weights);
      checkFinite(values);
      return quantize(type as WritableType, values);
    } catch (cause) {
      throw new RangeError(`Cannot quantize tensor ${JSON.stringify(name)}: ${(cause as Error).message}`, {
        cause,
      });
    }
  };
  const every = Math.max(1, Math.floor(rows / COMPARED));
  let row = 0;
  let before: { values: Float32Array; bytes: Promise<Uint8Array> } | undefined;
  const finish = async () => {
    const { values, bytes: made } = before!;
    const bytes = await made;
    if (errors && isQuantType(type)) compare(values, bytes, type, cols, row, every, errors);
    row += values.length / cols;
    return bytes;
  };
  try {
    for await (const piece of encodeRows(source, "f32", order, gguf, config)) {
      const values = float32View(piece);
      const next = { values, bytes: encode(values) };
      next.bytes.catch(() => {}); // thrown where it is awaited
      const done = before && (await finish());
      before = next;
      if (done) yield done;
    }
    if (before) yield await finish();
  } finally {
    await before?.bytes.catch(() => {}); // its values are not freed under it
  }
}

/** All bytes of a parameter in a type and order. Errors as `roundedRows`. */
export async function roundedWhole(
  source: RowSource,
  order: RowSource["order"],
  model: Pick<OpenedModel, "definition" | "config">,
  backend: Backend,
  rounding: Rounding,
): Promise<Uint8Array> {
  const elements = source.shape.reduce((a, b) => a * b, 1);
  const bytes = new Uint8Array(weightBytes(rounding.type, elements));
  let at = 0;
  for await (const piece of roundedRows(source, order, model, backend, rounding)) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** The order that `parameterValues` gives rows in: heads are put back, what else GGUF orders otherwise is as in the file. */
export function valueOrder(
  { name, order }: RowSource,
  { definition, config }: OpenedModel,
): RowSource["order"] {
  return interleavedHeads(definition.gguf, config, name) === undefined ? order : "hf";
}

function checkFinite(values: Float32Array): void {
  const bad = values.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0) throw new RangeError(`value ${bad} is ${values[bad]}, wanted finite values`);
}

/** Columns of a source where they lie in a target: see `GgufForm.moved`. */
function reordered(importance: Float32Array, from: Int32Array, order: RowSource["order"]): Float32Array {
  const out = new Float32Array(importance.length);
  if (order === "gguf") for (let c = 0; c < out.length; c++) out[c] = importance[from[c]!]!;
  else for (let c = 0; c < out.length; c++) out[from[c]!] = importance[c]!;
  return out;
}

function compare(
  values: Float32Array,
  bytes: Uint8Array,
  type: WeightType,
  cols: number,
  first: number,
  every: number,
  errors: ErrorSum,
): void {
  const width = weightBytes(type, cols);
  const written = new Float32Array(cols);
  for (let r = (every - (first % every)) % every; r < values.length / cols; r += every) {
    dequantize(type, bytes.subarray(r * width, (r + 1) * width), written);
    errors.add(written, values.subarray(r * cols, (r + 1) * cols));
  }
}
