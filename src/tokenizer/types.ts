// What the rest of pith knows about a tokenizer. Text is UTF-16 in, UTF-16 out; ids are small integers.
// No tensors, no files, no models here.

/** Options of {@link Tokenizer.encode}. */
export interface EncodeOptions {
  /** Add the model's begin and end tokens as its own tokenizer would. Default true. */
  addSpecial?: boolean;
  /** Turn the text of control tokens (`<|im_end|>`) into their ids. Default false: it is plain text. */
  parseSpecial?: boolean;
}

/** Options of {@link Tokenizer.decode} and of a stream decoder. */
export interface DecodeOptions {
  /** Leave control tokens out of the text. Default false. */
  skipSpecial?: boolean;
}

/** Text to ids and back. Immutable; safe to share. */
export interface Tokenizer {
  /** Where it came from, for error messages: a folder or file name. */
  readonly name: string;
  /** Largest id + 1, added tokens included. A model's embedding may have more (padded) rows. */
  readonly vocabSize: number;
  /** @throws {TypeError} when `text` is not a string. */
  encode(text: string, options?: EncodeOptions): number[];
  /**
   * Ids of text whose parts are trusted differently (see {@link ChatSegment}); adds no begin or end token.
   * Text is cut only at tokens, so borders between segments do not change the ids.
   */
  encodeSegments(segments: readonly ChatSegment[]): number[];
  /** The same in parts: ids of each one. No token crosses from one part to the next. */
  encodeParts(parts: readonly (readonly ChatSegment[])[]): number[][];
  /**
   * Bytes of all tokens in a row, read as UTF-8 (invalid bytes become U+FFFD), less the one leading space
   * that SentencePiece-like tokenizers put before a text.
   * @throws {RangeError} for an id outside the vocabulary.
   */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** Bytes of one token (for streaming and constraints). A control token gives the bytes of its text. */
  tokenBytes(id: number): Uint8Array;
  /** True for control tokens: begin, end, turn marks, padding, unknown. */
  isSpecial(id: number): boolean;
  /** Id of an exact vocabulary entry, spelt as the file spells it (`"Ġthe"`, `"▁the"`, `"<|im_end|>"`). */
  tokenId(text: string): number | undefined;
  /** Vocabulary entry of an id, spelt as the file spells it. */
  tokenText(id: number): string | undefined;
  /** Text of every control token and its id. */
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly bosId?: number;
  readonly padId?: number;
  readonly unkId?: number;
  /** Tokens that end a turn or a text; the models layer adds those of `generation_config.json`. */
  readonly eosIds: readonly number[];
  /** True when `encode` puts `bosId` in front of a text. */
  readonly addsBos: boolean;
  /** True when `decode` takes one leading space away. */
  readonly stripsLeadingSpace: boolean;
  /** Source of the model's Jinja chat template, when it has one. */
  readonly chatTemplate?: string;
}

/** One message of a conversation, in the shape that chat templates expect. Extra fields are passed on. */
export interface ChatMessage {
  role: string;
  content?: unknown;
  [field: string]: unknown;
}

/** What a chat template sees. Values must be plain data (JSON). Extra fields are passed on. */
export interface ChatInput {
  messages: readonly ChatMessage[];
  tools?: readonly unknown[];
  documents?: readonly unknown[];
  add_generation_prompt?: boolean;
  bos_token?: string;
  eos_token?: string;
  [field: string]: unknown;
}

/** A run of rendered text. Only in a trusted one may the text of a control token become its id. */
export interface ChatSegment {
  text: string;
  trusted: boolean;
}
