// What is left out of a sentence: beginnings that stay right without it, arguments that would be taken for it, and words
// about a function that ask for nothing. Boundary: sentences are made in sentences.mjs and lessons.mjs.

import { bareHeads } from "./bare.mjs";
import { ROLES } from "./roles.mjs";
import { finish } from "./sentences.mjs";

const CLASSES = Object.entries({
  name: "person first names company made username artist team title word team_name",
  place: "city place street country region cities room",
  text: "topic query message task title word made subject topics genre noun",
  day: "date weekday month year",
  code: "code idint codes ticker phone",
  food: "food ingredient ingredients plant animal",
}).map(([name, kinds]) => [name, kinds.split(" ")]);

/** Whether what is said of one argument could be taken for another. */
export function blurs(slot, other, family) {
  if (
    slot.nouns ||
    other.nouns ||
    slot.kind.flag ||
    other.kind.flag ||
    slot.kind.schema.enum ||
    other.kind.schema.enum
  )
    return false;
  const [a, b] = [slot, other].map(({ key }) =>
    key === "e" ? family.lookup?.kind : ROLES.get(key === "id" ? (family.thing?.id ?? key) : key)?.kind,
  );
  const numbers = [slot, other].every(({ kind }) => /integer|number/.test(kind.schema.type));
  const classes = CLASSES.some(([, kinds]) => kinds.includes(a) && kinds.includes(b));
  if (!numbers && !classes && !(a === b && typeof a === "string")) return false;
  return slot.phrases.some((phrase) => phrase === "{}" || other.phrases.includes(phrase)) || numbers;
}

/** Beginnings for what is said and what is not. */
export function headsFor(target, speak, missing, c) {
  const { family, fill } = target;
  const own = target.heads.map((head) => ({ ...head, words: head.fill() }));
  const keys = (head) => [...head.words.matchAll(/\{(\w+)\}/g)].map(([, key]) => key);
  const fixed = (text, block) => ({ words: text, block, fill: () => text });
  if (family.kind === "formula") return own;
  if (family.kind === "thing") {
    const without = missing.some(({ key }) => key === "id");
    const given = (missing.length > 0 && bareHeads(family)) || family.verb.heads;
    const usable = given.filter((head) => {
      if (/^~\{o\}$/.test(head) && missing.length > 0) return false;
      if (/please/.test(head) && speak.length > 0) return false;
      return !without || !head.startsWith("~") || /^~(where is|what is the status|any news)/.test(head);
    });
    // Spelled out here as clause() would drop the hole and leave "cancel order".
    const which = () => c.pick(["the {o}", "my {o}", "the {o}", "that {o}", "{a}", "one of the {os}"]);
    return usable.map((head) =>
      fixed(fill((without ? head.replace(/(the |my )?\{o\} \{id\}/, which) : head).replace(": ", " "))),
    );
  }
  const bare = bareHeads(family);
  if (family.kind === "lookup") {
    if (missing.length === 0 || speak.some(({ key }) => key === "e")) return own;
    const are = (head) => (/[^su]s$/.test(said) ? head.replace(/what('s| is)/, "what are") : head);
    const said = c.hit(0.7) ? family.lookup.attribute : c.pick(family.lookup.others);
    return bare.map((head) => fixed(are(head).replace("{t}", said)));
  }
  const holes = new Set(own.flatMap(keys));
  const spoken = new Set(speak.map(({ key }) => key));
  if ([...holes].some((key) => spoken.has(key)))
    return own.filter((head) => keys(head).length > 0 && keys(head).every((key) => spoken.has(key)));
  const plain = own.filter((head) => keys(head).length === 0 && / /.test(head.words));
  // "text someone" is not said before "to Anna".
  const open = bare.filter((head) => !/some|one of|\b(there|it)$/.test(head)).map((head) => fixed(head));
  if (speak.some((slot) => slot.required)) return plain.length > 0 && c.hit(0.7) ? plain : open;
  if (missing.length === 0) return [...plain, ...open];
  return c.hit(0.6) ? bare.map((head) => fixed(head)) : plain;
}

/** A function's words without a request. */
export function withoutOrder({ family, fill }, c) {
  const text = {
    thing: () =>
      fill?.(
        c.pick(
          "my brother talked about {a};I already have {a};I dreamt of {a};why are {os} so popular;I don't care about {os};my neighbor has {a} too;that was a strange {o};thanks, I have {a} already;I like {os}".split(
            ";",
          ),
        ),
      ),
    formula: () =>
      c
        .pick([
          "who came up with the {r}",
          "we learned about the {r} at school",
          "the {r} is a strange thing",
        ])
        .replace("{r}", family.formula.result),
    lookup: () =>
      c
        .pick([
          "why does anyone care about the {t}",
          "we talked about the {t} yesterday",
          "I already know the {t}",
        ])
        .replace("{t}", family.lookup.attribute),
    action: () =>
      c
        .pick(bareHeads(family).filter((head) => !/^~/.test(head)))
        .replace(/^/, c.pick(["don't ", "please don't ", "I don't want to ", "no need to ", "do not "])),
  }[family.kind]();
  return text && finish(c.hit(0.4) ? `${text[0].toUpperCase()}${text.slice(1)}.` : text, [], c.hit(0.4)).text;
}
