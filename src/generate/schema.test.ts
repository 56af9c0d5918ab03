// Structured output from a real model: every document satisfies its schema, whatever the sampling.
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sharedData } from "../../test/helpers/shared-data.ts";
import type { JsonSchema } from "./grammar/index.ts";
import { loadModel } from "./load.ts";
import type { GenerateOptions, Model } from "./model.ts";

const person: JsonSchema = {
  type: "object",
  properties: {
    name: { type: "string", minLength: 1, maxLength: 12 },
    age: { type: "integer", minimum: 0, maximum: 120 },
    kind: { enum: ["cat", "dog", null] },
    likes: { type: "array", items: { type: "string", maxLength: 8 }, minItems: 1, maxItems: 3 },
    score: { type: "number", minimum: -1, maximum: 1 },
    home: {
      anyOf: [
        { type: "null" },
        {
          type: "object",
          properties: { street: { type: "string", pattern: "^[A-Z][a-z]{2,6}$" } },
          required: ["street"],
        },
      ],
    },
  },
  required: ["name", "age", "likes", "home"],
};

describe("answers under a constraint", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel("models/stories", { ctx: 256, cacheTokens: 2048 });
  });
  afterAll(() => model.close());

  it("satisfy the schema at any temperature, many at once", async () => {
    const valid = new Ajv2020({ strict: false }).compile(person);
    const ask = (seed: number) =>
      model.generate("Once upon a time", {
        schema: person,
        seed,
        temperature: 1 + (seed % 5) / 4,
        topK: 0,
        topP: 1,
        minP: 0,
      });
    const results = await Promise.all(Array.from({ length: 40 }, (_, seed) => ask(seed)));
    for (const { text, parsed, finishReason } of results) {
      expect(finishReason, text).toBe("stop");
      expect(JSON.parse(text)).toEqual(parsed);
      expect(valid(parsed), `${text} ${JSON.stringify(valid.errors)}`).toBe(true);
    }
    expect(new Set(results.map((r) => r.text)).size).toBe(40);
    expect((await ask(7)).text).toBe(results[7]!.text);
  });

  it("tell an answer that did not reach its end: there is no document", async () => {
    const result = await model.generate("Once", { schema: person, seed: 1, maxTokens: 5 });
    expect(result.finishReason).toBe("length");
    expect("parsed" in result).toBe(false);
    const stopped = await model.generate("Once", { schema: person, seed: 1, stop: '"age"' });
    expect(stopped.finishReason).toBe("stop");
    expect("parsed" in stopped).toBe(false);
    expect(stopped.text).toMatch(/^\{"name": ?"[^"]+", ?$/);
  });

  it("match a regular expression, follow a grammar, and report logprobs of the model itself", async () => {
    const options = { temperature: 1.5, topK: 0, topP: 1, minP: 0 };
    for (let seed = 0; seed < 5; seed++) {
      const { text } = await model.generate("It is ", {
        ...options,
        seed,
        regex: /^(yes|no|[a-f]{3,5}é?)$/u,
      });
      expect(text).toMatch(/^(yes|no|[a-f]{3,5}é?)$/);
    }
    const grammar = 'root ::= "ab" | "c" root';
    const result = await model.generate("It is ", { ...options, seed: 3, grammar, logprobs: 2 });
    expect(result.text).toMatch(/^c*ab$/);
    expect("parsed" in result).toBe(false);
    expect(result.logprobs!.length).toBe(result.ids.length);
    const likeliest = await model.generate("It is ", { temperature: 0, maxTokens: 1, logprobs: 1 });
    expect(result.logprobs![0]!.top[0]).toEqual(likeliest.logprobs![0]!.top[0]);
  });

  it("are refused alone, and the others go on", async () => {
    const free = model.generate("Once", { maxTokens: 20, seed: 1 });
    const bad: [GenerateOptions, RegExp][] = [
      [{ grammar: "root ::= nothing" }, /Cannot constrain by a grammar: .*Rule "nothing" is not defined/],
      [{ grammar: 'root ::= (("a' }, /Cannot constrain by a grammar: .*Expect " in string literal/],
      [{ schema: { not: {} } }, /"#\/not": it is not supported/],
      [{ schema: true, mask: () => undefined }, /a mask beside schema/],
      [{ schema: true, signal: AbortSignal.abort("why") }, /why/],
    ];
    for (const [options, message] of bad)
      await expect(
        model.generate("a", options).catch((error) => {
          throw error instanceof Error ? error : new Error(String(error));
        }),
      ).rejects.toThrow(message);
    const cancelled = model.generate("Once", { schema: person });
    cancelled.cancel();
    expect((await cancelled).finishReason).toBe("abort");
    const controller = new AbortController();
    const aborted = model.generate("Once", {
      schema: { ...person, title: "new" },
      signal: controller.signal,
    });
    setImmediate(() => controller.abort());
    await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
    expect((await free).ids.length).toBeGreaterThan(0);
    expect((await model.generate("Once", { schema: person, seed: 3 })).parsed).toBeDefined();
    expect(model.status).toMatchObject({ running: 0, waiting: 0, usedPages: 0 });
  });
});

const sentencePiece = sharedData("stories260K");

it.skipIf(!sentencePiece)(
  "holds for SentencePiece tokens with bytes (../shared/data is absent: skipped)",
  async () => {
    await using model = await loadModel(sentencePiece!, { cacheTokens: 4096 });
    const schema: JsonSchema = {
      type: "array",
      items: { type: "string", minLength: 1, maxLength: 4 },
      minItems: 2,
      maxItems: 3,
    };
    const valid = new Ajv2020().compile(schema);
    const ask = (seed: number) =>
      model.generate("One day", { schema, seed, temperature: 2, topK: 0, topP: 1, minP: 0 });
    const results = await Promise.all(Array.from({ length: 24 }, (_, seed) => ask(seed)));
    for (const { parsed, text } of results) expect(valid(parsed), text).toBe(true);
    // Characters that are no token of their own come as bytes, and whole.
    expect(results.some(({ text }) => /[^\0-\x7f]/.test(text))).toBe(true);
    expect(results.every(({ text }) => !text.includes("\ufffd"))).toBe(true);
  },
);
