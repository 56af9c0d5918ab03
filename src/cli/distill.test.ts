import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";

const TEACHER = fileURLToPath(new URL("../../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-cli-distill-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

const things = ["cat", "dog", "tree", "house", "boat", "bird", "girl", "boy", "box", "ball", "hat", "fish"];
const data = join(dir, "train.jsonl");
await writeFile(
  data,
  things
    .map((thing) => `${JSON.stringify({ prompt: `The ${thing} said`, completion: " no no." })}\n`)
    .join(""),
);
const RUN = ["--teacher", TEACHER, "--data", data, "--batch-tokens", "64", "--threads", "1"];
const NEW = ["--layers", "1", "--heads", "2", "--width", "32", "--ctx", "64"];

test("pith distill makes a student from its measures, in two phases, and the command that it prints runs it", async () => {
  const out = join(dir, "student");
  const { code, err } = await pith(
    "distill",
    ...RUN,
    ...NEW,
    "--eval-share",
    "0.2",
    "--epochs",
    "8",
    "--out",
    out,
  );
  expect(err).toMatch(/loss [\d.]+ \(ce [\d.]+, kd [\d.]+\), evaluation [\d.]+, KL [\d.]+, /);
  expect(err).toMatch(/writes [\d,.]+ tokens\/s/);
  expect(err).toMatch(/KL divergence from the teacher [\d.]+; [\d.]+ before training/);
  expect(err).toContain(`run it: pith run ${out}`);
  expect(code).toBe(0);
  const said = await pith("run", out, "The cat said", "--raw", "--temperature", "0", "--max-tokens", "3");
  expect(said.code).toBe(0);
});

test("a cache tells its bytes a token, and what is missing is asked for", async () => {
  const cache = join(dir, "said.logits");
  const more = ["--cache", cache, "--top-k", "8", "--on-policy", "0", "--steps", "2"];
  const made = await pith("distill", ...RUN, ...NEW, ...more, "--out", join(dir, "cached"));
  expect(made.err).toMatch(/cache: 32 bytes a token, [\d.]+ .*in all/);
  expect(made.code).toBe(0);
  const no = async (...options: string[]) =>
    (await pith("distill", ...options, "--out", join(dir, "no"))).err;
  expect(await no("--data", data)).toContain("wanted a teacher, with --teacher model, or --cache file");
  expect(await no(...RUN)).toContain("wanted a student, with --student model or config.json, or --layers");
  expect(await no(...RUN, ...NEW, "--cache", cache, "--top-k", "9")).toContain("its top_k is 8, wanted 9");
  const remote = ["--teacher", "http://example.com/v1", "--student", TEACHER, "--data", data];
  expect(await no(...remote)).toContain("example.com");
});
