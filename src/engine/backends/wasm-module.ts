/**
 * The WebAssembly module (wasm/pith.wasm, from kernels/wasm.cc) and its memory: addresses in, addresses out. No tensors.
 * Runs wherever WebAssembly with SIMD does; Node's file system is reached only when no bytes are given.
 */

/** Addresses and sizes are unsigned 32-bit; what a function returns may come as a negative number. */
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
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
  program_run(program: number, T: number, S: number, R: number, shared: number, local: number): void;
  local_bytes(): number;
  sample_scratch(ints: number, row: number, vocab: number): number;
  sample_row(
    logits: number,
    vocab: number,
    ints: number,
    floats: number,
    row: number,
    stride: number,
    ids: number,
    logprobs: number,
    scratch: number,
  ): void;
}

/** What we use of the global of the same name; its types come with the DOM's, which Node does not have. */
interface WebAssemblyGlobal {
  validate(bytes: Uint8Array): boolean;
  instantiate(bytes: Uint8Array, imports: object): Promise<{ instance: { exports: object } }>;
}

/** Memory is 32-bit, and engines keep some of it: what we plan stays below this. */
export const WASM_LIMIT = 3.5 * 2 ** 30;

/** A block of the module's memory. */
export interface Block {
  readonly address: number;
  readonly bytes: number;
}

export class WasmModule {
  readonly exports: Exports;
  /** Bytes of all blocks now. */
  used = 0;

  /** @param bytes of the module; default: the file that comes with the package */
  static async load(bytes?: Uint8Array): Promise<WasmModule> {
    const { WebAssembly } = globalThis as unknown as { WebAssembly?: WebAssemblyGlobal };
    if (!WebAssembly)
      throw new Error("Cannot use the wasm backend: this JavaScript engine has no WebAssembly");
    const module = bytes ?? (await packaged());
    if (!WebAssembly.validate(module))
      throw new Error(
        `Cannot use the wasm backend: the engine refuses the module of ${module.length} bytes, wanted WebAssembly with 128-bit SIMD and bulk memory`,
      );
    return new WasmModule((await WebAssembly.instantiate(module, {})).instance.exports as Exports);
  }

  private constructor(exports: Exports) {
    this.exports = exports;
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
        `Cannot allocate ${what}: ${bytes} bytes more than ${this.used}, and WebAssembly memory of ${this.exports.memory.buffer.byteLength} bytes does not grow`,
      );
    this.used += bytes;
    return { address, bytes };
  }

  /** @throws {RangeError} when so many bytes more would be beyond what the module may hold */
  checkRoom(bytes: number, what: string): void {
    if (this.used + bytes > WASM_LIMIT)
      throw new RangeError(
        `Cannot allocate ${what}: ${bytes} bytes more than the ${this.used} in use are ${this.used + bytes}, but WebAssembly holds at most ${WASM_LIMIT}`,
      );
  }

  free(block: Block): void {
    this.exports.free(block.address);
    this.used -= block.bytes;
  }

  /** Views are good until memory grows: make them where they are used. */
  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.exports.memory.buffer, address, length);
  }
  ints(address: number, length: number): Int32Array {
    return new Int32Array(this.exports.memory.buffer, address, length);
  }
  floats(address: number, length: number): Float32Array {
    return new Float32Array(this.exports.memory.buffer, address, length);
  }
  doubles(address: number, length: number): Float64Array {
    return new Float64Array(this.exports.memory.buffer, address, length);
  }

  /** Texts for 0, 1, .. until there is none. */
  names(name: (i: number) => number): string[] {
    const all: string[] = [];
    for (let at = name(0); at !== 0; at = name(all.length)) all.push(this.text(at));
    return all;
  }

  private text(address: number): string {
    const memory = new Uint8Array(this.exports.memory.buffer);
    let end = address;
    while (memory[end] !== 0) end++;
    return new TextDecoder().decode(memory.slice(address, end));
  }

  /** @throws {Error} when the last call that can be refused was */
  checkRefusal(action: string): void {
    const what = this.exports.refusal();
    if (what === 0) return;
    const [index, found, wanted] = [0, 1, 2].map((i) => this.exports.refusal_number(i));
    throw new Error(`Cannot ${action}: ${this.text(what)} ${index} is ${found}, wanted ${wanted}`);
  }
}

async function packaged(): Promise<Uint8Array> {
  const url = new URL("../../../wasm/pith.wasm", import.meta.url);
  if (url.protocol !== "file:") {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`Cannot read "${url}": HTTP status ${response.status}, wanted 200`);
    return new Uint8Array(await response.arrayBuffer());
  }
  const { readFile } = await import("node:fs/promises");
  return readFile(url);
}
