// Utterances in the manner of SNIPS with more of the world's names, and with those that belong together: a song and who
// sings it, a town and its state. world/<slot>.txt has names of a slot; songs, albums, states-* and countries have lines
// "whose: name | name". All of our own making, as known/ is.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { STATES } from "./places.mjs";
import { knownNames, knownSnips, phraseSnips } from "./snips-known.mjs";

const FOLDER = join(import.meta.dirname, "world");

/** Slots of the names and of whose they are. */
const PAIRED = {
  songs: ["track", "artist"],
  albums: ["album", "artist"],
  states: ["city", "state"],
  countries: ["city", "country"],
};

/** Names that are written in two ways. */
const SHORT = new Map(STATES.flatMap((name, i) => (i % 2 === 0 ? [[name, STATES[i + 1]]] : [])));

let read;
/** Names by slot, with those of known/, and pairs by their two slots: { names, pairs }. */
function world() {
  if (read) return read;
  const names = new Map([...knownNames()].map(([slot, list]) => [slot, new Set(list)]));
  const add = (slot, list) => {
    for (const name of list) names.get(slot).add(name);
  };
  const pairs = new Map();
  for (const file of readdirSync(FOLDER).sort()) {
    const kind = file.replace(/(-\d)?\.txt$/, "");
    const lines = readFileSync(join(FOLDER, file), "utf8").trim().split("\n");
    if (!(kind in PAIRED)) {
      for (const line of lines) add(kind, line.split(" | "));
      continue;
    }
    const slots = PAIRED[kind];
    const key = slots.join(" ");
    if (!pairs.has(key)) pairs.set(key, []);
    for (const line of lines) {
      const [, whose, rest] = /^(.+?): (.+)$/.exec(line);
      const list = rest.split(" | ");
      add(slots[0], list);
      add(slots[1], [whose]);
      pairs.get(key).push(...list.map((name) => [name, whose]));
    }
  }
  for (const name of [...names.get("track"), ...names.get("album")]) {
    names.get("entity_name").add(name);
    names.get("object_name").add(name);
  }
  read = { names: new Map([...names].map(([slot, set]) => [slot, [...set]])), pairs };
  return read;
}

export const worldNames = () => world().names;

/** Values for both slots of a pair that an utterance has. */
function together(parts, chance) {
  const has = new Set(parts.map(({ entity }) => entity));
  for (const [key, pairs] of world().pairs) {
    const [name, whose] = key.split(" ");
    if (!has.has(name) || !has.has(whose) || !chance.hit(0.5)) continue;
    const pair = chance.pick(pairs);
    const short = SHORT.get(pair[1]);
    return { [name]: pair[0], [whose]: short && chance.hit(0.5) ? short : pair[1] };
  }
  return {};
}

/** As knownSnips, with the world's names. */
export function worldSnips(utterance, values, chance) {
  return knownSnips(utterance, values, chance, worldNames(), together(utterance.parts, chance));
}

/** As phraseSnips. */
export const worldPhrase = (values, chance) => phraseSnips(values, chance, worldNames());
