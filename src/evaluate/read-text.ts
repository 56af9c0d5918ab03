// A text or a task's lines from a file, whole.

import { readFile, stat } from "node:fs/promises";

/** Its tokens and their figures are held in memory. */
const MAX_TEXT_BYTES = 2 ** 29;

/** @throws {Error} naming a file that is not there or too large */
export async function readText(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  const cannot = `Cannot read ${JSON.stringify(path)}: `;
  if (!found?.isFile()) throw new Error(`${cannot}found no such file`);
  if (found.size > MAX_TEXT_BYTES)
    throw new RangeError(`${cannot}it has ${found.size} bytes, wanted at most ${MAX_TEXT_BYTES}`);
  return new TextDecoder().decode(await readFile(path));
}

/** @throws {Error} naming a file that is not there, too large or empty */
export async function readEvaluationText(path: string): Promise<string> {
  const text = await readText(path);
  if (text.trim() === "")
    throw new RangeError(`Cannot read ${JSON.stringify(path)}: it has no text to measure on`);
  return text;
}
