// Bringing a model from the hub into the cache: list, choose, download in parallel, check, link, and only then name it.

import { randomBytes } from "node:crypto";
import { copyFile, link, mkdir, readlink, rename, rm, stat, statfs, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { writeFileAtomic } from "../formats/write.ts";
import { hubCache, isGguf, repoFolder } from "./cache.ts";
import { downloadBlob } from "./download.ts";
import { hubName } from "./name.ts";
import { Hub, type HubOptions, type RemoteFile } from "./remote.ts";
import { selectFiles } from "./select.ts";

export interface PullProgress {
  /** Of all files that were chosen, here already or come. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** Bytes that came over the network. */
  readonly fetchedBytes: number;
  /** The file that moved last. */
  readonly file: string;
}

export interface PullOptions extends HubOptions {
  /** Folder of the cache. Default: `hubCache()`. */
  readonly cache?: string;
  /** Files at a time. Default 4. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PullProgress) => void;
}

export interface PulledFile {
  readonly path: string;
  readonly bytes: number;
  /** What its content was found to hash to. */
  readonly digest: RemoteFile["digest"];
  /** Bytes that came over the network: 0 when it was here. */
  readonly fetchedBytes: number;
}

export interface PullResult {
  /** As it was asked for. */
  readonly name: string;
  readonly commit: string;
  /** What `loadModel` opens: the snapshot's folder, or the GGUF file in it. */
  readonly path: string;
  readonly files: readonly PulledFile[];
  readonly bytes: number;
  readonly fetchedBytes: number;
}

/**
 * Downloads a model: `owner/name[:quant][@revision]`. Stopped at any point it goes on where it was, without fetching a
 * byte twice; nothing has a name in the cache before its digest was found right.
 * @throws {TypeError} for what is no hub name
 * @throws {Error} when the hub refuses, has no such model, or gives other bytes than it states; when the disk is too small
 */
export async function pull(text: string, options: PullOptions = {}): Promise<PullResult> {
  const name = hubName(text, "pull");
  const hub = new Hub(options);
  const cache = options.cache ?? hubCache();
  const { commit, files: all } = await hub.revision(name, options.signal);
  const files = selectFiles(name, all);
  const folder = repoFolder(cache, name.repo);
  await checkRoom(text, folder, files);

  const totalBytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const here = new Map<string, number>();
  const fetched = new Map<string, number>();
  const sum = (map: ReadonlyMap<string, number>) => [...map.values()].reduce((a, b) => a + b, 0);
  const failing = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, failing.signal]) : failing.signal;

  const one = async (file: RemoteFile): Promise<PulledFile> => {
    const fetchedBytes = await downloadBlob(hub, name, commit, file, {
      folder,
      locks: join(cache, ".locks", folder.slice(cache.length + 1)),
      signal,
      onBytes(bytes, came) {
        here.set(file.path, bytes);
        fetched.set(file.path, came);
        options.onProgress?.({ bytes: sum(here), totalBytes, fetchedBytes: sum(fetched), file: file.path });
      },
    });
    await linkBlob(join(folder, "snapshots", commit, file.path), join(folder, "blobs", file.digest.hex));
    return { path: file.path, bytes: file.bytes, digest: file.digest, fetchedBytes };
  };
  const done = await inParallel(files, options.concurrency ?? 4, one, failing);

  // The name comes last: until then an older snapshot keeps it.
  if (name.revision !== commit) {
    const ref = join(folder, "refs", name.revision);
    await mkdir(dirname(ref), { recursive: true });
    await writeFileAtomic(ref, commit);
  }
  const snapshot = join(folder, "snapshots", commit);
  const gguf = files.find((file) => isGguf(file.path));
  return {
    name: text,
    commit,
    path: gguf ? join(snapshot, gguf.path) : snapshot,
    files: done,
    bytes: totalBytes,
    fetchedBytes: done.reduce((total, file) => total + file.fetchedBytes, 0),
  };
}

/** The first failure stops the others, and is what is thrown. */
async function inParallel<A, B>(
  items: readonly A[],
  atOnce: number,
  work: (item: A) => Promise<B>,
  failing: AbortController,
): Promise<B[]> {
  const results: B[] = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length && !failing.signal.aborted) {
      const i = next++;
      try {
        results[i] = await work(items[i]!);
      } catch (error) {
        failing.abort(error);
        throw error;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.max(1, atOnce) }, worker));
  if (failing.signal.aborted) throw failing.signal.reason;
  for (const result of ended) if (result.status === "rejected") throw result.reason;
  return results;
}

/** Whether the disk holds what is still missing. */
async function checkRoom(name: string, folder: string, files: readonly RemoteFile[]): Promise<void> {
  let missing = 0;
  for (const { digest, bytes } of files) {
    const blob = join(folder, "blobs", digest.hex);
    const found =
      (await stat(blob).catch(() => undefined)) ?? (await stat(`${blob}.incomplete`).catch(() => undefined));
    missing += Math.max(0, bytes - (found?.size ?? 0));
  }
  await mkdir(folder, { recursive: true });
  const { bavail, bsize } = await statfs(folder);
  if (missing > bavail * bsize)
    throw new RangeError(
      `Cannot pull ${JSON.stringify(name)}: ${missing} bytes are missing, but the disk of ${JSON.stringify(folder)} has ${bavail * bsize} free`,
    );
}

/** Puts a relative link at `path`; a hard link or a copy where the system makes none. */
async function linkBlob(path: string, blob: string): Promise<void> {
  const target = relative(dirname(path), blob);
  if ((await readlink(path).catch(() => undefined)) === target) return;
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`; // of this call: others may be at the same link
  await symlink(target, temporary)
    .catch(() => link(blob, temporary))
    .catch(() => copyFile(blob, temporary));
  try {
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
