// Real models beside each other: what the repository ships, and a variant of it in 4 bits.

import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildTeacher, TeacherServer } from "../../test/helpers/teacher-server.ts";
import { tinyFolder } from "../../test/helpers/tiny-chat-model.ts";
import { evaluate, parseTask } from "../evaluate/index.ts";
import { loadModel } from "../generate/index.ts";
import { convert, inspect, openModel, quantizedModel } from "../models/index.ts";
import { compare } from "./compare.ts";
import { compareHtml, compareMarkdown } from "./report.ts";
import type { CompareEvent, CompareOptions, CompareResult } from "./types.ts";

const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
const { stories } = await import(new URL("../../models/stories/corpus.mjs", import.meta.url).href);
/** As little as gives every figure. */
const QUICK: CompareOptions = { answers: 40, answer_seconds: 0, rounds: 1, threads: 1 };

let dir: string;
let small: string;
let text: string;
let task: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-compare-"));
  small = join(dir, "small.gguf");
  text = join(dir, "held.txt");
  task = join(dir, "next.jsonl");
  const opened = await openModel(STORIES);
  await convert(quantizedModel(opened, "q4_0"), small);
  await opened.close();
  await writeFile(text, stories(8, 31).join("\n"));
  await writeFile(task, await questions(16));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** How stories end: as the model itself ends them, or as the corpus does, in turn. */
async function questions(count: number): Promise<string> {
  await using model = await loadModel(STORIES, { threads: 1 });
  const lines = (stories(count, 77) as string[]).map(async (story, i) => {
    const words = story.split(" ");
    const at = words.length - 6;
    const prompt = words.slice(0, at).join(" ");
    const { text } = await model.generate(prompt, { temperature: 0, maxTokens: 40, stop: "\n" });
    return JSON.stringify({ prompt, completion: i % 2 === 0 ? text : ` ${words.slice(at).join(" ")}` });
  });
  return (await Promise.all(lines)).join("\n");
}

test("a model beside itself and a variant: every figure is that of the part that measures it", async () => {
  const out = join(dir, "report.html");
  const events: CompareEvent[] = [];
  const job = compare([STORIES, STORIES, small], { ...QUICK, text, task, out });
  for await (const event of job) events.push(event);
  const result = await job.result;
  const [first, same, variant] = result.models;
  expect(result.models.map(({ name, kind }) => [name, kind])).toEqual([
    ["stories", "folder"],
    ["stories (2)", "folder"],
    ["small", "gguf"],
  ]);

  const opened = await openModel(small);
  const described = await inspect(opened);
  await opened.close();
  expect(variant).toMatchObject({
    parameters: described.parameters,
    bits_per_weight: described.bits_per_weight,
    file_bytes: (await stat(small)).size,
    types: described.types.map(({ type }) => type.toLowerCase()),
    data: {},
  });
  const files = [
    "model.safetensors",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
  ];
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(STORIES, name))).size));
  expect(first!.file_bytes).toBe(sizes.reduce((a, b) => a + b));

  // The same as evaluate says, of the same windows.
  await using base = await loadModel(STORIES, { threads: 1 });
  await using model = await loadModel(small, { threads: 1 });
  const read = await readFile(text, "utf8");
  const wanted = await evaluate(model, { text: read, base, ctx: 512, stride: 256 });
  for (const name of [
    "perplexity",
    "log_ratio",
    "log_ratio_se",
    "kl_mean",
    "kl_p99",
    "top1",
    "tokens",
  ] as const)
    expect(variant!.text![name], name).toBe(wanted[name]);
  expect(same!.text).toMatchObject({
    log_ratio: 0,
    kl_mean: 0,
    top1: 1,
    perplexity: first!.text!.perplexity,
  });
  expect(first!.text!.kl_mean).toBeUndefined();
  expect(result.text).toMatchObject({ reference: "stories", bytes: Buffer.byteLength(read) });

  const scores = await evaluate(model, { task: parseTask(await readFile(task, "utf8"), task) });
  expect(variant!.tasks[0]!.scores).toEqual(scores.scores);
  expect(first!.tasks[0]!.scores.normalized_match!.value).toBeGreaterThanOrEqual(0.5);
  expect(same!.tasks[0]!.beside_first).toEqual({ value: 0, low: 0, high: 0 });
  const [a, b] = [first, variant].map((one) => one!.tasks[0]!.scores.normalized_match!.value);
  expect(variant!.tasks[0]!.beside_first!.value).toBeCloseTo(b! - a!, 12);

  for (const { memory_bytes, load_ms, speed, answers, energy } of result.models) {
    for (const figure of [memory_bytes, load_ms, speed!.prefill, speed!.decode, speed!.decode_8])
      expect(figure).toBeGreaterThan(0);
    expect(energy!.cpu_seconds_per_token).toBeGreaterThan(0);
    expect(answers).toMatchObject({ count: 40, tokens: 16 });
    expect(answers!.ms).toEqual([...answers!.ms].sort((x, y) => x - y));
    expect(answers!.p50).toBeGreaterThan(answers!.first_token_p50!);
    expect(answers!.p99).toBeUndefined(); // of 40 answers nobody knows it
  }
  const { speed, bits_per_weight } = variant!;
  expect(speed!.largest_at_150! * 150 * bits_per_weight!).toBeCloseTo(8 * speed!.decode_bytes!, -3);

  // One after another: a model's events of a stage are not mixed with another's.
  const turns = events
    .filter(({ stage }) => stage === "speed" || stage === "answers")
    .map((event) => event.model);
  const order = turns.filter((name, i) => name !== turns[i - 1]);
  expect(order).toEqual(["stories", "stories (2)", "small", "stories (2)", "stories"]);

  const html = await readFile(out, "utf8");
  const undated = (page: string) => page.replace(/Written<.*?<\/td>/, "");
  expect(undated(html)).toBe(undated(compareHtml(result)));
  expect(html.match(/<svg /g)!.length).toBe(5);
  expect(html).not.toMatch(/<script|src=|href=|undefined|NaN|Infinity/);
  expect(html).toContain("nowhere: this process computes");
  expect(compareMarkdown(result)).toMatch(
    /\| Perplexity beside stories, % \| – \| 0.00 \(± 0\) \| [+-]\d+\.\d\d \(± [\d.]+\) \|/,
  );
  JSON.parse(JSON.stringify(result));
});

test("bits a byte are those of the text's own probability, whatever the tokenizer", async () => {
  const tiny = await tinyFolder();
  const line = "the land and the inn on a hill, then one and another. on the land! ".repeat(3);
  const file = join(dir, "line.txt");
  await writeFile(file, line);
  try {
    const { models } = await compare([STORIES, tiny], { ...QUICK, answers: 20, text: file }).result;
    for (const [i, path] of [STORIES, tiny].entries()) {
      await using model = await loadModel(path, { threads: 1, ctx: 256 });
      const ids = model.tokenizer.encode(line);
      const n = model.config.vocab_size;
      const logits = await model.logits(ids);
      let bits = 0;
      for (let t = 1; t < ids.length; t++) {
        const row = Array.from(logits.subarray((t - 1) * n, t * n));
        const top = Math.max(...row);
        const sum = row.reduce((total, x) => total + Math.exp(x - top), 0);
        bits -= (row[ids[t]!]! - top - Math.log(sum)) / Math.LN2;
      }
      const first = model.tokenizer.isSpecial(ids[0]!) ? 0 : model.tokenizer.tokenBytes(ids[0]!).length;
      expect(models[i]!.text!.bits_per_byte).toBeCloseTo(bits / (Buffer.byteLength(line) - first), 3);
    }
    expect(models[1]!.text!.kl_mean).toBeUndefined();
    expect(models[1]!.text!.other_tokens).toContain("their vocabularies have");
  } finally {
    await rm(tiny, { recursive: true });
  }
});

test("an endpoint: what HTTP shows is measured, the text stays here, and it is told what was sent where", async () => {
  await buildTeacher(dir, true);
  const server = await TeacherServer.start(dir, STORIES);
  try {
    const out = join(dir, "endpoint.html");
    const options = {
      ...QUICK,
      answers: 20,
      text,
      task,
      task_lines: 12,
      out,
      endpoint: { model: "there", backoffMs: 20 },
    };
    const result = await compare([STORIES, server.url], options).result;
    const [here, there] = result.models;
    expect(there).toMatchObject({ name: `there at ${server.host}`, kind: "endpoint" });
    // The same model, asked over HTTP.
    expect(there!.tasks[0]!.scores).toEqual(here!.tasks[0]!.scores);
    expect(there!.tasks[0]!.scores.normalized_match!.value).toBeGreaterThanOrEqual(0.5);
    expect(there!.tasks[0]!.beside_first).toEqual({ value: 0, low: 0, high: 0 });
    expect(there!.answers!.count).toBe(20);
    expect(there!.speed!.decode_8).toBeGreaterThan(0);
    for (const name of ["parameters", "file_bytes", "memory_bytes", "load_ms", "energy", "text"] as const)
      expect(there![name], name).toBeUndefined();
    const { seen } = await server.seen();
    expect(there!.data).toMatchObject({ sent_to: server.host, requests: seen.length });
    const secret = (await readFile(text, "utf8")).slice(0, 40);
    expect(JSON.stringify(seen)).not.toContain(secret);
    expect(await readFile(out, "utf8")).toContain(`to ${server.host}: ${seen.length} requests`);
  } finally {
    await server.kill();
  }
});

const wrong: [string, () => Promise<[string[], CompareOptions]>, string][] = [
  ["one model", async () => [[STORIES], {}], "Cannot compare 1 models: wanted two or more"],
  [
    "a file that is missing",
    async () => [[STORIES, join(dir, "none.gguf")], {}],
    "found no such file or folder",
  ],
  ["two endpoints", async () => [[STORIES, "http://a/v1", "http://b/v1"], {}], "wanted one at most"],
  [
    "a host that nobody allowed",
    async () => [[STORIES, "https://api.example.com/v1"], {}],
    "nothing leaves this machine unless you say so",
  ],
  ["an endpoint alone", async () => [["http://a/v1", "http://b/v1"], {}], "wanted one at most"],
  [
    "a task without answers",
    async () => {
      const path = join(dir, "open.jsonl");
      await writeFile(path, '{"prompt": "What?"}\n');
      return [[STORIES, small], { task: path }];
    },
    'open.jsonl, line 1": "completion" is missing, wanted the right answer',
  ],
  [
    "an empty text",
    async () => {
      const path = join(dir, "empty.txt");
      await writeFile(path, " \n");
      return [[STORIES, small], { text: path }];
    },
    "it has no text to measure on",
  ],
  [
    "a ctx beyond a model's",
    async () => [[STORIES, small], { ctx: 1024 }],
    "the shortest context of the models is 512",
  ],
  ["no rounds", async () => [[STORIES, small], { rounds: 0 }], "Cannot compare with rounds 0"],
  [
    "a page in a folder that is not there",
    async () => [[STORIES, small], { out: join(dir, "no/report.html") }],
    "found no folder",
  ],
  [
    "a page that is a folder",
    async () => {
      await mkdir(join(dir, "folder"), { recursive: true });
      return [[STORIES, small], { out: join(dir, "folder") }];
    },
    "found a folder there",
  ],
];
test.each(wrong)("%s is refused before anything is measured", async (_, make, message) => {
  const [models, options] = await make();
  const events: CompareEvent[] = [];
  const work = async (): Promise<CompareResult> => {
    const job = compare(models, options);
    for await (const event of job) events.push(event);
    return job.result;
  };
  await expect(work()).rejects.toThrow(message);
  expect(events.filter(({ stage }) => stage !== "opening")).toEqual([]);
});

test("an abort ends it with its reason, and writes nothing", async () => {
  const stop = new AbortController();
  const out = join(dir, "aborted.html");
  const job = compare([STORIES, small], {
    ...QUICK,
    answers: 1e6,
    answer_seconds: 1e6,
    out,
    signal: stop.signal,
  });
  await expect(async () => {
    for await (const { stage } of job) if (stage === "answers") stop.abort(new Error("enough"));
  }).rejects.toThrow("enough");
  await expect(stat(out)).rejects.toThrow("ENOENT");
});
