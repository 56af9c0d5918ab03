// Regular expressions -> grammar: what a string must look like as a whole. The part of JavaScript's syntax (flag u) that
// describes plain strings; what looks around or back is refused.

import { LIMITS, within } from "./limits.ts";
import { utf8Patterns } from "./ranges.ts";
import { byteClass, type CharSet, either, type Rules, repeat } from "./rules.ts";

const LAST = 0x10ffff;
const ANY: CharSet = [[0, LAST]];
const DIGIT: CharSet = [[0x30, 0x39]];
const WORD: CharSet = [[0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]]; // biome-ignore format: a table
const SPACE: CharSet = union([[0x09, 0x0d], [0x20, 0x20], [0xa0, 0xa0], [0x1680, 0x1680], [0x2000, 0x200a],
  [0x2028, 0x2029], [0x202f, 0x202f], [0x205f, 0x205f], [0x3000, 0x3000], [0xfeff, 0xfeff]]); // biome-ignore format: a table
const LINE_ENDS: CharSet = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };

/** How characters are written where the string stands: as they are, or escaped within JSON. */
export type Spelling = "plain" | "json";

/** A part of a grammar, and how many characters it makes the library count. */
interface Piece {
  readonly text: string;
  readonly cost: number;
}

/**
 * @param where what messages call it
 * @throws {SyntaxError} on what is no regular expression, or what cannot be honoured
 * @throws {RangeError} on one that is too large
 */
export function regexExpression(rules: Rules, source: string, spelling: Spelling, where: string): string {
  within("characters", where, source.length, LIMITS.pattern);
  try {
    new RegExp(source, "u");
  } catch (error) {
    throw new SyntaxError(`Cannot constrain by ${where}: ${(error as Error).message}`);
  }
  const { text, cost } = new Parser(source, spelling, where).parse();
  return rules.counted(text, cost, where);
}

class Parser {
  readonly #characters: string[];
  readonly #spelling: Spelling;
  readonly #where: string;
  #at = 0;
  #depth = 0;

  constructor(source: string, spelling: Spelling, where: string) {
    this.#characters = Array.from(source);
    this.#spelling = spelling;
    this.#where = where;
  }

  parse(): Piece {
    return this.#alternatives(true, true);
  }

  /** @param first whether nothing can stand before it, so that ^ may; `last` likewise for $ */
  #alternatives(first: boolean, last: boolean): Piece {
    within("groups within groups:", this.#where, ++this.#depth, LIMITS.depth);
    const pieces = [this.#sequence(first, last)];
    while (this.#take("|")) pieces.push(this.#sequence(first, last));
    this.#depth--;
    return { text: either(pieces.map((p) => p.text)), cost: pieces.reduce((sum, p) => sum + p.cost, 0) };
  }

  #sequence(first: boolean, last: boolean): Piece {
    const texts: string[] = [];
    let cost = 0;
    if (first) while (this.#take("^"));
    while (this.#at < this.#characters.length && !"|)".includes(this.#peek())) {
      if (this.#peek() === "$" && last) {
        this.#at++;
        if (this.#at < this.#characters.length && !"|)".includes(this.#peek()))
          this.#refuse("$ before the end");
        break;
      }
      const piece = this.#quantified();
      texts.push(piece.text);
      cost += piece.cost;
    }
    return { text: texts.length > 0 ? texts.join(" ") : '""', cost };
  }

  #quantified(): Piece {
    const { text, cost } = this.#atom();
    let min = 1;
    let max = 1;
    const mark = this.#peek();
    if (mark === "*" || mark === "+" || mark === "?") {
      this.#at++;
      min = mark === "+" ? 1 : 0;
      max = mark === "?" ? 1 : Infinity;
    } else if (mark === "{") {
      const end = this.#characters.indexOf("}", this.#at);
      const [low, high] = this.#characters
        .slice(this.#at + 1, end)
        .join("")
        .split(",");
      this.#at = end + 1;
      min = Number(low);
      max = high === undefined ? min : high === "" ? Infinity : Number(high);
    } else return { text, cost };
    this.#take("?"); // lazy: the same strings
    const times = max === Infinity ? min + 1 : max;
    within("characters to count:", this.#where, Math.ceil(times * cost), LIMITS.counted);
    within("repetitions", this.#where, times, LIMITS.items);
    return { text: repeat(text, min, max), cost: cost * Math.max(1, times) };
  }

  #atom(): Piece {
    const c = this.#characters[this.#at++]!;
    if (c === "(") {
      if (this.#take("?")) {
        if (this.#take("<")) {
          if ("=!".includes(this.#peek())) this.#refuse("a look-behind");
          this.#at = this.#characters.indexOf(">", this.#at) + 1;
        } else if (!this.#take(":")) this.#refuse("a look-ahead or a modifier");
      }
      const inner = this.#alternatives(false, false);
      this.#at++; // ")"
      return { text: `(${inner.text})`, cost: inner.cost };
    }
    if (c === "^" || c === "$") this.#refuse(`${c} within it`);
    if (c === "[") return this.#spell(this.#class());
    if (c === ".") return this.#spell(complement(LINE_ENDS));
    if (c === "\\") return this.#spell(this.#escape(false));
    return this.#spell(single(c.codePointAt(0)!));
  }

  /** After "[". */
  #class(): CharSet {
    const negated = this.#take("^");
    const parts: (readonly [number, number])[] = [];
    while (!this.#take("]")) {
      const low = this.#member();
      if (low.length === 1 && low[0]![0] === low[0]![1] && this.#peek() === "-" && this.#peek(1) !== "]") {
        this.#at++;
        parts.push([low[0]![0], this.#member()[0]![1]]);
      } else parts.push(...low);
    }
    const set = union(parts);
    return negated ? complement(set) : set;
  }

  #member(): CharSet {
    const c = this.#characters[this.#at++]!;
    return c === "\\" ? this.#escape(true) : single(c.codePointAt(0)!);
  }

  /** After "\". */
  #escape(inClass: boolean): CharSet {
    const c = this.#characters[this.#at++]!;
    if (c === "d" || c === "D") return c === "d" ? DIGIT : complement(DIGIT);
    if (c === "w" || c === "W") return c === "w" ? WORD : complement(WORD);
    if (c === "s" || c === "S") return c === "s" ? SPACE : complement(SPACE);
    if (c === "b" && inClass) return single(8);
    if (c === "c") return single(this.#characters[this.#at++]!.codePointAt(0)! % 32);
    if (c in CONTROLS) return single(CONTROLS[c]!);
    if (c === "x") return single(this.#hex(2));
    if (c === "u") return single(this.#unicode());
    if (/[A-Za-z1-9]/.test(c)) this.#refuse(`\\${c}`);
    return single(c.codePointAt(0)!);
  }

  #unicode(): number {
    if (this.#take("{")) return this.#hex(this.#characters.indexOf("}", this.#at) - this.#at, 1);
    const high = this.#hex(4);
    if (high < 0xd800 || high > 0xdbff || this.#peek() !== "\\" || this.#peek(1) !== "u") return high;
    this.#at += 2;
    return 0x10000 + ((high - 0xd800) << 10) + (this.#hex(4) - 0xdc00);
  }

  #hex(digits: number, skip = 0): number {
    const text = this.#characters.slice(this.#at, this.#at + digits).join("");
    this.#at += digits + skip;
    return Number.parseInt(text, 16);
  }

  /** One character of a set, as it is written. */
  #spell(set: CharSet): Piece {
    const alternatives = setAlternatives(set, this.#spelling);
    if (alternatives.length === 0) this.#refuse("a character that cannot be written");
    const ascii = set.reduce(
      (n, [lo, hi]) => n + Math.max(0, Math.min(hi, 0x7e) - Math.max(lo, 0x20) + 1),
      0,
    );
    return { text: either(alternatives), cost: Math.max(1, ascii) / 95 };
  }

  #peek(ahead = 0): string {
    return this.#characters[this.#at + ahead] ?? "";
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }

  #refuse(what: string): never {
    throw new SyntaxError(
      `Cannot constrain by ${this.#where}: it has ${what}, wanted characters, classes, groups, | and quantifiers`,
    );
  }
}

/** Escapes of JSON that are one letter. Other control characters are never written. */
const JSON_ESCAPES: readonly (readonly [number, string])[] = [
  [0x22, '"'],
  [0x5c, "\\"],
  [0x08, "b"],
  [0x0c, "f"],
  [0x0a, "n"],
  [0x0d, "r"],
  [0x09, "t"],
];
/** Characters that stand in a JSON string as they are. */
export const JSON_PLAIN: CharSet = complement([[0, 0x1f], [0x22, 0x22], [0x5c, 0x5c]]); // biome-ignore format: a table

/** The ways to write one character of the set; none where it cannot be written. */
export function setAlternatives(set: CharSet, spelling: Spelling): string[] {
  const plain = spelling === "json" ? intersection(set, JSON_PLAIN) : set;
  const patterns = plain.flatMap(([lo, hi]) => utf8Patterns(lo, hi));
  const ascii = patterns.filter((p) => p.length === 1).map(([range]) => range!);
  const parts = ascii.length > 0 ? [byteClass(ascii)] : [];
  for (const p of patterns) if (p.length > 1) parts.push(p.map((range) => byteClass([range])).join(" "));
  if (spelling === "json") {
    const escaped = JSON_ESCAPES.filter(([code]) => intersection(set, single(code)).length > 0);
    const codes = union(escaped.map(([, letter]) => single(letter.charCodeAt(0))[0]!));
    if (escaped.length > 0) parts.push(`"\\\\" ${byteClass(codes)}`);
  }
  return parts;
}

/** The ways to write any character of a JSON string. */
export const JSON_CHARACTERS: readonly string[] = setAlternatives(ANY, "json");

function single(code: number): CharSet {
  return [[code, code]];
}

export function union(ranges: readonly (readonly [number, number])[]): CharSet {
  const out: [number, number][] = [];
  for (const [lo, hi] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = out.at(-1);
    if (last && lo <= last[1] + 1) last[1] = Math.max(last[1], hi);
    else out.push([lo, hi]);
  }
  return out;
}

/** What is not in the set. */
export function complement(set: CharSet): CharSet {
  const out: [number, number][] = [];
  let next = 0;
  for (const [lo, hi] of set) {
    if (lo > next) out.push([next, lo - 1]);
    next = hi + 1;
  }
  if (next <= LAST) out.push([next, LAST]);
  return out;
}

function intersection(a: CharSet, b: CharSet): CharSet {
  return a.flatMap(([lo, hi]) =>
    b.flatMap(([l, h]): [number, number][] =>
      Math.max(lo, l) <= Math.min(hi, h) ? [[Math.max(lo, l), Math.min(hi, h)]] : [],
    ),
  );
}
