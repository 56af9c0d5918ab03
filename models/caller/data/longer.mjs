// Longer schemas, as published sets of functions have them: names with a module before a dot, a description that tells
// what is given, more optional arguments with defaults, and requests as people write them rather than say them. Boundary:
// of a published set only this form is taken, no function, sentence or value.

import { capital, words, wordyDescription } from "./describe.mjs";
import { wordsOf } from "./format.mjs";
import { readRole } from "./roles.mjs";
import { clause, marked } from "./sentences.mjs";
import { slotOf } from "./tools.mjs";

/** Optional arguments for functions of many kinds; for which kinds. */
const EXTRAS = `
all|detailed|detailed verbose include_details|flag|with details;in detail/without details|Whether to give details
all|format|format output_format response_format|pdf,csv=comma separated,json,xlsx=excel,html|as {};in {} format|Format of the result
all|language|language lang response_language|language|in {}|Language of the answer
all|tags|tags labels keywords|words|tagged {};with the tags {}|Tags to attach
formula lookup|unit|unit units unit_system|metric,imperial|in {} units|System of units
formula|precision|precision decimal_places decimals|int 0 6|rounded to {} decimal places;with {} decimals|Number of decimal places of the result
formula|steps|show_steps explain include_steps|flag|showing every step;with all steps/without the steps|Whether to show the steps
formula|uncertainty|error_margin uncertainty tolerance|num 0.01 2|with an error margin of {};within a tolerance of {}|Accepted error
lookup|limit|limit max_results top_n|int 1 50|at most {} results;limited to {} results|Highest number of results
lookup|source|source data_source provider|official,community,archive=archived|from the {} source;using {} data|Where the data come from
lookup|history|include_history historical with_history|flag|including past values;with its history/without history|Whether to include past values
lookup|fields|fields columns selected_fields|words|with the fields {}|Fields to return
thing action|notify|notify send_notification send_confirmation|flag|and send a confirmation;and confirm it/without a confirmation|Whether to send a confirmation
thing action|retries|max_retries retries attempts|int 1 9|with at most {} retries;trying {} times|How often to try again
thing action|dry_run|dry_run simulate test_mode|flag|as a test run;as a dry run/not as a test|Whether only to try it
thing action|mode|mode run_mode processing|standard,fast=quick,careful=thorough|in {} mode|How it is processed
thing action|server|server_region data_center server_location|east,west,north,south|on the {} server;in the {} data center|Where it is processed
thing action|watchers|watchers cc observers|emails|with a copy to {};copying {}|Addresses that are told about it`
  .trim()
  .split("\n")
  .map((line) => {
    const at = line.indexOf("|");
    return { kinds: line.slice(0, at), role: readRole(line.slice(at + 1)) };
  });

const SPELLED = { num: "number of", min: "minimum", max: "maximum", q: "query", n: "n" };
/** An argument's name as a noun. */
const nounOf = (name) =>
  wordsOf(name)
    .split(" ")
    .map((word) => SPELLED[word] ?? word)
    .join(" ");
const listOf = (list, word = "and") =>
  list.length < 2 ? list[0] : `${list.slice(0, -1).join(", ")} ${word} ${list.at(-1)}`;

function describe(slot, family, chance) {
  const noun = nounOf(slot.name);
  const of =
    family.kind === "formula"
      ? `used to compute the ${family.formula.result}`
      : family.kind === "thing"
        ? `of the ${family.thing.noun}`
        : "for the request";
  const plain = slot.description.replace(/^The /, "the ").replace(/^Its /, "the ");
  if (slot.kind.flag) return capital(plain);
  const clause = /^(whether|how|where|when|which|who|what)/i.test(plain);
  return chance.pick([
    capital(plain),
    slot.kind.schema.type === "array"
      ? `A list of values: ${plain}`
      : wordyDescription({ ...slot, description: plain }, chance),
    `The ${noun} ${of}`,
    clause || / (that|to|of) /.test(plain)
      ? capital(plain)
      : `${capital(plain)} that should be taken into account`,
  ]);
}

/** The same function with a longer schema; `long` is true of it. */
export function lengthen(made, chance) {
  const { family, tool } = made;
  const slots = [...made.slots];
  const wanted = chance.int(3, 6) - slots.length;
  const fits = EXTRAS.filter(({ kinds }) => kinds === "all" || kinds.split(" ").includes(family.kind));
  for (const { role } of chance.some(fits, Math.max(0, wanted))) {
    const slot = slotOf(role, false, /[A-Z]/.test(tool.name) ? "camel" : "snake", chance);
    if (!slots.some(({ key, name }) => key === slot.key || name === slot.name)) slots.push(slot);
  }
  if (chance.hit(0.7)) slots.sort((a, b) => b.required - a.required);
  const properties = {};
  for (const slot of slots) {
    const { kind } = slot;
    const schema = { ...kind.schema };
    let text = describe(slot, family, chance);
    if (kind.hint !== undefined) text += chance.hit(0.5) ? `, ${kind.hint}` : ` (${kind.hint})`;
    if (!slot.required && chance.hit(0.5)) {
      const simple = kind.flag || schema.enum || schema.type === "integer";
      if (simple) {
        const value = kind.flag ? chance.hit(0.3) : kind.make(chance).value;
        text += chance.pick([
          ` (default is ${value})`,
          `, defaults to ${value}`,
          `, ${value} if not given`,
          "",
        ]);
        if (text.endsWith(")") === false || chance.hit(0.4)) schema.default = value;
      } else text += chance.pick([", optional", " (optional)", ", if any"]);
    }
    schema.description = text;
    properties[slot.name] = schema;
  }
  const must = slots.filter(({ required }) => required).map(({ name }) => name);
  const named = listOf(must.map(nounOf));
  const base = (tool.description ?? capital(wordsOf(tool.name))).replace(
    family.kind === "formula" ? / (given|from) .*$/ : "",
    "",
  );
  const description =
    must.length === 0
      ? base
      : chance.pick([
          `${base} for the given ${named}`,
          `${base} based on the ${named} provided`,
          `${base} using the ${named}`,
          `${base}, given the ${named}`,
          base,
        ]);
  const group = chance.pick([family.domain, `${family.domain}_tools`, `${family.domain}_service`]);
  const dotted = chance.hit(0.5) && !tool.name.includes(".");
  return {
    ...made,
    slots,
    long: true,
    tool: {
      name: dotted ? `${words(group).join("_")}.${tool.name}` : tool.name,
      description,
      parameters: { type: "object", properties, required: must },
    },
  };
}

const OPENINGS = [
  "I need to {}",
  "I would like to {}",
  "I'm trying to {}",
  "Could you help me {}",
  "Please {}",
  "I was asked to {}",
  "My manager wants me to {}",
  "For a project I have to {}",
  "Is it possible to {}",
  "I want you to {}",
  "We are planning to {}",
  "{}",
  "Before I leave, I have to {}",
  "My friend asked me to {}",
];
/** Before "give me the list". */
const FOR_ME = ["Please {}", "Could you {}", "I want you to {}", "{}"];
/** Names that cannot be nouns of a sentence. */
const ODD =
  /^(to|from|by|at|with|against|in year|on date|where|who|from .*|to .*|in .*|until|pay with|assigned to|.)$/;

/** A clause as it is written: part of the arguments with the request, part of them told by name. As `clause` gives it. */
export function letter(made, chance, { speak, values, heads }) {
  const holes = new Set(
    heads.flatMap((head) => [...head.fill().matchAll(/\{(\w+)\}/g)].map(([, key]) => key)),
  );
  const apart = speak.filter(
    (slot) =>
      !slot.kind.flag &&
      !slot.set &&
      !holes.has(slot.key) &&
      !ODD.test(wordsOf(slot.name)) &&
      chance.hit(0.45),
  );
  const verbs = heads.filter((head) => !/^(~|I |I'd |don't|let)/.test(head.fill()));
  const said = clause(made, chance, {
    speak: speak.filter((slot) => !apart.includes(slot)),
    values,
    heads: verbs.length > 0 ? verbs : heads,
  });
  if (!said) return undefined;
  let text =
    verbs.length > 0 && !said.note
      ? chance.pick(/^\w+ me\b/.test(said.text) ? FOR_ME : OPENINGS).replace("{}", () => said.text)
      : said.text;
  const question = /^(Could|Is it|what|how|when|where|are|do|is|which)/.test(text);
  text = capital(text);
  if (apart.length > 0) {
    const parts = apart.map((slot) => [nounOf(slot.name), marked(values[slot.name].said)]);
    const are = (noun) => (/[^s]s$/.test(noun) ? "are" : "is");
    const told = (verb) => listOf(parts.map(([noun, value]) => `the ${noun} ${verb ?? are(noun)} ${value}`));
    const use = listOf(parts.map(([noun, value]) => `${value} as the ${noun}`));
    const stop = question ? "?" : ".";
    text += chance.pick([
      () => `, given that ${told()}${stop}`,
      () => `, where ${told()}${stop}`,
      () => `${stop} ${capital(told())}.`,
      () => `${stop} ${capital(told("should be"))}.`,
      () => `${stop} Use ${use}.`,
      () => `, with ${use}${stop}`,
    ])();
  } else text += question ? "?" : chance.pick([".", ".", ""]);
  const args = { ...said.args };
  for (const slot of apart)
    args[slot.name] = { value: values[slot.name].value, fixed: slot.kind.fixed === true };
  return { text, note: said.note, args, written: true };
}
