// Files from anywhere: damaged ones, ones made to be slow, ones made to fool.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tokenizerToGguf } from "./convert.ts";
import { loadTokenizerGguf } from "./gguf.ts";
import { loadTokenizerJson } from "./huggingface.ts";
import { checkPattern } from "./pattern-safety.ts";
import { KNOWN_PRE } from "./patterns.ts";
import { compile } from "./pre-tokenizer.ts";
import { loadSentencePiece } from "./sentencepiece.ts";
import { tinyByteLevel, tinyMetaspace } from "./tiny.ts";

const BUILT_IN = [TypeError, RangeError, SyntaxError];

/** Runs it; only an error of a built-in class that begins as ours do may come out. */
function worksOrRefuses(run: () => void): "works" | "refuses" {
  const start = performance.now();
  let outcome: "works" | "refuses" = "works";
  try {
    run();
  } catch (error) {
    expect(BUILT_IN).toContain((error as Error).constructor);
    expect((error as Error).message).toMatch(/^Cannot (read|decode)/);
    outcome = "refuses";
  }
  expect(performance.now() - start).toBeLessThan(2000);
  return outcome;
}

/** Every place in a JSON value, as a path. */
function places(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null) return [path];
  const inner = Object.entries(value).slice(0, 12);
  return [path, ...inner.flatMap(([key, item]) => places(item, [...path, key]))];
}

const JUNK = [
  null,
  undefined,
  true,
  0,
  -1,
  1.5,
  2 ** 32,
  Number.NaN,
  "",
  "x",
  "(a+)+$",
  "__proto__",
  [],
  {},
  [[]],
  [1, 2],
  { type: "Sequence" },
  { type: "Split", pattern: { Regex: "(a*)*" }, behavior: "Isolated" },
  { Regex: "(x+)+y" },
  { type: "Replace", pattern: { String: "" }, content: "aa" },
  "\ud800",
  { id: 0, content: "", special: true },
];

describe.each([
  ["byte-level", tinyByteLevel("\\p{L}+|\\P{L}+")],
  ["SentencePiece", tinyMetaspace()],
])("%s tokenizer.json", (_, files) => {
  test("2,000 mutants each work or are refused by name, quickly", () => {
    const paths = places(files.tokenizer);
    const counts = { works: 0, refuses: 0 };
    fc.assert(
      fc.property(fc.nat(paths.length - 1), fc.nat(JUNK.length - 1), fc.boolean(), (at, junk, remove) => {
        const json = structuredClone(files.tokenizer);
        const path = paths[at]!;
        if (path.length === 0) return;
        let parent: Record<string | number, unknown> = json;
        for (const key of path.slice(0, -1)) parent = parent[key] as typeof parent;
        if (remove) delete parent[path.at(-1)!];
        else parent[path.at(-1)!] = JUNK[junk];
        const outcome = worksOrRefuses(() => {
          const tokenizer = loadTokenizerJson(json, files.config, "mutant");
          const ids = tokenizer.encode("hello <|im_end|> wörld 12");
          expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize)).toBe(true);
          tokenizer.decode(ids);
        });
        counts[outcome]++;
      }),
      { numRuns: 2000, seed: 7 },
    );
    expect(Math.min(counts.works, counts.refuses)).toBeGreaterThan(200);
  });

  test("ids: twice, negative, fractional, far away", () => {
    const load = (change: (vocab: Record<string, unknown>) => void) => () => {
      const json = structuredClone(files.tokenizer);
      change((json.model as { vocab: Record<string, unknown> }).vocab);
      loadTokenizerJson(json, files.config, "x");
    };
    expect(load((vocab) => (vocab.h = vocab.e))).toThrow(
      /id \d+ stands for .* and for .*, want one entry for each id/,
    );
    expect(load((vocab) => (vocab.h = -1))).toThrow(/model.vocab\["h"\] is -1, want a whole number from 0/);
    expect(load((vocab) => (vocab.h = 0.5))).toThrow(/is 0.5, want a whole number/);
    expect(load((vocab) => (vocab.h = 2 ** 32))).toThrow(
      /is 4294967296, want a whole number from 0 to 1048575/,
    );
    expect(load((vocab) => (vocab.h = 900_000))).toThrow(
      /the largest id is 900000, but there are .* want ids in a row/,
    );
  });
});

test("an added token of a megabyte is refused; the longest one costs a bounded number of steps", () => {
  const load = (content: string) => {
    const { tokenizer, config } = tinyByteLevel();
    (tokenizer.added_tokens as object[]).push({ id: 265, content, special: true });
    return loadTokenizerJson(tokenizer, config, "x");
  };
  expect(() => load("<".repeat(1 << 20))).toThrow("has 1048576 characters, want at most 256");
  const long = "<".repeat(256);
  const loaded = load(long);
  const [a, b] = loaded.encode("ab");
  expect(loaded.encode(`a${long}b`, { parseSpecial: true })).toEqual([a, 265, b]);
  const start = performance.now();
  // The token is nearly there at every place.
  expect(loaded.encode(`${long.slice(1)}a`.repeat(256), { parseSpecial: true })).not.toContain(265);
  expect(performance.now() - start).toBeLessThan(5000);
});

describe("patterns", () => {
  test("those of every known pre-tokenizer are accepted and compile", () => {
    for (const { steps } of KNOWN_PRE)
      for (const step of steps) expect(compile(step, "x")).toBeInstanceOf(RegExp);
  });

  test.each([
    "\\p{L}+|\\p{N}{1,2}| ?[^\\s\\p{L}\\p{N}]+|\\s+",
    "[a-z]+",
    "(?:foo|bar)?\\w+",
    "\\d{1,3}(?=\\d)",
    "(?<!a)b+",
    "[\\]a-z^]+|[^]]+",
    "'(?i:[sdmt]|ll|ve|re)|\\S+",
  ])("%s is accepted", (pattern) => {
    expect(() => checkPattern(pattern, "here")).not.toThrow();
  });

  test.each([
    "(a+)+$",
    "(a*)*b",
    "(a|a)*c",
    "(a|aa)+$",
    "([a-zA-Z]+)*!",
    "(.*a){20}",
    "(?:x+x+)+y",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "\\s+$",
    "a*b",
    ".*.*=.*",
    "(\\w+)\\1",
    "(?=a+)b",
    "(?:a?){50}a{50}",
    "((a{1,60}){1,60}){1,60}b",
    "a+(?!b)",
    "x*?y",
    "(?:\\s*[\\r\\n]+)+",
    "\\s*[\\r\\n]+",
    "(".repeat(100),
    "a{1,100000}b",
    "(?<n>a)\\k<n>",
    "(?P<x>a)",
    "*a",
    "[a",
  ])("%s is refused", (pattern) => {
    expect(() => checkPattern(pattern, "here")).toThrow(SyntaxError);
    expect(() => checkPattern(pattern, "here")).toThrow(/^here: /);
  });

  test("what is accepted takes linear time: 256 KiB of any one character, or of two in turn", () => {
    const all = [
      "[a-z]+",
      "(?:foo|bar)?\\w+",
      " ?\\p{L}+\\s?| ?\\S+|\\s+",
      ...KNOWN_PRE.flatMap(({ steps }) => steps),
    ];
    for (const pattern of new Set(all)) {
      const regex = compile(pattern, "x");
      const start = performance.now();
      for (const unit of ["a", "A", " ", "\n", "1", "'", "é", "你", "a ", " \n", "aA", "a'", "1 "]) {
        const text = `${unit.repeat((1 << 18) / unit.length)}~`;
        let length = 0;
        for (const match of text.matchAll(regex)) length += match[0].length;
        expect(length).toBeLessThanOrEqual(text.length);
      }
      expect(performance.now() - start, pattern).toBeLessThan(5000);
    }
  });
});

test("GGUF: 500 mutants of the vocabulary work or are refused", () => {
  const { tokenizer, config } = tinyByteLevel();
  const good = tokenizerToGguf(loadTokenizerJson(tokenizer, config, "x"));
  const keys = [...good.keys()];
  const values = [...good.values()];
  fc.assert(
    fc.property(fc.nat(keys.length - 1), fc.nat(values.length), fc.nat(300), (at, other, index) => {
      const metadata = new Map(good);
      if (other === values.length) metadata.delete(keys[at]!);
      else metadata.set(keys[at]!, values[other]!);
      const tokens = metadata.get("tokenizer.ggml.tokens")?.value;
      if (Array.isArray(tokens)) {
        const changed = [...tokens];
        changed[index % changed.length] = changed[(index * 7) % changed.length] ?? "";
        metadata.set("tokenizer.ggml.tokens", { type: "array", of: "string", value: changed });
      }
      worksOrRefuses(() => {
        const loaded = loadTokenizerGguf({ name: "mutant", metadata });
        loaded.decode(loaded.encode("hello <|im_end|> 12"));
      });
    }),
    { numRuns: 500 },
  );
});

test("tokenizer.model: every cut and 500 changed bytes work or are refused", () => {
  // Pieces "<unk>" (unknown), "a", "b" and "ab", and a trainer that says BPE, as SentencePiece would write them.
  const piece = (text: string, type: number) => {
    const body = [0x0a, text.length, ...new TextEncoder().encode(text), 0x15, 0, 0, 0x80, 0xbf, 0x18, type];
    return [0x0a, body.length, ...body];
  };
  const good = Uint8Array.from([
    ...[piece("<unk>", 2), piece("a", 1), piece("b", 1), piece("ab", 1)].flat(),
    ...[0x12, 2, 0x18, 2, 0x1a, 2, 0x18, 0],
  ]);
  expect(loadSentencePiece(good, {}, "x").encode("abba")).toEqual([3, 2, 1]);
  const run = (bytes: Uint8Array) =>
    worksOrRefuses(() => {
      loadSentencePiece(bytes, {}, "x").encode("ab ba");
    });
  for (let end = 0; end < good.length; end++) run(good.subarray(0, end));
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.nat(255), (at, byte) => {
      const changed = good.slice();
      changed[at] = byte;
      run(changed);
    }),
    { numRuns: 500 },
  );
});
