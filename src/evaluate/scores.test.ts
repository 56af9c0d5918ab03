import { Ajv } from "ajv";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json } from "../formats/json.ts";
import { compareSlots, findJson, labelOf, normalize } from "./answers.ts";
import { rates } from "./figures.ts";
import { matchesSchema, uncheckedKeywords } from "./schema.ts";
import { graderFor } from "./scores.ts";
import { bootstrap, meanAndError, mulberry32, percentile, wilson } from "./statistics.ts";
import { type Metric, parseTask } from "./task-file.ts";

/** Grades answers to lines with these right answers. */
function grade(
  metric: Metric,
  pairs: readonly (readonly [right: unknown, answer: string])[],
  more: object = {},
) {
  const text = pairs.map(([completion]) => JSON.stringify({ prompt: "q", completion, ...more })).join("\n");
  const task = parseTask(text, "t", metric);
  const grader = graderFor(task, 1);
  const right = pairs.map(([, answer], i) => grader.add(task.lines[i]!, answer));
  return { right, ...grader.result() };
}
const value = (figures: ReturnType<typeof grade>, name: string) => figures.scores[name]?.value;

describe("statistics", () => {
  it("knows Wilson's interval", () => {
    // The textbook's example values, to three digits: 10 of 20, 0 of 10, 81 of 263 (Newcombe 1998).
    expect(wilson(10, 20).map((x) => x.toFixed(4))).toEqual(["0.2993", "0.7007"]);
    expect(wilson(0, 10).map((x) => x.toFixed(4))).toEqual(["0.0000", "0.2775"]);
    expect(wilson(81, 263).map((x) => x.toFixed(4))).toEqual(["0.2553", "0.3662"]);
    expect(wilson(0, 0)).toEqual([0, 1]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, p) => {
        const k = Math.round(p * n);
        const [low, high] = wilson(k, n);
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(1);
        expect(low).toBeLessThanOrEqual(k / n);
        expect(high).toBeGreaterThanOrEqual(k / n);
      }),
    );
  });

  it("bootstraps a mean as the formula for it says, and the same for the same seed", () => {
    const random = mulberry32(5);
    const data = Float64Array.from({ length: 400 }, random);
    const mean = (items: ArrayLike<number>) => meanAndError(Array.from(items, (i) => data[i]!)).mean;
    const found = bootstrap(400, mean, { seed: 3 });
    const { mean: middle, error } = meanAndError(data);
    expect(found[0]).toBeCloseTo(middle - 1.96 * error, 2);
    expect(found[1]).toBeCloseTo(middle + 1.96 * error, 2);
    expect(bootstrap(400, mean, { seed: 3 })).toEqual(found);
    expect(bootstrap(400, mean, { seed: 4 })).not.toEqual(found);
  });

  it("interpolates percentiles", () => {
    expect([0, 0.5, 0.75, 1].map((f) => percentile([1, 2, 4], f))).toEqual([1, 2, 3, 4]);
  });
});

describe("exact and label", () => {
  it("normalizes case and space only", () => {
    expect(normalize("  Guten \n\t TAG ")).toBe("guten tag");
    const graded = grade("exact", [
      ["Oslo", " Oslo\n"],
      ["Oslo", "oslo"],
      ["New York", "new  york"],
      ["Oslo", "Oslo!"],
    ]);
    expect(graded.right).toEqual([true, true, true, false]);
    expect([value(graded, "exact_match"), value(graded, "normalized_match")]).toEqual([0.25, 0.75]);
  });

  it("finds labels and counts them", () => {
    expect(['"Play_Music".', "\n play_music\nand more", "**Play_Music**"].map(labelOf)).toEqual(
      Array(3).fill("play_music"),
    );
    const graded = grade("label", [
      ["A", "a"],
      ["A", "b."],
      ["B", "b"],
      ["C", "who knows"],
    ]);
    expect(value(graded, "accuracy")).toBe(0.5);
    expect(graded.unknown_labels).toBe(1);
    expect(graded.labels).toMatchObject([
      { label: "A", wanted: 2, answered: 1, right: 1, precision: 1, recall: 0.5 },
      { label: "B", wanted: 1, answered: 2, right: 1, precision: 0.5, recall: 1 },
      { label: "C", wanted: 1, answered: 0, right: 0, f1: 0 },
    ]);
    expect(value(graded, "macro_f1")).toBeCloseTo((2 / 3 + 2 / 3 + 0) / 3, 12);
  });

  it("agrees with counting by hand", () => {
    const label = fc.constantFrom("a", "b", "c");
    fc.assert(
      fc.property(
        fc.array(fc.tuple(label, fc.constantFrom("a", "b", "c", "x")), { minLength: 1, maxLength: 30 }),
        (pairs) => {
          const graded = grade("label", pairs);
          const right = pairs.filter(([want, found]) => want === found).length;
          expect(value(graded, "accuracy")).toBeCloseTo(right / pairs.length, 12);
          for (const { label, precision, recall, f1 } of graded.labels!) {
            const tp = pairs.filter(([w, f]) => w === label && f === label).length;
            const p = tp / Math.max(1, pairs.filter(([, f]) => f === label).length);
            const r = tp / Math.max(1, pairs.filter(([w]) => w === label).length);
            expect([precision, recall]).toEqual([p, r]);
            expect(f1).toBeCloseTo(p + r === 0 ? 0 : (2 * p * r) / (p + r), 12);
          }
          const { low, high, value: middle } = graded.scores.macro_f1!;
          expect(low).toBeLessThanOrEqual(high);
          expect(middle).toBeGreaterThanOrEqual(0);
          expect(high).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 20 },
    );
  });
});

describe("slots", () => {
  const gold = {
    name: "BookRestaurant",
    arguments: { city: "New York", party_size: 4, cuisine: ["thai", "indian"] },
  };
  const same = (answer: unknown) => compareSlots(gold, answer as Json);

  it("takes calls in every form there is", () => {
    const args = { city: "new  york", party_size: "4", cuisine: ["Indian", "thai"] };
    for (const answer of [
      gold,
      { name: "BookRestaurant", arguments: args },
      { name: "BookRestaurant", parameters: args },
      { name: "BookRestaurant", arguments: JSON.stringify(args) },
      { type: "function", function: { name: "BookRestaurant", arguments: JSON.stringify(args) } },
      [{ name: "BookRestaurant", arguments: { ...args, time: null, note: "" } }],
    ])
      expect(same(answer)).toEqual({ function: true, whole: true, common: 4, found: 4, wanted: 4 });
  });

  it("counts what is right, wrong and missing", () => {
    expect(same({ name: "GetWeather", arguments: { city: "new york", party_size: 5 } })).toEqual({
      function: false,
      whole: false,
      common: 1,
      found: 2,
      wanted: 4,
    });
    expect(same({ name: "BookRestaurant" })).toEqual({
      function: true,
      whole: false,
      common: 0,
      found: 0,
      wanted: 4,
    });
    for (const nothing of [undefined, "BookRestaurant", 3, null, [1]])
      expect(same(nothing)).toEqual({ function: false, whole: false, common: 0, found: 0, wanted: 4 });
    // A slot may be called name.
    expect(compareSlots({ name: "Bob", age: 3 }, { age: 3, name: "bob" })).toMatchObject({
      function: undefined,
      whole: true,
    });
    expect(compareSlots({ a: { b: 1 } }, { "a.b": "1" }).whole).toBe(true);
  });

  it("compares several calls in any order, each with its own arguments", () => {
    const [a, b] = [
      { name: "f", arguments: { x: 1 } },
      { name: "g", arguments: { y: 2 } },
    ];
    expect(compareSlots([a, b], [b, a])).toEqual({
      function: true,
      whole: true,
      common: 2,
      found: 2,
      wanted: 2,
    });
    const crossed = [
      { name: "f", arguments: { y: 2 } },
      { name: "g", arguments: { x: 1 } },
    ];
    expect(compareSlots([a, b], crossed)).toMatchObject({ function: true, whole: false, common: 2 });
    expect(compareSlots([a, a], [a])).toMatchObject({ function: false, common: 1, wanted: 2 });
  });

  it("finds JSON in text", () => {
    expect(findJson('Sure: ```json\n{"a": "}"}\n``` done')).toEqual({ a: "}" });
    expect(findJson('<tool_call>{"name":"f"}</tool_call>\n<tool_call>{"name":"g"}</tool_call>')).toEqual([
      { name: "f" },
      { name: "g" },
    ]);
    expect(findJson('{"a": {"b": 1}')).toEqual({ b: 1 });
    expect(findJson("none [here")).toBeUndefined();
    const started = performance.now();
    expect(findJson("[".repeat(100_000))).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it("gives all figures of an answer sheet, and F1 as precision and recall make it", () => {
    const slots = fc.dictionary(fc.constantFrom("city", "time", "size"), fc.constantFrom("a", "b", 1, true));
    const calls = fc.record({ name: fc.constantFrom("f", "g"), arguments: slots });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(calls, fc.oneof(calls, fc.constant("no idea"))), { minLength: 1, maxLength: 12 }),
        (pairs) => {
          const graded = grade(
            "slots",
            pairs.map(([want, found]) => [want, typeof found === "string" ? found : JSON.stringify(found)]),
          );
          let [common, found, wanted] = [0, 0, 0];
          for (const [want, answer] of pairs) {
            const got: Record<string, unknown> = typeof answer === "string" ? {} : answer.arguments;
            const rows = Object.entries(want.arguments);
            common += rows.filter(([k, v]) => got[k] === v).length;
            wanted += rows.length;
            found += Object.keys(got).length;
          }
          const expected = rates(common, found, wanted);
          expect([value(graded, "precision"), value(graded, "recall"), value(graded, "f1")]).toEqual([
            expected.precision,
            expected.recall,
            expected.f1,
          ]);
          const right = pairs.filter(
            ([want, answer]) => typeof answer !== "string" && answer.name === want.name,
          ).length;
          expect(value(graded, "function_right")).toBe(right / pairs.length);
          expect(graded.right).toEqual(
            pairs.map(
              ([want, answer]) =>
                typeof answer !== "string" &&
                answer.name === want.name &&
                sorted(want.arguments) === sorted(answer.arguments),
            ),
          );
        },
      ),
      { numRuns: 30 },
    );
  });
});

const sorted = (o: object) => JSON.stringify(Object.entries(o).sort());

describe("json", () => {
  it("tells valid, as the schema wants, and right", () => {
    const schema = { type: "object", required: ["a"], properties: { a: { type: "integer", pattern: "x" } } };
    const graded = grade(
      "json",
      [
        [{ a: 1 }, '{"a": 1}'],
        [{ a: 1 }, ' {"a": 2} '],
        [{ a: 1 }, '{"b": 2}'],
        [{ a: 1 }, 'Here: {"a": 1}'],
      ],
      { schema },
    );
    expect([
      value(graded, "json_valid"),
      value(graded, "schema_valid"),
      value(graded, "value_right"),
    ]).toEqual([0.75, 0.5, 0.25]);
    expect(graded.right).toEqual([true, false, false, false]);
    expect(graded.unchecked_keywords).toEqual(["pattern"]);
  });

  it("agrees with ajv on what it checks", () => {
    const leaf: fc.Arbitrary<Json> = fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.constantFrom(-1, 0, 1, 2.5, 7),
      fc.constantFrom("", "a", "abc", "é🙂"),
    );
    const json: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 2 },
        leaf,
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom("a", "b"), tie("value")) as fc.Arbitrary<Json>,
      ),
    })).value;
    const plain = {
      type: fc.constantFrom("string", "number", "integer", "boolean", "null", "array", "object"),
      enum: fc.uniqueArray(leaf, { minLength: 1, maxLength: 3, selector: (x) => JSON.stringify(x) }),
      const: leaf,
      required: fc.uniqueArray(fc.constantFrom("a", "b")),
      minItems: fc.nat(2),
      maxItems: fc.nat(2),
      minimum: fc.constantFrom(0, 1),
      exclusiveMaximum: fc.constantFrom(1, 7),
      minLength: fc.nat(3),
      maxLength: fc.nat(3),
    };
    const schema: fc.Arbitrary<object> = fc.letrec<{ schema: object }>((tie) => ({
      schema: fc.oneof(
        { maxDepth: 2 },
        fc.record(plain, { requiredKeys: [] }),
        fc.record(
          {
            properties: fc.dictionary(fc.constantFrom("a", "b"), tie("schema")),
            items: tie("schema"),
            additionalProperties: fc.oneof(fc.boolean(), tie("schema")),
            anyOf: fc.array(tie("schema"), { minLength: 1, maxLength: 2 }),
            oneOf: fc.array(tie("schema"), { minLength: 1, maxLength: 2 }),
          },
          { requiredKeys: [] },
        ),
      ),
    })).schema;
    const ajv = new Ajv({ strict: false });
    fc.assert(
      fc.property(schema, fc.array(json, { minLength: 1, maxLength: 5 }), (s, values) => {
        const check = ajv.compile(s);
        for (const v of values) expect(matchesSchema(v, s as Json)).toBe(check(v));
        expect([...uncheckedKeywords(s as Json)]).toEqual([]);
      }),
      { numRuns: 80 },
    );
  });
});
