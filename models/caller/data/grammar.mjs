// Phrases of our own making, written as patterns, a line each: (a|b|c) is one of them, (a|) perhaps a, {name} one of a
// list. A file has headings "# name" over patterns, and lists "{name} = a | b | c", which may hold patterns themselves.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Patterns of a folder's files by their headings, and lists by their names: { patterns, lists }. */
export function readPhrases(folder) {
  const patterns = new Map();
  const lists = new Map();
  for (const file of readdirSync(folder).sort()) {
    let heading;
    for (const [at, raw] of readFileSync(join(folder, file), "utf8").split("\n").entries()) {
      const line = raw.trim();
      const where = `Cannot read ${file}, line ${at + 1}`;
      const list = /^\{(\w+)\} = (.+)$/.exec(line);
      if (line === "" || line.startsWith("//")) continue;
      if (list) {
        if (lists.has(list[1])) throw new SyntaxError(`${where}: a second list {${list[1]}}`);
        lists.set(list[1], list[2].split(" | "));
      } else if (line.startsWith("# ")) {
        heading = line.slice(2);
        if (!patterns.has(heading)) patterns.set(heading, []);
      } else if (heading === undefined) throw new SyntaxError(`${where}: a pattern without a heading`);
      else patterns.get(heading).push(line);
    }
  }
  return { patterns, lists };
}

/** A text of a pattern. Throws SyntaxError for a list that is not there, or a bracket that is not closed. */
export function expand(pattern, lists, chance) {
  let text = pattern;
  for (let inner = /\(([^()]*)\)|\{(\w+)\}/.exec(text); inner; inner = /\(([^()]*)\)|\{(\w+)\}/.exec(text)) {
    const [whole, choices, name] = inner;
    const from = choices === undefined ? lists.get(name) : choices.split("|");
    if (!from) throw new SyntaxError(`Cannot expand "${pattern}": there is no list {${name}}`);
    text = text.slice(0, inner.index) + chance.pick(from) + text.slice(inner.index + whole.length);
  }
  if (/[(){}|]/.test(text)) throw new SyntaxError(`Cannot expand "${pattern}": found "${text}"`);
  return text.replace(/\s+/g, " ").trim();
}
