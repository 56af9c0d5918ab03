// What a conversation needs before it becomes ids: which of its oldest turns must go when it outgrows the context, and
// the switch by which templates turn thinking on or off.

import type { ChatInput, ChatMessage, ChatTemplate } from "../tokenizer/index.ts";

export interface FittedChat {
  readonly messages: ChatMessage[];
  /** Turns that were dropped: a user's message and what followed it. */
  readonly dropped: number;
  /** Tokens of what is left. */
  readonly tokens: number;
}

/**
 * Drops the oldest turns until the conversation has at most `room` tokens. What stands before the first user's message
 * (the system's) and the last turn always stay, even if they alone are too long.
 * @param count tokens that the model makes of messages
 */
export function fitChat(
  messages: readonly ChatMessage[],
  count: (messages: readonly ChatMessage[]) => number,
  room: number,
): FittedChat {
  const starts = messages.flatMap(({ role }, i) => (role === "user" ? [i] : []));
  const head = messages.slice(0, starts[0] ?? messages.length);
  for (let dropped = 0; ; dropped++) {
    const kept = dropped === 0 ? [...messages] : [...head, ...messages.slice(starts[dropped])];
    const tokens = count(kept);
    if (tokens <= room || dropped + 1 >= starts.length) return { messages: kept, dropped, tokens };
  }
}

/** What templates call their switch: Qwen, SmolLM, GLM and Gemma; Granite and DeepSeek. */
const SWITCHES = ["enable_thinking", "thinking"] as const;

/**
 * The input with thinking on or off, under whatever name the template knows it.
 * @throws {TypeError} when the template makes the same text of these messages either way: it has no switch
 */
export function withThinking(template: ChatTemplate, input: ChatInput, think: boolean): ChatInput {
  const set = (to: boolean): ChatInput => ({
    ...input,
    ...Object.fromEntries(SWITCHES.map((name) => [name, to])),
  });
  if (template.render(set(true)) === template.render(set(false)))
    throw new TypeError(
      `Cannot turn thinking ${think ? "on" : "off"} for ${JSON.stringify(template.name)}: its chat template makes the same of these messages either way, wanted one with a switch (${SWITCHES.join(" or ")})`,
    );
  return set(think);
}
