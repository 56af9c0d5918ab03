// Writing files so that a reader finds the old one or the new one, never a part: a temporary file beside the
// target, fsync, rename, fsync of the folder. On an error or an abort the temporary file is removed.

import { randomBytes } from "node:crypto";
import { open, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ahead } from "./ahead.ts";
import { fail } from "./source.ts";
import type { TensorToWrite } from "./types.ts";

const MAX_WRITE_BYTES = 2 ** 30;

/** A file that is written whole and durable, but not yet under its name. */
export interface StagedFile {
  /** Gives it its name, in place of what had it. */
  commit(): Promise<void>;
  /** Removes it. Does nothing after `commit`. */
  discard(): Promise<void>;
}

/**
 * Writes `content` under a temporary name beside `path`; where it comes as it is made, a chunk is written while the next is.
 * @throws {Error} when the disk refuses; what `content` or the signal throws passes through.
 */
export async function stageFile(
  path: string,
  content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<StagedFile> {
  signal?.throwIfAborted();
  const existing = await stat(path).catch(() => undefined);
  if (existing && !existing.isFile()) {
    throw new Error(
      `Cannot write ${JSON.stringify(path)}: found a ${existing.isDirectory() ? "directory" : "device"} there, want a file or nothing`,
    );
  }
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  const handle = await open(temporary, "wx").catch((cause) => fail("write", path, cause));
  try {
    for await (const chunk of Symbol.asyncIterator in content ? ahead(content) : content) {
      signal?.throwIfAborted();
      for (let at = 0; at < chunk.length; ) {
        const length = Math.min(chunk.length - at, MAX_WRITE_BYTES);
        const { bytesWritten } = await handle
          .write(chunk, at, length)
          .catch((cause) => fail("write", path, cause));
        at += bytesWritten;
      }
    }
    signal?.throwIfAborted();
    await handle.sync().catch((cause) => fail("write", path, cause));
    await handle.close().catch((cause) => fail("write", path, cause));
  } catch (error) {
    await handle.close().catch(() => {});
    await unlink(temporary).catch(() => {});
    throw error;
  }
  let staged = true;
  return {
    async commit() {
      await rename(temporary, path).catch((cause) => fail("write", path, cause));
      staged = false;
      await syncFolder(dirname(path)).catch((cause) => fail("write", path, cause));
    },
    async discard() {
      if (staged) await unlink(temporary).catch(() => {});
      staged = false;
    },
  };
}

/** Writes a whole file, atomically and durably. Errors as {@link stageFile}. */
export async function writeFileAtomic(
  path: string,
  content: Uint8Array | string | Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const staged = await stageFile(path, bytes instanceof Uint8Array ? [bytes] : bytes, signal);
  try {
    await staged.commit();
  } finally {
    await staged.discard();
  }
}

/**
 * The bytes of a tensor to be written, checked to be as many as its type and shape want.
 * @throws {RangeError} when `data` gives fewer or more.
 */
export async function* tensorPieces(
  path: string,
  tensor: TensorToWrite,
  bytes: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const data = tensor.data();
  let given = 0;
  if (Symbol.asyncIterator in data) {
    for await (const piece of data) {
      given += piece.length;
      if (given > bytes) break;
      yield piece;
    }
  } else {
    const whole = await data;
    given = whole.length;
    if (given === bytes) yield whole;
  }
  if (given !== bytes) {
    throw new RangeError(
      `Cannot write ${JSON.stringify(path)}: tensor ${JSON.stringify(tensor.name)} gave ${given > bytes ? "at least " : ""}${given} bytes, want ${bytes}`,
    );
  }
}

/** Makes a rename in `dir` survive a power cut. Windows has no such call and does not need it. */
async function syncFolder(dir: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(dir, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
