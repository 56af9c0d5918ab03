/**
 * What a backend is: memory, and programs run in one call. No semantics here: those are the op table's.
 */
import type { QuantType } from "./grids.ts";
import type { Program } from "./program.ts";
import type { SampleResult, SampleRow } from "./sampler.ts";
import type { FloatRows, WeightType } from "./weights.ts";

/** Sizes of a run. A program is planned once for the largest. */
export interface Dims {
  readonly T: number;
  readonly S: number;
  readonly R: number;
}

/** Bytes that can be read by position: a file (with `path`, so that a backend may read it itself), a URL, memory. */
export interface ByteSource {
  readonly name: string;
  readonly path?: string;
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** One weight matrix as it lies in a file. */
export interface WeightSource {
  readonly name: string;
  readonly source: ByteSource;
  readonly offset: number;
  readonly bytes: number;
  readonly type: WeightType;
  /** [rows, cols], or [n] for a vector. */
  readonly shape: readonly number[];
  /**
   * GGUF stores q and k of the llama type with the two halves of every head interleaved (row 2i and 2i+1 for i and
   * i + head_dim/2). Given the number of heads, rows are put back in Hugging Face's order while loading.
   */
  readonly interleavedHeads?: number;
}

/** Memory of a backend. `free` may be called more than once. */
export interface Storage {
  readonly kind: "dense" | "weight" | "kv" | "adapters";
  readonly bytes: number;
  free(): void;
}

/** A weight whose bytes, rows as in a file, are in memory. */
export function weightOfBytes(
  backend: Pick<Backend, "weight">,
  name: string,
  shape: readonly number[],
  { type, bytes }: { readonly type: WeightType; readonly bytes: Uint8Array },
): Promise<Storage> {
  const source = { name, read: async (at: number, length: number) => bytes.subarray(at, at + length) };
  return backend.weight({ name, source, offset: 0, bytes: bytes.length, type, shape });
}

/** Of keys and values; `q8_0`: 32 components share a scale, 8.5 bits each. */
export type KvType = "f16" | "f32" | "q8_0";
/** Tokens in a KV page. */
export const PAGE = 64;

/** Bytes of the keys and values of one head in one page of one layer; layout in kernels/README.md. */
export function kvBlockBytes(type: KvType, head_dim: number): number {
  if (type === "q8_0") return 2 * PAGE * 34 * Math.ceil(head_dim / 32);
  return 2 * PAGE * 16 * Math.ceil(head_dim / 16) * (type === "f16" ? 2 : 4);
}

export interface KvSpec {
  readonly layers: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly pages: number;
  readonly type: KvType;
}

/** One linear that adapters may change. */
export interface AdapterLinear {
  readonly N: number;
  readonly K: number;
  /**
   * Type of its weight, which decides how exactly the changes are held (see `adapterTypes`). Default "f32": as they are
   * given.
   */
  readonly type?: WeightType;
}

/** What an adapter does to one linear. Row-major f32. */
export type LinearChange =
  | {
      /** A [rank, K] and B [N, rank]: y + (x Aᵀ) Bᵀ, the scale folded into B. */
      readonly a: Float32Array;
      readonly b: Float32Array;
      readonly rank: number;
      /** [N]: what the sum is multiplied with (DoRA). */
      readonly magnitude?: Float32Array;
    }
  | {
      /** [N, K]: takes the weight's place. */
      readonly replaced: Float32Array;
    };

export interface Backend {
  readonly name: "native" | "wasm" | "reference";
  /** Instruction set in use, e.g. "amx", "avx512", "avx2", "scalar", "dotprod", "relaxed-simd". */
  readonly kernels: string;
  readonly threads: number;
  /** Row-major f32 or i32 memory, zeros unless `data` is given. Trainable parameters, tables and moments live in it. */
  dense(dtype: "f32" | "i32", shape: readonly number[], data?: Float32Array | Int32Array): Storage;
  /** Reads a weight into the backend's own layout. Rows = product of all but the last dimension. */
  weight(source: WeightSource, signal?: AbortSignal): Promise<Storage>;
  /** A pool of KV pages. Memory is reserved at once and touched when used. */
  kv(spec: KvSpec): Storage;
  /** A table of `slots` adapters over `linears`, all empty. */
  adapters(slots: number, linears: readonly AdapterLinear[]): Storage;
  /**
   * Fills a slot of a table: changes by the linear's index; undefined empties it.
   * @throws {RangeError} on a shape that does not fit, naming the linear's index
   * @throws {Error} while a run uses the slot
   */
  setAdapter(storage: Storage, slot: number, changes: ReadonlyMap<number, LinearChange> | undefined): void;
  /**
   * Copies a KV page out: [layers, 2 (keys, values), 64 positions, heads, head_dim] in the pool's type, on every backend.
   * @throws {RangeError | TypeError} for a page that the pool has not, or a type that cannot be copied
   */
  readKv(storage: Storage, page: number): Uint8Array;
  /** Copies a KV page in. Only while no run uses that page. */
  writeKv(storage: Storage, page: number, data: Uint8Array): void;
  /**
   * Rounds rows of `cols` floats to blocks of `type`, with codes, scales and minima of the least squared error, weighted by
   * `importance` [cols] (mean square of what each column is multiplied with) where it is given. The answer is the rows' bytes
   * in order, as they lie in a file. Rows do not depend on each other: a matrix may come in pieces of whole rows.
   * @throws {RangeError} when `rows` is no whole number of rows or a row no whole number of blocks; on NaN, infinity, or
   *   a value whose scale does not fit in f16, naming row (of `rows`) and column; on importance that is negative or
   *   not finite
   */
  encode(type: QuantType, rows: FloatRows, cols: number, importance?: Float32Array): Promise<Uint8Array>;
  /** Copies into dense storage, from element `start`. */
  write(storage: Storage, data: Float32Array | Int32Array, start?: number): void;
  /** Copies out of dense storage, from element `start`; fills `into`. */
  read(storage: Storage, into: Float32Array | Int32Array, start?: number): void;
  /** Plans a program for `maxima` and makes it runnable. */
  compile(program: Program, maxima: Dims): Executable;
  /** Ends its threads and frees what is left. */
  close(): void;
}

export interface Executable {
  /** Bytes of planned memory. */
  readonly arenaBytes: number;
  /** Binds a param or a state by its name. */
  bind(name: string, storage: Storage): void;
  /**
   * Runs the program. Inputs are copied before it returns to the caller; the event loop stays free while it runs.
   * With `sample`, one row for each of the first rows of the output "logits" ([R, vocab]) is sampled in the same call.
   * Only one run of an executable at a time.
   */
  run(
    dims: Dims,
    inputs: Record<string, Int32Array | Float32Array>,
    sample?: readonly SampleRow[],
  ): Promise<SampleResult[]>;
  /** Samples rows of the output "logits" of the last run (for masks made while it ran). */
  sample(rows: readonly SampleRow[]): SampleResult[];
  /** Copies an output of the last run, from element `start`; fills `into`. */
  read(output: string, into: Float32Array, start?: number): void;
  free(): void;
}
