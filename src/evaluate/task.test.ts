import { rm } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { plainForward } from "../../test/helpers/plain-forward.ts";
import { loadOn, tinyFolder } from "../../test/helpers/tiny-chat-model.ts";
import { TINY, tinyWeights } from "../../test/helpers/tiny-models.ts";
import type { Model } from "../generate/model.ts";
import { evaluate } from "./evaluate.ts";
import type { TaskAnswer, TaskResult } from "./task.ts";
import { parseTask } from "./task-file.ts";

let model: Model;
let folder: string;
beforeAll(async () => {
  folder = await tinyFolder();
  model = await loadOn(folder, { kv: "f32", cacheTokens: 1024 });
});
afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const file = (rows: readonly object[]) =>
  parseTask(rows.map((row) => JSON.stringify(row)).join("\n"), "t.jsonl");
const WORDS = "the land and the inn on a hill then one another".split(" ");
const prompts = Array.from({ length: 40 }, (_, i) => `${WORDS[i % 11]} ${WORDS[(i * 7 + 3) % 11]}`);

it("answers every line as generate and chat do, in order, many at once", async () => {
  const settings = { temperature: 0, maxTokens: 6 };
  const alone: string[] = [];
  for (const [i, prompt] of prompts.entries())
    alone.push(
      i % 2 === 0
        ? (await model.generate(prompt, { ...settings, stop: "\n" })).text
        : (await model.chat([{ role: "user", content: prompt }], settings)).text,
    );
  // Every fourth right answer is wrong on purpose.
  const rows = prompts.map((prompt, i) => ({
    ...(i % 2 === 0 ? { prompt } : { messages: [{ role: "user", content: prompt }] }),
    completion: i % 4 === 3 ? "quite another thing" : ` ${alone[i]!.toUpperCase()} `,
  }));
  const answers: TaskAnswer[] = [];
  const seen: number[] = [];
  const result = await evaluate(model, {
    task: file(rows),
    maxTokens: 6,
    onAnswer: (answer) => answers.push(answer),
    onProgress: ({ done, total }) => seen.push(done / total),
  });
  expect(answers.map(({ answer }) => answer)).toEqual(alone);
  expect(answers.map(({ line }) => line)).toEqual(rows.map((_, i) => i + 1));
  expect(answers.map(({ right }) => right)).toEqual(rows.map((_, i) => i % 4 !== 3));
  expect(result).toMatchObject({
    metric: "exact",
    lines: 40,
    lines_total: 40,
    max_tokens: 6,
    bits_per_weight: 32,
  });
  expect(result.scores.normalized_match!.value).toBe(0.75);
  expect(result.scores.normalized_match!.low).toBeCloseTo(0.598, 3);
  expect(seen).toEqual(rows.map((_, i) => (i + 1) / 40));
  expect((await evaluate(model, { task: file(rows), maxTokens: 6, limit: 3 })).lines_total).toBe(3);
});

it("gives answers room by the longest right one", async () => {
  const tokens = model.tokenizer.encode("land and land", { addSpecial: false }).length;
  const task = file([
    { prompt: "a", completion: "a" },
    { prompt: "a", completion: "land and land" },
  ]);
  expect((await evaluate(model, { task })).max_tokens).toBe(2 * tokens + 16);
});

it("scores choices as float64 formulas do", async () => {
  const weights = new Map([...tinyWeights(TINY.llama)].map(([name, { data }]) => [name, data]));
  const logProb = (ids: readonly number[], from: number) => {
    const rows = plainForward(TINY.llama, weights, ids);
    let sum = 0;
    for (let t = from; t < ids.length; t++) {
      const logits = rows[t - 1]!;
      sum += logits[ids[t]!]! - Math.log(logits.reduce((total, x) => total + Math.exp(x), 0));
    }
    return sum;
  };
  const choices = [" land", " hill and hill", " inn"];
  const rows = prompts.slice(0, 9).map((prompt, i) => ({ prompt, choices, completion: choices[i % 3] }));
  const chats = prompts
    .slice(0, 4)
    .map((content) => ({ messages: [{ role: "user", content }], choices, completion: 1 }));
  const answers: TaskAnswer[] = [];
  const result = await evaluate(model, {
    task: file([...rows, ...chats]),
    onAnswer: (answer) => answers.push(answer),
  });
  let [bySum, byLength] = [0, 0];
  const expected = [...rows, ...chats].map((row, i) => {
    const question =
      "prompt" in row ? model.tokenizer.encode(row.prompt) : model.encodeMessages(row.messages);
    const sums = choices.map((choice) =>
      logProb([...question, ...model.tokenizer.encode(choice)], question.length),
    );
    const best = (values: number[]) => values.indexOf(Math.max(...values));
    const right = i < 9 ? i % 3 : 1;
    if (best(sums) === right) bySum++;
    if (best(sums.map((sum, c) => sum / choices[c]!.length)) === right) byLength++;
    return sums;
  });
  answers.forEach(({ log_probabilities }, i) => {
    log_probabilities!.forEach((sum, c) => {
      expect(sum).toBeCloseTo(expected[i]![c]!, 4);
    });
  });
  expect(result.scores.accuracy_sum!.value).toBeCloseTo(bySum / 13, 12);
  expect(result.scores.accuracy_per_character!.value).toBeCloseTo(byLength / 13, 12);
});

it("scores choices from the same token on when they change how the question is cut", async () => {
  // "th" + "e" is one token of its own: the question's last token is not among those of the first choice.
  const task = file([{ prompt: "a th", choices: ["e", "a"], completion: "a" }]);
  const answers: TaskAnswer[] = [];
  await evaluate(model, { task, onAnswer: (answer) => answers.push(answer) });
  const all = await model.logits(model.encodePrompt("a tha"));
  expect(model.encodePrompt("a the").length).toBeLessThan(model.encodePrompt("a tha").length);
  const ids = model.encodePrompt("a tha");
  const from = model.encodePrompt("a the").length - 1;
  let sum = 0;
  for (let t = from; t < ids.length; t++) {
    const row = all.subarray((t - 1) * 50, t * 50);
    sum += row[ids[t]!]! - Math.log(row.reduce((total, x) => total + Math.exp(x), 0));
  }
  expect(answers[0]!.log_probabilities![1]).toBeCloseTo(sum, 4);
});

it("names the line that cannot be answered, and ends the others", async () => {
  const long = file([
    { prompt: "the land", completion: "a" },
    { prompt: "the land ".repeat(200), completion: "a" },
  ]);
  await expect(evaluate(model, { task: long })).rejects.toThrow(
    /Cannot answer "t.jsonl, line 2": Cannot generate: the prompt has \d+ tokens, but a context of 256/,
  );
  const counted = await evaluate(model, { task: long, long: "wrong" });
  expect(counted).toMatchObject({ lines: 2, lines_too_long: 1 });
  const choices = file([{ prompt: "the land ".repeat(200), choices: ["a", "b"], completion: "a" }]);
  await expect(evaluate(model, { task: choices })).rejects.toThrow(
    /Cannot score "t.jsonl, line 1": it has \d+ tokens, but the context is 256/,
  );
  const bare = file([{ prompt: "", choices: ["a", "b"], completion: "a" }]);
  await expect(evaluate(model, { task: bare })).rejects.toThrow(/nothing stands before a choice/);
  await expect(evaluate(model, { task: long, limit: 0 })).rejects.toThrow(/limit of 0/);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(model.status).toMatchObject({ running: 0, waiting: 0 });
});

it("ends with the signal's reason, and knows what was answered", async () => {
  const stop = new AbortController();
  let partial: TaskResult | undefined;
  const rows = prompts.map((prompt) => ({ prompt, completion: "land" }));
  const running = evaluate(model, {
    task: file(rows),
    signal: stop.signal,
    onProgress: ({ done, result }) => {
      partial = result();
      if (done === 5) stop.abort(new Error("enough"));
    },
  });
  await expect(running).rejects.toThrow("enough");
  expect(partial).toMatchObject({ lines: 5, lines_total: 40 });
  await expect(evaluate(model, { task: file(rows), signal: stop.signal })).rejects.toThrow("enough");
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(model.status).toMatchObject({ running: 0, waiting: 0 });
});
