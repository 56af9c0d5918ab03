import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";

const BASE = fileURLToPath(new URL("../../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-cli-tune-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

const things = ["cat", "dog", "tree", "house", "boat", "bird", "girl", "boy", "box", "ball", "hat", "fish"];
const data = join(dir, "train.jsonl");
await writeFile(
  data,
  things
    .map((thing) => `${JSON.stringify({ prompt: `The ${thing} said`, completion: " no no." })}\n`)
    .join(""),
);
const RUN = ["--data", data, "--eval-share", "0.2", "--lr", "1e-2", "--batch-tokens", "64", "--threads", "1"];

test("pith tune learns an adapter, and the command that it prints runs it", async () => {
  const out = join(dir, "adapter");
  const { code, err } = await pith("tune", BASE, ...RUN, "--epochs", "12", "--out", out);
  expect(code).toBe(0);
  expect(err).toMatch(/training [\d,]+ parameters, [\d.]+ % of [\d,]+/);
  expect(err).toMatch(/ step \d+ of \d+, loss [\d.]+, evaluation [\d.]+, [\d,.]+ tokens\/s/);
  expect(err).toMatch(/evaluation loss [\d.]+ \(perplexity [\d.]+\) at step \d+, whose weights are kept/);
  expect(err).toContain(`run it: pith run ${BASE} --adapter ${out}`);
  const run = ["The girl said", "--raw", "--temperature", "0", "--max-tokens", "4"];
  expect((await pith("run", BASE, ...run, "--adapter", out)).out).toContain("no no.");
  expect((await pith("run", BASE, ...run)).out).not.toContain("no no.");
  const resumed = await pith("tune", BASE, ...RUN, "--epochs", "5", "--out", out, "--resume");
  expect([resumed.code, resumed.err]).toEqual([
    1,
    expect.stringContaining("epochs was 12 when the run began, and is 5"),
  ]);
});

test("pith tune --dry-run shows what is learned, and writes nothing", async () => {
  const before = await readdir(dir);
  const result = await pith("tune", BASE, ...RUN, "--dry-run");
  expect(result.code).toBe(0);
  expect(result.out).toMatch(/The \w+ said\[ no no\./);
  expect(result.err).toMatch(
    /time: about \d+s, evaluation not counted, at [\d,.]+ tokens\/s; .* of memory is available/,
  );
  expect(await readdir(dir)).toEqual(before);
  const missing = await pith("tune", BASE, ...RUN);
  expect([missing.code, missing.err]).toEqual([
    1,
    expect.stringContaining("wanted a folder to write to, with --out folder"),
  ]);
});

test("pith tune --method ternary is distilled from the model as it was, or from another", async () => {
  const ternary = ["--method", "ternary", "--epochs", "2"];
  const out = join(dir, "ternary");
  const { code, err } = await pith("tune", BASE, ...RUN, ...ternary, "--out", out);
  expect([code, err]).toEqual([0, expect.stringMatching(/loss [\d.]+ \(ce [\d.]+, kd [\d.]+\)/)]);
  expect(err).toContain(`run it: pith run ${out}`);
  const dry = await pith("tune", BASE, ...RUN, ...ternary, "--teacher", out, "--dry-run");
  expect([dry.code, dry.err]).toEqual([0, expect.stringMatching(/training all [\d,]+ parameters/)]);
  const other = await pith("tune", BASE, ...RUN, "--teacher", out, "--out", join(dir, "no"));
  expect([other.code, other.err]).toEqual([1, expect.stringContaining("wanted it with --method ternary")]);
});

test("Ctrl-C leaves a checkpoint from which the same command goes on", async () => {
  const out = join(dir, "interrupted");
  const run = ["tune", BASE, ...RUN, "--epochs", "30", "--out", out];
  const timer = setInterval(async () => {
    const made = await readdir(out).catch(() => [] as string[]);
    if (made.includes("metrics.jsonl")) {
      clearInterval(timer);
      process.emit("SIGINT");
    }
  }, 2);
  const { code, err } = await pith(...run);
  clearInterval(timer);
  process.exitCode = undefined;
  expect(code).toBe(130);
  expect(err).toMatch(/Training was stopped after step \d+ of \d+/);
  const resumed = await pith(...run, "--resume");
  expect(resumed.code).toBe(0);
});
