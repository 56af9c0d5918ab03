// Makes tokenizers from text, as standard tokenizer.json objects: byte-level BPE, or a token for every character.
// Source of BPE: Sennrich et al., arXiv 1508.07909; bytes and their spelling as in GPT-2.

import { PairQueue } from "./pair-queue.ts";
import { readPreTokenizer } from "./pre-tokenizer.ts";
import { preTokenizerOf, type SplitName, tokenizerJson } from "./trained-files.ts";
import { BYTE_CHARACTERS, MAX_VOCABULARY, utf8 } from "./vocabulary.ts";

export interface TrainTokenizerOptions {
  /** Size of the vocabulary, the 256 bytes and special tokens included. Fewer come out when the text has no more pairs. */
  readonly vocabSize: number;
  /** Control tokens, which take the first ids. */
  readonly special?: readonly string[];
  /** One of `special` that is put in front of every text. */
  readonly begin?: string;
  /** Default "gpt2". */
  readonly split?: SplitName;
  readonly signal?: AbortSignal;
  /** Characters that were counted, then merges of those that are wanted. */
  readonly onProgress?: (progress: { readonly counted: number; readonly merges: number }) => void;
}

/** A pair is merged when it occurs this often. */
const LEAST = 2;
/** Longest stretch of work without a look at the signal, in milliseconds. */
const SLICE = 50;
/** Characters that are split into words at once. */
const BLOCK = 2 ** 20;

/**
 * Learns a byte-level BPE vocabulary. The most frequent pair is merged first; of equally frequent ones that with the
 * lower ids, so the result depends on the text alone (and is that of Hugging Face's `BpeTrainer`).
 * @returns the tokenizer.json object
 * @throws {RangeError} when the vocabulary cannot hold the bytes and special tokens
 */
export async function trainTokenizer(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainTokenizerOptions,
): Promise<object> {
  const { vocabSize, special = [], split = "gpt2", signal, onProgress } = options;
  checkSpecial(special, options.begin);
  const fixed = special.length + 256;
  if (!Number.isInteger(vocabSize) || vocabSize < fixed || vocabSize > MAX_VOCABULARY)
    throw new RangeError(
      `Cannot train a vocabulary of ${vocabSize} tokens: 256 bytes and ${special.length} special tokens need ${fixed}, at most ${MAX_VOCABULARY} are read`,
    );
  const preTokenizer = preTokenizerOf(split);
  const pause = pauses(signal);
  const words = await countWords(texts, preTokenizer, pause, (counted) =>
    onProgress?.({ counted, merges: 0 }),
  );

  // In the order of their characters, which is that of GPT-2's vocabulary.
  const alphabet = [...BYTE_CHARACTERS].sort();
  const symbols = [...special, ...alphabet];
  const idOfByte = BYTE_CHARACTERS.map((character) => special.length + alphabet.indexOf(character));
  const merger = new Merger(words.texts, words.counts, idOfByte, vocabSize);
  const known = new Set(symbols);
  const merges: [string, string][] = [];
  while (symbols.length < vocabSize) {
    const best = merger.best();
    if (!best) break;
    const [a, b] = best;
    const text = symbols[a]! + symbols[b]!;
    // Text must not become a control token.
    if (special.includes(text)) continue;
    merges.push([symbols[a]!, symbols[b]!]);
    // Two ways to one text are one token.
    const id = known.has(text) ? symbols.indexOf(text) : symbols.push(text) - 1;
    known.add(text);
    merger.merge(a, b, id);
    if (await pause()) onProgress?.({ counted: words.characters, merges: merges.length });
  }
  onProgress?.({ counted: words.characters, merges: merges.length });
  return tokenizerJson(special, symbols, merges, preTokenizer, options.begin);
}

/**
 * A vocabulary with a token for every character of `texts`, in code point order behind the special tokens. A character
 * that is not among them has no token: it is passed over.
 * @returns the tokenizer.json object
 */
export async function characterTokenizer(
  texts: Iterable<string> | AsyncIterable<string>,
  { special = [], begin, signal }: Pick<TrainTokenizerOptions, "special" | "begin" | "signal"> = {},
): Promise<object> {
  checkSpecial(special, begin);
  const pause = pauses(signal);
  const found = new Set<string>();
  for await (const text of texts)
    for (const block of blocks(text)) {
      for (const character of block) found.add(character);
      await pause();
    }
  if (found.size === 0) throw new RangeError("Cannot make a tokenizer of characters: the text has none");
  const characters = [...found].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const lone = characters.find((c) => /^[\ud800-\udfff]$/.test(c));
  if (lone)
    throw new RangeError(`Cannot make a tokenizer of characters: the text has half of a surrogate pair`);
  return tokenizerJson(special, [...special, ...characters], [], null, begin);
}

function checkSpecial(special: readonly string[], begin: string | undefined): void {
  const wrong = special.find((text, i) => text === "" || special.indexOf(text) !== i);
  if (wrong !== undefined)
    throw new RangeError(
      `Cannot train a tokenizer: special token ${JSON.stringify(wrong)} is empty or there twice`,
    );
  if (begin !== undefined && !special.includes(begin))
    throw new RangeError(`Cannot train a tokenizer: ${JSON.stringify(begin)} is none of the special tokens`);
}

/** Lets the event loop run now and then; says when it has. */
function pauses(signal: AbortSignal | undefined): () => Promise<boolean> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < SLICE) return false;
    await new Promise((resolve) => setTimeout(resolve));
    signal?.throwIfAborted();
    last = performance.now();
    return true;
  };
}

/** A long text in parts, cut where every pattern cuts too: between one line end behind a word and a letter. */
function* blocks(text: string): Generator<string> {
  let start = 0;
  const border = /[\p{L}\p{P}]\n(?=\p{L})/gu;
  while (text.length - start > BLOCK) {
    border.lastIndex = start + BLOCK;
    const found = border.exec(text);
    if (!found) break;
    const end = found.index + found[0].length;
    yield text.slice(start, end);
    start = end;
  }
  yield text.slice(start);
}

async function countWords(
  texts: Iterable<string> | AsyncIterable<string>,
  config: unknown,
  pause: () => Promise<boolean>,
  progress: (characters: number) => void,
): Promise<{ texts: string[]; counts: number[]; characters: number }> {
  const preTokenizer = readPreTokenizer(config, "pre_tokenizer");
  const counts = new Map<string, number>();
  let characters = 0;
  for await (const text of texts) {
    for (const block of blocks(text)) {
      for (const word of preTokenizer.words(block, true)) counts.set(word, (counts.get(word) ?? 0) + 1);
      characters += block.length;
      if (await pause()) progress(characters);
    }
  }
  return { texts: [...counts.keys()], counts: [...counts.values()], characters };
}

/** Words as symbols, and the pairs in them. */
class Merger {
  readonly #words: Int32Array[];
  readonly #lengths: Int32Array;
  readonly #counts: readonly number[];
  readonly #queue = new PairQueue();
  /** Words that have, or had, a pair. */
  readonly #where = new Map<number, number[]>();
  readonly #size: number;

  constructor(
    words: readonly string[],
    counts: readonly number[],
    idOfByte: readonly number[],
    size: number,
  ) {
    this.#size = size;
    this.#counts = counts;
    this.#words = words.map((word) => Int32Array.from(utf8(word), (byte) => idOfByte[byte]!));
    this.#lengths = Int32Array.from(this.#words, (word) => word.length);
    for (const [w, word] of this.#words.entries())
      for (let i = 0; i + 1 < word.length; i++) this.#change(word[i]!, word[i + 1]!, counts[w]!, w);
    for (const pair of this.#where.keys()) this.#queue.push(pair);
  }

  #change(a: number, b: number, count: number, word: number): number {
    const pair = a * this.#size + b;
    this.#queue.add(pair, count);
    if (count > 0) {
      const where = this.#where.get(pair);
      if (!where) this.#where.set(pair, [word]);
      else if (where[where.length - 1] !== word) where.push(word);
    }
    return pair;
  }

  best(): readonly [number, number] | undefined {
    const best = this.#queue.pop(LEAST);
    return best && [Math.floor(best.pair / this.#size), best.pair % this.#size];
  }

  merge(a: number, b: number, made: number): void {
    const pair = a * this.#size + b;
    const grown = new Set<number>();
    for (const w of this.#where.get(pair) ?? []) {
      const word = this.#words[w]!;
      const count = this.#counts[w]!;
      const length = this.#lengths[w]!;
      let out = 0;
      for (let i = 0; i < length; i++) {
        if (word[i] !== a || i + 1 >= length || word[i + 1] !== b) {
          word[out++] = word[i]!;
          continue;
        }
        if (out > 0) {
          this.#change(word[out - 1]!, a, -count, w);
          grown.add(this.#change(word[out - 1]!, made, count, w));
        }
        if (i + 2 < length) {
          this.#change(b, word[i + 2]!, -count, w);
          grown.add(this.#change(made, word[i + 2]!, count, w));
        }
        word[out++] = made;
        i++;
      }
      this.#lengths[w] = out;
    }
    this.#where.delete(pair);
    this.#queue.forget(pair);
    for (const changed of grown) this.#queue.push(changed);
  }
}
