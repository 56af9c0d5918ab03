// A lock between processes: a file that holds a process id, fresh as long as its holder works.

import { randomBytes } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import { mkdir, readFile, rename, stat, unlink, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fail } from "./source.ts";

export interface Lock {
  release(): Promise<void>;
}

/** A lock that its holder has not touched for so long is nobody's: it was killed, or its machine was. */
const STALE_MS = 60_000;
const BEAT_MS = 10_000;
const POLL_MS = 100;
/** One that is still empty: whoever made it was killed before the next line. */
const EMPTY_MS = 2_000;

/**
 * Waits until the lock is free and takes it. One of a process that is gone is free at once.
 * @param options.busy instead of waiting: throws an error of this text, and who holds the lock
 */
export async function holdLock(
  path: string,
  { signal, busy }: { signal?: AbortSignal; busy?: string } = {},
): Promise<Lock> {
  await mkdir(dirname(path), { recursive: true }).catch((cause) => fail("write", path, cause));
  const mark = `${process.pid} ${hostname()} ${randomBytes(8).toString("hex")}`;
  while (!(await take(path, mark))) {
    if (await isAbandoned(path)) {
      // Set aside under a name of our own, so that a lock that somebody took meanwhile is not lost unseen.
      const aside = `${path}.${randomBytes(6).toString("hex")}`;
      await rename(path, aside).catch(() => {});
      await unlink(aside).catch(() => {});
    } else {
      const [pid, host] = await holderOf(path);
      if (busy !== undefined && pid)
        throw new Error(`${busy}: process ${pid} on ${host} holds ${JSON.stringify(path)}`);
      await sleep(POLL_MS, undefined, { ...(signal && { signal }) });
    }
    signal?.throwIfAborted();
  }
  const beat = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => {}), BEAT_MS);
  beat.unref();
  return {
    async release() {
      clearInterval(beat);
      if ((await readFile(path, "utf8").catch(() => "")) === mark) await unlink(path).catch(() => {});
    },
  };
}

/** Process and host; both empty of a lock that is gone, or not written yet. */
async function holderOf(path: string): Promise<[pid: string, host: string]> {
  const [pid = "", host = ""] = (await readFile(path, "utf8").catch(() => "")).split(" ");
  return [pid, host];
}

/** In one go, so that nothing but the end of the process can come between making and writing. */
async function take(path: string, mark: string): Promise<boolean> {
  try {
    const file = openSync(path, "wx");
    try {
      writeSync(file, mark);
    } finally {
      closeSync(file);
    }
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false;
    return fail("write", path, cause);
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return false;
  const age = Date.now() - found.mtimeMs;
  const [pid, host] = await holderOf(path);
  if (age > (found.size > 0 ? STALE_MS : EMPTY_MS)) return true;
  if (!pid || host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
