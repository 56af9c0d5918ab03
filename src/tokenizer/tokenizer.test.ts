import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadTokenizerJson } from "./huggingface.ts";
import { StreamDecoder } from "./stream.ts";
import { tinyByteLevel, tinyMetaspace } from "./tiny.ts";

const byteLevel = (() => {
  const { tokenizer, config } = tinyByteLevel();
  return loadTokenizerJson(tokenizer, config, "tiny");
})();
const metaspace = (() => {
  const { tokenizer, config } = tinyMetaspace();
  return loadTokenizerJson(tokenizer, config, "tiny spm");
})();

/** No half of a surrogate pair. */
const wellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text);

describe("byte-level", () => {
  test("merges in rank order, words apart", () => {
    expect(byteLevel.encode("hello world")).toEqual([
      byteLevel.tokenId("hello"),
      byteLevel.tokenId("Ġwo"),
      ...["r", "l", "d"].map((c) => byteLevel.tokenId(c)),
    ]);
  });

  test("a character is its bytes", () => {
    const ids = byteLevel.encode("é🦙");
    expect(ids.map((id) => byteLevel.tokenBytes(id)[0])).toEqual([0xc3, 0xa9, 0xf0, 0x9f, 0xa6, 0x99]);
    expect(byteLevel.decode(ids)).toBe("é🦙");
  });

  test("control tokens are text unless asked for; plain added tokens are always tokens", () => {
    expect(byteLevel.encode("<|im_end|>", { parseSpecial: true })).toEqual([263]);
    const ids = byteLevel.encode("<|im_end|><tool>");
    expect(ids.at(-1)).toBe(264);
    expect(ids.some((id) => byteLevel.isSpecial(id))).toBe(false);
    expect(byteLevel.decode(ids)).toBe("<|im_end|><tool>");
  });

  test("decode leaves control tokens out on request", () => {
    const ids = byteLevel.encode("<|im_start|>hello<|im_end|>", { parseSpecial: true });
    expect(byteLevel.decode(ids)).toBe("<|im_start|>hello<|im_end|>");
    expect(byteLevel.decode(ids, { skipSpecial: true })).toBe("hello");
    expect(byteLevel.decode(Int32Array.from(ids))).toBe("<|im_start|>hello<|im_end|>");
  });

  test("facts", () => {
    expect(byteLevel).toMatchObject({
      vocabSize: 265,
      eosIds: [263],
      addsBos: false,
      stripsLeadingSpace: false,
    });
    expect([...byteLevel.specialTokens]).toEqual([
      ["<|im_start|>", 262],
      ["<|im_end|>", 263],
    ]);
    expect(() => byteLevel.decode([265])).toThrow(
      "Cannot decode token 265, want a whole number from 0 to 264",
    );
    expect(() => byteLevel.encode(5 as never)).toThrow("Cannot encode number, want a string");
  });
});

describe("SentencePiece", () => {
  test("a space in front, bytes for what has no piece", () => {
    expect(metaspace.encode("hello hello")).toEqual([
      1,
      metaspace.tokenId("▁hello"),
      metaspace.tokenId("▁hello"),
    ]);
    expect(metaspace.encode("é", { addSpecial: false }).map((id) => metaspace.tokenText(id))).toEqual([
      "▁",
      "<0xC3>",
      "<0xA9>",
    ]);
  });

  test("decoding takes that one space away", () => {
    for (const text of ["hello", " hello", "hello  low ", "", " ", "\n", "é🦙", "</s>", "<0x41>", "a<s>b"]) {
      expect(metaspace.decode(metaspace.encode(text, { addSpecial: false }))).toBe(text);
    }
  });

  test("text never becomes a control or byte token by its spelling", () => {
    const ids = metaspace.encode("<s></s><unk><0x41>", { addSpecial: false });
    expect(ids.filter((id) => metaspace.isSpecial(id))).toEqual([]);
    expect(ids).not.toContain(metaspace.tokenId("<0x41>"));
  });
});

describe.each([
  ["byte-level", byteLevel],
  ["SentencePiece", metaspace],
])("%s, any text", (_, tokenizer) => {
  test("decode(encode(x)) is x", () => {
    const texts = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({ unit: fc.constantFrom(..." helo<|im_end|>\n1é🦙▁") }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        fc.pre(wellFormed(text) && !(tokenizer === metaspace && text.includes("▁")));
        expect(tokenizer.decode(tokenizer.encode(text, { addSpecial: false }))).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });

  test("a stream of any ids is their decoding, in whole characters", () => {
    const ids = fc.array(fc.nat(tokenizer.vocabSize - 1), { maxLength: 40 });
    fc.assert(
      fc.property(ids, fc.boolean(), (list, skipSpecial) => {
        const stream = new StreamDecoder(tokenizer, { skipSpecial });
        const pieces = [...list.map((id) => stream.push(id)), stream.flush()];
        const whole = tokenizer.decode(list, { skipSpecial });
        expect(pieces.join("")).toBe(whole);
        expect(pieces.every((piece) => wellFormed(piece))).toBe(true);
        // The decoder is as new after flush.
        expect([...list.map((id) => stream.push(id)), stream.flush()].join("")).toBe(whole);
      }),
      { numRuns: 2000 },
    );
  });
});

test("an unfinished character waits; what never finishes becomes U+FFFD once", () => {
  const [first, second] = byteLevel.encode("é");
  const stream = new StreamDecoder(byteLevel);
  expect([stream.push(first!), stream.push(second!), stream.push(first!), stream.flush()]).toEqual([
    "",
    "é",
    "",
    "�",
  ]);
});

test("segments: borders do not change ids, trust decides what is parsed", () => {
  const whole = byteLevel.encode("<|im_start|>hello world<|im_end|>", { parseSpecial: true });
  const parts = [
    { text: "<|im_start|>he", trusted: true },
    { text: "llo wo", trusted: false },
    { text: "rld<|im_end|>", trusted: true },
  ];
  expect(byteLevel.encodeSegments(parts)).toEqual(whole);
  const untrusted = byteLevel.encodeSegments([{ text: "<|im_start|>", trusted: false }]);
  expect(untrusted.some((id) => byteLevel.isSpecial(id))).toBe(false);
});
