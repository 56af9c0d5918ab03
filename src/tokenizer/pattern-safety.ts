// Decides whether a regular expression from a file may be run. Reads patterns; never runs one.

import { isKnownPattern, KNOWN_PRE } from "./patterns.ts";

const MAX_PATTERN = 4096;
/** Repeat counts up to here are as good as constant. */
const SMALL_REPEAT = 64;

const knownAlternatives = new Set(
  KNOWN_PRE.flatMap((pre) => pre.steps).flatMap((step) => splitAlternatives(step)),
);

/**
 * Refuses a pattern that a text could make slow. Known patterns pass. In any other, each top-level alternative
 * must be one of a known pattern, or be unable to fail after a long run: whatever follows an unbounded
 * repetition may match nothing, nothing inside a repeated group repeats, and there are no back references.
 * An attempt then either fails within a constant number of steps or keeps what it read, so that a text is split
 * in linear time.
 * @throws {SyntaxError} naming the place that is refused.
 */
export function checkPattern(pattern: string, where: string): void {
  if (pattern.length > MAX_PATTERN) {
    throw new SyntaxError(
      `${where}: the pattern has ${pattern.length} characters, want at most ${MAX_PATTERN}`,
    );
  }
  if (isKnownPattern(pattern)) return;
  const alternatives = splitAlternatives(pattern);
  const covered = alternatives.some((a) => /^\\s\+(\(\?!\\S\))?$/.test(a));
  for (const alternative of alternatives) {
    // These two fail after reading a whole run of spaces, unless a later alternative then takes the run.
    if (knownAlternatives.has(alternative) && (covered || !alternative.startsWith("\\s"))) continue;
    const reason = new Reader(alternative).reason();
    if (reason) {
      throw new SyntaxError(
        `${where}: the pattern ${JSON.stringify(pattern)} could take very long on some texts (${reason} in ` +
          `${JSON.stringify(alternative)}), want a pattern of a known model or one whose repetitions cannot fail`,
      );
    }
  }
}

/** The parts between the bars that stand outside every group and class. */
export function splitAlternatives(pattern: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let inClass = 0;
  let start = 0;
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]!;
    if (c === "\\") i++;
    else if (c === "[") inClass++;
    else if (c === "]" && inClass > 0) inClass--;
    else if (inClass > 0) continue;
    else if (c === "(") depth++;
    else if (c === ")") depth--;
    else if (c === "|" && depth === 0) {
      parts.push(pattern.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(pattern.slice(start));
  return parts;
}

/** What a stretch of pattern can do. */
interface Shape {
  /** May match nothing, whatever comes. */
  nullable: boolean;
  /** Holds an unbounded repetition. */
  unbounded: boolean;
  /** Holds a repetition whose count may vary. */
  varies: boolean;
}

class Reader {
  readonly #source: string;
  #at = 0;
  #reason: string | undefined;

  constructor(source: string) {
    this.#source = source;
  }

  /** Why the pattern is refused, or undefined. */
  reason(): string | undefined {
    this.#alternation(0);
    if (!this.#reason && this.#at < this.#source.length) this.#refuse("an unopened )");
    return this.#reason;
  }

  #refuse(reason: string): void {
    this.#reason ??= reason;
    this.#at = this.#source.length;
  }

  #alternation(depth: number): Shape {
    if (depth > 32) this.#refuse("groups nested more than 32 deep");
    const all: Shape = { nullable: false, unbounded: false, varies: false };
    let count = 0;
    for (;;) {
      const one = this.#sequence(depth);
      count++;
      all.nullable ||= one.nullable;
      all.unbounded ||= one.unbounded;
      all.varies ||= one.varies;
      if (this.#source[this.#at] !== "|") break;
      this.#at++;
    }
    if (count > 1) all.varies = true;
    return all;
  }

  #sequence(depth: number): Shape {
    const all: Shape = { nullable: true, unbounded: false, varies: false };
    while (this.#at < this.#source.length && !"|)".includes(this.#source[this.#at]!)) {
      const item = this.#item(depth);
      if (all.unbounded && !item.nullable) this.#refuse("something required after an unbounded repetition");
      all.nullable &&= item.nullable;
      all.unbounded ||= item.unbounded;
      all.varies ||= item.varies;
    }
    return all;
  }

  #item(depth: number): Shape {
    const atom = this.#atom(depth);
    const [min, max] = this.#quantifier();
    if (max === 1 && min === 1) return atom;
    if (max > 1 && atom.varies) this.#refuse("a repeated group that holds a repetition or a choice");
    if (max > 1 && atom.nullable) this.#refuse("a repeated group that may match nothing");
    return {
      nullable: min === 0 || atom.nullable,
      unbounded: atom.unbounded || max > SMALL_REPEAT,
      varies: atom.varies || min !== max,
    };
  }

  #atom(depth: number): Shape {
    const source = this.#source;
    const c = source[this.#at]!;
    if (c === "(") {
      const open = /^\((\?(:|i:|>|=|!|<=|<!|<[A-Za-z_]\w*>)|(?!\?))/.exec(
        source.slice(this.#at, this.#at + 80),
      );
      if (!open) {
        this.#refuse("a group of an unknown kind");
        return { nullable: true, unbounded: false, varies: false };
      }
      this.#at += open[0].length;
      const inner = this.#alternation(depth + 1);
      if (source[this.#at] !== ")") this.#refuse("an unclosed (");
      this.#at++;
      const looks = /^\(\?(=|!|<=|<!)$/.test(open[0]);
      if (looks && inner.unbounded) this.#refuse("an unbounded repetition in a lookaround");
      return looks ? { nullable: false, unbounded: false, varies: false } : inner;
    }
    if (c === "[") {
      this.#class();
    } else if (c === "\\") {
      const found = /^\\(?:[1-9]|k<|g<|[pPx]\{[^}]*\}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[\s\S])/.exec(
        source.slice(this.#at, this.#at + 80),
      );
      if (!found) this.#refuse("a \\ at the end");
      else if (/^\\(?:[1-9]|k<|g<)/.test(found[0])) this.#refuse("a back reference");
      this.#at += found?.[0].length ?? 1;
    } else if ("*+?".includes(c)) {
      this.#refuse(`a ${c} that repeats nothing`);
    } else {
      this.#at++;
    }
    return { nullable: false, unbounded: false, varies: false };
  }

  #class(): void {
    let depth = 0;
    do {
      const c = this.#source[this.#at];
      if (c === undefined) {
        this.#refuse("an unclosed [");
        return;
      }
      if (c === "\\") this.#at++;
      else if (c === "[") {
        depth++;
        // A bracket right after the opening one is a character.
        if (/^\^?\]/.test(this.#source.slice(this.#at + 1, this.#at + 3))) {
          this.#at += this.#source[this.#at + 1] === "^" ? 2 : 1;
        }
      } else if (c === "]") depth--;
      this.#at++;
    } while (depth > 0);
  }

  /** Least and most repetitions; a lazy or possessive mark changes neither. */
  #quantifier(): [number, number] {
    const rest = this.#source.slice(this.#at, this.#at + 24);
    const found = /^(?:([*+?])|\{(\d+)(?:(,)(\d*))?\})[+?]?/.exec(rest);
    if (!found) return [1, 1];
    this.#at += found[0].length;
    if (found[1]) return found[1] === "?" ? [0, 1] : [found[1] === "*" ? 0 : 1, Number.POSITIVE_INFINITY];
    const min = Number(found[2]);
    if (!found[3]) return [min, min];
    return [min, found[4] ? Number(found[4]) : Number.POSITIVE_INFINITY];
  }
}
