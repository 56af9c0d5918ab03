// Files -> samples: read, rendered, masked, checked. The door of this folder.

import { ChatTemplate, type Tokenizer } from "../../tokenizer/index.ts";
import type { Pair, Sample } from "../types.ts";
import { Arena } from "./arena.ts";
import { checkSet, type DataStats, LongSamples, warningsOf } from "./check.ts";
import { DataFile, type DataLine, type FileOptions } from "./files.ts";
import { type Masked, type MaskOptions, maskRecord, type Notes } from "./mask.ts";
import { pairRecord, type SampleRecord, sampleRecord } from "./records.ts";

export interface DataOptions extends FileOptions {
  readonly tokenizer: Tokenizer;
  /** Longest sample, in tokens. */
  readonly ctx: number;
  /**
   * What becomes of longer ones: an error (the default), or they are dropped, or cut. A `text` is cut into windows, of
   * which each begins with the last token of the one before, so that every token is learned once; of others the end is
   * cut off.
   */
  readonly long?: "error" | "drop" | "cut";
  /** Default: the tokenizer's own, where it has one. */
  readonly template?: ChatTemplate;
  /** Settings of the chat template for all conversations (`enable_thinking`). */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** `prompt` and `completion` are text as it stands, no turns of a conversation. */
  readonly raw?: boolean;
  /** Tokens that end a turn. Default: the tokenizer's. */
  readonly stopIds?: readonly number[];
  /** Whether the assistant's reasoning is learned, or only stands before what is. Default "learn". */
  readonly reasoning?: "learn" | "ignore";
  /** Only the last turn of a conversation is learned. */
  readonly lastOnly?: boolean;
  readonly onProgress?: (progress: {
    readonly file: string;
    readonly bytes: number;
    readonly samples: number;
  }) => void;
}

/**
 * Samples of files of JSONL (`messages`; `prompt` and `completion`; `text`), CSV (columns `prompt` and `completion`, or
 * `text`) or plain text.
 * @throws {SyntaxError | TypeError | RangeError} naming the file and the line that is wrong, or what would train nothing
 */
export async function readSamples(
  files: string | readonly string[],
  options: DataOptions,
): Promise<{ readonly samples: Sample[]; readonly stats: DataStats }> {
  const reader = new Reader(files, options);
  const samples: Sample[] = [];
  await reader.each((value, source, fail) => {
    const record = sampleRecord(value, options.columns ?? {}, reader.chat, fail);
    const made = reader.mask(record, source);
    for (const item of made) samples.push(...reader.fit(record, item, source));
    return made.length;
  });
  checkSet(samples, reader.unmasked(), reader.names);
  return { samples, stats: reader.stats(samples) };
}

/**
 * Preference pairs of files of JSONL or CSV (`prompt`, `chosen`, `rejected`).
 * @throws as {@link readSamples}
 */
export async function readPairs(
  files: string | readonly string[],
  options: DataOptions,
): Promise<{ readonly pairs: Pair[]; readonly stats: DataStats }> {
  const reader = new Reader(files, options);
  const pairs: Pair[] = [];
  await reader.each((value, source, fail) => {
    const record = pairRecord(value, options.columns ?? {}, reader.chat, fail);
    // Of turns that the template rewrites later, the last one is what is preferred.
    const [chosen, rejected] = [record.chosen, record.rejected].map((answer) =>
      reader.fit(answer, reader.mask(answer, source).at(-1)!, source).at(0),
    );
    if (chosen && rejected) pairs.push({ chosen, rejected });
    return 2;
  });
  const samples = pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]);
  checkSet(samples, reader.unmasked(), reader.names);
  return { pairs, stats: reader.stats(samples) };
}

type Fail = (message: string) => never;

class Reader {
  readonly names: readonly string[];
  /** Whether prompts and completions of text are turns of a conversation. */
  readonly chat: boolean;
  readonly #options: DataOptions;
  readonly #mask: MaskOptions;
  readonly #arena = new Arena();
  readonly #long: LongSamples;
  readonly #notes: Notes = { unknownEnds: new Map(), rewritten: 0, lostReasoning: 0 };
  readonly #files: { file: string; sha256: string; lines: number }[] = [];
  /** Samples that should have tokens that are not learned, and those of them that have none. */
  #masked = 0;
  #whole = 0;
  #dropped = 0;
  #cut = 0;
  /** Of these, samples whose end is lost; a text becomes several. */
  #shortened = 0;

  constructor(files: string | readonly string[], options: DataOptions) {
    const { tokenizer, ctx, reasoning = "learn", lastOnly = false, settings } = options;
    if (!(Number.isInteger(ctx) && ctx >= 2))
      throw new RangeError(`Cannot read samples for a context of ${ctx} tokens, wanted at least 2`);
    this.names = typeof files === "string" ? [files] : files;
    this.#options = options;
    const source = tokenizer.chatTemplate;
    const template = options.template ?? (source ? new ChatTemplate(source, tokenizer.name) : undefined);
    const stopIds = options.stopIds ?? tokenizer.eosIds;
    this.#mask = { tokenizer, template, settings, stopIds, reasoning, lastOnly };
    this.#long = new LongSamples(ctx);
    this.chat = template !== undefined && options.raw !== true;
  }

  /** Calls `take` for each line; it gives the number of samples that the line made. */
  async each(
    take: (value: DataLine["value"], source: Sample["source"], fail: Fail) => number,
  ): Promise<void> {
    let samples = 0;
    for (const name of this.names) {
      const file = new DataFile(name, this.#options);
      let lines = 0;
      for await (const { line, value } of file.lines()) {
        samples += take(value, { file: name, line }, (message) => {
          throw new TypeError(`Cannot read ${JSON.stringify(`${name}, line ${line}`)}: ${message}`);
        });
        if (++lines % 256 === 0) {
          this.#options.signal?.throwIfAborted();
          this.#options.onProgress?.({ file: name, bytes: file.bytes, samples });
        }
      }
      if (lines === 0)
        throw new RangeError(`Cannot read ${JSON.stringify(name)}: it has no samples, wanted at least one`);
      this.#files.push({ file: name, sha256: file.digest(), lines });
      this.#options.onProgress?.({ file: name, bytes: file.bytes, samples });
    }
    if ((this.#options.long ?? "error") === "error") this.#long.refuse(samples);
  }

  mask(record: SampleRecord, { file, line }: Sample["source"]): Masked[] {
    try {
      const made = maskRecord(record, this.#mask, this.#notes);
      if (made.some(({ learned }) => learned.indexOf(1, 1) < 0) || made.length === 0)
        throw new TypeError("nothing of it would be learned, wanted an answer");
      if (record.kind !== "text") this.#masked += made.length;
      if (record.kind !== "text") this.#whole += made.filter(({ learned }) => learned.indexOf(0) < 0).length;
      return made;
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
      const what = error.message.startsWith("Cannot learn ")
        ? `, ${error.message.slice("Cannot learn ".length)}`
        : `: ${error.message}`;
      const Kind = error instanceof TypeError ? TypeError : RangeError;
      throw new Kind(`Cannot learn ${JSON.stringify(`${file}, line ${line}`)}${what}`, { cause: error });
    }
  }

  /** Whether prompts are learned everywhere. */
  unmasked(): boolean {
    return this.#masked > 0 && this.#masked === this.#whole;
  }

  /** The samples that a masked one becomes in the context. */
  fit(record: SampleRecord, masked: Masked, source: Sample["source"]): Sample[] {
    const { ctx, long = "error" } = this.#options;
    const { length } = masked.ids;
    if (!this.#long.add(length, source)) return [this.#arena.add(masked, source)];
    if (long === "error") return [];
    if (long === "cut" && record.kind === "text") {
      this.#cut++;
      const windows: Sample[] = [];
      for (let from = 0; from + 1 < length; from += ctx - 1)
        windows.push(this.#arena.add(masked, source, from, Math.min(from + ctx, length)));
      return windows;
    }
    // A sample of which only the prompt is left teaches nothing.
    const first = masked.learned.indexOf(1, 1);
    if (long === "drop" || first >= ctx) {
      this.#dropped++;
      return [];
    }
    this.#cut++;
    this.#shortened++;
    return [this.#arena.add(masked, source, 0, ctx)];
  }

  stats(samples: readonly Sample[]): DataStats {
    let [tokens, learned] = [0, 0];
    for (const sample of samples) {
      tokens += sample.ids.length;
      for (const one of sample.learned) learned += one;
    }
    const lines = this.#files.reduce((sum, file) => sum + file.lines, 0);
    return {
      files: this.#files,
      samples: samples.length,
      tokens,
      learned,
      longest: this.#long.longest!,
      dropped: this.#dropped,
      cut: this.#cut,
      warnings: [...this.#tooLong(), ...warningsOf(samples, this.#notes, lines)],
    };
  }

  /** What is lost of samples longer than the context. */
  #tooLong(): string[] {
    if (this.#shortened + this.#dropped === 0) return [];
    const { tokens, file, line } = this.#long.longest!;
    return [
      `samples longer than the context of ${this.#options.ctx} tokens: of ${this.#shortened} the end is cut off, ${this.#dropped} are left out; the longest has ${tokens} (${file}, line ${line})`,
    ];
  }
}
