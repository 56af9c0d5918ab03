// Texts that a call copies out of a sentence: names of people and things, codes, addresses, messages.

import * as L from "./lexicon.mjs";

export const digits = (c, n) => Array.from({ length: n }, () => c.int(0, 9)).join("");
export const letters = (c, n) =>
  Array.from({ length: n }, () => c.pick([..."ABCDEFGHJKLMNPQRSTUVWXYZ"])).join("");
/** A name that nobody has heard of. */
export const made = (c) => L.capital(L.syllables(c));

export const person = (c) => {
  const first = c.hit(0.2) ? made(c) : c.pick(L.FIRST);
  const last = c.hit(0.3) ? made(c) : c.pick(L.LAST);
  return c.hit(0.35)
    ? first
    : c.hit(0.06)
      ? `${c.pick(["Dr.", "Mr.", "Mrs.", "Ms."])} ${last}`
      : `${first} ${last}`;
};
export const company = (c) =>
  `${c.hit(0.3) ? made(c) : c.pick(L.COMPANY_PARTS)}${c.hit(0.6) ? ` ${c.pick(L.COMPANY_ENDS)}` : ""}`;
export const city = (c) => (c.hit(0.2) ? made(c) : c.pick(L.CITY));
export const title = (c) => {
  const [a, n, m] = [c.pick(L.TITLE_ADJ), c.pick(L.TITLE_NOUN), c.pick(L.TITLE_NOUN)];
  const w = made(c);
  const s = c.pick([
    `${a} ${n}`,
    `The ${a} ${n}`,
    `${n} of ${m}`,
    `The ${n} and the ${m}`,
    `${w}`,
    `${n}`,
    `${w} ${n}`,
    `${a} ${n}s`,
    `A ${n} for ${c.pick(L.FIRST)}`,
    `The ${n}`,
    `${n} in ${city(c)}`,
    `My ${a} ${m}`,
    `${w} and ${made(c)}`,
    `${n} ${c.int(2, 99)}`,
  ]);
  return c.hit(0.08) ? s.toUpperCase() : s;
};
export const artist = (c) =>
  c.pick([
    person(c),
    `The ${c.pick(L.ARTIST_WORD)} ${c.pick(L.ARTIST_WORD)}`,
    `${made(c)}`,
    `${c.pick(L.ARTIST_WORD)} ${made(c)}`,
    `The ${c.pick(L.TITLE_NOUN)}s`,
    `DJ ${made(c)}`,
  ]);
export const product = (c) =>
  c.hit(0.3) ? `${c.pick(L.COMPANY_PARTS)} ${letters(c, 1)}${c.int(1, 900)}` : c.pick(L.PRODUCT);
export const code = (c) =>
  c.pick([
    () => digits(c, c.int(3, 6)),
    () => `${letters(c, c.int(1, 3))}-${digits(c, c.int(2, 5))}`,
    () => `${letters(c, 2)}${digits(c, c.int(2, 5))}`,
    () => `#${digits(c, 4)}`,
    () => `${letters(c, 2)}-${digits(c, 2)}-${letters(c, 2)}`,
    () => `${digits(c, 2)}${letters(c, 2)}${digits(c, 2)}`,
  ])();
export const file = (c) =>
  `${c.hit(0.25) ? L.syllables(c) : c.pick(L.FILE_STEM)}${c.pick(["", "", `_${c.int(1, 30)}`, `-${c.int(2015, 2026)}`, "_final", "_old"])}.${c.pick(L.FILE_EXT)}`;
export const folder = (c) =>
  c.pick([
    `/home/${c.pick(L.FIRST).toLowerCase()}/${c.pick(L.FILE_STEM)}`,
    `${c.pick(L.FILE_STEM)}/${c.int(2015, 2026)}`,
    `/var/${c.pick(L.FILE_STEM)}`,
    `${c.pick(L.FILE_STEM)}`,
    `~/${c.pick(L.FILE_STEM)}`,
    `/data/${L.syllables(c)}`,
  ]);
export const email = (c) => {
  const name = c.pick(L.FIRST).toLowerCase();
  const who = c.pick([
    name,
    `${name}.${c.pick(L.LAST).toLowerCase()}`,
    `${name[0]}${c.pick(L.LAST).toLowerCase()}`,
    `${name}${c.int(1, 99)}`,
    L.syllables(c),
  ]);
  const at = c.pick([`${L.syllables(c)}`, c.pick(L.COMPANY_PARTS).toLowerCase(), "mail", "example", "post"]);
  return `${who}@${at}.${c.pick(["com", "org", "net", "io", "de", "co.uk", "fr", "eu"])}`;
};
export const street = (c) =>
  `${c.int(1, 400)} ${c.hit(0.4) ? made(c) : c.pick(L.LAST)} ${c.pick(["Street", "Road", "Avenue", "Lane", "Square", "Drive", "Way", "St", "Ave"])}`;
export const place = (c) =>
  c.pick([
    city,
    city,
    (x) => `${city(x)}, ${x.pick(L.COUNTRY)}`,
    (x) =>
      `${made(x)} ${x.pick(["Park", "Station", "Airport", "Museum", "Bridge", "Hospital", "Library", "Mall", "Beach", "Stadium", "Harbor", "Square"])}`,
    street,
  ])(c);
export const query = (c) =>
  c.pick([
    () => c.pick(L.TOPIC),
    () => `${c.pick(L.TITLE_ADJ).toLowerCase()} ${c.pick(L.NOUNISH)}`,
    () => product(c),
    () =>
      `${c.pick(L.NOUNISH)} ${c.pick(["repair", "reviews", "prices", "manual", "ideas", "history", "near me", "for beginners"])}`,
    () => title(c),
  ])();
export const message = (c) => {
  const p = c.pick(L.FIRST);
  return c.pick([
    `I am running ${c.int(5, 40)} minutes late`,
    `happy birthday ${p}`,
    `the meeting moved to ${c.pick(["Monday", "Tuesday", "noon", "room 4"])}`,
    `please bring the ${c.pick(L.NOUNISH)}`,
    `see you in ${city(c)}`,
    `call me when you are done`,
    `dinner is ready`,
    `thanks for the ${c.pick(L.NOUNISH)}`,
    `can you pick up some ${c.pick(L.INGREDIENT)}`,
    `the ${c.pick(L.NOUNISH)} is broken`,
    `${p} arrived safely`,
    `don't forget the ${c.pick(L.NOUNISH)}`,
    `we need more ${c.pick(L.INGREDIENT)}`,
    `good luck with ${c.pick(L.SUBJECT)}`,
    `on my way`,
    `the ${c.pick(L.NOUNISH)} from ${company(c)} is here`,
  ]);
};
export const task = (c) => {
  const p = c.pick(L.FIRST);
  return c.pick([
    `water the ${c.pick(L.PLANT)}`,
    `call ${p}`,
    `buy ${c.pick(L.INGREDIENT)}`,
    `pay the ${c.pick(["rent", "bills", "gas bill", "fine"])}`,
    `fix the ${c.pick(L.NOUNISH)}`,
    `feed the ${c.pick(L.ANIMAL)}`,
    `email ${person(c)}`,
    `clean the ${c.pick(L.ROOM)}`,
    `order a new ${c.pick(L.NOUNISH)}`,
    `pick up the ${c.pick(L.NOUNISH)}`,
    `study ${c.pick(L.SUBJECT)}`,
    `book the ${c.pick(["dentist", "hotel", "hall", "vet"])}`,
    `take out the trash`,
    `return the ${c.pick(L.NOUNISH)}`,
    `renew the ${c.pick(["passport", "licence", "contract", "insurance"])}`,
  ]);
};
