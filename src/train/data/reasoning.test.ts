// Reasoning left out of the loss, in published templates: it stands before the answer, and is not learned.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { sharedData } from "../../../test/helpers/shared-data.ts";
import { ChatTemplate, loadTokenizerJson } from "../../tokenizer/index.ts";
import { tinyByteLevel } from "../../tokenizer/tiny.ts";
import { maskRecord } from "./mask.ts";

const { tokenizer: json, config } = tinyByteLevel();
const tokenizer = loadTokenizerJson(json, config, "tiny");
const folder = sharedData("chat-templates");

/** Tokens of a sample in two texts. */
function split(ids: readonly number[], learned: Uint8Array): { seen: string; said: string } {
  const text = (on: number) => tokenizer.decode(ids.filter((_, i) => learned[i] === on));
  return { seen: text(0), said: text(1) };
}

describe.skipIf(!folder)("published templates (../shared/data is absent: skipped)", () => {
  test.each([
    ["Apriel-1.6-15b-Thinker-fixed", {}],
    ["Bielik-11B-v3.0-Instruct", {}],
    ["ByteDance-Seed-OSS", {}],
    ["deepseek-ai-DeepSeek-V3.2", { enable_thinking: true, thinking: true }],
    ["GLM-4.6", {}],
    ["GLM-4.7-Flash", {}],
    ["Kimi-K2-Thinking", {}],
    ["MiniMax-M2", {}],
    ["NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", {}],
    ["openai-gpt-oss-120b", {}],
    ["Qwen-Qwen3-0.6B", {}],
    ["Qwen3.5-4B", {}],
    ["Reka-Edge", { enable_thinking: true }],
    ["StepFun3.5-Flash", {}],
    ["upstage-Solar-Open-100B", {}],
  ])("%s", (name, settings) => {
    const template = new ChatTemplate(readFileSync(`${folder}/${name}.jinja`, "utf8"), name);
    const messages = [
      { role: "user", content: "Qone" },
      { role: "assistant", content: "Aone", reasoning_content: "Rone" },
      { role: "user", content: "Qtwo" },
      { role: "assistant", content: "Atwo", reasoning_content: "Rtwo" },
    ];
    const of = (reasoning: "learn" | "ignore") =>
      maskRecord(
        { kind: "chat", messages, from: 0 },
        { tokenizer, template, settings, stopIds: tokenizer.eosIds, reasoning, lastOnly: false },
        { unknownEnds: new Map(), rewritten: 0, lostReasoning: 0 },
      ).map(({ ids, learned }) => split(ids, learned));
    const [last, left] = [of("learn").at(-1)!, of("ignore").at(-1)!];
    expect(last.said).toContain("Rtwo");
    expect(last.said).toContain("Atwo");
    expect(last.seen).not.toMatch(/Rtwo|Atwo/);
    expect(left.seen).toContain("Rtwo");
    expect(left.said).not.toContain("Rtwo");
    // All that is left is the answer and what opens and closes it.
    expect(left.said.replace(/<[^<>]*>|\[e~\[|assistant|final|\s/g, "")).toMatch(/^(Aone)?Atwo$/);
  });
});
