// Strings of a JSON answer that must stand in a given text, character for character: which tokens may come next. Knows no
// schema: what is JSON is the grammar's concern, whose mask is narrowed.

import type { Tokenizer } from "../tokenizer/index.ts";

/** Keys and indices from the root of the document to a value. */
export type JsonPath = readonly (string | number)[];

/** Which strings of an answer must be parts of a text. */
export interface Verbatim {
  readonly text: string;
  /**
   * Whether the string at `path` must.
   * @param valueAt gives strings of the document that are complete
   */
  at(path: JsonPath, valueAt: (path: JsonPath) => string | undefined): boolean;
}

/** Bytes of the longest token that is looked for in a text: shorter ones spell what longer ones would. */
const LONGEST = 24;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** What a letter after a backslash stands for: all escapes that the grammar writes. */
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/** Tokens by their bytes, one character for each byte. Made once for a model. */
export class TokenBytes {
  readonly bytes: readonly Uint8Array[];
  /** Tokens without a quote or a backslash, by their bytes, if these are few enough. */
  readonly plain = new Map<string, number[]>();
  /** The others that have bytes. */
  readonly special: number[] = [];
  /** Bytes of the longest plain one. */
  readonly longest: number;

  constructor(tokenizer: Tokenizer, vocab_size: number) {
    const known = Math.min(vocab_size, tokenizer.vocabSize);
    this.bytes = Array.from({ length: known }, (_, id) =>
      tokenizer.isSpecial(id) ? new Uint8Array(0) : tokenizer.tokenBytes(id),
    );
    let longest = 0;
    for (const [id, bytes] of this.bytes.entries()) {
      if (bytes.length === 0) continue;
      if (bytes.includes(QUOTE) || bytes.includes(BACKSLASH)) {
        this.special.push(id);
        continue;
      }
      if (bytes.length > LONGEST) continue;
      longest = Math.max(longest, bytes.length);
      const key = latin(bytes);
      const same = this.plain.get(key);
      if (same) same.push(id);
      else this.plain.set(key, [id]);
    }
    this.longest = longest;
  }
}

const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const utf8 = (bytes: string): string => Buffer.from(bytes, "latin1").toString("utf8");

/** One answer as it grows. Bytes that are no JSON are nothing that it minds. */
export class VerbatimAnswer {
  readonly #rule: Verbatim;
  readonly #tokens: TokenBytes;
  /** The text, a character for each byte. */
  readonly #source: string;
  /** Plain tokens that the source holds: what may begin a string. */
  #beginnings: number[] | undefined;
  #state: Reading = {
    path: [],
    keys: [],
    inString: false,
    escaped: false,
    isKey: false,
    held: false,
    said: "",
  };
  readonly #complete = new Map<string, string>();

  constructor(rule: Verbatim, tokens: TokenBytes) {
    this.#rule = rule;
    this.#tokens = tokens;
    this.#source = Buffer.from(rule.text, "utf8").toString("latin1");
  }

  /** Adds a token that was chosen. */
  add(id: number): void {
    const bytes = this.#tokens.bytes[id];
    if (bytes) this.#read(this.#state, bytes, true);
  }

  /**
   * What is left of a mask (bit id % 32 of word id / 32). A mask that nothing has to be taken from is given back.
   * @throws {Error} when nothing is left
   */
  narrow(mask: Uint32Array): Uint32Array {
    const has = (id: number) => ((mask[id >>> 5]! >>> (id & 31)) & 1) === 1;
    const { held, escaped, said } = this.#state;
    if (!held) {
      // A token may end one string and begin the next.
      const bad = this.#tokens.special.filter((id) => has(id) && !this.#fits(id));
      if (bad.length === 0) return mask;
      const out = mask.slice();
      for (const id of bad) out[id >>> 5]! &= ~(1 << (id & 31));
      return this.#checked(out);
    }
    const out = new Uint32Array(mask.length);
    const allow = (id: number) => {
      out[id >>> 5]! |= 1 << (id & 31);
    };
    if (escaped) {
      for (const id of this.#tokens.bytes.keys()) if (has(id) && this.#fits(id)) allow(id);
      return this.#checked(out);
    }
    for (const ids of this.#following(said)) for (const id of ids) if (has(id)) allow(id);
    for (const id of this.#tokens.special) if (has(id) && this.#fits(id)) allow(id);
    return this.#checked(out);
  }

  #checked(out: Uint32Array): Uint32Array {
    const { said, path } = this.#state;
    if (out.every((word) => word === 0))
      throw new Error(
        `Cannot go on verbatim: nothing of the text follows ${JSON.stringify(utf8(said))} in ${JSON.stringify(path.join("/"))}, and the schema lets no string end there`,
      );
    return out;
  }

  /** Plain tokens that go on with a part of the source. */
  #following(said: string): number[][] {
    if (said === "") {
      this.#beginnings ??= [...new Set(this.#from(allPlaces(this.#source, "")).flat())];
      return [this.#beginnings];
    }
    return this.#from(allPlaces(this.#source, said));
  }

  #from(places: readonly number[]): number[][] {
    const { plain, longest } = this.#tokens;
    const found = new Map<string, number[]>();
    for (const place of places)
      for (let length = 1; length <= longest && place + length <= this.#source.length; length++) {
        const key = this.#source.slice(place, place + length);
        const ids = plain.get(key);
        if (ids) found.set(key, ids);
      }
    return [...found.values()];
  }

  /** Whether a token keeps every string that is held within the source. */
  #fits(id: number): boolean {
    const { path, keys, ...flat } = this.#state;
    const state = { ...flat, path: [...path], keys: [...keys] };
    if (!this.#read(state, this.#tokens.bytes[id]!, false)) return false;
    const { held, escaped, said } = state;
    return !(held && escaped) || Object.values(ESCAPES).some((one) => this.#source.includes(said + one));
  }

  /** Goes on with bytes. False where a string that must is no part of the source. @param keep what is complete */
  #read(state: Reading, bytes: Uint8Array, keep: boolean): boolean {
    for (const byte of bytes) {
      if (state.inString) {
        const character = String.fromCharCode(byte);
        if (state.escaped) {
          state.said += ESCAPES[character] ?? "";
          state.escaped = false;
          continue;
        }
        if (byte === BACKSLASH) state.escaped = true;
        else if (byte !== QUOTE) state.said += character;
        if (byte !== QUOTE) continue;
        if (state.held && !this.#source.includes(state.said)) return false;
        const text = utf8(state.said);
        if (state.isKey) state.path[state.path.length - 1] = text;
        else if (keep) this.#complete.set(JSON.stringify(state.path), text);
        state.inString = state.held = false;
        continue;
      }
      const inObject = state.keys.length > 0 && state.keys.at(-1) !== undefined;
      switch (byte) {
        case QUOTE:
          state.inString = true;
          state.said = "";
          state.isKey = inObject && state.keys.at(-1) === true;
          state.held =
            !state.isKey && this.#rule.at(state.path, (path) => this.#complete.get(JSON.stringify(path)));
          break;
        case 0x7b: // {
          state.keys.push(true);
          state.path.push("");
          break;
        case 0x5b: // [
          state.keys.push(undefined);
          state.path.push(0);
          break;
        case 0x7d: // }
        case 0x5d: // ]
          state.keys.pop();
          state.path.pop();
          break;
        case 0x3a: // :
          state.keys[state.keys.length - 1] = false;
          break;
        case 0x2c: // ,
          if (inObject) state.keys[state.keys.length - 1] = true;
          else if (state.path.length > 0) (state.path[state.path.length - 1] as number)++;
      }
    }
    return !state.held || this.#source.includes(state.said);
  }
}

interface Reading {
  path: (string | number)[];
  /** Of each open bracket: undefined for a list; of an object whether a key comes next. */
  keys: (boolean | undefined)[];
  inString: boolean;
  escaped: boolean;
  isKey: boolean;
  /** The string must be a part of the source. */
  held: boolean;
  /** Of the string so far, escapes undone, a character for each byte. */
  said: string;
}

/** Where a source goes on after each place that it holds `said`. */
function allPlaces(source: string, said: string): number[] {
  if (said === "") return Array.from(source, (_, place) => place);
  const places: number[] = [];
  for (let at = source.indexOf(said); at >= 0; at = source.indexOf(said, at + 1))
    places.push(at + said.length);
  return places;
}
