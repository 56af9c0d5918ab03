// A grammar under construction, in the EBNF of XGrammar: rules by name, equal bodies once. Knows no schema.

import { LIMITS, within } from "./limits.ts";

export class Rules {
  readonly #rules = new Map<string, string>();
  readonly #byBody = new Map<string, string>();
  #literals = 0;
  #counted = 0;

  /** The name of a rule with this body. */
  rule(body: string): string {
    const known = this.#byBody.get(body);
    if (known) return known;
    const name = this.reserve();
    this.define(name, body);
    this.#byBody.set(body, name);
    return name;
  }

  /** A name that gets its body later: rules may refer to themselves. */
  reserve(): string {
    const name = `r${this.#rules.size}`;
    this.#rules.set(name, "");
    return name;
  }

  define(name: string, body: string): void {
    this.#rules.set(name, body);
  }

  /** Text that must stand there. */
  literal(text: string): string {
    this.#literals += text.length;
    within("characters of literals", "a schema", this.#literals, LIMITS.literals);
    return text === "" ? '""' : `"${Array.from(text, quoted).join("")}"`;
  }

  /** A rule of counted characters; `cost` in characters of any kind. Equal ones are compiled, and counted, once. */
  counted(body: string, cost: number, where: string): string {
    if (!this.#byBody.has(body)) {
      this.#counted += cost;
      within("characters to count:", where, Math.ceil(this.#counted), LIMITS.counted);
    }
    return this.rule(body);
  }

  /** The whole grammar; `root` is an expression. */
  text(root: string): string {
    return [`root ::= ${root}`, ...[...this.#rules].map(([name, body]) => `${name} ::= ${body}`)].join("\n");
  }
}

/** One of several expressions. */
export function either(expressions: readonly string[]): string {
  return expressions.length === 1 ? expressions[0]! : `(${[...new Set(expressions)].join(" | ")})`;
}

/** From `min` to `max` times; Infinity: no end. */
export function repeat(expression: string, min: number, max: number): string {
  if (max === 0) return '""';
  if (min === 1 && max === 1) return expression;
  const one = /^(\[[^ ]*\]|\w+)$/.test(expression) ? expression : `(${expression})`;
  if (max === Infinity) return min === 0 ? `${one}*` : min === 1 ? `${one}+` : `${one}{${min},}`;
  return min === 0 && max === 1 ? `${one}?` : `${one}{${min},${max}}`;
}

/** Ranges of code points or bytes, ascending and apart. */
export type CharSet = readonly (readonly [number, number])[];

/**
 * A class of bytes. The library takes what a class holds as bytes, and a class of one as a character: two equal ones
 * remain a class.
 */
export function byteClass(set: CharSet): string {
  const only = set.length === 1 && set[0]![0] === set[0]![1] && set[0]![0] > 0x7f;
  const parts = (only ? [...set, ...set] : set).map(([lo, hi]) =>
    lo === hi ? classEscape(lo) : `${classEscape(lo)}-${classEscape(hi)}`,
  );
  return `[${parts.join("")}]`;
}

function quoted(character: string): string {
  const code = character.codePointAt(0)!;
  if (character === '"' || character === "\\") return `\\${character}`;
  return code >= 0x20 && code < 0x7f ? character : wide(code);
}

function classEscape(code: number): string {
  const character = String.fromCodePoint(code);
  return /[A-Za-z0-9]/.test(character) ? character : `\\u${code.toString(16).padStart(4, "0")}`;
}

function wide(code: number): string {
  return `\\U${code.toString(16).padStart(8, "0")}`;
}
