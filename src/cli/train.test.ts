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

test("pith train says what is wanted of it", async () => {
  const none = await pith("train", ...SHAPE, "--out", join(dir, "x"));
  expect([none.code, none.err]).toEqual([1, expect.stringContaining("with --data file")]);
  const shapeless = await pith("train", "--data", join(dir, "rhyme.txt"), "--out", join(dir, "x"));
  expect([shapeless.code, shapeless.err]).toEqual([1, expect.stringContaining("--config config.json")]);
  const nowhere = await pith("train", "--data", "x");
  expect([nowhere.code, nowhere.err]).toEqual([1, expect.stringContaining("wanted a folder to write to")]);
});
