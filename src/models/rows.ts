// The values of parameters as they are written: read in pieces of whole rows, moved between the two row orders of q
// and k, and encoded in another type. Never more than a piece in memory.

import {
  dequantize,
  type FloatType,
  quantize,
  WEIGHT_TYPES,
  type WeightType,
  type WritableType,
  weightBytes,
} from "../engine/weights.ts";
import { asWeight } from "../formats/index.ts";
import type { Config } from "./config.ts";
import type { GgufForm } from "./definition.ts";
import { interleavedHeads, moveRows } from "./gguf-names.ts";
import type { OpenedModel } from "./open.ts";

/** Types that weights can be converted to; blocks are made by `quantize`, which searches their scales. */
export type SaveType = FloatType;
export const SAVE_TYPES: readonly SaveType[] = ["f32", "f16", "bf16"];
/** Whether weights of a type are plain floats, no blocks. */
export const isFloat = (type: string): type is SaveType => SAVE_TYPES.includes(type as SaveType);

/** A parameter that is read by rows: a matrix [rows, cols], or a vector [n] with n rows of one column. */
export interface RowSource {
  /** Hugging Face's. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: WeightType;
  /** Row order of q and k: "gguf" has the halves of each head interleaved. */
  readonly order: "hf" | "gguf";
  /** Bytes of `count` rows from row `first`. */
  read(first: number, count: number): Promise<Uint8Array>;
}

/** The parameters of an opened model, in the order of its definition. Call `checkTensors` before. */
export function parameterRows(model: OpenedModel): RowSource[] {
  return [...model.definition.params(model.config).keys()].map((name) => {
    const { shape, type, source, offset } = asWeight(model.tensors.get(name)!);
    const width = weightBytes(type, shape.length > 1 ? shape.at(-1)! : 1);
    return {
      name,
      shape,
      type,
      order: model.kind === "gguf" ? "gguf" : "hf",
      read: (first, count) => source.read(offset + first * width, count * width),
    };
  });
}

/** The type that a parameter is written in: by default its own. */
export function typeFor(source: RowSource, wanted: SaveType | undefined): WeightType {
  return isAlwaysF32(source) ? "f32" : (wanted ?? source.type);
}

type Named = Pick<RowSource, "name" | "shape" | "type">;

/** llama.cpp computes with kernels of convolutions in f32 alone. */
const isAlwaysF32 = ({ name, shape }: Named) => shape.length < 2 || KERNEL.test(name);

/** The type of a parameter that is left in floats where matrices become blocks: vectors, kernels, small tables. */
function keptType(source: Named): WeightType | undefined {
  // Tables of positions and kinds are small, and llama.cpp leaves them in floats.
  if (isAlwaysF32(source) || FLOAT_TABLE.test(source.name)) return "f32";
  return KEPT.test(source.name) && WEIGHT_TYPES[source.type].blockSize === 1 ? source.type : undefined;
}

/**
 * Name, shape and type of every parameter of an opened model, and `kept`: the type of one that is left in floats where
 * matrices become blocks. Call `checkTensors` before.
 */
export function parameterTypes(
  model: Pick<OpenedModel, "definition" | "config" | "tensors">,
): (Named & { readonly kept: WeightType | undefined })[] {
  return [...model.definition.params(model.config)].map(([name, shape]) => {
    const { type } = asWeight(model.tensors.get(name)!);
    return { name, shape, type, kept: keptType({ name, shape, type }) };
  });
}

const KERNEL = /\.conv(1d|\.conv)\.weight$/;
const FLOAT_TABLE = /(\.wpe|\.position_embeddings|\.token_type_embeddings)\.weight$/;
/** What llama.cpp leaves in floats too, in those that it has. */
const KEPT = /\.per_layer_model_projection\.weight$/;

const PIECE_VALUES = 2 ** 20;

/**
 * The bytes of a parameter in `type` and `order`, in pieces.
 * @throws {RangeError} when a value does not fit the type (NaN, infinity, beyond f16).
 */
export async function* encodeRows(
  source: RowSource,
  type: WeightType,
  order: "hf" | "gguf",
  gguf: GgufForm,
  config: Config,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { shape } = source;
  const rows = shape[0] ?? 1;
  const cols = shape.length > 1 ? shape.at(-1)! : 1;
  const moved = source.order === order ? undefined : gguf.moved?.(source.name, config);
  if (moved) {
    yield encodeMoved(source, type, order, moved);
    return;
  }
  const heads = source.order === order ? undefined : interleavedHeads(gguf, config, source.name);
  // Rows move within a head only, so a piece is a whole number of heads.
  const unit = heads ? rows / heads : 1;
  const step = unit * Math.max(1, Math.floor(PIECE_VALUES / (unit * cols)));
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const found = await source.read(first, count);
    const bytes = heads ? moveRows(found, count, count / unit, order) : found;
    yield source.type === type ? bytes : recode(source, bytes, count * cols, type as WritableType);
  }
}

/** The same of a parameter whose rows or columns lie in another order: the whole at once. */
async function encodeMoved(
  source: RowSource,
  type: WeightType,
  order: "hf" | "gguf",
  { from, columns }: { readonly from: Int32Array; readonly columns: boolean },
): Promise<Uint8Array> {
  const { shape } = source;
  const [rows, cols] = [shape[0] ?? 1, shape.length > 1 ? shape.at(-1)! : 1];
  const found = await source.read(0, rows);
  // Where in the source row or column i of the target is.
  const at = order === "gguf" ? from : inverse(from);
  if (!columns) {
    const width = found.length / rows;
    const bytes = new Uint8Array(found.length);
    for (let i = 0; i < rows; i++) bytes.set(found.subarray(at[i]! * width, (at[i]! + 1) * width), i * width);
    return source.type === type ? bytes : recode(source, bytes, rows * cols, type as WritableType);
  }
  const values = new Float32Array(rows * cols);
  dequantize(source.type, found, values);
  const out = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++) out[r * cols + c] = values[r * cols + at[c]!]!;
  const plain = { ...source, type: "f32" as const };
  return type === "f32"
    ? new Uint8Array(out.buffer)
    : recode(plain, new Uint8Array(out.buffer), rows * cols, type as WritableType);
}

function inverse(from: Int32Array): Int32Array {
  const back = new Int32Array(from.length);
  from.forEach((source, i) => {
    back[source] = i;
  });
  return back;
}

function recode(source: RowSource, bytes: Uint8Array, count: number, type: WritableType): Uint8Array {
  const values = new Float32Array(count);
  dequantize(source.type, bytes, values);
  if (type === "f16") {
    const bad = values.findIndex((x) => !(Math.abs(x) < F16_END) && Number.isFinite(x));
    if (bad >= 0)
      throw new RangeError(
        `Cannot write tensor ${JSON.stringify(source.name)} as f16: it holds ${values[bad]}, wanted less than ${F16_END} in magnitude; bf16 and f32 can hold it`,
      );
  }
  try {
    return quantize(type, values);
  } catch (cause) {
    throw new RangeError(`Cannot write tensor ${JSON.stringify(source.name)}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** From here on f16 rounds to infinity. */
const F16_END = 65520;
