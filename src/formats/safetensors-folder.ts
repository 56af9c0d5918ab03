// Opens the weights of a Hugging Face folder: one safetensors file, or shards and the index that names them.

import { join } from "node:path";
import { decodeText, quote, wrongField as wrong } from "./errors.ts";
import { describeJson as describe, isObject, parseJson } from "./json.ts";
import { readSafetensors, type SafetensorsFile } from "./safetensors.ts";
import { exists, openFile, type Source } from "./source.ts";
import type { TensorInfo } from "./types.ts";

const MAX_INDEX_BYTES = 100_000_000;
/** All shards are open at once, and a process may commonly hold 1,024 files. */
const MAX_SHARDS = 900;

export interface SafetensorsFolder extends SafetensorsFile {
  /** The open files, in the order of their names. */
  readonly sources: readonly Source[];
  /** Closes all of them. */
  close(): Promise<void>;
}

/**
 * Opens the weights of a Hugging Face folder: `model.safetensors`, else the shards that
 * `model.safetensors.index.json` names, of which the tensors in its `weight_map` are given.
 * @throws {Error} when the folder has neither. @throws {SyntaxError} as {@link readSafetensors}.
 */
export async function readSafetensorsFolder(dir: string): Promise<SafetensorsFolder> {
  const single = join(dir, "model.safetensors");
  const index = join(dir, "model.safetensors.index.json");
  const sources: Source[] = [];
  const close = async () => {
    await Promise.all(sources.map((source) => source.close()));
  };
  const openNext = async (path: string) => {
    const source = await openFile(path);
    sources.push(source);
    return source;
  };
  try {
    if (await exists(single)) return { ...(await readSafetensors(await openNext(single))), sources, close };
    if (!(await exists(index))) {
      throw new Error(
        `Cannot open ${JSON.stringify(dir)}: it has neither model.safetensors nor model.safetensors.index.json`,
      );
    }
    const weightMap = await readWeightMap(index);
    const shards = new Map<string, SafetensorsFile>();
    for (const shard of [...new Set(weightMap.values())].sort()) {
      shards.set(shard, await readSafetensors(await openNext(join(dir, shard))));
    }
    const tensors = new Map<string, TensorInfo>();
    for (const [name, shard] of weightMap) {
      const tensor = shards.get(shard)!.tensors.get(name);
      if (!tensor) {
        throw new SyntaxError(
          `Cannot read ${JSON.stringify(join(dir, shard))}: tensor ${quote(name)} is missing, which ${JSON.stringify(index)} places there`,
        );
      }
      tensors.set(name, tensor);
    }
    const metadata = new Map([...shards.values()].flatMap((shard) => [...shard.metadata]));
    return { tensors, metadata, sources, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function readWeightMap(path: string): Promise<Map<string, string>> {
  const source = await openFile(path);
  try {
    if (source.size > MAX_INDEX_BYTES) {
      throw wrong(source, "size", source.size, `at most ${MAX_INDEX_BYTES}`);
    }
    const index = parseJson(decodeText(source, "text", await source.read(0, source.size)), path);
    const found = isObject(index) ? index.weight_map : undefined;
    if (!isObject(found)) throw wrong(source, `"weight_map"`, describe(found), "an object");
    const weightMap = new Map<string, string>();
    for (const [name, shard] of Object.entries(found)) {
      // A shard is a file of this folder: a name with a path in it could reach any file of the machine.
      if (typeof shard !== "string" || !/^[^/\\\0]+\.safetensors$/.test(shard)) {
        throw wrong(
          source,
          `shard of tensor ${quote(name)}`,
          describe(shard),
          "a name like model-00001-of-00002.safetensors",
        );
      }
      weightMap.set(name, shard);
    }
    const shards = new Set(weightMap.values()).size;
    if (shards > MAX_SHARDS) throw wrong(source, "number of shards", shards, `at most ${MAX_SHARDS}`);
    return weightMap;
  } finally {
    await source.close();
  }
}
