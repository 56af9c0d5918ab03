// Finding a model: a folder, a GGUF file, or a hub name that is already in Hugging Face's cache. Nothing is
// downloaded; of a file only the first bytes are read.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { openFile, sniff } from "../formats/index.ts";
import { cachedSnapshot, hasUnfinished, hubCache, matchesQuant } from "../hub/cache.ts";
import { parseHubName } from "../hub/name.ts";

/** Where a model lies: a folder in Hugging Face's layout, or one GGUF file. */
export interface ResolvedModel {
  readonly kind: "folder" | "gguf";
  readonly path: string;
}

/**
 * @param nameOrPath a folder, a GGUF file, or `owner/name[:quant][@revision]` as the hub knows it
 * @throws {NotHere} when it is a hub name that is not in the cache
 * @throws {Error} when nothing of that name is there, or what is there is no model; says what was looked for.
 */
export async function resolveModel(
  nameOrPath: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<ResolvedModel> {
  const found = await stat(nameOrPath).catch(() => undefined);
  if (found?.isDirectory()) return inFolder(nameOrPath);
  if (found) return asFile(nameOrPath);
  const cannot = `Cannot open model ${JSON.stringify(nameOrPath)}: found no such file or folder`;
  const name = parseHubName(nameOrPath);
  if (!name) throw new Error(`${cannot}, wanted a folder, a GGUF file or a hub name like owner/name`);
  const cache = hubCache(env);
  const snapshot = await cachedSnapshot(cache, name);
  const toPull = `download it first, with: pith pull ${nameOrPath}`;
  if (!snapshot)
    throw new NotHere(`${cannot}, nor a snapshot of it in the hub cache ${JSON.stringify(cache)}; ${toPull}`);
  if (name.quant === undefined)
    return inFolder(snapshot).catch(async (error) => {
      if (!(await hasUnfinished(cache, name.repo))) throw error;
      throw new NotHere(
        `Cannot open model ${JSON.stringify(nameOrPath)}: its download is not finished; go on with: pith pull ${nameOrPath}`,
      );
    });
  const files = (await readdir(snapshot, { recursive: true }))
    .filter((file) => file.endsWith(".gguf"))
    .sort();
  const match = files.find((file) => matchesQuant(file, name.quant!));
  if (!match)
    throw new NotHere(`${cannot}; in the hub cache it has ${files.join(", ") || "no GGUF file"}; ${toPull}`);
  return { kind: "gguf", path: join(snapshot, match) };
}

/** A hub name that is not in the cache: it could be downloaded. */
export class NotHere extends Error {}

/** A file is what its first bytes say, whatever its name. */
async function asFile(path: string): Promise<ResolvedModel> {
  const source = await openFile(path);
  try {
    if ((await sniff(source)) === "gguf") return { kind: "gguf", path };
  } finally {
    await source.close();
  }
  throw new TypeError(
    `Cannot open model ${JSON.stringify(path)}: found a safetensors file, wanted a folder or a GGUF file; give the folder that it lies in`,
  );
}

/** Files that hold pickled objects. */
const PICKLE = /\.(bin|pt|pth|ckpt|pkl)$/;
const PICKLE_HINT =
  "a pickle can run code when it is opened; convert the weights to safetensors where you trust it";

async function inFolder(path: string): Promise<ResolvedModel> {
  const names = (await readdir(path)).sort();
  const cannot = `Cannot open model ${JSON.stringify(path)}: `;
  if (names.includes("config.json")) {
    if (names.some((name) => name.endsWith(".safetensors"))) return { kind: "folder", path };
    const pickle = names.find((name) => PICKLE.test(name));
    if (pickle)
      throw new TypeError(
        `${cannot}found weights only in ${JSON.stringify(pickle)}, wanted *.safetensors; ${PICKLE_HINT}`,
      );
  }
  const gguf = names.filter((name) => name.endsWith(".gguf"));
  if (gguf.length === 1) return { kind: "gguf", path: join(path, gguf[0]!) };
  if (gguf.length > 1)
    throw new Error(
      `${cannot}found ${gguf.length} GGUF files, wanted one; name one of ${gguf.slice(0, 20).join(", ")}`,
    );
  const missing = names.includes("config.json") ? "*.safetensors" : "config.json";
  throw new Error(
    `${cannot}${missing} is missing; found ${names.slice(0, 20).join(", ") || "an empty folder"}`,
  );
}
