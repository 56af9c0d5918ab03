// Schemas that between them use every keyword that is honoured: for tests.

import type { JsonSchema } from "../../src/generate/grammar/index.ts";

export const SCHEMAS: Record<string, JsonSchema> = {
  object: {
    type: "object",
    properties: {
      name: { type: "string" },
      age: { type: "integer", minimum: 0, maximum: 130 },
      tags: { type: "array", items: { enum: ["a", "b\n", 3, null] }, maxItems: 3 },
    },
    required: ["name", "age"],
  },
  optional: {
    type: "object",
    properties: { a: { type: "null" }, b: { type: "boolean" }, c: { const: 1 } },
    required: ["b"],
    additionalProperties: false,
  },
  extra: {
    type: "object",
    properties: { a: { type: "null" }, ab: { const: 2 }, 'q"': { const: 3 } },
    additionalProperties: { type: "boolean" },
  },
  map: { type: "object", additionalProperties: { type: "integer" }, minProperties: 1, maxProperties: 3 },
  bounded: { type: "string", minLength: 2, maxLength: 5 },
  minimal: { type: "string", minLength: 3 },
  number: { type: "number", exclusiveMinimum: 0, maximum: 2.5 },
  negative: { type: "number", minimum: -12.25, exclusiveMaximum: 7 },
  integer: { type: "integer", minimum: -12, maximum: 1234 },
  open: { type: "integer", exclusiveMinimum: 41 },
  any: true,
  anyNumber: { type: "number" },
  list: {
    type: "array",
    items: { type: "array", items: { type: "boolean" }, minItems: 1, maxItems: 2 },
    minItems: 2,
    maxItems: 4,
  },
  tuple: {
    type: "array",
    prefixItems: [{ type: "string", maxLength: 3 }, { type: "boolean" }],
    items: { type: "null" },
    minItems: 1,
    maxItems: 4,
  },
  pair: { type: "array", prefixItems: [{ const: 1 }, { const: 2 }], items: false, minItems: 2 },
  tree: {
    $ref: "#/$defs/node",
    $defs: {
      node: {
        type: "object",
        properties: {
          v: { type: "integer", maximum: 9 },
          next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] },
        },
        required: ["v", "next"],
        additionalProperties: false,
      },
    },
  },
  either: {
    anyOf: [
      { type: "string", pattern: "^[a-c]{2,4}$" },
      { type: "integer", minimum: 100, maximum: 105 },
      { enum: [null, { x: [1] }] },
    ],
  },
  one: {
    oneOf: [
      {
        type: "object",
        properties: { kind: { const: "a" }, x: { type: "boolean" } },
        required: ["kind", "x"],
      },
      { type: "object", properties: { kind: { const: "b" } }, required: ["kind"] },
    ],
  },
  types: { type: ["string", "null", "integer"], maxLength: 2 },
  pattern: { type: "string", pattern: '^(\\d{3}-)?\\w+[^a-z]"?\\\\$' },
  dot: { type: "string", pattern: ".\\s[\\u00e9-\\u00eb\\u{1f600}]{1,3}" },
  text: { const: 'é0ab\u2028ff\u{1f600}12\\"\n' },
  untyped: { properties: { a: { minimum: 3 } }, required: ["a", "b"] },
};
for (const format of ["date", "time", "date-time", "uuid", "ipv4", "email"])
  SCHEMAS[format] = { type: "string", format };
