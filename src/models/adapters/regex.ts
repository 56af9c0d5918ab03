// Regular expressions of an adapter's config, which are untrusted: matched against module paths by following all
// ways at once (a Thompson automaton), so that no pattern takes more than pattern length times path length.
// Syntax is Python's as far as module names need it; what is not known is refused, never guessed.

/** Of a pattern, of the automaton that counted repeats unfold to, and of look-aheads, each a match by itself. */
const MAX_PATTERN = 4000;
const MAX_NODES = 8000;
const MAX_LOOKS = 8;

type Node =
  | { readonly kind: "char"; readonly test: (c: string) => boolean; next: number }
  | { readonly kind: "split"; next: number; other: number }
  | { readonly kind: "assert"; readonly test: (text: string, at: number) => boolean; next: number }
  | { readonly kind: "end" };

/** A pattern that was understood. */
export interface Matcher {
  /** Whether the whole of `text` matches. */
  full(text: string): boolean;
}

/**
 * @param where what errors call the pattern
 * @throws {SyntaxError} on syntax that is not known (look-behind, back references), or a pattern that is too large
 */
export function compilePattern(pattern: string, where: string): Matcher {
  const nodes = new Parser(pattern, where).nodes();
  return { full: (text) => matches(nodes, 0, text, 0, true) };
}

function matches(nodes: readonly Node[], start: number, text: string, from: number, whole: boolean): boolean {
  let now = new Set<number>();
  const follow = (into: Set<number>, first: number, at: number) => {
    const open = [first];
    while (open.length > 0) {
      const i = open.pop()!;
      if (into.has(i)) continue;
      into.add(i);
      const node = nodes[i]!;
      if (node.kind === "split") open.push(node.next, node.other);
      else if (node.kind === "assert" && node.test(text, at)) open.push(node.next);
    }
  };
  const ended = () => [...now].some((i) => nodes[i]!.kind === "end");
  follow(now, start, from);
  for (let at = from; at < text.length && now.size > 0; at++) {
    if (!whole && ended()) return true;
    const next = new Set<number>();
    for (const i of now) {
      const node = nodes[i]!;
      if (node.kind === "char" && node.test(text[at]!)) follow(next, node.next, at + 1);
    }
    now = next;
  }
  return ended();
}

const WORD = /\w/;
const CLASSES: Record<string, (c: string) => boolean> = {
  d: (c) => /\d/.test(c),
  D: (c) => !/\d/.test(c),
  w: (c) => WORD.test(c),
  W: (c) => !WORD.test(c),
  s: (c) => /\s/.test(c),
  S: (c) => !/\s/.test(c),
};
const atBoundary = (text: string, at: number) => WORD.test(text[at - 1] ?? "") !== WORD.test(text[at] ?? "");

/** A stretch of pattern, built anew for each repeat: `build(next)` gives the node it begins with. */
type Build = (next: number) => number;

class Parser {
  readonly #source: string;
  readonly #where: string;
  readonly #nodes: Node[] = [];
  #at = 0;
  #looks = 0;
  #looking = false;

  constructor(source: string, where: string) {
    this.#source = source;
    this.#where = where;
  }

  /** The automaton; it starts at node 0. */
  nodes(): Node[] {
    if (this.#source.length > MAX_PATTERN)
      this.#refuse(`it has ${this.#source.length} characters, wanted at most ${MAX_PATTERN}`);
    const start = this.#add({ kind: "split", next: 0, other: 0 }) as 0;
    const build = this.#alternation(0);
    if (this.#at < this.#source.length) this.#refuse(`an unopened ) at character ${this.#at}`);
    const first = build(this.#add({ kind: "end" }));
    this.#nodes[start] = { kind: "split", next: first, other: first };
    return this.#nodes;
  }

  #refuse(reason: string): never {
    const shown = this.#source.length > 80 ? `${this.#source.slice(0, 80)}...` : this.#source;
    throw new SyntaxError(`${this.#where}: cannot use the pattern ${JSON.stringify(shown)}: ${reason}`);
  }

  #add(node: Node): number {
    if (this.#nodes.length >= MAX_NODES) this.#refuse("its repeats are too many");
    return this.#nodes.push(node) - 1;
  }

  #alternation(depth: number): Build {
    if (depth > 50) this.#refuse("groups nested more than 50 deep");
    const ways = [this.#sequence(depth)];
    while (this.#source[this.#at] === "|") {
      this.#at++;
      ways.push(this.#sequence(depth));
    }
    return (next) =>
      ways
        .map((way) => way(next))
        .reduceRight((other, first) => this.#add({ kind: "split", next: first, other }));
  }

  #sequence(depth: number): Build {
    const items: Build[] = [];
    while (this.#at < this.#source.length && !"|)".includes(this.#source[this.#at]!))
      items.push(this.#repeated(this.#atom(depth)));
    return (next) => items.reduceRight((after, item) => item(after), next);
  }

  #repeated(atom: Build): Build {
    const found = /^(?:([*+?])|\{(\d{1,4})?(,)?(\d{1,4})?\})[?+]?/.exec(
      this.#source.slice(this.#at, this.#at + 16),
    );
    if (!found) return atom;
    if (found[0].endsWith("+") && found[0].length > 1) this.#refuse("a possessive repeat");
    if (!found[1] && !found[2] && !(found[3] && found[4])) return atom; // "{}" and "{,}" are characters
    this.#at += found[0].length;
    const min = found[1] ? (found[1] === "+" ? 1 : 0) : Number(found[2] ?? 0);
    const max = found[1]
      ? found[1] === "?"
        ? 1
        : Infinity
      : found[4]
        ? Number(found[4])
        : found[3]
          ? Infinity
          : min;
    if (max < min) this.#refuse(`a repeat from ${min} to ${max}`);
    return (next) => {
      let first = next;
      if (max === Infinity) {
        const loop = this.#add({ kind: "split", next: 0, other: next });
        this.#nodes[loop] = { kind: "split", next: atom(loop), other: next };
        first = loop;
      } else
        for (let i = min; i < max; i++) first = this.#add({ kind: "split", next: atom(first), other: next });
      for (let i = 0; i < min; i++) first = atom(first);
      return first;
    };
  }

  #atom(depth: number): Build {
    const c = this.#source[this.#at++]!;
    if (c === "(") return this.#group(depth);
    if (c === "[") return this.#char(this.#set());
    if (c === ".") return this.#char((x) => x !== "\n");
    if (c === "^") return this.#assert((_, at) => at === 0);
    if (c === "$") return this.#assert((text, at) => at === text.length);
    if (c === "\\") return this.#escape();
    if ("*+?".includes(c)) this.#refuse(`a ${c} that repeats nothing, at character ${this.#at - 1}`);
    return this.#char((x) => x === c);
  }

  #group(depth: number): Build {
    const open = /^\?(:|P<\w+>|=|!)/.exec(this.#source.slice(this.#at, this.#at + 80));
    if (!open && this.#source[this.#at] === "?")
      this.#refuse(`a group of an unknown kind at character ${this.#at - 1}`);
    if (open) this.#at += open[0].length;
    const looks = open?.[1] === "=" || open?.[1] === "!";
    if (looks && (this.#looking || ++this.#looks > MAX_LOOKS))
      this.#refuse(`a look-ahead inside another, or more than ${MAX_LOOKS}`);
    this.#looking ||= looks;
    const inner = this.#alternation(depth + 1);
    if (looks) this.#looking = false;
    if (this.#source[this.#at++] !== ")") this.#refuse("an unclosed (");
    if (!looks) return inner;
    const start = inner(this.#add({ kind: "end" }));
    return this.#assert((text, at) => matches(this.#nodes, start, text, at, false) === (open[1] === "="));
  }

  #escape(): Build {
    const c = this.#source[this.#at++];
    if (c === undefined) this.#refuse("a \\ at its end");
    const known = CLASSES[c];
    if (known) return this.#char(known);
    if (c === "b" || c === "B") return this.#assert((text, at) => atBoundary(text, at) === (c === "b"));
    if (c === "A") return this.#assert((_, at) => at === 0);
    if (c === "Z") return this.#assert((text, at) => at === text.length);
    if (/[0-9A-Za-z]/.test(c)) this.#refuse(`\\${c}, which is not known`);
    return this.#char((x) => x === c);
  }

  /** What stands between brackets; the opening one is read. */
  #set(): (c: string) => boolean {
    const negated = this.#source[this.#at] === "^";
    if (negated) this.#at++;
    const tests: ((c: string) => boolean)[] = [];
    for (let first = true; ; first = false) {
      const c = this.#source[this.#at++];
      if (c === undefined) this.#refuse("an unclosed [");
      if (c === "]" && !first) break;
      let from = c;
      if (c === "\\") {
        from = this.#source[this.#at++] ?? "";
        const known = CLASSES[from];
        if (known) {
          tests.push(known);
          continue;
        }
        if (from === "" || /[0-9A-Za-z]/.test(from)) this.#refuse(`\\${from} in [ ], which is not known`);
      }
      const to = this.#source[this.#at + 1];
      if (this.#source[this.#at] === "-" && to !== undefined && to !== "]") {
        if (to === "\\" || to < from) this.#refuse(`the range ${from}-${to}`);
        this.#at += 2;
        tests.push((x) => x >= from && x <= to);
      } else tests.push((x) => x === from);
    }
    return (x) => tests.some((test) => test(x)) !== negated;
  }

  #char(test: (c: string) => boolean): Build {
    return (next) => this.#add({ kind: "char", test, next });
  }

  #assert(test: (text: string, at: number) => boolean): Build {
    return (next) => this.#add({ kind: "assert", test, next });
  }
}
