// A conversation that outgrows the context: which of its oldest turns must go.

import type { ChatMessage } from "../tokenizer/index.ts";

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
