// How the readers speak of a file that is wrong: the file, the field, the value found and the value wanted.
// Imports nothing that only Node has, so that the readers run in a browser too.

import type { Source } from "./source.ts";

/** The error for a field of a file: what it is, what was found and what is wanted. */
export function wrongField(
  source: Source,
  what: string,
  found: string | number | bigint,
  wanted: string,
): SyntaxError {
  return new SyntaxError(`Cannot read ${JSON.stringify(source.name)}: ${what} is ${found}, want ${wanted}`);
}

/** Text out of a file as an error shows it: quoted, short, and unable to steer a terminal. */
export function quote(text: string): string {
  return printable(JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}...` : text));
}

/** `json` with the characters escaped that hide text, reorder it or control a terminal. */
export function printable(json: string): string {
  return json.replace(UNSAFE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** DEL, the C1 controls, and what hides or reorders text; JSON.stringify escapes the others. */
const UNSAFE = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** `bytes` of `source` as text. @throws {SyntaxError} when they are not UTF-8. */
export function decodeText(source: Source, what: string, bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    throw wrongField(source, what, "not UTF-8", "UTF-8");
  }
}
