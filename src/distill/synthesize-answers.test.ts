import { expect, test } from "vitest";
import { agree, checkAnswer, sameness } from "./synthesize-answers.ts";

const rules = { minLength: 2, maxLength: 40, agreeShare: 0.5 };
const schema = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };

test.each([
  ["yes it is", true, undefined, { text: "yes it is" }],
  ["yes it is", false, undefined, "cut"],
  [" y ", true, undefined, "length"],
  ["", true, undefined, "length"],
  ["x".repeat(41), true, undefined, "length"],
  ['{"n": 1}', true, schema, { text: '{"n": 1}' }],
  ['\n{"n": 1}\n', true, schema, { text: '{"n": 1}' }],
  ['```json\n{"n": 1}\n```', true, schema, { text: '{"n": 1}' }],
  ['Sure: {"n": 1}', true, schema, "not_json"],
  ['{"n": 1', true, schema, "not_json"],
  ['{"n": "1"}', true, schema, "schema"],
  ["[]", true, schema, "schema"],
] as const)("%j, ended: %s", (text, finished, schema, right) => {
  expect(checkAnswer({ text, finished }, { ...rules, ...(schema && { schema: schema as never }) })).toEqual(
    right,
  );
});

test("a majority is kept as its first member says it", () => {
  const t = (text: string) => ({ text });
  expect(agree([t("Paris"), t("London"), t(" paris ")], 0.5)).toEqual(t("Paris"));
  expect(agree([t("a"), t("b"), t("c")], 0.5)).toBe("no_agreement");
  expect(agree([t("a"), t("a"), t("b"), t("b")], 0.5)).toBe("no_agreement");
  expect(agree([t("a"), t("a"), "cut", "cut"], 0.5)).toBe("no_agreement");
  expect(agree([t("a"), "cut", t("a")], 0.5)).toEqual(t("a"));
  expect(agree(["not_json", "cut"], 0.5)).toBe("not_json");
  expect(agree([t("a")], 0.5)).toEqual(t("a"));
  expect(agree(["cut"], 0)).toBe("cut");
  expect(agree([t("b"), t("a"), t("a"), t("a")], 0.75)).toBe("no_agreement");
});

test("JSON is compared by its values", () => {
  expect(sameness('{"a": 1.0, "b": ["x", null]}')).toBe(sameness('{"b":["x",null],"a":1}'));
  expect(sameness('{"a": [1, 2]}')).not.toBe(sameness('{"a": [2, 1]}'));
  expect(sameness('{"a": "X"}')).not.toBe(sameness('{"a": "x"}'));
  expect(sameness("Yes\n it is")).toBe(sameness("yes it IS"));
});
