/**
 * The WebAssembly module (wasm/*.wasm, from kernels/wasm.cc) and its memory: addresses in, addresses out. No tensors.
 * Runs wherever WebAssembly with SIMD does; Node's own modules are reached only where there is Node.
 */

/** Addresses and sizes are unsigned 32-bit; what a function returns may come as a negative number. */
interface Exports {
  alloc(bytes: number): number;
  free(address: number): void;
  kernel_name(i: number): number;
  type_name(i: number): number;
  packed_bytes(type: number, rows: number, cols: number): number;
  pack_rows(
    to: number,
    type: number,
    rows: number,
    cols: number,
    row: number,
    n: number,
    from: number,
    heads: number,
  ): void;
  adapters_bytes(slots: number, linears: number): number;
  adapters_make(table: number, slots: number, linears: number): void;
  adapters_empty(table: number, slot: number): void;
  adapters_part(
    table: number,
    slot: number,
    linear: number,
    part: number,
    data: number,
    type: number,
    rows: number,
    cols: number,
    scale: number,
    from: number,
  ): void;
  refusal(): number;
  refusal_number(i: number): number;
  program_bytes(image: number, words: number): number;
  program_make(block: number, image: number, arena: number, inputs: number): number;
  program_bind(
    program: number,
    slot: number,
    data: number,
    type: number,
    packed: number,
    rows: number,
    cols: number,
    bytes: number,
  ): void;
  program_resolve(program: number, T: number, S: number, R: number): number;
  local_bytes(): number;
  sample_scratch(ints: number, row: number, vocab: number): number;
  job_run(
    program: number,
    T: number,
    S: number,
    R: number,
    threads: number,
    shared: number,
    local: number,
  ): void;
  job_sample(
    logits: number,
    rows: number,
    vocab: number,
    stride: number,
    ints: number,
    floats: number,
    ids: number,
    logprobs: number,
    scratch: number,
    scratchBytes: number,
  ): void;
  job_here(): void;
  job_post(): void;
  stop(): void;
  job_read(address: number, bytes: number, threads: number): void;
  encoding_bytes(): number;
  job_encode(
    block: number,
    type: number,
    from: number,
    rows: number,
    cols: number,
    values: number,
    importance: number,
    out: number,
    threads: number,
    local: number,
  ): void;
  encoding_bad(block: number): number;
}

/** A `WebAssembly.Memory`. */
export interface Memory {
  readonly buffer: ArrayBufferLike;
}

/** What we use of the global of the same name; its types come with the DOM's, which Node does not have. */
interface WebAssemblyGlobal {
  validate(bytes: Uint8Array): boolean;
  compile(bytes: Uint8Array): Promise<object>;
  Memory: new (options: { initial: number; maximum: number; shared?: boolean }) => Memory;
  Instance: new (module: object, imports: object) => { exports: object };
}
const { WebAssembly } = globalThis as unknown as { WebAssembly: WebAssemblyGlobal };

/** The builds, best first. */
export const WASM_KERNELS = ["relaxed-simd", "simd128"] as const;
export type WasmKernels = (typeof WASM_KERNELS)[number];
const FILES: Record<WasmKernels, string> = {
  "relaxed-simd": "pith-relaxed.wasm",
  simd128: "pith-simd.wasm",
};

/** Memory is 32-bit, and engines keep some of it: what we plan stays below this. */
export const WASM_LIMIT = 3.5 * 2 ** 30;

const PAGE_BYTES = 65536;
/** --initial-memory of scripts/build-wasm.mjs. */
const INITIAL_PAGES = 32;
/** Places that will not reserve 4 GiB of addresses are asked for less. */
const MAXIMUM_PAGES = [65536, 32768, 16384, 8192];

/** A block of the module's memory. */
export interface Block {
  readonly address: number;
  readonly bytes: number;
}

export interface ModuleOptions {
  readonly bytes?: Uint8Array | undefined;
  readonly kernels?: WasmKernels | undefined;
  /** Memory that threads can share; ignored where there is no such memory. */
  readonly shared: boolean;
}

export class WasmModule {
  readonly exports: Exports;
  readonly memory: Memory;
  /** The compiled module, for the instances of other threads. */
  readonly compiled: object;
  readonly kernels: string;
  readonly shared: boolean;
  /** Most bytes that blocks may take. */
  readonly limit: number;
  /** Bytes of all blocks now. */
  used = 0;
  /** Threads are running something that may use blocks: those that are freed meanwhile are kept until it ends. */
  private held = 0;
  private readonly late: Block[] = [];

  /** @throws {Error} when the engine has no WebAssembly, or refuses the module */
  static async load({ bytes, kernels, shared }: ModuleOptions): Promise<WasmModule> {
    if (!WebAssembly)
      throw new Error("Cannot use the wasm backend: this JavaScript engine has no WebAssembly");
    const build = kernels !== "simd128" && (relaxedSimd() || kernels) ? "relaxed-simd" : "simd128";
    const given = bytes ?? (await packaged(FILES[build]));
    const sharing = shared && typeof SharedArrayBuffer !== "undefined";
    const module = sharing ? given : unshared(given);
    if (!WebAssembly.validate(module))
      throw new Error(
        `Cannot use the wasm backend: the engine refuses the module of ${module.length} bytes, wanted WebAssembly with 128-bit SIMD, bulk memory and atomics${build === "relaxed-simd" ? " and relaxed SIMD" : ""}`,
      );
    const { memory, maximum } = newMemory(sharing);
    return new WasmModule(await WebAssembly.compile(module), memory, maximum, sharing, build);
  }

  private constructor(compiled: object, memory: Memory, maximum: number, shared: boolean, kernels: string) {
    this.exports = new WebAssembly.Instance(compiled, { env: { memory } }).exports as Exports;
    this.compiled = compiled;
    this.memory = memory;
    this.limit = Math.min(WASM_LIMIT, maximum - PAGE_BYTES);
    this.shared = shared;
    this.kernels = kernels;
  }

  /**
   * Zeros, at a multiple of 64.
   * @throws {RangeError} when it does not fit; `what` names it
   */
  alloc(bytes: number, what: string): Block {
    this.checkRoom(bytes, what);
    const address = this.exports.alloc(bytes) >>> 0;
    if (address === 0)
      throw new RangeError(
        `Cannot allocate ${what}: ${bytes} bytes more than ${this.used}, and WebAssembly memory of ${this.memory.buffer.byteLength} bytes does not grow`,
      );
    this.used += bytes;
    return { address, bytes };
  }

  /** @throws {RangeError} when so many bytes more would be beyond what the module may hold */
  checkRoom(bytes: number, what: string): void {
    if (this.used + bytes > this.limit)
      throw new RangeError(
        `Cannot allocate ${what}: ${bytes} bytes more than the ${this.used} in use are ${this.used + bytes}, but WebAssembly holds at most ${this.limit}`,
      );
  }

  free(block: Block): void {
    if (this.held > 0) {
      this.late.push(block);
      return;
    }
    this.exports.free(block.address);
    this.used -= block.bytes;
  }

  /** Until `release`, blocks that are freed stay as they are. */
  hold(): void {
    this.held++;
  }
  release(): void {
    this.held--;
    if (this.held === 0) for (const block of this.late.splice(0)) this.free(block);
  }

  /** Views are good until memory grows: make them where they are used. */
  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, address, length);
  }
  ints(address: number, length: number): Int32Array {
    return new Int32Array(this.memory.buffer, address, length);
  }
  floats(address: number, length: number): Float32Array {
    return new Float32Array(this.memory.buffer, address, length);
  }
  doubles(address: number, length: number): Float64Array {
    return new Float64Array(this.memory.buffer, address, length);
  }

  /** Texts for 0, 1, .. until there is none. */
  names(name: (i: number) => number): string[] {
    const all: string[] = [];
    for (let at = name(0); at !== 0; at = name(all.length)) all.push(this.text(at));
    return all;
  }

  private text(address: number): string {
    const memory = new Uint8Array(this.memory.buffer);
    let end = address;
    while (memory[end] !== 0) end++;
    return new TextDecoder().decode(memory.slice(address, end)); // a copy: decoders refuse shared memory
  }

  /** @throws {Error} when the last call that can be refused was */
  checkRefusal(action: string): void {
    const what = this.exports.refusal();
    if (what === 0) return;
    const [index, found, wanted] = [0, 1, 2].map((i) => this.exports.refusal_number(i));
    throw new Error(`Cannot ${action}: ${this.text(what)} ${index} is ${found}, wanted ${wanted}`);
  }
}

/** Node's module of that name; undefined elsewhere. Not an import, so that bundlers for browsers need not see it. */
export function builtin<T>(name: string): T | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => T } };
  return process?.getBuiltinModule?.(name);
}

/** A function that does nothing but i16x8.relaxed_dot_i8x16_i7x16_s of zeros. */
const RELAXED_PROBE = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0], // magic, version
  ...[1, 4, 1, 96, 0, 0, 3, 2, 1, 0], // one function, no parameters, no results
  ...[10, 16, 1, 14, 0, 65, 0, 253, 15, 65, 0, 253, 15, 253, 146, 2, 26, 11],
);

/** Whether the engine has relaxed SIMD. Node 20 and 21 have it behind a flag of V8's, which is set. */
export function relaxedSimd(): boolean {
  if (WebAssembly.validate(RELAXED_PROBE)) return true;
  const { process } = globalThis as { process?: { versions?: { node?: string } } };
  if (!/^2[01]\./.test(process?.versions?.node ?? "")) return false;
  const v8 = builtin<{ setFlagsFromString(flags: string): void }>("node:v8");
  v8?.setFlagsFromString("--experimental-wasm-relaxed-simd");
  return WebAssembly.validate(RELAXED_PROBE);
}

function newMemory(shared: boolean): { memory: Memory; maximum: number } {
  for (const maximum of MAXIMUM_PAGES)
    try {
      const memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum, shared });
      return { memory, maximum: maximum * PAGE_BYTES };
    } catch (error) {
      if (maximum === MAXIMUM_PAGES.at(-1)) throw error;
    }
  throw new Error("Cannot make WebAssembly memory");
}

/**
 * The module with its one import, the memory, no longer shared: a copy that differs in one bit. Its instructions mean
 * the same; atomic ones may be used on memory of either kind.
 * @throws {Error} when the module is not laid out as ours
 */
function unshared(bytes: Uint8Array): Uint8Array {
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < bytes.length) {
    const section = bytes[at++];
    const end = number() + at;
    if (section !== 2) {
      at = end;
      continue;
    }
    number(); // of imports: one
    for (const _ of ["env", "memory"]) {
      const length = number();
      at += length;
    }
    if (bytes[at] !== 2 || (bytes[at + 1] !== 3 && bytes[at + 1] !== 1)) break; // a memory with a maximum
    const copy = bytes.slice();
    copy[at + 1] = 1;
    return copy;
  }
  throw new Error(
    `Cannot use the wasm backend: the module of ${bytes.length} bytes does not import its memory`,
  );
}

async function packaged(name: string): Promise<Uint8Array> {
  const url = new URL(`../../../wasm/${name}`, import.meta.url);
  if (url.protocol !== "file:") {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`Cannot read "${url}": HTTP status ${response.status}, wanted 200`);
    return new Uint8Array(await response.arrayBuffer());
  }
  const fs = builtin<{ promises: { readFile(url: URL): Promise<Uint8Array> } }>("node:fs");
  if (!fs) throw new Error(`Cannot read "${url}": this place reads no files`);
  return fs.promises.readFile(url);
}
