import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";

const dir = await mkdtemp(join(tmpdir(), "pith-cli-train-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

const SHAPE = ["--layers", "2", "--heads", "2", "--width", "32", "--ctx", "16", "--threads", "1"];

test("pith train makes a model that pith run opens and that tells its text", async () => {
  const text = join(dir, "rhyme.txt");
  await writeFile(text, "the cat sat on the mat. the dog sat on the log. ".repeat(40));
  const out = join(dir, "model");
  const run = ["train", "--data", text, "--eval-share", "0.1", ...SHAPE, "--out", out];
  const settings = ["--batch-tokens", "128", "--steps", "100", "--lr", "1e-2", "--eval-steps", "20"];
  const { code, err } = await pith(...run, ...settings);
  expect(code).toBe(0);
  for (const line of [
    "training all ",
    "100 steps over",
    "memory: ",
    "% step 40 of 100, loss ",
    "evaluation loss ",
    `report: ${join(out, "report.html")}`,
    "run it: pith run ",
  ])
    expect(err).toContain(line);
  expect(await readFile(join(out, "report.html"), "utf8")).toContain("<svg");
  const told = await pith("run", out, "the cat ", "--temperature", "0", "--max-tokens", "7", "--raw");
  expect(told.out).toContain("sat on ");

  const again = await pith(...run, ...settings);
  expect(again.code).toBe(1);
  expect(again.err).toContain("it holds a run at step 100, wanted an empty folder, or resume to go on");
  const other = await pith(...run, ...settings, "--resume", "--min-lr", "1e-4");
  expect(other.err).toContain("min_lr was not set when the run began, and is 0.0001 now");
});

test("pith train tells what it cuts of long samples, or refuses them", async () => {
  const samples = join(dir, "long.jsonl");
  const texts = ["a b", "a b c d e f g h i j k l m n o p"];
  const lines = texts.map((completion) => JSON.stringify({ prompt: "a", completion }));
  await writeFile(samples, lines.join("\n"));
  const run = ["train", "--data", samples, ...SHAPE, "--steps", "1"];
  const { code, err } = await pith(...run, "--out", join(dir, "cut"));
  expect(code).toBe(0);
  expect(err).toMatch(
    /worth knowing: samples longer than the context of .* of 1 the end is cut off, 0 are left out/,
  );
  const refused = await pith(...run, "--long", "error", "--out", join(dir, "refused"));
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("1 of 2 are, the longest with")]);
});

test("pith train says what is wanted of it", async () => {
  const none = await pith("train", ...SHAPE, "--out", join(dir, "x"));
  expect([none.code, none.err]).toEqual([1, expect.stringContaining("with --data file")]);
  const shapeless = await pith("train", "--data", join(dir, "rhyme.txt"), "--out", join(dir, "x"));
  expect([shapeless.code, shapeless.err]).toEqual([1, expect.stringContaining("--config config.json")]);
  const nowhere = await pith("train", "--data", "x");
  expect([nowhere.code, nowhere.err]).toEqual([1, expect.stringContaining("wanted a folder to write to")]);
});
