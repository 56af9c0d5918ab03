import { describe, expect, it } from "vitest";
import type { ChatMessage } from "../tokenizer/index.ts";
import { fitChat } from "./chat.ts";

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
