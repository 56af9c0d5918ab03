// Writes GGUF version 3, little-endian. Tensors are streamed: one at a time, in pieces if their data comes so.
// What llama.cpp would not open is refused before the first byte is written.

import {
  GGUF_NUMBER_ARRAYS,
  GGUF_TYPE_NAMES,
  type GgufStrings,
  type GgufValue,
  isGgufStrings,
} from "./gguf-values.ts";
import { countElements, STORAGE_TYPES, storageBytes } from "./storage.ts";
import type { TensorToWrite, WriteProgress } from "./types.ts";
import { tensorPieces, writeFileAtomic } from "./write.ts";

const MAX_KEY_BYTES = 65_535;
/** llama.cpp keeps names in 64 bytes with the final zero. */
const MAX_TENSOR_NAME_BYTES = 63;
const MAX_DIMS = 4;
const MAX_ALIGNMENT = 2 ** 20;
const DEFAULT_ALIGNMENT = 32;

export interface WriteGgufOptions {
  /** A Map as {@link readGguf} gives it, or pairs. `general.alignment` sets the alignment of the tensors. */
  readonly metadata: Iterable<readonly [string, GgufValue]>;
  readonly tensors: readonly TensorToWrite[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WriteProgress) => void;
}

/**
 * Writes a GGUF file, atomically.
 * @throws {TypeError | RangeError} on a value that its type cannot hold, a name or shape GGUF has no room for,
 *   a type GGUF has no number for, or data of the wrong length; nothing is left at `path` then.
 */
export async function writeGguf(path: string, options: WriteGgufOptions): Promise<void> {
  const { metadata, tensors, signal, onProgress } = options;
  const pairs = [...metadata];
  const alignment = alignmentOf(path, pairs);
  const sizes = tensors.map((tensor) => bytesOf(path, tensor));
  checkNames(
    path,
    "key",
    MAX_KEY_BYTES,
    pairs.map(([key]) => key),
  );
  checkNames(
    path,
    "tensor name",
    MAX_TENSOR_NAME_BYTES,
    tensors.map(({ name }) => name),
  );

  const out = new ByteWriter();
  out.raw(new TextEncoder().encode("GGUF"));
  out.uint32(3);
  out.uint64(tensors.length);
  out.uint64(pairs.length);
  for (const [key, value] of pairs) {
    out.string(key);
    writeValue(out, value, `Cannot write ${JSON.stringify(path)}: ${JSON.stringify(key)}`);
  }
  let offset = 0;
  for (const [i, { name, type, shape }] of tensors.entries()) {
    out.string(name);
    out.uint32(shape.length);
    for (const size of shape.toReversed()) out.uint64(size);
    out.uint32(STORAGE_TYPES[type].ggmlType!);
    out.uint64(offset);
    offset += roundUp(sizes[i]!, alignment);
  }
  out.raw(new Uint8Array(roundUp(out.length, alignment) - out.length));

  const totalBytes = sizes.reduce((sum, size) => sum + size, 0);
  async function* content() {
    yield out.take();
    let bytes = 0;
    for (const [i, tensor] of tensors.entries()) {
      yield* tensorPieces(path, tensor, sizes[i]!);
      // llama.cpp reads the padding after the last tensor too.
      yield new Uint8Array(roundUp(sizes[i]!, alignment) - sizes[i]!);
      bytes += sizes[i]!;
      onProgress?.({ tensor: tensor.name, bytes, totalBytes });
    }
  }
  await writeFileAtomic(path, content(), signal);
}

function writeValue(out: ByteWriter, value: GgufValue, action: string): void {
  out.uint32(GGUF_TYPE_NAMES.indexOf(value.type));
  if (value.type === "string") out.string(value.value);
  else if (value.type === "bool") out.raw(Uint8Array.of(value.value ? 1 : 0));
  else if (value.type !== "array") {
    const one = new GGUF_NUMBER_ARRAYS[value.type](1);
    one[0] = value.value;
    // float32 rounds; any other type must hold the value itself.
    if (value.type !== "float32" && !Object.is(one[0], value.value) && value.value !== 0) {
      throw new RangeError(`${action} is ${value.value}, want a value that ${value.type} holds`);
    }
    out.raw(new Uint8Array(one.buffer));
  } else {
    out.uint32(GGUF_TYPE_NAMES.indexOf(value.of));
    out.uint64(value.value.length);
    if (value.of === "string") {
      writeStrings(out, value.value);
      return;
    }
    const Wanted = value.of === "bool" ? Uint8Array : GGUF_NUMBER_ARRAYS[value.of];
    if (!(value.value instanceof Wanted)) {
      const found = Object.prototype.toString.call(value.value).slice(8, -1);
      throw new TypeError(`${action} is of ${found}, want ${Wanted.name} for an array of ${value.of}`);
    }
    out.raw(new Uint8Array(value.value.buffer, value.value.byteOffset, value.value.byteLength));
  }
}

function writeStrings(out: ByteWriter, strings: GgufStrings | readonly string[]): void {
  if (!isGgufStrings(strings)) {
    for (const text of strings) out.string(text);
    return;
  }
  for (let i = 0; i < strings.length; i++) {
    const bytes = strings.bytesAt(i);
    out.uint64(bytes.length);
    out.raw(bytes);
  }
}

function alignmentOf(path: string, pairs: readonly (readonly [string, GgufValue])[]): number {
  const found = pairs.find(([key]) => key === "general.alignment")?.[1];
  if (!found) return DEFAULT_ALIGNMENT;
  const value = found.type === "uint32" ? found.value : Number.NaN;
  if (!(value >= 1 && value <= MAX_ALIGNMENT && Number.isInteger(Math.log2(value)))) {
    throw new RangeError(
      `Cannot write ${JSON.stringify(path)}: "general.alignment" is ${found.type} ${found.value}, want a power of two up to ${MAX_ALIGNMENT}, as uint32`,
    );
  }
  return value;
}

function bytesOf(path: string, { name, type, shape }: TensorToWrite): number {
  const action = `Cannot write ${JSON.stringify(path)}: tensor ${JSON.stringify(name)}`;
  const { ggmlType, blockSize } = STORAGE_TYPES[type];
  if (ggmlType === undefined) throw new TypeError(`${action} has type ${type}, want one that GGUF has`);
  if (shape.length > MAX_DIMS || !shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw new RangeError(`${action} has shape [${shape}], want at most ${MAX_DIMS} whole numbers`);
  }
  const row = shape.at(-1) ?? 1;
  if (row % blockSize !== 0) {
    throw new RangeError(
      `${action} has rows of ${row}, want a multiple of ${blockSize}, the block of ${type}`,
    );
  }
  const elements = countElements(shape);
  const bytes = elements === undefined ? undefined : storageBytes(type, elements);
  if (bytes === undefined)
    throw new RangeError(`${action} has shape [${shape}], want at most 2^53 - 1 bytes`);
  return bytes;
}

function checkNames(path: string, what: string, maxBytes: number, names: readonly string[]): void {
  const action = `Cannot write ${JSON.stringify(path)}: ${what}`;
  const seen = new Set<string>();
  for (const name of names) {
    const bytes = Buffer.byteLength(name);
    if (bytes < 1 || bytes > maxBytes) {
      throw new RangeError(`${action} ${JSON.stringify(name)} has ${bytes} bytes, want 1 to ${maxBytes}`);
    }
    if (seen.has(name)) throw new RangeError(`${action} ${JSON.stringify(name)} comes twice, want each once`);
    seen.add(name);
  }
}

function roundUp(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

/** Bytes in order, in a buffer that grows. */
class ByteWriter {
  #bytes = new Uint8Array(64 * 1024);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  uint32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.length - 4, value, true);
  }

  uint64(value: number): void {
    this.#reserve(8);
    this.#view.setBigUint64(this.length - 8, BigInt(value), true);
  }

  string(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.uint64(bytes.length);
    this.raw(bytes);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length - bytes.length);
  }

  /** What was written, a view. */
  take(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  #reserve(bytes: number): void {
    this.length += bytes;
    if (this.length <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.length, this.#bytes.length * 2));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
