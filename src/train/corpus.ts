// What a new model is trained on: files of text as one long text, in windows; or files of samples, packed. With the
// tokenizer that is read, or made of them.

import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fail } from "../formats/source.ts";
import {
  characterTokenizer,
  loadTokenizerJson,
  type Tokenizer,
  tokenizerConfig,
  trainTokenizer,
} from "../tokenizer/index.ts";
import { type Batches, consecutiveWindows, packedBatches, packItems, windowBatches } from "./batches.ts";
import { DataFile } from "./data/files.ts";
import { fileDigests, overlapWarning, readSamples } from "./data/index.ts";
import { holdOut } from "./split.ts";
import type { Learner, Sample, TrainBatch } from "./types.ts";

export interface CorpusOptions {
  /** Text files (.txt, .md), which are one text in this order; or files of samples (.jsonl, .csv). */
  readonly data: string | readonly string[];
  /** Files for evaluation, of the same kind. */
  readonly eval?: string | readonly string[];
  /** Instead: this share of the data is for evaluation and not trained on: the end of a text, or samples by chance. */
  readonly eval_share?: number;
  /**
   * A tokenizer.json or a folder with one; "characters"; or the size of a byte-level BPE vocabulary to be trained on the
   * data. Default: "characters" for less than a million of them, else 4096.
   */
  readonly tokenizer?: string | number;
  /** What becomes of samples that are longer than the model's context. Default "cut". */
  readonly long?: "error" | "drop" | "cut";
}

/** Data with its tokenizer, before the model's context is known. */
export interface Corpus {
  readonly tokenizer: Tokenizer;
  /** tokenizer.json and tokenizer_config.json, as they are written beside the model. */
  readonly files: ReadonlyMap<string, object>;
  /** What the tokenizer is, for people. */
  readonly kind: string;
  open(ctx: number, seed: number, signal: AbortSignal): Promise<OpenedCorpus>;
}

export interface OpenedCorpus {
  readonly tokens: number;
  readonly eval_tokens: number;
  /** What a resumed run must have the same of. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
  batches(size: Learner["size"], run: { batch_tokens: number; epochs: number; max_steps?: number }): Batches;
  evaluation(size: Learner["size"]): TrainBatch[];
}

const FEW_CHARACTERS = 1_000_000;
const DEFAULT_VOCABULARY = 4096;
/** Ends a text or sample, where the tokenizer is made here and its entries are not characters. */
const END = "<|endoftext|>";

/** @throws {Error} naming the file that cannot be read, or what is wrong with the tokenizer for it */
export async function openCorpus(options: CorpusOptions, signal?: AbortSignal): Promise<Corpus> {
  const { eval_share = 0, long = "cut" } = options;
  const list = (files: string | readonly string[] = []) => (typeof files === "string" ? [files] : files);
  const [data, evaluation] = [list(options.data), list(options.eval)];
  if (data.length === 0) throw new TypeError("Cannot train on no files: wanted at least one");
  if (!(eval_share >= 0 && eval_share < 1))
    throw new RangeError(`Cannot keep ${eval_share} of the data for evaluation: wanted a share below 1`);
  if (eval_share > 0 && evaluation.length > 0)
    throw new TypeError(
      "Cannot evaluate on files and on a share of the data: wanted one, eval or eval_share",
    );
  const plain = [...data, ...evaluation].filter((name) => /\.(txt|text|md|raw)$/i.test(name));
  const samples = plain.length === 0;
  if (!samples && plain.length < data.length + evaluation.length)
    throw new TypeError(
      `Cannot train on text and samples at once: found ${JSON.stringify(plain[0])} beside others, wanted files of one kind`,
    );
  const texts = samples ? undefined : await readTexts(data);
  const made = await openTokenizer(
    options.tokenizer,
    texts ? texts.texts : () => sampleTexts(data),
    samples,
    signal,
  );
  const open: Corpus["open"] = async (ctx, seed, signal) => {
    if (texts)
      return openText(made, texts, evaluation.length > 0 ? await readTexts(evaluation) : undefined, {
        ctx,
        seed,
        eval_share,
      });
    const read = (files: readonly string[]) =>
      readSamples(files, { tokenizer: made.tokenizer, ctx: ctx + 1, long, signal });
    return openSamples(await read(data), evaluation.length > 0 ? await read(evaluation) : undefined, {
      seed,
      eval_share,
    });
  };
  return { ...made, open };
}

interface Texts {
  /** One of each file. */
  readonly texts: readonly string[];
  readonly name: string;
  /** File -> SHA-256. */
  readonly digests: Readonly<Record<string, string>>;
}

async function readTexts(files: readonly string[]): Promise<Texts> {
  const digests: Record<string, string> = {};
  const texts: string[] = [];
  for (const name of files) {
    const file = new DataFile(name, {});
    let text = "";
    for await (const { value } of file.lines()) text += value.text;
    texts.push(text);
    digests[name] = file.digest();
  }
  return { texts, name: files.join(", "), digests };
}

/** Every string of every line: what a vocabulary is made of. */
async function sampleTexts(files: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  const collect = (value: unknown): void => {
    if (typeof value === "string") texts.push(value);
    else if (typeof value === "object" && value !== null)
      for (const inner of Object.values(value)) collect(inner);
  };
  for (const name of files) for await (const { value } of new DataFile(name, {}).lines()) collect(value);
  return texts;
}

type Made = Pick<Corpus, "tokenizer" | "files" | "kind">;

async function openTokenizer(
  wanted: string | number | undefined,
  given: readonly string[] | (() => Promise<readonly string[]>),
  samples: boolean,
  signal?: AbortSignal,
): Promise<Made> {
  if (typeof wanted === "string" && wanted !== "characters") return readTokenizer(wanted);
  const texts = typeof given === "function" ? await given() : given;
  const long = () => texts.reduce((sum, text) => sum + text.length, 0) >= FEW_CHARACTERS;
  const chosen = wanted ?? (long() ? DEFAULT_VOCABULARY : "characters");
  const characters = chosen === "characters";
  // A sample begins and ends with the same token. Characters of a text are all that a vocabulary of them has.
  const marked = samples || !characters;
  const begins = samples && { begin: END };
  const how = { ...(marked && { special: [END] }), ...begins, ...(signal && { signal }) };
  const json =
    typeof chosen === "number"
      ? await trainTokenizer(texts, { vocabSize: chosen, ...how })
      : await characterTokenizer(texts, how);
  const config = tokenizerConfig({ ...begins, ...(marked && { end: END }) }) as Record<string, unknown>;
  return {
    tokenizer: loadTokenizerJson(json, config, "the new tokenizer"),
    files: new Map([
      ["tokenizer.json", json],
      ["tokenizer_config.json", config],
    ]),
    kind: characters ? "characters" : `byte-level BPE, made for ${chosen} tokens`,
  };
}

async function readTokenizer(path: string): Promise<Made> {
  const folder = (await stat(path).catch((cause) => fail("read", path, cause))).isDirectory();
  const file = folder ? join(path, "tokenizer.json") : path;
  const json = await readJson(file);
  const configFile = join(dirname(file), "tokenizer_config.json");
  const config = (await stat(configFile).catch(() => undefined)) ? await readJson(configFile) : {};
  return {
    tokenizer: loadTokenizerJson(json, config, file),
    files: new Map([
      ["tokenizer.json", json],
      ["tokenizer_config.json", config],
    ]),
    kind: file,
  };
}

/** @throws {SyntaxError} when the file holds no JSON object */
export async function readJson(file: string): Promise<Record<string, unknown>> {
  const text = await readFile(file, "utf8").catch((cause) => fail("read", file, cause));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SyntaxError(`Cannot read ${JSON.stringify(file)}: ${(cause as Error).message}, want JSON`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new SyntaxError(`Cannot read ${JSON.stringify(file)}: it is no JSON object`);
}

function openText(
  { tokenizer, kind }: Made,
  texts: Texts,
  evaluation: Texts | undefined,
  { ctx, seed, eval_share }: { ctx: number; seed: number; eval_share: number },
): OpenedCorpus {
  const end = tokenizer.eosIds.slice(0, 1);
  const ids = ({ texts, name }: Texts): Int32Array => {
    const found = texts.map((text) => tokenizer.encode(text, { addSpecial: false }));
    if (kind === "characters" && found.some((ids, i) => tokenizer.decode(ids) !== texts[i]))
      throw new RangeError(
        `Cannot use ${JSON.stringify(name)}: it has characters that have no token (those that the training text lacks, and U+2581), wanted none, or a trained vocabulary`,
      );
    return Int32Array.from(found.flatMap((ids) => [...ids, ...end]));
  };
  const all = ids(texts);
  const border = Math.floor(all.length * (1 - eval_share));
  const [train, held] = [all.subarray(0, border), evaluation ? ids(evaluation) : all.subarray(border)];
  return {
    tokens: train.length,
    eval_tokens: held.length,
    settings: { data: texts.digests, ...(evaluation && { eval: evaluation.digests }), eval_share },
    warnings: [],
    batches(size, { batch_tokens, epochs, max_steps }) {
      const sequences = Math.max(1, Math.round(batch_tokens / ctx));
      const steps = max_steps ?? Math.max(1, Math.ceil((epochs * train.length) / (sequences * ctx)));
      return windowBatches(train, { limits: size, ctx, sequences, steps, seed, file: texts.name });
    },
    evaluation: (size) =>
      held.length > 1 ? packItems(consecutiveWindows(held, ctx, (evaluation ?? texts).name), size) : [],
  };
}

type ReadSamples = Awaited<ReturnType<typeof readSamples>>;

function openSamples(
  data: ReadSamples,
  evaluation: ReadSamples | undefined,
  { seed, eval_share }: { seed: number; eval_share: number },
): OpenedCorpus {
  const [train, held] = evaluation
    ? [data.samples, evaluation.samples]
    : holdOut(data.samples, eval_share, seed);
  const overlap = overlapWarning(train, held);
  const count = (samples: readonly Sample[]) => samples.reduce((sum, { ids }) => sum + ids.length, 0);
  return {
    tokens: count(train),
    eval_tokens: count(held),
    settings: {
      data: fileDigests(data.stats),
      ...(evaluation && { eval: fileDigests(evaluation.stats) }),
      eval_share,
    },
    warnings: [...data.stats.warnings, ...(overlap ? [overlap] : [])],
    batches: (limits, run) => packedBatches(train, { limits, seed, ...run }),
    evaluation: (size) => (held.length > 0 ? packItems(held, size) : []),
  };
}

/** SHA-256 of plain data. */
export function digestOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}
