/**
 * What every backend over C++ checks before addresses are handed down: sizes of runs, shapes and kinds of what is bound,
 * inputs, and the reading of weights piece by piece. No memory here.
 */
import { type Dims, type KvSpec, kvBlockBytes, type WeightSource } from "../backend.ts";
import type { Program } from "../program.ts";
import { elements, symbol, type Tensor } from "../tensor.ts";
import { dequantize, type WeightType, weightBytes } from "../weights.ts";
import { type AdapterTable, checkAdapterBinding } from "./adapters.ts";

/** Rows interleaved in a packed weight; equals PANEL in kernels/pith.h. */
export const PANEL = 16;
/** Rows are read through a ByteSource in pieces of about this many bytes. */
const PIECE_BYTES = 4 << 20;

/** What a storage is, as far as binding goes. */
export interface Described {
  readonly kind: "dense" | "weight" | "kv" | "adapters";
  /** Element or weight type. */
  readonly type: string;
  readonly shape: readonly number[];
  readonly spec: KvSpec | undefined;
  readonly table?: AdapterTable | undefined;
}

/** Elements of a tensor at the sizes of a run. */
export function count(tensor: Tensor, dims: Dims): number {
  const sym = symbol(tensor.shape);
  return elements(tensor.shape) * (sym ? dims[sym] : 1);
}

export const UNLIMITED: Dims = { T: 2 ** 31 - 1, S: 2 ** 31 - 1, R: 2 ** 31 - 1 };

/** @throws {RangeError} when a size is no whole number up to its maximum */
export function checkDims(dims: Dims, maxima: Dims, action: string): void {
  for (const d of ["T", "S", "R"] as const)
    if (!(Number.isInteger(dims[d]) && dims[d] >= 0 && dims[d] <= maxima[d]))
      throw new RangeError(
        `Cannot ${action} a program with ${d} = ${dims[d]}: wanted a whole number of at most ${maxima[d]}`,
      );
}

/**
 * Whether a storage may be bound to the tensor of a program.
 * @throws {TypeError} when it is of another shape, kind or type
 */
export function checkBinding(program: Program, name: string, tensor: Tensor, storage: Described): void {
  if (storage.kind === "kv") {
    checkPool(program, name, tensor, storage.spec!);
    return;
  }
  if (storage.kind === "adapters") {
    if (tensor.kind !== "state" || tensor.shape.join() !== "0")
      throw new TypeError(
        `Cannot bind "${name}": the storage is a table of adapters, wanted [${tensor.shape}]`,
      );
    checkAdapterBinding(program, name, storage.table!);
    return;
  }
  const found = `${storage.kind} ${storage.type}[${storage.shape}]`;
  if (tensor.shape.join() !== storage.shape.join())
    throw new TypeError(
      `Cannot bind "${name}": the storage is ${found}, wanted shape [${tensor.shape}]${tensor.shape.join() === "0" ? " (KV pages)" : ""}`,
    );
  if (tensor.kind === "state" && storage.kind === "weight")
    throw new TypeError(
      `Cannot bind "${name}": the storage is ${found}, which cannot be written, wanted dense f32`,
    );
  if (storage.kind === "dense" && storage.type !== tensor.dtype)
    throw new TypeError(`Cannot bind "${name}": the storage is ${found}, wanted ${tensor.dtype}`);
}

/** The pool's layout must be what the nodes that use it were recorded for. */
function checkPool(program: Program, name: string, tensor: Tensor, spec: KvSpec): void {
  for (const node of program.nodes) {
    if (!node.inputs.includes(tensor)) continue;
    const a = node.attrs as Partial<KvSpec>;
    const same =
      a.layers === spec.layers &&
      a.num_key_value_heads === spec.num_key_value_heads &&
      a.head_dim === spec.head_dim;
    if (!same)
      throw new TypeError(
        `Cannot bind "${name}": the pages are for ${spec.layers} layers, ${spec.num_key_value_heads} heads of ${spec.head_dim}, wanted ${a.layers ?? "no"} layers, ${a.num_key_value_heads} heads of ${a.head_dim} (${node.op})`,
      );
  }
}

/** @throws {TypeError} when an input is missing, or of another length or type */
export function checkInput(
  tensor: Tensor,
  given: Int32Array | Float32Array | undefined,
  dims: Dims,
): Int32Array | Float32Array {
  const n = count(tensor, dims);
  if (given?.length !== n || isFloat(given) !== (tensor.dtype === "f32"))
    throw new TypeError(
      `Cannot run a program: input "${tensor.name}" has ${given ? `${given.length} ${isFloat(given) ? "f32" : "i32"}` : "no"} values, wanted ${n} ${tensor.dtype}`,
    );
  return given;
}

/** Number of elements; everything that is allocated passes here. */
export function checkElements(shape: readonly number[], what: string): number {
  const n = shape.reduce((a, b) => a * b, 1);
  if (shape.some((d) => !(Number.isInteger(d) && d >= 0)) || n > 2 ** 46)
    throw new RangeError(
      `Cannot make ${what} of shape [${shape}]: wanted whole numbers, at most 2^46 in all`,
    );
  return n;
}

/** Number of elements of dense memory. @throws {TypeError} when the values given do not fill it, or are of another type */
export function checkDense(
  dtype: "f32" | "i32",
  shape: readonly number[],
  data: Float32Array | Int32Array | undefined,
): number {
  const n = checkElements(shape, "dense storage");
  if (data && (data.length !== n || isFloat(data) !== (dtype === "f32")))
    throw new TypeError(
      `Cannot make dense ${dtype}[${shape}]: found ${data.length} ${isFloat(data) ? "f32" : "i32"} values, wanted ${n} ${dtype}`,
    );
  return n;
}

/**
 * That elements from `start` on, as many as `data` has, are dense memory of its type.
 * @throws {Error} when it was freed, {TypeError} for another kind or type, {RangeError} beyond its end
 */
export function checkDenseRange(
  storage: Described & { readonly bytes: number; readonly freed: boolean },
  action: string,
  data: Float32Array | Int32Array,
  start: number,
): void {
  if (storage.freed) throw new Error(`Cannot ${action} storage: it was freed`);
  if (storage.kind !== "dense" || isFloat(data) !== (storage.type === "f32"))
    throw new TypeError(
      `Cannot ${action} storage: it is ${storage.kind} ${storage.type}, wanted dense ${isFloat(data) ? "f32" : "i32"}`,
    );
  if (!(Number.isInteger(start) && start >= 0 && (start + data.length) * 4 <= storage.bytes))
    throw new RangeError(
      `Cannot ${action} storage: elements ${start} to ${start + data.length}, but it has ${storage.bytes / 4}`,
    );
}

/** Bytes of a page and of the pool. */
export function poolSize({ layers, num_key_value_heads, head_dim, pages, type }: KvSpec): {
  page: number;
  bytes: number;
} {
  const page = checkElements([layers, num_key_value_heads, kvBlockBytes(type, head_dim)], "KV pages");
  return { page, bytes: checkElements([pages, page], "KV pages") };
}

/** A weight of one dimension, which is held as dense f32. */
export async function readVector(source: WeightSource): Promise<Float32Array> {
  const data = new Float32Array(source.shape[0] ?? 1);
  dequantize(source.type, await readAll(source, source.offset, source.bytes), data);
  return data;
}

/** @throws {TypeError} that lists the params and states of a program that nothing is bound to */
export function checkBound(slots: ReadonlyMap<string, unknown>, bound: ReadonlyMap<string, unknown>): void {
  if (bound.size === slots.size) return;
  const unbound = [...slots.keys()].filter((name) => !bound.has(name));
  throw new TypeError(`Cannot run a program: ${unbound.join(", ")} not bound`);
}

export function isFloat(data: Float32Array | Int32Array): data is Float32Array {
  return data instanceof Float32Array;
}

/** Rows and columns of a weight. */
export function checkWeight(source: WeightSource): { rows: number; cols: number } {
  const { name, shape, type } = source;
  const cols = shape.at(-1) ?? 1;
  const rows = checkElements(shape.slice(0, -1), name);
  const bytes = rows * weightBytes(type, cols);
  if (source.bytes !== bytes)
    throw new RangeError(
      `Cannot load "${name}": found ${source.bytes} bytes, wanted ${bytes} for ${type}[${shape}]`,
    );
  const heads = source.interleavedHeads ?? 0;
  if (heads > 0 && rows % (2 * heads) !== 0)
    throw new RangeError(
      `Cannot load "${name}": ${rows} rows in ${heads} heads, wanted an even number of rows in each`,
    );
  return { rows, cols };
}

/** @throws {RangeError} when the source gives another number of bytes */
export async function readAll(
  { name, source }: WeightSource,
  offset: number,
  bytes: number,
): Promise<Uint8Array> {
  const data = await source.read(offset, bytes);
  if (data.length !== bytes)
    throw new RangeError(
      `Cannot read "${source.name}" for tensor "${name}": found ${data.length} bytes at ${offset}, wanted ${bytes}`,
    );
  return data;
}

/** A weight's rows, a few panels at a time. */
export async function* readPieces(
  source: WeightSource,
): AsyncGenerator<{ row: number; rows: number; bytes: Uint8Array }> {
  const { rows, cols } = checkWeight(source);
  const rowBytes = weightBytes(source.type, cols);
  const step = Math.max(1, Math.floor(PIECE_BYTES / (rowBytes * PANEL + 1))) * PANEL;
  for (let row = 0; row < rows; row += step) {
    const n = Math.min(step, rows - row);
    const bytes = await readAll(source, source.offset + row * rowBytes, n * rowBytes);
    yield { row, rows: n, bytes };
  }
}

/** Bytes of a packed weight: rows are padded to whole panels. */
export function packedBytes(type: WeightType, rows: number, cols: number): number {
  return Math.ceil(rows / PANEL) * PANEL * weightBytes(type, cols);
}
