// Task files: JSONL, a question and its right answer on each line. What is wrong is named by file and line.

import { isObject, type Json, jsonKind, parseJson } from "../formats/json.ts";
import { type JsonLine, lineName, parseJsonLines } from "../formats/jsonl.ts";
import { type ChatMessage, readMessages } from "../tokenizer/index.ts";
import { callAnswer } from "./calls.ts";

/** What an answer is measured by. */
export type Metric = "exact" | "label" | "slots" | "calls" | "json" | "choice";
export const METRICS: readonly Metric[] = ["exact", "label", "slots", "calls", "json", "choice"];

export interface TaskLine {
  /** From 1. */
  readonly line: number;
  /** One of the two: a conversation to be answered, or a text to be continued. */
  readonly messages?: readonly ChatMessage[];
  readonly prompt?: string;
  /** The right answer: text, or JSON for "slots" and "calls". */
  readonly completion?: Json;
  /** Answers to choose from. */
  readonly choices?: readonly string[];
  /** All labels there are. Default: the right answers of all lines. */
  readonly labels?: readonly string[];
  /** A JSON schema of the answer. */
  readonly schema?: Json;
  /** Functions, for templates that know tools. */
  readonly tools?: readonly Json[];
  /** Of "calls", instead of a completion: `[{ function: { argument: [values that would do] } }]`. */
  readonly ground_truth?: Json;
}

export interface Task {
  readonly name: string;
  readonly lines: readonly TaskLine[];
  readonly metric: Metric;
}

/**
 * Reads a task file's text. Without `metric`, the first line chooses it, by its field `metric` or those that it has:
 * `ground_truth`, `choices`, `labels`, `schema`, a JSON object as `completion` ("slots"), else "exact". Where `messages` end with the assistant's and there is no
 * `completion`, that message is the right answer.
 * @throws {SyntaxError | TypeError | RangeError} naming the file and the line
 */
export function parseTask(text: string, name: string, metric?: Metric): Task {
  const read = parseJsonLines(text, name);
  const lines = read.map((line) => parseLine(line, name));
  if (lines.length === 0)
    throw new RangeError(`Cannot read ${JSON.stringify(name)}: it has no lines, wanted JSONL`);
  const chosen = metric ?? statedMetric(read[0]!, name) ?? metricOf(lines[0]!);
  for (const line of lines) checkFor(chosen, line, name);
  return { name, lines, metric: chosen };
}

function statedMetric({ line, value }: JsonLine, name: string): Metric | undefined {
  const stated = Object.hasOwn(value, "metric") ? value.metric : undefined;
  if (stated === undefined || METRICS.includes(stated as Metric)) return stated as Metric | undefined;
  const found = JSON.stringify(stated).slice(0, 40);
  throw new TypeError(
    `Cannot read ${JSON.stringify(lineName(name, line))}: "metric" is ${found}, wanted one of ${METRICS.join(", ")}`,
  );
}

function parseLine({ line, value }: JsonLine, name: string): TaskLine {
  const where = lineName(name, line);
  const fail = (message: string): never => {
    throw new TypeError(`Cannot read ${JSON.stringify(where)}: ${message}`);
  };
  const field = (key: string) => (Object.hasOwn(value, key) ? value[key] : undefined);
  const { messages, completion } = messagesOf(field("messages"), field("completion"), fail);
  const prompt = field("prompt");
  if (prompt !== undefined && typeof prompt !== "string")
    return fail(`"prompt" is ${jsonKind(prompt)}, wanted text`);
  if ((messages === undefined) === (prompt === undefined))
    return fail(`found ${messages ? "both" : "neither"} "messages" and "prompt", wanted one of them`);
  const strings = (key: string): string[] | undefined => {
    const list = field(key);
    if (list === undefined) return undefined;
    if (!Array.isArray(list) || list.length < 2 || !list.every((x) => typeof x === "string" && x !== ""))
      return fail(`"${key}" is ${jsonKind(list)}, wanted a list of at least two texts`);
    return list as string[];
  };
  const [choices, labels, schema, tools, ground_truth] = [
    strings("choices"),
    strings("labels"),
    field("schema"),
    field("tools"),
    field("ground_truth"),
  ];
  if (schema !== undefined && !isObject(schema) && typeof schema !== "boolean")
    return fail(`"schema" is ${jsonKind(schema)}, wanted an object`);
  if (tools !== undefined && !Array.isArray(tools))
    return fail(`"tools" is ${jsonKind(tools)}, wanted a list`);
  return {
    line,
    ...(messages && { messages }),
    ...(prompt !== undefined && { prompt: prompt as string }),
    ...(completion !== undefined && { completion }),
    ...(choices && { choices }),
    ...(labels && { labels }),
    ...(schema !== undefined && { schema }),
    ...(tools && { tools }),
    ...(ground_truth !== undefined && { ground_truth }),
  };
}

function messagesOf(
  messages: Json | undefined,
  completion: Json | undefined,
  fail: (message: string) => never,
): { messages: ChatMessage[] | undefined; completion: Json | undefined } {
  if (messages === undefined) return { messages: undefined, completion };
  const read = readMessages(messages, "messages", fail);
  const last = read.at(-1)!;
  if (last.role !== "assistant") return { messages: read, completion };
  if (completion !== undefined)
    return fail(`the last message is the assistant's and there is a "completion", wanted one right answer`);
  if (read.length === 1) return fail("the assistant's message is the only one, wanted a question before it");
  return { messages: read.slice(0, -1), completion: last.content as Json | undefined };
}

function metricOf({ choices, labels, schema, completion, ground_truth }: TaskLine): Metric {
  if (ground_truth !== undefined) return "calls";
  if (choices) return "choice";
  if (labels) return "label";
  if (schema !== undefined) return "json";
  return slotsOf(completion) === undefined ? "exact" : "slots";
}

/** JSON of a right answer, itself or as text. */
export function jsonOf(completion: Json | undefined): Json | undefined {
  if (typeof completion !== "string") return completion;
  try {
    return parseJson(completion, "completion");
  } catch {
    return undefined;
  }
}

/** JSON of a right answer for "slots": an object or a list of objects, itself or as text. */
export function slotsOf(completion: Json | undefined): Json | undefined {
  const value = jsonOf(completion);
  const good = isObject(value) || (Array.isArray(value) && value.length > 0 && value.every(isObject));
  return good ? value : undefined;
}

/** A line has what its metric needs. */
function checkFor(metric: Metric, line: TaskLine, name: string): void {
  const fail = (message: string): never => {
    throw new TypeError(
      `Cannot measure ${metric} of ${JSON.stringify(`${name}, line ${line.line}`)}: ${message}`,
    );
  };
  const { completion, choices, schema, labels, ground_truth } = line;
  if (metric === "calls" && ground_truth !== undefined) {
    const good = (call: Json) =>
      isObject(call) && Object.values(call).length === 1 && Object.values(call).every(isObject);
    if (!Array.isArray(ground_truth) || !ground_truth.every(good))
      fail(
        `"ground_truth" is ${jsonKind(ground_truth)}, wanted a list of { function: { argument: [values] } }`,
      );
    return;
  }
  if (completion === undefined && !(metric === "json"))
    fail(`"completion" is missing, wanted the right answer`);
  if ((metric === "exact" || metric === "label") && typeof completion !== "string")
    fail(`"completion" is ${jsonKind(completion)}, wanted text`);
  if (metric === "label" && labels && !labels.includes(completion as string))
    fail(`"completion" is ${JSON.stringify(completion)}, wanted one of the ${labels.length} labels`);
  if (metric === "calls" && callAnswer(jsonOf(completion)).kind === "none")
    fail(`"completion" is ${jsonKind(completion)}, wanted calls, a question or []`);
  if (metric === "slots" && slotsOf(completion) === undefined)
    fail(`"completion" is ${jsonKind(completion)}, wanted a JSON object or a list of them`);
  if (metric === "choice") {
    if (!choices) fail(`"choices" is missing, wanted a list of answers`);
    if (rightChoice(line) < 0)
      fail(`"completion" is ${JSON.stringify(completion)}, wanted one of the choices, or its number from 0`);
  }
  if (
    metric === "json" &&
    schema === undefined &&
    completion !== undefined &&
    slotsOf(completion) === undefined
  )
    fail(`"completion" is ${jsonKind(completion)}, wanted JSON or a "schema"`);
}

/** Number of the right choice, or -1. */
export function rightChoice({ choices = [], completion }: TaskLine): number {
  if (typeof completion === "string") return choices.indexOf(completion);
  return Number.isInteger(completion) && choices[completion as number] !== undefined
    ? (completion as number)
    : -1;
}
