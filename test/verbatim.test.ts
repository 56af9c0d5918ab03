/** Arguments that must stand in the sentence, from the command line: one call, and a task of calls by heart. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import { pith } from "./helpers/command-line.ts";

const CALLER = resolve("models/caller");
const dir = await mkdtemp(join(tmpdir(), "pith-verbatim-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

test("pith call --verbatim", async () => {
  const tools = join(dir, "tools.json");
  const place = { type: "string", description: "Where to go" };
  const parameters = { type: "object", properties: { place }, required: ["place"] };
  await writeFile(tools, JSON.stringify([{ name: "book_trip", description: "Book a trip", parameters }]));
  const call = (names: string) =>
    pith("call", CALLER, "--tools", tools, "--verbatim", names, "Book a trip to Glarnhausen");
  for (const names of ["all", "place"])
    expect(JSON.parse((await call(names)).out)).toEqual({
      kind: "calls",
      calls: [{ name: "book_trip", arguments: { place: "Glarnhausen" } }],
    });
  const { code, err } = await call("place,city");
  expect([code, err]).toEqual([
    1,
    expect.stringContaining('none has an argument "city", wanted some of place'),
  ]);
});

test("pith evaluate --verbatim", async () => {
  const task = join(dir, "calls.task.jsonl");
  const asked = [
    "play Xanthippe Brumble on Spotify",
    "add Glimmerstone to my Sunday Quorble playlist",
    "what is the weather in Zwarnbeck",
    "rate Pelbourne Days five of 6",
  ];
  const lines = asked.map((content, i) => ({
    ...(i === 0 && { metric: "calls" }),
    messages: [
      { role: "system", content: "@snips" },
      { role: "user", content },
    ],
    completion: "[]",
  }));
  await writeFile(task, lines.map((line) => JSON.stringify(line)).join("\n"));
  const out = join(dir, "answers.jsonl");
  const run = await pith(
    "evaluate",
    CALLER,
    "--task",
    task,
    "--verbatim",
    "all",
    "--max-tokens",
    "100",
    "--out",
    out,
  );
  expect(run.code).toBe(0);
  const answers = (await readFile(out, "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const texts = answers.flatMap(({ answer }, i) =>
    (JSON.parse(answer) as { arguments: object }[]).flatMap(({ arguments: args }) =>
      Object.values(args).map((text) => [asked[i]!, text as string] as const),
    ),
  );
  expect(texts.length).toBeGreaterThan(5);
  for (const [sentence, text] of texts) expect(sentence).toContain(text);

  await writeFile(task, JSON.stringify({ prompt: "one", completion: "two" }));
  const other = await pith("evaluate", CALLER, "--task", task, "--verbatim", "all");
  expect([other.code, other.err]).toEqual([1, expect.stringContaining('Cannot evaluate "exact" verbatim')]);
});
