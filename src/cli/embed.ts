// pith embed: vectors of texts, one JSON object a line.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createInterface } from "node:readline";
import { type Encoder, embed as embedTexts, loadEncoder } from "../embed/index.ts";
import { stageFile } from "../formats/index.ts";
import { interruptible } from "./interrupt.ts";
import { note, writeText } from "./output.ts";
import { progressBar } from "./progress.ts";

export interface EmbedOptions {
  text?: string[];
  file?: string;
  out?: string;
  prompt?: string;
  normalize?: boolean;
  maxLength?: number;
  threads?: number;
  backend?: "native" | "wasm" | "reference";
}

/** Texts that are held at a time. */
const TEXTS = 512;

export async function embed(nameOrPath: string, options: EmbedOptions): Promise<void> {
  const { text = [], file, out } = options;
  if (text.length > 0 === (file !== undefined))
    throw new TypeError("Cannot embed: wanted texts, with --text <text> or --file <file>, one of both");
  if (file !== undefined && !(await stat(file).catch(() => undefined))?.isFile())
    throw new Error(`Cannot read ${JSON.stringify(file)}: found no such file`);
  await interruptible("Interrupted", async (signal) => {
    await using model = await load(nameOrPath, options, signal);
    const lines = vectors(model, file === undefined ? text : textsOf(file), options, signal);
    if (out === undefined) for await (const line of lines) await writeText(line);
    else await (await stageFile(out, encoded(lines), signal)).commit();
  });
}

async function load(nameOrPath: string, { threads, backend }: EmbedOptions, signal: AbortSignal) {
  const bar = progressBar("loading");
  try {
    return await loadEncoder(nameOrPath, {
      ...(threads !== undefined && { threads }),
      ...(backend && { backend }),
      signal,
      onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
    });
  } finally {
    bar.stop();
  }
}

/** A line of JSON for each text: `index`, `tokens`, `truncated` where it was cut, `embedding`. */
async function* vectors(
  model: Encoder,
  texts: Iterable<string> | AsyncIterable<string>,
  { prompt, normalize, maxLength }: EmbedOptions,
  signal: AbortSignal,
): AsyncGenerator<string, void, undefined> {
  let first = 0;
  let cut = 0;
  const options = {
    ...(prompt !== undefined && { prompt }),
    ...(normalize === false && { normalize }),
    ...(maxLength !== undefined && { maxLength }),
    signal,
  };
  for await (const part of parts(texts)) {
    const { vectors: rows, tokens, truncated } = await embedTexts(model, part, options);
    for (const [i, row] of rows.entries())
      yield `${JSON.stringify({
        index: first + i,
        tokens: tokens[i],
        ...(truncated.includes(i) && { truncated: true }),
        embedding: Array.from(row),
      })}\n`;
    first += part.length;
    cut += truncated.length;
  }
  if (cut > 0)
    note(
      `${cut} of ${first} texts are longer than ${maxLength ?? model.maxLength} tokens: only their beginning counts`,
    );
}

async function* parts(texts: Iterable<string> | AsyncIterable<string>): AsyncGenerator<string[]> {
  let part: string[] = [];
  for await (const text of texts) {
    part.push(text);
    if (part.length < TEXTS) continue;
    yield part;
    part = [];
  }
  if (part.length > 0) yield part;
}

/** Texts of a file of JSON lines: objects with `text`, or strings. Empty lines are passed over. */
async function* textsOf(file: string): AsyncGenerator<string, void, undefined> {
  const lines = createInterface({ input: createReadStream(file), crlfDelay: Infinity });
  let number = 0;
  for await (const line of lines) {
    number++;
    if (line.trim() === "") continue;
    const at = `Cannot read ${JSON.stringify(file)}: line ${number}`;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new SyntaxError(`${at} is no JSON (${(cause as Error).message})`, { cause });
    }
    const text = typeof value === "object" && value !== null && "text" in value ? value.text : value;
    if (typeof text !== "string") throw new TypeError(`${at} has no text, wanted a string or {"text": ...}`);
    yield text;
  }
}

async function* encoded(lines: AsyncIterable<string>): AsyncGenerator<Uint8Array, void, undefined> {
  const encoder = new TextEncoder();
  for await (const line of lines) yield encoder.encode(line);
}
