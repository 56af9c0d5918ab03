import { describe, expect, it } from "vitest";
import type { Json } from "../formats/json.ts";
import { loadModel } from "../generate/load.ts";
import { callAnswer, compareCalls } from "./calls.ts";
import { graderFor } from "./scores.ts";
import { evaluateTask } from "./task.ts";
import { parseTask } from "./task-file.ts";

const call = (name: string, args: Json = {}) => ({ name, arguments: args });
const grade = (lines: readonly object[], answers: readonly string[]) => {
  const text = lines.map((line) => JSON.stringify({ prompt: "x", ...line })).join("\n");
  const task = parseTask(text, "t.jsonl", "calls");
  const grader = graderFor(task, 1);
  const right = answers.map((answer, i) => grader.add(task.lines[i]!, answer));
  return { right, scores: grader.result().scores };
};

describe("answers of a caller", () => {
  it("tells calls, questions and refusals apart", () => {
    expect(callAnswer([])).toEqual({ kind: "refusal" });
    expect(callAnswer([call("f")]).kind).toBe("calls");
    expect(callAnswer(call("f")).kind).toBe("calls");
    expect(callAnswer({ name: "f", missing: ["a"] })).toEqual({
      kind: "question",
      name: "f",
      missing: ["a"],
    });
    for (const none of [undefined, "f", 3, {}, [{ a: 1 }], [[]], [{ name: 3 }]])
      expect(callAnswer(none as Json).kind, JSON.stringify(none)).toBe("none");
  });

  it("counts functions, arguments, refusals and questions", () => {
    const lines = [
      { completion: [call("book", { city: "Paris", people: 2 })] },
      { completion: [call("book", { city: "Rome" })] },
      { completion: [] },
      { completion: [] },
      { completion: { name: "book", missing: ["city"], question: "Which city?" } },
      { completion: [call("f"), call("g", { a: [1, 2] })] },
    ];
    const answers = [
      '[{"name":"book","arguments":{"city":"paris ","people":2}}]', // text but for case and space
      '[{"name":"cook","arguments":{"city":"Rome","x":1}}]', // another function
      "[]",
      '[{"name":"book","arguments":{"city":"Oslo"}}]', // called instead of refused
      '{"name":"book","missing":["city"],"question":"Where?"}', // other words ask for the same
      '[{"name":"g","arguments":{"a":[1,2]}},{"name":"f","arguments":{}}]', // the order of calls is free
    ];
    const { right, scores } = grade(lines, answers);
    expect(right).toEqual([true, false, true, false, true, true]);
    const value = (name: string) => scores[name]!.value;
    expect(value("whole_right")).toBeCloseTo(4 / 6, 12);
    expect(value("function_right")).toBeCloseTo(2 / 3, 12);
    expect(value("call_right")).toBeCloseTo(2 / 3, 12);
    // Pairs of lines with calls: city, people; city; a, a. Found one more, x.
    expect(value("argument_recall")).toBeCloseTo(5 / 5, 12);
    expect(value("argument_precision")).toBeCloseTo(5 / 6, 12);
    expect(value("argument_f1")).toBeCloseTo(10 / 11, 12);
    expect(value("refusal_recall")).toBe(0.5);
    expect(value("refusal_precision")).toBe(1);
    expect(value("question_right")).toBe(1);
    expect(value("json_valid")).toBe(1);
  });

  it("takes a question for no call, and text around JSON for no valid answer", () => {
    const { right, scores } = grade(
      [{ completion: [call("book", { city: "Oslo" })] }, { completion: [call("f")] }],
      ['{"name":"book","missing":["city"]}', 'Sure: [{"name":"f","arguments":{}}]'],
    );
    expect(right).toEqual([false, true]);
    expect(scores.function_right!.value).toBe(0.5);
    expect(scores.json_valid!.value).toBe(0.5);
  });

  it("accepts what Berkeley's answers would accept", () => {
    const truth = [
      { f: { side: [5, "five"], unit: ["", "cm"], at: [[1, 2]], box: [{ min: [3], max: ["", 4] }] } },
    ];
    const whole = (args: Json, name = "f") => compareCalls(undefined, truth, [call(name, args)]).whole;
    const good = { side: 5, at: [1, 2], box: { min: 3 } };
    expect(whole(good)).toBe(true);
    expect(whole({ ...good, side: "Five ", unit: "C.M", box: { min: 3, max: 4 } })).toBe(true);
    expect(whole({ ...good, side: 6 })).toBe(false);
    expect(whole({ ...good, unit: "mm" })).toBe(false); // may be absent, but not wrong
    expect(whole({ ...good, other: 1 })).toBe(false);
    expect(whole({ ...good, at: [2, 1] })).toBe(false);
    expect(whole({ ...good, box: { max: 4 } })).toBe(false);
    expect(whole({ side: 5 })).toBe(false);
    expect(whole(good, "g")).toBe(false);
    expect(compareCalls(undefined, truth, [call("f", good), call("f", good)]).whole).toBe(false);
    expect(compareCalls(undefined, truth, []).whole).toBe(false);
    // Two calls of one function, in any order.
    const two = [{ f: { x: [1] } }, { f: { x: [2] } }];
    const both = compareCalls(undefined, two, [call("f", { x: 2 }), call("f", { x: 1 })]);
    expect(both).toMatchObject({ whole: true, functions: true, common: 2, found: 2, wanted: 2 });
    expect(compareCalls(undefined, two, [call("f", { x: 2 }), call("f", { x: 2 })])).toMatchObject({
      whole: false,
      common: 1,
    });
  });

  it("is chosen by the first line's metric or ground_truth, and names what is wrong", () => {
    const first = JSON.stringify({ prompt: "x", metric: "calls", completion: "[]" });
    expect(parseTask(`${first}\n${first}`, "t").metric).toBe("calls");
    expect(parseTask(JSON.stringify({ prompt: "x", ground_truth: [{ f: {} }] }), "t").metric).toBe("calls");
    expect(() => parseTask('{"prompt":"x","metric":"cals","completion":"a"}', "t")).toThrow(
      /"metric" is "cals"/,
    );
    expect(() => parseTask('{"prompt":"x","metric":"calls","completion":"a"}', "t")).toThrow(/wanted calls/);
    expect(() => parseTask('{"prompt":"x","ground_truth":[3]}', "t")).toThrow(/"ground_truth" is a list/);
  });
});

it("holds answers to their schema, or to calls of their tools, where it is told to", async () => {
  await using model = await loadModel("models/stories", { ctx: 128, cacheTokens: 512 });
  const task = (...rows: object[]) =>
    parseTask(rows.map((row) => JSON.stringify(row)).join("\n"), "t.jsonl", "calls");
  const prompt = "Once upon a time";
  const answers: string[] = [];
  await evaluateTask(model, {
    task: task(
      { prompt, tools: [{ name: "stop" }], completion: [] },
      { prompt, schema: { const: [] }, completion: [] },
      { prompt, completion: [] },
    ),
    constrain: true,
    maxTokens: 30,
    onAnswer: ({ answer }) => answers.push(answer),
  });
  expect(answers[0]).toMatch(/^\[(\]|\{"name": ?"stop", ?"arguments": ?\{\}\}[,\]])/);
  expect(answers[1]).toBe("[]");
  expect(answers[2]).not.toContain("[");
  await expect(
    evaluateTask(model, { task: task({ prompt, tools: [{ name: "" }], completion: [] }), constrain: true }),
  ).rejects.toThrow('Cannot answer "t.jsonl, line 1": Cannot use tool 1');
});
