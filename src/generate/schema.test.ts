// Structured output from a real model: every document satisfies its schema, whatever the sampling.
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonSchema } from "./grammar/index.ts";
import { loadModel } from "./load.ts";
import type { Model } from "./model.ts";

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
});
