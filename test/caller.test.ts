// The data that models/caller is trained on: made the same every time, and what it says is true of its tools.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, describe, expect, it } from "vitest";
import { ChatTemplate } from "../src/tokenizer/index.ts";
import { readTools, toolSchema } from "../src/tools/index.ts";

const part = (name: string) => import(new URL(`../models/caller/data/${name}.mjs`, import.meta.url).href);
const { Procedural, farQuestions } = await part("procedural");
const { Lessons } = await part("lessons");
const { answerText, Renderer } = await part("format");
const { Chance } = await part("random");
const { snipsParts, snipsTurn, slotValues, varySnips } = await part("snips");
const { clincParts, clincTurn } = await part("clinc");
const template = new ChatTemplate(readFileSync("models/caller/chat_template.jinja", "utf8"), "caller");

interface Sample {
  tools: { name: string; parameters: { properties: Record<string, Schema>; required: string[] } }[];
  turns: { text: string; answer: Call[] | { name: string; missing: string[] }; kind: string }[];
}
interface Schema {
  type: string;
  description?: string;
  enum?: string[];
}
interface Call {
  name: string;
  arguments: Record<string, unknown>;
}
const NUMBER =
  /\d|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand/i;
const samples = (seed: number, split: string, n: number): Sample[] => {
  const source = new Procedural(seed, split);
  return Array.from({ length: n }, () => source.sample());
};

describe("invented tools", () => {
  const made = samples(1, "train", 250);

  it("are the same for the same seed", () => {
    expect(samples(1, "train", 20)).toEqual(made.slice(0, 20));
    expect(samples(2, "train", 20)).not.toEqual(made.slice(0, 20));
  });

  it("have answers that the schema of their tools allows", () => {
    for (const { tools, turns } of made.slice(0, 40)) {
      const valid = new Ajv2020({ strict: false }).compile(toolSchema(readTools(tools)) as object);
      for (const { answer, text } of turns)
        expect(valid(JSON.parse(answerText(answer))), `${text} ${answerText(answer)}`).toBe(true);
    }
  });

  it("have arguments out of the sentence, in the schema's order, and questions for what it lacks", () => {
    const kinds = new Set<string>();
    for (const { tools, turns } of made)
      for (const { text, answer, kind } of turns) {
        kinds.add(kind);
        if (!Array.isArray(answer)) {
          const tool = tools.find(({ name }) => name === answer.name)!;
          for (const name of answer.missing) expect(tool.parameters.required).toContain(name);
          expect(JSON.parse(answerText(answer)).question).toMatch(/^Which .+\?$/);
          continue;
        }
        expect(answer.length === 0).toBe(kind === "refusal");
        for (const { name, arguments: args } of answer) {
          const { properties, required } = tools.find((tool) => tool.name === name)!.parameters;
          const names = Object.keys(args);
          expect(names).toEqual(Object.keys(properties).filter((key) => key in args));
          for (const key of required) expect(names).toContain(key);
          for (const [key, value] of Object.entries(args)) {
            const { type, enum: options, description = "" } = properties[key]!;
            const rewritten = options || /YYYY|HH:MM|code/.test(description);
            if (type === "string" && !rewritten) expect(text).toContain(value);
          }
        }
      }
    expect([...kinds].sort()).toEqual(["call", "different", "question", "refusal", "same"]);
  });

  it("that are held out are about other things", () => {
    const descriptions = (list: Sample[]) =>
      new Set(
        list.flatMap(({ tools }) => tools.map((tool) => tool.name.replace(/[^a-z]/gi, "").toLowerCase())),
      );
    const [seen, held] = [descriptions(samples(1, "train", 1500)), descriptions(samples(1, "dev", 200))];
    const common = [...held].filter((name) => seen.has(name));
    expect(common, common.join(" ")).toHaveLength(0);
  });

  it("read the same from a list of tools and as they are written into samples", () => {
    const renderer = new Renderer(template);
    for (const { tools, turns } of made.slice(0, 40)) {
      const { messages } = renderer.sample(tools, turns);
      const text = template.render({ messages });
      expect(template.render({ tools, messages: messages.slice(1) })).toBe(text);
      // The prompt of the first answer is what the model will see.
      const prompt = template.render({ tools, messages: messages.slice(1, 2), add_generation_prompt: true });
      expect(text.startsWith(`${prompt}${answerText(turns[0]!.answer)}<|end|>`)).toBe(true);
    }
  });
});

describe("lessons of what must not be made up", () => {
  const draw = (seed: number, split: string, n: number): Sample[] => {
    const source = new Lessons(seed, split);
    return Array.from({ length: n }, () => source.sample());
  };
  const made = draw(1, "train", 400);
  const turns = made.flatMap(({ tools, turns }) => turns.map((turn) => ({ tools, ...turn })));

  it("are the same for the same seed, of the families of their part", () => {
    expect(draw(1, "train", 20)).toEqual(made.slice(0, 20));
    expect(draw(2, "train", 20)).not.toEqual(made.slice(0, 20));
    const names = (list: Sample[]) => new Set(list.flatMap(({ tools }) => tools.map(({ name }) => name)));
    const [seen, held] = [names(made), names(draw(1, "dev", 100))];
    expect([...held].filter((name) => seen.has(name))).toEqual([]);
    const source = new Lessons(1, "dev", "pets");
    expect(source.sample(1, 2)).toMatchObject({ tools: [{}, {}], turns: [{}] });
    // Three functions are all of this field.
    for (let i = 0; i < 20; i++) expect(new Lessons(i, "dev", "art").sample(1, 5).turns).toHaveLength(1);
  });

  it("have answers that the schema of their tools allows, and fit the context", () => {
    const renderer = new Renderer(template);
    for (const [i, sample] of made.entries()) {
      const rendered = template.render(renderer.sample(sample.tools, sample.turns));
      expect(rendered.length, rendered).toBeLessThan(1400);
      if (i >= 40) continue;
      const valid = new Ajv2020({ strict: false }).compile(toolSchema(readTools(sample.tools)) as object);
      for (const { answer, text } of sample.turns)
        expect(valid(JSON.parse(answerText(answer))), `${text} ${answerText(answer)}`).toBe(true);
    }
  });

  it("hold what the sentence says, and ask for all that is required and no more", () => {
    for (const { text, answer, tools, kind } of turns) {
      if (!Array.isArray(answer)) {
        const { required } = tools.find(({ name }) => name === answer.name)!.parameters;
        expect(answer.missing.length).toBeGreaterThan(0);
        expect(answer.missing).toEqual(required.filter((name) => answer.missing.includes(name)));
        continue;
      }
      expect(answer.length === 0).toBe(kind === "refusal");
      for (const { name, arguments: args } of answer) {
        const { properties, required } = tools.find((tool) => tool.name === name)!.parameters;
        for (const key of required) expect(Object.keys(args)).toContain(key);
        for (const [key, value] of Object.entries(args)) {
          const { type, enum: options, description = "" } = properties[key]!;
          const said = type === "array" ? (value as unknown[]) : [value];
          if (options || /YYYY|HH:MM|code/.test(description)) continue;
          for (const one of said) if (typeof one === "string") expect(text).toContain(one);
          // A number has digits or words in the sentence.
          if (type === "integer" || type === "number") expect(text).toMatch(NUMBER);
        }
      }
    }
  });

  it("are questions and refusals for half, often short and of one or two tools", () => {
    const share = (test: (turn: (typeof turns)[number]) => boolean) =>
      turns.filter(test).length / turns.length;
    expect(share(({ kind }) => kind === "question")).toBeGreaterThan(0.2);
    expect(share(({ kind }) => kind === "refusal")).toBeGreaterThan(0.2);
    expect(share(({ kind }) => kind === "call")).toBeGreaterThan(0.3);
    expect(share(({ text }) => text.split(" ").length <= 5)).toBeGreaterThan(0.2);
    expect(share(({ tools }) => tools.length <= 2)).toBeGreaterThan(0.5);
    expect(share(({ answer }) => !Array.isArray(answer) && answer.missing.length > 1)).toBeGreaterThan(0.05);
  });
});

describe("the template", () => {
  it("writes tools on a line each, as short as they can be", () => {
    const tools = [
      {
        type: "function",
        function: {
          name: "book",
          description: "Books a table. By phone, mostly.",
          parameters: {
            type: "object",
            properties: {
              city: { type: "string", description: "Where, e.g. Rome. Any case." },
              people: { type: "integer", default: 2 },
              at: { type: "array", items: { type: "number" } },
              // Named as a method of a dict is in Jinja.
              items: { type: "object", properties: { kind: { enum: ["a", 1] } }, required: ["kind"] },
            },
            required: ["city", "at"],
          },
        },
      },
      { name: "stop", description: "Stop" },
    ];
    const user = { role: "user", content: " hi " };
    expect(template.render({ messages: [user], tools, add_generation_prompt: true })).toBe(
      '<|tools|>book(city "Where, e.g.Rome",people?:int=2,at:[num],items?:{kind:a|1}) Books a table\n' +
        "stop() Stop<|user|>hi<|answer|>",
    );
    expect(
      template.render({
        messages: [{ role: "system", content: "@x" }, user, { role: "assistant", content: "[]" }],
      }),
    ).toBe("<|tools|>@x<|user|>hi<|answer|>[]<|end|>");
    expect(() => template.render({ messages: [user, { role: "tool", content: "x" }] })).toThrow("found tool");
  });
});

describe("SNIPS and CLINC150", () => {
  const folder = mkdtempSync(join(tmpdir(), "pith-caller-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const utterance = (city: string) => ({
    data: [
      { text: "weather in " },
      { text: ` ${city} `, entity: "city" },
      { text: "or " },
      { text: "Oslo", entity: "city" },
      { text: "\n" },
    ],
  });

  it("become calls: files of the published layout, whatever their encoding", () => {
    const json = JSON.stringify({ GetWeather: [utterance("Málaga"), utterance("Bonn")] });
    // The second name in Latin-1, in a file that is UTF-8 otherwise.
    const bytes = Buffer.concat([Buffer.from(json.replace("Bonn", "X")), Buffer.alloc(0)]);
    bytes[bytes.lastIndexOf("X")] = 0xe9;
    writeFileSync(join(folder, "train_GetWeather_full.json"), bytes);
    writeFileSync(
      join(folder, "validate_GetWeather.json"),
      JSON.stringify({ GetWeather: [utterance("Rome")] }),
    );
    const { test } = snipsParts([folder], [join(folder, "validate_GetWeather.json")]);
    expect(test.map(snipsTurn)).toEqual([
      {
        text: "weather in Rome or Oslo",
        answer: [{ name: "GetWeather", arguments: { city: ["Rome", "Oslo"] } }],
      },
    ]);
    const { dev } = snipsParts([join(folder, "train_GetWeather_full.json")]);
    expect(dev.map((one: unknown) => snipsTurn(one).text).sort()).toEqual([
      "weather in Málaga or Oslo",
      "weather in é or Oslo",
    ]);
    const varied = varySnips(dev[0], slotValues(dev), new Chance(3));
    const { text, answer } = snipsTurn(varied);
    for (const value of answer[0].arguments.city) expect(text).toContain(value);
  });

  it("take the part of CLINC150 that a file has", () => {
    const path = join(folder, "data_full.json");
    const rows = { train: [["hi", "greeting"]], val: [["hey", "greeting"]], oos_val: [["why", "oos"]] };
    writeFileSync(path, JSON.stringify(rows));
    expect(clincParts(path).test.map(clincTurn)).toEqual([
      { text: "hey", answer: [{ name: "greeting", arguments: {} }] },
      { text: "why", answer: [] },
    ]);
    writeFileSync(path, JSON.stringify({ ...rows, test: [["yo", "greeting"]], oos_test: [] }));
    expect(clincParts(path).test).toEqual([["yo", "greeting"]]);
    expect(farQuestions(new Chance(1), 30)).toHaveLength(30);
  });
});
