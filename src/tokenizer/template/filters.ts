// Jinja's filters and tests, those that chat templates use.

import { type Budget, MAX_ITEMS } from "./budget.ts";
import { argument, capitalize, items, join, methodOf, replace, strip, titleCase } from "./methods.ts";
import { Text } from "./text.ts";
import {
  type Arguments,
  asKey,
  Callable,
  compare,
  type Dict,
  equal,
  Float,
  fromKey,
  kind,
  Namespace,
  numeric,
  print,
  toJson,
  truthy,
  type Value,
} from "./values.ts";

type Filter = (value: Value, args: Arguments, budget: Budget) => Value;
type Test = (value: Value, args: readonly Value[], budget: Budget) => boolean;

/** @throws {TypeError} for a filter that is not there. */
export function applyFilter(name: string, value: Value, args: Arguments, budget: Budget): Value {
  const filter = filters.get(name);
  if (!filter)
    throw new TypeError(`it uses the filter ${name}, want one of ${[...filters.keys()].join(", ")}`);
  budget.spend(1);
  return filter(value, args, budget);
}

/** @throws {TypeError} for a test that is not there. */
export function applyTest(name: string, value: Value, args: readonly Value[], budget: Budget): boolean {
  const test = tests.get(name);
  if (!test) throw new TypeError(`it uses the test ${name}, want one of ${[...tests.keys()].join(", ")}`);
  budget.spend(1);
  return test(value, args, budget);
}

/** Elements of a list, characters of a string or keys of a dict; nothing of none. @throws {TypeError} for anything else. */
export function elements(value: Value, budget: Budget): Value[] {
  if (Array.isArray(value)) {
    budget.spend(1);
    return value;
  }
  // Python refuses None; templates for tools go through `tools` without asking whether there are any.
  if (value === undefined || value === null) return [];
  if (value instanceof Map) {
    budget.makeItems(value.size);
    return [...value.keys()].map(fromKey);
  }
  if (value instanceof Text) {
    budget.makeItems(value.length * (1 + value.ranges));
    const characters: Value[] = [];
    let start = 0;
    for (const character of value.value) {
      characters.push(value.slice(start, start + character.length));
      start += character.length;
    }
    return characters;
  }
  throw new TypeError(`it goes through ${kind(value)}, want a list, a dict or a string`);
}

/** `a.b.0` of a value; undefined where there is nothing. */
function attribute(value: Value, path: Value): Value {
  const parts = typeof path === "number" ? [path] : print(path, NO_LIMIT).value.split(".");
  let found = value;
  for (const part of parts) {
    if (found instanceof Map) found = found.get(part) ?? found.get(Number(part));
    else if (found instanceof Namespace) found = found.fields.get(String(part));
    else if (Array.isArray(found)) found = found[Number(part)];
    else return undefined;
  }
  return found;
}

/** For paths: short strings of the template. */
const NO_LIMIT = { spendText() {}, spend() {} } as unknown as Budget;

function text(value: Value, name: string): Text {
  if (value instanceof Text) return value;
  throw new TypeError(`the filter ${name} has ${kind(value)}, want a string`);
}

function onText(name: string, change: (value: string) => string): Filter {
  return (value, _args, budget) => {
    const whole = print(value, budget);
    budget.makeText(whole.length);
    return text(whole, name).withValue(change(whole.value));
  };
}

/** Keeps the elements that a test (with an attribute or without) says so of, or the others. */
function choose(keep: boolean, byAttribute: boolean): Filter {
  return (value, args, budget) => {
    const [first, ...rest] = args.positional;
    const name = byAttribute ? rest.shift() : first;
    const testArguments = byAttribute ? rest : args.positional.slice(1);
    const all = elements(value, budget);
    budget.spend(all.length);
    return all.filter((element) => {
      const item = byAttribute ? attribute(element, first) : element;
      const passes =
        name === undefined ? truthy(item) : applyTest(testName(name), item, testArguments, budget);
      return passes === keep;
    });
  };
}

function testName(value: Value): string {
  return text(value, "test").value;
}

function mapFilter(value: Value, args: Arguments, budget: Budget): Value {
  const all = elements(value, budget);
  budget.makeItems(all.length);
  const path = args.named.get("attribute");
  if (path !== undefined) return all.map((item) => attribute(item, path) ?? args.named.get("default"));
  const [name, ...rest] = args.positional;
  const inner: Arguments = { positional: rest, named: args.named };
  return all.map((item) => applyFilter(text(name, "map").value, item, inner, budget));
}

function sortFilter(value: Value, args: Arguments, budget: Budget): Value {
  const reverse = truthy(argument(args, 0, "reverse"));
  const caseSensitive = truthy(argument(args, 1, "case_sensitive"));
  const path = argument(args, 2, "attribute");
  const all = elements(value, budget);
  budget.makeItems(all.length);
  const keyed = all.map((item): [Value, Value] => {
    const key = path === undefined || path === null ? item : attribute(item, path);
    return [fold(key, caseSensitive), item];
  });
  keyed.sort(([a], [b]) => (reverse ? compare(b, a, budget) : compare(a, b, budget)));
  return keyed.map(([, item]) => item);
}

function fold(value: Value, caseSensitive: boolean): Value {
  return value instanceof Text && !caseSensitive ? value.withValue(value.value.toLowerCase()) : value;
}

function dictsort(value: Value, args: Arguments, budget: Budget): Value {
  if (!(value instanceof Map)) throw new TypeError(`the filter dictsort has ${kind(value)}, want a dict`);
  const caseSensitive = truthy(argument(args, 0, "case_sensitive"));
  const by = argument(args, 1, "by");
  const reverse = truthy(argument(args, 2, "reverse"));
  const at = by instanceof Text && by.value === "value" ? 1 : 0;
  const pairs = items(value, budget) as [Value, Value][];
  const key = (pair: [Value, Value]) => fold(pair[at], caseSensitive);
  return pairs.sort((a, b) => (reverse ? -1 : 1) * compare(key(a), key(b), budget));
}

function tojson(value: Value, args: Arguments, budget: Budget): Value {
  const indent = argument(args, 0, "indent") ?? undefined;
  if (
    indent !== undefined &&
    indent !== null &&
    !(typeof indent === "number" && indent >= 0 && indent <= 16)
  ) {
    throw new RangeError(`tojson has ${kind(indent)} as indent, want a number from 0 to 16`);
  }
  const separators = args.named.get("separators");
  let pair: [string, string] | undefined;
  if (Array.isArray(separators) && separators.length === 2) {
    pair = [text(separators[0], "tojson").value, text(separators[1], "tojson").value];
  }
  const style = {
    indent: typeof indent === "number" ? indent : undefined,
    ensureAscii: truthy(args.named.get("ensure_ascii")),
    sortKeys: truthy(args.named.get("sort_keys")),
    separators: pair,
  };
  return Text.plain(toJson(value, style, budget));
}

function indent(value: Value, args: Arguments, budget: Budget): Value {
  const whole = print(value, budget);
  const width = argument(args, 0, "width") ?? 4;
  let pad = "    ";
  if (width instanceof Text) pad = width.value;
  else if (typeof width === "number" && width >= 0 && width <= 256) pad = " ".repeat(width);
  else throw new RangeError(`indent has ${kind(width)} as width, want a number from 0 to 256`);
  const first = truthy(argument(args, 1, "first"));
  const blank = truthy(argument(args, 2, "blank"));
  const parts: Text[] = [];
  let start = 0;
  let lines = 0;
  for (;;) {
    const end = whole.value.indexOf("\n", start);
    const line = whole.slice(start, end < 0 ? whole.length : end + 1);
    const empty = line.length === 0 || line.value === "\n";
    if ((lines > 0 || first) && (blank || !empty)) parts.push(Text.plain(pad));
    parts.push(line);
    budget.makeText(pad.length + line.length);
    budget.spend(1 + whole.ranges);
    lines++;
    if (end < 0) break;
    start = end + 1;
  }
  budget.makeText(whole.length + lines * pad.length);
  return Text.concat(parts);
}

function toNumber(value: Value, args: Arguments, whole: boolean): Value {
  const fallback = argument(args, 0, "default") ?? (whole ? 0 : new Float(0));
  const found = value instanceof Text ? Number.parseFloat(value.value) : numeric(value);
  if (found === undefined || !Number.isFinite(found)) return fallback;
  return whole ? Math.trunc(found) : new Float(found);
}

function unique(value: Value, _args: Arguments, budget: Budget): Value {
  const all = elements(value, budget);
  budget.makeItems(all.length);
  const seen = new Set<unknown>();
  return all.filter((item) => {
    const key = item instanceof Text ? `s${item.value}` : (numeric(item) ?? item);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function extreme(sign: number): Filter {
  return (value, _args, budget) => {
    const all = elements(value, budget);
    return all.reduce(
      (best, item) => (best === undefined || sign * compare(item, best, budget) > 0 ? item : best),
      undefined as Value,
    );
  };
}

function length(value: Value): number {
  if (value instanceof Text) {
    let count = value.length;
    // Python counts code points.
    for (let i = 0; i + 1 < value.length; i++) {
      if (
        (value.value.charCodeAt(i) & 0xfc00) === 0xd800 &&
        (value.value.charCodeAt(i + 1) & 0xfc00) === 0xdc00
      ) {
        count--;
        i++;
      }
    }
    return count;
  }
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  if (value === undefined) return 0;
  throw new TypeError(`the filter length has ${kind(value)}, want a string, a list or a dict`);
}

function defaultFilter(value: Value, args: Arguments): Value {
  const useFalse = truthy(argument(args, 1, "boolean"));
  const fallback =
    args.positional.length > 0 || args.named.has("default_value")
      ? argument(args, 0, "default_value")
      : Text.empty;
  return value === undefined || (useFalse && !truthy(value)) ? fallback : value;
}

const filters = new Map<string, Filter>([
  [
    "abs",
    (value) => (value instanceof Float ? new Float(Math.abs(value.value)) : Math.abs(numeric(value) ?? 0)),
  ],
  ["capitalize", onText("capitalize", capitalize)],
  [
    "count",
    (value, _args, budget) => {
      budget.spendText(value instanceof Text ? value.length : 0);
      return length(value);
    },
  ],
  ["default", defaultFilter],
  ["d", defaultFilter],
  ["dictsort", dictsort],
  ["first", (value, _args, budget) => elements(value instanceof Text ? value.slice(0, 2) : value, budget)[0]],
  ["float", (value, args) => toNumber(value, args, false)],
  ["indent", indent],
  ["int", (value, args) => toNumber(value, args, true)],
  [
    "items",
    (value, _args, budget) => {
      if (value === undefined) return [];
      if (!(value instanceof Map)) throw new TypeError(`the filter items has ${kind(value)}, want a dict`);
      return items(value, budget);
    },
  ],
  [
    "join",
    (value, args, budget) => {
      const path = argument(args, 1, "attribute");
      const all = elements(value, budget);
      const parts = path === undefined ? all : all.map((item) => attribute(item, path));
      return join(parts, print(argument(args, 0, "d") ?? Text.empty, budget), budget);
    },
  ],
  ["last", (value, _args, budget) => elements(value, budget).at(-1)],
  [
    "length",
    (value, _args, budget) => {
      budget.spendText(value instanceof Text ? value.length : 0);
      return length(value);
    },
  ],
  [
    "list",
    (value, _args, budget) => {
      const all = elements(value, budget);
      budget.makeItems(all.length);
      return [...all];
    },
  ],
  ["lower", onText("lower", (value) => value.toLowerCase())],
  ["map", mapFilter],
  ["max", extreme(1)],
  ["min", extreme(-1)],
  ["reject", choose(false, false)],
  ["rejectattr", choose(false, true)],
  ["replace", (value, args, budget) => replace(print(value, budget), args, budget)],
  [
    "reverse",
    (value, _args, budget) => {
      const all = [...elements(value, budget)].reverse();
      budget.makeItems(all.length);
      return value instanceof Text ? join(all, Text.empty, budget) : all;
    },
  ],
  [
    "round",
    (value, args) => {
      const scale = 10 ** (numeric(argument(args, 0, "precision")) ?? 0);
      return new Float(Math.round((numeric(value) ?? 0) * scale) / scale);
    },
  ],
  ["safe", (value) => value],
  ["select", choose(true, false)],
  ["selectattr", choose(true, true)],
  ["sort", sortFilter],
  ["string", (value, _args, budget) => print(value, budget)],
  [
    "sum",
    (value, _args, budget) => {
      const all = elements(value, budget);
      budget.spend(all.length);
      const total = all.reduce((sum: number, item) => sum + (numeric(item) ?? 0), 0);
      return all.some((item) => item instanceof Float) ? new Float(total) : total;
    },
  ],
  ["title", onText("title", titleCase)],
  ["tojson", tojson],
  [
    "trim",
    (value, args, budget) => {
      const set = args.positional[0];
      return strip(
        print(value, budget),
        set instanceof Text ? set.value.slice(0, 256) : undefined,
        true,
        true,
        budget,
      );
    },
  ],
  ["unique", unique],
  ["upper", onText("upper", (value) => value.toUpperCase())],
]);

const order =
  (accept: (sign: number) => boolean): Test =>
  (value, args, budget) =>
    accept(compare(value, args[0], budget));
const same: Test = (value, args, budget) => equal(value, args[0], budget);
const isString = (value: Value): boolean => value instanceof Text;

const tests = new Map<string, Test>([
  ["boolean", (value) => typeof value === "boolean"],
  ["callable", (value) => value instanceof Callable],
  ["defined", (value) => value !== undefined],
  ["divisibleby", (value, args) => (numeric(value) ?? Number.NaN) % (numeric(args[0]) ?? Number.NaN) === 0],
  ["eq", same],
  ["equalto", same],
  ["even", (value) => (numeric(value) ?? Number.NaN) % 2 === 0],
  ["false", (value) => value === false],
  ["float", (value) => value instanceof Float],
  ["ge", order((sign) => sign >= 0)],
  ["gt", order((sign) => sign > 0)],
  ["in", (value, args, budget) => contains(args[0], value, budget)],
  ["integer", (value) => typeof value === "number"],
  ["iterable", (value) => isString(value) || Array.isArray(value) || value instanceof Map],
  ["le", order((sign) => sign <= 0)],
  ["lower", (value) => value instanceof Text && value.value === value.value.toLowerCase()],
  ["lt", order((sign) => sign < 0)],
  ["mapping", (value) => value instanceof Map],
  ["ne", (value, args, budget) => !equal(value, args[0], budget)],
  ["none", (value) => value === null],
  ["number", (value) => typeof value === "number" || value instanceof Float],
  ["odd", (value) => Math.abs(numeric(value) ?? Number.NaN) % 2 === 1],
  ["sequence", (value) => isString(value) || Array.isArray(value) || value instanceof Map],
  ["string", isString],
  ["true", (value) => value === true],
  ["undefined", (value) => value === undefined],
  ["upper", (value) => value instanceof Text && value.value === value.value.toUpperCase()],
]);

/** `wanted in container`. */
export function contains(container: Value, wanted: Value, budget: Budget): boolean {
  if (container === undefined) return false;
  if (container instanceof Text) {
    if (!(wanted instanceof Text)) throw new TypeError(`it looks for ${kind(wanted)} in a string`);
    budget.search(container.length, wanted.length);
    return container.value.includes(wanted.value);
  }
  if (Array.isArray(container)) return container.some((item) => equal(item, wanted, budget));
  if (container instanceof Map) return container.has(asKey(wanted));
  if (container instanceof Namespace) return container.fields.has(String(asKey(wanted)));
  throw new TypeError(`it looks for something in ${kind(container)}`);
}

/** `object.name` or `object[key]`: fields first, then methods. */
export function member(object: Value, key: Value, computed: boolean, budget: Budget): Value {
  if (object === undefined) {
    const wanted = key instanceof Text ? key.value : String(key);
    throw new TypeError(`it takes ${JSON.stringify(wanted.slice(0, 80))} of something undefined`);
  }
  if (object instanceof Map) {
    const found = (object as Dict).get(asKey(key));
    if (found !== undefined || computed) return found;
  } else if (object instanceof Namespace) {
    return object.fields.get(String(asKey(key)));
  } else if (typeof key === "number" && (Array.isArray(object) || object instanceof Text)) {
    const at = key < 0 ? object.length + key : key;
    if (at < 0 || at >= object.length || at > MAX_ITEMS * 8) return undefined;
    return Array.isArray(object) ? object[at] : object.slice(at, at + 1);
  }
  return key instanceof Text ? methodOf(object, key.value, budget) : undefined;
}
