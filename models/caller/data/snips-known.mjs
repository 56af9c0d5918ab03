// Utterances in the manner of SNIPS with names that everyone knows: known/<slot>.txt has the names of a slot, and
// known/phrases patterns of each intent, of our own making. What the held-out and test utterances say stays unread;
// names that they hold can occur here, as they do in the world.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expand, readPhrases } from "./grammar.mjs";
import { COUNTRIES, STATES } from "./places.mjs";
import { FIXED, MIXED } from "./snips.mjs";

const FOLDER = join(import.meta.dirname, "known");

/** Slots whose words are those of their intent, or of the question; a sentence written for one fits no other. */
const KEPT = new Set([
  ...FIXED,
  "object_type",
  "object_location_type",
  "object_part_of_series_type",
  "movie_type",
]);

/** What kind of value it is, for slots where the words before it depend on that: at six, on Monday, in a week. */
const KINDS = {
  timeRange: [
    ["now", /^now$/],
    ["part", /^(morning|afternoon|evening|night|week|weekend|month|year|spring|summer|autumn|fall|winter)$/],
    ["date", /^(mon|tues|wednes|thurs|fri|satur|sun)day$/],
    ["date", /^(christmas|thanksgiving|halloween|easter|diwali|ramadan|passover|hanukkah)$/],
    ["when", /^(in|this|next|last|right|today|tonight|tomorrow|later|the day)\b| from now$/],
    ["meal", /^(breakfast|brunch|lunch|dinner|supper|tea|teatime|elevenses|meal)$/],
    ["clock", /\d:\d|\b[ap]\.? ?m\b|o'clock|^(noon|midday|midnight|sunrise|sunset|dawn|dusk)$/],
    [
      "clock",
      /^(\d{1,2}|(six|seven|eight|nine|thir|four|fif)(teen|ty)?|[a-z]+teen|one|two|three|five|ten|twelve)$/,
    ],
    ["date", /./],
  ],
  condition_description: [
    ["like", /^(humid|overcast|.*[^t]y)$/],
    ["one", /^(blizzard|snowstorm|storm|depression|cloud)$/],
    ["some", /./],
  ],
  poi: [
    ["part", /^(downtown|uptown|midtown|in town|neighborhood)$/],
    ["place", /./],
  ],
  facility: [
    ["like", /^(indoor|outdoor)$/],
    ["some", /^(wifi|internet|parking)$/],
    ["one", /./],
  ],
  playlist_owner: [
    ["my", /^my$/],
    ["name", /./],
  ],
  current_location: [
    ["here", /^here$/],
    ["place", /./],
  ],
  year: [
    ["number", /\d/],
    ["decade", /./],
  ],
};

const kindOf = (slot, value) =>
  KINDS[slot]?.find(([, pattern]) => pattern.test(value.toLowerCase()))[0] ?? "any";

let read;
/** Patterns and names, read once: { patterns, lists, names }. */
function known() {
  if (read) return read;
  const names = new Map([
    ["country", COUNTRIES],
    ["state", STATES],
  ]);
  for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".txt")))
    names.set(
      file.slice(0, -4),
      readFileSync(join(FOLDER, file), "utf8")
        .trim()
        .split(/ \| |\n/),
    );
  const all = (...slots) => slots.flatMap((slot) => names.get(slot));
  names.set("entity_name", all("track", "album"));
  names.set("RateBook.object_name", names.get("book"));
  names.set("object_name", all("book", "show", "game", "movie_name", "album", "track"));
  read = { ...readPhrases(join(FOLDER, "phrases")), names };
  return read;
}

const pools = new WeakMap();
/** The values of a list that are of a kind of their slot. */
function ofKind(list, slot, kind) {
  if (!(slot in KINDS)) return list;
  if (!pools.has(list)) pools.set(list, new Map());
  const kinds = pools.get(list);
  if (!kinds.has(kind))
    kinds.set(
      kind,
      list.filter((value) => kindOf(slot, value) === kind),
    );
  return kinds.get(kind);
}

/** Names by slot, of known/. */
export const knownNames = () => known().names;

/** A value of a slot: 70 % one of the names, else one of the training utterances; names mixed at times. */
function fillOf(intent, slot, kind, values, chance, names) {
  const lists = [names.get(`${intent}.${slot}`) ?? names.get(slot), values.get(slot)];
  if (chance.hit(0.3)) lists.reverse();
  const list = lists.map((each) => ofKind(each ?? [], slot, kind)).find((each) => each.length > 0);
  if (!list) throw new Error(`Cannot fill ${slot} of ${intent}: found no value of the kind "${kind}"`);
  const value = chance.pick(list);
  if (!MIXED.has(slot) || !chance.hit(0.1)) return value;
  // The beginning of one name and the end of another.
  const [a, b] = [value.split(" "), chance.pick(list).split(" ")];
  return [...a.slice(0, Math.ceil(a.length / 2)), ...b.slice(Math.floor(b.length / 2))].join(" ");
}

const lowered = (parts) => parts.map((part) => ({ ...part, text: part.text.toLowerCase() }));

/**
 * A training utterance with most of its values exchanged, by names or by values of other utterances.
 * @param values of the training utterances, by slot (slotValues)
 * @param given values by slot that it takes in any case
 */
export function knownSnips({ intent, parts }, values, chance, names = knownNames(), given = {}) {
  const lower = chance.hit(0.25);
  const exchanged = parts.map(({ text, entity }) => {
    if (!entity) return { text };
    const [, before, value, after] = /^(\s*)(.*?)(\s*)$/s.exec(text);
    if (!(entity in given) && (KEPT.has(entity) || !chance.hit(0.7))) return { text, entity };
    const other = given[entity] ?? fillOf(intent, entity, kindOf(entity, value), values, chance, names);
    return { text: `${before}${other}${after}`, entity };
  });
  return { intent, parts: lower ? lowered(exchanged) : exchanged };
}

const SLOT = /<(\w+)(?:\.(\w+))?(?::([^>]*))?>/;
const QUESTION = /^(what|when|where|which|who|how|is|are|will|can|could|would|do|does|may)\b/;

/**
 * An utterance made of a pattern of an intent, in which <slot> is any value of the slot, <slot.kind> one of a kind,
 * and <slot:words> these words.
 */
export function phraseSnips(values, chance, names = knownNames()) {
  const { patterns, lists } = known();
  const intent = chance.pick([...patterns.keys()]);
  const text = expand(chance.pick(patterns.get(intent)), lists, chance);
  const lower = chance.hit(0.25);
  const parts = [];
  let rest = text;
  for (let slot = SLOT.exec(rest); slot; slot = SLOT.exec(rest)) {
    const [whole, entity, kind, words] = slot;
    const value = words ?? fillOf(intent, entity, kind ?? someKind(entity, chance), values, chance, names);
    let before = rest.slice(0, slot.index);
    if (/^[aeiou]/i.test(value)) before = before.replace(/\ba $/, "an ");
    if (before) parts.push({ text: before });
    parts.push({ text: value, entity });
    rest = rest.slice(slot.index + whole.length);
  }
  if (chance.hit(0.35)) rest += QUESTION.test(text) ? "?" : ".";
  if (rest) parts.push({ text: rest });
  if (lower) return { intent, parts: lowered(parts) };
  if (chance.hit(0.6) && !parts[0].entity)
    parts[0] = { text: parts[0].text[0].toUpperCase() + parts[0].text.slice(1) };
  return { intent, parts };
}

const someKind = (slot, chance) => (slot in KINDS ? chance.pick(KINDS[slot])[0] : "any");
