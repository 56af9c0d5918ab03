// SNIPS as function calls: intents are functions, slots are arguments. Reads the published layout, train_*_full.json
// and validate_*.json alike: { "<Intent>": [{ "data": [{ "text", "entity"? }] }] }.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { CITIES, COUNTRIES, CUISINES, GENRES, STATES } from "./places.mjs";
import { hashOf } from "./random.mjs";

export const SNIPS = "@snips";

const FUNCTIONS = {
  AddToPlaylist: ["Add music to a playlist", "entity_name artist music_item playlist playlist_owner"],
  BookRestaurant: [
    "Reserve a table in a restaurant",
    "restaurant_name restaurant_type cuisine served_dish facility sort party_size_number party_size_description timeRange spatial_relation poi city state country",
  ],
  GetWeather: [
    "Forecast for a place and time",
    "condition_description condition_temperature timeRange spatial_relation current_location geographic_poi city state country",
  ],
  PlayMusic: ["Play music", "track artist album music_item genre playlist sort year service"],
  RateBook: [
    "Rate a book",
    "object_name object_type object_select object_part_of_series_type rating_value best_rating rating_unit",
  ],
  SearchCreativeWork: ["Find a creative work such as a book, song, game or show", "object_name object_type"],
  SearchScreeningEvent: [
    "Screening times of movies and cinemas",
    "movie_name movie_type object_type object_location_type location_name timeRange spatial_relation",
  ],
};

/** The seven functions, all arguments optional texts. */
export const snipsTools = Object.entries(FUNCTIONS).map(([name, [description, slots]]) => ({
  name,
  description,
  parameters: {
    type: "object",
    properties: Object.fromEntries(slots.split(" ").map((slot) => [slot, { type: "string" }])),
    required: [],
  },
}));
const toolOf = new Map(snipsTools.map((tool) => [tool.name, tool]));

/** Utterances of files or folders: { intent, parts: [{ text, entity? }] }, in the files' order. */
export function readSnips(paths) {
  const files = paths.flatMap((path) =>
    statSync(path).isDirectory()
      ? readdirSync(path)
          .filter((name) => /^(train|validate|test)_.*\.json$/.test(name))
          .sort()
          .map((name) => join(path, name))
      : [path],
  );
  if (files.length === 0) throw new Error(`Cannot read SNIPS of ${paths.join(", ")}: found no train_*.json`);
  return files.flatMap((file) => {
    // Some files mix encodings: read as bytes, then each text as UTF-8 where it is.
    const json = JSON.parse(readFileSync(file, "latin1"));
    return Object.entries(json).flatMap(([intent, list]) => {
      if (!toolOf.has(intent)) throw new Error(`Cannot read ${basename(file)}: unknown intent ${intent}`);
      return list.map(({ data }) => ({
        intent,
        parts: data.map(({ text, entity }) => ({ text: decode(text), ...(entity && { entity }) })),
      }));
    });
  });
}

function decode(text) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(text, "latin1"));
  } catch {
    return text;
  }
}

/** Utterances that are not trained on. */
const HELD_OUT = 700;

/** Utterances to train on, some that are held out by the hash of their text, and the test files', or else those. */
export function snipsParts(paths, testPaths) {
  const all = readSnips(paths);
  const textOf = (utterance) => snipsTurn(utterance).text;
  const order = all.map((utterance) => [hashOf(textOf(utterance)), utterance]).sort((a, b) => a[0] - b[0]);
  const dev = order.slice(0, HELD_OUT).map(([, utterance]) => utterance);
  const held = new Set(dev.map((utterance) => textOf(utterance).toLowerCase()));
  const train = all.filter((utterance) => !held.has(textOf(utterance).toLowerCase()));
  return { train, dev, test: testPaths ? readSnips(testPaths) : dev };
}

const tidy = (text) => text.replace(/\s+/g, " ").trim();

/** A turn: the utterance and its call. A slot that occurs twice has a list of values. */
export function snipsTurn({ intent, parts }) {
  const tool = toolOf.get(intent);
  const args = {};
  for (const name of Object.keys(tool.parameters.properties)) {
    const values = parts.filter(({ entity }) => entity === name).map(({ text }) => tidy(text));
    if (values.length > 0) args[name] = values.length > 1 ? values : values[0];
  }
  const unknown = parts.find(({ entity }) => entity && !(entity in tool.parameters.properties));
  if (unknown) throw new Error(`Cannot read SNIPS: ${intent} has the unknown slot ${unknown.entity}`);
  return { text: tidy(parts.map(({ text }) => text).join("")), answer: [{ name: intent, arguments: args }] };
}

/** Values of every slot, as often as they occur. */
export function slotValues(utterances) {
  const values = new Map();
  for (const { parts } of utterances)
    for (const { text, entity } of parts)
      if (entity) values.set(entity, [...(values.get(entity) ?? []).slice(-20_000), tidy(text)]);
  return values;
}

/**
 * The utterance with values of the same slots from other ones, and sometimes in lower case.
 * @param wide also with what is commonly known to be such a value, and with more mixtures of names
 */
export function varySnips({ intent, parts }, values, chance, wide = false) {
  const lower = chance.hit(0.25);
  return {
    intent,
    parts: parts.map(({ text, entity }) => {
      const swap = entity && !FIXED.has(entity) && chance.hit(0.7);
      const [, before, , after] = /^(\s*)(.*?)(\s*)$/s.exec(text);
      let value = swap
        ? `${before}${wide && chance.hit(0.5) ? wideValue(entity, values, chance) : valueFor(entity, values, chance)}${after}`
        : text;
      if (lower) value = value.toLowerCase();
      return { text: value, ...(entity && { entity }) };
    }),
  };
}

/** Slots whose words agree with the words around them. */
export const FIXED = new Set([
  "rating_unit",
  "best_rating",
  "sort",
  "spatial_relation",
  "object_select",
  "music_item",
]);
/** Names of things: any mixture of words can be one. */
const NAMES = new Set(["object_name", "entity_name", "track", "album", "playlist", "movie_name", "artist"]);

function valueFor(entity, values, chance) {
  const value = chance.pick(values.get(entity));
  if (!NAMES.has(entity) || !chance.hit(0.2)) return value;
  // The beginning of one name and the end of another.
  const [a, b] = [value.split(" "), chance.pick(values.get(entity)).split(" ")];
  return [...a.slice(0, Math.ceil(a.length / 2)), ...b.slice(Math.floor(b.length / 2))].join(" ");
}

/** Names that everyone knows, by slot. */
const KNOWN = new Map([
  ["country", COUNTRIES],
  ["state", STATES],
  ["city", CITIES],
  ["genre", GENRES],
  ["cuisine", CUISINES],
]);
export const MIXED = new Set([
  ...NAMES,
  "city",
  "restaurant_name",
  "poi",
  "geographic_poi",
  "location_name",
  "served_dish",
]);

function wideValue(entity, values, chance) {
  const known = KNOWN.get(entity);
  if (known && chance.hit(entity === "city" ? 0.2 : 0.8)) return chance.pick(known);
  if (!MIXED.has(entity)) return chance.pick(values.get(entity));
  // Words of two or three names, in their order.
  const names = Array.from({ length: chance.int(1, 3) }, () => chance.pick(values.get(entity)).split(" "));
  const words = names.flatMap((name) => {
    const from = chance.int(0, name.length - 1);
    return name.slice(from, from + chance.int(1, Math.ceil(5 / names.length)));
  });
  return words.join(" ");
}
