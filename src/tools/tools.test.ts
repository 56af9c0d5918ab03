import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../generate/load.ts";
import type { Model } from "../generate/model.ts";
import { callTools, readAnswer } from "./call.ts";
import { readTools, toolSchema } from "./schema.ts";

const TOOLS = [
  {
    type: "function",
    function: {
      name: "book_table",
      description: "Reserve a table",
      parameters: {
        type: "object",
        properties: {
          city: { type: "string", enum: ["Oslo", "Rome"] },
          people: { type: "integer", minimum: 1, maximum: 20 },
          smoking: { type: "boolean", default: false },
        },
        required: ["city", "people"],
      },
    },
  },
  { name: "timer.stop" },
  {
    name: "area",
    parameters: {
      type: "dict",
      properties: {
        sides: { type: "tuple", items: { type: "float" }, maxItems: 3 },
        unit: { $ref: "#/$defs/unit" },
      },
      required: ["sides"],
      $defs: { unit: { enum: ["cm", "m"] } },
    },
  },
];

describe("readTools", () => {
  it("takes OpenAI's form and the bare one, with Python's names of types", () => {
    const [book, stop, area] = readTools(TOOLS);
    expect(book).toEqual(TOOLS[0]!.function);
    expect(stop).toEqual({
      name: "timer.stop",
      parameters: { type: "object", properties: {}, required: [] },
    });
    expect(area!.parameters.properties.sides).toEqual({
      type: "array",
      items: { type: "number" },
      maxItems: 3,
    });
  });

  const parameters = (schema: unknown) => [{ name: "f", parameters: schema }];
  it.each([
    [undefined, "Cannot use tools: found undefined, wanted a list of 1 to 256 functions"],
    [[], "Cannot use tools: found a list of 0"],
    [[3], "Cannot use tool 1: its name is undefined"],
    [[{ name: "f" }, { name: "a b" }], 'Cannot use tool 2: its name is "a b"'],
    [[{ name: "f" }, { name: "f" }], 'Cannot use tools: "f" is there twice'],
    [[{ name: "f", description: 3 }], 'Cannot use tool "f": its description is 3, wanted text'],
    [parameters("x"), 'Cannot use tool "f": its parameters are "x", wanted a JSON schema'],
    [parameters({ type: "array" }), 'Cannot use tool "f": its parameters have the type "array"'],
    [parameters({ properties: [] }), 'Cannot use tool "f": "properties" is [], wanted an object'],
    [parameters({ required: ["x"] }), 'Cannot use tool "f": it requires "x", which it has no schema for'],
    [parameters({ properties: { x: { type: "strng" } } }), '"parameters.x" has the type "strng"'],
    [parameters({ properties: { x: 3 } }), 'Cannot use tool "f": "parameters.x" is 3, wanted a JSON schema'],
    [
      parameters({ properties: { x: { type: "array", uniqueItems: true } } }),
      'Cannot use tool "f": its parameters cannot be followed: ',
    ],
    [parameters({ properties: { x: { $ref: "#/$defs/y" } } }), "there is no"],
  ])("names what is wrong with %j", (tools, message) => {
    expect(() => readTools(tools)).toThrow(message);
  });

  it("reads anything, or says that it cannot use it", () => {
    const schema = fc.letrec((tie) => ({
      node: fc.dictionary(
        fc.constantFrom("type", "properties", "required", "items", "enum", "anyOf", "$ref", "x"),
        fc.oneof({ depthSize: "small" }, fc.jsonValue({ maxDepth: 1 }), tie("node"), fc.constant("object")),
        { maxKeys: 5 },
      ),
    })).node;
    const tool = fc.record(
      { name: fc.constantFrom("f", "g", "", " "), parameters: schema },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.array(tool, { maxLength: 3 })), (tools) => {
        try {
          toolSchema(readTools(tools));
        } catch (error) {
          expect(String(error)).toMatch(/^(Type|Range)Error: Cannot use tool/);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("toolSchema", () => {
  const valid = new Ajv2020({ strict: false }).compile(toolSchema(readTools(TOOLS)) as object);
  it("accepts calls in order, a refusal and a question, and nothing else", () => {
    const call = (name: string, args: object) => ({ name, arguments: args });
    for (const good of [
      [],
      [call("timer.stop", {})],
      [call("book_table", { city: "Oslo", people: 2 }), call("area", { sides: [1, 2.5] })],
      [call("area", { sides: [], unit: "cm" })],
      { name: "book_table", missing: ["people"], question: "Which people?" },
    ])
      expect(valid(good), JSON.stringify([good, valid.errors])).toBe(true);
    for (const bad of [
      {},
      [call("book", {})],
      [call("book_table", { city: "Oslo" })],
      [call("book_table", { city: "Bonn", people: 2 })],
      [call("timer.stop", { x: 1 })],
      [call("area", { sides: [], unit: "km" })],
      { name: "timer.stop", missing: [], question: "?" },
      { name: "book_table", missing: ["smoking"], question: "?" },
    ])
      expect(valid(bad), JSON.stringify(bad)).toBe(false);
  });
});

describe("callTools", () => {
  let folder: string;
  let model: Model;
  beforeAll(async () => {
    // A trained model that knows nothing of tools: what it answers is well formed all the same.
    folder = await mkdtemp(join(tmpdir(), "pith-tools-"));
    await cp("models/stories", folder, { recursive: true });
    const config = JSON.parse(await readFile(join(folder, "tokenizer_config.json"), "utf8"));
    const chat_template = await readFile("models/caller/chat_template.jinja", "utf8");
    await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify({ ...config, chat_template }));
    model = await loadModel(folder, { ctx: 512, cacheTokens: 4096 });
  });
  afterAll(async () => {
    await model.close();
    await rm(folder, { recursive: true });
  });

  it("gives answers that the tools allow, whatever the model would say", async () => {
    const valid = new Ajv2020({ strict: false }).compile(toolSchema(readTools(TOOLS)) as object);
    // Free text would go on for ever: here every text is one of a few.
    const tools = TOOLS.slice(0, 2);
    const ask = (seed: number) =>
      callTools(model, { tools, prompt: "Once", seed, temperature: 2, maxTokens: 300 });
    const results = await Promise.allSettled(Array.from({ length: 24 }, (_, seed) => ask(seed)));
    for (const result of results) {
      if (result.status === "rejected") {
        expect(String(result.reason)).toContain("Cannot call tools: the answer ended (length) after ");
        continue;
      }
      const { generation, ...answer } = result.value;
      expect(valid(generation.parsed), generation.text).toBe(true);
      expect(readAnswer(generation.parsed)).toEqual(answer);
    }
    expect(results.some(({ status }) => status === "fulfilled")).toBe(true);
  });

  it("holds texts of arguments to the sentence where it is asked to", async () => {
    const place = { type: "string", description: "Where to go" };
    const properties = {
      place,
      class: { enum: ["first", "second"] },
      day: { type: "string", format: "date" },
    };
    const tools = [
      { name: "book_trip", description: "Book a trip", parameters: { properties, required: ["place"] } },
    ];
    const prompt = "Book a trip to Zworblingen-Oberau on the 3rd of May 2027";
    await using caller = await loadModel("models/caller", { ctx: 512, cacheTokens: 8192 });
    // A model that may not write the letter that the place begins with has to write something else.
    const { tokenizer, config } = caller;
    const ids = Array.from({ length: config.vocab_size }, (_, id) => id);
    const logitBias = Object.fromEntries(
      ids.filter((id) => tokenizer.decode([id]).includes("Z")).map((id) => [id, -100]),
    );
    const placeOf = async (verbatim?: true | string[]) => {
      const asked = { tools, prompt, logitBias, ...(verbatim && { verbatim }) };
      const result = await callTools(caller, asked);
      return result.kind === "calls" ? result.calls[0]!.arguments.place : result.kind;
    };
    expect(prompt).not.toContain(await placeOf());
    for (const verbatim of [true as const, ["place"]]) {
      const said = (await placeOf(verbatim)) as string;
      expect(said.length).toBeGreaterThan(2);
      expect(prompt).toContain(said);
    }
    const day = await callTools(caller, { tools, prompt, verbatim: true });
    expect(day).toMatchObject({
      calls: [{ arguments: { place: "Zworblingen-Oberau", day: "2027-05-03" } }],
    });
    await expect(callTools(caller, { tools, prompt, verbatim: ["city"] })).rejects.toThrow(
      'none has an argument "city", wanted some of place, class, day',
    );
  });

  it("computes the tools once, and does not show those of a toolset", async () => {
    const tools = [
      { name: "stop", description: "Stop the timer that runs longest of all that are running now" },
    ];
    // The first seed with which the answer has an end.
    const ask = async (prompt: string, toolset?: string) => {
      const settings = { temperature: 2, topK: 0, topP: 1, maxTokens: 12, ...(toolset && { toolset }) };
      for (let seed = 1; seed < 60; seed++) {
        const result = await callTools(model, { tools, prompt, seed, ...settings }).catch(() => undefined);
        if (result) return result;
      }
      throw new Error("no answer had an end");
    };
    await ask("The first sentence, which is long enough to fill a page of the cache with the tools.");
    const second = await ask("The first sentence, which is long enough to fill a page of the cache, too.");
    expect(second.generation.usage.cachedTokens).toBeGreaterThanOrEqual(64);
    const byHeart = await ask("The first", "@timer");
    expect(byHeart.generation.usage.promptTokens).toBeLessThan(40);
  });

  it("names what is missing, and ends with the signal's reason", async () => {
    await expect(callTools(model, { prompt: "x" })).rejects.toThrow("neither tools nor a toolset");
    await expect(callTools(model, { tools: TOOLS })).rejects.toThrow("neither prompt nor messages");
    await expect(callTools(model, { tools: TOOLS, prompt: "x", messages: [] })).rejects.toThrow(
      "both prompt",
    );
    await expect(callTools(model, { tools: [{ name: "" }], prompt: "x" })).rejects.toThrow(
      "Cannot use tool 1",
    );
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(callTools(model, { tools: TOOLS, prompt: "x", signal })).rejects.toThrow("enough");
    expect(() => readAnswer({ name: "f" })).toThrow('Cannot read an answer: found {"name":"f"}');
  });
});
