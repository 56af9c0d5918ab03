// What only a process of its own shows: a make that is killed, and one that Ctrl-C ends. PITH_KILLS=50 kills it so many times
// (default 1).

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildFolders } from "../../test/helpers/built.ts";

const KILLS = Number(process.env.PITH_KILLS ?? 1);
const ROOT = resolve(import.meta.dirname, "../..");
let dir: string;

const RECIPE = `
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { defineRecipe, step } from '../js/recipe/index.js';
const data = step.run({
  async run({ out }) {
    await writeFile(join(out, "rhyme.txt"), "the cat sat on the mat. the dog sat on the log. ".repeat(40));
    await writeFile(join(out, "rhyme.jsonl"), JSON.stringify({ text: "the cat sat on the log. " }));
  },
});
const small = { threads: 1, batch_tokens: 128, save_steps: 5, max_steps: 25 };
const teacher = step.train({
  ...small, config: { layers: 2, heads: 2, width: 32, ctx: 48 }, tokenizer: 270, data: data.file("rhyme.txt"),
});
const student = step.distill({
  ...small, student: { config: { layers: 1, heads: 2, width: 32, ctx: 48 } }, teacher, data: data.file("rhyme.jsonl"), on_policy: 0,
});
const q4 = step.quantize({ model: student, to: "q4_0", method: "gptq", calibration: data.file("rhyme.txt"), threads: 1 });
const worth = step.evaluate({ model: q4, base: student, text: data.file("rhyme.txt"), ctx: 32, threads: 1 });
export default defineRecipe({ name: "killed", steps: { data, teacher, student, q4, worth } });
`;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-make-kill-"));
  await buildFolders(join(dir, "js"), ["recipe", "cli"]);
  for (const name of ["native", "wasm", "node_modules", "package.json"])
    await symlink(join(ROOT, name), join(dir, name)).catch(() => {});
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function folder(name: string): Promise<string> {
  await mkdir(join(dir, name));
  await writeFile(join(dir, name, "recipe.mjs"), RECIPE);
  return name;
}

function start(name: string) {
  const child = spawn(process.execPath, ["js/cli/main.js", "make", name], { cwd: dir });
  const output = { out: "", err: "" };
  child.stdout.on("data", (text) => (output.out += text));
  child.stderr.on("data", (text) => (output.err += text));
  return { child, output, ended: once(child, "close") as Promise<[number | null, string | null]> };
}

/** What a make ends with, but for times. */
async function contents(name: string): Promise<Record<string, string>> {
  const made = join(dir, name, "made");
  const found: Record<string, string> = {};
  for (const file of [
    "teacher/model.safetensors",
    "student/model.safetensors",
    "q4/q4.gguf",
    "worth/worth.json",
  ])
    found[file] = (await readFile(join(made, file))).toString("hex");
  found.figures = (await readFile(join(made, "make.json"), "utf8")).replace(
    /"seconds": [\d.e-]+|"made": \w+/g,
    "",
  );
  const left = await readdir(made);
  found.left = left.filter((file) => file !== ".make").join(" ");
  return found;
}

test(
  `killed at random ${KILLS} times, a make ends with the same bytes`,
  async () => {
    const began = performance.now();
    const whole = start(await folder("whole"));
    expect(await whole.ended).toEqual([0, null]);
    const truth = await contents("whole");
    expect(truth.left).toBe("data make.json q4 student teacher worth");
    let span = performance.now() - began;
    let [kills, runs] = [0, 0];
    while (kills < KILLS) {
      const name = await folder(`run${runs++}`);
      for (let done = false; !done; ) {
        const { child, output, ended } = start(name);
        const killed = kills < KILLS;
        const timer = setTimeout(() => child.kill("SIGKILL"), killed ? Math.random() * span : 120_000);
        const [code, signal] = await ended;
        clearTimeout(timer);
        if (killed) span *= signal === "SIGKILL" ? 1.1 : 0.7;
        if (signal === "SIGKILL") {
          kills++;
          continue;
        }
        expect(output.err).not.toContain("pith:");
        expect(code).toBe(0);
        expect(await contents(name)).toEqual(truth);
        done = true;
      }
    }
  },
  120_000 + KILLS * 20_000,
);

test("Ctrl-C ends it with 130, and says that it goes on", async () => {
  const name = await folder("stopped");
  const { child, output, ended } = start(name);
  while (child.exitCode === null && !output.err.includes("2 of 5, teacher: train, since it was never made"))
    await sleep(5);
  child.kill("SIGINT");
  expect((await ended)[0]).toBe(130);
  expect(output.err).toMatch(/pith: .*stopped|pith: Interrupted/);
  expect(output.out).toMatch(/^step .*\ndata {2}run/);
  const again = start(name);
  expect((await again.ended)[0]).toBe(0);
  expect(again.output.err).toContain("1 of 5, data: unchanged");
  expect(again.output.err).toContain("2 of 5, teacher: train, since it was begun, and goes on");
  expect(await contents(name)).toEqual(await contents("whole"));
});
