// Values of a template: what they are, how they compare and print. No object of the host is ever one of them.

import type { Budget } from "./budget.ts";
import { Text } from "./text.ts";

/** A Python float; whole numbers are plain numbers. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export class Namespace {
  readonly fields: Map<string, Value>;
  constructor(fields: Map<string, Value>) {
    this.fields = fields;
  }
}

export interface Arguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

/** A macro, a global function or a method. */
export class Callable {
  readonly name: string;
  readonly call: (args: Arguments) => Value;
  constructor(name: string, call: (args: Arguments) => Value) {
    this.name = name;
    this.call = call;
  }
}

export type Key = string | number;
export type Dict = Map<Key, Value>;

/** undefined is Jinja's Undefined, null is None. */
export type Value =
  | undefined
  | null
  | boolean
  | number
  | Float
  | Text
  | Value[]
  | Dict
  | Namespace
  | Callable;

const MAX_DEPTH = 100;

/** Roles that a template may build a control token from, as in `'<|' + role + '|>'`. */
const ROLES = new Set(
  "system user assistant tool developer function ipython model observation environment critic".split(" "),
);

/** Whether a string of the host's at a place (`messages[0].role`) is the template's own. */
export type Owner = (place: string, text: string) => boolean;

/** What makes control tokens: of the messages, the roles alone. */
export const ownRoles: Owner = (place, text) => place.endsWith(".role") && ROLES.has(text);

/**
 * Plain data (JSON) as template values, and its size in characters and values.
 * @throws {TypeError} on a function, a class instance or a cycle, naming the place.
 */
export function fromHost(input: unknown, where: string, owner: Owner): { value: Value; size: number } {
  let size = 0;
  const convert = (item: unknown, at: string, depth: number): Value => {
    size++;
    if (depth > MAX_DEPTH)
      throw new TypeError(`${at} is nested more than ${MAX_DEPTH} deep, want plain data`);
    switch (typeof item) {
      case "string":
        size += item.length;
        return owner(at, item) ? Text.own(item) : Text.plain(item);
      case "number":
        return Number.isInteger(item) ? item : new Float(item);
      case "boolean":
      case "undefined":
        return item;
      case "object": {
        if (item === null) return null;
        if (Array.isArray(item)) return item.map((value, i) => convert(value, `${at}[${i}]`, depth + 1));
        const prototype = Object.getPrototypeOf(item);
        if (prototype !== null && Object.getPrototypeOf(prototype) !== null) break;
        const dict: Dict = new Map();
        for (const [key, value] of Object.entries(item)) {
          size += key.length;
          if (value !== undefined) dict.set(key, convert(value, `${at}.${key}`, depth + 1));
        }
        return dict;
      }
    }
    throw new TypeError(`${at} is a ${typeof item}, want plain data`);
  };
  return { value: convert(input, where, 0), size };
}

export function kind(value: Value): string {
  if (value === undefined) return "undefined";
  if (value === null) return "none";
  if (value instanceof Text) return "a string";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Map) return "a dict";
  if (value instanceof Namespace) return "a namespace";
  if (value instanceof Callable) return `the function ${value.name}`;
  return typeof value === "boolean" ? "a boolean" : "a number";
}

export function truthy(value: Value): boolean {
  if (value instanceof Text || Array.isArray(value)) return value.length > 0;
  if (value instanceof Map) return value.size > 0;
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Namespace || value instanceof Callable) return true;
  return Boolean(value);
}

/** The number behind a whole number, a float or a boolean. */
export function numeric(value: Value): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  return value instanceof Float ? value.value : undefined;
}

export function equal(a: Value, b: Value, budget: Budget, depth = 0): boolean {
  budget.spend(1);
  if (a === b) return true;
  if (a instanceof Text && b instanceof Text) {
    budget.spendText(a.length === b.length ? a.length : 0);
    return a.value === b.value;
  }
  const x = numeric(a);
  if (x !== undefined) return x === numeric(b);
  if (depth > MAX_DEPTH) throw new RangeError("it compares values nested too deep");
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => equal(item, b[i], budget, depth + 1));
  }
  if (a instanceof Map && b instanceof Map) {
    if (a.size !== b.size) return false;
    for (const [key, item] of a) if (!b.has(key) || !equal(item, b.get(key), budget, depth + 1)) return false;
    return true;
  }
  return false;
}

/** Negative, zero or positive, as Python orders numbers and strings. */
export function compare(a: Value, b: Value, budget: Budget): number {
  if (a instanceof Text && b instanceof Text) {
    budget.spendText(Math.min(a.length, b.length));
    return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
  }
  const x = numeric(a);
  const y = numeric(b);
  if (x === undefined || y === undefined) throw new TypeError(`it compares ${kind(a)} with ${kind(b)}`);
  return x - y;
}

export function asKey(value: Value): Key {
  if (value instanceof Text) return value.value;
  const number = numeric(value);
  if (number === undefined) throw new TypeError(`it uses ${kind(value)} as a key, want a string or a number`);
  return number;
}

export function fromKey(key: Key): Value {
  return typeof key === "string" ? Text.plain(key) : key;
}

/** What `{{ value }}` prints: Python's `str()`. */
export function print(value: Value, budget: Budget): Text {
  if (value instanceof Text) return value;
  if (value === undefined) return Text.empty;
  const out: string[] = [];
  repr(value, out, budget, 0);
  return Text.plain(out.join(""));
}

/** Python's `repr()`, in pieces. The budget counts what shared parts print, not what they take in memory. */
function repr(value: Value, out: string[], budget: Budget, depth: number): void {
  if (depth > MAX_DEPTH) throw new RangeError("it prints values nested too deep");
  const put = (text: string): void => {
    budget.spendText(text.length);
    out.push(text);
  };
  if (value === undefined) put("Undefined");
  else if (value === null) put("None");
  else if (typeof value === "boolean") put(value ? "True" : "False");
  else if (typeof value === "number") put(String(value));
  else if (value instanceof Float) put(floatText(value.value));
  else if (value instanceof Text) put(quoted(value.value));
  else if (value instanceof Callable) put(`<function ${value.name}>`);
  else if (Array.isArray(value)) {
    put("[");
    for (const [i, item] of value.entries()) {
      if (i > 0) put(", ");
      repr(item, out, budget, depth + 1);
    }
    put("]");
  } else {
    put("{");
    let first = true;
    for (const [key, item] of value instanceof Namespace ? value.fields : value) {
      if (!first) put(", ");
      first = false;
      put(typeof key === "string" ? quoted(key) : String(key));
      put(": ");
      repr(item, out, budget, depth + 1);
    }
    put("}");
  }
}

function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? value.toFixed(1) : String(value);
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text
    .replaceAll("\\", "\\\\")
    .replaceAll("\n", "\\n")
    .replaceAll("\r", "\\r")
    .replaceAll("\t", "\\t")
    .replaceAll(quote, `\\${quote}`);
  return quote + escaped + quote;
}

export interface JsonStyle {
  indent: number | undefined;
  ensureAscii: boolean;
  sortKeys: boolean;
  separators: [string, string] | undefined;
}

/** Python's `json.dumps`. */
export function toJson(value: Value, style: JsonStyle, budget: Budget): string {
  const { indent, ensureAscii, sortKeys } = style;
  const [comma, colon] = style.separators ?? [indent === undefined ? ", " : ",", ": "];
  const out: string[] = [];
  let length = 0;
  const put = (text: string): void => {
    length += text.length;
    budget.makeText(text.length);
    out.push(text);
  };
  const string = (text: string): string => {
    const json = JSON.stringify(text);
    if (!ensureAscii) return json;
    return json.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  };
  const scalar = (item: undefined | null | boolean | number | Float | Text): string => {
    if (item instanceof Text) return string(item.value);
    return item instanceof Float ? floatText(item.value) : String(item ?? null);
  };
  const write = (item: Value, depth: number): void => {
    if (depth > MAX_DEPTH) throw new RangeError("it writes values nested too deep as JSON");
    if (item instanceof Callable) throw new TypeError(`it writes ${kind(item)} as JSON`);
    if (!(Array.isArray(item) || item instanceof Map || item instanceof Namespace)) {
      put(scalar(item));
      return;
    }
    const list = Array.isArray(item);
    const entries: [Key | undefined, Value][] = list
      ? item.map((inner) => [undefined, inner])
      : [...(item instanceof Namespace ? item.fields : item)];
    budget.spend(entries.length);
    if (sortKeys) entries.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
    const line = (level: number): string => (indent === undefined ? "" : `\n${" ".repeat(indent * level)}`);
    put(list ? "[" : "{");
    for (const [i, [key, inner]] of entries.entries()) {
      put((i > 0 ? comma : "") + line(depth + 1) + (key === undefined ? "" : string(String(key)) + colon));
      write(inner, depth + 1);
    }
    put((entries.length > 0 ? line(depth) : "") + (list ? "]" : "}"));
  };
  write(value, 0);
  budget.makeText(length);
  return out.join("");
}
