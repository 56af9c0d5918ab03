// Reads the header of a GGUF file (version 2 or 3, little-endian): metadata and where the tensors lie.
// Trusts no byte: every count, length, type and offset is checked against a limit and against the file.
//
//   "GGUF" | u32 version | u64 tensors | u64 pairs
//   pairs    x (string key | u32 type | value)         string = u64 length | UTF-8;  array = u32 type | u64 n | n values
//   tensors  x (string name | u32 n | n x u64 dims, innermost first | u32 type | u64 offset from the data's start)
//   padding to the alignment | data
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

import { quote } from "./errors.ts";
import {
  GGUF_NUMBER_ARRAYS,
  GGUF_TYPE_NAMES,
  type GgufFile,
  type GgufValue,
  PackedStrings,
} from "./gguf-values.ts";
import { HeaderReader } from "./header-reader.ts";
import { notA } from "./sniff.ts";
import type { Source } from "./source.ts";
import { countElements, STORAGE_TYPES, storageBytes, storageTypeOfGgml } from "./storage.ts";
import type { TensorInfo } from "./types.ts";

const MAX_PAIRS = 100_000;
const MAX_TENSORS = 100_000;
/** The specification's limit for keys; names get the same. */
const MAX_NAME_BYTES = 65_535;
const MAX_STRING_BYTES = 16 * 2 ** 20;
const MAX_ARRAY_ELEMENTS = 4 * 2 ** 20;
const MAX_DIMS = 4;
const MAX_ALIGNMENT = 2 ** 20;
const DEFAULT_ALIGNMENT = 32;

/**
 * Reads the header of a GGUF file; no tensor is read. The source stays open and the caller's to close.
 * @throws {SyntaxError} naming the file, the field, the value found and the value wanted.
 */
export async function readGguf(source: Source): Promise<GgufFile> {
  const head = await source.read(0, Math.min(512, source.size));
  if (String.fromCharCode(...head.subarray(0, 4)) !== "GGUF") throw notA("GGUF file", source, head);

  const reader = new HeaderReader(source);
  await reader.uint32("magic");
  const version = await reader.uint32("version");
  if (version !== 2 && version !== 3) {
    const swapped = version !== 0 && (version & 0xffff) === 0;
    throw reader.error("version", swapped ? "big-endian" : version, "2 or 3, little-endian");
  }
  const tensorCount = await reader.size("number of tensors", MAX_TENSORS);
  const pairCount = await reader.size("number of metadata pairs", MAX_PAIRS);
  reader.checkRoom(tensorCount, 24, "number of tensors");
  reader.checkRoom(pairCount, 13, "number of metadata pairs");

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < pairCount; i++) {
    const key = await reader.string(`key ${i}`, MAX_NAME_BYTES, true);
    if (key === "") throw reader.error(`key ${i}`, "empty", "a name");
    if (metadata.has(key)) throw reader.error(`key ${i}`, `${quote(key)} again`, "each key once");
    metadata.set(key, await readValue(reader, quote(key)));
  }
  refuseParts(reader, metadata.get("split.count"));
  const alignment = alignmentOf(reader, metadata.get("general.alignment"));
  const headers: TensorHeader[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const header = await readTensorHeader(reader, i);
    if (names.has(header.name)) {
      throw reader.error(`name of tensor ${i}`, `${quote(header.name)} again`, "each name once");
    }
    names.add(header.name);
    headers.push(header);
  }
  const dataStart = Math.ceil(reader.position / alignment) * alignment;
  const tensors = placeTensors(reader, source, headers, dataStart, alignment);
  return { name: source.name, version, alignment, metadata, tensors };
}

async function readValue(reader: HeaderReader, what: string): Promise<GgufValue> {
  const type = await readType(reader, what);
  if (type === "string") return { type, value: await reader.string(what, MAX_STRING_BYTES, false) };
  if (type === "bool") return { type, value: (await readBools(reader, 1, what))[0] === 1 };
  if (type !== "array") {
    const value = (await readNumbers(reader, type, 1, what))[0]!;
    return { type, value } as GgufValue; // uint64 and int64 are bigint, the others number, by construction
  }
  const of = await readType(reader, `element of ${what}`);
  if (of === "array") throw reader.error(`element type of ${what}`, "array", "no array within an array");
  const count = await reader.size(`length of ${what}`, MAX_ARRAY_ELEMENTS);
  if (of === "string") {
    const { bytes, ends } = await reader.strings(count, what, MAX_STRING_BYTES);
    return { type, of, value: new PackedStrings(bytes, ends, 8) };
  }
  if (of === "bool") return { type, of, value: await readBools(reader, count, what) };
  return { type, of, value: await readNumbers(reader, of, count, what) };
}

async function readType(reader: HeaderReader, what: string): Promise<(typeof GGUF_TYPE_NAMES)[number]> {
  const number = await reader.uint32(`type of ${what}`);
  const type = GGUF_TYPE_NAMES[number];
  if (type === undefined) throw reader.error(`type of ${what}`, number, "0 to 12");
  return type;
}

async function readNumbers(
  reader: HeaderReader,
  type: keyof typeof GGUF_NUMBER_ARRAYS,
  count: number,
  what: string,
) {
  const Numbers = GGUF_NUMBER_ARRAYS[type];
  reader.checkRoom(count, Numbers.BYTES_PER_ELEMENT, `length of ${what}`);
  const bytes = await reader.bytes(count * Numbers.BYTES_PER_ELEMENT, what);
  return new Numbers(bytes.buffer, 0, count);
}

async function readBools(reader: HeaderReader, count: number, what: string): Promise<Uint8Array> {
  const bytes = await reader.bytes(count, what);
  const bad = bytes.find((byte) => byte > 1);
  if (bad !== undefined) throw reader.error(what, `the boolean ${bad}`, "0 or 1");
  return bytes;
}

function refuseParts(reader: HeaderReader, count: GgufValue | undefined): void {
  if (count && count.type !== "array" && Number(count.value) > 1) {
    throw reader.error(
      `"split.count"`,
      `${count.value}`,
      "the whole model in one file (llama-gguf-split --merge)",
    );
  }
}

function alignmentOf(reader: HeaderReader, found: GgufValue | undefined): number {
  if (!found) return DEFAULT_ALIGNMENT;
  const { type, value } = found;
  const wanted = `a power of two up to ${MAX_ALIGNMENT}, as uint32`;
  if (type !== "uint32") throw reader.error(`"general.alignment"`, `of type ${type}`, wanted);
  if (value < 1 || value > MAX_ALIGNMENT || (value & (value - 1)) !== 0) {
    throw reader.error(`"general.alignment"`, value, wanted);
  }
  return value;
}

interface TensorHeader extends Pick<TensorInfo, "name" | "type" | "shape" | "bytes"> {
  /** From the start of the data. */
  readonly offset: number;
}

async function readTensorHeader(reader: HeaderReader, i: number): Promise<TensorHeader> {
  const name = await reader.string(`name of tensor ${i}`, MAX_NAME_BYTES, true);
  const what = `of tensor ${quote(name)}`;
  const dimCount = await reader.uint32(`number of dimensions ${what}`);
  if (dimCount > MAX_DIMS) {
    throw reader.error(`number of dimensions ${what}`, dimCount, `at most ${MAX_DIMS}`);
  }
  const dims: number[] = [];
  for (let d = 0; d < dimCount; d++) {
    dims.push(await reader.size(`dimension ${d} ${what}`, Number.MAX_SAFE_INTEGER));
  }
  const number = await reader.uint32(`type ${what}`);
  const offset = await reader.size(`offset ${what}`, Number.MAX_SAFE_INTEGER);

  const type = storageTypeOfGgml(number);
  if (!type) throw reader.error(`type ${what}`, number, "a number that GGUF gives to a tensor type");
  const { blockSize } = STORAGE_TYPES[type];
  if ((dims[0] ?? 1) % blockSize !== 0) {
    throw reader.error(
      `row length ${what}`,
      dims[0] ?? 1,
      `a multiple of ${blockSize}, the block of ${type}`,
    );
  }
  const elements = countElements(dims);
  const bytes = elements === undefined ? undefined : storageBytes(type, elements);
  if (bytes === undefined) {
    throw reader.error(`shape ${what}`, dims.join(" x "), "at most 2^53 - 1 bytes in all");
  }
  return { name, type, shape: dims.reverse(), bytes, offset };
}

function placeTensors(
  reader: HeaderReader,
  source: Source,
  headers: readonly TensorHeader[],
  dataStart: number,
  alignment: number,
): Map<string, TensorInfo> {
  const tensors = new Map<string, TensorInfo>();
  for (const { name, type, shape, bytes, offset } of headers) {
    const what = `of tensor ${quote(name)}`;
    if (offset % alignment !== 0) throw reader.error(`offset ${what}`, offset, `a multiple of ${alignment}`);
    const end = dataStart + offset + bytes;
    if (end > source.size) {
      throw reader.error(`end ${what}`, `byte ${end}`, `at most ${source.size}, the size of the file`);
    }
    tensors.set(name, { name, type, shape, offset: dataStart + offset, bytes, source });
  }
  let last: TensorInfo | undefined;
  for (const tensor of [...tensors.values()].sort((a, b) => a.offset - b.offset)) {
    if (tensor.bytes === 0) continue;
    if (last && tensor.offset < last.offset + last.bytes) {
      throw reader.error(
        `offset of tensor ${quote(tensor.name)}`,
        tensor.offset - dataStart,
        `at least ${last.offset + last.bytes - dataStart}, where tensor ${quote(last.name)} ends`,
      );
    }
    last = tensor;
  }
  return tensors;
}
