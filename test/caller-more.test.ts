// Functions about more things (models/caller/data/more): lines that can be read, samples that their schemas allow, and nothing
// of what is held out.
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { readTools, toolSchema } from "../src/tools/index.ts";

const part = (name: string) => import(new URL(`../models/caller/data/${name}.mjs`, import.meta.url).href);
const { moreFamilies } = await part("more");
const { Procedural } = await part("procedural");
const { Lessons } = await part("lessons");
const { Chance } = await part("random");
const { makeTool } = await part("tools");
const { things } = await part("objects");

const HELD = things.filter(({ domain }: { domain: string }) => ["pets", "energy"].includes(domain));
const held = HELD.map((thing: object) => ({ kind: "thing", thing }));
type Families = readonly {
  share: number;
  families: { kind: string; key: string; thing?: { noun: string } }[];
}[];

describe("more families", () => {
  const kinds: Families = moreFamilies(new Chance(1), held);

  it("make tools, each of them", () => {
    const chance = new Chance(2);
    for (const { families } of kinds)
      for (const family of families.length > 5000 ? chance.some(families, 5000) : families)
        expect(() => readTools([makeTool(family, chance).tool]), JSON.stringify(family)).not.toThrow();
  });

  it("hold many words, no thing twice, and none of what is held out", () => {
    const [written, made] = [0, 1].map((at) => [...new Set(kinds[at]!.families.map(({ thing }) => thing!))]);
    expect(written!.length).toBeGreaterThan(1000);
    expect(new Set(written!.map(({ noun }) => noun)).size).toBe(written!.length);
    expect(made!.length).toBe(1200);
    const phrases: string[] = HELD.flatMap(({ others }: { others: string[] }) => others);
    for (const { noun } of [...written!, ...made!])
      for (const phrase of phrases)
        expect(` ${noun}`.endsWith(` ${phrase}`), `${noun}: ${phrase}`).toBe(false);
    expect(kinds.reduce((sum, { share }) => sum + share, 0)).toBeLessThan(100);
  });
});

it.each([
  ["calls", (seed: number) => new Procedural(seed, "train", undefined, "procedural", true)],
  ["lessons", (seed: number) => new Lessons(seed, "train", undefined, true)],
])("samples of %s: the schemas allow the answers, and seeds make them", (_, source) => {
  const [one, again] = [source(3), source(3)];
  for (let i = 0; i < 150; i++) {
    const { tools, turns } = one.sample();
    expect(again.sample()).toEqual({ tools, turns });
    const valid = new Ajv2020({ strict: false }).compile(toolSchema(readTools(tools)) as object);
    for (const { text, answer } of turns) {
      expect(text.trim()).not.toBe("");
      // A question's own text is written by the renderer.
      if (Array.isArray(answer)) expect(valid(answer), `${text} ${JSON.stringify(answer)}`).toBe(true);
    }
  }
});
