// GGUF metadata as values: what the reader gives, the writer takes, and the typed getters that models use.

import { quote } from "./errors.ts";
import type { TensorInfo } from "./types.ts";

/** A list of strings kept as UTF-8 bytes: a vocabulary opens in milliseconds and is decoded when asked. */
export interface GgufStrings extends Iterable<string> {
  readonly length: number;
  /** String `i`. Bytes that are not UTF-8 (some vocabularies hold them) become U+FFFD; see `bytesAt`. */
  at(i: number): string;
  /** The bytes of string `i` as the file has them, a view. */
  bytesAt(i: number): Uint8Array;
  toArray(): string[];
}

/** One value and the type GGUF stores it as. */
export type GgufValue =
  | {
      readonly type: "uint8" | "int8" | "uint16" | "int16" | "uint32" | "int32" | "float32" | "float64";
      readonly value: number;
    }
  | { readonly type: "uint64" | "int64"; readonly value: bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "array"; readonly of: "string"; readonly value: GgufStrings | readonly string[] }
  | { readonly type: "array"; readonly of: GgufNumberType | "bool"; readonly value: GgufNumbers };

export type GgufNumberType = keyof typeof GGUF_NUMBER_ARRAYS;

/** An array of numbers, as the typed array of its type; `bool` is a Uint8Array of 0 and 1. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigUint64Array
  | BigInt64Array
  | Float32Array
  | Float64Array;

export const GGUF_NUMBER_ARRAYS = {
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  float32: Float32Array,
  uint64: BigUint64Array,
  int64: BigInt64Array,
  float64: Float64Array,
} as const;

/** The names of GGUF's value types, each at the number that stands for it in a file. */
export const GGUF_TYPE_NAMES = [
  "uint8",
  "int8",
  "uint16",
  "int16",
  "uint32",
  "int32",
  "float32",
  "bool",
  "string",
  "array",
  "uint64",
  "int64",
  "float64",
] as const;

export interface GgufFile {
  /** What errors call the file. */
  readonly name: string;
  readonly version: number;
  /** Bytes that every tensor's offset is a multiple of. */
  readonly alignment: number;
  /** In the order of the file. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** In the order of the file. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
}

type Metadata = Pick<GgufFile, "name" | "metadata">;

/** The string at `key`, or undefined when the file has no such key. @throws {TypeError} on another type. */
export function getString(file: Metadata, key: string): string | undefined {
  const found = file.metadata.get(key);
  if (!found) return undefined;
  if (found.type !== "string") throw mismatch(file, key, found, "a string");
  return found.value;
}

/** The boolean at `key`, or undefined. @throws {TypeError} on another type. */
export function getBoolean(file: Metadata, key: string): boolean | undefined {
  const found = file.metadata.get(key);
  if (!found) return undefined;
  if (found.type !== "bool") throw mismatch(file, key, found, "true or false");
  return found.value;
}

/**
 * The number at `key`, whatever numeric type it is stored as, or undefined.
 * @throws {TypeError} on another type. @throws {RangeError} on an integer beyond 2^53 - 1.
 */
export function getNumber(file: Metadata, key: string): number | undefined {
  const found = file.metadata.get(key);
  if (!found) return undefined;
  const { value } = found;
  if (typeof value === "bigint") return safeNumber(file, key, value);
  if (typeof value !== "number") throw mismatch(file, key, found, "a number");
  return value;
}

/**
 * The whole number at `key`, from `min` to `max`, or undefined.
 * @throws {TypeError} on another type. @throws {RangeError} on a fraction or a number out of range.
 */
export function getInteger(
  file: Metadata,
  key: string,
  min = 0,
  max = Number.MAX_SAFE_INTEGER,
): number | undefined {
  const found = getNumber(file, key);
  if (found === undefined) return undefined;
  if (!Number.isInteger(found) || found < min || found > max) {
    throw new RangeError(`${cannotRead(file, key)} is ${found}, want a whole number from ${min} to ${max}`);
  }
  return found;
}

/** The list of strings at `key`, or undefined. @throws {TypeError} on another type. */
export function getStrings(file: Metadata, key: string): GgufStrings | undefined {
  const found = file.metadata.get(key);
  if (!found) return undefined;
  if (found.type !== "array" || found.of !== "string")
    throw mismatch(file, key, found, "an array of strings");
  return isGgufStrings(found.value) ? found.value : encodeStrings(found.value);
}

/**
 * The list of numbers (or booleans, as 0 and 1) at `key`, or undefined; 64-bit integers become numbers.
 * @throws {TypeError} on another type. @throws {RangeError} on an integer beyond 2^53 - 1.
 */
export function getNumbers(
  file: Metadata,
  key: string,
): Exclude<GgufNumbers, BigUint64Array | BigInt64Array> | undefined {
  const found = file.metadata.get(key);
  if (!found) return undefined;
  if (found.type !== "array" || found.of === "string")
    throw mismatch(file, key, found, "an array of numbers");
  const { value } = found;
  if (!(value instanceof BigUint64Array || value instanceof BigInt64Array)) return value;
  return Float64Array.from(value as Iterable<bigint>, (x) => safeNumber(file, key, x));
}

/**
 * What `get` finds, or an error when the file lacks the key: `want(getInteger(file, key), file, key)`.
 * @throws {RangeError} when `value` is undefined.
 */
export function required<T>(value: T | undefined, file: Metadata, key: string): T {
  if (value === undefined) throw new RangeError(`${cannotRead(file, key)} is missing`);
  return value;
}

/** Strings over one block of UTF-8; `ends[i]` is the end of string `i`, each preceded by `gap` bytes. */
export class PackedStrings implements GgufStrings {
  readonly length: number;
  readonly #bytes: Uint8Array;
  readonly #ends: Uint32Array;
  readonly #gap: number;

  constructor(bytes: Uint8Array, ends: Uint32Array, gap: number) {
    this.length = ends.length;
    this.#bytes = bytes;
    this.#ends = ends;
    this.#gap = gap;
  }

  bytesAt(i: number): Uint8Array {
    const [start, end] = this.#range(i);
    return this.#bytes.subarray(start, end);
  }

  at(i: number): string {
    const [start, end] = this.#range(i);
    return decodeUtf8(this.#bytes, start, end);
  }

  toArray(): string[] {
    return Array.from(this);
  }

  *[Symbol.iterator](): Generator<string, void, undefined> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }

  #range(i: number): [number, number] {
    if (!(i >= 0 && i < this.length)) {
      throw new RangeError(`Cannot take string ${i}, want an index from 0 to ${this.length - 1}`);
    }
    return [(i === 0 ? 0 : this.#ends[i - 1]!) + this.#gap, this.#ends[i]!];
  }
}

/** Strings of JavaScript as {@link GgufStrings}. */
export function encodeStrings(strings: readonly string[]): GgufStrings {
  const parts = strings.map((s) => new TextEncoder().encode(s));
  const ends = new Uint32Array(parts.length);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const [i, part] of parts.entries()) {
    bytes.set(part, at);
    ends[i] = at += part.length;
  }
  return new PackedStrings(bytes, ends, 0);
}

export function isGgufStrings(value: GgufStrings | readonly string[]): value is GgufStrings {
  return !Array.isArray(value);
}

// ignoreBOM keeps a leading U+FEFF, which is a token of its own in some vocabularies.
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/** Text of `bytes[start, end)`, with U+FFFD for what is not UTF-8. */
export function decodeUtf8(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= 24) {
    // Most tokens are a few ASCII letters, for which a TextDecoder's call costs more than its work.
    let text = "";
    let i = start;
    for (; i < end && bytes[i]! < 0x80; i++) text += String.fromCharCode(bytes[i]!);
    if (i === end) return text;
  }
  return lenient.decode(bytes.subarray(start, end));
}

function safeNumber(file: Metadata, key: string, value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) {
    throw new RangeError(
      `${cannotRead(file, key)} is ${value}, want at most 2^53 - 1 (${Number.MAX_SAFE_INTEGER}) in magnitude`,
    );
  }
  return number;
}

function mismatch(file: Metadata, key: string, found: GgufValue, wanted: string): TypeError {
  const is = found.type === "array" ? `an array of ${found.of}` : `${found.type} ${brief(found.value)}`;
  return new TypeError(`${cannotRead(file, key)} is ${is}, want ${wanted}`);
}

function brief(value: string | number | bigint | boolean): string {
  return typeof value === "string" ? quote(value) : String(value);
}

function cannotRead(file: Metadata, key: string): string {
  return `Cannot read ${JSON.stringify(file.name)}: ${quote(key)}`;
}
