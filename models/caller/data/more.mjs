// More things, actions and lookups, with many different words: from these a model learns to read what a function is called
// and about, since it cannot know them all. more/things-*.txt has lines of objects.mjs under "# field", actions.txt
// those of actions.mjs, lookups.txt "field|kind|names|attributes"; and things with names that nobody uses are put together
// of their words. Boundary: nothing here is about what procedural.mjs holds out.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { actionOf } from "./actions.mjs";
import { syllables } from "./lexicon.mjs";
import { lookupsOf } from "./lookups.mjs";
import { thingOf } from "./objects.mjs";
import { VERBS } from "./verbs.mjs";

const FOLDER = join(import.meta.dirname, "more");
const linesOf = (name) => readFileSync(join(FOLDER, name), "utf8").trim().split("\n");

/** Shares of the families of each kind, in a hundred; the rest are those of tools.mjs. */
const SHARES = { things: 30, made: 12, actions: 14, lookups: 9 };
/** Things of names that nobody uses, and fields that they are in. */
const MADE = 1200;
const FIELDS = 60;

let read;
/** { things, actions, lookups } of the files. */
function all() {
  if (read) return read;
  const things = [];
  for (const file of readdirSync(FOLDER)
    .filter((name) => name.startsWith("things"))
    .sort()) {
    let field = "";
    for (const line of linesOf(file)) {
      if (line.startsWith("# ")) field = line.slice(2);
      else things.push(thingOf(field, line));
    }
  }
  const lookups = linesOf("lookups.txt").flatMap((line) => {
    const [field, kind, names, attributes] = line.split("|");
    return lookupsOf(field, kind, names.split(" "), attributes);
  });
  read = { things, lookups, actions: linesOf("actions.txt").map(actionOf) };
  return read;
}

/** Things whose names are put together of words, or of syllables: { field, thing }. */
function made(things, chance, allowed) {
  const vocabulary = [...new Set(things.flatMap(({ noun }) => noun.split(" ")))].filter(
    (word) => word.length > 2,
  );
  const out = [];
  while (out.length < MADE) {
    const noun = chance.hit(0.25)
      ? `${syllables(chance)}${chance.hit(0.5) ? ` ${chance.pick(vocabulary)}` : ""}`
      : chance.some(vocabulary, 2).join(" ");
    const [like, other] = chance.some(things, 2);
    const roles = [...new Set([...chance.some(like.roles, 2), ...chance.some(other.roles, 2)])];
    const thing = { domain: chance.pick(vocabulary), noun, others: [noun], id: like.id, roles };
    if (allowed(thing)) out.push({ field: `made ${out.length % FIELDS}`, thing });
  }
  return out;
}

/**
 * Families of functions as those of tools.mjs, by kind, with their share: [{ share, families }].
 * @param held families that are held out: nothing is called as they are
 */
export function moreFamilies(chance, held) {
  const { things, actions, lookups } = all();
  const phrases = new Set(
    held.flatMap(({ thing, lookup, formula }) => thing?.others ?? lookup?.others ?? [formula?.result ?? ""]),
  );
  const words = new Set([...phrases].flatMap((phrase) => phrase.split(" ")));
  const ends = (phrase) => [...phrases].some((one) => phrase === one || phrase.endsWith(` ${one}`));
  const free = things.filter(({ others }) => !others.some(ends));
  const invented = made(free, chance, ({ noun }) => !noun.split(" ").some((word) => words.has(word)));
  const verbs = (domain, thing) =>
    VERBS.map((verb) => ({ kind: "thing", domain, key: thing.noun, thing, verb, more: true }));
  const families = {
    things: free.flatMap((thing) => verbs(thing.domain, thing)),
    made: invented.flatMap(({ field, thing }) => verbs(field, thing)),
    actions: actions.map((action) => {
      const { domain, descriptions } = action;
      return { kind: "action", domain: `${domain} more`, key: descriptions[0], action, more: true };
    }),
    lookups: lookups
      .filter(({ others }) => !others.some(ends))
      .map((lookup) => ({
        kind: "lookup",
        domain: `${lookup.domain} more`,
        key: lookup.attribute,
        lookup,
        more: true,
      })),
  };
  return Object.entries(families).map(([kind, list]) => ({ share: SHARES[kind], families: list }));
}
