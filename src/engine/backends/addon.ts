/** The native addon: where it lies, and its functions as TypeScript sees them (kernels/addon.cc). No semantics. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** Storage or an executable in the addon. Its memory goes with `free`, or when it is garbage. */
export interface Handle {
  readonly __addon: unique symbol;
}

export interface Addon {
  /** Instruction sets that this machine runs, best first; processor features; names of `Type`, by number. */
  info(): { isas: string[]; features: string[]; types: string[] };
  /** Kernel names of an instruction set (by its index in `isas`), by opcode. */
  kernels(isa: number): string[];
  /** Starts threads, if there are fewer; `close` once for each. */
  open(threads: number): void;
  close(): void;
  /** Bytes of storage and planned memory in the process. */
  memory(): number;
  /** Bytes per second of the fastest round of reading memory. Blocks for about rounds · bytes / 20 GB/s. */
  bandwidth(bytes: number, threads: number, rounds: number): number;

  dense(type: number, bytes: number): Handle;
  weight(type: number, rows: number, cols: number): Handle;
  kv(type: number, bytes: number): Handle;
  /** A table of empty slots. */
  adapters(slots: number, linears: number): Handle;
  /** Empties a slot and gives it so much memory. */
  slot(adapters: Handle, slot: number, bytes: number): void;
  /** Puts a matrix into the slot's memory at byte `at`: see AdapterPart. */
  part(
    adapters: Handle,
    slot: number,
    linear: number,
    part: number,
    type: number,
    rows: number,
    cols: number,
    scale: number,
    at: number,
    data: Uint8Array,
  ): void;
  free(handle: Handle): void;
  /** Copies in or out, from byte `at`. */
  write(storage: Handle, data: ArrayBufferView, at: number): void;
  read(storage: Handle, into: ArrayBufferView, at: number): void;
  /** Rows of a weight as they lie in a file; heads: see WeightSource.interleavedHeads, 0 for none. */
  fill(weight: Handle, row: number, rows: number, bytes: Uint8Array, heads: number): void;
  /** All rows from a file. Answers [error, end]: 0, a system error number, or one of LOAD_*. */
  load(
    weight: Handle,
    path: string,
    offset: number,
    heads: number,
    threads: number,
  ): Promise<[error: number, end: number]>;

  /**
   * Rows of floats of type `from` rounded to blocks; importance: none if empty. `values` and `out` are used until it
   * resolves: to -1, or to row · cols + column of a block that could not be encoded.
   */
  encode(
    isa: number,
    type: number,
    from: number,
    rows: number,
    cols: number,
    values: Uint8Array,
    importance: Float32Array,
    out: Uint8Array,
    threads: number,
  ): Promise<number>;

  program(image: Int32Array, isa: string): Handle;
  /** Where inputs are written: the buffer, and the byte in it at which input offset 0 is. */
  inputs(executable: Handle): [buffer: ArrayBuffer, start: number];
  bind(executable: Handle, slot: number, storage: Handle): void;
  run(executable: Handle, T: number, S: number, R: number, threads: number): Promise<void>;
  /** On the JavaScript thread. */
  runNow(executable: Handle, T: number, S: number, R: number): void;
  /** Copies planned memory from byte `at`. */
  output(executable: Handle, at: number, into: ArrayBufferView): void;
  /** For each node [seconds of thread 0, seconds it waited before], since the last call; the first one begins to measure. */
  profile(executable: Handle): Float64Array;
  /** What runs sample from now on (rows 0: nothing), from logits at a byte of the planned memory. */
  sampling(
    executable: Handle,
    rows: number,
    stride: number,
    vocab: number,
    logits: number,
    ints: Int32Array,
    floats: Float64Array,
    threads: number,
  ): void;
  /** Samples now, on the JavaScript thread. */
  sample(executable: Handle): void;
  sampled(executable: Handle, ids: Int32Array, logprobs: Float64Array): void;
}

/** Answers of `Addon.load`: the file ended (at `end`), the weight was freed meanwhile. */
export const LOAD_SHORT = -1;
export const LOAD_CANCELLED = -2;

/** `PITH_ADDON` names another build of it (one with sanitizers). */
function addonPath(): string {
  const name = `../../../native/pith-${process.platform}-${process.arch}.node`;
  return process.env.PITH_ADDON ?? fileURLToPath(new URL(name, import.meta.url));
}

let loaded: Addon | undefined;

/** @throws {Error} when it is not built, or does not load here. */
export function loadAddon(): Addon {
  if (loaded) return loaded;
  const path = addonPath();
  if (!existsSync(path))
    throw new Error(
      `Cannot use the native backend: "${path}" is not there, wanted the addon that "npm run build" makes with a C++ compiler`,
    );
  try {
    loaded = createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    throw new Error(`Cannot use the native backend: "${path}" does not load: ${(cause as Error).message}`, {
      cause,
    });
  }
  return loaded;
}
