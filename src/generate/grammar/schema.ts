// JSON Schema -> grammar of the documents that satisfy it. What the grammar says is always valid, though not all that is
// valid can be said (properties come in the order of the schema, none beside those named unless it says so). A keyword
// that cannot be honoured is an error with its place.

import { FORMATS } from "./formats.ts";
import { otherKey } from "./keys.ts";
import { LIMITS, within } from "./limits.ts";
import { type Bounds, INTEGER, integerRange, NUMBER, numberRange } from "./numbers.ts";
import { JSON_CHARACTERS, regexExpression } from "./regex.ts";
import { either, Rules, repeat } from "./rules.ts";

/** A JSON Schema (the keywords that drafts 7 to 2020-12 share), as `JSON.parse` gives it. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

type Fields = { readonly [keyword: string]: unknown };

const ANNOTATIONS = new Set(["$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "title", "description",
  "default", "examples", "deprecated", "readOnly", "writeOnly", "discriminator", "contentMediaType", "contentEncoding"]); // biome-ignore format: a table

/** Keywords by the type that they say something about. */
const BY_TYPE = {
  object: ["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems", "uniqueItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
} as const;
const TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
type Type = (typeof TYPES)[number];
const KNOWN = new Set<string>([
  "type",
  "enum",
  "const",
  "anyOf",
  "oneOf",
  "allOf",
  "$ref",
  ...Object.values(BY_TYPE).flat(),
]);
/** Keywords that say what a value is by themselves: nothing but annotations may stand beside them. */
const ALONE = ["$ref", "anyOf", "oneOf", "allOf"] as const;

/** After ":" and ",": the only white space there is. */
const GAP = '" "?';

/**
 * The grammar of a schema, in the EBNF of XGrammar.
 * @throws {TypeError} on a keyword that is not honoured, or has a value of the wrong kind
 * @throws {RangeError} on a schema that is too large, or that no value satisfies
 */
export function schemaGrammar(schema: JsonSchema): string {
  checkSize(schema);
  const text = JSON.stringify(schema) as string | undefined;
  if (text === undefined)
    throw new TypeError(`Cannot constrain by a schema: it is ${typeof schema}, wanted an object`);
  const writer = new SchemaWriter(JSON.parse(text) as JsonSchema);
  const root = writer.value(writer.root, "#", 0);
  if (root === undefined) throw new RangeError('Cannot constrain by schema "#": no value satisfies it');
  return writer.rules.text(root);
}

/** Before anything else looks at it: objects may hold each other, or the same one many times. */
function checkSize(schema: unknown): void {
  const left: [unknown, number][] = [[schema, 0]];
  let size = 0;
  while (left.length > 0) {
    const [value, depth] = left.pop()!;
    size += typeof value === "string" ? value.length : 1;
    if (typeof value === "bigint") bad("#", String(value), "JSON");
    if (typeof value === "object" && value !== null)
      for (const [key, inner] of Object.entries(value)) {
        size += key.length;
        left.push([inner, depth + 1]);
      }
    // A schema in a schema is two levels, as "properties" stands between.
    within("levels:", "a schema", depth, 4 * LIMITS.depth);
    within("characters and values", "a schema", Math.max(size, left.length), LIMITS.text);
  }
}

class SchemaWriter {
  readonly rules = new Rules();
  readonly root: JsonSchema;
  readonly #references = new Map<string, string | undefined>();
  #schemas = 0;

  constructor(root: JsonSchema) {
    this.root = root;
  }

  /** An expression for the values of a schema; undefined when there are none. */
  value(schema: unknown, at: string, depth: number): string | undefined {
    within("schemas within schemas:", `schema "${at}"`, depth, LIMITS.depth);
    within("schemas", "a schema with", ++this.#schemas, LIMITS.schemas);
    if (schema === true) return this.any();
    if (schema === false) return undefined;
    if (!isObject(schema)) bad(at, schema, "an object, true or false");
    for (const key of Object.keys(schema))
      if (!KNOWN.has(key) && !ANNOTATIONS.has(key)) refuse(`${at}/${key}`, "is not supported");
    for (const key of ALONE) if (schema[key] !== undefined) return this.#alone(key, schema, at, depth);
    if (schema.const !== undefined || schema.enum !== undefined) return this.#values(schema, at);
    const expressions: string[] = [];
    for (const type of typesOf(schema, at)) {
      const expression = this.#typed(type, schema, at, depth);
      if (expression !== undefined) expressions.push(expression);
    }
    return expressions.length > 0 ? either(expressions) : undefined;
  }

  /** Any JSON. */
  any(): string {
    const known = this.#references.get("");
    if (known !== undefined) return known;
    const name = this.rules.reserve();
    this.#references.set("", name);
    const string = this.anyString();
    const pair = `${string} ":" ${GAP} ${name}`;
    this.rules.define(
      name,
      either([
        this.#list("{", pair, "}"),
        this.#list("[", name, "]"),
        string,
        this.rules.rule(NUMBER),
        '"true" | "false" | "null"',
      ]),
    );
    return name;
  }

  #list(open: string, item: string, close: string): string {
    return `"${open}" (${item} ("," ${GAP} ${item})*)? "${close}"`;
  }

  anyString(): string {
    return `"\\"" ${this.stringEnd()}`;
  }

  /** The rest of a string, its end included, in the form that the library is quickest with. */
  stringEnd(): string {
    const known = this.#references.get('"');
    if (known !== undefined) return known;
    const name = this.rules.reserve();
    this.#references.set('"', name);
    this.rules.define(name, ['"\\""', ...JSON_CHARACTERS.map((one) => `${one} ${name}`)].join(" | "));
    return name;
  }

  #alone(key: (typeof ALONE)[number], schema: Fields, at: string, depth: number): string | undefined {
    for (const other of Object.keys(schema))
      if (
        other !== key &&
        KNOWN.has(other) &&
        !(other === "type" && key !== "$ref" && this.#implied(schema, key))
      )
        refuse(
          `${at}/${other}`,
          `beside ${key} is not supported; move it into ${key === "$ref" ? "what it refers to" : `each of ${key}`}`,
        );
    if (key === "$ref") return this.#reference(schema.$ref, `${at}/$ref`, depth);
    const alternatives = schema[key];
    if (!Array.isArray(alternatives) || alternatives.length === 0)
      bad(`${at}/${key}`, alternatives, "an array of schemas");
    if (key === "allOf") {
      if (alternatives.length > 1) refuse(`${at}/allOf`, "of more than one schema is not supported");
      return this.value(alternatives[0], `${at}/allOf/0`, depth + 1);
    }
    if (key === "oneOf") this.#checkApart(alternatives, `${at}/oneOf`);
    const found = alternatives
      .map((one, i) => this.value(one, `${at}/${key}/${i}`, depth + 1))
      .filter((expression) => expression !== undefined);
    return found.length > 0 ? either(found) : undefined;
  }

  /** Whether a type beside alternatives says nothing new: each of them has the same. */
  #implied(schema: Fields, key: string): boolean {
    const alternatives = schema[key];
    return (
      Array.isArray(alternatives) &&
      alternatives.every((one) => isObject(one) && (this.#resolved(one) as Fields).type === schema.type)
    );
  }

  #reference(ref: unknown, at: string, depth: number): string | undefined {
    if (typeof ref !== "string") bad(at, ref, "a string");
    if (this.#references.has(ref)) return this.#references.get(ref);
    const target = this.#find(ref, at);
    const name = this.rules.reserve();
    this.#references.set(ref, name);
    const body = this.value(target, ref, depth + 1);
    if (body === undefined) {
      this.rules.define(name, '"\\U00000001"'); // no token has it: nothing can be said here
      this.#references.set(ref, undefined);
      return undefined;
    }
    if (body === name) throw new RangeError(`Cannot constrain by schema "${at}": it refers to itself alone`);
    this.rules.define(name, body);
    return name;
  }

  #find(ref: string, at: string): unknown {
    if (ref !== "#" && !ref.startsWith("#/"))
      refuse(at, `${JSON.stringify(ref.slice(0, 100))} is outside the schema, wanted "#/..."`);
    let target: unknown = this.root;
    for (const part of ref.split("/").slice(1)) {
      let key: string;
      try {
        key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
      } catch {
        key = part;
      }
      const inside = (isObject(target) || Array.isArray(target)) && Object.hasOwn(target, key);
      if (!inside)
        throw new RangeError(
          `Cannot constrain by schema "${at}": there is no ${JSON.stringify(ref.slice(0, 100))}`,
        );
      target = (target as Fields)[key];
    }
    return target;
  }

  #resolved(schema: unknown): unknown {
    let target = schema;
    for (let i = 0; i < 16 && isObject(target) && typeof target.$ref === "string"; i++)
      target = this.#find(target.$ref, "#");
    return target;
  }

  /** A value may satisfy only one of `oneOf`: that is certain where types differ, or a required constant does. */
  #checkApart(alternatives: readonly unknown[], at: string): void {
    within("alternatives", `schema "${at}"`, alternatives.length, LIMITS.depth);
    const resolved = alternatives.map((one) => this.#resolved(one));
    for (let i = 0; i < resolved.length; i++)
      for (let j = 0; j < i; j++)
        if (!apart(resolved[j], resolved[i]))
          refuse(
            at,
            `${j} and ${i} may hold of the same value, wanted types or a required const that tells them apart, or anyOf`,
          );
  }

  #values(schema: Fields, at: string): string | undefined {
    const { type } = schema;
    const beside = Object.keys(schema).find((k) => KNOWN.has(k) && !["type", "enum", "const"].includes(k));
    if (beside !== undefined) refuse(`${at}/${beside}`, "beside enum or const is not supported");
    const given = schema.enum ?? [schema.const];
    if (!Array.isArray(given)) bad(`${at}/enum`, given, "an array");
    within("values", `schema "${at}/enum"`, given.length, LIMITS.enum);
    const types = type === undefined ? TYPES : typesOf(schema, at);
    const wanted =
      schema.enum !== undefined && schema.const !== undefined ? JSON.stringify(schema.const) : undefined;
    const texts = given
      .filter((value) => types.some((t) => isOfType(value, t)))
      .map((value) => JSON.stringify(value))
      .filter((text) => wanted === undefined || text === wanted);
    return texts.length > 0 ? either(texts.map((text) => this.rules.literal(text))) : undefined;
  }

  #typed(type: Type, schema: Fields, at: string, depth: number): string | undefined {
    if (type === "null") return '"null"';
    if (type === "boolean") return '("true" | "false")';
    if (type === "string") return this.#string(schema, at);
    if (type === "array") return this.#array(schema, at, depth);
    if (type === "object") return this.#object(schema, at, depth);
    return this.#number(type, schema, at);
  }

  #number(type: "integer" | "number", schema: Fields, at: string): string | undefined {
    const bounds: { -readonly [K in keyof Bounds]: number } = {};
    for (const key of ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] as const) {
      const value = schema[key];
      if (value === undefined) continue;
      if (typeof value !== "number" || !Number.isFinite(value)) bad(`${at}/${key}`, value, "a number");
      bounds[key] = value;
    }
    const { multipleOf } = schema;
    if (multipleOf !== undefined && multipleOf !== 1)
      refuse(`${at}/multipleOf`, "other than 1 is not supported");
    const whole = type === "integer" || multipleOf === 1;
    if (Object.keys(bounds).length === 0) return this.rules.rule(whole ? INTEGER : NUMBER);
    const expression = whole ? integerRange(bounds) : numberRange(bounds);
    return expression === undefined ? undefined : this.rules.rule(expression);
  }

  #string(schema: Fields, at: string): string | undefined {
    const min = size(schema, "minLength", at) ?? 0;
    const max = size(schema, "maxLength", at);
    const { pattern, format } = schema;
    const where = `schema "${at}"`;
    if (pattern !== undefined || format !== undefined) {
      const key = pattern !== undefined ? "pattern" : "format";
      for (const other of ["minLength", "maxLength", ...(key === "pattern" ? ["format"] : [])])
        if (schema[other] !== undefined) refuse(`${at}/${other}`, `beside ${key} is not supported`);
      const source = key === "pattern" ? pattern : FORMATS.get(String(format));
      if (source === undefined)
        refuse(
          `${at}/format`,
          `${JSON.stringify(format)} is not supported, only ${[...FORMATS.keys()].join(", ")}`,
        );
      if (typeof source !== "string") bad(`${at}/pattern`, source, "a string");
      return `"\\"" ${regexExpression(this.rules, source, "json", `schema "${at}/${key}"`)} "\\""`;
    }
    if (max !== undefined && min > max) return undefined;
    if (max === undefined && min === 0) return this.anyString();
    within("characters to count:", where, max ?? min, LIMITS.counted);
    const counted = repeat(either(JSON_CHARACTERS), min, max ?? min);
    const body = max === undefined ? `${counted} ${this.stringEnd()}` : `${counted} "\\""`;
    return `"\\"" ${this.rules.counted(body, max ?? min, where)}`;
  }

  #array(schema: Fields, at: string, depth: number): string | undefined {
    const { prefixItems = [], uniqueItems } = schema;
    if (uniqueItems !== undefined && uniqueItems !== false) refuse(`${at}/uniqueItems`, "is not supported");
    if (!Array.isArray(prefixItems)) bad(`${at}/prefixItems`, prefixItems, "an array of schemas");
    if (Array.isArray(schema.items))
      refuse(`${at}/items`, "as an array is not supported, wanted prefixItems");
    const min = size(schema, "minItems", at) ?? 0;
    const max = size(schema, "maxItems", at) ?? Infinity;
    if (min > max) return undefined;
    within("minItems", `schema "${at}"`, min, LIMITS.items);
    const most = Math.min(max, max === Infinity ? Infinity : Math.max(LIMITS.items, min));
    const places = prefixItems
      .slice(0, most)
      .map((one, i) => this.value(one, `${at}/prefixItems/${i}`, depth + 1));
    const firstBad = places.indexOf(undefined);
    const fixed = (firstBad < 0 ? places : places.slice(0, firstBad)) as string[];
    const ended = firstBad >= 0 || schema.items === false;
    const rest = ended ? undefined : this.value(schema.items ?? true, `${at}/items`, depth + 1);
    const all = rest === undefined ? fixed.length : most;
    if (min > all) return undefined;
    // From the last item to the first: what may follow after i items.
    let tail = "";
    if (rest !== undefined && all > fixed.length) {
      const item = this.rules.rule(rest);
      const low = Math.max(0, min - fixed.length);
      const high = all - fixed.length;
      const more = `"," ${GAP} ${item}`;
      if (fixed.length > 0) tail = repeat(more, low, high);
      else {
        const some = `${item} ${repeat(more, Math.max(0, low - 1), high - 1)}`;
        tail = low > 0 ? some : `(${some})?`;
      }
    }
    for (let i = fixed.length - 1; i >= 0; i--) {
      const next = `${i > 0 ? `"," ${GAP} ` : ""}${fixed[i]} ${tail}`;
      tail = this.rules.rule(i < min ? next : `(${next})?`);
    }
    return this.rules.rule(`"[" ${tail} "]"`);
  }

  #object(schema: Fields, at: string, depth: number): string | undefined {
    const { properties = {}, required = [], additionalProperties } = schema;
    if (!isObject(properties)) bad(`${at}/properties`, properties, "an object of schemas");
    if (!Array.isArray(required) || required.some((name) => typeof name !== "string"))
      bad(`${at}/required`, required, "an array of names");
    const names = new Set([...Object.keys(properties), ...(required as string[])]);
    within("properties", `schema "${at}"`, names.size, LIMITS.properties);
    const must = new Set(required as string[]);
    const free = Object.keys(properties).length === 0 && must.size === 0;
    const extra = additionalProperties ?? !!(free && !("properties" in schema));
    const other = this.value(extra, `${at}/additionalProperties`, depth + 1);
    const pairs: { text: string; must: boolean }[] = [];
    for (const name of names) {
      const place = `${at}/properties/${name.replaceAll("~", "~0").replaceAll("/", "~1").slice(0, 100)}`;
      // A required name without a schema of its own is one of the additional ones; where it says nothing, anything.
      const own = Object.hasOwn(properties, name) ? properties[name] : (additionalProperties ?? true);
      const value = this.value(own, place, depth + 1);
      if (value !== undefined)
        pairs.push({
          text: `${this.rules.literal(`${JSON.stringify(name)}:`)} ${GAP} ${this.rules.rule(value)}`,
          must: must.has(name),
        });
      else if (must.has(name)) return undefined;
    }
    const least = size(schema, "minProperties", at) ?? 0;
    const most = size(schema, "maxProperties", at) ?? Infinity;
    if (least > most || must.size > most) return undefined;
    if (least > Math.max(must.size, free && other !== undefined ? 1 : 0))
      refuse(`${at}/minProperties`, "beyond the required properties is not supported");
    if (most < pairs.length && most > 0)
      refuse(`${at}/maxProperties`, "below the named properties is not supported");
    const room = Math.min(most - pairs.length, most === Infinity ? Infinity : LIMITS.items);
    const more =
      other === undefined || room <= 0
        ? undefined
        : `${otherKey(this.rules, [...names])} ":" ${GAP} ${this.rules.rule(other)}`;
    return this.rules.rule(
      `"{" ${most === 0 ? "" : this.#members(pairs, more, room, least > must.size)} "}"`,
    );
  }

  /** Members in order: `begun` where one came before, so that a comma is needed. */
  #members(
    pairs: readonly { text: string; must: boolean }[],
    more: string | undefined,
    room: number,
    some: boolean,
  ): string {
    let begun = more === undefined ? '""' : repeat(`"," ${GAP} ${more}`, 0, room);
    let fresh =
      more === undefined ? '""' : `(${more} ${repeat(`"," ${GAP} ${more}`, 0, room - 1)})${some ? "" : "?"}`;
    for (const { text, must } of pairs.toReversed()) {
      const comma = `"," ${GAP} ${text} ${begun}`;
      const first = `${text} ${begun}`;
      [begun, fresh] = [
        this.rules.rule(must ? comma : `(${comma}) | ${begun}`),
        this.rules.rule(must ? first : `(${first}) | ${fresh}`),
      ];
    }
    return fresh;
  }
}

function typesOf(schema: Fields, at: string): readonly Type[] {
  const { type } = schema;
  if (type !== undefined) {
    const list = Array.isArray(type) ? type : [type];
    for (const one of list) if (!TYPES.includes(one)) bad(`${at}/type`, one, TYPES.join(", "));
    return [...new Set(list as Type[])].filter((one) => one !== "integer" || !list.includes("number"));
  }
  // Without a type, what the keywords speak of: other types would be valid too, but nobody means them.
  const implied = (Object.keys(BY_TYPE) as (keyof typeof BY_TYPE)[]).filter((one) =>
    BY_TYPE[one].some((key) => schema[key] !== undefined),
  );
  return implied.length > 0 ? implied : ["object", "array", "string", "number", "boolean", "null"];
}

function isOfType(value: unknown, type: Type): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isObject(value);
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}

/** Whether no value can satisfy both. True only where it is certain. */
function apart(a: unknown, b: unknown): boolean {
  if (a === false || b === false) return true;
  if (!isObject(a) || !isObject(b)) return false;
  const values = (schema: Fields) =>
    schema.const !== undefined ? [schema.const] : Array.isArray(schema.enum) ? schema.enum : undefined;
  const [one, other] = [values(a), values(b)];
  if (one && other) return !one.some((x) => other.some((y) => JSON.stringify(x) === JSON.stringify(y)));
  const types = (schema: Fields, own: unknown[] | undefined) =>
    own
      ? TYPES.filter((t) => own.some((value) => isOfType(value, t)))
      : schema.type === undefined
        ? TYPES
        : ([schema.type].flat() as Type[]);
  const kinds = (list: readonly Type[]) => new Set(list.map((t) => (t === "integer" ? "number" : t)));
  const theirs = kinds(types(b, other));
  if (![...kinds(types(a, one))].some((t) => theirs.has(t))) return true;
  const [p, q] = [a.properties, b.properties];
  if (a.type !== "object" || b.type !== "object" || !isObject(p) || !isObject(q)) return false;
  const both = (name: string) => [a.required, b.required].every((r) => Array.isArray(r) && r.includes(name));
  return Object.keys(p).some((name) => {
    const [x, y] = [p[name], q[name]];
    return (
      both(name) &&
      isObject(x) &&
      isObject(y) &&
      values(x) !== undefined &&
      values(y) !== undefined &&
      apart(x, y)
    );
  });
}

function size(schema: Fields, key: string, at: string): number | undefined {
  const value = schema[key];
  if (value === undefined) return undefined;
  if (!Number.isInteger(value) || (value as number) < 0)
    bad(`${at}/${key}`, value, "a whole number, 0 or more");
  return value as number;
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refuse(at: string, why: string): never {
  throw new TypeError(`Cannot constrain by schema "${at}": it ${why}`);
}

function bad(at: string, found: unknown, wanted: string): never {
  const text = JSON.stringify(found) ?? String(found);
  throw new TypeError(`Cannot constrain by schema "${at}": it is ${text.slice(0, 60)}, wanted ${wanted}`);
}
