// Files of data as a stream of lines: JSONL, CSV or plain text, by the name's ending. Digests what it reads.

import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Json } from "../../formats/json.ts";
import { lineName, parseJsonLine, readLines } from "../../formats/jsonl.ts";
import { readCsv } from "./csv.ts";
import type { Columns } from "./records.ts";

export interface DataLine {
  readonly line: number;
  readonly value: { readonly [key: string]: Json };
}

export interface FileOptions {
  readonly columns?: Columns;
  /** Between the fields of a CSV file. Default: "," and a tab for .tsv. */
  readonly separator?: string;
  readonly signal?: AbortSignal;
}

/** The longest file of plain text, which is one text: what a JavaScript string holds. */
const MAX_TEXT = 512 * 2 ** 20 - 64;

/** A file being read: `lines` once, and then its size and digest. */
export class DataFile {
  readonly name: string;
  /** Bytes read so far. */
  bytes = 0;
  readonly #options: FileOptions;
  readonly #hash: Hash = createHash("sha256");

  constructor(name: string, options: FileOptions) {
    this.name = name;
    this.#options = options;
  }

  /** SHA-256 of the file, in hex, when all lines were read. */
  digest(): string {
    return this.#hash.digest("hex");
  }

  /** @throws {SyntaxError | TypeError | RangeError} naming the file and the line */
  async *lines(): AsyncGenerator<DataLine> {
    const { name } = this;
    const file = await stat(name).catch((error: NodeJS.ErrnoException) => {
      const what = error.code === "ENOENT" ? "no such file" : error.message;
      throw new Error(`Cannot read ${JSON.stringify(name)}: ${what}`);
    });
    const fail = (what: string): never => {
      throw new RangeError(`Cannot read ${JSON.stringify(name)}: ${what}`);
    };
    if (!file.isFile()) fail("it is no file, wanted JSONL, CSV or text");
    if (file.size === 0) fail("it has 0 bytes, wanted samples");
    const kind = /\.(csv|tsv)$/i.test(name) ? "csv" : /\.(jsonl|ndjson|json)$/i.test(name) ? "jsonl" : "text";
    if (kind === "text") {
      if (!/\.(txt|text|md|raw)$/i.test(name)) fail("its name ends in none of .jsonl, .csv, .tsv and .txt");
      if (file.size > MAX_TEXT)
        fail(`it has ${file.size} bytes, wanted at most ${MAX_TEXT} as one text; use JSONL`);
      let text = "";
      for await (const part of this.#texts()) text += part;
      if (text.trim() === "") fail("it has nothing but white space, wanted text");
      yield { line: 1, value: { [this.#options.columns?.text ?? "text"]: text } };
    } else if (kind === "csv") {
      yield* this.#csv(this.#options.separator ?? (/\.tsv$/i.test(name) ? "\t" : ","));
    } else {
      for await (const { line, text } of readLines(this.#chunks(), name)) {
        if (line === 1 && text.trim().startsWith("["))
          fail("it begins with a list, wanted JSONL: an object on each line");
        const found = parseJsonLine(text, line, name);
        if (found) yield found;
      }
    }
  }

  async *#csv(separator: string): AsyncGenerator<DataLine> {
    if (separator.length !== 1 || /["\r\n]/.test(separator))
      throw new RangeError(
        `Cannot read CSV with the separator ${JSON.stringify(separator)}, wanted one character`,
      );
    const fail = (line: number, message: string): never => {
      throw new SyntaxError(`Cannot read ${JSON.stringify(lineName(this.name, line))}: ${message}`);
    };
    let names: readonly string[] | undefined;
    for await (const { line, fields } of readCsv(this.#texts(), separator, fail)) {
      if (!names) {
        names = fields.map((name) => name.trim());
        const twice = names.find((name, i) => names!.indexOf(name) < i);
        if (twice !== undefined)
          fail(line, `the column ${JSON.stringify(twice)} is there twice, wanted each once`);
        const other = [";", "\t", "|"].find(
          (c) => c !== separator && names!.length === 1 && names![0]!.includes(c),
        );
        if (other) fail(line, `its one column has ${JSON.stringify(other)} in it, wanted it as separator`);
        continue;
      }
      if (fields.length !== names.length)
        fail(line, `it has ${fields.length} fields, the first line ${names.length} columns`);
      yield { line, value: Object.fromEntries(names.map((name, i) => [name, fields[i]!])) };
    }
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    const { signal } = this.#options;
    for await (const chunk of createReadStream(this.name, { highWaterMark: 2 ** 18 })) {
      signal?.throwIfAborted();
      this.#hash.update(chunk as Uint8Array);
      this.bytes += (chunk as Uint8Array).length;
      yield chunk as Uint8Array;
    }
  }

  /** The file's text in parts, without a byte order mark. */
  async *#texts(): AsyncGenerator<string> {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    let lines = 1;
    const decode = (chunk?: Uint8Array): string => {
      try {
        return decoder.decode(chunk, { stream: chunk !== undefined });
      } catch {
        // The part before the wrong byte is lost in the decoder: count its lines here.
        let at = 0;
        if (chunk)
          for (const strict = new TextDecoder("utf-8"); at < chunk.length; at++) {
            const text = strict.decode(chunk.subarray(at, at + 1), { stream: true });
            if (text.includes("\uFFFD")) break;
            if (text === "\n") lines++;
          }
        throw new SyntaxError(
          `Cannot read ${JSON.stringify(lineName(this.name, lines))}: it is not UTF-8, wanted text in UTF-8`,
        );
      }
    };
    for await (const chunk of this.#chunks()) {
      const text = decode(chunk);
      for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) lines++;
      yield text;
    }
    yield decode();
  }
}
