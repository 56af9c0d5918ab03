// The hub cache as huggingface_hub lays it out, shared with Python: where things lie, what is there, removing it.
// Layout (huggingface.co/docs/huggingface_hub/guides/manage-cache):
//   models--owner--name/refs/<revision>            the commit's id
//   models--owner--name/blobs/<etag>               contents; <etag>.incomplete while they come
//   models--owner--name/snapshots/<commit>/<file>  relative links to blobs (copies where links cannot be made)

import { lstat, readdir, readFile, readlink, rm, stat, unlink } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type HubName, hubName, quantOf } from "./name.ts";

/** The hub cache by Hugging Face's variables: HF_HUB_CACHE, then HF_HOME, then XDG_CACHE_HOME, then ~/.cache. */
export function hubCache(env: NodeJS.ProcessEnv = process.env): string {
  if (env.HF_HUB_CACHE) return env.HF_HUB_CACHE;
  if (env.HUGGINGFACE_HUB_CACHE) return env.HUGGINGFACE_HUB_CACHE;
  return join(hubHome(env), "hub");
}

/** HF_HOME, else its default. */
export function hubHome(env: NodeJS.ProcessEnv = process.env): string {
  return env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
}

/** The folder of a repository in the cache. */
export function repoFolder(cache: string, repo: string): string {
  return join(cache, `models--${repo.replace("/", "--")}`);
}

/** The snapshot's folder of a revision that is in the cache: by its ref, by its commit, or, for "main", the only one. */
export async function cachedSnapshot(
  cache: string,
  { repo, revision }: HubName,
): Promise<string | undefined> {
  const folder = repoFolder(cache, repo);
  const ref = await readFile(join(folder, "refs", revision), "utf8").catch(() => "");
  const commit = ref.trim() || revision;
  if (/^[0-9a-f]{7,64}$/.test(commit)) {
    const path = join(folder, "snapshots", commit);
    if ((await stat(path).catch(() => undefined))?.isDirectory()) return path;
  }
  if (revision !== "main" || ref) return undefined;
  const all = await readdir(join(folder, "snapshots")).catch(() => []);
  return all.length === 1 ? join(folder, "snapshots", all[0]!) : undefined;
}

/** Whether a download of the repository was stopped in the middle. */
export async function hasUnfinished(cache: string, repo: string): Promise<boolean> {
  const blobs = await readdir(join(repoFolder(cache, repo), "blobs")).catch(() => []);
  return blobs.some((name) => name.endsWith(".incomplete"));
}

export interface CachedFile {
  /** Relative to the snapshot, with "/". */
  readonly path: string;
  readonly bytes: number;
}

export interface CachedModel {
  /** `owner/name` */
  readonly name: string;
  readonly revisions: readonly {
    readonly commit: string;
    /** Branches and tags that point to it. */
    readonly refs: readonly string[];
    readonly path: string;
    readonly files: readonly CachedFile[];
  }[];
  /** Quantizations that GGUF files of it state. */
  readonly quants: readonly string[];
  /** On the disk, each content once, unfinished downloads included. */
  readonly bytes: number;
  /** Of these, what unfinished downloads hold. */
  readonly incompleteBytes: number;
  /** When anything of it was last written, in milliseconds since 1970. */
  readonly modified: number;
}

/** The models in the cache, by name. An absent cache holds none. */
export async function listModels(options: { cache?: string } = {}): Promise<CachedModel[]> {
  const cache = options.cache ?? hubCache();
  const folders = (await readdir(cache).catch(() => []))
    .filter((name) => /^models--[^/]+$/.test(name))
    .sort();
  const models = await Promise.all(folders.map((folder) => readModel(cache, folder)));
  return models.filter((model) => model.revisions.length > 0 || model.bytes > 0);
}

async function readModel(cache: string, folder: string): Promise<CachedModel> {
  const path = join(cache, folder);
  const refs = new Map<string, string[]>();
  for (const file of await walk(join(path, "refs"))) {
    const commit = (await readFile(join(path, "refs", file), "utf8").catch(() => "")).trim();
    refs.set(commit, [...(refs.get(commit) ?? []), file]);
  }
  const revisions: CachedModel["revisions"][number][] = [];
  for (const commit of (await readdir(join(path, "snapshots")).catch(() => [])).sort()) {
    const snapshot = join(path, "snapshots", commit);
    const files: CachedFile[] = [];
    for (const file of await walk(snapshot)) {
      const found = await stat(join(snapshot, file)).catch(() => undefined);
      if (found?.isFile()) files.push({ path: file, bytes: found.size });
    }
    revisions.push({ commit, refs: refs.get(commit) ?? [], path: snapshot, files });
  }
  let bytes = 0;
  let incompleteBytes = 0;
  let modified = 0;
  for (const name of await readdir(join(path, "blobs")).catch(() => [])) {
    const found = await stat(join(path, "blobs", name)).catch(() => undefined);
    if (!found?.isFile()) continue;
    bytes += found.size;
    if (name.endsWith(".incomplete")) incompleteBytes += found.size;
    modified = Math.max(modified, found.mtimeMs);
  }
  const quants = revisions.flatMap((r) =>
    r.files.flatMap((f) => (isGguf(f.path) ? (quantOf(f.path) ?? []) : [])),
  );
  return {
    name: folder.slice("models--".length).replace("--", "/"),
    revisions,
    quants: [...new Set(quants)].sort(),
    bytes,
    incompleteBytes,
    modified,
  };
}

export function isGguf(file: string): boolean {
  return /\.gguf$/i.test(file);
}

/** Files below a folder, relative, with "/", sorted; links are not followed into folders. */
async function walk(folder: string, below = ""): Promise<string[]> {
  const entries = await readdir(join(folder, below), { withFileTypes: true }).catch(() => []);
  const nested = entries.map((entry) => {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    return entry.isDirectory() ? walk(folder, path) : [path];
  });
  return (await Promise.all(nested)).flat().sort();
}

export interface RemoveResult {
  readonly name: string;
  readonly files: number;
  /** Freed on the disk. */
  readonly bytes: number;
}

/**
 * Removes a model from the cache: all of it, the files of one quantization (`owner/name:Q4_K_M`), or one revision
 * (`owner/name@v1`). A content that another revision links to stays.
 * @throws {Error} when it is not there
 */
export async function removeModel(text: string, options: { cache?: string } = {}): Promise<RemoveResult> {
  const cache = options.cache ?? hubCache();
  const name = hubName(text, "remove");
  const folder = repoFolder(cache, name.repo);
  const found = (await listModels({ cache })).find((model) => model.name === name.repo);
  if (!found)
    throw new Error(
      `Cannot remove ${JSON.stringify(text)}: it is not in the hub cache ${JSON.stringify(cache)}; see: pith list`,
    );
  const named = /@/.test(text);
  if (name.quant === undefined && !named) {
    await rm(folder, { recursive: true });
    await rm(join(cache, ".locks", folder.slice(cache.length + 1)), { recursive: true, force: true });
    return {
      name: found.name,
      files: new Set(found.revisions.flatMap((r) => r.files.map((f) => f.path))).size,
      bytes: found.bytes,
    };
  }
  const revisions = found.revisions.filter(
    (r) => !named || r.commit.startsWith(name.revision) || r.refs.includes(name.revision),
  );
  const wanted = revisions.flatMap((r) =>
    r.files
      .filter((f) => name.quant === undefined || (isGguf(f.path) && matchesQuant(f.path, name.quant)))
      .map((f) => join(r.path, f.path)),
  );
  if (wanted.length === 0)
    throw new Error(
      `Cannot remove ${JSON.stringify(text)}: found ${found.quants.join(", ") || "no GGUF files"} in revisions ${found.revisions.map((r) => r.refs[0] ?? r.commit.slice(0, 12)).join(", ")}, wanted one of them`,
    );
  for (const path of wanted) await unlink(path);
  if (name.quant === undefined)
    for (const revision of revisions) {
      await rm(revision.path, { recursive: true });
      for (const ref of revision.refs) await unlink(join(folder, "refs", ref));
    }
  return { name: text, files: wanted.length, bytes: await dropUnlinked(folder) };
}

/** Removes blobs that no snapshot links to; the bytes freed. */
async function dropUnlinked(folder: string): Promise<number> {
  const blobs = join(folder, "blobs");
  const linked = new Set<string>();
  for (const file of await walk(join(folder, "snapshots"))) {
    const link = await readlink(join(folder, "snapshots", file)).catch(() => undefined);
    if (link) linked.add(resolve(dirname(join(folder, "snapshots", file)), link));
  }
  let bytes = 0;
  for (const name of await readdir(blobs).catch(() => [])) {
    const path = join(blobs, name);
    const found = await lstat(path);
    if (linked.has(path) || !found.isFile()) continue;
    await unlink(path);
    bytes += found.size;
  }
  return bytes;
}

/** Whether a GGUF file is of a quantization, whatever the case: by its name's last part, or as one of its parts. */
export function matchesQuant(file: string, quant: string): boolean {
  const wanted = quant.toUpperCase();
  if (quantOf(file) === wanted) return true;
  const base = file.slice(file.lastIndexOf("/") + 1).toUpperCase();
  return base
    .replace(/\.GGUF$/, "")
    .split(/[-.]/)
    .includes(wanted);
}
