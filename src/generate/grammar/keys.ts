// Keys of an object that are none of its named ones: a named key that came again could break its own schema.

import { complement, JSON_PLAIN, setAlternatives, union } from "./regex.ts";
import { type CharSet, either, type Rules } from "./rules.ts";

interface Node {
  readonly next: Map<string, Node>;
  end: boolean;
}

/** A JSON string without escapes that is none of `names`. */
export function otherKey(rules: Rules, names: readonly string[]): string {
  const root: Node = { next: new Map(), end: false };
  for (const name of names) {
    let node = root;
    for (const character of name) {
      let next = node.next.get(character);
      if (!next) node.next.set(character, (next = { next: new Map(), end: false }));
      node = next;
    }
    node.end = true;
  }
  const rest = rules.reserve();
  const any = setAlternatives(JSON_PLAIN, "plain").map((one) => `${one} ${rest}`);
  rules.define(rest, ['"\\""', ...any].join(" | "));
  return `"\\"" ${other(rules, root, rest)}`;
}

/** What may follow after the characters that lead to `node`, so that the whole is none of the names. */
function other(rules: Rules, node: Node, rest: string): string {
  const parts = node.end ? [] : ['"\\""'];
  const taken: CharSet = [...node.next.keys()].map((c) => [c.codePointAt(0)!, c.codePointAt(0)!] as const);
  for (const one of setAlternatives(without(JSON_PLAIN, taken), "plain")) parts.push(`${one} ${rest}`);
  // A character that is written with an escape cannot begin another key's spelling.
  for (const [character, next] of node.next)
    if (within(JSON_PLAIN, character.codePointAt(0)!))
      parts.push(`${rules.literal(character)} ${other(rules, next, rest)}`);
  return rules.rule(either(parts));
}

function within(set: CharSet, code: number): boolean {
  return set.some(([lo, hi]) => code >= lo && code <= hi);
}

function without(set: CharSet, taken: CharSet): CharSet {
  return complement(union([...complement(set), ...taken]));
}
