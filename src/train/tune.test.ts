import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { openAdapter, openModel } from "../models/index.ts";
import { dryRun, type TuneOptions, tune } from "./tune.ts";

const BASE = fileURLToPath(new URL("../../models/stories", import.meta.url));
const root = await mkdtemp(join(tmpdir(), "pith-tune-"));
afterAll(() => rm(root, { recursive: true, force: true }));
let folders = 0;
const folder = () => join(root, `out${folders++}`);
const lines = async (name: string, all: readonly object[]) => {
  await writeFile(join(root, name), all.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return join(root, name);
};

const things = ["cat", "dog", "tree", "house", "boat", "bird", "girl", "boy", "box", "ball", "hat", "fish"];
const sample = (thing: string, i: number) => ({ prompt: `The ${thing} said`, completion: ` no ${i % 3}.` });
const data = await lines("train.jsonl", things.map(sample));
const held = await lines("eval.jsonl", ["car", "sun", "shoe"].map(sample));
const OPTIONS: Omit<TuneOptions, "out"> = {
  ...{ data, eval: held, rank: 4, lr: 1e-2, epochs: 6, batch_tokens: 64, threads: 1, eval_steps: 4 },
};
const adapterBytes = async (out: string) =>
  (await readFile(join(out, "adapter_model.safetensors"))).toString("hex");

test("an adapter is learned, written as a PEFT folder with its report, and is the same every time", async () => {
  const out = folder();
  const steps: number[] = [];
  const job = tune(BASE, { ...OPTIONS, out });
  for await (const { step } of job) steps.push(step);
  const result = await job.result;
  expect(steps.length).toBe(result.plan.steps);
  expect(result.eval_loss).toBeLessThan(result.first_eval! / 2);
  expect(result.plan.trained).toBeLessThan(result.plan.parameters / 10);
  expect(result.adapter).toBe(true);
  expect((await readdir(out)).sort()).toEqual(
    ["README.md", "adapter_config.json", "adapter_model.safetensors", "checkpoints", "metrics.jsonl"].concat(
      "report.html",
    ),
  );
  const adapter = await openAdapter(out);
  expect(adapter).toBeDefined();
  await adapter.close();
  const html = await readFile(result.report, "utf8");
  expect(html).toContain("tuned by lora");
  expect(html).toContain(data);
  const again = folder();
  await tune(BASE, { ...OPTIONS, out: again }).result;
  expect(await adapterBytes(again)).toBe(await adapterBytes(out));
});

test("stopped and resumed, the same adapter comes out; another base, file or method is refused by name", async () => {
  const [whole, out] = [folder(), folder()];
  const options = { ...OPTIONS, epochs: 3, save_steps: 2 };
  await tune(BASE, { ...options, out: whole }).result;
  const job = tune(BASE, { ...options, out });
  for await (const { step } of job) if (step === 3) break;
  await expect(job.result).rejects.toThrow("from which resume goes on");
  const resumed = (other: Partial<TuneOptions> = {}, base = BASE) =>
    tune(base, { ...options, ...other, out, resume: true }).result;
  const before = await readFile(data);
  await writeFile(data, before.toString().replace("cat", "cow"));
  await expect(resumed()).rejects.toThrow(
    /Cannot resume .*: data\..*train\.jsonl was "\w{64}" when the run began/,
  );
  await writeFile(data, before);
  await expect(resumed({ rank: 8 })).rejects.toThrow("rank was 4 when the run began, and is 8 now");
  await expect(resumed({ method: "dora" })).rejects.toThrow('method was "lora"');
  const other = join(root, "base");
  await cp(BASE, other, { recursive: true });
  const weights = await readFile(join(other, "model.safetensors"));
  for (let i = weights.length - 200_000; i < weights.length; i += 2) weights[i]! ^= 1;
  await writeFile(join(other, "model.safetensors"), weights);
  await expect(resumed({}, other)).rejects.toThrow(/base was "\w{64}" when the run began/);
  await resumed();
  expect(await adapterBytes(out)).toBe(await adapterBytes(whole));
});

test("all weights are tuned into a folder of their own", async () => {
  const out = folder();
  const result = await tune(BASE, { ...OPTIONS, rank: undefined as never, method: "full", lr: 1e-3, out })
    .result;
  expect(result.adapter).toBe(false);
  expect(result.eval_loss).toBeLessThan(result.first_eval! / 2);
  const [base, made] = [await openModel(BASE), await openModel(out)];
  expect(made.config).toEqual(base.config);
  expect([...made.tensors.keys()].sort()).toEqual([...base.tensors.keys()].sort());
  await base.close();
  await made.close();
});

test("preferences are learned from pairs, and the share that is told apart is recorded", async () => {
  const pairs = things.map((thing) => ({
    prompt: `The ${thing} was`,
    chosen: " red.",
    rejected: " big and old.",
  }));
  const out = folder();
  const result = await tune(BASE, {
    ...{ data: await lines("pairs.jsonl", pairs), method: "dpo", eval_share: 0.2, out },
    ...{ rank: 4, lr: 5e-3, epochs: 4, batch_tokens: 128, threads: 1 },
  }).result;
  expect(result.first_eval).toBeCloseTo(Math.log(2), 5);
  expect(result.eval_loss).toBeLessThan(0.6);
  expect(result.records.at(-1)!.accuracy).toBe(1);
});

test("a dry run shows samples, plan and time, and writes nothing", async () => {
  const result = await dryRun(BASE, OPTIONS, { samples: 2 });
  expect(result.plan.steps).toBeGreaterThan(2);
  expect(result.samples.length).toBe(2);
  expect(result.samples[0]).toContain("train.jsonl, line 1");
  expect(result.samples[0]).toMatch(/The cat said\[ no 0\./);
  expect(result.seconds).toBeGreaterThan(0);
  expect(result.plan.memory.total).toBeGreaterThan(result.plan.memory.work);
});

test("what cannot be tuned is refused before anything is written", async () => {
  const out = folder();
  const refused = (other: Partial<TuneOptions>) =>
    expect(tune(BASE, { ...OPTIONS, ...other, out }).result).rejects;
  await refused({ ctx: 4096 }).toThrow("wanted a whole number from 2 to 512, for which it was trained");
  await refused({ ctx: 5 }).toThrow(/\d+ of 12 are, the longest/);
  await refused({ data: join(root, "none.jsonl") }).toThrow("no such file");
  await refused({ data: await lines("bad.jsonl", [{ prompt: 1 }]) }).toThrow("bad.jsonl, line 1");
  await refused({ availableMemory: 2 ** 20 }).toThrow(/it needs \d+ MiB for its weights, but 1 MiB/);
  await refused({ availableMemory: 6 * 2 ** 20, method: "full", rank: undefined as never }).toThrow(
    'the method "lora" takes',
  );
  await refused({ availableMemory: 60 * 2 ** 20 }).toThrow(/beside the weights it needs \d+ MiB/);
  await refused({ eval_share: 0.5 }).toThrow("wanted a share below 1, and no files");
  await refused({ targets: ["nothing"] }).toThrow('targets ["nothing"] name none');
  await expect(stat(out)).rejects.toThrow("ENOENT");
});
