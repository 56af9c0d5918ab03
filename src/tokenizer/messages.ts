// Messages of a conversation out of a file of data.

import { isObject, type Json, jsonKind } from "../formats/json.ts";
import type { ChatMessage } from "./types.ts";

/**
 * `value`, checked to be a list of messages: objects with a role, and content that templates take (text, parts, or
 * none beside calls of tools). What else they hold is passed on.
 * @param field what an error calls the list
 * @param fail throws, with what was found and wanted
 */
export function readMessages(
  value: Json | undefined,
  field: string,
  fail: (message: string) => never,
): ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0)
    return fail(`"${field}" is ${jsonKind(value)}, wanted a list of at least one`);
  for (const message of value) {
    if (!isObject(message) || typeof message.role !== "string")
      return fail(`a message is ${jsonKind(message)}, wanted an object with a "role"`);
    const { content, tool_calls } = message;
    if (content !== undefined && content !== null && typeof content !== "string" && !Array.isArray(content))
      return fail(`"content" of a message is ${jsonKind(content)}, wanted text`);
    if (
      tool_calls !== undefined &&
      tool_calls !== null &&
      !(Array.isArray(tool_calls) && tool_calls.every(isObject))
    )
      return fail(`"tool_calls" of a message is ${jsonKind(tool_calls)}, wanted a list of objects`);
  }
  return value as unknown as ChatMessage[];
}
