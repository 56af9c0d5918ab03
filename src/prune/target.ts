// The folder that a pruned model is written to: all of it is made beside it and then takes its name, or nothing does.

import { mkdir, mkdtemp, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";

/** @throws {Error} when something is there that must stay, or when the name is a GGUF file's */
export async function checkTarget(out: string, model: string, overwrite: boolean): Promise<void> {
  const cannot = `Cannot write ${JSON.stringify(out)}: `;
  if (extname(out).toLowerCase() === ".gguf")
    throw new TypeError(
      `${cannot}a pruned model is a folder, wanted its name; convert makes a GGUF file of it`,
    );
  const there = await stat(out).catch(() => undefined);
  if (!there) return;
  if (!there.isDirectory()) throw new Error(`${cannot}found a file there, wanted a folder or nothing`);
  const own = await realpath(model).catch(() => undefined);
  if (own !== undefined && own === (await realpath(out)))
    throw new Error(`${cannot}it is the model that is pruned, wanted another folder`);
  if ((await readdir(out)).length > 0 && !overwrite)
    throw new Error(`${cannot}it exists; ask to overwrite it, or give another name`);
}

/** Calls `write` with an empty place beside `out`; when it is done, the folder that it made there becomes `out`. */
export async function whole<T>(out: string, write: (folder: string) => Promise<T>): Promise<T> {
  const path = resolve(out);
  await mkdir(dirname(path), { recursive: true });
  const staging = await mkdtemp(join(dirname(path), `.${basename(path)}.`));
  try {
    const folder = join(staging, "new");
    const result = await write(folder);
    const old = join(staging, "old");
    const replaced = await rename(path, old).then(
      () => true,
      () => false,
    );
    try {
      await rename(folder, path);
    } catch (error) {
      if (replaced) await rename(old, path);
      throw error;
    }
    return result;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}
