import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { openModel, parameterValues } from "../models/index.ts";
import { distill, dryDistill } from "./distill.ts";
import type { DistillOptions } from "./options.ts";

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

test("a dry run counts the teacher's weights beside the student's", async () => {
  const { plan } = await dryDistill(STUDENT, { ...OPTIONS, on_policy: 0 }, { samples: 0 });
  const { weights, optimizer, work, total } = plan.memory;
  expect(plan.parameters * 4).toBeLessThan(300_000);
  expect(weights).toBeGreaterThan(1_700_000); // 869,504 parameters of bf16
  expect(total).toBe(weights + optimizer + work);
});

test("a model with ternary weights is taught by what it was; stopped and resumed it is the same", async () => {
  const [whole, out] = [folder(), folder()];
  const { teacher: _, ...rest } = OPTIONS;
  const options = { ...rest, method: "ternary", on_policy: 0 } as const;
  const result = await distill(TEACHER, { ...options, out: whole }).result;
  expect(result.adapter).toBe(false);
  expect(result.first_kl).toBeGreaterThan(1); // three values for each weight of a trained model: it has forgotten all
  expect(result.eval_kl).toBeLessThan(result.first_kl! * 0.8);
  expect(result.eval_loss).toBeLessThan(result.first_eval! * 0.8);
  const [made, teacher] = [await openModel(whole), await openModel(TEACHER)];
  expect(made.config).toEqual(teacher.config);
  const values = await parameterValues(made, "model.layers.3.mlp.down_proj.weight");
  expect(new Set(values.map(Math.abs)).size).toBe(2);
  await made.close();
  await teacher.close();
  const job = distill(TEACHER, { ...options, out, save_steps: 2 });
  for await (const { step } of job) if (step === 3) break;
  await expect(job.result).rejects.toThrow("from which resume goes on");
  await distill(TEACHER, { ...options, out, resume: true }).result;
  expect(await bytes(out)).toBe(await bytes(whole));
  await expect(distill(STUDENT, { ...options, out: folder() }).result).rejects.toThrow(
    "Cannot distill without a teacher",
  );
});

test("from a cache the student learns as from its teacher, without one; on its own text it needs one", async () => {
  const cache = join(root, "said.logits");
  const told: number[] = [];
  const options = { ...OPTIONS, epochs: 2, on_policy: 0 };
  const made = await distill(STUDENT, {
    ...{ ...options, cache, top_k: 4096, out: folder() },
    onCache: ({ tokens, total }) => told.push(tokens / total),
  }).result;
  expect(told.at(-1)).toBe(1);
  const live = await distill(STUDENT, { ...options, out: folder() }).result;
  expect(Math.abs(made.eval_loss! - live.eval_loss!)).toBeLessThan(5e-3);
  expect(Math.abs(made.eval_kl! - live.eval_kl!)).toBeLessThan(5e-3);
  const { teacher: _, ...alone } = options;
  const again = folder();
  await distill(TEACHER, { ...alone, cache, max_steps: 2, out: again }).result;
  await expect(distill(STUDENT, { ...alone, cache, out: folder() }).result).rejects.toThrow(
    "Cannot make a new student without its teacher's model",
  );
  await expect(distill(TEACHER, { ...alone, cache, on_policy: 0.5, out: folder() }).result).rejects.toThrow(
    "with a cache alone",
  );
  await expect(distill(TEACHER, { ...alone, cache, temperature: 2, out: folder() }).result).rejects.toThrow(
    "its temperature is 1, wanted 2",
  );
  await expect(
    distill(TEACHER, { ...alone, cache, ctx: 9, long: "cut", out: folder() }).result,
  ).rejects.toThrow("its data is");
});

test("what the student writes is learned in the last part, by an adapter too, the same after a stop", async () => {
  const options: Omit<DistillOptions, "out"> = {
    ...{ ...OPTIONS, epochs: 3, method: "lora", rank: 4, on_policy: 0.5, on_policy_from: 0.5, seed: 3 },
  };
  const [whole, out] = [folder(), folder()];
  const result = await distill(TEACHER, { ...options, out: whole }).result;
  const { steps } = result.plan;
  const written = result.records.filter((r) => r.generated !== undefined);
  expect(written.map((r) => r.step)).toEqual(
    Array.from({ length: steps - Math.floor(steps / 2) }, (_, i) => Math.floor(steps / 2) + i + 1),
  );
  for (const { generated, generation_seconds } of written) {
    expect(generated).toBeGreaterThan(0);
    expect(generation_seconds).toBeGreaterThan(0);
  }
  expect(result.kept).toBe(steps);
  const job = distill(TEACHER, { ...options, out, save_steps: 1 });
  for await (const { step } of job) if (step === steps - 1) break;
  await expect(job.result).rejects.toThrow("from which resume goes on");
  await distill(TEACHER, { ...options, out, resume: true }).result;
  const adapter = (at: string) => readFile(join(at, "adapter_model.safetensors"));
  expect((await adapter(out)).equals(await adapter(whole))).toBe(true);
  const other = folder();
  await distill(TEACHER, { ...options, seed: 4, out: other }).result;
  expect((await adapter(other)).equals(await adapter(whole))).toBe(false);
});

test("models of other tokens are told apart by the first one, and options that cannot be by name", async () => {
  const other = join(root, "other");
  await cp(TEACHER, other, { recursive: true });
  const json = JSON.parse(await readFile(join(other, "tokenizer.json"), "utf8"));
  const vocab = json.model.vocab as Record<string, number>;
  const [a, b] = [
    Object.keys(vocab).find((t) => vocab[t] === 90)!,
    Object.keys(vocab).find((t) => vocab[t] === 91)!,
  ];
  [vocab[a], vocab[b]] = [91, 90];
  await writeFile(join(other, "tokenizer.json"), JSON.stringify(json));
  await expect(distill(other, { ...OPTIONS, out: folder() }).result).rejects.toThrow(
    /their tokenizers differ, token 90 is ".+" of the teacher's and ".+" of the student's.*pith synthesize/,
  );
  const refused = (options: object) => distill(STUDENT, { ...OPTIONS, out: folder(), ...options }).result;
  await expect(refused({ loss: "l2" })).rejects.toThrow('with the loss "l2": wanted forward_kl');
  await expect(refused({ beta: 1 })).rejects.toThrow("with beta 1: wanted a number between 0 and 1");
  await expect(refused({ temperature: 0 })).rejects.toThrow("with temperature 0");
  await expect(refused({ ce_weight: 0, kd_weight: 0 })).rejects.toThrow("nothing would be learned");
  await expect(refused({ on_policy: 2 })).rejects.toThrow("with on_policy 2");
  await expect(refused({ kd_weight: 0, on_policy: 0.5 })).rejects.toThrow("with kd_weight 0");
  await expect(refused({ teacher: undefined })).rejects.toThrow("without a teacher");
});
