import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { openModel } from "../models/index.ts";
import { type DistillOptions, distill } from "./distill.ts";

const TEACHER = fileURLToPath(new URL("../../models/stories", import.meta.url));
const root = await mkdtemp(join(tmpdir(), "pith-distill-"));
afterAll(() => rm(root, { recursive: true, force: true }));
let folders = 0;
const folder = () => join(root, `out${folders++}`);
const lines = async (name: string, all: readonly object[]) => {
  await writeFile(join(root, name), all.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return join(root, name);
};

const things = ["cat", "dog", "tree", "house", "boat", "bird", "girl", "boy", "box", "ball", "hat", "fish"];
const sample = (thing: string) => ({ prompt: `The ${thing} said`, completion: " no, and went home." });
const data = await lines("train.jsonl", things.map(sample));
const held = await lines("eval.jsonl", ["car", "sun", "shoe"].map(sample));
const STUDENT = { config: { layers: 1, heads: 2, width: 32, ctx: 128 } };
const OPTIONS: Omit<DistillOptions, "out"> = {
  ...{ teacher: TEACHER, data, eval: held, lr: 1e-2, epochs: 6, batch_tokens: 64, threads: 1, eval_steps: 4 },
};
const bytes = async (out: string) => (await readFile(join(out, "model.safetensors"))).toString("hex");

test("a new student learns the text and its teacher's distribution; stopped and resumed it is the same", async () => {
  const [whole, out] = [folder(), folder()];
  const result = await distill(STUDENT, { ...OPTIONS, out: whole }).result;
  expect(result.eval_loss).toBeLessThan(result.first_eval! * 0.7);
  expect(result.eval_kl).toBeLessThan(result.first_kl! * 0.9);
  expect(result.adapter).toBe(false);
  const record = result.records.find((r) => r.loss !== undefined)!;
  expect(record.loss).toBeCloseTo(0.5 * record.ce! + 0.5 * record.kd!, 5);
  const [made, teacher] = [await openModel(whole), await openModel(TEACHER)];
  expect(made.config.hidden_size).toBe(32);
  expect((await made.tokenizer()).encode("The cat")).toEqual((await teacher.tokenizer()).encode("The cat"));
  await made.close();
  await teacher.close();
  const job = distill(STUDENT, { ...OPTIONS, out, save_steps: 2 });
  for await (const { step } of job) if (step === 3) break;
  await expect(job.result).rejects.toThrow("from which resume goes on");
  await expect(distill(STUDENT, { ...OPTIONS, out, temperature: 2, resume: true }).result).rejects.toThrow(
    "mix.distance.temperature was 1 when the run began, and is 2 now",
  );
  await distill(STUDENT, { ...OPTIONS, out, resume: true }).result;
  expect(await bytes(out)).toBe(await bytes(whole));
});
