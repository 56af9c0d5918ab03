// What only a process of its own shows: a run that is killed, and one whose disk is full.
// PITH_KILLS=100 kills it so many times (default 5).

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildFolders } from "../../test/helpers/built.ts";
import { TINY } from "../../test/helpers/tiny-models.ts";

const KILLS = Number(process.env.PITH_KILLS ?? 5);
const ROOT = resolve(import.meta.dirname, "../..");
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-kill-"));
  await buildFolders(join(dir, "js"), ["train"]);
  for (const name of ["native", "wasm", "node_modules"])
    await symlink(join(ROOT, name), join(dir, name)).catch(() => {});
  await writeFile(
    join(dir, "js/run.js"),
    `import { createHash } from "node:crypto";
     import { createBackend } from "./engine/backends/index.js";
     import { definitionOf, parseConfig } from "./models/index.js";
     import { fit, loadFull, packedBatches, packItems, Random, TrainStep } from "./train/index.js";
     const [folder, steps] = process.argv.slice(2);
     const config = parseConfig("tiny", ${JSON.stringify(JSON.stringify(TINY.qwen2))});
     const random = new Random(7);
     const fill = (name, shape) => Float32Array.from({ length: shape.reduce((a, b) => a * b) },
       () => name.endsWith("norm.weight") ? 1 : 0.05 * random.normal());
     const size = { ctx: 24, tokens: 48, sequences: 4 };
     const backend = await createBackend({ threads: 2 });
     const learner = new TrainStep(backend, await loadFull(definitionOf("qwen2", "tiny"), config, backend, fill), size);
     const samples = (count, seed) => Array.from({ length: count }, (_, n) => {
       const length = 4 + ((n * 7 + seed) % 17);
       return {
         ids: Int32Array.from({ length }, (_, i) => (n * 5 + seed + i * (1 + n % 3)) % config.vocab_size),
         learned: new Uint8Array(length).fill(1),
         source: { file: "tiny", line: n + 1 },
       };
     });
     const data = packedBatches(samples(40, 1), { limits: size, batch_tokens: 90, epochs: 99, seed: 5, max_steps: +steps });
     const job = fit(learner, data, {
       lr: 1e-3, weight_decay: 0.1, max_grad_norm: 1, folder, resume: true, save_steps: 3, eval_steps: 4,
       evaluation: packItems(samples(6, 2), size),
     });
     const { records, kept, eval_loss, loss } = await job.result;
     const digest = createHash("sha256");
     for (const name of learner.trained.keys())
       for (const kind of [undefined, "m", "v"]) digest.update(learner.read(name, kind));
     const plain = records.map(({ seconds, ...rest }) => rest);
     console.log(JSON.stringify({ digest: digest.digest("hex"), steps: learner.steps, kept, eval_loss, loss, plain }));
     learner.close();
     backend.close();`,
  );
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** @param limits what a shell sets before the process starts */
function start(folder: string, steps: number, limits = "") {
  const run = `exec "${process.execPath}" "${join(dir, "js/run.js")}" "${join(dir, folder)}" ${steps}`;
  const child = spawn("bash", ["-c", limits + run], { stdio: ["ignore", "pipe", "pipe"] });
  const output = { out: "", err: "" };
  child.stdout.on("data", (text) => (output.out += text));
  child.stderr.on("data", (text) => (output.err += text));
  return { child, output, ended: once(child, "close") as Promise<[number | null, string | null]> };
}

async function finish(folder: string, steps: number): Promise<string> {
  const { output, ended } = start(folder, steps);
  const [code] = await ended;
  expect(output.err).toBe("");
  expect(code).toBe(0);
  return output.out;
}

const STEPS = 40;

test(
  `killed at random ${KILLS} times, a run that accumulates and evaluates ends with the same bytes`,
  async () => {
    const began = performance.now();
    const truth = await finish("whole", STEPS);
    // From before the first step to about the end, however fast the machine is at the moment.
    let span = performance.now() - began;
    expect(JSON.parse(truth).steps).toBe(STEPS);
    let [kills, runs] = [0, 0];
    while (kills < KILLS) {
      const folder = `run${runs++}`;
      for (let done = false; !done; ) {
        const { child, output, ended } = start(folder, STEPS);
        const killed = kills < KILLS;
        const timer = setTimeout(() => child.kill("SIGKILL"), killed ? Math.random() * span : 120_000);
        const [code, signal] = await ended;
        clearTimeout(timer);
        if (killed) span *= signal === "SIGKILL" ? 1.1 : 0.7;
        if (signal === "SIGKILL") {
          kills++;
          continue;
        }
        expect(output.err).toBe("");
        expect(code).toBe(0);
        expect(output.out).toBe(truth);
        done = true;
      }
      // What killed writes left behind is gone too.
      const left = await readdir(join(dir, folder, "checkpoints"));
      expect(left.filter((name) => !/^(step-000040|best-\d{6})\.safetensors$/.test(name))).toEqual([]);
      expect(left.length).toBe(2);
    }
  },
  120_000 + KILLS * 20_000,
);

test("where nothing may be written, no part of a checkpoint stays, and the run goes on when there is room", async () => {
  const truth = await finish("room", 12);
  // A limit on the size of files stands for the disk.
  const small = start("full", 12, "ulimit -f 64; ");
  expect((await small.ended)[0]).toBe(1);
  expect(small.output.err).toMatch(/Cannot write ".*(step|best)-\d{6}.safetensors": /);
  expect(await readdir(join(dir, "full/checkpoints"))).toEqual([]);
  expect(await finish("full", 12)).toBe(truth);
});

/** Whether a process may mount a small disk of its own. */
function mayMount(): boolean {
  try {
    execFileSync("unshare", ["-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none", tmpdir()], {
      stdio: "ignore",
    });
    return true;
  } catch {
    return false;
  }
}

test.skipIf(!mayMount())(
  "on a disk that holds one checkpoint and not two (needs unshare and tmpfs)",
  async () => {
    const truth = await finish("large", 12);
    const folder = join(dir, "small");
    const run = `"${process.execPath}" "${join(dir, "js/run.js")}" "${folder}" 12`;
    const script = `mkdir "${folder}" && mount -t tmpfs -o size=1500k none "${folder}" || exit 9
    ${run}; echo "exit $?"; ls "${folder}/checkpoints"
    mount -o remount,size=9m "${folder}" && ${run}`;
    const child = spawn("unshare", ["-rm", "bash", "-c", script], { stdio: ["ignore", "pipe", "pipe"] });
    let [out, err] = ["", ""];
    child.stdout.on("data", (text) => (out += text));
    child.stderr.on("data", (text) => (err += text));
    await once(child, "close");
    expect(err).toMatch(/Cannot write ".*": .*(space|full)/);
    expect(out).toMatch(/^exit 1\n(best-\d{6}\.safetensors\n)?step-\d{6}\.safetensors\n\{/);
    expect(out.endsWith(truth)).toBe(true);
  },
);
