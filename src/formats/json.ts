// A strict JSON reader for headers that strangers write. Unlike JSON.parse it refuses a key that occurs twice
// (two readers could see two files), nests to a limit, and gives objects as Maps, so no key is special.

import { printable, quote } from "./errors.ts";

export type Json = null | boolean | number | string | Json[] | Map<string, Json>;

const MAX_DEPTH = 16;

/**
 * The value of JSON `text`.
 * @throws {SyntaxError} saying what was found where; `fileName` is what the message calls the text.
 */
export function parseJson(text: string, fileName: string): Json {
  const parser = new Parser(text, fileName);
  const value = parser.value(0);
  parser.end();
  return value;
}

/** A JSON value as an error shows it: short, and `missing` when there is none. */
export function describeJson(value: Json | undefined): string {
  if (value === undefined) return "missing";
  if (value instanceof Map) return "an object";
  if (typeof value === "string") return quote(value);
  const text = printable(JSON.stringify(Array.isArray(value) ? value.slice(0, 20) : value));
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

class Parser {
  readonly #text: string;
  readonly #fileName: string;
  #at = 0;

  constructor(text: string, fileName: string) {
    this.#text = text;
    this.#fileName = fileName;
  }

  value(depth: number): Json {
    if (depth > MAX_DEPTH) throw this.#error(`nesting deeper than ${MAX_DEPTH}`, "a flatter value");
    this.#skipSpace();
    switch (this.#text[this.#at]) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#array(depth);
      case '"':
        return this.#string();
      case "t":
        return this.#word("true", true);
      case "f":
        return this.#word("false", false);
      case "n":
        return this.#word("null", null);
      default:
        return this.#number();
    }
  }

  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) throw this.#error(this.#here(), "the end");
  }

  #object(depth: number): Map<string, Json> {
    const entries = new Map<string, Json>();
    this.#at++;
    if (this.#take("}")) return entries;
    do {
      this.#skipSpace();
      const key = this.#string();
      if (entries.has(key)) throw this.#error(`key ${quote(key)} again`, "each key once");
      this.#expect(":");
      entries.set(key, this.value(depth + 1));
    } while (this.#take(","));
    this.#expect("}");
    return entries;
  }

  #array(depth: number): Json[] {
    const items: Json[] = [];
    this.#at++;
    if (this.#take("]")) return items;
    do items.push(this.value(depth + 1));
    while (this.#take(","));
    this.#expect("]");
    return items;
  }

  #string(): string {
    if (this.#text[this.#at] !== '"') throw this.#error(this.#here(), "a string");
    let end = this.#at + 1;
    let escaped = false;
    for (; ; end++) {
      const code = this.#text.charCodeAt(end);
      if (code === 0x22) break;
      if (code === 0x5c) {
        escaped = true;
        end++; // whatever it is, the character after a backslash does not end the string
      }
      // Past the end charCodeAt gives NaN, for which no comparison holds but this one.
      if (!(code >= 0x20)) throw this.#error(`${this.#here()}, a string without its end`, "a closing quote");
    }
    const start = this.#at;
    this.#at = end + 1;
    if (!escaped) return this.#text.slice(start + 1, end);
    try {
      return JSON.parse(this.#text.slice(start, end + 1)) as string;
    } catch {
      this.#at = start;
      throw this.#error(`${this.#here()} with a wrong escape`, "a JSON string");
    }
  }

  #number(): number {
    NUMBER.lastIndex = this.#at;
    const [digits] = NUMBER.exec(this.#text) ?? [];
    if (digits === undefined) throw this.#error(this.#here(), "a JSON value");
    this.#at += digits.length;
    return Number(digits);
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#error(this.#here(), "a JSON value");
    this.#at += word.length;
    return value;
  }

  #take(character: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #expect(character: string): void {
    if (!this.#take(character)) throw this.#error(this.#here(), JSON.stringify(character));
  }

  #skipSpace(): void {
    for (; ; this.#at++) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
    }
  }

  #here(): string {
    return this.#at < this.#text.length
      ? quote(this.#text.slice(this.#at, this.#at + 16))
      : "the end of the text";
  }

  #error(found: string, wanted: string): SyntaxError {
    return new SyntaxError(
      `Cannot read ${JSON.stringify(this.#fileName)}: found ${found} at character ${this.#at} of its JSON, want ${wanted}`,
    );
  }
}
