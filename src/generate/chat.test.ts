import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { sharedData } from "../../test/helpers/shared-data.ts";
import { type ChatMessage, ChatTemplate } from "../tokenizer/index.ts";
import { fitChat, withThinking } from "./chat.ts";

const count = (messages: readonly ChatMessage[]) =>
  messages.reduce((n, m) => n + String(m.content).length, 0);
const message = (role: string, content: string): ChatMessage => ({ role, content });

describe("fitChat", () => {
  const chat = [
    message("system", "ss"),
    message("user", "aaaa"),
    message("assistant", "AAAA"),
    message("user", "bb"),
    message("assistant", "BB"),
    message("user", "c"),
  ];
  const left = (room: number) =>
    fitChat(chat, count, room)
      .messages.map((m) => m.content)
      .join(" ");

  it("drops the oldest turns and keeps the system's message and the last turn", () => {
    expect(left(15)).toBe("ss aaaa AAAA bb BB c");
    expect(left(14)).toBe("ss bb BB c");
    expect(left(6)).toBe("ss c");
    expect(fitChat(chat, count, 7)).toMatchObject({ dropped: 1, tokens: 7 });
  });

  it("never drops the last turn, however long", () => {
    expect(fitChat(chat, count, 0)).toMatchObject({ dropped: 2, tokens: 3 });
    expect(fitChat([message("user", "long")], count, 1)).toMatchObject({ dropped: 0, tokens: 4 });
  });
});

const templates = sharedData("chat-templates"); // absent in a clone alone

describe("withThinking", () => {
  const messages = [message("user", "What is 2 + 2?")];
  const input = { messages, add_generation_prompt: true };
  const render = (template: ChatTemplate, think: boolean) =>
    template.render(withThinking(template, input, think));

  it("sets the switch that a template has", () => {
    const source = "{{ messages[0].content }}{% if enable_thinking %} think{% else %} answer{% endif %}";
    const template = new ChatTemplate(source, "t");
    expect(render(template, true)).toBe("What is 2 + 2? think");
    expect(render(template, false)).toBe("What is 2 + 2? answer");
  });

  it("refuses a template without one", () => {
    expect(() => withThinking(new ChatTemplate("{{ messages[0].content }}", "plain"), input, false)).toThrow(
      'Cannot turn thinking off for "plain": its chat template makes the same of these messages either way',
    );
  });

  // What each published template says when thinking is off, and not when it is on (or the other way round).
  it.skipIf(!templates).each([
    ["Qwen-Qwen3-0.6B", false, "<think>\n\n</think>"],
    ["HuggingFaceTB-SmolLM3-3B", false, "Reasoning Mode: /no_think"],
    ["ibm-granite-granite-3.3-2B-Instruct", true, "thought"],
    ["GLM-4.6", false, "<think></think>"],
  ])("%s", (name, think, says) => {
    const source = readFileSync(join(templates!, `${name}.jinja`), "utf8");
    const template = new ChatTemplate(source, name);
    expect(render(template, think)).toContain(says);
    expect(render(template, !think)).not.toContain(says);
  });
});
