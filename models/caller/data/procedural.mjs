// Samples of invented tools: a list of tools, and sentences about them with their answers. Families are split by what
// they are about, so that held-out tools share nothing with those that are trained on but ways of speaking.

import { alike } from "./alike.mjs";
import { chitchat } from "./chitchat.mjs";
import { inOrder } from "./format.mjs";
import { moreFamilies } from "./more.mjs";
import { Chance, hashOf } from "./random.mjs";
import { clause, finish, polish, severalClauses } from "./sentences.mjs";
import { families, makeTool } from "./tools.mjs";

/** Fields of life that are held out wholly. */
const HELD_DOMAINS = new Set(["pets", "energy", "chemistry", "art"]);
const held = (family) => HELD_DOMAINS.has(family.domain) || hashOf(family.key) % 25 === 0;

/** Families of a part: what is held out in one field is so in all. */
function familiesOf(part, seed) {
  const all = families(new Chance(seed, "families"));
  const keys = new Set(all.filter(held).map(({ key }) => key));
  return all.filter(({ key }) => keys.has(key) === (part === "dev"));
}

/** What turns ask for, in a hundred. */
const KINDS = [
  ["call", 60],
  ["question", 11],
  ["refusal", 12],
  ["same", 9],
  ["different", 8],
];

/** Fields that an assistant for banking, travel, home, work and small talk has nothing to do with. */
const FAR = new Set(
  "athletes sports works chemistry animals plants law laws materials languages companies".split(" "),
);

/** Questions that are out of scope of such an assistant, in lower case without a question mark. */
export function farQuestions(chance, n) {
  const far = families(chance, 0).filter((family) => family.kind === "lookup" && FAR.has(family.domain));
  const out = new Set();
  while (out.size < n) {
    const { text } = finish(clause(makeTool(chance.pick(far), chance), chance, { p: 0.1 }).text, [], true);
    out.add(text.replace(/[?.]$/, ""));
  }
  return [...out];
}

/** A source of samples: { tools, turns: [{ text, answer, kind }] }. */
export class Procedural {
  #chance;
  #families;
  #more = [];
  #byDomain = new Map();

  /**
   * @param part "train" or "dev" @param domain one field of life alone @param name of the source of chance
   * @param more with the families of more.mjs, in training
   */
  constructor(seed, part, domain, name = "procedural", more = false) {
    this.#chance = new Chance(seed, `${name} ${part}${domain ? ` ${domain}` : ""}`);
    this.#families = familiesOf(part, seed).filter((family) => !domain || family.domain === domain);
    if (this.#families.length === 0) throw new RangeError(`No tools of ${domain} in ${part}`);
    // Every family of a thing is as likely as an action, though there are many more.
    const weight = { thing: 1, action: 9, formula: 4, lookup: 5 };
    this.#families = this.#families.flatMap((family) =>
      Array(family.formula?.domain === "analysis" ? 1 : weight[family.kind]).fill(family),
    );
    if (more) {
      const chance = new Chance(seed, `${name} more`);
      this.#more = moreFamilies(chance, families(new Chance(seed, "families")).filter(held));
    }
    for (const family of [...this.#families, ...this.#more.flatMap((one) => one.families)]) {
      const list = this.#byDomain.get(family.domain) ?? [];
      list.push(family);
      this.#byDomain.set(family.domain, list);
    }
  }

  /** Any family. */
  #any() {
    let at = this.#more.length > 0 ? this.#chance.int(0, 99) : 100;
    const some = this.#more.find(({ share }) => (at -= share) < 0);
    return this.#chance.pick(some?.families ?? this.#families);
  }

  /** Tools that one sentence cannot mean two of, as `turns` takes them: { tool, family, slots }. */
  toolset(n) {
    const c = this.#chance;
    const made = [];
    for (let tries = 0; made.length < n && tries < 40; tries++) {
      const near = made.length > 0 && c.hit(0.6) ? c.pick(made).family : undefined;
      const other = near && c.pick(this.#byDomain.get(near.domain));
      const family = near ? (near.kind === "thing" && c.hit(0.5) ? this.#sibling(near) : other) : this.#any();
      if (made.some((tool) => alike(tool.family, family))) continue;
      const tool = makeTool(family, c);
      if (!made.some((one) => one.tool.name === tool.tool.name)) made.push(tool);
    }
    return made;
  }

  /** Another verb for the same thing. */
  #sibling(family) {
    return this.#chance.pick(
      this.#byDomain.get(family.domain).filter((other) => other.thing === family.thing),
    );
  }

  /** @param turns how many sentences, @param n how many tools */
  sample(
    turns = this.#chance.pick([1, 2, 3, 3, 4, 4, 5]),
    n = this.#chance.pick([1, 1, 2, 2, 3, 3, 3, 4, 4, 5]),
  ) {
    const made = this.toolset(n);
    return { tools: made.map(({ tool }) => tool), turns: this.turns(made, turns) };
  }

  /** Different sentences about tools, with their answers. */
  turns(made, turns) {
    const out = [];
    for (let tries = 0; out.length < turns && tries < turns * 6; tries++) {
      const turn = this.#turn(made);
      if (turn && !out.some((other) => other.text === turn.text)) out.push(turn);
    }
    return out;
  }

  #turn(made) {
    const c = this.#chance;
    let at = c.int(0, 99);
    const kind = KINDS.find(([, share]) => (at -= share) < 0)[0];
    const lower = c.hit(0.3);
    const target = c.pick(made);
    const end = (said, calls, answer) => {
      const done = finish(polish(said, c), calls, lower);
      return { text: done.text, kind, answer: answer ?? ((all) => all)(done.calls) };
    };
    const call = (tool, args) => ({ name: tool.name, arguments: inOrder(tool, args) });
    if (kind === "refusal") {
      if (c.hit(0.35)) return end({ text: chitchat(c), note: true }, [], []);
      const other = this.outside(made);
      const said = other && clause(other, c);
      return said && end(said, [], []);
    }
    if (kind === "question") {
      const able = target.slots.filter((slot) => slot.required && !slot.kind.flag);
      if (able.length === 0) return undefined;
      const without = c.pick(able);
      const said = clause(target, c, { without });
      return said && end(said, [], { name: target.tool.name, missing: [without.name] });
    }
    if (kind === "same") {
      const said = severalClauses(target, c);
      if (!said) return undefined;
      const done = finish(polish(said, c), said.calls, lower);
      return { text: done.text, kind, answer: done.calls.map((args) => call(target.tool, args)) };
    }
    if (kind === "different") {
      const others = made.filter((tool) => tool !== target);
      const second = others.length === 0 || c.hit(0.15) ? target : c.pick(others);
      const said = [target, second].map((tool) => clause(tool, c, { p: 0.25 }));
      if (said.some((one) => !one)) return undefined;
      const joined = `${said[0].text}${c.pick([" and ", ", then ", " and then ", ". Also ", " and also ", ", and ", "; ", ". After that ", " plus "])}${said[1].text}`;
      const done = finish(
        polish({ text: joined, note: said[0].note }, c),
        said.map(({ args }) => args),
        lower,
      );
      return {
        text: done.text,
        kind,
        answer: [call(target.tool, done.calls[0]), call(second.tool, done.calls[1])],
      };
    }
    const said = clause(target, c);
    if (!said) return undefined;
    const done = finish(polish(said, c), [said.args], lower);
    return { text: done.text, kind, answer: [call(target.tool, done.calls[0])] };
  }

  /** A tool that is not there: near to one that is, or far. Undefined: none was found. */
  outside(made, nearness = 0.4) {
    const c = this.#chance;
    for (let tries = 0; tries < 20; tries++) {
      const near = c.hit(nearness) ? c.pick(made).family : undefined;
      const family = near
        ? near.kind === "thing"
          ? this.#sibling(near)
          : c.pick(this.#byDomain.get(near.domain))
        : this.#any();
      if (!made.some((tool) => alike(tool.family, family))) return makeTool(family, c);
    }
    return undefined;
  }
}
