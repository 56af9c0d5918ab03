// Samples by processes that serve an API and misbehave, by a model in this process, and by runs that are killed.
// PITH_KILLS=50 kills so many times (default 3).

import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { buildFolders } from "../../test/helpers/built.ts";
import { buildTeacher, TeacherServer } from "../../test/helpers/teacher-server.ts";
import { loadOn, tinyFolder } from "../../test/helpers/tiny-chat-model.ts";
import { loadModel } from "../generate/index.ts";
import { readSamples } from "../train/index.ts";
import { synthesize } from "./synthesize.ts";
import type { SynthesizeOptions } from "./synthesize-plan.ts";

const KILLS = Number(process.env.PITH_KILLS ?? 3);
const STORIES = resolve(import.meta.dirname, "../../models/stories");
const SCHEMA = {
  type: "object",
  properties: { place: { type: "string" }, guests: { type: "integer", minimum: 0 } },
  required: ["place", "guests"],
};
let dir: string;
let seeds: string;
let a: TeacherServer;
let b: TeacherServer;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-synthesize-"));
  seeds = await seedFile("seeds.jsonl", [
    { prompt: "Reserve dinner for four at the harbour", completion: '{"place": "harbour", "guests": 4}' },
    { prompt: "I need lunch with my aunt somewhere quiet", completion: '{"place": "quiet", "guests": 2}' },
    { prompt: "Get us a big round table downtown", completion: '{"place": "downtown", "guests": 8}' },
  ]);
  await buildTeacher(dir, false);
  await buildFolders(join(dir, "js"), ["distill"]);
  await writeFile(
    join(dir, "js/run.js"),
    `import { synthesize } from "./distill/synthesize.js";
     console.log("begun");
     const { accepted } = await synthesize(process.argv[2], JSON.parse(process.argv[3])).result;
     console.log(accepted);`,
  );
  [a, b] = await Promise.all([TeacherServer.start(dir), TeacherServer.start(dir)]);
}, 60_000);
beforeEach(async () => {
  await Promise.all([a.misbehave(), b.misbehave()]);
});
afterAll(async () => {
  await Promise.all([a?.kill(), b?.kill()]);
  await rm(dir, { recursive: true, force: true });
});

async function seedFile(name: string, lines: object[]): Promise<string> {
  await writeFile(join(dir, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return join(dir, name);
}

const options = (out: string, more: Partial<SynthesizeOptions> = {}): SynthesizeOptions => ({
  seeds,
  count: 40,
  out: join(dir, out),
  endpoint: { backoffMs: 10, concurrency: 4 },
  ...more,
});
const linesOf = async (out: string) =>
  (await readFile(join(dir, out), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

test("two URLs, of which one dies and comes back: every sample arrives once, and others are the same", async () => {
  const whole = await synthesize(a.url, options("alone.jsonl", { schema: SCHEMA })).result;
  const slow = { kind: "slow", ms: 10, times: 1e9 } as const;
  await Promise.all([
    a.misbehave({ kind: "cut", times: 2 }, { kind: "garbage", times: 1 }, slow),
    b.misbehave({ kind: "status", status: 429, times: 2, headers: { "retry-after": "0.05" } }, slow),
  ]);
  const job = synthesize(`${a.url},${b.url}`, options("both.jsonl", { schema: SCHEMA }));
  let killed = false;
  let last = 0;
  for await (const { accepted, attempts, count } of job) {
    expect(accepted).toBeGreaterThanOrEqual(last);
    expect(attempts).toBeGreaterThanOrEqual(accepted);
    expect(count).toBe(40);
    last = accepted;
    if (accepted >= 8 && !killed) {
      killed = true;
      await a.kill();
    }
  }
  const result = await job.result;
  await a.start();
  expect(killed).toBe(true);
  expect(result).toMatchObject({ accepted: 40, stopped: "count", unchecked_keywords: [] });
  expect(await readFile(join(dir, "both.jsonl"), "utf8")).toBe(
    await readFile(join(dir, "alone.jsonl"), "utf8"),
  );
  expect(result.rejected).toEqual(whole.rejected);
  expect(result.endpoints.map(({ host }) => host)).toEqual([a.host, b.host]);
  expect(result.endpoints[0]!.failed).toBeGreaterThan(3);
  // What was refused was counted: every attempt is either.
  const refused = Object.values(result.rejected).reduce((x, y) => x + y, 0);
  expect(result.attempts).toBe(40 + refused);
  for (const reason of ["not_json", "schema", "cut"] as const)
    expect(result.rejected[reason]).toBeGreaterThan(0);
  const lines = await linesOf("both.jsonl");
  expect(new Set(lines.map(({ prompt }) => prompt)).size).toBe(40);
  for (const { completion, source } of lines) {
    expect(JSON.parse(completion)).toEqual({ place: expect.any(String), guests: expect.any(Number) });
    expect(source.seeds.length).toBe(3);
  }
  expect((await a.seen()).seen.length).toBe(0); // none came twice when it was back
}, 60_000);

test("what is written can be learned, and is asked for in the form of chats", async () => {
  const chats = await seedFile("chats.jsonl", [
    {
      messages: [
        { role: "system", content: "Be brief" },
        { role: "user", content: "Where to eat?" },
        { role: "assistant", content: "At home" },
      ],
    },
    {
      messages: [
        { role: "system", content: "Be brief" },
        { role: "user", content: "Who is there?" },
      ],
    },
  ]);
  const { prompt_tokens, completion_tokens, cost } = await synthesize(
    a.url,
    options("chat.jsonl", { seeds: chats, count: 5, system: "Be long", price: { prompt: 2, completion: 8 } }),
  ).result;
  expect(cost).toBeCloseTo((prompt_tokens * 2 + completion_tokens * 8) / 1e6, 12);
  const lines = await linesOf("chat.jsonl");
  expect(lines.map(({ messages }) => messages.map(({ role }: { role: string }) => role))).toEqual(
    Array.from({ length: 5 }, () => ["system", "user", "assistant"]),
  );
  expect(lines[0].messages[0].content).toBe("Be brief");
  const { seen } = await a.seen();
  const answers = seen.filter(({ body }) => (body.messages as unknown[] | undefined)?.length === 2);
  expect(answers.length).toBeGreaterThan(0);
  for (const { path, body } of answers) {
    expect(path).toBe("/v1/chat/completions");
    expect((body.messages as { content: string }[])[0]!.content).toBe("Be long");
    expect(body).toMatchObject({ model: "rule", temperature: 0.8, max_tokens: 512 });
  }
  await using model = await loadModel(STORIES, { threads: 1 });
  const read = (out: string) =>
    readSamples(join(dir, out), { tokenizer: model.tokenizer, ctx: 512, raw: true, long: "cut" });
  await synthesize(a.url, options("raw.jsonl", { count: 5, raw: true })).result;
  expect((await read("raw.jsonl")).samples.length).toBe(5);
  for (const { completion } of await linesOf("raw.jsonl")) expect(completion).toBe(completion.trim());
});

test("answers to the seeds' own prompts, kept where most samples agree", async () => {
  const bare = await seedFile(
    "bare.jsonl",
    ["one", "two", "three", "four"].map((prompt) => ({ prompt })),
  );
  const given = options("own.jsonl", { seeds: bare, prompts: "seeds", count: 4, agree: 3, maxAttempts: 30 });
  const result = await synthesize(a.url, given).result;
  // The rule gives each seed its own answer, so three never agree.
  expect(result).toMatchObject({
    accepted: 0,
    attempts: 30,
    stopped: "attempts",
    rejected: { no_agreement: 30 },
  });
  const single = await synthesize(a.url, options("own1.jsonl", { seeds: bare, prompts: "seeds", count: 4 }))
    .result;
  expect(single.accepted).toBe(4);
  const lines = await linesOf("own1.jsonl");
  for (const { prompt, source } of lines)
    expect(prompt).toBe(["one", "two", "three", "four"][source.seeds[0] - 1]);
});

test("a model in this process writes under the schema, with the same texts again, however it is interrupted", async () => {
  await using model = await loadModel(STORIES, { threads: 2, sequences: 4 });
  const stories = await seedFile(
    "stories.jsonl",
    ["Once upon a time", "One day, Tom", "Mina had a"].map((prompt) => ({ prompt })),
  );
  const schema = {
    type: "object",
    properties: { name: { type: "string", maxLength: 8 }, age: { enum: [1, 2] } },
    required: ["name", "age"],
  };
  const given = (out: string) =>
    options(out, {
      seeds: stories,
      prompts: "seeds",
      count: 12,
      maxTokens: 40,
      schema,
      sequences: 4,
      seed: 7,
      maxAttempts: 60,
    });
  const whole = await synthesize(model, given("m1.jsonl")).result;
  for (const { completion } of await linesOf("m1.jsonl"))
    expect(JSON.parse(completion)).toEqual({ name: expect.any(String), age: expect.any(Number) });
  expect(whole).toMatchObject({ accepted: 12, stopped: "count" });
  expect(whole.endpoints[0]).toMatchObject({ host: "here" });
  expect(whole.completion_tokens).toBeGreaterThan(50);
  for (let stops = 0; ; stops++) {
    const job = synthesize(model, given("m2.jsonl"));
    let had: number | undefined;
    for await (const { accepted } of job) {
      had ??= accepted;
      if (accepted > had + 2) break;
    }
    if ((await job.result.catch(() => undefined)) === undefined) continue;
    expect(stops).toBeGreaterThan(0);
    break;
  }
  expect(await readFile(join(dir, "m2.jsonl"), "utf8")).toBe(await readFile(join(dir, "m1.jsonl"), "utf8"));
  // More of them: the first ones stay.
  const more = await synthesize(model, { ...given("m2.jsonl"), count: 14 }).result;
  expect(more.accepted).toBe(14);
  expect((await linesOf("m2.jsonl")).slice(0, 12)).toEqual(await linesOf("m1.jsonl"));
}, 60_000);

test("the majority's answer, by a model that is loaded for it; a chat model is asked in its form", async () => {
  const stories = await seedFile("same.jsonl", [{ prompt: "Once upon a time" }, { prompt: "One day, Tom" }]);
  const given = options("same-out.jsonl", {
    seeds: stories,
    prompts: "seeds",
    count: 2,
    agree: 3,
    maxTokens: 400,
  });
  const result = await synthesize(STORIES, { ...given, temperature: 0 }).result;
  expect(result).toMatchObject({ accepted: 2, attempts: 2, rejected: {} });
  expect((await linesOf("same-out.jsonl")).map(({ source }) => source.seeds)).toEqual([[1], [2]]);
  // What greedy answers are, a second time, is known.
  const all = { ...given, temperature: 0, agree: 1, count: 9 };
  expect(await synthesize(STORIES, { ...all, out: join(dir, "all.jsonl") }).result).toMatchObject({
    ...{ accepted: 2, attempts: 2, stopped: "attempts" },
  });
  const folder = await tinyFolder();
  try {
    await using tiny = await loadOn(folder);
    expect(tiny.canChat).toBe(true);
    // Random weights end nothing: what counts is that every attempt was one.
    const more = { seeds: stories, count: 1, maxAttempts: 3, promptTokens: 4, maxTokens: 4 };
    const chat = await synthesize(tiny, options("tiny.jsonl", more)).result;
    expect(chat.attempts).toBe(chat.accepted + Object.values(chat.rejected).reduce((x, y) => x + y, 0));
    expect(chat.prompt_tokens).toBeGreaterThan(100); // the examples, in messages
    await expect(synthesize(tiny, options("tiny2.jsonl", { ...more, think: true })).result).rejects.toThrow(
      "Cannot turn thinking on",
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("what endpoints are asked for beside the text", async () => {
  const bare = await seedFile("asked.jsonl", [{ prompt: "one" }]);
  const ask = async (out: string, more: Partial<SynthesizeOptions>) => {
    await synthesize(
      a.url,
      options(out, { seeds: bare, prompts: "seeds", count: 1, maxAttempts: 1, schema: SCHEMA, ...more }),
    ).result;
    return (await a.seen()).seen.at(-1)!.body;
  };
  expect(await ask("asked1.jsonl", { system: "Be brief", stop: ["!"], topP: 0.9 })).toMatchObject({
    messages: [
      { role: "system", content: "Be brief" },
      { role: "user", content: "one" },
    ],
    response_format: { type: "json_schema", json_schema: { schema: SCHEMA } },
    stop: ["!"],
    top_p: 0.9,
  });
  const free = await ask("asked2.jsonl", { responseFormat: false, think: false });
  expect(free.response_format).toBeUndefined();
  expect(free.chat_template_kwargs).toEqual({ enable_thinking: false, thinking: false });
  const shown = await ask("asked3.jsonl", { seeds, raw: true, answerShots: 1 });
  expect(shown.prompt).toMatch(
    /^Request: .+\nAnswer: \{.+\}\n\nRequest: Reserve dinner for four at the harbour\nAnswer:$/,
  );
  expect(shown.stop).toEqual(["\nRequest:"]);
});

test("a disk that is full loses nothing", async () => {
  const given = options("full.jsonl", { count: 60, endpoint: { backoffMs: 10, concurrency: 3 } });
  await synthesize(a.url, { ...given, out: join(dir, "unfull.jsonl") }).result;
  const run = (limits: string) => {
    const line = `${limits}exec "${process.execPath}" "${join(dir, "js/run.js")}" "${a.url}" '${JSON.stringify(given)}'`;
    return spawn("bash", ["-c", line], { stdio: ["ignore", "pipe", "pipe"] });
  };
  const small = run("ulimit -f 4; "); // files of at most 4 KiB
  const [err, [code]] = await Promise.all([small.stderr.toArray(), once(small, "close")]);
  expect(err.join("")).toContain('Cannot write "');
  expect(code).not.toBe(0);
  const left = await readFile(join(dir, "full.jsonl"), "utf8");
  expect(left.endsWith("\n")).toBe(true);
  expect(left.length).toBeGreaterThan(1000);
  const [out] = await Promise.all([run("").stdout.toArray()]);
  expect(out.join("")).toBe("begun\n60\n");
  expect(await readFile(join(dir, "full.jsonl"), "utf8")).toBe(
    await readFile(join(dir, "unfull.jsonl"), "utf8"),
  );
}, 60_000);

test("texts in the manner of texts", async () => {
  const texts = await seedFile("texts.jsonl", [
    { text: "A small request for peace" },
    { text: "Another request, for rain" },
  ]);
  await synthesize(a.url, options("texts-out.jsonl", { seeds: texts, count: 3 })).result;
  for (const { text, source } of await linesOf("texts-out.jsonl")) {
    expect(text).toEqual(expect.any(String));
    expect(source.seeds.length).toBe(2);
  }
});

test(`killed at random ${KILLS} times, it ends with the bytes of a run that was not`, async () => {
  await Promise.all([a, b].map((server) => server.misbehave({ kind: "slow", ms: 15, times: 1e9 })));
  const given = (out: string) =>
    options(out, { count: 80, schema: SCHEMA, endpoint: { backoffMs: 10, concurrency: 3 } });
  const from = performance.now();
  await synthesize(b.url, given("whole.jsonl")).result;
  const lasts = performance.now() - from;
  const whole = await readFile(join(dir, "whole.jsonl"), "utf8");
  let kills = 0;
  for (let file = 0; kills < KILLS; file++) {
    const out = join(dir, `killed${file}.jsonl`);
    for (let done = false; !done; ) {
      const child = spawn(
        process.execPath,
        [join(dir, "js/run.js"), `${a.url},${b.url}`, JSON.stringify(given(`killed${file}.jsonl`))],
        { stdio: ["ignore", "pipe", "pipe"] },
      );
      let [said, err, timer] = ["", "", undefined as NodeJS.Timeout | undefined];
      child.stderr.on("data", (text) => (err += text));
      child.stdout.on("data", (text) => {
        said += text;
        // Of two URLs, half the time of one.
        if (kills < KILLS) timer ??= setTimeout(() => child.kill("SIGKILL"), Math.random() * 0.4 * lasts);
      });
      const [, signal] = await once(child, "close");
      clearTimeout(timer);
      done = signal !== "SIGKILL";
      if (done) expect([said, err]).toEqual(["begun\n80\n", ""]);
      else kills++;
      // Every line that is there is whole, whenever it was.
      const text = await readFile(out, "utf8").catch(() => "");
      for (const line of text.split("\n").slice(0, -1)) JSON.parse(line);
      if (!done && kills % 2 === 0 && text !== "") await appendFile(out, '{"prompt": "torn'); // what a power cut may leave
    }
    expect(await readFile(out, "utf8")).toBe(whole);
  }
}, 300_000);

test("offline, not even a server on this machine is asked: it may pass on what it gets", async () => {
  await writeFile(
    join(dir, "js/offline.js"),
    `import { goOffline } from "./hub/offline.js";
     import { EndpointPool } from "./remote/index.js";
     const early = new EndpointPool(process.argv[2]);
     goOffline();
     try { new EndpointPool(process.argv[2]); } catch (error) { console.log(error.message); }
     await early.request("models", undefined, String).catch((error) => console.log(error.message));`,
  );
  const before = (await a.seen()).seen.length;
  const child = spawn(process.execPath, [join(dir, "js/offline.js"), a.url], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [text] = await Promise.all([child.stdout.toArray(), once(child, "close")]);
  expect(text.join("").split("\n")).toEqual([
    `Cannot use the endpoint ${a.host}: this process is offline (--offline), which forbids every connection`,
    `Cannot GET ${a.url}/models: Cannot connect to 127.0.0.1:${a.host.split(":")[1]}: this process is offline (--offline)`,
    "",
  ]);
  expect((await a.seen()).seen.length).toBe(before);
});

test("what cannot be gone on with is refused, and what fails loses nothing", async () => {
  const given = options("other.jsonl", { count: 10 });
  await synthesize(a.url, given).result;
  const again = (more: Partial<SynthesizeOptions>) =>
    synthesize(a.url, { ...given, count: 12, ...more }).result;
  await expect(again({ temperature: 0.5 })).rejects.toThrow(
    /Cannot go on with ".*other\.jsonl": it was begun with temperature 0\.8, now 0\.5; use another file, or remove it and ".*other\.jsonl\.state\.json"/,
  );
  await expect(again({ seeds: await seedFile("new.jsonl", [{ prompt: "x" }]) })).rejects.toThrow(
    "it was begun with seeds",
  );
  await writeFile(join(dir, "mine.jsonl"), "precious\n");
  await expect(again({ out: join(dir, "mine.jsonl") })).rejects.toThrow("a file is there, wanted a new one");
  expect(await readFile(join(dir, "mine.jsonl"), "utf8")).toBe("precious\n");
  const before = await readFile(join(dir, "other.jsonl"), "utf8");
  await a.misbehave({ kind: "status", status: 400, times: 1, body: '{"error":{"message":"no"}}' });
  await expect(again({})).rejects.toThrow('it answered 400: "no"');
  expect((await readFile(join(dir, "other.jsonl"), "utf8")).startsWith(before)).toBe(true);
  expect((await again({})).accepted).toBe(12);
  await writeFile(join(dir, "other.jsonl"), before.slice(0, 20));
  await expect(again({ count: 13 })).rejects.toThrow("it has 20 bytes, wanted at least");
  await writeFile(join(dir, "other.jsonl.state.json"), "{}");
  await expect(again({})).rejects.toThrow("it is no state of pith synthesize");
  const rejects = (more: Partial<SynthesizeOptions>, message: string) =>
    expect(synthesize(a.url, options("none.jsonl", more)).result).rejects.toThrow(message);
  await rejects({ count: 0 }, "count 0: wanted a whole number from 1");
  await rejects({ near: 2 }, "near 2: wanted a number from 0 to 1");
  await rejects({ seeds: join(dir, "missing.jsonl") }, "no such file");
  await rejects(
    { seeds: await seedFile("mixed.jsonl", [{ prompt: "x" }, { text: "y" }]) },
    "mixed.jsonl, line 2",
  );
  await rejects(
    { seeds: await seedFile("bad.jsonl", [{ words: "x" }]) },
    'wanted "messages", "prompt" with "completion", or "text"',
  );
  const texts = await seedFile("only-texts.jsonl", [{ text: "A text" }]);
  await rejects(
    { seeds: texts, schema: SCHEMA },
    "Cannot ask for a schema or agreement of seeds that are texts",
  );
  await rejects({ seeds: texts, prompts: "seeds" }, "Cannot answer seeds that are texts");
  const talk = await seedFile("talk.jsonl", [
    { messages: ["user", "assistant", "user"].map((role) => ({ role, content: role })) },
  ]);
  await rejects({ seeds: talk }, "the seed in line 1 is one, wanted one question each");
  await rejects({ seeds: talk, prompts: "seeds", raw: true }, "with a teacher that cannot chat");
  await rejects({ seeds: talk, prompts: "seeds", answerShots: 1 }, "no seed has an answer");
  await rejects({ adapter: "x" }, "Cannot use an adapter with endpoints");
  await expect(synthesize("http://far.example.com/v1", options("none.jsonl")).result).rejects.toThrow(
    "nothing leaves this machine",
  );
});
