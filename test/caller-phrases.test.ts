// What models/caller knows beside published data: patterns of sentences, names, and a teacher grown out of a student.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadModel } from "../src/index.ts";

const part = (name: string) => import(new URL(`../models/caller/data/${name}.mjs`, import.meta.url).href);
const { expand, readPhrases } = await part("grammar");
const { clincPhrases } = await part("clinc");
const { knownSnips, phraseSnips } = await part("snips-known");
const { worldNames, worldPhrase, worldSnips } = await part("snips-world");
const { SNIPS, snipsTools, snipsTurn, slotValues } = await part("snips");
const { Chance } = await part("random");

const folder = mkdtempSync(join(tmpdir(), "pith-phrases-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("patterns", () => {
  it("choose, leave out, nest and take names of lists", () => {
    writeFileSync(
      join(folder, "a.txt"),
      "// words\n{city} = rome | (new|old) york\n\n# go\n(fly|go (by car|)) to {city}\n",
    );
    const { patterns, lists } = readPhrases(folder);
    expect([...patterns.keys()]).toEqual(["go"]);
    const chance = new Chance(1);
    const said = new Set(
      Array.from({ length: 300 }, () => expand(patterns.get("go")[0], lists, chance) as string),
    );
    const ways = ["fly", "go", "go by car"].flatMap((way) =>
      ["rome", "new york", "old york"].map((city) => `${way} to ${city}`),
    );
    expect([...said].sort()).toEqual(ways.sort());
    expect(() => expand("to {town}", lists, chance)).toThrow("there is no list {town}");
    expect(() => expand("to (a|b", lists, chance)).toThrow('found "to (a|b"');
  });

  it("are of every intent, and all can be said", () => {
    const phrases = "models/caller/data/phrases";
    const { patterns, lists } = readPhrases(phrases);
    expect(patterns.size).toBe(151);
    const chance = new Chance(2);
    for (const [intent, from] of patterns) {
      expect(from.length, intent).toBeGreaterThanOrEqual(20);
      for (const pattern of from) {
        expect(expand(pattern, lists, chance)).toMatch(/^\S+( \S+)*$/);
        // Any choice must expand, not only the one that chance takes: lists are named in all of them.
        for (const [, name] of pattern.matchAll(/\{(\w+)\}/g)) expect([...lists.keys()]).toContain(name);
      }
    }
    for (const file of readdirSync(phrases))
      expect(readFileSync(join(phrases, file), "utf8").split("\n").length).toBeLessThanOrEqual(600);
    const rows = clincPhrases(20, 50, new Chance(3)) as [string, string][];
    expect(rows).toEqual(clincPhrases(20, 50, new Chance(3)));
    expect(new Set(rows.map(([text, intent]) => `${intent}: ${text}`)).size).toBe(rows.length);
    expect(rows.filter(([, intent]) => intent === "oos")).toHaveLength(50);
  });
});

it("sentences in the manner of SNIPS hold their values, which are of their intent", () => {
  const utterance = {
    intent: "GetWeather",
    parts: [
      { text: "weather in " },
      { text: "Oslo", entity: "city" },
      { text: " at " },
      { text: "six pm", entity: "timeRange" },
    ],
  };
  // One value of every slot, as training utterances have them.
  const slots = snipsTools.flatMap((tool: (typeof snipsTools)[number]) =>
    Object.keys(tool.parameters.properties),
  );
  const parts = [
    ...[...new Set(slots)].map((entity) => ({ text: "one", entity })),
    { text: "1999", entity: "year" },
  ];
  const values = slotValues([utterance, { intent: "GetWeather", parts }]);
  const chance = new Chance(4);
  const tools = new Map(snipsTools.map((tool: { name: string }) => [tool.name, tool]));
  const intents = new Set<string>();
  for (let i = 0; i < 1000; i++) {
    const made =
      i % 2
        ? [phraseSnips, worldPhrase][(i >> 1) % 2]!(values, chance)
        : [knownSnips, worldSnips][(i >> 1) % 2]!(utterance, values, chance);
    const { text, answer } = snipsTurn(made);
    const [{ name, arguments: args }] = answer;
    intents.add(name);
    const tool = tools.get(name) as { parameters: { properties: object } };
    for (const [slot, value] of Object.entries(args)) {
      expect(Object.keys(tool.parameters.properties)).toContain(slot);
      for (const one of [value].flat()) expect(text).toContain(one);
    }
  }
  expect(intents.size).toBe(7);
  expect(SNIPS).toBe("@snips");
});

it("names that belong together come together", () => {
  const parts = [
    { text: "play " },
    { text: "one", entity: "track" },
    { text: " by " },
    { text: "two", entity: "artist" },
    { text: " in " },
    { text: "three", entity: "city" },
    { text: ", " },
    { text: "four", entity: "state" },
  ];
  const slots = ["track", "artist", "city", "state"];
  const values = new Map(slots.map((slot) => [slot, ["one"]]));
  const made = Array.from({ length: 400 }, (_, i) => {
    const one = worldSnips({ intent: "PlayMusic", parts }, values, new Chance(i));
    return one.parts.map(({ text }: { text: string }) => text.toLowerCase()).join("");
  });
  const songs = readFileSync("models/caller/data/world/songs.txt", "utf8").trim().toLowerCase().split("\n");
  const sings = new Map(songs.map((line) => line.split(": ") as [string, string]));
  const right = made.filter((text) => {
    const [, song, artist] = /^play (.+) by (.+) in .+, .+$/.exec(text) ?? [];
    return sings.get(artist!)?.split(" | ").includes(song!);
  });
  // Half of them, but where a name holds one of the words between.
  expect(right.length).toBeGreaterThan(140);
  expect(right.length).toBeLessThan(260);
  for (const slot of slots) expect(new Set(worldNames().get(slot)).size).toBe(worldNames().get(slot).length);
});

it("a grown model says what the one it was grown from says", async () => {
  const out = join(folder, "grown");
  execFileSync(process.execPath, ["models/caller/grow.mjs", "--model", "models/caller", "--out", out]);
  await using small = await loadModel("models/caller");
  await using large = await loadModel(out);
  expect(large.config.hidden_size).toBe(2 * (small.config.hidden_size as number));
  const tokens = small.tokenizer.encode("<|tools|>@snips<|user|>play some jazz<|answer|>");
  const [a, b] = await Promise.all([small, large].map((model) => model.logits(tokens)));
  const most = Math.max(...a!.map(Math.abs));
  a!.forEach((value, i) => {
    expect(Math.abs(value - b![i]!) / most).toBeLessThan(2e-3);
  });
});
