// Rounding on the way into a file: rows of a parameter are read, put in the file's order, and encoded by the backend,
// a piece at a time; while one is encoded the next is read. A few rows of each matrix are compared with what they became.

import type { Backend } from "../engine/backend.ts";
import { isQuantType, type QuantType } from "../engine/grids.ts";
import {
  dequantize,
  type FloatRows,
  isFloatType,
  quantize,
  WEIGHT_TYPES,
  type WeightType,
  type WritableType,
  weightBytes,
} from "../engine/weights.ts";
import { ahead } from "../formats/ahead.ts";
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
  const from = isFloatType(source.type) ? source.type : "f32";
  const encode = async (bytes: Uint8Array): Promise<Uint8Array> => {
    try {
      if (isQuantType(type)) return await backend.encode(type, { type: from, bytes }, cols, weights);
      const values = new Float32Array(bytes.length / WEIGHT_TYPES[from].blockBytes);
      dequantize(from, bytes, values);
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
  // Two are encoded at a time, so that threads find one when they are done with another; the next is read meanwhile.
  const under: { floats: FloatRows; made: Promise<Uint8Array> }[] = [];
  const finish = async () => {
    const { floats, made } = under[0]!;
    const bytes = await made;
    under.shift();
    if (errors && isQuantType(type)) compare(floats, bytes, type, cols, row, every, errors);
    row += bytes.length / weightBytes(type, cols);
    return bytes;
  };
  try {
    for await (const bytes of ahead(encodeRows(source, from, order, gguf, config))) {
      const made = encode(bytes);
      made.catch(() => {}); // thrown where it is awaited
      under.push({ floats: { type: from, bytes }, made });
      if (under.length === 2) yield await finish();
    }
    while (under.length > 0) yield await finish();
  } finally {
    await Promise.allSettled(under.map(({ made }) => made)); // the backend is not closed under them
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

/** Every row that is a multiple of `every`, counted from the parameter's first; `first` is the first of these bytes. */
function compare(
  { type: from, bytes: exact }: FloatRows,
  blocks: Uint8Array,
  type: QuantType,
  cols: number,
  first: number,
  every: number,
  errors: ErrorSum,
): void {
  const [width, own] = [weightBytes(type, cols), weightBytes(from, cols)];
  const [written, values] = [new Float32Array(cols), new Float32Array(cols)];
  for (let r = (every - (first % every)) % every; r < blocks.length / width; r += every) {
    dequantize(type, blocks.subarray(r * width, (r + 1) * width), written);
    dequantize(from, exact.subarray(r * own, (r + 1) * own), values);
    errors.add(written, values);
  }
}
