/**
 * The WebAssembly backend: everything lies in one module's 32-bit memory, and runs on workers that share it; where memory
 * cannot be shared, on the thread that calls. Checks what callers give it; what ops mean was checked when they were
 * recorded. Imports nothing of Node.
 */
import type {
  AdapterLinear,
  Backend,
  Dims,
  Executable,
  KvSpec,
  LinearChange,
  Storage,
  WeightSource,
} from "../backend.ts";
import type { QuantType } from "../grids.ts";
import { checkKvPage, heldPageBytes, packKvPage, unpackKvPage } from "../kv-pages.ts";
import type { Program } from "../program.ts";
import type { FloatRows } from "../weights.ts";
import { type AdapterTable, checkChanges, checkTable, layOut } from "./adapters.ts";
import {
  checkDense,
  checkDenseRange,
  checkWeight,
  type Described,
  isFloat,
  packedBytes,
  poolSize,
  readPieces,
  readVector,
} from "./checks.ts";
import { checkEncode, type EncodePiece, type Encoding, encodeError } from "./encoding.ts";
import { afterTurn, WasmExecutable } from "./wasm-executable.ts";
import { type Block, WASM_KERNELS, type WasmKernels, WasmModule } from "./wasm-module.ts";
import { WasmThreads } from "./wasm-threads.ts";

export interface WasmOptions {
  /** Bytes of a module of wasm/. Default: the file beside the package that fits the engine, by `fetch` or from disk. */
  readonly module?: Uint8Array;
  /** "relaxed-simd" or "simd128". Default: the first that the engine has. */
  readonly kernels?: string | undefined;
  /**
   * Default: one for each processor of the machine, at most 64. Where memory cannot be shared (a page without the COOP
   * and COEP headers) or workers cannot be had, programs run on the calling thread whatever is asked for.
   */
  readonly threads?: number;
  /**
   * A run that touches fewer bytes than this is done on the calling thread: handing it to another one and hearing back
   * takes longer. Default 1 MiB; 0: never (for tests and measurements).
   */
  readonly smallWork?: number;
}

/** MAX_THREADS in kernels/pith.h. */
const MOST_THREADS = 64;

export class WasmStorage implements Storage, Described {
  readonly kind: Storage["kind"];
  bytes: number;
  readonly type: string;
  readonly shape: readonly number[];
  readonly spec: KvSpec | undefined;
  readonly backend: WasmBackend;
  readonly block: Block;
  table: AdapterTable | undefined;
  /** Of a table of adapters: each slot's matrices. */
  readonly slots: (Block | undefined)[] = [];
  freed = false;

  constructor(
    backend: WasmBackend,
    block: Block,
    kind: Storage["kind"],
    type: string,
    shape: readonly number[],
    spec?: KvSpec,
  ) {
    this.backend = backend;
    this.block = block;
    this.kind = kind;
    this.bytes = block.bytes;
    this.type = type;
    this.shape = shape;
    this.spec = spec;
  }

  free(): void {
    if (this.freed) return;
    this.freed = true;
    this.backend.module.free(this.block);
    for (const block of this.slots) if (block) this.backend.module.free(block);
  }
}

export class WasmBackend implements Backend {
  readonly name = "wasm";
  readonly kernels: string;
  readonly threads: number;
  readonly smallWork: number;
  readonly module: WasmModule;
  /** Undefined: everything runs on the calling thread. */
  readonly pool: WasmThreads | undefined;
  /** Scratch of the calling thread. */
  readonly local: Block;
  /** Kernel names by opcode. */
  readonly table: readonly string[];
  /** Numbers of `Type` in kernels/pith.h. */
  readonly types: ReadonlyMap<string, number>;
  private closed = false;

  /**
   * @throws {Error} when the module cannot be read or the engine refuses it
   * @throws {RangeError} when other kernels are asked for, or on a bad number of threads
   */
  static async create(options: WasmOptions = {}): Promise<WasmBackend> {
    const { kernels, smallWork = 1 << 20 } = options;
    if (kernels !== undefined && !WASM_KERNELS.includes(kernels as WasmKernels))
      throw new RangeError(
        `Cannot use kernels "${kernels}": the wasm backend has ${WASM_KERNELS.join(" and ")}`,
      );
    const threads = options.threads ?? processors();
    if (!(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS))
      throw new RangeError(`Cannot use ${threads} threads: wanted a whole number from 1 to ${MOST_THREADS}`);
    const what = { bytes: options.module, kernels: kernels as WasmKernels | undefined };
    const module = await WasmModule.load({ ...what, shared: true });
    const pool = module.shared ? await WasmThreads.start(module, threads) : undefined;
    return new WasmBackend(module, pool, pool ? threads : 1, smallWork);
  }

  private constructor(module: WasmModule, pool: WasmThreads | undefined, threads: number, smallWork: number) {
    this.module = module;
    this.pool = pool;
    this.threads = threads;
    this.smallWork = smallWork;
    this.kernels = module.kernels;
    this.local = module.alloc(module.exports.local_bytes(), "scratch");
    this.table = module.names((i) => module.exports.kernel_name(i));
    this.types = new Map(module.names((i) => module.exports.type_name(i)).map((name, i) => [name, i]));
  }

  dense(dtype: "f32" | "i32", shape: readonly number[], data?: Float32Array | Int32Array): Storage {
    this.checkOpen("make dense storage");
    const n = checkDense(dtype, shape, data);
    const block = this.module.alloc(n * 4, `dense ${dtype}[${shape}]`);
    if (data) this.view(block.address, data, 0).set(data);
    return new WasmStorage(this, block, "dense", dtype, [...shape]);
  }

  async weight(source: WeightSource, signal?: AbortSignal): Promise<Storage> {
    this.checkOpen(`load "${source.name}"`);
    signal?.throwIfAborted();
    const { rows, cols } = checkWeight(source);
    const { name, shape, type } = source;
    if (shape.length < 2) return this.dense("f32", shape, await readVector(source));
    const { module } = this;
    const number = this.types.get(type)!;
    const block = module.alloc(packedBytes(type, rows, cols), `weight "${name}" (${type}[${shape}])`);
    const storage = new WasmStorage(this, block, "weight", type, [...shape]);
    let room: Block | undefined;
    try {
      for await (const piece of readPieces(source)) {
        signal?.throwIfAborted();
        this.checkOpen(`load "${name}"`);
        room ??= module.alloc(piece.bytes.length, `room to read "${name}"`);
        module.bytes(room.address, piece.bytes.length).set(piece.bytes);
        const heads = source.interleavedHeads ?? 0;
        module.exports.pack_rows(
          block.address,
          number,
          rows,
          cols,
          piece.row,
          piece.rows,
          room.address,
          heads,
        );
        module.checkRefusal(`load "${name}"`);
      }
    } catch (error) {
      storage.free();
      throw error;
    } finally {
      if (room) module.free(room);
    }
    return storage;
  }

  kv(spec: KvSpec): Storage {
    this.checkOpen("make KV pages");
    const { pages, type } = spec;
    const { page, bytes } = poolSize(spec);
    const block = this.module.alloc(bytes, `${pages} KV pages (${type})`);
    return new WasmStorage(this, block, "kv", `kv_${type}`, [pages, page], spec);
  }

  readKv(storage: Storage, page: number): Uint8Array {
    const { spec, block } = this.kvOf(storage, page);
    const size = heldPageBytes(spec);
    return unpackKvPage(spec, this.module.bytes(block.address + page * size, size).slice());
  }

  writeKv(storage: Storage, page: number, data: Uint8Array): void {
    const { spec, block } = this.kvOf(storage, page, data);
    const held = packKvPage(spec, data);
    this.module.bytes(block.address + page * held.length, held.length).set(held);
  }

  private kvOf(storage: Storage, page: number, data?: Uint8Array): WasmStorage & { spec: KvSpec } {
    if (!(storage instanceof WasmStorage) || storage.backend !== this || !storage.spec)
      throw new TypeError("Cannot copy a KV page: the storage is no pool of this backend");
    if (storage.freed) throw new Error("Cannot copy a KV page: the pool was freed");
    checkKvPage(storage.spec, page, data);
    return storage as WasmStorage & { spec: KvSpec };
  }

  adapters(slots: number, linears: readonly AdapterLinear[]): Storage {
    this.checkOpen("make adapters");
    const table = checkTable(slots, linears);
    const { exports } = this.module;
    const block = this.module.alloc(exports.adapters_bytes(slots, linears.length), "adapters");
    exports.adapters_make(block.address, slots, linears.length);
    const storage = new WasmStorage(this, block, "adapters", "adapters", [0]);
    storage.bytes = 0;
    storage.table = table;
    return storage;
  }

  setAdapter(storage: Storage, slot: number, changes: ReadonlyMap<number, LinearChange> | undefined): void {
    if (!(storage instanceof WasmStorage) || storage.backend !== this || !storage.table)
      throw new TypeError("Cannot set an adapter: the storage is no table of adapters of this backend");
    if (storage.freed) throw new Error("Cannot set an adapter: the table was freed");
    const { module, types } = this;
    checkChanges(storage.table, slot, changes);
    const own = storage.table.slots[slot]!;
    if (own.users > 0) throw new Error(`Cannot set adapter ${slot}: a run uses it`);
    const { parts, bytes } = layOut(storage.table.linears, changes ?? new Map());
    module.exports.adapters_empty(storage.block.address, slot);
    if (storage.slots[slot]) module.free(storage.slots[slot]);
    storage.slots[slot] = undefined;
    storage.bytes -= own.bytes;
    own.bytes = 0;
    if (parts.length === 0) return;
    const block = module.alloc(bytes, `adapter ${slot}`);
    try {
      for (const p of parts) {
        const data = p.data();
        const room = module.alloc(data.length, "room to convert an adapter");
        module.bytes(room.address, data.length).set(data);
        module.exports.adapters_part(
          storage.block.address,
          slot,
          p.linear,
          p.part,
          block.address + p.at,
          types.get(p.type)!,
          p.rows,
          p.cols,
          p.scale,
          room.address,
        );
        module.free(room);
      }
    } catch (error) {
      module.exports.adapters_empty(storage.block.address, slot);
      module.free(block);
      throw error;
    }
    storage.slots[slot] = block;
    own.bytes = bytes;
    storage.bytes += bytes;
  }

  async encode(
    type: QuantType,
    rows: FloatRows,
    cols: number,
    importance?: Float32Array,
  ): Promise<Uint8Array> {
    this.checkOpen(`encode to ${type}`);
    const encoding = checkEncode(type, rows, cols, importance);
    for (const piece of encoding.pieces) await this.encodePiece(encoding, piece);
    return encoding.out;
  }

  private async encodePiece(encoding: Encoding, piece: EncodePiece): Promise<void> {
    const { module, pool } = this;
    const { exports } = module;
    const { type, from, cols, weights } = encoding;
    const [head, size] = [exports.encoding_bytes(), piece.values.length];
    const room = module.alloc(head + weights.length * 4 + size + piece.out.length, "room to encode rows");
    try {
      const by = room.address + head;
      const values = by + weights.length * 4;
      module.floats(by, weights.length).set(weights);
      module.bytes(values, size).set(piece.values);
      const state = () =>
        exports.job_encode(
          room.address,
          this.types.get(type)!,
          this.types.get(from)!,
          piece.rows,
          cols,
          values,
          weights.length > 0 ? by : 0,
          values + size,
          pool ? this.threads : 1,
          (pool?.local ?? this.local).address,
        );
      if (pool) await pool.run(state);
      else {
        state();
        exports.job_here();
        await new Promise<void>((resolve) => afterTurn(resolve));
      }
      const bad = exports.encoding_bad(room.address);
      if (bad >= 0) throw encodeError(encoding, piece, bad);
      piece.out.set(module.bytes(values + size, piece.out.length));
    } finally {
      module.free(room);
    }
  }

  write(storage: Storage, data: Float32Array | Int32Array, start = 0): void {
    this.view(this.denseOf(storage, "write", data, start).block.address, data, start).set(data);
  }

  read(storage: Storage, into: Float32Array | Int32Array, start = 0): void {
    into.set(this.view(this.denseOf(storage, "read", into, start).block.address, into, start));
  }

  compile(program: Program, maxima: Dims): Executable {
    this.checkOpen("compile a program");
    return new WasmExecutable(this, program, maxima);
  }

  /** The module's memory goes with the last reference to this backend. */
  close(): void {
    if (!this.closed) this.pool?.close();
    this.closed = true;
  }

  checkOpen(action: string): void {
    if (this.closed) throw new Error(`Cannot ${action}: the backend was closed`);
  }

  /** As many elements as `like`, of its type, from element `start` at an address. */
  private view(address: number, like: Float32Array | Int32Array, start: number): Float32Array | Int32Array {
    const at = address + start * 4;
    return isFloat(like) ? this.module.floats(at, like.length) : this.module.ints(at, like.length);
  }

  private denseOf(
    storage: Storage,
    action: string,
    data: Float32Array | Int32Array,
    start: number,
  ): WasmStorage {
    if (!(storage instanceof WasmStorage) || storage.backend !== this)
      throw new TypeError(`Cannot ${action} storage: it belongs to another backend`);
    checkDenseRange(storage, action, data, start);
    return storage;
  }
}

function processors(): number {
  const { navigator } = globalThis as { navigator?: { hardwareConcurrency?: number } };
  return Math.min(MOST_THREADS, navigator?.hardwareConcurrency ?? 1);
}
