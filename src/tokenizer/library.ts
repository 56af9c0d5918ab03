// The parts of @huggingface/tokenizers that are used here, with their types: the package's own declarations do
// not resolve under Node's module rules.

import * as module from "@huggingface/tokenizers";

interface Splitter {
  pre_tokenize(text: string): string[];
}

interface Library {
  Tokenizer: new (
    tokenizer: unknown,
    config: object,
  ) => {
    encode(text: string, options?: { add_special_tokens?: boolean }): { ids: number[] };
    decode(ids: number[], options?: { skip_special_tokens?: boolean }): string;
  };
  SequenceNormalizer: new (config: {
    type: "Sequence";
    normalizers: unknown[];
  }) => { normalize(text: string): string };
  SplitPreTokenizer: new (config: {
    type: "Split";
    pattern: { Regex: string };
    behavior: string;
    invert: boolean;
  }) => Splitter & { pattern: RegExp | null };
  BertPreTokenizer: new () => Splitter;
  FixedLengthPreTokenizer: new (config: { type: string; length: number }) => Splitter;
  PunctuationPreTokenizer: new (config: { type: string; behavior: string }) => Splitter;
  WhitespacePreTokenizer: new () => Splitter;
  WhitespaceSplitPreTokenizer: new () => Splitter;
  WordPiece: new (config: unknown) => Model;
  Unigram: new (config: unknown, eos: string | undefined) => Model;
}

interface Model {
  encode(words: readonly string[]): string[];
}

export const library = module as unknown as Library;
