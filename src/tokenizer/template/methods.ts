// Methods of strings, dicts and lists that templates call, with Python's meaning.

import type { Budget } from "./budget.ts";
import { Text } from "./text.ts";
import {
  type Arguments,
  asKey,
  Callable,
  type Dict,
  equal,
  fromKey,
  kind,
  print,
  type Value,
} from "./values.ts";

/** The method of that name, bound to `value`, or undefined when there is none. */
export function methodOf(value: Value, name: string, budget: Budget): Callable | undefined {
  const table =
    value instanceof Text ? strings : value instanceof Map ? dicts : Array.isArray(value) ? lists : undefined;
  const method = table?.get(name);
  return method && new Callable(name, (args) => (method as Method<Value>)(value, args, budget));
}

type Method<T> = (self: T, args: Arguments, budget: Budget) => Value;

/** Argument `i`, or the one named. */
export function argument(args: Arguments, i: number, name: string): Value {
  return args.positional[i] ?? args.named.get(name);
}

export function textArgument(args: Arguments, i: number, name: string, of: string): Text {
  const value = argument(args, i, name);
  if (value instanceof Text) return value;
  throw new TypeError(`${of}() has ${kind(value)} as ${name}, want a string`);
}

const WHITE = /\s/;

/** Without characters of `set` (white space when undefined) at the chosen ends. */
export function strip(
  self: Text,
  set: string | undefined,
  left: boolean,
  right: boolean,
  budget: Budget,
): Text {
  const { value } = self;
  budget.spendText(value.length);
  const drop = (c: string): boolean => (set === undefined ? WHITE.test(c) : set.includes(c));
  let start = 0;
  let end = value.length;
  while (left && start < end && drop(value[start]!)) start++;
  while (right && end > start && drop(value[end - 1]!)) end--;
  budget.spend((start + value.length - end) / 16);
  return self.slice(start, end);
}

function stripper(name: string, left: boolean, right: boolean): Method<Text> {
  return (self, args, budget) => {
    const set = args.positional[0] ?? undefined;
    if (set !== undefined && set !== null && !(set instanceof Text)) {
      throw new TypeError(`${name}() has ${kind(set)} as characters, want a string`);
    }
    if (set instanceof Text && set.length > 256)
      throw new RangeError(`${name}() has more than 256 characters to strip`);
    return strip(self, set instanceof Text ? set.value : undefined, left, right, budget);
  };
}

/** Places of `wanted` in `self`, at most `limit`. */
function places(self: Text, wanted: string, limit: number, budget: Budget): number[] {
  budget.search(self.length, wanted.length);
  const found: number[] = [];
  for (let at = self.value.indexOf(wanted); at >= 0 && found.length < limit; ) {
    budget.spend(1);
    found.push(at);
    at = self.value.indexOf(wanted, at + wanted.length);
  }
  return found;
}

function limit(value: Value): number {
  return typeof value === "number" && value >= 0 ? value : Number.POSITIVE_INFINITY;
}

function split(self: Text, args: Arguments, budget: Budget): Value {
  const separator = argument(args, 0, "sep") ?? null;
  const most = limit(argument(args, 1, "maxsplit"));
  const parts: Value[] = [];
  if (separator === null) {
    budget.spendText(self.length);
    const words = strip(self, undefined, true, false, budget);
    for (const match of words.value.matchAll(/\S+/g)) {
      budget.spend(1);
      const last = parts.length >= most;
      parts.push(words.slice(match.index, last ? words.length : match.index + match[0].length));
      if (last) break;
    }
    return parts;
  }
  if (!(separator instanceof Text) || separator.length === 0) {
    throw new TypeError(`split() has ${kind(separator)} as separator, want a string that is not empty`);
  }
  let start = 0;
  for (const at of places(self, separator.value, most, budget)) {
    parts.push(self.slice(start, at));
    start = at + separator.length;
  }
  budget.spend(parts.length * self.ranges);
  parts.push(self.slice(start, self.length));
  return parts;
}

function rsplit(self: Text, args: Arguments, budget: Budget): Value {
  const separator = textArgument(args, 0, "sep", "rsplit");
  if (separator.length === 0) throw new TypeError("rsplit() has an empty separator");
  const all = places(self, separator.value, Number.POSITIVE_INFINITY, budget);
  const kept = all.slice(Math.max(0, all.length - limit(argument(args, 1, "maxsplit"))));
  const parts: Value[] = [];
  let start = 0;
  for (const at of kept) {
    parts.push(self.slice(start, at));
    start = at + separator.length;
  }
  budget.spend(parts.length * self.ranges);
  parts.push(self.slice(start, self.length));
  return parts;
}

export function replace(self: Text, args: Arguments, budget: Budget): Value {
  const before = textArgument(args, 0, "old", "replace");
  const after = textArgument(args, 1, "new", "replace");
  const most = limit(argument(args, 2, "count"));
  if (before.length === 0) throw new RangeError("replace() has an empty string to replace");
  const found = places(self, before.value, most, budget);
  budget.makeText(self.length + found.length * (after.length - before.length));
  budget.spend(found.length * (1 + self.ranges + after.ranges));
  const parts: Text[] = [];
  let start = 0;
  for (const at of found) {
    parts.push(self.slice(start, at), after);
    start = at + before.length;
  }
  parts.push(self.slice(start, self.length));
  return Text.concat(parts);
}

/** `join` of a separator with the texts of a list. */
export function join(items: readonly Value[], separator: Text, budget: Budget): Text {
  const parts: Text[] = [];
  let length = 0;
  for (const item of items) {
    const text = print(item, budget);
    if (parts.length > 0) parts.push(separator);
    parts.push(text);
    length += text.length + separator.length;
    budget.spend(1 + text.ranges + separator.ranges);
  }
  budget.makeText(length);
  return parts.length === 0 ? Text.empty : Text.concat(parts);
}

function starts(
  self: Text,
  args: Arguments,
  name: string,
  test: (value: string, part: string) => boolean,
): Value {
  const wanted = args.positional[0];
  const all = Array.isArray(wanted) ? wanted : [wanted];
  return all.some((part) => {
    if (!(part instanceof Text)) throw new TypeError(`${name}() has ${kind(part)}, want a string`);
    return test(self.value, part.value);
  });
}

function cased(change: (value: string) => string): Method<Text> {
  return (self, _args, budget) => {
    budget.makeText(self.length);
    return self.withValue(change(self.value));
  };
}

export const titleCase = (value: string): string =>
  value.replace(/\p{L}+/gu, (word) => word[0]!.toUpperCase() + word.slice(1).toLowerCase());
export const capitalize = (value: string): string =>
  value.slice(0, 1).toUpperCase() + value.slice(1).toLowerCase();

function matches(pattern: RegExp): Method<Text> {
  return (self, _args, budget) => {
    budget.spendText(self.length);
    return pattern.test(self.value);
  };
}

const strings = new Map<string, Method<Text>>([
  ["strip", stripper("strip", true, true)],
  ["lstrip", stripper("lstrip", true, false)],
  ["rstrip", stripper("rstrip", false, true)],
  ["split", split],
  ["rsplit", rsplit],
  ["replace", replace],
  ["startswith", (self, args) => starts(self, args, "startswith", (value, part) => value.startsWith(part))],
  ["endswith", (self, args) => starts(self, args, "endswith", (value, part) => value.endsWith(part))],
  ["upper", cased((value) => value.toUpperCase())],
  ["lower", cased((value) => value.toLowerCase())],
  ["title", cased(titleCase)],
  ["capitalize", cased(capitalize)],
  [
    "join",
    (self, args, budget) => {
      const items = args.positional[0];
      if (!Array.isArray(items)) throw new TypeError(`join() has ${kind(items)}, want a list`);
      return join(items, self, budget);
    },
  ],
  [
    "find",
    (self, args, budget) => {
      const wanted = textArgument(args, 0, "sub", "find").value;
      budget.search(self.length, wanted.length);
      return self.value.indexOf(wanted);
    },
  ],
  [
    "count",
    (self, args, budget) => {
      const wanted = textArgument(args, 0, "sub", "count").value;
      if (wanted === "") return self.length + 1;
      return places(self, wanted, Number.POSITIVE_INFINITY, budget).length;
    },
  ],
  [
    "splitlines",
    (self, _args, budget) => {
      const lines: Value[] = [];
      let start = 0;
      for (const at of places(self, "\n", Number.POSITIVE_INFINITY, budget)) {
        lines.push(self.slice(start, self.value[at - 1] === "\r" ? at - 1 : at));
        start = at + 1;
      }
      if (start < self.length) lines.push(self.slice(start, self.length));
      return lines;
    },
  ],
  ["isdigit", matches(/^\p{Nd}+$/u)],
  ["isalpha", matches(/^\p{L}+$/u)],
  ["isalnum", matches(/^[\p{L}\p{N}]+$/u)],
  ["isspace", matches(/^\s+$/u)],
]);

const dicts = new Map<string, Method<Dict>>([
  [
    "get",
    (self, args) => {
      const key = asKey(args.positional[0]);
      return self.has(key) ? self.get(key) : (argument(args, 1, "default") ?? null);
    },
  ],
  ["items", (self, _args, budget) => items(self, budget)],
  [
    "keys",
    (self, _args, budget) => {
      budget.makeItems(self.size);
      return [...self.keys()].map(fromKey);
    },
  ],
  [
    "values",
    (self, _args, budget) => {
      budget.makeItems(self.size);
      return [...self.values()];
    },
  ],
  [
    "copy",
    (self, _args, budget) => {
      budget.makeItems(self.size);
      return new Map(self);
    },
  ],
  [
    "update",
    (self, args, budget) => {
      const other = args.positional[0];
      if (other instanceof Map) for (const [key, value] of other) self.set(key, value);
      for (const [key, value] of args.named) self.set(key, value);
      budget.makeItems(self.size);
      return null;
    },
  ],
  [
    "pop",
    (self, args) => {
      const key = asKey(args.positional[0]);
      const found = self.has(key) ? self.get(key) : (args.positional[1] ?? null);
      self.delete(key);
      return found;
    },
  ],
]);

const lists = new Map<string, Method<Value[]>>([
  [
    "append",
    (self, args, budget) => {
      if (self.length % 1024 === 0) budget.makeItems(self.length);
      self.push(args.positional[0]);
      return null;
    },
  ],
  [
    "extend",
    (self, args, budget) => {
      const more = args.positional[0];
      if (!Array.isArray(more)) throw new TypeError(`extend() has ${kind(more)}, want a list`);
      budget.makeItems(self.length + more.length);
      for (const item of [...more]) self.push(item);
      return null;
    },
  ],
  [
    "pop",
    (self, args, budget) => {
      const at = args.positional[0];
      if (at === undefined || at === -1) return self.pop();
      if (typeof at !== "number") throw new TypeError(`pop() has ${kind(at)} as index, want a number`);
      budget.spend(self.length);
      return self.splice(at, 1)[0];
    },
  ],
  ["index", (self, args, budget) => self.findIndex((item) => equal(item, args.positional[0], budget))],
  ["count", (self, args, budget) => self.filter((item) => equal(item, args.positional[0], budget)).length],
]);

/** `[key, value]` pairs of a dict. */
export function items(dict: Dict, budget: Budget): Value[] {
  budget.makeItems(2 * dict.size);
  return Array.from(dict, ([key, value]) => [fromKey(key), value]);
}
