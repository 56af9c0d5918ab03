// One file of the hub into the cache's blobs: continued where it stopped, checked byte for byte, then given its name.

import { createHash, type Hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { holdLock } from "../formats/lock.ts";
import { fail } from "../formats/source.ts";
import type { HubName } from "./name.ts";
import { type Hub, Passing, type RemoteFile, Unsatisfied } from "./remote.ts";

export interface BlobOptions {
  /** The repository's folder in the cache. */
  readonly folder: string;
  /** Where its locks lie. */
  readonly locks: string;
  readonly signal?: AbortSignal;
  /** Bytes that are here now: `fetched` of them came over the network in this call. */
  readonly onBytes?: (here: number, fetched: number) => void;
}

const READ_BYTES = 2 ** 20;

/**
 * Makes sure that the blob of `file` is there, whole and right.
 * @returns bytes that came over the network: 0 when all were there
 * @throws {Error} when the server does not give the content that the hub states, or the disk refuses
 */
export async function downloadBlob(
  hub: Hub,
  name: HubName,
  commit: string,
  file: RemoteFile,
  options: BlobOptions,
): Promise<number> {
  const { folder, locks, signal } = options;
  const blob = join(folder, "blobs", file.digest.hex);
  await mkdir(dirname(blob), { recursive: true }).catch((cause) => fail("write", blob, cause));
  if (await isWhole(blob, file)) {
    options.onBytes?.(file.bytes, 0);
    return 0;
  }
  const lock = await holdLock(join(locks, `${file.digest.hex}.pith`), {
    ...(signal && { signal }),
  });
  try {
    // Another process may have finished it meanwhile.
    if (await isWhole(blob, file)) {
      options.onBytes?.(file.bytes, 0);
      return 0;
    }
    const partial = `${blob}.incomplete`;
    const handle = await open(partial, constants.O_RDWR | constants.O_CREAT, 0o644).catch((cause) =>
      fail("write", partial, cause),
    );
    let fetched: number;
    try {
      fetched = await new Download(hub, name, commit, file, partial, handle, options).run();
      await handle.sync().catch((cause) => fail("write", partial, cause));
    } finally {
      await handle.close();
    }
    await rename(partial, blob).catch((cause) => fail("write", blob, cause));
    return fetched;
  } finally {
    await lock.release();
  }
}

async function isWhole(blob: string, file: RemoteFile): Promise<boolean> {
  const found = await stat(blob).catch(() => undefined);
  if (found && found.size !== file.bytes) await unlink(blob);
  return found?.size === file.bytes;
}

/** The state of one download: how many bytes the partial file has, and their hash. */
class Download {
  readonly #hub: Hub;
  readonly #name: HubName;
  readonly #commit: string;
  readonly #file: RemoteFile;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #options: BlobOptions;
  #hash: Hash;
  #here = 0;
  #fetched = 0;

  constructor(
    hub: Hub,
    name: HubName,
    commit: string,
    file: RemoteFile,
    path: string,
    handle: FileHandle,
    options: BlobOptions,
  ) {
    this.#hub = hub;
    this.#name = name;
    this.#commit = commit;
    this.#file = file;
    this.#path = path;
    this.#handle = handle;
    this.#options = options;
    this.#hash = newHash(file);
  }

  async run(): Promise<number> {
    const { path, bytes, digest } = this.#file;
    for (let attempt = 1; ; attempt++) {
      await this.#continue();
      await this.#hub.insist(
        this.#options.signal,
        () => this.#fetch(),
        () => this.#fetched,
      );
      const found = this.#hash.digest("hex");
      if (found === digest.hex) return this.#fetched;
      // What was here before may be at fault: once more from the beginning.
      await this.#handle.truncate(0);
      if (attempt === 2)
        throw new Error(
          `Cannot download ${JSON.stringify(path)} of ${this.#name.repo}: its ${bytes} bytes have the ${digest.kind} ${found}, wanted ${digest.hex}`,
        );
    }
  }

  /** Takes what is on the disk into account. */
  async #continue(): Promise<void> {
    this.#hash = newHash(this.#file);
    this.#here = 0;
    const { size } = await this.#handle.stat();
    if (size > this.#file.bytes) await this.#handle.truncate(0);
    else {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, Math.max(size, 1)));
      while (this.#here < size) {
        this.#options.signal?.throwIfAborted();
        const { bytesRead } = await this.#handle.read(
          buffer,
          0,
          Math.min(buffer.length, size - this.#here),
          this.#here,
        );
        if (bytesRead === 0) break;
        this.#hash.update(buffer.subarray(0, bytesRead));
        this.#here += bytesRead;
      }
    }
    this.#options.onBytes?.(this.#here, this.#fetched);
  }

  /** One connection: as many bytes as it gives. */
  async #fetch(): Promise<void> {
    const { bytes, path } = this.#file;
    if (this.#here === bytes) return;
    let opened: Awaited<ReturnType<Hub["open"]>>;
    try {
      opened = await this.#hub.open(this.#name, this.#commit, this.#file, this.#here, this.#options.signal);
    } catch (error) {
      if (!(error instanceof Unsatisfied)) throw error;
      await this.#handle.truncate(0);
      await this.#continue();
      throw error;
    }
    // A server that knows no ranges begins at 0: what is here already is passed over.
    let skip = this.#here - opened.start;
    for await (const all of opened.bytes) {
      const fresh = skip > 0 ? all.subarray(Math.min(skip, all.length)) : all;
      skip -= all.length - fresh.length;
      const piece = fresh.subarray(0, bytes - this.#here);
      await this.#write(piece);
      if (this.#here === bytes) return;
    }
    throw new Passing(
      `Cannot download ${JSON.stringify(path)} of ${this.#name.repo}: the connection ended at byte ${this.#here} of ${bytes}`,
    );
  }

  async #write(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length; ) {
      const { bytesWritten } = await this.#handle
        .write(piece, at, piece.length - at, this.#here + at)
        .catch((cause) => fail("write", this.#path, cause));
      at += bytesWritten;
    }
    this.#hash.update(piece);
    this.#here += piece.length;
    this.#fetched += piece.length;
    this.#options.onBytes?.(this.#here, this.#fetched);
  }
}

/** sha256 of the content, or git's sha1 of a blob: of "blob <size>\0", then the content. */
function newHash({ digest, bytes }: RemoteFile): Hash {
  return digest.kind === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${bytes}\0`);
}
