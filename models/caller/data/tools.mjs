// Families of functions, and tools of them. A family is what a function does; a tool is one schema for it, with one way of
// naming, describing and choosing arguments. Slots carry how a sentence speaks of an argument.

import { ACTIONS } from "./actions.mjs";
import { capital, words, wordyDescription, wordyFunction } from "./describe.mjs";
import { FORMULAS, INDEX_KINDS, INDEX_WORDS, QUANTITIES } from "./formulas.mjs";
import { kindOf } from "./kinds.mjs";
import { syllables } from "./lexicon.mjs";
import { LOOKUPS } from "./lookups.mjs";
import { things } from "./objects.mjs";
import { ROLES, readKind } from "./roles.mjs";
import { VERBS } from "./verbs.mjs";

const STYLES = ["snake", "snake", "snake", "camel", "camel", "dotted", "dotted", "pascal"];

/** Words as a name. The first part of a dotted name is a group. */
function nameIn(style, parts, group) {
  const all = parts.flatMap(words);
  if (style === "camel") return all.map((word, i) => (i === 0 ? word : capital(word))).join("");
  if (style === "pascal") return all.map(capital).join("");
  return `${style === "dotted" ? `${words(group).join("_")}.` : ""}${all.join("_")}`;
}

const plural = (noun) =>
  /[^aeiou]y$/.test(noun) ? `${noun.slice(0, -1)}ies` : /(s|x|ch|sh)$/.test(noun) ? `${noun}es` : `${noun}s`;
const withArticle = (noun) => `${/^[aeiou]/i.test(noun) ? "an" : "a"} ${noun}`;

/** The argument of a role, for one schema. */
export function slotOf(role, required, style, chance, extra = {}) {
  const kind = role.kind.yes ? { schema: { type: "boolean" }, flag: role.kind } : kindOf(role.kind, chance);
  const raw = chance.hit(0.65) ? role.names[0] : chance.pick(role.names);
  return {
    key: role.key,
    name: nameIn(style === "camel" || style === "pascal" ? "camel" : "snake", [raw]),
    kind,
    phrases: role.phrases,
    description: chance.pick(role.descriptions),
    required,
    ...extra,
  };
}

/** Puts a tool together: { tool, slots, heads, family }. */
function toolOf(family, name, description, slots, heads, chance) {
  const unique = [];
  for (const slot of slots) if (!unique.some((other) => other.name === slot.name)) unique.push(slot);
  const told = chance.pick(["none", "none", "some", "all"]);
  const wordy = chance.hit(0.4);
  const properties = {};
  for (const slot of unique) {
    const { kind } = slot;
    const schema = { ...kind.schema };
    const tell = slot.tell || told === "all" || (told === "some" && chance.hit(0.4));
    const text = tell ? [wordy ? wordyDescription(slot, chance) : slot.description] : [];
    if (kind.hint !== undefined) text.push(kind.hint);
    if (text.length > 0)
      schema.description = chance.hit(0.5) || text.length < 2 ? text.join(", ") : `${text[0]} (${text[1]})`;
    if (
      !slot.required &&
      chance.hit(0.2) &&
      (schema.enum || schema.type === "integer" || schema.type === "boolean")
    )
      schema.default = kind.flag ? chance.hit(0.3) : kind.make(chance).value;
    properties[slot.name] = schema;
  }
  const required = unique.filter((slot) => slot.required).map((slot) => slot.name);
  const tool = {
    name,
    ...(chance.hit(0.9) && {
      description: wordy && chance.hit(0.4) ? wordyFunction(description, chance) : description,
    }),
    parameters: { type: "object", properties, required },
  };
  return { tool, slots: unique, heads, family };
}

function makeThing(family, chance) {
  const { thing, verb } = family;
  const style = chance.pick(STYLES);
  const noun = chance.hit(0.8) ? thing.noun : chance.pick(thing.others);
  const verbName = chance.pick(verb.names.split(" "));
  const shown =
    verb.own && /^(list|search|find|query|browse|count|number)/.test(verbName) && chance.hit(0.5)
      ? plural(noun)
      : noun;
  const name =
    chance.hit(0.12) && style === "dotted"
      ? `${words(noun).join("_")}.${verbName}`
      : nameIn(style, [verbName, shown], chance.hit(0.5) ? noun : thing.domain);
  const slots = [];
  const idRole = ROLES.get(thing.id);
  if (verb.id) {
    const id = slotOf(idRole, true, style, chance, { isId: true, key: "id" });
    if (thing.id === "id" && chance.hit(0.5))
      id.name = nameIn(style === "camel" ? "camel" : "snake", [noun, chance.pick(["id", "number", "id"])]);
    slots.push(id);
  }
  const add = (keys, n, required, extra) => {
    for (const key of chance.some(keys, n)) {
      const role = ROLES.get(key);
      if (!role) throw new Error(`Cannot make ${thing.noun}: unknown role ${key}`);
      if (!slots.some((slot) => slot.key === key)) slots.push(slotOf(role, required, style, chance, extra));
    }
  };
  if (verb.with) add(verb.with, 1, true);
  if (verb.own) {
    const keys = verb.must[1] > 1 && chance.hit(0.35) ? [thing.id, ...thing.roles] : thing.roles;
    const chosen = chance.some(
      keys.filter((key) => key !== "id"),
      chance.int(...verb.own),
    );
    const must = chance.int(...verb.must);
    for (const [i, key] of chosen.entries()) add([key], 1, i < must);
  }
  if (verb.set)
    add(
      thing.roles.filter((key) => !ROLES.get(key).kind.yes),
      chance.int(...verb.set) + 1,
      false,
      { set: true },
    );
  if (verb.extra) add(verb.extra, chance.int(0, Math.min(2, verb.extra.length)), false);
  const fill = (text) => {
    const said = chance.hit(0.75) ? noun : chance.pick(thing.others);
    return text.replaceAll("{os}", plural(said)).replaceAll("{o}", said).replaceAll("{a}", withArticle(said));
  };
  const description = chance
    .pick(verb.desc.split(";"))
    .replaceAll("{os}", plural(noun))
    .replaceAll("{o}", noun)
    .replaceAll("{a}", withArticle(noun));
  const heads = verb.heads.map((head) => ({ fill: () => fill(head) }));
  return { ...toolOf(family, name, description, slots, heads, chance), fill };
}

function makeAction(family, chance) {
  const { action } = family;
  const given = chance.pick(action.names);
  const style = given.includes(".") ? "dotted" : chance.pick(["snake", "snake", "snake", "camel", "pascal"]);
  const name = style === "dotted" ? given : nameIn(style, [given]);
  const slots = action.roles
    .filter(({ required }) => required || chance.hit(0.6))
    .map(({ key, required }) => {
      const role = ROLES.get(key);
      if (!role) throw new Error(`Cannot make ${given}: unknown role ${key}`);
      return slotOf(role, required, style, chance);
    });
  return toolOf(
    family,
    name,
    chance.pick(action.descriptions),
    slots,
    action.heads.map((head) => ({ fill: () => head })),
    chance,
  );
}

const FORMULA_HEADS = [
  "calculate the {r}",
  "compute the {r}",
  "~what is the {r}",
  "find the {r}",
  "work out the {r}",
  "~{r}",
  "determine the {r}",
  "I need the {r}",
  "~how large is the {r}",
  "~what's the {r}",
  "tell me the {r}",
  "give me the {r}",
  "figure out the {r}",
];
const CONTEXTS = [
  "",
  "",
  "",
  "",
  " of an object",
  " of a car",
  " for my project",
  " of a ball",
  " for the team",
  " of this thing",
  " for homework",
  " for the report",
];

function makeFormula(family, chance) {
  const { formula } = family;
  const style = chance.pick(STYLES);
  const verb = chance.pick(["calculate", "calculate", "compute", "get", "find", "calc", ""]);
  const name = nameIn(
    style,
    [verb, formula.result],
    chance.hit(0.5) ? formula.domain : chance.pick(["math", "calculator", "formulas", formula.domain]),
  );
  const letters = new Set();
  const slots = formula.quantities
    .filter(({ required }) => required || chance.hit(0.6))
    .map((part) => {
      const quantity = QUANTITIES.get(part.name);
      if (!quantity) throw new Error(`Cannot make ${formula.result}: unknown quantity ${part.name}`);
      const short = chance.hit(0.12) && !letters.has(part.name[0]);
      letters.add(part.name[0]);
      return {
        key: part.name,
        name: short
          ? part.name[0]
          : nameIn(style === "camel" ? "camel" : "snake", [
              chance.hit(0.8) ? part.name : chance.pick(quantity.nouns),
            ]),
        kind: kindOf(readKind(quantity.kind), chance),
        nouns: quantity.nouns,
        description: chance.pick([
          `The ${part.name}`,
          `${capital(part.name)}`,
          `${capital(part.name)} of the object`,
          `Value of the ${part.name}`,
        ]),
        required: part.required,
        tell: short,
      };
    });
  const result = formula.result;
  const description = chance.pick([
    `Calculate the ${result}`,
    `Computes the ${result} from ${formula.quantities.map((q) => q.name).join(" and ")}`,
    `${capital(result)}`,
    `Get the ${result} given ${formula.quantities.map((q) => q.name).join(", ")}`,
  ]);
  const heads = FORMULA_HEADS.map((head) => ({
    fill: () => head.replace("{r}", result) + chance.pick(CONTEXTS),
    block: true,
  }));
  return toolOf(family, name, description, slots, heads, chance);
}

const LOOKUP_HEADS = [
  "~what is the {t} of {e}",
  "~{t} of {e}",
  "tell me the {t} of {e}",
  "get the {t} of {e}",
  "show me the {t} for {e}",
  "look up the {t} of {e}",
  "~do you know the {t} of {e}",
  "find {e}'s {t}",
  "~what's {e}'s {t}",
  "I want to know the {t} of {e}",
  "~{e} {t}",
  "check the {t} of {e}",
  "give me {t} for {e}",
  "~what are the {t} for {e}",
];
const LOOKUP_EXTRAS = ["year", "language", "date", "limit", "detailed", "format", "period"];

function makeLookup(family, chance) {
  const { lookup } = family;
  const style = chance.pick(STYLES);
  const [, entity] = [0, chance.pick(lookup.names)];
  const dotted = style === "dotted";
  const verb = chance.pick(["get", "get", "fetch", "find", "lookup", "show", ""]);
  const name = nameIn(
    style,
    dotted && chance.hit(0.5)
      ? [lookup.attribute]
      : chance.hit(0.5)
        ? [verb, lookup.attribute]
        : [verb, lookup.names[0], lookup.attribute],
    chance.pick([lookup.names[0], lookup.domain, `${lookup.names[0]}_info`]),
  );
  const role = {
    key: "e",
    names: [entity, ...lookup.names],
    kind: lookup.kind,
    phrases: ["of {}"],
    descriptions: [
      `The ${lookup.names[0].replaceAll("_", " ")}`,
      `Name of the ${lookup.names[0].replaceAll("_", " ")}`,
    ],
  };
  const slots = [slotOf(role, true, style, chance)];
  for (const key of chance.some(LOOKUP_EXTRAS, chance.pick([0, 0, 1, 1, 2])))
    slots.push(slotOf(ROLES.get(key), chance.hit(0.12), style, chance));
  const description = chance.pick([
    `Get the ${lookup.attribute} of a ${lookup.names[0].replaceAll("_", " ")}`,
    `${capital(lookup.attribute)}`,
    `Returns the ${lookup.attribute}`,
    `Look up the ${lookup.attribute} of a given ${lookup.names[0].replaceAll("_", " ")}`,
  ]);
  const heads = LOOKUP_HEADS.map((head) => ({
    fill: () => head.replace("{t}", chance.hit(0.7) ? lookup.attribute : chance.pick(lookup.others)),
  }));
  return toolOf(family, name, description, slots, heads, chance);
}

const MAKERS = { thing: makeThing, action: makeAction, formula: makeFormula, lookup: makeLookup };
export const makeTool = (family, chance) => MAKERS[family.kind](family, chance);

/** All families there are: { kind, domain, key: what it is about, ... }; `invented` more of results that nobody computes. */
export function families(chance, invented = 400) {
  const out = [];
  for (const thing of things)
    for (const verb of VERBS) out.push({ kind: "thing", domain: thing.domain, key: thing.noun, thing, verb });
  for (const action of ACTIONS)
    out.push({ kind: "action", domain: action.domain, key: action.descriptions[0], action });
  for (const formula of FORMULAS)
    out.push({ kind: "formula", domain: formula.domain, key: formula.result, formula });
  for (const lookup of LOOKUPS)
    out.push({
      kind: "lookup",
      domain: lookup.domain,
      key: lookup.attribute,
      lookup,
    });
  const names = [...QUANTITIES.keys()];
  for (let i = 0; i < invented; i++) {
    const result = `${chance.hit(0.4) ? syllables(chance) : chance.pick(INDEX_WORDS)} ${chance.pick(INDEX_KINDS)}`;
    const quantities = chance
      .some(names, chance.int(1, 4))
      .map((name, j) => ({ name, required: j === 0 || chance.hit(0.75) }));
    out.push({
      kind: "formula",
      domain: chance.pick(["analysis", "models", "engineering"]),
      key: result,
      formula: { domain: "analysis", result, quantities },
    });
  }
  return out;
}
