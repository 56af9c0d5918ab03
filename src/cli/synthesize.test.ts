import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";
import { buildTeacher, TeacherServer } from "../../test/helpers/teacher-server.ts";

let dir: string;
let seeds: string;
let server: TeacherServer;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-synthesize-cli-"));
  seeds = join(dir, "seeds.jsonl");
  await writeFile(
    seeds,
    ["Once upon a time", "One day"].map((prompt) => `${JSON.stringify({ prompt })}\n`).join(""),
  );
  await buildTeacher(dir, false);
  server = await TeacherServer.start(dir);
});
afterAll(async () => {
  await server?.kill();
  await rm(dir, { recursive: true, force: true });
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

const given = (out: string, teacher: string, ...more: string[]) =>
  pith(
    "synthesize",
    "--teacher",
    teacher,
    "--seeds",
    seeds,
    "--count",
    "4",
    "--out",
    join(dir, out),
    ...more,
  );

test("samples of an endpoint, with what they cost", async () => {
  const { code, out, err } = await given("a.jsonl", server.url, "--price-in", "1", "--price-out", "2");
  expect(err).toMatch(/4 samples of \d+ attempts in \d+s: .*a\.jsonl/);
  expect(err).toMatch(new RegExp(`${server.host}: \\d+ answers; tokens: \\d+ of prompts, \\d+ written`));
  expect(err).toMatch(/cost at the prices given: 0\.000\d+/);
  expect([code, out]).toEqual([0, ""]);
  expect((await readFile(join(dir, "a.jsonl"), "utf8")).trim().split("\n").length).toBe(4);
  const json = JSON.parse((await given("a.jsonl", server.url, "--count", "5", "--json")).out);
  expect(json).toMatchObject({ accepted: 5, count: 5, stopped: "count" });
});

test("samples of a model here", async () => {
  const { code, err } = await given(
    "b.jsonl",
    "models/stories",
    "--prompts",
    "seeds",
    "--answer-shots",
    "0",
    "--max-tokens",
    "400",
    "--max-attempts",
    "6",
    "--threads",
    "1",
  );
  expect(err).toMatch(/samples of \d attempts/);
  expect(code).toBe(0);
}, 20_000);

test("nothing is sent to a host that nobody named", async () => {
  const far = "http://far.example.com:8000/v1";
  const { code, err } = await given("c.jsonl", `${server.url},${far}`);
  expect(code).toBe(1);
  expect(err).toContain(
    `to be sent to far.example.com:8000: examples out of ${seeds}, and what the teacher writes of them; over http`,
  );
  expect(err).toContain(
    "Cannot send anything to far.example.com:8000: nothing leaves this machine unless you say so",
  );
  const adapter = await given("c.jsonl", server.url, "--adapter", "x");
  expect(adapter.err).toContain("Cannot use --adapter with endpoints");
});

test("what fails says what is there already", async () => {
  await given("d.jsonl", server.url, "--concurrency", "1");
  await server.misbehave(
    { kind: "cut", times: 1 },
    { kind: "slow", ms: 5, times: 6 },
    { kind: "status", status: 400, times: 9 },
  );
  const { code, err } = await given("d.jsonl", server.url, "--count", "30", "--concurrency", "1");
  expect(code).toBe(1);
  expect(err).toMatch(
    /\d+ of 30 samples are in .*d\.jsonl; the same command goes on\n.*pith: Cannot POST .*it answered 400/s,
  );
});
