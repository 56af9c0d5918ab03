import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";

const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-cli-compare-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

const quick = ["--answers", "20", "--answer-seconds", "0", "--rounds", "1", "--threads", "1"];

test("pith compare prints a table, sentences and notes, and writes a page", async () => {
  const small = join(dir, "small.gguf");
  expect((await pith("quantize", STORIES, "--to", "q8_0", "--threads", "1", "--out", small)).code).toBe(0);
  const text = join(dir, "held.txt");
  await writeFile(text, "Once upon a time, there was a little fox. ".repeat(40));
  const out = join(dir, "report.html");
  const {
    code,
    out: table,
    err,
  } = await pith("compare", STORIES, small, ...quick, "--text", text, "--out", out);
  expect(code).toBe(0);
  expect(table).toMatch(/^Files, MB +1\.\d{2,3} +0\.\d{2,3} \*$/m);
  expect(table).toMatch(/^Writing, tokens\/s +[\d.,]+( \*)? +[\d.,]+( \*)?$/m);
  expect(table).toMatch(/^Perplexity beside stories, % +– +[+-]?\d+\.\d\d \(± [\d.]+\)$/m);
  expect(err).toMatch(/small beside stories: files 1\.8 times smaller; /);
  expect(err).toContain(`report: ${out}`);
  expect(await readFile(out, "utf8")).toContain("<h1>Compared: stories, small</h1>");
});

test("pith compare --json and --md are the same result", async () => {
  const { out } = await pith("compare", STORIES, STORIES, ...quick, "--json");
  const { models } = JSON.parse(out);
  expect(models.map(({ name }: { name: string }) => name)).toEqual(["stories", "stories (2)"]);
  expect(models[0].answers.ms).toHaveLength(20);
  const { out: md } = await pith("compare", STORIES, STORIES, ...quick, "--md");
  expect(md).toMatch(
    /^# Compared: stories, stories \(2\)\n\n- stories \(2\) beside stories: files of the same size; /,
  );
});

test("what is wrong is told: one model, a host that nobody allowed, a page that cannot be", async () => {
  expect(await pith("compare", STORIES)).toMatchObject({
    code: 1,
    err: expect.stringContaining("Cannot compare 1 models: wanted two or more"),
  });
  const far = await pith("compare", STORIES, "https://api.example.com/v1");
  expect(far).toMatchObject({ code: 1, err: expect.stringContaining("--allow-host api.example.com") });
  expect(far.err).toContain("to be sent to api.example.com: made-up questions");
  const page = join(dir, "no/report.html");
  expect((await pith("compare", STORIES, STORIES, "--out", page)).err).toContain("found no folder");
  await expect(stat(page)).rejects.toThrow("ENOENT");
});
