// Lessons of what must not be made up: questions for everything that a sentence leaves out, refusals where one or two
// functions do not fit, the same request with and without an argument side by side, and longer schemas. Functions, values
// and the split are those of procedural.mjs. Boundary: an answer holds what its sentence says, and a question is for what
// no word of it could be.

import { confusable } from "./alike.mjs";
import { chitchat } from "./chitchat.mjs";
import { everyday, farFrom } from "./everyday.mjs";
import { inOrder } from "./format.mjs";
import { lengthen, letter } from "./longer.mjs";
import { blurs, headsFor, withoutOrder } from "./omissions.mjs";
import { Procedural } from "./procedural.mjs";
import { Chance } from "./random.mjs";
import { clause, finish, polish, severalClauses, valueFor } from "./sentences.mjs";

/** Weights of what single turns ask for; pairs of a call and a question come beside them. */
const SHARES = { call: 26, question: 13, refusal: 40, same: 13, different: 13 };
/** Characters of tools, and of a sample, that stay within 512 tokens. */
const [TOOLS, ALL] = [920, 1300];

const DAYLIKE = /date|day|time|month|year|week|period|due|night|hour|minute|repeat|until|schedul|season/;
const FOREIGN = [" tomorrow", " on Friday", " next week", " this evening", " on Monday morning", " today"];
const ASKS = /^(what|which|how|where|when|who|any|are|is|do|can|will|why)\b/;
/** The first three fit "get me a taxi" too. */
const DRESSES = "please {};can you {};{} please;I need to {};I want to {};help me {}".split(";");

/** Digits are tokens of their own. */
const sizeOf = (text) => text.length + 2 * text.replace(/\D/g, "").length;

/** What a tool takes in a template, nearly. */
const lengthOf = ({ name, description = "", parameters: { properties } }) =>
  Object.entries(properties).reduce(
    (sum, [key, { description: text = "", enum: options = [], default: given = "" }]) =>
      sum + key.length + text.length + String(given).length + options.join("|").length + 10,
    name.length + description.length + 5,
  );

/** A source of samples: { tools, turns: [{ text, answer, kind }] }, kinds and arguments as of Procedural. */
export class Lessons extends Procedural {
  #chance;

  constructor(seed, part, domain, more = false) {
    super(seed, part, domain, "lessons", more);
    this.#chance = new Chance(seed, `lessons of ${part}${domain ? ` ${domain}` : ""}`);
  }

  /** Tools that one sentence cannot mean two of, even if it leaves something out. */
  toolset(n) {
    const made = [];
    for (let tries = 0; made.length < n && tries < 20; tries++)
      for (const one of super.toolset(n)) {
        // Verbs of things are many.
        if (one.family.kind === "thing" && this.#chance.hit(0.4)) continue;
        const fits = !made.some((other) => confusable(other.family, one.family));
        if (made.length < n && fits && !made.some(({ tool }) => tool.name === one.tool.name)) made.push(one);
      }
    return made;
  }

  sample(turns = this.#chance.pick([1, 2, 3, 3, 4, 4]), n = this.#chance.pick([1, 1, 1, 2, 2, 2, 3, 3, 4])) {
    const c = this.#chance;
    for (let tries = 1; tries < 400; tries++) {
      // A field may have fewer functions than are wanted.
      const wanted = Math.max(1, n - Math.floor(tries / 20));
      const long = wanted < 4 && c.hit(0.3);
      const made = this.toolset(wanted).map((one) => (long ? lengthen(one, c) : one));
      const tools = made.map(({ tool }) => tool);
      const size = tools.reduce((sum, tool) => sum + lengthOf(tool), 0);
      if (made.length < wanted || size > TOOLS) continue;
      const out = this.turns(made, turns);
      let room = ALL - size;
      const kept = out.filter(({ text, answer }) => (room -= sizeOf(text + JSON.stringify(answer)) + 40) > 0);
      if (kept.length > 0) return { tools, turns: kept };
    }
    throw new RangeError("Cannot make a lesson: no sentence of these functions fits");
  }

  turns(made, turns) {
    const c = this.#chance;
    const out = [];
    const must = ({ slots }) => slots.filter((slot) => slot.required).length;
    const focus = c.hit(0.5) ? c.pick(made) : [...made].sort((a, b) => must(b) - must(a))[0];
    for (let tries = 0; out.length < turns && tries < turns * 8; tries++) {
      const target = c.hit(0.5) ? focus : c.pick(made);
      const some =
        turns - out.length > 1 && c.hit(0.26)
          ? this.#pair(target)
          : [this.#single(target, made, turns === 1)];
      if (some.some((turn) => !turn)) continue;
      for (const turn of some) if (!out.some(({ text }) => text === turn.text)) out.push(turn);
    }
    return out;
  }

  /** One turn; alone, it stands for what pairs would give too. */
  #single(target, made, alone) {
    const c = this.#chance;
    let at = c.next() * Object.values(SHARES).reduce((a, b) => a + b);
    let [kind] = Object.entries(SHARES).find(([, share]) => (at -= share) < 0);
    if (alone && c.hit(0.3)) kind = c.pick(["call", "question"]);
    if (kind === "call") return this.#call(target, this.#values(target));
    if (kind === "question") return this.#question(target, this.#values(target));
    if (kind === "refusal") return this.#refusal(target, made);
    return this.#several(kind, target, made);
  }

  /** A value for every argument; none of "and", which could be two. */
  #values({ slots }) {
    const one = (slot) => {
      for (let tries = 0; ; tries++) {
        const value = valueFor(slot, this.#chance);
        if (slot.kind.schema.type !== "string" || tries > 9 || !/ and /.test(value.said)) return value;
      }
    };
    return Object.fromEntries(slots.map((slot) => [slot.name, one(slot)]));
  }

  /** Optional arguments to speak of, with what is needed for the call. */
  #spoken({ slots }, p) {
    const chosen = slots.filter((slot) => slot.required || this.#chance.hit(p));
    if (slots.some((slot) => slot.set) && !chosen.some((slot) => slot.set))
      chosen.push(slots.find((slot) => slot.set));
    return chosen;
  }

  /** The same request with and without an argument, in either order. */
  #pair(target) {
    const values = this.#values(target);
    const speak = this.#spoken(target, this.#chance.pick([0, 0, 0.3]));
    return this.#chance.shuffle([this.#call(target, values, speak), this.#question(target, values, speak)]);
  }

  #call(target, values, speak = this.#spoken(target, this.#chance.pick([0, 0, 0.2, 0.5]))) {
    const done = this.#say(target, speak, values);
    return (
      done && {
        text: done.text,
        kind: "call",
        answer: [{ name: target.tool.name, arguments: inOrder(target.tool, done.calls[0]) }],
      }
    );
  }

  #question(target, values, known) {
    const c = this.#chance;
    const must = target.slots.filter((slot) => slot.required);
    if (must.length === 0 || must.some((slot) => slot.kind.flag)) return undefined;
    const left = c.pick([must.length, must.length, 1, c.int(1, must.length)]);
    const missing = new Set(c.some(must, left));
    const optional = known ?? target.slots.filter(() => c.hit(left === must.length ? 0.15 : 0.3));
    let speak = target.slots.filter(
      (slot) => !missing.has(slot) && (slot.required || optional.includes(slot)),
    );
    // What could be taken for an argument that is missing is not said either.
    for (let before = -1; before !== speak.length; ) {
      before = speak.length;
      const kept = speak.filter((slot) => ![...missing].some((other) => blurs(slot, other, target.family)));
      for (const slot of speak) if (slot.required && !kept.includes(slot)) missing.add(slot);
      speak = kept;
    }
    const done = this.#say(target, speak, values, [...missing]);
    if (!done) return undefined;
    const names = must.filter((slot) => missing.has(slot)).map(({ name }) => name);
    return { text: done.text, kind: "question", answer: { name: target.tool.name, missing: names } };
  }

  /** A sentence that speaks of some arguments: { text, calls }. */
  #say(target, speak, values, missing = []) {
    const c = this.#chance;
    const heads = headsFor(target, speak, missing, c);
    if (heads.length === 0) return undefined;
    if (target.long && c.hit(0.6)) {
      const said = letter(target, c, { speak, values, heads });
      return said && finish(said.text, [said.args], c.hit(0.1));
    }
    const said = clause(target, c, { speak, values, heads });
    if (!said) return undefined;
    const { kind, verb } = target.family;
    const still = kind === "action" || (kind === "thing" && !/^(get|list|count|track)/.test(verb.names));
    // A day that the function has no use for, and which is not to stand for what is missing.
    if (still && c.hit(0.08) && !target.slots.some((slot) => DAYLIKE.test(`${slot.key} ${slot.name}`)))
      if (
        !missing.concat(speak).some(({ key }) => /text|message|query|task|note|title|subject|topic/.test(key))
      )
        said.text += c.pick(FOREIGN);
    return finish(this.#dress(said), [said.args], c.hit(0.4));
  }

  /** Half of the sentences stay as short as they are. */
  #dress(said) {
    const c = this.#chance;
    const p = c.next();
    const asks = said.note || /^(I |I'd |I'm |don't |let)/.test(said.text);
    if (p < 0.45 || (p < 0.68 && asks))
      return c.hit(0.3)
        ? `${said.text}${c.pick(ASKS.test(said.text) ? ["?"] : [".", "!", " please"])}`
        : said.text;
    if (p < 0.68)
      return c
        .pick(/^\w+ me\b/.test(said.text) ? DRESSES.slice(0, 3) : DRESSES)
        .replace("{}", () => said.text);
    // "I have to tell me" is not said.
    return polish({ text: said.text, note: said.note || /^\w+ me\b/.test(said.text) }, c);
  }

  #refusal(target, made) {
    const c = this.#chance;
    const kind = c.next();
    const end = (text) => text && { text, kind: "refusal", answer: [] };
    if (kind < 0.3) {
      const talk = c.hit(0.7) ? everyday(c) : chitchat(c);
      if (!made.every((one) => farFrom(talk, one))) return undefined;
      return end(finish(c.hit(0.6) ? talk : polish({ text: talk, note: true }, c), [], c.hit(0.4)).text);
    }
    if (kind < 0.37) return end(withoutOrder(target, c));
    const other = this.outside(made, kind < 0.8 ? 1 : 0);
    if (!other || made.some(({ family }) => confusable(family, other.family))) return undefined;
    const values = this.#values(other);
    const [id, own] = [target, other].map(({ slots }) => slots.find((slot) => slot.isId));
    if (id && own && c.hit(0.5)) values[own.name] = id.kind.make(c);
    const turn = c.hit(0.4) ? this.#question(other, values) : this.#call(other, values);
    return end(turn?.text);
  }

  #several(kind, target, made) {
    const c = this.#chance;
    const lower = c.hit(0.4);
    const answer = (tools, calls) =>
      calls.map((args, i) => ({ name: tools[i].tool.name, arguments: inOrder(tools[i].tool, args) }));
    if (kind === "same") {
      const said = severalClauses(target, c);
      const id = target.slots.find((slot) => slot.isId)?.name;
      // Nobody marks one thing as urgent and as not urgent.
      if (!said || (id && said.calls[0][id].value === said.calls[1][id].value)) return undefined;
      const done = finish(polish(said, c), said.calls, lower);
      return (
        done && { text: done.text, kind, answer: answer(Array(said.calls.length).fill(target), done.calls) }
      );
    }
    const others = made.filter((one) => one !== target);
    const both = [target, others.length === 0 || c.hit(0.15) ? target : c.pick(others)];
    const said = both.map((one) => clause(one, c, { p: 0.15, values: this.#values(one) }));
    if (said.some((one) => !one)) return undefined;
    const joined = `${said[0].text}${c.pick([" and ", ", then ", " and then ", ". Also ", " and also ", ", and ", "; "])}${said[1].text}`;
    const args = said.map((one) => one.args);
    const done = finish(polish({ text: joined, note: said[0].note }, c), args, lower);
    return { text: done.text, kind, answer: answer(both, done.calls) };
  }
}
