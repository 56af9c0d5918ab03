// Tools and examples of the user's own: read, checked against each other, and a share of the examples held out.

import { callAnswer } from "../evaluate/calls.ts";
import { parseTask } from "../evaluate/index.ts";
import { readText } from "../evaluate/read-text.ts";
import { matchesSchema } from "../evaluate/schema.ts";
import { jsonOf } from "../evaluate/task-file.ts";
import { type Json, parseJson } from "../formats/json.ts";
import { readTools, type Tool, type ToolCall } from "../tools/index.ts";
import type { Chance, Example } from "./invent.ts";

/** Fewer examples teach nothing that could be measured. */
const LEAST = 8;
/** One in so many is held out. */
const HELD = 4;

/** @param given a JSON file, or the list @throws {TypeError} naming the tool */
export async function ownTools(given: string | readonly unknown[]): Promise<Tool[]> {
  if (typeof given !== "string") return readTools(given);
  return readTools(parseJson(await readText(given), given));
}

/**
 * Examples, and those that are held out of them.
 * @throws {TypeError | RangeError} naming the line whose calls do not fit the tools; when there are too few
 */
export async function ownExamples(
  path: string,
  tools: readonly Tool[],
  chance: Chance,
): Promise<{ readonly examples: Example[]; readonly held: Example[] }> {
  const { lines } = parseTask(await readText(path), path, "calls");
  const all = lines.map(({ line, prompt, messages, completion }): Example => {
    const fail = (message: string): never => {
      throw new TypeError(`Cannot use ${JSON.stringify(`${path}, line ${line}`)}: ${message}`);
    };
    const said = prompt ?? messages!.filter(({ role }) => role !== "system").at(-1)?.content;
    if (typeof said !== "string" || said.trim() === "")
      return fail("found no sentence, wanted one as prompt");
    return { text: said, answer: callsOf(jsonOf(completion), tools, fail) };
  });
  const different = all.filter(({ text }, i) => all.findIndex((other) => other.text === text) === i);
  if (different.length < LEAST)
    throw new RangeError(
      `Cannot learn from ${JSON.stringify(path)}: it has ${different.length} different examples, wanted ${LEAST} or more, of which one in ${HELD} is held out`,
    );
  const shuffled = chance.shuffle(different);
  const held = Math.max(2, Math.round(shuffled.length / HELD));
  return { examples: shuffled.slice(held), held: shuffled.slice(0, held) };
}

/** Calls that the tools allow, their arguments in the order of the schema. */
function callsOf(
  right: Json | undefined,
  tools: readonly Tool[],
  fail: (message: string) => never,
): ToolCall[] {
  const answer = callAnswer(right);
  if (answer.kind === "refusal") return [];
  if (answer.kind !== "calls") return fail(`found ${answer.kind}, wanted calls or []`);
  return answer.calls.map((call) => {
    const tool = tools.find(({ name }) => name === call.name);
    if (!tool)
      return fail(
        `it calls ${JSON.stringify(call.name)}, wanted one of ${tools.map(({ name }) => name).join(", ")}`,
      );
    const given = (call.arguments ?? {}) as { readonly [name: string]: Json };
    const { properties, required } = tool.parameters;
    const unknown = Object.keys(given).find((name) => !Object.hasOwn(properties, name));
    if (unknown !== undefined)
      return fail(`it gives ${tool.name} the argument ${JSON.stringify(unknown)}, which it does not have`);
    const missing = required.find((name) => !Object.hasOwn(given, name));
    if (missing !== undefined) return fail(`it lacks ${JSON.stringify(missing)} of ${tool.name}`);
    const wrong = Object.keys(given).find((name) => !matchesSchema(given[name]!, properties[name] as Json));
    if (wrong !== undefined)
      return fail(
        `${JSON.stringify(given[wrong])} is not what ${tool.name} wants as ${JSON.stringify(wrong)}: ${JSON.stringify(properties[wrong])}`,
      );
    const names = Object.keys(properties).filter((name) => Object.hasOwn(given, name));
    return { name: tool.name, arguments: Object.fromEntries(names.map((name) => [name, given[name]])) };
  });
}
