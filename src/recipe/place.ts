// The folder of a step: its name, what stands for the step in it, and how it is emptied.

import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { VERBS, type VerbName } from "./verbs.ts";

/** Where a step's own folder and what it makes lie. */
export function placeOf(
  out: string,
  name: string,
  verb: VerbName,
  options: object,
): { readonly folder: string; readonly path: string } {
  const own = join(out, name);
  const file = VERBS[verb].file(name, options);
  return { folder: own, path: file === undefined ? own : join(own, file) };
}

/** Removes what killed runs of a step have left beside it, and what it has made. */
export async function clear(out: string, name: string, all: boolean): Promise<void> {
  const removeBeside = async () => {
    for (const entry of await readdir(out))
      if (entry.startsWith(`.${name}.`)) await rm(join(out, entry), { recursive: true, force: true });
  };
  await removeBeside();
  if (!all) return;
  // Its name goes at once: a half-removed folder would look like one that was begun.
  await rename(join(out, name), join(out, `.${name}.old`)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  await removeBeside();
}

/** Names of what a killed write leaves (see formats/write.ts). */
const UNFINISHED = /^\..*\.[0-9a-f]{12}\.tmp$/;

/** Removes what killed runs have left in a step's folder. */
export async function sweep(folder: string): Promise<void> {
  for (const entry of await readdir(folder))
    if (UNFINISHED.test(entry)) await rm(join(folder, entry), { force: true });
}
