// Trained vocabularies against a plain implementation of the algorithm, and against merges that Hugging Face's trainer
// gave for one text.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadTokenizerJson } from "./huggingface.ts";
import { characterTokenizer, trainTokenizer } from "./train.ts";
import { tokenizerConfig } from "./trained-files.ts";

interface Json {
  model: { vocab: Record<string, number>; merges: [string, string][] };
}
const train = async (text: string | string[], vocabSize: number, more = {}) =>
  (await trainTokenizer(typeof text === "string" ? [text] : text, { vocabSize, ...more })) as Json;

const TEXT =
  "Sea shells she sells; she sells sea shells.\nThe shells that she sells are sea shells, I'm sure.\n\n  So if she " +
  "sells 1234 shells on 56 sea shores,\nI'd say they're ocean shells: naïve café, 日本日本, 🙂🙂 aaaa aaaaa aaa!\n";

describe("byte-level BPE", () => {
  test("merges and ids are those of Hugging Face's BpeTrainer (tokenizers, min_frequency 2)", async () => {
    const json = await train(TEXT, 317, { special: ["<|end|>"] });
    expect(json.model.merges.map((pair) => pair.join(" "))).toEqual(
      "Ġ s,h e,l l,Ġs he,ll s,a a,Ġs e,Ġshe lls,r e,Ġse lls,Ġ aa,Ġse a,e a,¥ æ,æ Ĺ,ð Ł,Ġ o,Ġ t,Ļ Ĥ,ľ ¬,Ġaa aa,¥æ ľ¬,æĹ ¥æľ¬,ðŁ ĻĤ".split(
        ",",
      ),
    );
    const tokenizer = loadTokenizerJson(json, tokenizerConfig({ end: "<|end|>" }), "t");
    expect(tokenizer.encode(TEXT).slice(0, 40)).toEqual([
      51, 269, 264, 260, 266, 27, 260, 266, 268, 264, 14, 199, 52, 258, 264, 274, 72, 65, 84, 260, 266, 221,
      65, 265, 268, 264, 12, 221, 41, 7, 77, 257, 85, 265, 14, 199, 199, 221, 221, 51,
    ]);
    expect(tokenizer.eosIds).toEqual([0]);
  });

  test("counts kept as merges go on are those of counting anew", async () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "c", " ", "é", "1", "\n"), maxLength: 120 });
    await fc.assert(
      fc.asyncProperty(letters, fc.integer({ min: 256, max: 300 }), async (text, vocabSize) => {
        const json = await train(text, vocabSize);
        expect(json.model.merges).toEqual(slowly(text, vocabSize));
        const tokenizer = loadTokenizerJson(json, {}, "t");
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
      { numRuns: 150 },
    );
  });

  test("splits, a begin token, and text that spells a control token", async () => {
    const digits = async (split: string) => {
      const json = await train("1234 1234 1234 1234", 270, { split });
      const tokenizer = loadTokenizerJson(json, {}, "t");
      return tokenizer.encode("1234").map((id) => tokenizer.decode([id]));
    };
    expect(await digits("gpt2")).toEqual(["1234"]);
    expect(await digits("llama3")).toEqual(["123", "4"]);
    expect(await digits("qwen2")).toEqual(["1", "2", "3", "4"]);
    const json = await train("ab ab ab", 270, { special: ["ab", "<s>"], begin: "<s>" });
    const tokenizer = loadTokenizerJson(json, tokenizerConfig({ begin: "<s>" }), "t");
    expect(tokenizer.encode("ab")).toEqual([1, tokenizer.tokenId("a"), tokenizer.tokenId("b")]);
    expect(tokenizer.addsBos).toBe(true);
  });

  test("texts in parts, and one text of blocks, count alike", async () => {
    const line = "the cat sat on the mat\n";
    const whole = await train(line.repeat(100_000), 290);
    expect(whole.model.merges).toEqual((await train(Array(1000).fill(line), 290)).model.merges);
  });

  test("wrong sizes and names are refused; a signal ends it", async () => {
    await expect(train("x", 255)).rejects.toThrow("256 bytes and 0 special tokens need 256");
    await expect(train("x", 300, { special: ["a", "a"] })).rejects.toThrow(
      'special token "a" is empty or there twice',
    );
    await expect(train("x", 300, { begin: "a" })).rejects.toThrow('"a" is none of the special tokens');
    await expect(train("x", 300, { split: "no" })).rejects.toThrow(
      'split is "no", want gpt2, llama3 or qwen2',
    );
    const controller = new AbortController();
    const text = Array.from({ length: 40_000 }, (_, i) => (i * 7919).toString(36)).join(" ");
    const job = train(text, 20_000, { signal: controller.signal });
    setTimeout(() => controller.abort());
    await expect(job).rejects.toThrow(/abort/i);
  });
});

test("a token for every character", async () => {
  const json = (await characterTokenizer(["hello", " wörld 🙂\n"], { special: ["<|end|>"] })) as Json;
  expect(Object.keys(json.model.vocab).join("")).toBe("<|end|>\n dehlorwö🙂");
  const tokenizer = loadTokenizerJson(json, tokenizerConfig({ end: "<|end|>" }), "t");
  const text = "low wörld\nhello 🙂<|end|>".replace("<|end|>", "");
  expect(tokenizer.encode(text)).toHaveLength([...text].length);
  expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  await expect(characterTokenizer([""])).rejects.toThrow("the text has none");
  await expect(characterTokenizer(["a\ud800"])).rejects.toThrow("half of a surrogate pair");
});

/** The algorithm as it is told: count all pairs, merge the best everywhere, again. */
function slowly(text: string, vocabSize: number): [string, string][] {
  const pieces =
    text.match(/'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) ?? [];
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  const characters = Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
  const order = [...characters].sort();
  let words = pieces.map((piece) => [...new TextEncoder().encode(piece)].map((byte) => characters[byte]!));
  const merges: [string, string][] = [];
  while (order.length < vocabSize) {
    const counts = new Map<string, { a: string; b: string; n: number }>();
    for (const word of words)
      for (let i = 0; i + 1 < word.length; i++) {
        const [a, b] = [word[i]!, word[i + 1]!];
        const entry = counts.get(`${a} ${b}`) ?? { a, b, n: 0 };
        entry.n++;
        counts.set(`${a} ${b}`, entry);
      }
    const id = (s: string) => order.indexOf(s);
    const [best] = [...counts.values()].sort((x, y) => y.n - x.n || id(x.a) - id(y.a) || id(x.b) - id(y.b));
    if (!best || best.n < 2) break;
    merges.push([best.a, best.b]);
    if (!order.includes(best.a + best.b)) order.push(best.a + best.b);
    words = words.map((word) => {
      const out: string[] = [];
      for (let i = 0; i < word.length; i++) {
        if (word[i] === best.a && word[i + 1] === best.b) out.push(best.a + word[++i]!);
        else out.push(word[i]!);
      }
      return out;
    });
  }
  return merges;
}
