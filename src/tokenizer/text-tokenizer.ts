// The one implementation of Tokenizer: control tokens, sections of text, bytes back to text. How a section becomes
// ids is a function that the loaders supply.

import { type AddedToken, AddedTokens } from "./added-tokens.ts";
import type { ChatSegment, DecodeOptions, EncodeOptions, Tokenizer } from "./types.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** What the converters need to write a tokenizer in the other format. */
export interface TokenizerOrigin {
  /** Kind of model in GGUF's names; undefined for one that GGUF conversion does not cover here. */
  model?: "gpt2" | "llama";
  /** Merges in order, as pairs of entries. */
  merges?: readonly (readonly [string, string])[];
  /** Score of each entry: in SentencePiece the higher of two merges comes first. */
  scores?: Float32Array;
  /** Patterns that text is split by, in order. */
  patterns?: readonly string[];
  /** Words that are entries need no merges. */
  wholeWords?: boolean;
  /** U+2581 is put in front of a section. */
  spacePrefix?: boolean;
  /** The file it was read from, when that was a tokenizer.json. */
  json?: Record<string, unknown>;
  config?: Record<string, unknown>;
}

export interface TokenizerParts {
  vocabulary: Vocabulary;
  added: readonly AddedToken[];
  /** Appends the ids of plain text; `first` is true for what a text begins with. */
  encodeText(section: string, first: boolean, out: number[]): void;
  /** Ids around a text. */
  prefix: readonly number[];
  suffix: readonly number[];
  stripsLeadingSpace: boolean;
  bosId?: number | undefined;
  padId?: number | undefined;
  unkId?: number | undefined;
  eosIds: readonly number[];
  chatTemplate?: string | undefined;
  origin: TokenizerOrigin;
}

export class TextTokenizer implements Tokenizer {
  readonly name: string;
  readonly vocabSize: number;
  readonly specialTokens: ReadonlyMap<string, number>;
  declare readonly bosId?: number;
  declare readonly padId?: number;
  declare readonly unkId?: number;
  readonly eosIds: readonly number[];
  readonly addsBos: boolean;
  readonly stripsLeadingSpace: boolean;
  declare readonly chatTemplate?: string;
  readonly vocabulary: Vocabulary;
  readonly origin: TokenizerOrigin;
  readonly added: readonly AddedToken[];
  readonly #parts: TokenizerParts;
  /** Every added token, and those that are no control tokens. */
  readonly #all: AddedTokens;
  readonly #plain: AddedTokens;
  /** Those that take white space away, by id. */
  readonly #strips: ReadonlyMap<number, AddedToken>;

  constructor(parts: TokenizerParts) {
    this.#parts = parts;
    this.vocabulary = parts.vocabulary;
    this.name = parts.vocabulary.name;
    this.vocabSize = parts.vocabulary.tokens.length;
    this.specialTokens = parts.vocabulary.special;
    this.origin = parts.origin;
    this.added = parts.added;
    this.eosIds = parts.eosIds;
    this.addsBos = parts.bosId !== undefined && parts.prefix.includes(parts.bosId);
    this.stripsLeadingSpace = parts.stripsLeadingSpace;
    if (parts.bosId !== undefined) this.bosId = parts.bosId;
    if (parts.padId !== undefined) this.padId = parts.padId;
    if (parts.unkId !== undefined) this.unkId = parts.unkId;
    if (parts.chatTemplate !== undefined) this.chatTemplate = parts.chatTemplate;
    this.#strips = new Map(
      parts.added.filter((token) => token.lstrip || token.rstrip).map((token) => [token.id, token]),
    );
    this.#all = new AddedTokens(parts.added);
    this.#plain = new AddedTokens(parts.added.filter((token) => !token.special));
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    if (typeof text !== "string") {
      throw new TypeError(`Cannot encode ${typeof text}, want a string ("${this.name}")`);
    }
    const { addSpecial = true, parseSpecial = false } = options;
    const out: number[] = addSpecial ? [...this.#parts.prefix] : [];
    this.#encodePieces((parseSpecial ? this.#all : this.#plain).split(text), [out]);
    if (addSpecial) out.push(...this.#parts.suffix);
    return out;
  }

  encodeSegments(segments: readonly ChatSegment[]): number[] {
    return this.encodeParts([segments])[0]!;
  }

  encodeParts(parts: readonly (readonly ChatSegment[])[]): number[][] {
    const pieces: (string | number)[] = [];
    const ends: number[] = [];
    for (const segments of parts) {
      const start = pieces.length;
      for (const { text, trusted } of segments) {
        for (const piece of (trusted ? this.#all : this.#plain).split(text)) {
          // Text on both sides of a border is one text, so that it becomes the ids it would have as a whole.
          const last = pieces.length > start ? pieces[pieces.length - 1] : undefined;
          if (typeof piece === "string" && typeof last === "string") pieces[pieces.length - 1] = last + piece;
          else pieces.push(piece);
        }
      }
      ends.push(pieces.length);
    }
    const out = parts.map((): number[] => []);
    this.#encodePieces(pieces, out, ends);
    return out;
  }

  /** Ids of all pieces; those before `ends[k]` go to `out[k]`. */
  #encodePieces(pieces: (string | number)[], out: readonly number[][], ends = [pieces.length]): void {
    if (this.#strips.size > 0) this.#strip(pieces);
    let part = 0;
    for (const [i, piece] of pieces.entries()) {
      while (i >= ends[part]!) part++;
      if (typeof piece === "number") out[part]!.push(piece);
      else if (piece !== "") {
        const before = i > 0 && i === ends[part - 1] ? pieces[i - 1] : undefined;
        if (typeof before === "string") this.#encodeBehind(before, piece, i === 1, out[part]!);
        else this.#parts.encodeText(piece, i === 0, out[part]!);
      }
    }
  }

  /** Ids of `piece` as it goes on from `before`: a section of its own would begin with a space in SentencePiece. */
  #encodeBehind(before: string, piece: string, first: boolean, out: number[]): void {
    const tail = before.slice(Math.max(before.lastIndexOf("\n"), before.length - 32, 0));
    const [ids, both]: [number[], number[]] = [[], []];
    this.#parts.encodeText(tail, first && tail === before, ids);
    this.#parts.encodeText(tail + piece, first && tail === before, both);
    if (ids.every((id, i) => id === both[i])) for (const id of both.slice(ids.length)) out.push(id);
    else this.#parts.encodeText(piece, false, out);
  }

  /** Takes white space away where a token wants none beside it. */
  #strip(pieces: (string | number)[]): void {
    for (const [i, piece] of pieces.entries()) {
      const token = typeof piece === "number" ? this.#strips.get(piece) : undefined;
      if (!token) continue;
      const before = pieces[i - 1];
      const after = pieces[i + 1];
      if (token.lstrip && typeof before === "string") pieces[i - 1] = before.trimEnd();
      if (token.rstrip && typeof after === "string") pieces[i + 1] = after.trimStart();
    }
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const { vocabulary } = this;
    const { skipSpecial = false } = options;
    let size = 0;
    for (let i = 0; i < ids.length; i++) size += vocabulary.bytes(ids[i]!).length;
    const all = new Uint8Array(size);
    let end = 0;
    for (let i = 0; i < ids.length; i++) {
      if (skipSpecial && vocabulary.isSpecial(ids[i]!)) continue;
      const bytes = vocabulary.bytes(ids[i]!);
      all.set(bytes, end);
      end += bytes.length;
    }
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(all.subarray(0, end));
    return this.stripsLeadingSpace && text.startsWith(" ") ? text.slice(1) : text;
  }

  tokenBytes(id: number): Uint8Array {
    return this.vocabulary.bytes(id).slice();
  }

  isSpecial(id: number): boolean {
    return this.vocabulary.isSpecial(id);
  }

  tokenId(text: string): number | undefined {
    return this.vocabulary.ids.get(text);
  }

  tokenText(id: number): string | undefined {
    return this.vocabulary.tokens[id];
  }
}
