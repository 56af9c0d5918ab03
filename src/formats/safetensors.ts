// Reads one safetensors file. Trusts no byte: the tensors must cover the data exactly, without a hole, an overlap
// or a byte to spare, as the format asks.
//
//   u64 length of the header | header: JSON, padded with spaces | data
//   {"__metadata__": {string: string}, name: {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
//
// Format: https://github.com/huggingface/safetensors#format

import { decodeText, quote, wrongField as wrong } from "./errors.ts";
import { describeJson as describe, isObject, type Json, parseJson } from "./json.ts";
import { notA } from "./sniff.ts";
import type { Source } from "./source.ts";
import { countElements, storageBytes, storageTypeOfDtype } from "./storage.ts";
import type { TensorInfo } from "./types.ts";

/** The format's own limit. */
const MAX_HEADER_BYTES = 100_000_000;
const MAX_TENSORS = 100_000;
const MAX_DIMS = 8;

export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The `__metadata__` entry. */
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Reads the header of one safetensors file; no tensor is read. The source stays open and the caller's to close.
 * @throws {SyntaxError} naming the file, the field, the value found and the value wanted.
 */
export async function readSafetensors(source: Source): Promise<SafetensorsFile> {
  const head = await source.read(0, Math.min(512, source.size));
  if (head.length < 9 || head[8] !== 0x7b) throw notA("safetensors file", source, head);
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  const most = Math.min(MAX_HEADER_BYTES, source.size - 8);
  if (length > BigInt(most)) throw wrong(source, "length of the header", length, `at most ${most}`);

  const dataStart = 8 + Number(length);
  const header = parseJson(decodeText(source, "header", await source.read(8, Number(length))), source.name);
  if (!isObject(header)) throw wrong(source, "header", describe(header), "a JSON object");
  const entries = Object.entries(header);
  if (entries.length > MAX_TENSORS) {
    throw wrong(source, "number of tensors", entries.length, `at most ${MAX_TENSORS}`);
  }
  let metadata = new Map<string, string>();
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of entries) {
    if (name === "__metadata__") metadata = readMetadata(source, entry);
    else tensors.set(name, readTensorEntry(source, name, entry, dataStart));
  }
  checkCovered(source, tensors, dataStart);
  return { tensors, metadata };
}

function readMetadata(source: Source, found: Json): Map<string, string> {
  if (!isObject(found)) throw wrong(source, `"__metadata__"`, describe(found), "an object of strings");
  const metadata = new Map<string, string>();
  for (const [key, value] of Object.entries(found)) {
    if (typeof value !== "string") {
      throw wrong(source, `${quote(key)} in "__metadata__"`, describe(value), "a string");
    }
    metadata.set(key, value);
  }
  return metadata;
}

function readTensorEntry(source: Source, name: string, entry: Json, dataStart: number): TensorInfo {
  const what = `of tensor ${quote(name)}`;
  if (!isObject(entry)) throw wrong(source, `entry ${what}`, describe(entry), "an object");
  for (const key of Object.keys(entry)) {
    if (key !== "dtype" && key !== "shape" && key !== "data_offsets") {
      throw wrong(source, `entry ${what}`, `with ${quote(key)}`, "dtype, shape and data_offsets alone");
    }
  }
  const { dtype, shape, data_offsets: offsets } = entry;
  const type = typeof dtype === "string" ? storageTypeOfDtype(dtype) : undefined;
  if (!type) throw wrong(source, `dtype ${what}`, describe(dtype), `a dtype of safetensors, such as "BF16"`);

  if (!isSizes(shape) || shape.length > MAX_DIMS) {
    throw wrong(source, `shape ${what}`, describe(shape), `at most ${MAX_DIMS} whole numbers`);
  }
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    throw wrong(source, `data_offsets ${what}`, describe(offsets), "[begin, end] with begin <= end");
  }
  const [begin, end] = offsets as [number, number];
  if (dataStart + end > source.size) {
    throw wrong(
      source,
      `data_offsets ${what}`,
      describe(offsets),
      `an end up to ${source.size - dataStart}, the size of the data`,
    );
  }
  const elements = countElements(shape);
  const bytes = elements === undefined ? undefined : storageBytes(type, elements);
  if (bytes !== end - begin) {
    throw wrong(
      source,
      `data_offsets ${what}`,
      `${end - begin} bytes long`,
      `${bytes ?? "a possible number of"} bytes, from ${dtype} ${describe(shape)}`,
    );
  }
  return { name, type, shape, offset: dataStart + begin, bytes, source };
}

/** Every byte of the data belongs to one tensor: what no reader looks at could be another file. */
function checkCovered(source: Source, tensors: ReadonlyMap<string, TensorInfo>, dataStart: number): void {
  let at = dataStart;
  const ordered = [...tensors.values()].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  for (const { name, offset, bytes } of ordered) {
    if (offset !== at) {
      throw wrong(
        source,
        `begin of tensor ${quote(name)}`,
        offset - dataStart,
        `${at - dataStart}, where the tensor before it ends`,
      );
    }
    at += bytes;
  }
  if (at !== source.size) {
    throw wrong(
      source,
      "size of the data",
      source.size - dataStart,
      `${at - dataStart}, where its last tensor ends`,
    );
  }
}

function isSizes(value: Json | undefined): value is number[] {
  return Array.isArray(value) && value.every((x) => Number.isSafeInteger(x) && (x as number) >= 0);
}
