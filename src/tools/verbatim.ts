// Which arguments of calls must stand in what was said, character for character.

import type { Verbatim } from "../generate/index.ts";
import type { ChatMessage } from "../tokenizer/index.ts";
import type { Tool } from "./schema.ts";

/** `true`: every text that its schema leaves free; or the names of arguments. */
export type VerbatimArguments = true | readonly string[];

/**
 * Holds texts of arguments to what the user said. Texts that their schema bounds (`enum`, `const`, `format`, `pattern`) or does
 * not state in place (`$ref`, `anyOf` and the like) are left alone, as are numbers.
 * @param tools undefined: whatever functions there are
 * @throws {RangeError} when a name is that of no argument
 */
export function verbatimArguments(
  tools: readonly Tool[] | undefined,
  names: VerbatimArguments,
  messages: readonly ChatMessage[],
): Verbatim {
  const known = new Set(tools?.flatMap(({ parameters }) => Object.keys(parameters.properties)));
  const unknown = names === true || !tools ? undefined : names.find((name) => !known.has(name));
  if (unknown !== undefined)
    throw new RangeError(
      `Cannot call tools verbatim: none has an argument ${JSON.stringify(unknown)}, wanted some of ${[...known].join(", ")}`,
    );
  const said = messages.filter(({ role, content }) => role === "user" && typeof content === "string");
  return {
    text: said.map(({ content }) => content).join("\n"),
    at([call, part, argument, ...rest], valueAt) {
      if (typeof call !== "number" || part !== "arguments" || typeof argument !== "string") return false;
      if (names !== true && !names.includes(argument)) return false;
      const tool = tools?.find(({ name }) => name === valueAt([call, "name"]));
      return tool === undefined || isFree(tool.parameters.properties[argument], rest);
    },
  };
}

const BOUND = ["enum", "const", "format", "pattern", "$ref", "anyOf", "oneOf", "allOf"];

/** Whether a schema leaves the string at a path within its value free. */
function isFree(schema: unknown, path: readonly (string | number)[]): boolean {
  if (typeof schema !== "object" || schema === null) return schema !== false;
  const fields = schema as { readonly [keyword: string]: unknown };
  if (BOUND.some((keyword) => Object.hasOwn(fields, keyword))) return false;
  const [step, ...rest] = path;
  if (step === undefined) return true;
  if (typeof step === "number") return isFree(fields.items, rest);
  const { properties } = fields;
  const named = typeof properties === "object" && properties !== null && Object.hasOwn(properties, step);
  return isFree(named ? (properties as typeof fields)[step] : fields.additionalProperties, rest);
}
