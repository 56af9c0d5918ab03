// Where the assistant's turns stand in a rendered conversation: what a model wrote, or would have to write, at its own
// generation prompt, up to the token that ends the turn. Knows no training.

import { type ChatTemplate, withTokens } from "./chat-template.ts";
import type { ChatInput, ChatMessage, ChatSegment, Tokenizer } from "./types.ts";

/** One turn of the assistant's, at the end of the conversation that leads to it. */
export interface AssistantTurn {
  /** Its place among the messages, from 0. */
  readonly message: number;
  /** The conversation as the model sees it when it has written this turn; nothing after it. */
  readonly segments: readonly ChatSegment[];
  /** Where in the segments' text the turn begins: behind the generation prompt. */
  readonly start: number;
  /** End token of the turn, where the template writes none: it belongs behind the segments. */
  readonly endId?: number;
}

/**
 * The turn of message `index`, the assistant's. The conversation is rendered up to this message, with and without it:
 * what the generation prompt makes of the messages before is the prompt, and what follows is the turn. So each turn
 * stands as it did when it was the last one, whatever the template makes of it later (many drop its reasoning).
 * @param stopIds tokens that end a turn
 * @throws {TypeError} when the template refuses the messages, drops what the turn says, or has no end for it
 */
export function assistantTurn(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  chat: ChatInput,
  index: number,
  stopIds: readonly number[],
): AssistantTurn {
  const input: ChatInput = withTokens(tokenizer, {
    ...chat,
    messages: chat.messages.slice(0, index + 1),
    add_generation_prompt: false,
  });
  const message = chat.messages[index]!;
  const special = tokenizer.specialTokens;
  let segments = template.segments(input, special.keys());
  const text = joinSegments(segments);
  // What the template wrote of this message: only looked for where the rest does not settle the matter.
  let known: [number, number][] | undefined;
  const spans = () => (known ??= template.spans(input, index));

  const before: ChatInput = {
    ...input,
    messages: chat.messages.slice(0, index),
    add_generation_prompt: true,
  };
  // A greeting before any question answers to no prompt: its own text is all that can be told from the template's.
  const asked = before.messages.some(({ role }) => role !== "system" && role !== "developer");
  const prompt = asked ? template.render(before) : undefined;
  let start: number;
  if (prompt === undefined) start = spans()[0]?.[0] ?? text.length;
  else if (text.startsWith(prompt)) start = prompt.length;
  else start = afterHeader(text, prompt, spans()[0]?.[0] ?? text.length);

  const controls = controlTokens(segments, start, special);
  let end = turnEnd(controls, text, start, message, stopIds, spans);
  let endId = end === undefined ? stopIds[0] : undefined;
  // Command R+ writes its next prompt behind a call of tools, and no end between them.
  const calls = end !== undefined && prompt !== undefined && namesOf(message).length > 0;
  const same = calls ? commonSuffix(text, template.render({ ...before, add_generation_prompt: false })) : 0;
  const next = text.length - same;
  if (end !== undefined && controls.some(({ from, to }) => from >= next && to < end!)) {
    end = Math.max(start, next);
    endId = stopIds[0];
  }
  const fail = (what: string): never => {
    throw new TypeError(`Cannot learn message ${index + 1}: ${what}`);
  };
  if (end === undefined && endId === undefined)
    return fail("neither the chat template nor the tokenizer has a token that ends a turn, wanted one");
  segments = cutSegments(segments, 0, end ?? text.length);
  checkKept(cutSegments(segments, start, text.length), message, template.name, fail);
  if (prompt !== undefined && asksForReasoning(prompt, text, start)) {
    // As the model will see it, which the template forgets once the turn is written.
    segments = [...template.segments(before, special.keys()), ...cutSegments(segments, start, text.length)];
    start = prompt.length;
  }
  return { message: index, segments, start, ...(endId !== undefined && { endId }) };
}

/** The text of segments. */
export function joinSegments(segments: readonly ChatSegment[]): string {
  return segments.map(({ text }) => text).join("");
}

/** The segments of `[from, to)` of their text. */
export function cutSegments(segments: readonly ChatSegment[], from: number, to: number): ChatSegment[] {
  const out: ChatSegment[] = [];
  let at = 0;
  for (const { text, trusted } of segments) {
    const part = text.slice(Math.max(0, from - at), Math.max(0, to - at));
    if (part !== "") out.push({ text: part, trusted });
    at += text.length;
  }
  return out;
}

/**
 * Where the turn begins when the prompt asks for something else than the turn has, such as a reasoning block that it
 * lacks: where the two part, at the border of a tag, behind the header if that follows later.
 * @param own where the message's own text begins
 */
function afterHeader(text: string, prompt: string, own: number): number {
  let at = 0;
  while (at < prompt.length && prompt[at] === text[at]) at++;
  const [open, close] = [
    /[<[](?=[^<>[\]\n]*$)/.exec(text.slice(Math.max(0, at - 64), at)),
    text.slice(0, at),
  ];
  if (open) at = Math.max(0, close.length - 64) + open.index;
  const rest = prompt.slice(at);
  const behind = text.slice(at, Math.min(Math.max(own, at), at + rest.length + 16));
  for (const { index } of rest.matchAll(/[<[]/g)) {
    const header = behind.indexOf(rest.slice(index));
    if (header >= 0) return at + header + rest.length - index;
  }
  return at;
}

/** Text of a finished reasoning block with nothing in it, as prompts of templates end that switch thinking off. */
const EMPTY_REASONING =
  /^(<think>\s*<\/think>|<\|channel>thought\s*<channel\|>|<\|START_THINKING\|><\|END_THINKING\|>)\s*$/;
/** What begins reasoning that such prompts ask for, and what ends it in the turn. */
const REASONING_ASKED = /^Here are my reasoning steps:\s*$/;
const REASONING_GIVEN = "[BEGIN FINAL RESPONSE]";

/** Whether the prompt ends in the beginning of a reply that the turn, as the template writes it, has without it. */
function asksForReasoning(prompt: string, text: string, start: number): boolean {
  if (start >= prompt.length || prompt.slice(0, start) !== text.slice(0, start)) return false;
  const rest = prompt.slice(start);
  return EMPTY_REASONING.test(rest) || (REASONING_ASKED.test(rest) && text.includes(REASONING_GIVEN, start));
}

interface ControlToken {
  readonly id: number;
  readonly from: number;
  readonly to: number;
}

function controlTokens(
  segments: readonly ChatSegment[],
  start: number,
  special: ReadonlyMap<string, number>,
): ControlToken[] {
  const found: ControlToken[] = [];
  let at = 0;
  for (const { text, trusted } of segments) {
    if (trusted && at >= start) found.push({ id: special.get(text)!, from: at, to: at + text.length });
    at += text.length;
  }
  return found;
}

function commonSuffix(a: string, b: string): number {
  let n = 0;
  while (n < a.length && n < b.length && a[a.length - 1 - n] === b[b.length - 1 - n]) n++;
  return n;
}

/** Where the turn's end token ends, or undefined where the template writes none. */
function turnEnd(
  controls: readonly ControlToken[],
  text: string,
  start: number,
  message: ChatMessage,
  stopIds: readonly number[],
  spans: () => [number, number][],
): number | undefined {
  const stops = controls.filter(({ id }) => stopIds.includes(id));
  const bare = (to: number) => text.slice(to).trim() === "";
  if (stops.length === 1 && bare(stops[0]!.to)) return stops[0]!.to;
  // The first stop behind all that the message says; JSON of a tool call is known by the function's name.
  const said = Math.max(
    start,
    spans().at(-1)?.[1] ?? 0,
    ...namesOf(message).map((name) => text.lastIndexOf(name)),
  );
  const stop = stops.find(({ from }) => from >= said);
  if (stop) return stop.to;
  const last = controls.at(-1);
  return last && last.from >= said && bare(last.to) ? last.to : undefined;
}

/** Names of the functions that a message calls. */
function namesOf(message: ChatMessage): string[] {
  if (!Array.isArray(message.tool_calls)) return [];
  return message.tool_calls.flatMap((call) => {
    const name = call?.function?.name ?? call?.name;
    return typeof name === "string" && name !== "" ? [name] : [];
  });
}

/** Some templates pass over tool calls, or over all that a message says. */
function checkKept(
  turn: readonly ChatSegment[],
  message: ChatMessage,
  name: string,
  fail: (what: string) => never,
): void {
  const text = joinSegments(turn);
  for (const called of namesOf(message))
    if (!text.includes(called))
      fail(`the chat template ${JSON.stringify(name)} leaves out its call of ${JSON.stringify(called)}`);
  const says = typeof message.content === "string" && message.content.trim() !== "";
  if (says && turn.every((part) => part.trusted || part.text.trim() === ""))
    fail(`the chat template ${JSON.stringify(name)} leaves nothing of what it says`);
}
