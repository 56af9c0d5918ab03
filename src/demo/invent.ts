// Tools that were invented, and sentences for them, out of the generator that the built-in caller learned from. Its fields
// of life that were held out from training are the ones that are used here. Plain JavaScript, typed as far as it is used.

import type { Tool, ToolCall } from "../tools/index.ts";

/** Chance with a seed. */
export interface Chance {
  next(): number;
  hit(p: number): boolean;
  int(low: number, high: number): number;
  pick<T>(list: readonly T[]): T;
  some<T>(list: readonly T[], n: number): T[];
  shuffle<T>(list: readonly T[]): T[];
  fork(name: string): Chance;
}

/** An argument. */
export interface Slot {
  readonly name: string;
  /** It says which thing is meant. */
  readonly isId?: boolean;
}

/** What a function does, and with what. */
export interface Family {
  readonly kind: "thing" | "action" | "formula" | "lookup";
  readonly domain: string;
  readonly thing?: { readonly noun: string; readonly others: readonly string[] };
  readonly verb?: { readonly names: string; readonly own?: unknown };
}

/** A tool with what is known of it. Beginnings of sentences may name arguments: "{id}". */
export interface Invented {
  readonly tool: Tool;
  readonly slots: readonly Slot[];
  readonly heads: readonly { fill(): string }[];
  readonly family: Family;
}

interface Clause {
  readonly text: string;
  readonly note: boolean;
  readonly args: { readonly [name: string]: { readonly value: unknown; readonly fixed: boolean } };
}

interface Parts {
  readonly Chance: new (seed: number, name?: string) => Chance;
  readonly families: (chance: Chance, invented?: number) => Family[];
  readonly makeTool: (family: Family, chance: Chance) => Invented;
  readonly alike: (a: Family, b: Family) => boolean;
  readonly clause: (made: Invented, chance: Chance) => Clause | undefined;
  readonly polish: (said: { readonly text: string; readonly note: boolean }, chance: Chance) => string;
  readonly finish: (
    text: string,
    calls: readonly Clause["args"][],
    lower: boolean,
  ) => { readonly text: string; readonly calls: readonly { readonly [name: string]: unknown }[] };
  readonly inOrder: (
    tool: Tool,
    args: { readonly [name: string]: unknown },
  ) => { readonly [name: string]: unknown };
  readonly Procedural: new (seed: number, part: "train" | "dev") => Procedural;
}

/** Samples of many tools. */
export interface Procedural {
  sample(
    turns?: number,
    tools?: number,
  ): {
    readonly tools: readonly Tool[];
    readonly turns: readonly { readonly text: string; readonly answer: ToolCall[]; readonly kind: string }[];
  };
}

let loaded: Promise<Parts> | undefined;

/** The generator, of the package's own files. */
export function generator(): Promise<Parts> {
  loaded ??= (async () => {
    const names = ["random", "tools", "alike", "sentences", "format", "procedural"];
    const from = (name: string) =>
      import(new URL(`../../models/caller/data/${name}.mjs`, import.meta.url).href) as Promise<object>;
    return Object.assign({}, ...(await Promise.all(names.map(from)))) as Parts;
  })();
  return loaded;
}

/** A sentence and its right answer. */
export interface Example {
  readonly text: string;
  readonly answer: readonly ToolCall[];
}

/** Fields of life of which the caller has seen nothing. */
const HELD_OUT = ["pets", "energy", "chemistry", "art"];
/** Verbs that name one thing and want nothing else, or make one: what they do can be said in a word of one's own. */
const VERBS = /^(create|book|delete|cancel|approve|reject|print|duplicate|lock|unlock)\b/;

/** Three tools about two things, one of them made or ordered. No sentence means two of them. */
export async function inventTools(chance: Chance): Promise<Invented[]> {
  const { families, makeTool, alike } = await generator();
  const all = families(chance.fork("families"), 0).filter(
    ({ kind, domain, verb }) => kind === "thing" && HELD_OUT.includes(domain) && VERBS.test(verb!.names),
  );
  for (;;) {
    const first = chance.pick(all.filter(({ verb }) => verb!.own));
    const second = chance.pick(all.filter(({ thing, verb }) => thing === first.thing && !verb!.own));
    const third = chance.pick(
      all.filter(
        ({ thing, verb, domain }) =>
          thing !== first.thing && domain === first.domain && !verb!.own && verb !== second.verb,
      ),
    );
    const chosen = [first, second, third];
    if (chosen.some((a, i) => chosen.some((b, j) => j < i && alike(a, b)))) continue;
    const made = chosen.map((family) => makeTool(family, chance));
    const told = made.every(({ tool }) => tool.description !== undefined);
    if (told && new Set(made.map(({ tool }) => tool.name)).size === made.length) return made;
  }
}

/** A sentence that calls one of the tools, in the words of its beginnings. */
export async function sentenceFor(made: Invented, chance: Chance): Promise<Example | undefined> {
  const { clause, polish, finish, inOrder } = await generator();
  const said = clause(made, chance);
  if (!said) return undefined;
  const { text, calls } = finish(polish(said, chance), [said.args], false);
  return { text, answer: [{ name: made.tool.name, arguments: inOrder(made.tool, calls[0]!) }] };
}
