import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";

const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-cli-prune-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

const { stories } = await import(new URL("../../models/stories/corpus.mjs", import.meta.url).href);
const data = join(dir, "stories.jsonl");
const texts: string[] = stories(30, 31);
await writeFile(data, texts.map((text) => `${JSON.stringify({ text })}\n`).join(""));
const CAL = ["--calibration", data, "--tokens", "1024", "--trial-tokens", "256", "--threads", "1"];

test("pith prune writes a model that runs, and says what it lost", async () => {
  const out = join(dir, "small");
  const { code, err } = await pith("prune", STORIES, ...CAL, "--ffn", "256", "--kv-heads", "3", "--out", out);
  expect(code).toBe(0);
  expect(err).toMatch(/small: [\d,]+ of 869,504 parameters, 7[\d.]+ %, in \d+s/);
  expect(err).toContain("ffn 352 -> 256, heads 8 -> 6, kv heads 4 -> 3");
  expect(err).toMatch(/loss on the calibration data: 0\.\d+ before, \d\.\d+ after, over [\d,]+ targets/);
  const run = await pith("run", out, "Once upon", "--temperature", "0", "--max-tokens", "2");
  expect(run.out).toContain(" a time");
  const half = await pith("prune", STORIES, ...CAL, "--to", "50%", "--out", join(dir, "half"), "--json");
  const { before, after } = JSON.parse(half.out);
  expect(after.parameters / before.parameters).toBeLessThanOrEqual(0.5);
  expect((await pith("prune", STORIES, ...CAL, "--to", "150%", "--out", join(dir, "x"))).code).toBe(2);
  expect(await pith("prune", STORIES, "--layers", "2", "--out", join(dir, "x"))).toMatchObject({
    code: 1,
    err: expect.stringContaining("wanted text or samples to measure on, with --calibration file"),
  });
});

test("pith distill --recursive prints a line for every generation", async () => {
  const out = join(dir, "generations");
  const train = ["--data", data, "--steps", "2", "--batch-tokens", "256", "--calibration-tokens", "512"];
  const run = ["distill", "--teacher", STORIES, ...train, "--threads", "1", "--out", out];
  const { code, out: table, err } = await pith(...run, "--recursive", "100% > 75%");
  expect(err).toContain("generation 0: 869504 parameters, held-out loss 0.2");
  expect([code, table]).toEqual([
    0,
    expect.stringMatching(/Generation +Parameters[\s\S]*\n +0 +869,504[\s\S]*\n +1 /),
  ]);
  const refused = await pith(...run, "--recursive", "100% > 75%", "--student", STORIES);
  expect(refused.err).toContain("with a student: each generation is a part of the one before");
});

test("Ctrl-C in the middle of pruning leaves nothing", async () => {
  const folder = await mkdtemp(join(dir, "interrupted-"));
  const long = ["--calibration", data, "--tokens", "100000", "--trial-tokens", "100000"];
  const timer = setInterval(() => process.emit("SIGINT"), 200);
  const { code, err } = await pith(
    "prune",
    STORIES,
    ...long,
    "--layers",
    "1",
    "--out",
    join(folder, "model"),
  );
  clearInterval(timer);
  process.exitCode = undefined;
  expect([code, err]).toEqual([130, expect.stringContaining("Interrupted: nothing was written")]);
  expect(await readdir(folder)).toEqual([]);
});
