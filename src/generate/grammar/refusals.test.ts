// What a constraint may not ask for, and that nothing takes long: every schema ends in a grammar or an error at once.
import { describe, expect, it } from "vitest";
import { SCHEMAS } from "../../../test/helpers/schemas.ts";
import { constraintGrammar, type JsonSchema } from "./index.ts";

const grammar = (schema: unknown) => constraintGrammar({ schema: schema as JsonSchema });

describe("a keyword that cannot be honoured", () => {
  const refused: [unknown, RegExp][] = [
    [{ not: { type: "string" } }, /"#\/not": it is not supported/],
    [{ type: "object", properties: { a: { if: {}, else: {} } } }, /"#\/properties\/a\/if"/],
    [{ type: "array", uniqueItems: true }, /"#\/uniqueItems"/],
    [{ type: "array", contains: {} }, /"#\/contains"/],
    [{ type: "array", items: [{}] }, /wanted prefixItems/],
    [{ type: "integer", multipleOf: 7 }, /"#\/multipleOf"/],
    [{ type: "string", format: "hostname" }, /"hostname" is not supported, only date/],
    [{ type: "string", pattern: "a", maxLength: 3 }, /"#\/maxLength": it beside pattern/],
    [{ type: "string", pattern: "(?=a)b" }, /a look-ahead/],
    [{ type: "string", pattern: "(a)\\1" }, /it has \\1/],
    [{ type: "string", pattern: "\\bword" }, /it has \\b/],
    [{ type: "string", pattern: "\\p{L}" }, /it has \\p/],
    [{ type: "string", pattern: "(" }, /Unterminated group/],
    [{ type: "object", patternProperties: {} }, /"#\/patternProperties"/],
    [{ type: "object", propertyNames: {} }, /"#\/propertyNames"/],
    [{ type: "object", minProperties: 2 }, /"#\/minProperties"/],
    [{ type: "object", properties: { a: {}, b: {} }, maxProperties: 1 }, /"#\/maxProperties"/],
    [{ $ref: "https://example.org/x.json" }, /outside the schema/],
    [{ $ref: "#/$defs/none" }, /there is no "#\/\$defs\/none"/],
    [{ $ref: "#" }, /refers to itself alone/],
    [{ $ref: "#/$defs/a", type: "string", $defs: { a: {} } }, /"#\/type": it beside \$ref/],
    [{ anyOf: [{}], minLength: 2 }, /"#\/minLength": it beside anyOf/],
    [{ allOf: [{}, {}] }, /more than one schema/],
    [{ oneOf: [{ type: "integer" }, { type: "number" }] }, /0 and 1 may hold of the same value/],
    [{ enum: ["a"], minLength: 1 }, /beside enum or const/],
    [{ type: "text" }, /it is "text", wanted object, array/],
    [{ minLength: -1 }, /it is -1, wanted a whole number/],
    [{ required: "a" }, /wanted an array of names/],
    [{ unknownKeyword: 1 }, /"#\/unknownKeyword"/],
    [{ type: "string", enum: [1, 2] }, /no value satisfies it/],
    [{ type: "integer", minimum: 3, maximum: 2 }, /no value satisfies it/],
    [{ type: "object", properties: { a: false }, required: ["a"] }, /no value satisfies it/],
    [false, /no value satisfies it/],
    ["text", /wanted an object, true or false/],
    [null, /wanted an object, true or false/],
    [{ type: "string", maxLength: 100_000 }, /characters to count: 100000, wanted at most/],
  ];
  it.each(refused)("is an error with its place: %j", (schema, message) => {
    expect(() => grammar(schema)).toThrow(message);
  });

  it("is named in other constraints too", () => {
    expect(() => constraintGrammar({ regex: /a/i })).toThrow(/flags "i"/);
    expect(() => constraintGrammar({ regex: "a{1,100000}" })).toThrow(/wanted at most/);
    expect(() => constraintGrammar({ regex: "a", schema: true })).toThrow(/more than one of/);
  });
});

/** Schemas that would grow without end, or take for ever. */
const BOMBS: Record<string, () => unknown> = {
  depth: () => Array.from({ length: 20_000 }).reduce((inner) => ({ items: inner }), {}),
  objects: () =>
    Array.from({ length: 12 }).reduce<unknown>(
      (inner) => ({ properties: { a: inner, b: inner, c: inner, d: inner } }),
      {},
    ),
  references: () => ({
    $defs: Object.fromEntries(
      Array.from({ length: 300 }, (_, i) => [
        `d${i}`,
        { anyOf: Array.from({ length: 9 }, (_, j) => ({ $ref: `#/$defs/d${(i + j + 1) % 300}` })) },
      ]),
    ),
    $ref: "#/$defs/d0",
  }),
  lengths: () => ({ type: "string", minLength: 1e9 }),
  items: () => ({ type: "array", minItems: 1e9 }),
  nestedItems: () =>
    Array.from({ length: 60 }).reduce((inner) => ({ type: "array", items: inner, minItems: 4000 }), {}),
  repetition: () => ({ type: "string", pattern: "((a{100}){100}){100}" }),
  stars: () => ({ type: "string", pattern: `${"(".repeat(60)}a${"*)*".repeat(20)}${")".repeat(40)}` }),
  alternatives: () => ({ type: "string", pattern: `^(${"a|".repeat(60_000)}a)$` }),
  groups: () => ({ type: "string", pattern: `${"(".repeat(5000)}a${")".repeat(5000)}` }),
  enum: () => ({ enum: Array.from({ length: 100_000 }, (_, i) => i) }),
  literals: () => ({ const: "x".repeat(150_000) }),
  names: () => ({
    additionalProperties: {},
    properties: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`p${i}`, {}])),
  }),
  longNames: () => ({
    additionalProperties: {},
    properties: Object.fromEntries(Array.from({ length: 400 }, (_, i) => ["x".repeat(i), {}])),
  }),
  oneOf: () => ({ oneOf: Array.from({ length: 2000 }, () => ({ type: "object" })) }),
  text: () => ({ description: "x".repeat(10_000_000) }),
};

describe("a schema that explodes", () => {
  it.each(Object.entries(BOMBS))("ends within 250 ms: %s", (_, make) => {
    const schema = make();
    const began = process.cpuUsage();
    let ended: unknown;
    try {
      ended = grammar(schema);
    } catch (error) {
      ended = error;
    }
    // Of this process, so that a busy machine does not count.
    const { user, system } = process.cpuUsage(began);
    expect((user + system) / 1000).toBeLessThan(250);
    if (typeof ended === "string") expect(ended.length).toBeLessThan(2_000_000);
    else expect((ended as Error).message).toMatch(/^Cannot constrain by/);
  });
});

describe("mutants", () => {
  it("10,000 of them end in a grammar or an error that names what is wrong", () => {
    let x = 1;
    const random = (n: number) => {
      x = (Math.imul(x, 1664525) + 1013904223) | 0;
      return (x >>> 8) % n;
    };
    const texts = Object.values(SCHEMAS).map((schema) => JSON.stringify(schema));
    const words = [
      "type",
      "$ref",
      "#",
      "#/$defs/node",
      "items",
      "enum",
      "maxLength",
      "pattern",
      "object",
      -1,
      1e308,
      0.5,
      null,
      true,
      [],
      {},
      "",
      "(",
      "[",
      "\\",
      "__proto__",
      "constructor",
    ];
    const mutate = (value: unknown): unknown => {
      if (random(12) === 0) return words[random(words.length)];
      if (Array.isArray(value)) return value.map(mutate);
      if (typeof value !== "object" || value === null) return value;
      const entries = Object.entries(value).filter(() => random(15) > 0);
      return Object.fromEntries(
        entries.map(([k, v]) => [random(25) === 0 ? String(words[random(words.length)]) : k, mutate(v)]),
      );
    };
    let grammars = 0;
    for (let i = 0; i < 10_000; i++) {
      const schema = mutate(JSON.parse(texts[i % texts.length]!));
      try {
        if (grammar(schema)!.startsWith("root ::= ")) grammars++;
      } catch (error) {
        expect((error as Error).message, JSON.stringify(schema)).toMatch(/^Cannot constrain by/);
      }
    }
    expect(grammars).toBeGreaterThan(1000);
    expect(grammars).toBeLessThan(9000);
  });
});
