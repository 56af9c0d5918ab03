// A chat in the terminal. What the model says goes to stdout; the prompt and all remarks to stderr.

import { createInterface } from "node:readline";
import { fitChat } from "../generate/chat.ts";
import type { Model } from "../generate/model.ts";
import type { ChatMessage } from "../tokenizer/index.ts";
import { chatOptions, generateOptions, type TextOptions } from "./options.ts";
import { note, writeText } from "./output.ts";
import { figures, keepSession, openSession, systemMessage, untilInterrupted } from "./run.ts";

const HELP = `/clear  forget the conversation
/exit   leave (as Ctrl-D does)
Ctrl-C  end the answer`;

export async function chat(model: Model, options: TextOptions): Promise<void> {
  if (!model.canChat || options.raw)
    throw new TypeError(
      `Cannot chat with ${JSON.stringify(model.name)}${options.raw ? " and --raw" : ": it has no chat template"}; give a prompt: pith run <model> "Once upon a time"`,
    );
  note(
    `${model.name}: ${model.ctx} tokens of context, ${model.backend.name} (${model.backend.kernels}), ${model.backend.threads} threads. /help for help`,
  );
  const lines: string[] = [];
  let messages: ChatMessage[] = systemMessage(options);
  await openSession(model, options);
  for (;;) {
    const line = await ask("> ", lines);
    if (line === undefined || line === "/exit" || line === "/bye") {
      if (messages.some(({ role }) => role === "assistant"))
        await keepSession(model, model.encodeMessages(messages, chatOptions(options)), options);
      return;
    }
    if (line.trim() === "") continue;
    if (line === "/help" || line === "/?") note(HELP);
    else if (line === "/clear") messages = systemMessage(options);
    else if (/^\/\w+$/.test(line)) note(`Unknown command ${line}.\n${HELP}`);
    else messages = await answer(model, [...messages, { role: "user", content: line }], options, messages);
  }
}

/** One turn. Gives the conversation after it: `before`, when it failed. */
async function answer(
  model: Model,
  messages: ChatMessage[],
  options: TextOptions,
  before: ChatMessage[],
): Promise<ChatMessage[]> {
  try {
    const room = model.ctx - answerRoom(model.ctx, options.maxTokens);
    const fitted = fitChat(messages, (m) => model.encodeMessages(m, chatOptions(options)).length, room);
    if (fitted.dropped > 0)
      note(
        `(the context of ${model.ctx} tokens is full: dropped the oldest ${fitted.dropped === 1 ? "turn" : `${fitted.dropped} turns`})`,
      );
    const result = await untilInterrupted(
      model.chat(fitted.messages, { ...generateOptions(options), ...chatOptions(options) }),
      writeText,
    );
    process.stdout.write("\n");
    const full = result.finishReason === "length" && result.usage.completionTokens !== options.maxTokens;
    note(figures(result) + (full ? " (the context is full)" : ""));
    return [...fitted.messages, { role: "assistant", content: result.text }];
  } catch (error) {
    note(error instanceof Error ? error.message : String(error));
    return before;
  }
}

/** Tokens kept free for an answer. */
export function answerRoom(ctx: number, maxTokens = Infinity): number {
  return Math.max(1, Math.min(maxTokens, ctx >> 2));
}

/** A line typed by the user; undefined at the end of input or on Ctrl-C. `history` is for the arrow keys, newest first. */
function ask(prompt: string, history: string[]): Promise<string | undefined> {
  // A new interface for each line: while the model speaks, the terminal is in its usual state and Ctrl-C a signal.
  const input = createInterface({ input: process.stdin, output: process.stderr, history, prompt });
  return new Promise((resolve) => {
    let line: string | undefined;
    input.on("history", (lines: string[]) => history.splice(0, history.length, ...lines));
    input.on("line", (text) => {
      line = text;
      input.close();
    });
    input.on("SIGINT", () => input.close());
    input.on("close", () => {
      if (line === undefined) process.stderr.write("\n");
      resolve(line);
    });
    input.prompt();
  });
}
