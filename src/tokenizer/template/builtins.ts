// The functions and constants that every template starts with.

import { type Budget, MAX_ITEMS } from "./budget.ts";
import { elements } from "./filters.ts";
import { items } from "./methods.ts";
import { Text } from "./text.ts";
import { type Arguments, asKey, Callable, kind, Namespace, print, type Value } from "./values.ts";

/** A template's own refusal of its messages, on its way out. */
export class Refusal {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

/** The functions that every template may call. */
export function builtins(budget: Budget, now: Date): Map<string, Value> {
  const define = (name: string, call: (args: Arguments) => Value): [string, Value] => [
    name,
    new Callable(name, call),
  ];
  return new Map<string, Value>([
    ["true", true],
    ["false", false],
    ["none", null],
    ["True", true],
    ["False", false],
    ["None", null],
    define("range", ({ positional }) => range(positional, budget)),
    define("namespace", (args) => new Namespace(fieldsOf(args, budget))),
    define("dict", (args) => new Map(fieldsOf(args, budget))),
    define("raise_exception", ({ positional }) => {
      throw new Refusal(print(positional[0], budget).value.slice(0, 1000));
    }),
    define("strftime_now", ({ positional }) => {
      const format = print(positional[0], budget).value;
      if (format.length > 256) throw new RangeError("strftime_now has a format of more than 256 characters");
      return Text.plain(strftime(now, format));
    }),
  ]);
}

function fieldsOf({ positional, named }: Arguments, budget: Budget): Map<string, Value> {
  const fields = new Map<string, Value>();
  const [first] = positional;
  const pairs =
    first instanceof Map ? items(first, budget) : first === undefined ? [] : elements(first, budget);
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw new TypeError(`it makes a dict of ${kind(pair)}, want pairs`);
    fields.set(String(asKey(pair[0])), pair[1]);
  }
  for (const [key, value] of named) fields.set(key, value);
  return fields;
}

function range(args: readonly Value[], budget: Budget): Value[] {
  const numbers = args.map((arg) => {
    if (typeof arg === "number") return arg;
    throw new TypeError(`range() has ${kind(arg)}, want whole numbers`);
  });
  const [start, stop, step] =
    numbers.length === 1 ? [0, numbers[0]!, 1] : [numbers[0] ?? 0, numbers[1] ?? 0, numbers[2] ?? 1];
  if (step === 0) throw new RangeError("range() has step 0");
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_ITEMS))
    throw new RangeError(`range() has ${length} numbers, want at most ${MAX_ITEMS}`);
  budget.makeItems(length);
  return Array.from({ length }, (_, i) => start + i * step);
}

const MONTHS = "January February March April May June July August September October November December".split(
  " ",
);
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** The directives of Python's strftime that templates use, in English and local time. */
function strftime(date: Date, format: string): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const directives: Record<string, () => string> = {
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    m: () => two(date.getMonth() + 1),
    B: () => MONTHS[date.getMonth()]!,
    b: () => MONTHS[date.getMonth()]!.slice(0, 3),
    d: () => two(date.getDate()),
    A: () => DAYS[date.getDay()]!,
    a: () => DAYS[date.getDay()]!.slice(0, 3),
    H: () => two(date.getHours()),
    I: () => two(date.getHours() % 12 || 12),
    p: () => (date.getHours() < 12 ? "AM" : "PM"),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    "%": () => "%",
  };
  return format.replace(/%(-?)([A-Za-z%])/g, (all, dash: string, letter: string) => {
    const text = Object.hasOwn(directives, letter) ? directives[letter]!() : all;
    return dash ? text.replace(/^0(?=.)/, "") : text;
  });
}
