// What a line of data holds: a conversation, a prompt with its completion, a text, or two answers of which one is
// preferred. Knows no tokens.

import type { Json } from "../../formats/json.ts";
import { isObject, jsonKind } from "../../formats/json.ts";
import { type ChatMessage, readMessages } from "../../tokenizer/index.ts";

/** Names of the fields, where they are not those of the kinds themselves. */
export interface Columns {
  readonly prompt?: string;
  readonly completion?: string;
  readonly text?: string;
}

/** What a conversation is rendered with, beside its messages. */
export interface ChatExtras {
  readonly tools?: readonly Json[];
  /** Settings of the chat template (`enable_thinking`). */
  readonly settings?: { readonly [name: string]: Json };
}

export type SampleRecord =
  /** All turns of the assistant's from message `from` on are learned. */
  | ({ readonly kind: "chat"; readonly messages: readonly ChatMessage[]; readonly from: number } & ChatExtras)
  | { readonly kind: "completion"; readonly prompt: string; readonly completion: string }
  | { readonly kind: "text"; readonly text: string };

export interface PairRecord {
  readonly chosen: SampleRecord;
  readonly rejected: SampleRecord;
}

type Fields = { readonly [key: string]: Json };
type Fail = (message: string) => never;

const get = (value: Fields, key: string): Json | undefined =>
  Object.hasOwn(value, key) ? value[key] : undefined;

/**
 * A sample: `messages`; else `prompt` with `completion`; else `text`. Other fields are passed over.
 * @param chat whether prompts and completions of text are turns of a conversation
 * @param fail throws, with what was found and wanted
 */
export function sampleRecord(value: Fields, columns: Columns, chat: boolean, fail: Fail): SampleRecord {
  const [promptKey, completionKey, textKey] = [
    columns.prompt ?? "prompt",
    columns.completion ?? "completion",
    columns.text ?? "text",
  ];
  const [messages, prompt, completion, text] = ["messages", promptKey, completionKey, textKey].map((key) =>
    get(value, key),
  );
  if (columns.text !== undefined || (messages ?? prompt ?? completion) === undefined) {
    if (typeof text === "string")
      return text === "" ? fail(`"${textKey}" is empty, wanted text`) : { kind: "text", text };
    if (text !== undefined) return fail(`"${textKey}" is ${jsonKind(text)}, wanted text`);
    const keys = Object.keys(value)
      .slice(0, 8)
      .map((key) => JSON.stringify(key.slice(0, 40)));
    const pair = Object.hasOwn(value, "chosen")
      ? " (pairs of a chosen and a rejected answer are for dpo)"
      : "";
    const wanted = columns.text ?? `"messages", "${promptKey}" with "${completionKey}", or "${textKey}"`;
    return fail(`found the fields ${keys.join(", ") || "of nothing"}, wanted ${wanted}${pair}`);
  }
  if (messages !== undefined && columns.prompt === undefined && columns.completion === undefined) {
    const read = readMessages(messages, "messages", fail);
    return conversation(read, 0, value, fail);
  }
  return answer(value, prompt, completion, [promptKey, completionKey], chat, fail);
}

/** A pair: `prompt`, `chosen` and `rejected`, as texts or lists of messages; without `prompt` the two begin alike. */
export function pairRecord(value: Fields, columns: Columns, chat: boolean, fail: Fail): PairRecord {
  const promptKey = columns.prompt ?? "prompt";
  const prompt = get(value, promptKey);
  const answers = (["chosen", "rejected"] as const).map((key) => {
    const found = get(value, key);
    if (found === undefined)
      return fail(`"${key}" is missing, wanted "${promptKey}", "chosen" and "rejected"`);
    if (prompt !== undefined) return answer(value, prompt, found, [promptKey, key], chat, fail);
    const messages = readMessages(found, key, fail);
    if (messages.at(-1)!.role !== "assistant")
      return fail(`"${key}" does not end with the assistant's answer`);
    return conversation(messages, messages.length - 1, value, fail);
  });
  const [chosen, rejected] = answers as [SampleRecord, SampleRecord];
  if (chosen.kind === "chat" && rejected.kind === "chat") {
    const [a, b] = [chosen, rejected].map(({ messages, from }) => JSON.stringify(messages.slice(0, from)));
    if (a !== b) return fail(`"chosen" and "rejected" do not answer to the same messages, wanted one prompt`);
  }
  if (JSON.stringify(chosen) === JSON.stringify(rejected))
    return fail(`"chosen" and "rejected" are the same, wanted two answers`);
  return { chosen, rejected };
}

function answer(
  value: Fields,
  prompt: Json | undefined,
  completion: Json | undefined,
  [promptKey, completionKey]: readonly [string, string],
  chat: boolean,
  fail: Fail,
): SampleRecord {
  const part = (found: Json | undefined, key: string, role: string): ChatMessage[] | string => {
    if (Array.isArray(found)) return readMessages(found, key, fail);
    if (isObject(found)) return readMessages([found], key, fail);
    if (typeof found !== "string")
      return fail(`"${key}" is ${jsonKind(found)}, wanted text or a list of messages`);
    return chat ? [{ role, content: found }] : found;
  };
  const before = part(prompt, promptKey, "user");
  const after = part(completion, completionKey, "assistant");
  if (completion === "") return fail(`"${completionKey}" is empty, wanted an answer`);
  if (typeof before === "string" && typeof after === "string")
    return { kind: "completion", prompt: before, completion: after };
  if (typeof before === "string" || typeof after === "string")
    return fail(
      `one of "${promptKey}" and "${completionKey}" is text and the other messages, wanted both alike`,
    );
  return conversation([...before, ...after], before.length, value, fail);
}

function conversation(
  messages: readonly ChatMessage[],
  from: number,
  value: Fields,
  fail: Fail,
): SampleRecord {
  if (!messages.slice(from).some(({ role }) => role === "assistant"))
    return fail(`no message is the assistant's, wanted one to learn`);
  // Some columns hold nothing: exported tables fill every row.
  const [tools, settings] = [
    get(value, "tools") ?? undefined,
    get(value, "chat_template_kwargs") ?? undefined,
  ];
  if (tools !== undefined && !Array.isArray(tools))
    return fail(`"tools" is ${jsonKind(tools)}, wanted a list`);
  if (settings !== undefined && !isObject(settings))
    return fail(`"chat_template_kwargs" is ${jsonKind(settings)}, wanted an object`);
  return { kind: "chat", messages, from, ...(tools?.length && { tools }), ...(settings && { settings }) };
}
