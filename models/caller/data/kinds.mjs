// Kinds of values. A kind, for one schema, is { schema, hint?, fixed?, make(chance) }: the JSON schema of the argument, what
// its description must say of the form, whether the value is not the sentence's text, and pairs { said, value } of a value
// as a sentence has it and as the call wants it.

import * as L from "./lexicon.mjs";
import * as N from "./names.mjs";
import { DAYS, date, int, MONTHS, money, num, percent, quantity, time } from "./numbers.mjs";

const text = (said) => ({ schema: { type: "string" }, make: (c) => same(said(c)) });
const same = (said) => ({ said, value: said });

const currency = (c) => {
  const rows = L.CURRENCY.map((row) => row.split("="));
  return {
    schema: { type: "string" },
    fixed: true,
    hint: c.pick(["ISO code", "currency code"]),
    make(d) {
      const [iso, said] = d.pick(rows);
      return { said: d.pick(said.split(",")), value: iso };
    },
  };
};

/** Options "a,b,c"; synonyms of one behind "=": "high=urgent=top". The enum may show fewer. */
export const options = (list) => (c) => {
  const rows = list.split(",").map((row) => row.split("="));
  const kept = rows.length > 3 && c.hit(0.3) ? c.some(rows, rows.length - 1) : rows;
  const upper = c.hit(0.12);
  const spell = (name) => (upper ? name.toUpperCase() : name);
  return {
    fixed: true,
    schema: { type: "string", enum: kept.map(([name]) => spell(name)) },
    make(d) {
      const row = d.pick(kept);
      return {
        said: d.hit(0.6) ? row[0].replaceAll("_", " ") : d.pick(row).replaceAll("_", " "),
        value: spell(row[0]),
      };
    },
  };
};

export const list =
  (inner, low = 2, high = 4) =>
  (c) => {
    const kind = typeof inner === "function" ? inner(c) : inner;
    return {
      schema: { type: "array", items: kind.schema },
      make(d) {
        const items = [];
        for (let n = d.int(low, high); n > 0; n--) {
          const item = kind.make(d);
          if (!items.some(({ said }) => said === item.said)) items.push(item);
        }
        const said = items.map((item) => item.said);
        const joined =
          said.length < 2
            ? said[0]
            : `${said.slice(0, -1).join(", ")}${d.pick([" and ", " and ", ", and ", ", "])}${said.at(-1)}`;
        return { said: joined, value: items.map(({ value }) => value) };
      },
    };
  };

const range = () => {
  const whole = int(1, 900);
  return {
    schema: {
      type: "object",
      properties: { min: whole.schema, max: whole.schema },
      required: ["min", "max"],
    },
    make(d) {
      const [a, b] = [whole.make(d).value, whole.make(d).value].sort((x, y) => x - y);
      return {
        said: `${d.hit(0.5) ? "between " : ""}${a} ${d.pick(["and", "to"])} ${b}`,
        value: { min: a, max: b },
      };
    },
  };
};

const coordinates = () => ({
  schema: { type: "array", items: { type: "number" } },
  hint: "latitude and longitude",
  make(d) {
    const [a, b] = [
      Number((d.next() * 178 - 89).toFixed(d.int(1, 4))),
      Number((d.next() * 358 - 179).toFixed(d.int(1, 4))),
    ];
    return {
      said: d.pick([`${a}, ${b}`, `(${a}, ${b})`, `latitude ${a} and longitude ${b}`, `${a} ${b}`]),
      value: [a, b],
    };
  },
});

const pickOf = (values, p = 0.12) => text((c) => (c.hit(p) ? L.syllables(c) : c.pick(values)));

/** By name; functions make a kind for one schema. */
export const KINDS = {
  person: text(N.person),
  first: text((c) => (c.hit(0.25) ? N.made(c) : c.pick(L.FIRST))),
  company: text(N.company),
  city: text(N.city),
  country: text((c) => c.pick(L.COUNTRY)),
  region: text((c) => c.pick(L.REGION)),
  place: text(N.place),
  street: text(N.street),
  title: text(N.title),
  artist: text(N.artist),
  product: text(N.product),
  food: pickOf(L.FOOD),
  ingredient: pickOf(L.INGREDIENT),
  team: text((c) => `${N.city(c)}${c.hit(0.8) ? ` ${c.pick(L.SPORT_TEAM)}` : ""}`),
  genre: pickOf(L.GENRE, 0.05),
  language: text((c) => c.pick(L.LANGUAGE)),
  animal: pickOf(L.ANIMAL),
  plant: pickOf(L.PLANT),
  chemical: pickOf(L.CHEMICAL),
  material: pickOf(L.MATERIAL),
  disease: pickOf(L.DISEASE),
  medicine: pickOf(L.MEDICINE, 0.3),
  subject: pickOf(L.SUBJECT),
  topic: pickOf(L.TOPIC),
  room: pickOf(L.ROOM, 0.03),
  file: text(N.file),
  folder: text(N.folder),
  noun: pickOf(L.NOUNISH),
  email: text(N.email),
  code: text(N.code),
  query: text(N.query),
  message: text(N.message),
  task: text(N.task),
  username: text((c) =>
    c.pick([
      `${L.syllables(c)}${c.int(1, 99)}`,
      `@${L.syllables(c)}`,
      `${c.pick(L.FIRST).toLowerCase()}_${L.syllables(c, 1, 2)}`,
      c.pick(L.FIRST).toLowerCase(),
    ]),
  ),
  phone: text((c) =>
    c.pick([
      `+${c.int(1, 99)} ${N.digits(c, 3)} ${N.digits(c, 4)}`,
      `${N.digits(c, 3)}-${N.digits(c, 4)}`,
      `0${N.digits(c, 9)}`,
      `${N.digits(c, 3)}-${N.digits(c, 3)}-${N.digits(c, 4)}`,
    ]),
  ),
  url: text(
    (c) =>
      `${c.pick(["https://", "https://www.", "www.", ""])}${L.syllables(c)}.${c.pick(["com", "org", "net", "io", "de"])}${c.pick(["", "", `/${c.pick(L.FILE_STEM)}`, `/${L.syllables(c)}`])}`,
  ),
  word: text((c) => c.pick([L.syllables(c), c.pick(L.NOUNISH), c.pick(L.FILE_STEM)])),
  made: text((c) => (c.hit(0.5) ? N.made(c) : L.syllables(c))),
  color: text((c) =>
    c.pick(
      "red blue green yellow orange purple pink black white gray brown teal navy turquoise beige gold silver magenta".split(
        " ",
      ),
    ),
  ),
  weekday: text((c) => c.pick(DAYS)),
  month: text((c) => c.pick(MONTHS)),
  team_name: text((c) => c.pick(L.SPORT_TEAM)),
  ticker: text((c) => c.pick([N.letters(c, 3), N.letters(c, 4), N.letters(c, 2)])),
  idint: int(1, 99999),
  year: {
    schema: { type: "integer" },
    make: (c) => {
      const y = c.int(1850, 2030);
      return { said: String(y), value: y };
    },
  },
  count: int(1, 20),
  small: int(1, 8),
  big: int(10, 900),
  huge: int(1000, 900000),
  minutes: quantity("minutes,min,mins", 1, 120, true),
  score: int(1, 10),
  date,
  time,
  money,
  percent,
  currency,
  range,
  coordinates,
  days: quantity("days", 1, 60, true),
  hours: quantity("hours,h", 1, 48, true),
  ingredients: list(pickOf(L.INGREDIENT)),
  names: list(text(N.person), 2, 3),
  cities: list(text(N.city)),
  products: list(text(N.product), 2, 3),
  numbers: list(int(1, 200), 3, 6),
  decimals: list(num(0, 100), 3, 5),
  words: list(pickOf(L.NOUNISH)),
  codes: list(text(N.code), 2, 3),
  topics: list(pickOf(L.TOPIC), 2, 3),
  emails: list(text(N.email), 2, 3),
  vector: list(int(-9, 20), 2, 3),
  files: list(text(N.file), 2, 3),
};

/** A kind for one schema. */
export function kindOf(name, chance) {
  const found = typeof name === "string" ? KINDS[name] : name;
  if (!found) throw new Error(`Cannot make a value: unknown kind ${name}`);
  return typeof found === "function" ? found(chance) : found;
}
