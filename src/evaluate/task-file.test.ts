import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { METRICS, parseTask } from "./task-file.ts";

const row = (value: unknown) => JSON.stringify(value);
const call = { name: "GetWeather", arguments: { city: "Oslo", timeRange: "today" } };
const FILE = [
  row({ prompt: "a", completion: "b" }),
  row({ messages: [{ role: "user", content: "weather in Oslo" }], completion: call }),
  row({
    messages: [
      { role: "user", content: "x" },
      { role: "assistant", content: JSON.stringify(call) },
    ],
  }),
  row({ prompt: "the sky is", choices: [" blue", " green"], completion: " blue" }),
  row({ prompt: "the sky is", choices: [" blue", " green"], completion: 1 }),
  row({ prompt: "mood:", labels: ["good", "bad"], completion: "bad" }),
  row({ prompt: "json:", schema: { type: "object" } }),
];

describe("task files", () => {
  it("chooses the metric by the first line", () => {
    expect(FILE.map((line) => parseTask(line, "t").metric)).toEqual([
      "exact",
      "slots",
      "slots",
      "choice",
      "choice",
      "label",
      "json",
    ]);
    expect(parseTask(FILE[0]!, "t", "label").metric).toBe("label");
  });

  it("counts lines as the file does, empty ones too", () => {
    const { lines } = parseTask(`\uFEFF${FILE[0]}\r\n\n  \n${FILE[0]}\n`, "t");
    expect(lines.map(({ line }) => line)).toEqual([1, 4]);
  });

  it("takes the assistant's last message as the right answer", () => {
    const { lines } = parseTask(FILE[2]!, "t");
    expect(lines[0]!.messages).toEqual([{ role: "user", content: "x" }]);
    expect(lines[0]!.completion).toBe(JSON.stringify(call));
  });

  it.each<[string, unknown, RegExp]>([
    ["no JSON", "{", /Cannot read "t.jsonl, line 2": found .*, want JSON/],
    ["no object", row([1]), /"t.jsonl, line 2": found a list, wanted an object/],
    ["no question", row({ completion: "b" }), /found neither "messages" and "prompt", wanted one/],
    [
      "two questions",
      row({ prompt: "a", messages: [{ role: "user" }] }),
      /found both "messages" and "prompt"/,
    ],
    ["a number", row({ prompt: 3, completion: "b" }), /"prompt" is a number, wanted text/],
    ["no messages", row({ messages: [], completion: "b" }), /"messages" is an empty list, wanted a list/],
    [
      "a bare message",
      row({ messages: ["hello"], completion: "b" }),
      /a message is a string, wanted an object/,
    ],
    [
      "two answers",
      row({ messages: [{ role: "user" }, { role: "assistant" }], completion: "b" }),
      /wanted one right/,
    ],
    ["no answer", row({ prompt: "a" }), /Cannot measure exact of "t.jsonl, line 2": "completion" is missing/],
    ["an object", row({ prompt: "a", completion: {} }), /"completion" is an object, wanted text/],
    [
      "one choice",
      row({ prompt: "a", completion: "b", choices: ["b"] }),
      /"choices" is a list, wanted a list of at/,
    ],
    [
      "a schema of text",
      row({ prompt: "a", completion: "b", schema: "x" }),
      /"schema" is a string, wanted an object/,
    ],
    ["a key twice", '{"prompt": "a", "prompt": "b"}', /key "prompt" again/],
  ])("%s", (_name, line, message) => {
    expect(() => parseTask(`${FILE[0]}\n${line}`, "t.jsonl")).toThrow(message);
  });

  it("refuses what a metric cannot use", () => {
    expect(() => parseTask("\n \n", "t")).toThrow(/Cannot read "t": it has no lines/);
    expect(() => parseTask(FILE[0]!, "t", "choice")).toThrow(/"choices" is missing/);
    expect(() => parseTask(FILE[0]!, "t", "slots")).toThrow(/"completion" is a string, wanted a JSON object/);
    expect(() => parseTask(FILE[3]!.replace('"completion":" blue"', '"completion":"red"'), "t")).toThrow(
      /"completion" is "red", wanted one of the choices, or its number/,
    );
    expect(() => parseTask(FILE[4]!.replace('"completion":1', '"completion":2'), "t")).toThrow(
      /wanted one of the/,
    );
    expect(() => parseTask(FILE[5]!.replace('"completion":"bad"', '"completion":"so"'), "t")).toThrow(
      /"completion" is "so", wanted one of the 2 labels/,
    );
  });

  it("reads a mutated file or says what is wrong with it, whatever it holds", () => {
    const bytes = Buffer.from(FILE.join("\n"));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        fc.nat(bytes.length),
        fc.constantFrom(undefined, ...METRICS),
        (changes, end, metric) => {
          const mutant = Buffer.from(bytes.subarray(0, Math.max(1, bytes.length - (end % 40))));
          for (const [at, value] of changes) mutant[at % mutant.length] = value;
          try {
            parseTask(mutant.toString(), "mutant", metric);
          } catch (error) {
            expect(error).toSatisfy((e) => [SyntaxError, TypeError, RangeError].some((C) => e instanceof C));
            expect((error as Error).message).toMatch(/"mutant(, line \d+)?": /);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
