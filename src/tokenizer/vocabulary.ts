// A vocabulary: what each id spells, what kind of token it is and which bytes it stands for.

/** Kinds of tokens, with GGUF's numbers (`tokenizer.ggml.token_type`). */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, user: 4, unused: 5, byte: 6 } as const;

/**
 * How an entry spells bytes. `byte-level`: one character per byte, GPT-2's table. `metaspace`: UTF-8 with
 * U+2581 for a space and `<0x0A>` for a byte. `wordpiece`: UTF-8, `##` in front of a piece that continues a word.
 */
export type Spelling = "byte-level" | "metaspace" | "wordpiece";

/** Ids beyond this are refused: the largest published vocabularies hold about 260,000. */
export const MAX_VOCABULARY = 1 << 20;

export const METASPACE = "\u2581";

export class Vocabulary {
  readonly name: string;
  /** Entry of each id as the file spells it; undefined where the file leaves a gap. */
  readonly tokens: readonly (string | undefined)[];
  readonly types: Uint8Array;
  readonly spelling: Spelling;
  readonly ids: ReadonlyMap<string, number>;
  readonly special: ReadonlyMap<string, number>;
  readonly #bytes: (Uint8Array | undefined)[];

  constructor(name: string, tokens: readonly (string | undefined)[], types: Uint8Array, spelling: Spelling) {
    this.name = name;
    this.tokens = tokens;
    this.types = types;
    this.spelling = spelling;
    this.#bytes = new Array(tokens.length);
    const ids = new Map<string, number>();
    const special = new Map<string, number>();
    for (let id = 0; id < tokens.length; id++) {
      const token = tokens[id];
      if (token === undefined) continue;
      if (!ids.has(token)) ids.set(token, id);
      if (this.isSpecial(id) && token !== "" && !special.has(token)) special.set(token, id);
    }
    this.ids = ids;
    this.special = special;
  }

  isSpecial(id: number): boolean {
    const type = this.types[id];
    return type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown;
  }

  /** True for an entry that plain text may become: not a control token, not a byte, not unused. */
  isText(id: number): boolean {
    const type = this.types[id];
    return this.tokens[id] !== undefined && (type === TOKEN_TYPE.normal || type === TOKEN_TYPE.user);
  }

  /** Bytes that `id` stands for; the caller must not change them. @throws {RangeError} outside the vocabulary. */
  bytes(id: number): Uint8Array {
    const known = this.#bytes[id];
    if (known) return known;
    if (!Number.isInteger(id) || id < 0 || id >= this.tokens.length) {
      throw new RangeError(
        `Cannot decode token ${id}, want a whole number from 0 to ${this.tokens.length - 1} ("${this.name}")`,
      );
    }
    return (this.#bytes[id] = this.#spell(id));
  }

  #spell(id: number): Uint8Array {
    const token = this.tokens[id] ?? "";
    const type = this.types[id]!;
    if (type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown || type === TOKEN_TYPE.user) {
      return utf8(type === TOKEN_TYPE.user && this.spelling === "metaspace" ? spaces(token) : token);
    }
    if (this.spelling === "byte-level") return byteLevelBytes(token) ?? utf8(token);
    if (this.spelling === "wordpiece") return utf8(token.startsWith("##") ? token.slice(2) : ` ${token}`);
    const byte = type === TOKEN_TYPE.byte ? byteOf(token) : undefined;
    return byte === undefined ? utf8(spaces(token)) : Uint8Array.of(byte);
  }
}

/** The byte that `<0x0A>` names, or undefined for any other text. */
export function byteOf(token: string): number | undefined {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : undefined;
}

/** The entry that names a byte in vocabularies with byte fallback. */
export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

export function spaces(token: string): string {
  return token.replaceAll(METASPACE, " ");
}

/**
 * GPT-2's table: the character that stands for each byte. Printable Latin-1 stands for itself, the other 68
 * bytes are, in order, U+0100 and up.
 */
export const BYTE_CHARACTERS: readonly string[] = byteCharacters();

const characterBytes = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
}

/** Bytes of a token in GPT-2's spelling, or undefined when it holds a character that stands for no byte. */
export function byteLevelBytes(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = characterBytes.get(token[i]!);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

const encoder = new TextEncoder();

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}
