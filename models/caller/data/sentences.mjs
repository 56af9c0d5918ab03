// What people say to have a tool called: clauses out of beginnings and phrases, then politeness, haste and typos.
// Values stand between marks while a sentence is made, so that nothing but their case is touched.

const [OPEN, CLOSE] = ["\uE000", "\uE001"];
export const marked = (said) => `${OPEN}${said}${CLOSE}`;

/** What is said of one argument in a clause: { said, value }; flags have phrases of their own. */
export function valueFor(slot, chance) {
  if (slot.kind.flag) {
    const value = !chance.hit(0.3);
    return { value, phrase: chance.pick(value ? slot.kind.flag.yes : slot.kind.flag.no) };
  }
  return slot.kind.make(chance);
}

/** Optional arguments that this sentence speaks of. */
function chooseSlots({ slots }, chance, p) {
  const chosen = slots.filter((slot) => slot.required || chance.hit(p));
  if (slots.some((slot) => slot.set) && !chosen.some((slot) => slot.set))
    chosen.push(slots.find((slot) => slot.set));
  return chosen;
}

const SET_PHRASES = [
  "set the {w} to {}",
  "{w} to {}",
  "change {w} to {}",
  "with {w} {}",
  "new {w} {}",
  "{w}: {}",
  "make the {w} {}",
];
const wordsOf = (name) =>
  name
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .replace(/_/g, " ")
    .toLowerCase();

function phraseOf(slot, value, chance) {
  if (value.phrase !== undefined) return value.phrase;
  const pattern =
    slot.set || chance.hit(0.05)
      ? chance
          .pick(slot.set ? SET_PHRASES : ["{w}: {}", "{w} {}", "with {w} {}"])
          .replace("{w}", wordsOf(slot.name))
      : chance.pick(slot.phrases);
  return pattern.replace("{}", marked(value.said));
}

/** Quantities of a formula, in one block. */
function blockOf(parts, chance) {
  const style = chance.int(0, 5);
  const one = ({ slot, value }) => {
    const noun = chance.hit(0.75) ? slot.nouns[0] : chance.pick(slot.nouns);
    const said = marked(value.said);
    return [
      `a ${noun} of ${said}`,
      `${noun} ${said}`,
      `${noun} = ${said}`,
      `${noun} of ${said}`,
      `${noun}: ${said}`,
      `the ${noun} is ${said}`,
    ][style];
  };
  const all = parts.map(one);
  const list =
    all.length < 2
      ? all[0]
      : `${all.slice(0, -1).join(", ")}${chance.pick([" and ", " and ", ", "])}${all.at(-1)}`;
  const lead = [
    ["with", "given", "for"],
    ["with", "for", "given", ":"],
    ["if", "with", ":"],
    ["with", "given"],
    ["", ":", "for"],
    ["if", "when"],
  ][style];
  const word = chance.pick(lead);
  return word === ":" ? `: ${list}` : word === "" ? `, ${list}` : ` ${word} ${list}`;
}

/**
 * A clause for a tool: { text, note, args }. `values`: given ones by slot name, instead of new ones.
 * @param without a slot that is not spoken of though it is required
 * @param speak the slots to speak of, chosen already @param heads beginnings instead of the tool's
 */
export function clause(made, chance, { without, values = {}, p = 0.4, speak, heads = made.heads } = {}) {
  const chosen = speak ?? chooseSlots(made, chance, p).filter((slot) => slot !== without);
  const spoken = new Map(
    chosen.map((slot) => [slot.key, { slot, value: values[slot.name] ?? valueFor(slot, chance) }]),
  );
  // A beginning that speaks of an argument which is left out will not do.
  const usable = heads.filter((head) => {
    const holes = [...head.fill().matchAll(/\{(\w+)\}/g)].map(([, key]) => key);
    return holes.every((key) => spoken.has(key) || key === "id");
  });
  const head = usable.length > 0 ? chance.pick(usable) : undefined;
  if (!head) return undefined;
  let text = head.fill();
  const note = text.startsWith("~");
  if (note) text = text.slice(1);
  const rest = new Map(spoken);
  text = text.replace(/\{(\w+)\}/g, (_, key) => {
    const found = rest.get(key);
    if (!found) return "";
    rest.delete(key);
    if (key === "id" && chance.hit(0.12))
      return `${chance.pick(["number", "named", "called"])} ${marked(found.value.said)}`;
    return marked(found.value.said);
  });
  text = text.replace(/\s+/g, " ").trim();
  let front = "";
  if (head.block) {
    const named = [...rest.values()].filter(({ slot }) => slot.nouns);
    const parts = chance.hit(0.8) ? named : chance.shuffle(named);
    if (parts.length > 0) text += blockOf(parts, chance);
    for (const { slot, value } of rest.values()) if (!slot.nouns) text += ` ${phraseOf(slot, value, chance)}`;
  } else {
    for (const { slot, value } of chance.hit(0.35)
      ? [...rest.values()]
      : chance.shuffle([...rest.values()])) {
      const phrase = phraseOf(slot, value, chance);
      if (
        front === "" &&
        /^(date|time|weekday|month|city|start_date|room)$/.test(slot.key) &&
        chance.hit(0.15)
      )
        front = `${phrase}, `;
      else text += `${slot.set && chance.hit(0.3) ? "," : ""} ${phrase}`;
    }
  }
  const args = Object.fromEntries(
    [...spoken.values()].map(({ slot, value }) => [
      slot.name,
      { value: value.value, fixed: slot.kind.fixed === true },
    ]),
  );
  return { text: `${front}${text}`, note: note || front !== "", args };
}

/** One clause for several calls: the values of one argument in a row, or of two "respectively". Undefined: it cannot be. */
export function severalClauses(made, chance) {
  const able = made.slots.filter(
    (slot) =>
      slot.required && !slot.kind.flag && !slot.set && !["array", "object"].includes(slot.kind.schema.type),
  );
  if (able.length === 0) return undefined;
  const n = chance.pick([2, 2, 2, 3, 3, 4]);
  const [one, two] = chance.shuffle(able);
  const both = two !== undefined && n < 4 && chance.hit(0.3) ? [one, two] : [one];
  const series = both.map((slot) => {
    const values = [];
    for (let tries = 0; values.length < n && tries < 30; tries++) {
      const value = slot.kind.make(chance);
      const repeated = values.some((other) => other.said === value.said);
      if (!/ and |,/.test(value.said) && (!repeated || both.length > 1)) values.push(value);
    }
    return values;
  });
  if (series.some((values) => values.length < n)) return undefined;
  const joined = (values) => {
    const said = values.map((value) => value.said);
    return `${said.slice(0, -1).join(`${CLOSE}, ${OPEN}`)}${CLOSE}${chance.pick([" and ", " and ", " and for ", " and also "])}${OPEN}${said.at(-1)}`;
  };
  const values = Object.fromEntries(
    both.map((slot, i) => [slot.name, { said: joined(series[i]), value: i }]),
  );
  const made1 = clause(made, chance, { values, p: 0.2 });
  if (!made1) return undefined;
  const calls = Array.from({ length: n }, (_, k) => {
    const args = { ...made1.args };
    for (const [i, slot] of both.entries())
      args[slot.name] = { value: series[i][k].value, fixed: slot.kind.fixed === true };
    return args;
  });
  return {
    text: both.length > 1 ? `${made1.text}${chance.pick([" respectively", ", respectively"])}` : made1.text,
    note: made1.note,
    calls,
  };
}

const BEFORE = [
  "please ",
  "can you ",
  "could you ",
  "would you ",
  "could you please ",
  "hey, ",
  "I need you to ",
  "I'd like you to ",
  "I want to ",
  "let's ",
  "ok, ",
  "can you please ",
  "go ahead and ",
  "quickly ",
  "hi, can you ",
  "I have to ",
  "time to ",
  "do me a favor and ",
  "kindly ",
];
const NOTE_BEFORE = [
  "hey, ",
  "hi, ",
  "quick question: ",
  "ok, ",
  "so ",
  "hello, ",
  "excuse me, ",
  "tell me, ",
];
const AFTER = [
  " please",
  ", please",
  " for me",
  " now",
  ", thanks",
  " thank you",
  " if you can",
  " asap",
  ", would you",
  " right away",
];
const ASIDE = [
  "My sister is visiting. ",
  "I'm in a hurry. ",
  "It has been a long day. ",
  "Good morning! ",
  "I hope you are well. ",
  "Sorry to bother you again. ",
  "My boss just called. ",
  "As we discussed, ",
  "We are almost done here. ",
  "I forgot this yesterday. ",
  "Since it's raining, ",
  "The kids are asleep. ",
];

/** A sentence of a clause. */
export function polish({ text, note }, chance) {
  let out = text;
  const question = note && /^(what|which|how|where|when|who|any|are|is|do|can|will)\b/.test(out);
  const asks = /^(I |I'd |I'm )/.test(out);
  if (!asks && chance.hit(0.42)) out = (note ? chance.pick(NOTE_BEFORE) : chance.pick(BEFORE)) + out;
  if (chance.hit(0.15)) out += chance.pick(AFTER);
  if (chance.hit(0.06)) out = chance.pick(ASIDE) + out;
  if (chance.hit(0.5)) out = out[0].toUpperCase() + out.slice(1);
  if (chance.hit(0.55)) out += question || /^(can|could|would)/i.test(out) ? "?" : ".";
  if (chance.hit(0.12)) out = typos(out, chance);
  return out;
}

/** One typo outside of the values. */
function typos(text, chance) {
  const parts = text.split(/(\uE000[^\uE001]*\uE001)/);
  const at = chance.pick(parts.flatMap((part, i) => (i % 2 === 0 && /[a-z]{4}/.test(part) ? [i] : [])) ?? []);
  if (at === undefined) return text;
  const spots = [...parts[at].matchAll(/[a-z]{4,}/g)];
  const spot = chance.pick(spots);
  const i = spot.index + chance.int(1, spot[0].length - 2);
  const part = parts[at];
  parts[at] = chance.hit(0.5)
    ? part.slice(0, i) + part.slice(i + 1)
    : part.slice(0, i) + part[i + 1] + part[i] + part.slice(i + 2);
  return parts.join("");
}

/** Without the marks, and values of arguments; in lower case, names that were copied are in lower case too. */
export function finish(text, calls, lower) {
  const plain = text
    .replace(/[\uE000\uE001]/g, "")
    .replace(/\s+/g, " ")
    .replace(/ ([,.?:])/g, "$1")
    .trim();
  const down = (value, fixed) =>
    fixed || !lower
      ? value
      : typeof value === "string"
        ? value.toLowerCase()
        : Array.isArray(value)
          ? value.map((item) => down(item, fixed))
          : value;
  return {
    text: lower ? plain.toLowerCase() : plain,
    calls: calls.map((args) =>
      Object.fromEntries(Object.entries(args).map(([name, { value, fixed }]) => [name, down(value, fixed)])),
    ),
  };
}
