/**
 * Trains a byte-level BPE vocabulary and gives it as a standard tokenizer.json object. Deterministic: ties go to the
 * pair whose bytes sort first. Source: Sennrich et al., arXiv 1508.07909; bytes as in GPT-2.
 */

/** How text is cut before merging, as tokenizer.json states it: Qwen2's pattern (every digit alone). */
export const SPLIT_PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
/** The same pattern as a JavaScript expression (Node 20 knows no inline flags). */
const SPLIT =
  /'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu;

export interface TrainTokenizerOptions {
  /** Size of the vocabulary, the 256 bytes and special tokens included. Fewer come out when the text has no more pairs. */
  readonly vocabSize: number;
  /** Special tokens, which take the first ids. */
  readonly special?: readonly string[];
}

/** A printable character for every byte, as byte-level BPE writes them. Source: GPT-2's `bytes_to_unicode`. */
export function byteCharacters(): string[] {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
}

interface Word {
  symbols: number[];
  readonly count: number;
}

/** Learns merges from `texts`. @throws {RangeError} when the vocabulary cannot hold the bytes and special tokens. */
export function trainTokenizer(
  texts: Iterable<string>,
  { vocabSize, special = [] }: TrainTokenizerOptions,
): object {
  const fixed = special.length + 256;
  if (!Number.isInteger(vocabSize) || vocabSize < fixed)
    throw new RangeError(
      `Cannot train a vocabulary of ${vocabSize} tokens: 256 bytes and ${special.length} special tokens need ${fixed}`,
    );
  const characters = byteCharacters();
  const symbols = [...characters]; // symbol -> text; ids are these plus the special tokens in front
  const words = countWords(texts);
  const pairs = new Pairs(words);
  const merges: [string, string][] = [];
  while (special.length + symbols.length < vocabSize) {
    const best = pairs.take(symbols);
    if (!best) break;
    const [a, b] = best;
    merges.push([symbols[a]!, symbols[b]!]);
    symbols.push(symbols[a]! + symbols[b]!);
    pairs.merge(a, b, symbols.length - 1);
  }
  return tokenizerJson(special, symbols, merges);
}

function countWords(texts: Iterable<string>): Word[] {
  const counts = new Map<string, number>();
  for (const text of texts)
    for (const [word] of text.matchAll(SPLIT)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const encoder = new TextEncoder();
  return [...counts].map(([text, count]) => ({ symbols: [...encoder.encode(text)], count }));
}

/** Counts of neighbouring symbols, kept as words change. */
class Pairs {
  private readonly counts = new Map<number, number>();
  private readonly where = new Map<number, Set<Word>>();

  constructor(words: readonly Word[]) {
    for (const word of words) this.add(word, 1);
  }

  private add(word: Word, sign: 1 | -1): void {
    for (let i = 0; i + 1 < word.symbols.length; i++) {
      const key = pairKey(word.symbols[i]!, word.symbols[i + 1]!);
      this.counts.set(key, (this.counts.get(key) ?? 0) + sign * word.count);
      if (sign > 0) (this.where.get(key) ?? this.where.set(key, new Set()).get(key)!).add(word);
    }
  }

  /** The most frequent pair, if one occurs twice. */
  take(symbols: readonly string[]): [number, number] | undefined {
    let [best, top] = [-1, 1];
    const text = (key: number) => symbols[Math.floor(key / LIMIT)]! + symbols[key % LIMIT]!;
    for (const [key, count] of this.counts)
      if (count > top || (count === top && best >= 0 && text(key) < text(best))) [best, top] = [key, count];
    return best < 0 ? undefined : [Math.floor(best / LIMIT), best % LIMIT];
  }

  merge(a: number, b: number, made: number): void {
    const key = pairKey(a, b);
    for (const word of this.where.get(key) ?? []) {
      this.add(word, -1);
      const out: number[] = [];
      for (let i = 0; i < word.symbols.length; i++) {
        const pair = word.symbols[i] === a && word.symbols[i + 1] === b;
        out.push(pair ? made : word.symbols[i]!);
        if (pair) i++;
      }
      word.symbols = out;
      this.add(word, 1);
    }
    this.counts.delete(key);
    this.where.delete(key);
  }
}

const LIMIT = 2 ** 24;
const pairKey = (a: number, b: number) => a * LIMIT + b;

function tokenizerJson(
  special: readonly string[],
  symbols: readonly string[],
  merges: readonly [string, string][],
): object {
  const vocab: Record<string, number> = {};
  for (const [i, text] of [...special, ...symbols].entries()) vocab[text] = i;
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: SPLIT_PATTERN }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}
