// Single answers beside the right one: text, labels, and name-value pairs of JSON. No model and no averages here.

import { isObject, type Json, parseJson } from "../formats/json.ts";

/** What counts as the same text: case and the amount of white space do not matter (NFC, lower case, single spaces, trimmed). */
export function normalize(text: string): string {
  return text.normalize("NFC").toLowerCase().replace(/\s+/g, " ").trim();
}

/** A label out of an answer: its first line that is not empty, normalized, without quotes and full stops at its ends. */
export function labelOf(answer: string): string {
  const line = answer.split("\n").find((part) => part.trim() !== "") ?? "";
  const bare = normalize(line).replace(/^["'`*]+|["'`*.,;:!]+$/g, "");
  return normalize(bare);
}

/** The value of an answer that is JSON and nothing else but white space. */
export function wholeJson(answer: string): Json | undefined {
  try {
    return parseJson(answer, "answer");
  } catch {
    return undefined;
  }
}

/**
 * The first JSON object or list in an answer, whatever stands around it; or all of several objects on end, as a list.
 * Searched from at most `MAX_STARTS` brackets.
 */
export function findJson(answer: string): Json | undefined {
  const whole = wholeJson(answer);
  if (whole !== undefined) return whole;
  const found: Json[] = [];
  let starts = 0;
  for (let at = answer.search(/[{[]/); at >= 0 && starts < MAX_STARTS; starts++) {
    const end = closing(answer, at);
    const value = end < 0 ? undefined : wholeJson(answer.slice(at, end));
    if (value !== undefined) {
      if (Array.isArray(value) && found.length === 0) return value;
      found.push(value);
    }
    const from = value === undefined ? at + 1 : end;
    const next = answer.slice(from).search(/[{[]/);
    at = next < 0 ? -1 : from + next;
  }
  return found.length > 1 ? found : found[0];
}
const MAX_STARTS = 64;

/** Position after the bracket that closes the one at `start`, strings skipped; -1 when none does. */
function closing(text: string, start: number): number {
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    const c = text[i];
    if (c === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === "\\") i++;
    } else if (c === "{" || c === "[") depth++;
    else if ((c === "}" || c === "]") && --depth === 0) return i + 1;
  }
  return -1;
}

/** A function call, or plain slots, which have no name. Pairs: "name=value", normalized, with how often each occurs. */
export interface Call {
  readonly name: string | undefined;
  readonly pairs: ReadonlyMap<string, number>;
}

/**
 * Calls of JSON: one object or a list. A call is `{"name", "arguments"}` (or `parameters`; also inside `function`, and
 * arguments as JSON text, as OpenAI writes them); any other object is slots. Undefined: it is neither.
 * @param calls an object with a name is a call even without arguments
 */
export function callsOf(value: Json | undefined, calls = false): Call[] | undefined {
  const list = Array.isArray(value) ? value : [value];
  const found: Call[] = [];
  for (const item of list) {
    if (!isObject(item)) return undefined;
    found.push(callOf(item, calls));
  }
  return found;
}

function callOf(value: { [key: string]: Json }, calls: boolean): Call {
  const own = (object: { [key: string]: Json }, key: string) =>
    Object.hasOwn(object, key) ? object[key] : undefined;
  const inner = own(value, "function");
  const object = isObject(inner) ? inner : value;
  const name = own(object, "name");
  const given = own(object, "arguments") ?? own(object, "parameters");
  const pairs = new Map<string, number>();
  if (typeof name !== "string" || (given === undefined && !calls && object === value)) {
    addPairs(pairs, "", value);
    return { name: undefined, pairs };
  }
  const args = typeof given === "string" ? (wholeJson(given) ?? given) : given;
  if (args !== undefined) addPairs(pairs, "", args);
  return { name, pairs };
}

/** Nested names are joined by dots, elements of a list are pairs of the same name; null and empty text are no value. */
function addPairs(pairs: Map<string, number>, name: string, value: Json): void {
  if (Array.isArray(value)) for (const item of value) addPairs(pairs, name, item);
  else if (isObject(value))
    for (const [key, item] of Object.entries(value))
      addPairs(pairs, name === "" ? key : `${name}.${key}`, item);
  else {
    const text = value === null ? "" : normalize(String(value));
    if (text === "") return;
    const pair = `${normalize(name)}=${text}`;
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
  }
}

export interface SlotScore {
  /** The same functions, as often; undefined where the right answer calls none. */
  readonly function: boolean | undefined;
  /** Functions and all pairs right, and no others. */
  readonly whole: boolean;
  /** Pairs in both, in the answer, and in the right answer; whichever function they belong to. */
  readonly common: number;
  readonly found: number;
  readonly wanted: number;
}

/** An answer's JSON (undefined: it has none) beside the right one. */
export function compareSlots(right: Json, answer: Json | undefined): SlotScore {
  const gold = callsOf(right) ?? [];
  const isCall = gold.some(({ name }) => name !== undefined);
  const found = callsOf(answer, isCall);
  const [a, b] = [pool(gold), pool(found ?? [])];
  let common = 0;
  for (const [pair, times] of b) common += Math.min(times, a.get(pair) ?? 0);
  const names = (calls: readonly Call[]) =>
    calls
      .map(({ name }) => `${name}`)
      .sort()
      .join("\n");
  const forms = (calls: readonly Call[]) =>
    calls
      .map(({ name, pairs }) => JSON.stringify([name ?? null, ...[...pairs].map(String).sort()]))
      .sort()
      .join("\n");
  return {
    function: isCall ? found !== undefined && names(gold) === names(found) : undefined,
    whole: found !== undefined && forms(gold) === forms(found),
    common,
    found: size(b),
    wanted: size(a),
  };
}

function pool(calls: readonly Call[]): Map<string, number> {
  const all = new Map<string, number>();
  for (const { pairs } of calls) for (const [pair, n] of pairs) all.set(pair, (all.get(pair) ?? 0) + n);
  return all;
}

const size = (pairs: ReadonlyMap<string, number>) => [...pairs.values()].reduce((a, b) => a + b, 0);
