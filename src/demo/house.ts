// A house with words of its own for what its tools do, and sentences in them. Which words mean what is drawn for each run.

import { type Chance, type Example, type Invented, sentenceFor } from "./invent.ts";

export interface House {
  readonly tools: readonly Invented[];
  /** Words of the house, and what they mean. */
  readonly words: readonly (readonly [word: string, means: string])[];
  /** `n` different sentences, as many of each tool. */
  sentences(chance: Chance, n: number): Promise<Example[]>;
}

/** Everyday words, which mean something else in a house: verbs that take "ed", and nouns. */
const VERBS = "iron butter comb sail peel salt fold dust park plant polish toast mop brush pepper boil".split(
  " ",
);
const NOUNS =
  "sparrow kettle pancake ladder violin button lantern turnip cactus teapot pillow carrot saddle walnut marble bucket".split(
    " ",
  );

/** Marks that keep what is between them from being misspelt: those of the generator's sentences. */
const kept = (word: string) => `\uE000${word}\uE001`;

/** What is said with a verb {v} and a noun {n} of the house. "~" stands before what is no order. */
const WITH_ID = [
  "{v} the {n} {id}",
  "{v} {n} {id}",
  "~{n} {id} has to be {v}ed",
  "~{n} {id}: {v} it",
  "~time to {v} {n} {id}",
  "~we should {v} {n} {id}",
  "~{n} {id} wants a {v}",
  "give the {n} {id} a {v}",
];
const WITHOUT = [
  "{v} a {n}",
  "{v} me a {n}",
  "~we need a {n} {v}ed",
  "~time to {v} a {n}",
  "~somebody should {v} a {n}",
  "~a {n} has to be {v}ed",
];

/**
 * Two houses with the same three tools and the same words. In the second, the verbs of the last two tools have changed places, and so
 * have the nouns: what one house says means another tool in the other.
 */
export async function makeHouses(tools: readonly Invented[], chance: Chance): Promise<[House, House]> {
  const [a, b, c] = chance.some(VERBS, 3) as [string, string, string];
  const [x, y] = chance.some(NOUNS, 2) as [string, string];
  return [houseOf(tools, [a, b, c], [x, y]), houseOf(tools, [a, c, b], [y, x])];
}

function houseOf(tools: readonly Invented[], verbs: readonly string[], nouns: readonly string[]): House {
  const things = [...new Set(tools.map(({ family }) => family.thing!))];
  const speaking = tools.map((made, i): Invented => {
    const forms = made.slots.some(({ isId }) => isId) ? WITH_ID : WITHOUT;
    const noun = nouns[things.indexOf(made.family.thing!)]!;
    const say = (form: string) => form.replace("{v}", kept(verbs[i]!)).replace("{n}", kept(noun));
    return { ...made, heads: forms.map((form) => ({ fill: () => say(form) })) };
  });
  return {
    tools,
    words: [
      ...tools.map(({ tool }, i) => [verbs[i]!, tool.name] as const),
      ...things.map((thing, i) => [nouns[i]!, thing.noun] as const),
    ],
    async sentences(chance, n) {
      const out: Example[] = [];
      while (out.length < n) {
        const said = await sentenceFor(speaking[out.length % speaking.length]!, chance);
        if (said && !out.some(({ text }) => text === said.text)) out.push(said);
      }
      return chance.shuffle(out);
    },
  };
}
