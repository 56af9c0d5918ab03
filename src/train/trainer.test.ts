import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { everything, SIZE, tinyLearner, tinySamples } from "../../test/helpers/tiny-learner.ts";
import { packedBatches, packItems } from "./batches.ts";
import { checkpointFolder, firstDifference } from "./checkpoint.ts";
import { readMetrics, type StepRecord } from "./metrics.ts";
import type { TrainStep } from "./step.ts";
import { type FitOptions, type FitResult, fit, type StepEvent } from "./trainer.ts";

const root = await mkdtemp(join(tmpdir(), "pith-train-"));
afterAll(() => rm(root, { recursive: true, force: true }));
let folders = 0;
const folder = () => join(root, String(folders++));

const samples = tinySamples(30);
const data = packedBatches(samples, { limits: SIZE, batch_tokens: 90, epochs: 2, seed: 3 });
const evaluation = packItems(tinySamples(8, 2), SIZE);
const SETTINGS: FitOptions = {
  lr: 1e-2,
  weight_decay: 0.1,
  max_grad_norm: 1,
  evaluation,
  eval_steps: 3,
  save_steps: 2,
};

interface Ended {
  readonly result: FitResult;
  readonly state: Record<string, string>;
  readonly steps: StepEvent[];
}

async function run(options: FitOptions, given?: TrainStep): Promise<Ended> {
  const learner = given ?? (await tinyLearner());
  const steps: StepEvent[] = [];
  const job = fit(learner, data, options);
  for await (const step of job) steps.push(step);
  const ended = { result: await job.result, state: everything(learner), steps };
  learner.close();
  return ended;
}

/** Stops a run after a step, as Ctrl-C does. */
async function stoppedAt(step: number, options: FitOptions): Promise<void> {
  const learner = await tinyLearner();
  const interrupt = new AbortController();
  const job = fit(learner, data, { ...options, signal: interrupt.signal });
  await expect(
    (async () => {
      for await (const event of job) if (event.step === step) interrupt.abort(new Error("Ctrl-C"));
    })(),
  ).rejects.toThrow(/^Training was stopped after step \d+ of \d+; ".*" holds step \d+, from which resume/);
  learner.close();
}

const withoutTime = (records: readonly StepRecord[]) => records.map(({ seconds: _, ...rest }) => rest);
const whole = await run(SETTINGS);

test("a run learns, reports every step, and ends with its best weights", async () => {
  const { result, steps } = whole;
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: data.steps }, (_, i) => i + 1));
  expect(data.step(0).batches.length).toBeGreaterThan(1); // it accumulates
  expect(result.eval_loss).toBeLessThan(result.first_eval! - 0.5);
  expect(result.loss).toBeLessThan(steps[0]!.loss);
  const evaluated = steps.filter(({ eval_loss }) => eval_loss !== undefined);
  expect(evaluated.map(({ step }) => step)).toEqual(
    steps.map(({ step }) => step).filter((step) => step % 3 === 0 || step === data.steps),
  );
  const best = evaluated.reduce((a, b) => (b.eval_loss! < a.eval_loss! ? b : a));
  expect([result.kept, result.eval_loss]).toEqual([best.step, best.eval_loss]);
  expect(result.records.map(({ step }) => step)).toEqual([0, ...steps.map(({ step }) => step)]);
  const last = steps.at(-1)!;
  expect(last.epoch).toBe(2);
  expect(last.eta).toBe(0);
  expect(last.tokens_per_second).toBeGreaterThan(0);
});

test("the loss of a step is the mean over the targets of all its micro-batches", async () => {
  const learner = await tinyLearner();
  const { batches } = data.step(0);
  let [sum, targets] = [0, 0];
  for (const batch of batches) {
    const { loss, tokens } = await learner.evaluate(batch);
    sum += loss * tokens;
    targets += tokens;
  }
  learner.close();
  expect(whole.steps[0]!.loss).toBeCloseTo(sum / targets, 5);
});

test.each([1, 2, 5, data.steps - 1])(
  "stopped after step %i and resumed, it ends with the same bytes",
  async (step) => {
    const options = { ...SETTINGS, folder: folder() };
    await stoppedAt(step, options);
    const { result, state } = await run({ ...options, resume: true });
    expect(state).toEqual(whole.state);
    expect(withoutTime(result.records)).toEqual(withoutTime(whole.result.records));
    expect(withoutTime(await readMetrics(join(options.folder, "metrics.jsonl")))).toEqual(
      withoutTime(result.records),
    );
    expect({ ...result, records: [], seconds: 0 }).toEqual({ ...whole.result, records: [], seconds: 0 });
    // The last checkpoint and the best weights, nothing else.
    expect((await readdir(checkpointFolder(options.folder))).length).toBe(2);
    // A finished run that is resumed does nothing again.
    const again = await run({ ...options, resume: true });
    expect(again.steps).toEqual([]);
    expect(again.state).toEqual(whole.state);
  },
);

test("two runs do not share a folder, and a run that is over leaves it free", async () => {
  const options = { ...SETTINGS, folder: folder() };
  const learner = await tinyLearner();
  const job = fit(learner, data, options);
  for await (const { step } of job)
    if (step === 1)
      await expect(run({ ...options, resume: true })).rejects.toThrow(
        `Cannot train into ${JSON.stringify(options.folder)}: another run does: process ${process.pid} on `,
      );
  learner.close();
  expect((await run({ ...options, resume: true })).result.step).toBe(data.steps);
});

test("a run that would not be the same is not resumed, and says what differs", async () => {
  const options = { ...SETTINGS, folder: folder(), settings: { data: { "a.jsonl": "digest 1" }, seed: 1 } };
  await stoppedAt(2, options);
  const refused = (other: Partial<FitOptions>) => expect(run({ ...options, resume: true, ...other })).rejects;
  await refused({ lr: 1e-3 }).toThrow(/: lr was 0.01 when the run began, and is 0.001 now; wanted the same$/);
  await refused({ settings: { ...options.settings, data: { "a.jsonl": "digest 2" } } }).toThrow(
    'data.a.jsonl was "digest 1" when the run began, and is "digest 2" now',
  );
  await refused({ max_grad_norm: 2 }).toThrow("max_grad_norm was 1");
  await refused({ resume: false }).toThrow("it holds a run at step 2, wanted an empty folder, or resume");
  expect(firstDifference({ a: [1, { b: 2 }] }, { a: [1, { b: 3 }] })).toMatch(/^a\.1\.b was 2/);
  expect(firstDifference({ a: 1 }, { a: 1, c: 2 })).toMatch(/^c was not set/);
});

test("a damaged checkpoint or a cut metrics.jsonl is refused, and nothing is lost", async () => {
  const options = { ...SETTINGS, folder: folder() };
  await stoppedAt(4, options);
  const metrics = join(options.folder, "metrics.jsonl");
  const lines = await readFile(metrics);
  await truncate(metrics, lines.length - 3);
  await expect(run({ ...options, resume: true })).rejects.toThrow(
    `has ${lines.length - 3} bytes, wanted at least`,
  );
  await writeFile(metrics, lines);
  const file = join(checkpointFolder(options.folder), "step-000004.safetensors");
  const bytes = await readFile(file);
  const learner = await tinyLearner();
  const before = everything(learner);
  for (const at of [bytes.length - 1, Math.floor(bytes.length / 2), bytes.indexOf("waited") + 8]) {
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 1;
    await writeFile(file, damaged);
    await expect(fit(learner, data, { ...options, resume: true }).result).rejects.toThrow(/damaged|JSON/);
    expect(everything(learner)).toEqual(before);
  }
  learner.close();
  await writeFile(file, bytes.subarray(0, bytes.length - 10));
  await expect(run({ ...options, resume: true })).rejects.toThrow("Cannot read");
  await writeFile(file, bytes);
  expect((await run({ ...options, resume: true })).state).toEqual(whole.state);
});

test("a loss that explodes or is no number stops the run before the update, by step and lines", async () => {
  const options = { ...SETTINGS, folder: folder(), max_loss: 10, lr: 1e3, max_grad_norm: 1e9 };
  await expect(run(options)).rejects.toThrow(
    /^Cannot update at step \d: loss is \d+.*wanted a loss up to 10.*learning rate .*samples of tiny.jsonl line \d+, .*a lower learning rate/s,
  );
  const broken = await tinyLearner();
  broken.write("model.norm.weight", new Float32Array(64).fill(Number.NaN));
  const { evaluation: _, ...plain } = SETTINGS;
  await expect(run(plain, broken)).rejects.toThrow(/step 1: loss is NaN/);
  const evaluated = await tinyLearner();
  evaluated.write("model.norm.weight", new Float32Array(64).fill(Number.NaN));
  await expect(run(SETTINGS, evaluated)).rejects.toThrow(/Cannot evaluate after step 0: the loss is NaN/);
});

test("patience ends a run that gets no better, and the best weights are kept", async () => {
  const patient = { ...SETTINGS, lr: 0.3, max_grad_norm: 1e9, eval_steps: 1, patience: 2 };
  const { result, steps } = await run(patient);
  expect(result.stopped).toBe("patience");
  expect(result.step).toBe(result.kept + 2);
  expect(steps.length).toBe(result.step);
  const options = { ...patient, folder: folder() };
  const kept = await run(options);
  expect(kept.result.kept).toBe(result.kept);
  const again = await run({ ...options, resume: true });
  expect(again.steps).toEqual([]);
  expect(again.state).toEqual(kept.state);
});

test("leaving the loop stops the run", async () => {
  const learner = await tinyLearner();
  const job = fit(learner, data, SETTINGS);
  for await (const { step } of job) if (step === 2) break;
  await expect(job.result).rejects.toThrow("Training was stopped after step");
  expect(learner.steps).toBeLessThan(data.steps);
  learner.close();
});

test("a full disk ends a run with an error that says so", async () => {
  const options = { ...SETTINGS, folder: folder() };
  await mkdir(options.folder);
  await symlink("/dev/full", join(options.folder, "metrics.jsonl"));
  await expect(run(options)).rejects.toThrow(/^Cannot write ".*metrics.jsonl": .*(space|full)/);
});
