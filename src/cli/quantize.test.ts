import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";

const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-cli-quantize-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

const { stories } = await import(new URL("../../models/stories/corpus.mjs", import.meta.url).href);
const text = join(dir, "stories.txt");
await writeFile(text, stories(60, 31).join("\n"));

test("pith quantize writes a file that runs, and says what it is and what it cost", async () => {
  const out = join(dir, "small.gguf");
  const options = ["--to", "q8_0", "--eval", text, "--eval-limit", "2", "--threads", "1", "--out", out];
  const { code, err, out: table } = await pith("quantize", STORIES, ...options);
  expect(code).toBe(0);
  expect(err).toMatch(
    /wrote .*small\.gguf: q8_0 by rtn, \d+ KiB, 8\.\d\d bits a weight, 1\.8\d times smaller than 16 bits/,
  );
  expect(err).toContain("worth knowing: the head is the embedding: both are q8_0");
  expect(err).toContain("small.report.html");
  expect(table).toMatch(/as it was +16\.\d\d bits, perplexity \d/);
  expect(table).toMatch(
    /q8_0-rtn +8\.\d\d bits, perplexity [\d.]+ \([+-][\d.]+ % ± [\d.]+ %\), KL [\d.e-]+, same top \d/,
  );
  const run = await pith("run", out, "Once upon", "--temperature", "0", "--max-tokens", "2");
  expect(run.out).toContain(" a time");
});

test("pith quantize --dry-run shows types, sizes and memory; options that are wrong are told", async () => {
  const out = join(dir, "dry");
  const options = ["--calibration", text, "--tokens", "2048", "--out", out, "--dry-run"];
  const dry = await pith("quantize", STORIES, "--to", "q4_0,q8_0", "--method", "rtn,imatrix", ...options);
  expect(dry.code).toBe(0);
  expect(dry.out).toMatch(/q4_0-imatrix +\d+ KiB, 5\.\d\d bits a weight/);
  expect(dry.out).toMatch(/hidden states, before and behind a part +2 · 4 · 2048 tokens · 128 = 2 MiB/);
  expect(dry.err).toContain("dry run: nothing was written");
  expect(await readdir(dir)).not.toContain("dry");
  expect((await pith("quantize", STORIES, "--to", "q9", "--out", out)).code).toBe(2);
  expect(
    await pith("quantize", STORIES, "--to", "q4_0", "--method", "gptq", "--out", `${out}.gguf`),
  ).toMatchObject({
    code: 1,
    err: expect.stringContaining(
      "Cannot quantize by gptq: wanted text or samples to calibrate on (calibration)",
    ),
  });
});

test("pith quantize --json is a list of variants", async () => {
  const out = join(dir, "several");
  const { out: text } = await pith(
    "quantize",
    STORIES,
    "--to",
    "q4_0,q8_0",
    "--threads",
    "1",
    "--out",
    out,
    "--json",
  );
  const { variants } = JSON.parse(text);
  expect(variants.map(({ name }: { name: string }) => name)).toEqual(["q4_0-rtn", "q8_0-rtn"]);
  expect(variants[0].plan.bytes.after).toBeLessThan(variants[1].plan.bytes.after);
  expect(await readFile(join(out, "report.html"), "utf8")).toContain("q8_0-rtn");
});

test("Ctrl-C in the middle of quantizing leaves no file", async () => {
  const folder = await mkdtemp(join(dir, "interrupted-"));
  const timer = setInterval(() => process.emit("SIGINT"), 20);
  const options = ["--method", "imatrix", "--calibration", text, "--out", join(folder, "x.gguf")];
  const { code, err } = await pith("quantize", STORIES, "--to", "q4_0", ...options);
  clearInterval(timer);
  process.exitCode = undefined;
  expect([code, err]).toEqual([130, expect.stringContaining("Interrupted: nothing is half-written")]);
  expect(await readdir(folder)).toEqual([]);
});
