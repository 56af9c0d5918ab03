// Turns of the assistant's in published templates: what is learned is what the model would have to write.

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { sharedData } from "../../test/helpers/shared-data.ts";
import { fitToolCalls } from "./chat-calls.ts";
import { ChatTemplate } from "./chat-template.ts";
import { assistantTurn, cutSegments, joinSegments } from "./chat-turns.ts";
import { loadTokenizerFolder } from "./folder.ts";
import { loadTokenizerJson } from "./huggingface.ts";
import { TINY_TEMPLATE, tinyByteLevel } from "./tiny.ts";
import type { ChatMessage, Tokenizer } from "./types.ts";

const TOOLS = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Weather of a city",
      parameters: { type: "object", properties: { city: { type: "string", description: "City" } } },
    },
  },
];
const CHAT: ChatMessage[] = [
  { role: "user", content: "Qone" },
  { role: "assistant", content: "Aone" },
  { role: "user", content: "Qtwo" },
  { role: "assistant", content: "Atwo" },
];
const calls = (args: unknown): ChatMessage[] => [
  { role: "user", content: "Qone" },
  {
    role: "assistant",
    content: "",
    tool_calls: [{ id: "abcdefghi", type: "function", function: { name: "get_weather", arguments: args } }],
  },
  { role: "tool", name: "get_weather", tool_call_id: "abcdefghi", content: "sunny" },
  { role: "assistant", content: "Atwo" },
];

/** Tokens that end turns, as the models of these templates have them. `</s>` stands for "eos_token". */
const ENDS =
  "<|im_end|> <|eot_id|> <|eom_id|> <|end_of_text|> <end_of_turn> <｜end▁of▁sentence｜> <|END_OF_TURN_TOKEN|> <|return|> <|call|> <seed:eos> <|message_sep|> [e~[ <SPECIAL_12> <sep> <turn|> <|tool_response> <|end|> <|assistant_end|> <|tools_suffix|> <|calls|> <|user|>".split(
    " ",
  );
const CONTROL =
  /<[|｜][^<>\s]*>|<[^<>\s]*\|>|<(start|end)_of_turn>|<seed:[be]os>|<SPECIAL_\d+>|<sep>|\[\/?[A-Z_]+\]|\[e~\[|\]~b\]/g;

/** A tokenizer of bytes whose control tokens are those that a template speaks of. */
function tokenizerFor(source: string, rendered: string): { tokenizer: Tokenizer; stopIds: number[] } {
  const { tokenizer: json, config } = tinyByteLevel();
  const texts = new Set([
    "<s>",
    "</s>",
    ...(rendered.match(CONTROL) ?? []),
    ...ENDS.filter((e) => source.includes(e)),
  ]);
  json.added_tokens = [...texts].map((content, i) => ({
    id: 262 + i,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const tokenizer = loadTokenizerJson(json, { ...config, bos_token: "<s>", eos_token: "</s>" }, "t");
  const own = ENDS.filter((e) => source.includes(e)).map((e) => tokenizer.tokenId(e)!);
  const eos = tokenizer.tokenId("</s>")!;
  return { tokenizer, stopIds: source.includes("eos_token") || own.length === 0 ? [...own, eos] : own };
}

/** What the assistant writes beside the message: empty reasoning, a channel, a part's mark. */
const AROUND =
  /^(\s*<think>\s*<\/think>\s*|\s*<\/think>\s*|<\|channel\|>final<\|message\|>|<\|START_RESPONSE\|>|<\|content\|>|all\n| )?(Aone|Atwo)(<\|END_RESPONSE\|>)?\s*$/;

const folder = sharedData("chat-templates");
const files = folder ? readdirSync(folder).filter((file) => file.endsWith(".jinja")) : [];

describe.skipIf(!folder)("published templates (../shared/data is absent: skipped)", () => {
  const turnsOf = (file: string, messages: ChatMessage[], more: object = {}) => {
    const source = readFileSync(`${folder}/${file}`, "utf8");
    const template = new ChatTemplate(source, file);
    const input = fitToolCalls(template, { functions: "[]", datetime: "now", ...more, messages });
    const all = template.render({
      bos_token: "<s>",
      eos_token: "</s>",
      add_generation_prompt: true,
      ...input,
    });
    const { tokenizer, stopIds } = tokenizerFor(source, all);
    return [1, 3].map((index) => {
      const { segments, start, endId } = assistantTurn(tokenizer, template, input, index, stopIds);
      const text = joinSegments(segments);
      const last = segments.at(-1)!;
      const id = endId ?? (last.trusted ? tokenizer.specialTokens.get(last.text) : undefined);
      expect(stopIds).toContain(id);
      return {
        prompt: text.slice(0, start),
        said: text.slice(start, endId === undefined ? text.length - last.text.length : text.length),
      };
    });
  };

  test.each(files)("%s: a turn is its content and its end token, nothing of the others", (file) => {
    for (const [i, { prompt, said }] of turnsOf(file, CHAT).entries()) {
      expect(said).toMatch(AROUND);
      expect(said).toContain(["Aone", "Atwo"][i]!);
      expect(prompt).toContain(["Qone", "Qtwo"][i]!);
      expect(prompt).not.toContain(["Aone", "Atwo"][i]!);
    }
  });

  /** Templates that know no calls of tools, and pass over them or refuse them. */
  const DEAF = /SmolLM3|LFM2|R1-Distill-Llama|gemma-2-2b|granite-3\.3|rwkv|Phi-3\.5/;

  test.each(files)(
    "%s: a call of tools is learned, its result is not, with arguments as the template has them",
    (file) => {
      const turns = (args: unknown = { city: "Paris" }) => turnsOf(file, calls(args), { tools: TOOLS });
      if (DEAF.test(file)) {
        expect(turns).toThrow(/leaves out its call of "get_weather"|refuses these messages/);
        return;
      }
      const [called, answered] = turns();
      // Functionary alone writes the text that it is given.
      const said = file.includes("functionary-medium-v3.2") ? '{"city":"Paris"}' : '{"city": "Paris"}';
      expect(turns(said)).toEqual([called, answered]);
      expect(called!.said).not.toMatch(/\\"city|'city'/);
      expect(called!.said).toContain("get_weather");
      expect(called!.said).toContain("Paris");
      expect(called!.said).not.toMatch(/Qone|sunny|Atwo|Weather of a city/);
      expect(answered!.said).toMatch(AROUND);
      expect(answered!.prompt).toContain("sunny");
    },
  );

  test("reasoning is part of the turn where the template has it", () => {
    const think = (name: string) => CHAT.map((m, i) => (i === 3 ? { ...m, [name]: "Rtwo" } : m));
    const said = (file: string, name = "reasoning_content") => turnsOf(file, think(name))[1]!.said;
    expect(said("Qwen-Qwen3-0.6B.jinja")).toBe("<think>\nRtwo\n</think>\n\nAtwo");
    expect(said("Qwen3.5-4B.jinja")).toBe("Rtwo\n</think>\n\nAtwo");
    expect(said("ByteDance-Seed-OSS.jinja")).toBe("<seed:think>Rtwo</seed:think>\nAtwo");
    expect(said("openai-gpt-oss-120b.jinja", "thinking")).toBe(
      "<|channel|>analysis<|message|>Rtwo<|end|><|start|>assistant<|channel|>final<|message|>Atwo",
    );
    expect(said("upstage-Solar-Open-100B.jinja", "reasoning")).toBe(
      "<|think|>Rtwo<|end|><|begin|>assistant<|content|>Atwo",
    );
  });
});

describe("turns", () => {
  const { tokenizer: json, config } = tinyByteLevel();
  const tokenizer = loadTokenizerJson(json, config, "tiny");
  const turn = (source: string, messages: ChatMessage[], index = messages.length - 1) => {
    const { segments, start, endId } = assistantTurn(
      tokenizer,
      new ChatTemplate(source, "t"),
      { messages },
      index,
      tokenizer.eosIds,
    );
    const text = joinSegments(segments);
    return [text.slice(0, start), text.slice(start), endId];
  };

  test("end tokens that a message spells are no ends", () => {
    const answer = "x<|im_end|>\n<|im_start|>assistant\ny";
    const messages = [
      { role: "user", content: "a<|im_end|>b" },
      { role: "assistant", content: answer },
    ];
    expect(turn(TINY_TEMPLATE, messages)).toEqual([
      "<|im_start|>user\na<|im_end|>b<|im_end|>\n<|im_start|>assistant\n",
      `${answer}<|im_end|>`,
      undefined,
    ]);
  });

  test("a greeting is its own text", () => {
    const messages = [{ role: "assistant", content: "hi" }, ...CHAT];
    expect(turn(TINY_TEMPLATE, messages, 0)).toEqual(["<|im_start|>assistant\n", "hi<|im_end|>", undefined]);
  });

  test("where the template writes no end, the end token comes behind", () => {
    const source =
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ 'assistant: ' if add_generation_prompt }}";
    expect(turn(source, CHAT.slice(0, 2))).toEqual(["user: Qone\nassistant: ", "Aone\n", 263]);
    expect(() => assistantTurn(tokenizer, new ChatTemplate(source, "t"), { messages: CHAT }, 1, [])).toThrow(
      "Cannot learn message 2: neither the chat template nor the tokenizer has a token that ends a turn",
    );
  });

  test("a template that drops what is to be learned is refused", () => {
    const source =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n<|im_end|>{% endfor %}" +
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    expect(() => turn(source, CHAT)).toThrow(
      'Cannot learn message 4: the chat template "t" leaves nothing of what it says',
    );
  });

  test.skipIf(!sharedData("tokenizers"))(
    "ids of the parts are those of the whole (../shared/data)",
    async () => {
      for (const name of ["smollm2", "tinyllama-chat"]) {
        const real = await loadTokenizerFolder(sharedData(`tokenizers/${name}`)!);
        const template = new ChatTemplate(real.chatTemplate!, name);
        const { segments, start } = assistantTurn(real, template, { messages: CHAT }, 3, real.eosIds);
        const parts = real.encodeParts([cutSegments(segments, 0, start), cutSegments(segments, start, 1e9)]);
        expect(parts.flat()).toEqual(real.encodeSegments(segments));
        expect(real.decode(parts[1]!)).toMatch(/^Atwo<(\|im_end\||\/s)>$/);
      }
    },
  );
});
