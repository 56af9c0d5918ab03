// JSON that strangers write. JSON.parse alone takes a key that occurs twice (two readers could see two files)
// and nests without a limit; both are refused here first, in one pass over the text.

import { printable, quote } from "./errors.ts";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const MAX_DEPTH = 16;

/**
 * The value of JSON `text`, nested at most `depth` deep. Objects hold their keys as own properties, `__proto__` too:
 * look them up with `Object.hasOwn` or `Object.entries`.
 * @throws {SyntaxError} saying what was found; `fileName` is what the message calls the text.
 */
export function parseJson(text: string, fileName: string, depth = MAX_DEPTH): Json {
  const action = `Cannot read ${JSON.stringify(fileName)}: found`;
  checkKeys(text, action, depth);
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new SyntaxError(`${action} ${printable((error as Error).message)}, want JSON`);
  }
}

export function isObject(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a JSON value is, in an error that must not show it: a text of the user's data, say. */
export function jsonKind(value: Json | undefined): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** A JSON value as an error shows it: short, and `missing` when there is none. */
export function describeJson(value: Json | undefined): string {
  if (value === undefined) return "missing";
  if (isObject(value)) return "an object";
  if (typeof value === "string") return quote(value);
  const text = printable(JSON.stringify(Array.isArray(value) ? value.slice(0, 20) : value));
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

/** Refuses a key that comes twice in one object, and deep nesting. What is no JSON at all is left to JSON.parse. */
function checkKeys(text: string, action: string, depth: number): void {
  const open: (Set<string> | undefined)[] = []; // keys of each open object; undefined for an array
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x22) {
      const end = closingQuote(text, i);
      if (end < 0) return;
      if (text.charCodeAt(skipSpace(text, end + 1)) === 0x3a) {
        const key = unescaped(text, i, end);
        if (key !== undefined && open.at(-1)?.has(key)) {
          throw new SyntaxError(`${action} key ${quote(key)} again at character ${i}, want each key once`);
        }
        if (key !== undefined) open.at(-1)?.add(key);
      }
      i = end;
    } else if (code === 0x7b || code === 0x5b) {
      if (open.length === depth) {
        throw new SyntaxError(`${action} JSON nested deeper than ${depth}, want a flatter value`);
      }
      open.push(code === 0x7b ? new Set() : undefined);
    } else if (code === 0x7d || code === 0x5d) open.pop();
  }
}

/** Position of the quote that ends the string opened at `start`, or -1. */
function closingQuote(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslash = end;
    while (text.charCodeAt(backslash - 1) === 0x5c) backslash--;
    if ((end - backslash) % 2 === 0) return end;
  }
  return -1;
}

/** The string between the quotes at `start` and `end`, or undefined when an escape in it is wrong. */
function unescaped(text: string, start: number, end: number): string | undefined {
  const raw = text.slice(start + 1, end);
  if (!raw.includes("\\")) return raw;
  try {
    return JSON.parse(text.slice(start, end + 1)) as string;
  } catch {
    return undefined;
  }
}

function skipSpace(text: string, at: number): number {
  let i = at;
  for (let code = text.charCodeAt(i); code === 0x20 || (code >= 9 && code <= 13); code = text.charCodeAt(i))
    i++;
  return i;
}
