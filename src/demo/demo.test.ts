import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, describe, expect, it } from "vitest";
import { loadModel } from "../generate/index.ts";
import { readTools, toolSchema } from "../tools/index.ts";
import { demo } from "./demo.ts";
import { checkOut, wholeFolder } from "./folder.ts";
import { makeHouses } from "./house.ts";
import { type Chance, type Example, generator, inventTools } from "./invent.ts";
import { Network } from "./network.ts";
import { ownExamples, ownTools } from "./own.ts";
import { tried } from "./work.ts";

const folder = mkdtempSync(join(tmpdir(), "pith-demo-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const { Chance: Seeded, Procedural } = await generator();
const chance = (seed: number): Chance => new Seeded(seed, "test");

async function houseOf(seed: number) {
  const c = chance(seed);
  const tools = await inventTools(c);
  const [house, neighbour] = await makeHouses(tools, c);
  return {
    tools,
    house,
    neighbour,
    said: await house.sentences(c, 24),
    other: await neighbour.sentences(c, 24),
  };
}

describe("invented houses", () => {
  it("are the same for the same seed, and others for others", async () => {
    const [one, again, two] = await Promise.all([houseOf(1), houseOf(1), houseOf(2)]);
    expect(again.said).toEqual(one.said);
    expect(again.house.words).toEqual(one.house.words);
    expect(two.house.words).not.toEqual(one.house.words);
  });

  it("have calls that their tools allow, arguments out of the sentence, and words of their own in each", async () => {
    for (const seed of [1, 2, 3, 4]) {
      const { tools, house, said } = await houseOf(seed);
      const valid = new Ajv2020({ strict: false }).compile(
        toolSchema(readTools(tools.map(({ tool }) => tool))) as object,
      );
      const words = new Map(house.words);
      for (const { text, answer } of said) {
        expect(valid(JSON.parse(JSON.stringify(answer))), `${text} ${JSON.stringify(answer)}`).toBe(true);
        const verb = [...words].find(([, means]) => means === answer[0]!.name)![0];
        expect(text.toLowerCase()).toContain(verb);
      }
    }
  });

  it("mean other tools next door by the same words", async () => {
    const { house, neighbour } = await houseOf(1);
    const [a, b] = [new Map(house.words), new Map(neighbour.words)];
    expect([...a.keys()].sort()).toEqual([...b.keys()].sort());
    expect([...a].filter(([word, means]) => b.get(word) !== means)).toHaveLength(4);
  });

  it("are about things that training never sees", async () => {
    const source = new Procedural(1, "train");
    const seen = new Set(
      Array.from({ length: 300 }, () => source.sample().tools)
        .flat()
        .map(({ description = "" }) => description.toLowerCase()),
    );
    for (const seed of [1, 2, 3, 4, 5])
      for (const { family } of (await houseOf(seed)).tools)
        expect([...seen].filter((text) => text.includes(` ${family.thing!.noun}`))).toEqual([]);
  });
});

describe("tools and examples of one's own", () => {
  const tools = [
    {
      name: "brew",
      parameters: {
        type: "object",
        properties: { cups: { type: "integer", minimum: 1 }, kind: { enum: ["tea", "coffee"] } },
        required: ["cups"],
      },
    },
  ];
  const line = (i: number, args: unknown = { kind: "tea", cups: i }) =>
    JSON.stringify({ prompt: `brew ${i}`, completion: [{ name: "brew", arguments: args }] });
  const file = (lines: readonly string[]) => {
    const path = join(folder, "examples.jsonl");
    writeFileSync(path, lines.join("\n"));
    return path;
  };
  const ten = Array.from({ length: 10 }, (_, i) => line(i + 1));
  const read = async (lines: readonly string[]) => ownExamples(file(lines), await ownTools(tools), chance(1));

  it("are split, and arguments stand in the schema's order", async () => {
    const { examples, held } = await read(ten);
    expect([examples.length, held.length]).toEqual([7, 3]);
    const all: readonly Example[] = [...examples, ...held];
    expect(new Set(all.map(({ text }) => text)).size).toBe(10);
    for (const { answer } of all) expect(Object.keys(answer[0]!.arguments)).toEqual(["cups", "kind"]);
  });

  it.each([
    [ten.slice(0, 7), "it has 7 different examples, wanted 8 or more"],
    [Array(12).fill(line(1)), "it has 1 different examples"],
    [[...ten, line(11, { cups: 0 })], 'line 11": 0 is not what brew wants as "cups"'],
    [[...ten, line(11, { cups: 1, sugar: true })], 'line 11": it gives brew the argument "sugar"'],
    [[...ten, line(11, { kind: "tea" })], 'line 11": it lacks "cups" of brew'],
    [
      [...ten, JSON.stringify({ prompt: "x", completion: [{ name: "boil", arguments: {} }] })],
      'it calls "boil", wanted one of brew',
    ],
    [[...ten, "{"], "examples.jsonl"],
  ])("that are wrong are named: %#", async (lines, message) => {
    await expect(read(lines)).rejects.toThrow(message);
  });

  it("are wanted both, and seeds that are whole", async () => {
    const out = join(folder, "none");
    await expect(demo({ tools, out }).result).rejects.toThrow("Cannot demonstrate with tools alone");
    await expect(demo({ examples: file(ten), out }).result).rejects.toThrow("with examples alone");
    await expect(demo({ seed: 0.5, out }).result).rejects.toThrow("with the seed 0.5");
    await expect(demo({ model: join(folder, "nothing"), out }).result).rejects.toThrow("nothing");
    expect(existsSync(out)).toBe(false);
  });
});

describe("the folder", () => {
  it("of somebody else stays", async () => {
    const out = join(folder, "theirs");
    mkdirSync(out);
    await checkOut(out, false);
    writeFileSync(join(out, "letter.txt"), "");
    await expect(checkOut(out, false)).rejects.toThrow("found 1 file there that no demonstration has made");
    await expect(checkOut(join(out, "letter.txt"), false)).rejects.toThrow("found a file there");
    await checkOut(out, true);
  });

  it("is whole or as it was", async () => {
    const out = join(folder, "made");
    await wholeFolder(out, async (path) => writeFileSync(join(path, "a"), "1"));
    const stopped = wholeFolder(out, async (path) => {
      writeFileSync(join(path, "b"), "2");
      throw new Error("stopped");
    });
    await expect(stopped).rejects.toThrow("stopped");
    expect(readdirSync(out)).toEqual(["a"]);
    expect(readdirSync(folder).filter((name) => name.startsWith(".made"))).toEqual([]);
  });
});

it("a connection is seen by Node and by the kernel", async () => {
  const server = createServer((socket) => socket.end()).listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const network = new Network();
  expect(network.figures()).toMatchObject({ connections: 0, requests: 0 });
  const { port } = server.address() as { port: number };
  const socket = connect(port, "127.0.0.1");
  await new Promise((done) => socket.once("connect", done));
  const { connections, sockets } = network.figures();
  expect(connections).toBe(1);
  if (process.platform === "linux") expect(sockets).toBeGreaterThanOrEqual(1);
  network.close();
  socket.destroy();
  server.close();
});

const model = process.env.PITH_DEMO_MODEL ?? resolve("models/caller");
describe.skipIf(!existsSync(join(model, "model.safetensors")))("the whole of it, in short", () => {
  it("takes an answer without an end as none, and nothing else", async () => {
    const loaded = await loadModel(model);
    const tools = [{ name: "wait", parameters: { type: "object", properties: {} } }];
    const ask = (prompt: string, more: { maxTokens?: number; signal?: AbortSignal } = {}) =>
      tried(loaded, { tools, prompt, ...more });
    expect(await ask("wait")).toMatchObject({ kind: "calls" });
    expect(await ask("wait", { maxTokens: 1 })).toMatchObject({
      message: expect.stringContaining("Cannot call tools"),
    });
    expect(await ask("wait ".repeat(600))).toBeInstanceOf(RangeError);
    await expect(ask("wait", { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    await loaded.close();
  });

  it("runs to its end, finds adapters equal alone and together, and leaves one page", async () => {
    const out = join(folder, "shown");
    const stages: string[] = [];
    // A sentence that does not fit is told so, and ends nothing.
    const job = demo({ fast: true, seed: 1, out, model, sentence: "cancel it, ".repeat(300) });
    for await (const { id, stage } of job) if (stage !== "working") stages.push(`${id} ${stage}`);
    const { steps, report, folder: at } = await job.result;
    expect(at).toBe(out);
    expect(stages).toEqual(steps.flatMap(({ id }) => [`${id} begun`, `${id} done`]));
    const figures = Object.fromEntries(steps.map((step) => [step.id, step.figures]));
    expect(figures.call!.asked).toBe(4);
    expect(steps[0]!.lines.filter((line) => line.startsWith("  -> Cannot"))).toHaveLength(1);
    expect(figures.swap!.same_as_alone).toBe(figures.swap!.requests);
    expect(figures.teach!.right_after).toBeGreaterThan(figures.teach!.right_before!);
    expect(figures.shrink!.q4_bytes).toBeLessThan(figures.shrink!.student_bytes! / 2);
    expect(figures.left).toMatchObject({ connections: 0, requests: 0, lookups: 0 });
    expect(steps.every(({ lines, commands }) => lines.length > 0 && commands.length > 0)).toBe(true);
    const page = readFileSync(report, "utf8");
    expect(page.match(/<svg/g)!.length).toBeGreaterThanOrEqual(3);
    expect(page).not.toMatch(/<script|https?:\/\//);
    for (const name of ["adapter", "student-q4.gguf", "student-ternary.gguf", "demo.json"])
      expect(readdirSync(out)).toContain(name);
    const aborted = new AbortController();
    const second = demo({ fast: true, out, model, signal: aborted.signal });
    const followed = async () => {
      for await (const { stage } of second) if (stage === "working") aborted.abort(new Error("enough"));
    };
    await expect(followed()).rejects.toThrow("enough");
    await expect(second.result).rejects.toThrow("enough");
    expect(readdirSync(folder).filter((name) => name.includes("shown"))).toEqual(["shown"]);
    expect(JSON.parse(readFileSync(join(out, "demo.json"), "utf8")).seed).toBe(1);
  });
});
