// JSONL: a JSON object on each line. What is wrong is named by file and line. Knows no fields.

import { isObject, type Json, jsonKind, parseJson } from "./json.ts";

export interface JsonLine {
  /** From 1, empty lines counted. */
  readonly line: number;
  readonly value: { readonly [key: string]: Json };
}

/** The longest line that is read, in bytes. */
export const MAX_LINE = 64 * 2 ** 20;
/** Tools come with JSON schemas of their own. */
const MAX_DEPTH = 64;

/** How a message calls a line of a file. */
export const lineName = (name: string, line: number): string => `${name}, line ${line}`;

/** One line, or undefined for an empty one. @throws {SyntaxError | TypeError} naming the file and the line */
export function parseJsonLine(row: string, line: number, name: string): JsonLine | undefined {
  const text = line === 1 ? row.replace(/^\uFEFF/, "") : row;
  if (text.trim() === "") return undefined;
  const where = lineName(name, line);
  const value = parseJson(text, where, MAX_DEPTH);
  if (!isObject(value))
    throw new TypeError(
      `Cannot read ${JSON.stringify(where)}: found ${jsonKind(value)}, wanted an object on each line`,
    );
  return { line, value };
}

/** All lines of a text. */
export function parseJsonLines(text: string, name: string): JsonLine[] {
  return text.split("\n").flatMap((row, i) => parseJsonLine(row, i + 1, name) ?? []);
}

/**
 * Lines of a file as its bytes come, without their ends.
 * @throws {SyntaxError} for what is not UTF-8. @throws {RangeError} for a line of more than 64 MiB
 */
export async function* readLines(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<{ readonly line: number; readonly text: string }> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let rest: Uint8Array[] = [];
  let size = 0;
  let line = 0;
  const fail = (what: string) => `Cannot read ${JSON.stringify(lineName(name, line))}: ${what}`;
  const take = (): string => {
    try {
      return decoder.decode(rest.length === 1 ? rest[0]! : joined(rest, size)).replace(/\r$/, "");
    } catch {
      throw new SyntaxError(fail("it is not UTF-8, wanted text in UTF-8"));
    }
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(10); ; at = chunk.indexOf(10, from)) {
      const part = chunk.subarray(from, at < 0 ? chunk.length : at);
      rest.push(part);
      size += part.length;
      if (size > MAX_LINE) {
        line++;
        throw new RangeError(fail(`it has more than ${MAX_LINE} bytes, wanted shorter lines`));
      }
      if (at < 0) break;
      line++;
      yield { line, text: take() };
      rest = [];
      size = 0;
      from = at + 1;
    }
  }
  if (size > 0) {
    line++;
    yield { line, text: take() };
  }
}

function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
