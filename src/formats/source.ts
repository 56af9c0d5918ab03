// A source of bytes that is read by range: a file or memory here; a URL or a browser's storage fits too.
// Nothing above this asks where the bytes lie.

import { type FileHandle, open, stat } from "node:fs/promises";
import type { TensorInfo } from "./types.ts";

export interface Source {
  /** What errors call it: the path or URL. */
  readonly name: string;
  /** Path on disk, where there is one, for a backend that reads the weights itself. */
  readonly path?: string;
  /** The tensors that its bytes are made of when they are asked for, where they lie in no file themselves. */
  readonly madeOf?: readonly TensorInfo[];
  /** Bytes. */
  readonly size: number;
  /**
   * The bytes `[offset, offset + length)`, always all of them.
   * @throws {RangeError} when the range is not inside the source, or is longer than one array can be.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Node reads at most 2 GiB - 1 in one call; 1 GiB leaves room and costs nothing. */
const MAX_READ_BYTES = 2 ** 30;
/** What a Uint8Array may hold on Node 20. */
const MAX_ARRAY_BYTES = 2 ** 32;

/** Whether there is anything at a path that can be looked at. */
export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/**
 * Opens a regular file (or a link to one) for reading by range.
 * @throws {Error} when there is none, or it is a directory, a device, a FIFO or a socket.
 */
export async function openFile(path: string): Promise<Source> {
  // Looked at before it is opened, because opening a FIFO waits for a writer for ever.
  const kind = fileKind(await stat(path).catch((cause) => fail("open", path, cause)));
  if (kind !== "file") throw new Error(`Cannot open ${JSON.stringify(path)}: found ${kind}, want a file`);
  const handle = await open(path, "r").catch((cause) => fail("open", path, cause));
  const opened = await handle.stat();
  if (!opened.isFile()) {
    await handle.close();
    throw new Error(`Cannot open ${JSON.stringify(path)}: found ${fileKind(opened)}, want a file`);
  }
  return new FileSource(path, opened.size, handle);
}

/** A source over bytes in memory. `read` gives views, not copies. */
export function fromBytes(name: string, bytes: Uint8Array): Source {
  return {
    name,
    size: bytes.length,
    async read(offset, length) {
      checkRange(name, bytes.length, offset, length);
      return bytes.subarray(offset, offset + length);
    },
    async close() {},
  };
}

class FileSource implements Source {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly #handle: FileHandle;
  #closed: Promise<void> | undefined;

  constructor(path: string, size: number, handle: FileHandle) {
    this.name = path;
    this.path = path;
    this.size = size;
    this.#handle = handle;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (this.#closed) throw new Error(`Cannot read ${JSON.stringify(this.name)}: it is closed`);
    checkRange(this.name, this.size, offset, length);
    // Not pooled and not zeroed first: what is not read is an error below.
    const bytes = length === 0 ? new Uint8Array(0) : Buffer.allocUnsafeSlow(length);
    let done = 0;
    while (done < length) {
      const want = Math.min(length - done, MAX_READ_BYTES);
      const { bytesRead } = await this.#handle
        .read(bytes, done, want, offset + done)
        .catch((cause) => fail("read", this.name, cause));
      if (bytesRead === 0) {
        throw new RangeError(
          `Cannot read ${JSON.stringify(this.name)}: it ends at byte ${offset + done} now, but had ${this.size} when opened`,
        );
      }
      done += bytesRead;
    }
    return new Uint8Array(bytes.buffer, bytes.byteOffset, length);
  }

  close(): Promise<void> {
    this.#closed ??= this.#handle.close();
    return this.#closed;
  }
}

function checkRange(name: string, size: number, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
    throw new RangeError(
      `Cannot read ${JSON.stringify(name)}: found offset ${offset} and length ${length}, want whole numbers of bytes`,
    );
  }
  if (offset + length > size) {
    throw new RangeError(
      `Cannot read ${JSON.stringify(name)}: found bytes ${offset} to ${offset + length}, want at most its ${size}`,
    );
  }
  if (length > MAX_ARRAY_BYTES) {
    throw new RangeError(
      `Cannot read ${JSON.stringify(name)}: found ${length} bytes at once, want at most ${MAX_ARRAY_BYTES}; read it in pieces`,
    );
  }
}

interface Kind {
  isFile(): boolean;
  isDirectory(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
}

function fileKind(stats: Kind): string {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "a directory";
  if (stats.isFIFO()) return "a FIFO";
  return stats.isSocket() ? "a socket" : "a device";
}

const REASONS: Record<string, string> = {
  ENOENT: "no such file or directory",
  ENOTDIR: "a part of its path is not a directory",
  EACCES: "permission denied",
  EISDIR: "found a directory, want a file",
  ENOSPC: "no space left on the disk",
  EROFS: "the file system is read-only",
};

/** Rethrows a file system error so that it names the action and the file; the original is its `cause`. */
export function fail(action: "open" | "read" | "write", name: string, cause: unknown): never {
  const code = (cause as NodeJS.ErrnoException).code;
  const reason = (code && REASONS[code]) ?? (cause instanceof Error ? cause.message : String(cause));
  throw new Error(`Cannot ${action} ${JSON.stringify(name)}: ${reason}`, { cause });
}
