// Writes safetensors: one file, or shards with an index as the Hugging Face tools write them. Tensors are
// streamed: one at a time, in pieces if their data comes so.

import { unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { countElements, STORAGE_TYPES, storageBytes } from "./storage.ts";
import type { TensorToWrite, WriteProgress } from "./types.ts";
import { type StagedFile, stageFile, tensorPieces } from "./write.ts";

const MAX_HEADER_BYTES = 100_000_000;

export interface WriteSafetensorsOptions {
  /** `__metadata__`. Default `{format: "pt"}`, which transformers asks for. */
  readonly metadata?: ReadonlyMap<string, string>;
  /**
   * Most bytes of tensors in one file; when there are more, `model.safetensors` becomes
   * `model-00001-of-00003.safetensors` and so on, with `model.safetensors.index.json`. Default: one file.
   * A tensor that is larger by itself gets a file of its own.
   */
  readonly maxShardBytes?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WriteProgress) => void;
}

interface Sized {
  readonly tensor: TensorToWrite;
  readonly bytes: number;
}

/**
 * Writes `tensors` to the file `path`, which ends in `.safetensors`, or to shards beside it. Each file is written
 * whole under a temporary name first, and gets its name when all are there.
 * @throws {TypeError | RangeError} on a name twice, a type safetensors has none for, or data of the wrong
 *   length; nothing is changed at `path` then.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  options: WriteSafetensorsOptions = {},
): Promise<void> {
  const { metadata = new Map([["format", "pt"]]), maxShardBytes = Infinity, signal, onProgress } = options;
  if (!path.endsWith(".safetensors")) {
    throw new RangeError(`Cannot write ${JSON.stringify(path)}: want a name that ends in .safetensors`);
  }
  if (!(maxShardBytes > 0)) throw new RangeError(`maxShardBytes is ${maxShardBytes}, want more than 0`);
  const sized = tensors.map((tensor) => ({ tensor, bytes: bytesOf(path, tensor) }));
  checkNames(path, tensors);
  const totalBytes = sized.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  const finished = ({ tensor, bytes }: Sized) => {
    done += bytes;
    onProgress?.({ tensor: tensor.name, bytes: done, totalBytes });
  };

  const shards = split(sized, maxShardBytes);
  const staged: StagedFile[] = [];
  try {
    const names = shards.map((_, i) => shardName(path, i, shards.length));
    for (const [i, shard] of shards.entries()) {
      const file = join(dirname(path), names[i]!);
      staged.push(await stageFile(file, fileContent(file, shard, metadata, finished), signal));
    }
    if (shards.length > 1) {
      const weightMap = shards.flatMap((shard, i) =>
        shard.map(({ tensor }) => [tensor.name, names[i]!] as const),
      );
      const index = new TextEncoder().encode(indexJson(totalBytes, weightMap));
      staged.push(await stageFile(`${path}.index.json`, [index], signal));
    }
    for (const file of staged) await file.commit();
    // A single file left from before would be read in place of the shards.
    if (shards.length > 1) await unlink(path).catch(() => {});
  } finally {
    for (const file of staged) await file.discard();
  }
}

async function* fileContent(
  path: string,
  shard: readonly Sized[],
  metadata: ReadonlyMap<string, string>,
  finished: (one: Sized) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  // Wide elements first, as the reference writer does, so that every tensor is aligned to its element.
  const ordered = shard.toSorted((a, b) => elementBytes(b) - elementBytes(a));
  yield header(path, ordered, metadata);
  for (const one of ordered) {
    yield* tensorPieces(path, one.tensor, one.bytes);
    finished(one);
  }
}

function header(path: string, ordered: readonly Sized[], metadata: ReadonlyMap<string, string>): Uint8Array {
  const entries: string[] = [];
  if (metadata.size > 0) entries.push(`"__metadata__":${jsonObject([...metadata])}`);
  let begin = 0;
  for (const { tensor, bytes } of ordered) {
    const entry = {
      dtype: STORAGE_TYPES[tensor.type].dtype,
      shape: tensor.shape,
      data_offsets: [begin, begin + bytes],
    };
    entries.push(`${JSON.stringify(tensor.name)}:${JSON.stringify(entry)}`);
    begin += bytes;
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new RangeError(
      `Cannot write ${JSON.stringify(path)}: its header takes ${length} bytes, want at most ${MAX_HEADER_BYTES}`,
    );
  }
  const out = new Uint8Array(8 + length).fill(0x20);
  new DataView(out.buffer).setBigUint64(0, BigInt(length), true);
  out.set(json, 8);
  return out;
}

/** Runs of tensors in order, each at most `maxBytes` unless it is one tensor; at least one run. */
function split(sized: readonly Sized[], maxBytes: number): Sized[][] {
  const shards: Sized[][] = [[]];
  let filled = 0;
  for (const one of sized) {
    if (filled + one.bytes > maxBytes && filled > 0) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(one);
    filled += one.bytes;
  }
  return shards;
}

function shardName(path: string, i: number, count: number): string {
  const name = basename(path);
  if (count === 1) return name;
  const digits = (n: number) => String(n).padStart(5, "0");
  return `${name.slice(0, -".safetensors".length)}-${digits(i + 1)}-of-${digits(count)}.safetensors`;
}

function indexJson(totalSize: number, weightMap: readonly (readonly [string, string])[]): string {
  return `{"metadata":{"total_size":${totalSize}},"weight_map":${jsonObject(weightMap)}}\n`;
}

/** JSON of an object by its entries; an object literal would lose a key such as `__proto__`. */
function jsonObject(entries: readonly (readonly [string, string])[]): string {
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`;
}

function elementBytes({ tensor }: Sized): number {
  const { blockSize, blockBytes } = STORAGE_TYPES[tensor.type];
  return blockBytes / blockSize;
}

function bytesOf(path: string, { name, type, shape }: TensorToWrite): number {
  const action = `Cannot write ${JSON.stringify(path)}: tensor ${JSON.stringify(name)}`;
  if (STORAGE_TYPES[type].dtype === undefined) {
    throw new TypeError(
      `${action} has type ${type}, want one that safetensors has, such as f32, f16 or bf16`,
    );
  }
  const sizes = shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  const elements = sizes ? countElements(shape) : undefined;
  const bytes = elements === undefined ? undefined : storageBytes(type, elements);
  if (bytes === undefined)
    throw new RangeError(`${action} has shape [${shape}], want whole numbers of bytes`);
  return bytes;
}

function checkNames(path: string, tensors: readonly TensorToWrite[]): void {
  const seen = new Set(["__metadata__"]);
  for (const { name } of tensors) {
    if (seen.has(name)) {
      throw new RangeError(
        `Cannot write ${JSON.stringify(path)}: tensor name ${JSON.stringify(name)} is taken, want each name once`,
      );
    }
    seen.add(name);
  }
}
