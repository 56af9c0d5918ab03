// Finding a model: a folder, a GGUF file, or a hub name that is already in Hugging Face's cache. Nothing is
// downloaded; of a file only the first bytes are read.

import { readdir, readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { openFile, sniff } from "../formats/index.ts";

/** Where a model lies: a folder in Hugging Face's layout, or one GGUF file. */
export interface ResolvedModel {
  readonly kind: "folder" | "gguf";
  readonly path: string;
}

/**
 * @param nameOrPath a folder, a GGUF file, or `owner/name` as the hub knows it
 * @throws {Error} when nothing of that name is there, or what is there is no model; says what was looked for.
 */
export async function resolveModel(
  nameOrPath: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<ResolvedModel> {
  const found = await stat(nameOrPath).catch(() => undefined);
  if (found?.isDirectory()) return inFolder(nameOrPath);
  if (found) return asFile(nameOrPath);
  const hub = hubCache(env);
  const inCache = hubFolder(hub, nameOrPath);
  if (!inCache)
    throw new Error(
      `Cannot open model ${JSON.stringify(nameOrPath)}: found no such file or folder, wanted a folder, a GGUF file or a hub name like owner/name`,
    );
  const snapshot = await snapshotOf(inCache);
  if (!snapshot)
    throw new Error(
      `Cannot open model ${JSON.stringify(nameOrPath)}: found no such file or folder, nor a snapshot of it in the hub cache ${JSON.stringify(hub)}; download it first, with: hf download ${nameOrPath}`,
    );
  return inFolder(snapshot);
}

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

/** The hub cache by Hugging Face's variables: HF_HUB_CACHE, then HF_HOME, then XDG_CACHE_HOME, then ~/.cache. */
export function hubCache(env: NodeJS.ProcessEnv = process.env): string {
  if (env.HF_HUB_CACHE) return env.HF_HUB_CACHE;
  if (env.HUGGINGFACE_HUB_CACHE) return env.HUGGINGFACE_HUB_CACHE;
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
  return join(home, "hub");
}

/** `models--owner--name` in the cache, or undefined when `name` cannot be a hub name. */
function hubFolder(hub: string, name: string): string | undefined {
  const valid = /^[A-Za-z0-9_][\w.-]{0,95}(\/[A-Za-z0-9_][\w.-]{0,95})?$/.test(name) && !name.includes("..");
  return valid ? join(hub, `models--${name.replace("/", "--")}`) : undefined;
}

/** The folder of revision `main`, or of the only snapshot there is. */
async function snapshotOf(folder: string): Promise<string | undefined> {
  const ref = await readFile(join(folder, "refs", "main"), "utf8").catch(() => "");
  const commit = ref.trim();
  if (/^[0-9a-f]{7,64}$/.test(commit)) {
    const path = join(folder, "snapshots", commit);
    if ((await stat(path).catch(() => undefined))?.isDirectory()) return path;
  }
  const all = await readdir(join(folder, "snapshots")).catch(() => []);
  return all.length === 1 ? join(folder, "snapshots", all[0]!) : undefined;
}
