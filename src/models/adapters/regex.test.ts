import fc from "fast-check";
import { expect, test } from "vitest";
import { compilePattern } from "./regex.ts";

const PATHS = [
  "model.layers.0.self_attn.q_proj",
  "model.layers.11.self_attn.v_proj",
  "model.layers.1.mlp.gate_proj",
  "lm_head",
  "q_proj",
];

test("matches as JavaScript does where both know the syntax", () => {
  const patterns = [
    ".*",
    ".*q_proj",
    String.raw`.*\.(q|v)_proj`,
    String.raw`model\.layers\.\d+\.self_attn\.[qkv]_proj`,
    String.raw`model\.layers\.([0-9]|1[01])\.mlp\..*`,
    String.raw`(?:.*?(?:self_attn|mlp).*?(?:\bq_proj\b|gate_proj).*?)|(?:lm_head)`,
    "^(?!lm_head).*$",
    String.raw`.*\.layers\.(?=1)\d{1,2}\..*`,
    "[^.]+",
    String.raw`model(\.\w+){3,}`,
    "(a*)*b|(.*)q_proj",
    "(|x)lm_head",
    "[a-z_]+",
  ];
  for (const pattern of patterns)
    for (const path of PATHS)
      expect([pattern, path, compilePattern(pattern, "p").full(path)]).toEqual([
        pattern,
        path,
        new RegExp(`^(?:${pattern})$`).test(path),
      ]);
  expect(compilePattern("(?P<name>q|v)_proj", "p").full("q_proj")).toBe(true);
});

test("random patterns match as JavaScript's", () => {
  const piece = fc.constantFrom(
    "a",
    "b",
    ".",
    "a*",
    "b+",
    "[ab]",
    "(a|b)",
    "(ab)?",
    "(a|)",
    "a{1,2}",
    "|",
    "\\b",
  );
  const pattern = fc.array(piece, { maxLength: 7 }).map((all) => all.join(""));
  const text = fc.array(fc.constantFrom("a", "b", "."), { maxLength: 8 }).map((all) => all.join(""));
  fc.assert(
    fc.property(pattern, text, (p, t) => {
      expect(compilePattern(p, "p").full(t)).toBe(new RegExp(`^(?:${p})$`).test(t));
    }),
    { numRuns: 2000, seed: 1 },
  );
});

test("a bomb ends at once", () => {
  const started = performance.now();
  expect(compilePattern("(a*)*(a*)*(a|aa)+b", "p").full("a".repeat(300))).toBe(false);
  expect(performance.now() - started).toBeLessThan(250);
});

test.each([
  "(",
  ")",
  "[a",
  "a{2,1}",
  "*",
  "(?<=a)b",
  "(a)\\1",
  "(?i)a",
  "\\",
  "((a{99}){99}){99}",
  "a*+",
  "(?=(?=a))",
])("refuses %s", (pattern) =>
  expect(() => compilePattern(pattern, "c.json: target_modules")).toThrow(/^c\.json: target_modules: /),
);
