// The folder of a demonstration: made beside its name, which it gets when all is done. What is stopped leaves nothing.

import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";

/** What a demonstration leaves, by which a later one knows its own. */
export const RECORD = "demo.json";

/** @throws {Error} when there is something that no demonstration has made */
export async function checkOut(out: string, overwrite: boolean): Promise<void> {
  const there = await stat(out).catch(() => undefined);
  if (!there) return;
  const cannot = `Cannot write ${JSON.stringify(out)}: `;
  if (!there.isDirectory()) throw new Error(`${cannot}found a file there, wanted a folder or nothing`);
  const names = await readdir(out);
  if (names.length > 0 && !names.includes(RECORD) && !overwrite)
    throw new Error(
      `${cannot}found ${names.length} ${names.length === 1 ? "file" : "files"} there that no demonstration has made; give another name, or ask to overwrite them`,
    );
}

/** Calls `write` with an empty folder, which becomes `out`; one that was there goes. */
export async function wholeFolder<T>(out: string, write: (folder: string) => Promise<T>): Promise<T> {
  const path = resolve(out);
  await mkdir(dirname(path), { recursive: true });
  const staging = await mkdtemp(join(dirname(path), `.${basename(path)}.`));
  try {
    const folder = join(staging, "new");
    await mkdir(folder);
    const result = await write(folder);
    const old = join(staging, "old");
    await rename(path, old).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    await rename(folder, path);
    return result;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}
