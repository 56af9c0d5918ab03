/**
 * The native backend: memory in the addon, weights read and packed there, programs handed to it. Checks what callers
 * give it; what ops mean was checked when they were recorded.
 */
import { getSystemErrorMap } from "node:util";
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
import { chooseThreads } from "../machine.ts";
import type { Program } from "../program.ts";
import type { FloatRows } from "../weights.ts";
import { type AdapterTable, checkChanges, checkTable, layOut } from "./adapters.ts";
import { type Addon, type Handle, LOAD_CANCELLED, LOAD_SHORT, loadAddon } from "./addon.ts";
import {
  checkDense,
  checkDenseRange,
  checkWeight,
  packedBytes,
  poolSize,
  readPieces,
  readVector,
} from "./checks.ts";
import { checkEncode, encodeError } from "./encoding.ts";
import { NativeExecutable } from "./native-executable.ts";

export interface NativeOptions {
  /** Default: `PITH_THREADS`, else the cores that the process may use. */
  readonly threads?: number;
  /** "amx" (AVX-512 with matrix tiles, on Linux), "avx512", "avx2" or "scalar"; on 64-bit Arm "i8mm", "dotprod" or "neon". Default: `PITH_KERNELS`, else the best that the machine has. */
  readonly kernels?: string;
  /**
   * A run that touches fewer bytes than this is done on the calling thread: handing it to another one and hearing back
   * takes about 15 us. Default 2 MiB; 0: never (for tests and measurements).
   */
  readonly smallWork?: number;
}

export class NativeStorage implements Storage {
  readonly kind: Storage["kind"];
  bytes: number;
  /** Element or weight type, for messages. */
  readonly type: string;
  readonly shape: readonly number[];
  readonly spec: KvSpec | undefined;
  readonly backend: NativeBackend;
  readonly handle: Handle;
  table: AdapterTable | undefined;
  freed = false;

  constructor(
    backend: NativeBackend,
    handle: Handle,
    kind: Storage["kind"],
    bytes: number,
    type: string,
    shape: readonly number[],
    spec?: KvSpec,
  ) {
    this.backend = backend;
    this.handle = handle;
    this.kind = kind;
    this.bytes = bytes;
    this.type = type;
    this.shape = shape;
    this.spec = spec;
  }

  free(): void {
    this.freed = true;
    this.backend.addon.free(this.handle);
  }
}

export class NativeBackend implements Backend {
  readonly name = "native";
  readonly kernels: string;
  readonly threads: number;
  readonly addon: Addon;
  /** Kernel names by opcode. */
  readonly table: readonly string[];
  readonly smallWork: number;
  /** Its index among those of the machine. */
  private readonly isa: number;
  private readonly types: ReadonlyMap<string, number>;
  private readonly owned = new Set<WeakRef<{ free(): void }>>();
  private closed = false;

  /** Whether the addon is built and loads. */
  static available(): boolean {
    try {
      loadAddon();
      return true;
    } catch {
      return false;
    }
  }

  /** Instruction sets of this machine, best first. */
  static kernels(): string[] {
    return loadAddon().info().isas;
  }

  /**
   * @throws {Error} when the addon is not built or does not load
   * @throws {RangeError} when the machine lacks the kernels asked for, or on a bad number of threads
   */
  constructor(options: NativeOptions = {}) {
    this.addon = loadAddon();
    this.threads = chooseThreads(options.threads);
    this.smallWork = options.smallWork ?? 2 << 20;
    const { isas, types } = this.addon.info();
    const asked = options.kernels ?? (process.env.PITH_KERNELS || undefined);
    this.kernels = asked ?? isas[0]!;
    const isa = isas.indexOf(this.kernels);
    this.isa = isa;
    if (isa < 0)
      throw new RangeError(`Cannot use kernels "${asked}": this machine and build have ${isas.join(", ")}`);
    this.table = this.addon.kernels(isa);
    this.types = new Map(types.map((name, i) => [name, i]));
    this.addon.open(this.threads);
  }

  dense(dtype: "f32" | "i32", shape: readonly number[], data?: Float32Array | Int32Array): Storage {
    this.checkOpen("make dense storage");
    const n = checkDense(dtype, shape, data);
    const handle = this.addon.dense(this.types.get(dtype)!, n * 4);
    if (data) this.addon.write(handle, data, 0);
    return this.own(new NativeStorage(this, handle, "dense", n * 4, dtype, [...shape]));
  }

  async weight(source: WeightSource, signal?: AbortSignal): Promise<Storage> {
    this.checkOpen(`load "${source.name}"`);
    signal?.throwIfAborted();
    const { rows, cols } = checkWeight(source);
    const { type } = source;
    if (source.shape.length < 2) return this.dense("f32", source.shape, await readVector(source));
    const handle = this.addon.weight(this.types.get(type)!, rows, cols);
    const bytes = packedBytes(type, rows, cols);
    const storage = this.own(new NativeStorage(this, handle, "weight", bytes, type, [...source.shape]));
    try {
      if (source.source.path !== undefined) await this.fromFile(source, storage, signal);
      else
        for await (const piece of readPieces(source)) {
          signal?.throwIfAborted();
          this.checkOpen(`load "${source.name}"`);
          this.addon.fill(handle, piece.row, piece.rows, piece.bytes, source.interleavedHeads ?? 0);
        }
      this.checkOpen(`load "${source.name}"`);
    } catch (error) {
      storage.free();
      throw error;
    }
    return storage;
  }

  private async fromFile(source: WeightSource, storage: NativeStorage, signal?: AbortSignal): Promise<void> {
    const path = source.source.path!;
    const loading = signal && cancelledBy(signal);
    loading?.add(storage);
    try {
      const heads = source.interleavedHeads ?? 0;
      const [error, end] = await this.addon.load(storage.handle, path, source.offset, heads, this.threads);
      signal?.throwIfAborted();
      if (error === LOAD_CANCELLED) this.checkOpen(`load "${source.name}"`);
      if (error === 0) return;
      if (error === LOAD_SHORT)
        throw new RangeError(
          `Cannot read "${path}": tensor "${source.name}" ends at byte ${source.offset + source.bytes}, but the file has ${end}`,
        );
      const message = getSystemErrorMap().get(-error)?.[1] ?? `system error ${error}`;
      throw new Error(`Cannot read "${path}" for tensor "${source.name}": ${message}`);
    } finally {
      loading?.delete(storage);
    }
  }

  kv(spec: KvSpec): Storage {
    this.checkOpen("make KV pages");
    const { pages, type } = spec;
    const { page, bytes } = poolSize(spec);
    const handle = this.addon.kv(this.types.get(`kv_${type}`)!, bytes);
    return this.own(new NativeStorage(this, handle, "kv", bytes, type, [pages, page], spec));
  }

  adapters(slots: number, linears: readonly AdapterLinear[]): Storage {
    this.checkOpen("make adapters");
    const table = checkTable(slots, linears);
    const handle = this.addon.adapters(slots, linears.length);
    const storage = this.own(new NativeStorage(this, handle, "adapters", 0, "adapters", [0]));
    storage.table = table;
    return storage;
  }

  setAdapter(storage: Storage, slot: number, changes: ReadonlyMap<number, LinearChange> | undefined): void {
    const table = tableOf(this, storage);
    checkChanges(table, slot, changes);
    const { handle } = storage as NativeStorage;
    const own = table.slots[slot]!;
    if (own.users > 0) throw new Error(`Cannot set adapter ${slot}: a run uses it`);
    const { parts, bytes } = layOut(table.linears, changes ?? new Map());
    this.addon.slot(handle, slot, 0);
    (storage as NativeStorage).bytes -= own.bytes;
    own.bytes = 0;
    try {
      this.addon.slot(handle, slot, bytes);
      for (const { linear, part, type, rows, cols, scale, at, data } of parts)
        this.addon.part(handle, slot, linear, part, this.types.get(type)!, rows, cols, scale, at, data());
    } catch (error) {
      this.addon.slot(handle, slot, 0);
      throw error;
    }
    own.bytes = bytes;
    (storage as NativeStorage).bytes += bytes;
  }

  readKv(storage: Storage, page: number): Uint8Array {
    const { spec, handle } = this.kvOf(storage, page);
    const held = new Uint8Array(heldPageBytes(spec));
    this.addon.read(handle, held, page * held.length);
    return unpackKvPage(spec, held);
  }

  writeKv(storage: Storage, page: number, data: Uint8Array): void {
    const { spec, handle } = this.kvOf(storage, page, data);
    const held = packKvPage(spec, data);
    this.addon.write(handle, held, page * held.length);
  }

  private kvOf(storage: Storage, page: number, data?: Uint8Array): NativeStorage & { spec: KvSpec } {
    if (!(storage instanceof NativeStorage) || storage.backend !== this || !storage.spec)
      throw new TypeError("Cannot copy a KV page: the storage is no pool of this backend");
    if (storage.freed) throw new Error("Cannot copy a KV page: the pool was freed");
    checkKvPage(storage.spec, page, data);
    return storage as NativeStorage & { spec: KvSpec };
  }

  async encode(
    type: QuantType,
    rows: FloatRows,
    cols: number,
    importance?: Float32Array,
  ): Promise<Uint8Array> {
    this.checkOpen(`encode to ${type}`);
    const encoding = checkEncode(type, rows, cols, importance);
    const [to, from] = [this.types.get(type)!, this.types.get(rows.type)!];
    // Two pieces are under way, so that threads find one when they are done with another.
    const under: Promise<void>[] = [];
    try {
      for (const piece of encoding.pieces) {
        under.push(
          this.addon
            .encode(
              this.isa,
              to,
              from,
              piece.rows,
              cols,
              piece.values,
              encoding.weights,
              piece.out,
              this.threads,
            )
            .then((bad) => {
              if (bad >= 0) throw encodeError(encoding, piece, bad);
            }),
        );
        if (under.length > 1) await under.shift();
        this.checkOpen(`encode to ${type}`);
      }
      await Promise.all(under);
    } finally {
      await Promise.allSettled(under);
    }
    return encoding.out;
  }

  write(storage: Storage, data: Float32Array | Int32Array, start = 0): void {
    this.addon.write(this.denseOf(storage, "write", data, start).handle, data, start * 4);
  }

  read(storage: Storage, into: Float32Array | Int32Array, start = 0): void {
    this.addon.read(this.denseOf(storage, "read", into, start).handle, into, start * 4);
  }

  compile(program: Program, maxima: Dims): Executable {
    this.checkOpen("compile a program");
    return this.own(new NativeExecutable(this, program, maxima));
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const ref of this.owned) ref.deref()?.free();
    this.owned.clear();
    this.addon.close();
  }

  checkOpen(action: string): void {
    if (this.closed) throw new Error(`Cannot ${action}: the backend was closed`);
  }

  /** Frees it on `close`, unless it is garbage before. */
  private own<T extends { free(): void }>(thing: T): T {
    if (this.owned.size >= this.sweepAt) {
      for (const ref of this.owned) if (!ref.deref()) this.owned.delete(ref);
      this.sweepAt = 2 * this.owned.size + 1024;
    }
    this.owned.add(new WeakRef(thing));
    return thing;
  }
  private sweepAt = 1024;

  private denseOf(
    storage: Storage,
    action: string,
    data: Float32Array | Int32Array,
    start: number,
  ): NativeStorage {
    if (!(storage instanceof NativeStorage) || storage.backend !== this)
      throw new TypeError(`Cannot ${action} storage: it belongs to another backend`);
    checkDenseRange(storage, action, data, start);
    return storage;
  }
}

/** @throws {TypeError} when the storage is no table of adapters of this backend */
function tableOf(backend: Backend, storage: Storage): AdapterTable {
  if (!(storage instanceof NativeStorage) || storage.backend !== backend || !storage.table)
    throw new TypeError("Cannot set an adapter: the storage is no table of adapters of this backend");
  if (storage.freed) throw new Error("Cannot set an adapter: the table was freed");
  return storage.table;
}

/** What an abort frees: one listener for each signal, however many weights load under it. */
const cancelled = new WeakMap<AbortSignal, Set<NativeStorage>>();
function cancelledBy(signal: AbortSignal): Set<NativeStorage> {
  const known = cancelled.get(signal);
  if (known) return known;
  const loading = new Set<NativeStorage>();
  cancelled.set(signal, loading);
  signal.addEventListener("abort", () => {
    for (const storage of loading) storage.free();
  });
  return loading;
}
