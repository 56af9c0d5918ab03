// Descriptions of functions, as OpenAI's API takes them, read and checked; and the JSON schema of an answer that uses them.
// No model here.

import { constraintGrammar } from "../generate/grammar/index.ts";
import type { JsonSchema } from "../generate/index.ts";

/** A function that may be called: `parameters` is the JSON schema of an object. */
export interface Tool {
  readonly name: string;
  readonly description?: string;
  readonly parameters: ToolParameters;
}

export interface ToolParameters {
  readonly type: "object";
  readonly properties: { readonly [name: string]: unknown };
  readonly required: readonly string[];
  readonly [keyword: string]: unknown;
}

type Fields = { readonly [key: string]: unknown };

/** Other languages' words for JSON's types. */
const TYPES: { readonly [name: string]: string | undefined } = {
  dict: "object",
  float: "number",
  double: "number",
  int: "integer",
  bool: "boolean",
  str: "string",
  list: "array",
  tuple: "array",
  any: undefined,
};
const JSON_TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"];
/** Keywords that hold a schema, a list of them, or schemas by name. */
const SCHEMA = ["items", "additionalProperties", "not"];
const SCHEMAS = ["anyOf", "oneOf", "allOf", "prefixItems"];
const NAMED = ["properties", "$defs", "definitions"];
const MAX_DEPTH = 32;
const MAX_TOOLS = 256;

/**
 * Checks tools: `[{ type: "function", function: { name, description, parameters } }]`, or what stands in `function` alone.
 * Types may have Python's names (`dict`, `float`). Properties that are not in `required` are optional.
 * @throws {TypeError | RangeError} naming the tool and what is wrong with it
 */
export function readTools(tools: unknown): Tool[] {
  if (!Array.isArray(tools) || tools.length === 0 || tools.length > MAX_TOOLS)
    throw new TypeError(
      `Cannot use tools: found ${Array.isArray(tools) ? `a list of ${tools.length}` : kindOf(tools)}, wanted a list of 1 to ${MAX_TOOLS} functions`,
    );
  const read = tools.map((tool, i) => readTool(tool, i));
  const names = read.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new RangeError(`Cannot use tools: ${JSON.stringify(twice)} is there twice`);
  return read;
}

function readTool(given: unknown, index: number): Tool {
  const outer: Fields = isObject(given) ? given : {};
  const tool = isObject(outer.function) ? outer.function : outer;
  const { name, description, parameters } = tool;
  if (typeof name !== "string" || !/^[\p{L}\p{N}_][\p{L}\p{N}_.\-/]{0,127}$/u.test(name))
    throw new TypeError(
      `Cannot use tool ${index + 1}: its name is ${shown(name)}, wanted letters, digits, "_", ".", "-" or "/", at most 128`,
    );
  const fail = (message: string): never => {
    throw new TypeError(`Cannot use tool ${JSON.stringify(name)}: ${message}`);
  };
  if (description !== undefined && description !== null && typeof description !== "string")
    return fail(`its description is ${shown(description)}, wanted text`);
  if (parameters !== undefined && parameters !== null && !isObject(parameters))
    return fail(`its parameters are ${shown(parameters)}, wanted a JSON schema`);
  const schema = standard(parameters ?? {}, "parameters", 0, fail) as Fields;
  const { type = "object", properties = {}, required = [] } = schema;
  if (type !== "object") return fail(`its parameters have the type ${shown(type)}, wanted "object"`);
  if (!isObject(properties)) return fail(`"properties" is ${shown(properties)}, wanted an object`);
  if (!Array.isArray(required) || !required.every((one) => typeof one === "string"))
    return fail(`"required" is ${shown(required)}, wanted a list of names`);
  const unknown = required.find((one) => !Object.hasOwn(properties, one));
  if (unknown !== undefined) return fail(`it requires ${shown(unknown)}, which it has no schema for`);
  const whole: ToolParameters = { ...schema, type: "object", properties, required };
  try {
    constraintGrammar({ schema: whole as JsonSchema });
  } catch (error) {
    return fail(`its parameters cannot be followed: ${(error as Error).message}`);
  }
  return { name, ...(typeof description === "string" && { description }), parameters: whole };
}

/** The schema with JSON's names of types. */
function standard(schema: unknown, at: string, depth: number, fail: (message: string) => never): unknown {
  if (typeof schema === "boolean") return schema;
  if (!isObject(schema)) return fail(`"${at}" is ${shown(schema)}, wanted a JSON schema`);
  if (depth > MAX_DEPTH) return fail(`"${at}" is nested more than ${MAX_DEPTH} deep`);
  const next = (value: unknown, key: string) => standard(value, `${at}.${key}`, depth + 1, fail);
  const out: { [key: string]: unknown } = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === "type") {
      const types = (Array.isArray(value) ? value : [value]).map((one) => {
        const known = typeof one === "string" && Object.hasOwn(TYPES, one) ? TYPES[one] : one;
        if (known !== undefined && !JSON_TYPES.includes(known as string))
          return fail(`"${at}" has the type ${shown(one)}, wanted one of ${JSON_TYPES.join(", ")}`);
        return known;
      });
      if (!types.includes(undefined)) out.type = Array.isArray(value) ? types : types[0];
    } else if (SCHEMA.includes(key)) out[key] = next(value, key);
    else if (SCHEMAS.includes(key))
      out[key] = Array.isArray(value) ? value.map((one, i) => next(one, `${key}.${i}`)) : value;
    else if (NAMED.includes(key) && isObject(value))
      out[key] = Object.fromEntries(Object.entries(value).map(([name, one]) => [name, next(one, name)]));
    else out[key] = value;
  }
  return out;
}

/**
 * The JSON schema of an answer: a list of calls, in which `[]` calls nothing, or a question for arguments that are
 * required and missing: `{ name, missing, question }`.
 */
export function toolSchema(tools: readonly Tool[]): JsonSchema {
  const calls = tools.map(({ name, parameters }, i) =>
    object({
      name: { const: name },
      arguments: {
        additionalProperties: false,
        ...(moved(parameters, `#/anyOf/0/items/anyOf/${i}/properties/arguments`) as object),
      },
    }),
  );
  const questions = tools
    .filter(({ parameters }) => parameters.required.length > 0)
    .map(({ name, parameters: { required } }) =>
      object({
        name: { const: name },
        missing: { type: "array", items: { enum: required }, minItems: 1, maxItems: required.length },
        question: { type: "string" },
      }),
    );
  return { anyOf: [{ type: "array", items: { anyOf: calls } }, ...questions] } as JsonSchema;
}

/** Of an answer by heart: whatever functions there are. */
export const ANY_ANSWER = {
  anyOf: [
    { type: "array", items: object({ name: { type: "string" }, arguments: { type: "object" } }) },
    object({
      name: { type: "string" },
      missing: { type: "array", items: { type: "string" }, minItems: 1 },
      question: { type: "string" },
    }),
  ],
} as JsonSchema;

function object(properties: Fields) {
  return { type: "object", properties, required: Object.keys(properties), additionalProperties: false };
}

/** A schema at another place of a larger one: its references still find what they mean. */
function moved(schema: unknown, place: string): unknown {
  if (Array.isArray(schema)) return schema.map((one) => moved(one, place));
  if (!isObject(schema)) return schema;
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [
      key,
      key === "$ref" && typeof value === "string" && value.startsWith("#")
        ? place + value.slice(1)
        : moved(value, place),
    ]),
  );
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 60);
}

const kindOf = (value: unknown) => (value === null ? "null" : typeof value);
