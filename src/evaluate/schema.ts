// A value against the plain part of a JSON schema. Keywords beyond it are not looked at, and are named.

import { isObject, type Json } from "../formats/json.ts";

const CHECKED = new Set(
  "type enum const properties required additionalProperties items minItems maxItems minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength anyOf oneOf allOf".split(
    " ",
  ),
);
/** Keywords that constrain nothing. */
const NOTES = new Set("title description default examples $schema $id $comment".split(" "));

/** Keywords in a schema that `matchesSchema` does not check (`pattern`, `$ref`, `format` ...). */
export function uncheckedKeywords(schema: Json, into = new Set<string>()): Set<string> {
  if (!isObject(schema)) return into;
  for (const [key, value] of Object.entries(schema)) {
    if (!CHECKED.has(key) && !NOTES.has(key)) into.add(key);
    if (key === "properties" && isObject(value))
      for (const sub of Object.values(value)) uncheckedKeywords(sub, into);
    else if (key === "items" || key === "additionalProperties") uncheckedKeywords(value, into);
    else if (/^(any|one|all)Of$/.test(key) && Array.isArray(value))
      for (const sub of value) uncheckedKeywords(sub, into);
  }
  return into;
}

/** Whether a value is as its schema says, by the keywords in `CHECKED`. */
export function matchesSchema(value: Json, schema: Json): boolean {
  if (schema === false) return false;
  if (!isObject(schema)) return true;
  const s = (key: string): Json | undefined => (Object.hasOwn(schema, key) ? schema[key] : undefined);
  const n = (key: string, missing: number): number => {
    const found = s(key);
    return typeof found === "number" ? found : missing;
  };
  const list = (key: string): Json[] | undefined => {
    const found = s(key);
    return Array.isArray(found) ? found : undefined;
  };
  const type = s("type");
  if (type !== undefined && !(Array.isArray(type) ? type : [type]).some((t) => isOfType(value, t)))
    return false;
  if (list("enum")?.every((item) => !equal(item, value))) return false;
  if (s("const") !== undefined && !equal(s("const")!, value)) return false;
  if (list("anyOf")?.every((sub) => !matchesSchema(value, sub))) return false;
  if (list("allOf")?.some((sub) => !matchesSchema(value, sub))) return false;
  const one = list("oneOf");
  if (one && one.filter((sub) => matchesSchema(value, sub)).length !== 1) return false;
  if (typeof value === "number")
    return (
      value >= n("minimum", -Infinity) &&
      value <= n("maximum", Infinity) &&
      (s("exclusiveMinimum") === undefined || value > n("exclusiveMinimum", -Infinity)) &&
      (s("exclusiveMaximum") === undefined || value < n("exclusiveMaximum", Infinity))
    );
  if (typeof value === "string") {
    const length = [...value].length;
    return length >= n("minLength", 0) && length <= n("maxLength", Infinity);
  }
  if (Array.isArray(value)) {
    const items = s("items");
    return (
      value.length >= n("minItems", 0) &&
      value.length <= n("maxItems", Infinity) &&
      (items === undefined || value.every((item) => matchesSchema(item, items)))
    );
  }
  return !isObject(value) || objectMatches(value, s("properties"), s("required"), s("additionalProperties"));
}

function objectMatches(
  value: { [key: string]: Json },
  properties: Json | undefined,
  required: Json | undefined,
  others: Json | undefined,
): boolean {
  const known = isObject(properties) ? properties : {};
  if (Array.isArray(required) && required.some((key) => !Object.hasOwn(value, String(key)))) return false;
  return Object.entries(value).every(([key, item]) => {
    const sub = Object.hasOwn(known, key) ? known[key] : others;
    return sub === undefined || matchesSchema(item, sub);
  });
}

function isOfType(value: Json, type: Json): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isObject(value);
  return typeof value === type;
}

function equal(a: Json, b: Json): boolean {
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => equal(item, b[i]!));
  if (!isObject(a)) return a === b;
  if (!isObject(b) || Object.keys(a).length !== Object.keys(b).length) return false;
  return Object.entries(a).every(([key, item]) => Object.hasOwn(b, key) && equal(item, b[key]!));
}
