// Tuning: a model and samples -> an adapter as a PEFT folder, or a whole model. The verb `pith tune`.

import { type OpenedModel, openModel } from "../models/index.ts";
import { previewSample } from "./data/index.ts";
import { Job } from "./job.ts";
import { trainsAll } from "./methods/index.ts";
import type { TrainPlan } from "./plan.ts";
import { type Prepared, type PrepareOptions, prepare } from "./prepare.ts";
import { writeReport } from "./report.ts";
import type { Schedule } from "./schedule.ts";
import { type FitOptions, type FitResult, fit, givenFitOptions, type StepEvent } from "./trainer.ts";

export interface TuneOptions
  extends PrepareOptions,
    Partial<Omit<FitOptions, "evaluation" | "folder" | "settings" | "signal">> {
  /** The folder that the adapter (PEFT) or model is written to, beside checkpoints, metrics.jsonl and report.html. */
  readonly out: string;
  readonly signal?: AbortSignal;
  /** Called once, before the first step. */
  readonly onPlan?: (plan: TrainPlan, warnings: readonly string[]) => void;
}

export interface TuneResult extends FitResult {
  readonly folder: string;
  /** Path of report.html. */
  readonly report: string;
  readonly plan: TrainPlan;
  /** Whether the folder holds an adapter of the model, not a model. */
  readonly adapter: boolean;
}

/** Learning rates: an adapter's is ten times that of all weights. Of preferences, a tenth of it. */
const LEARNING_RATE = { lora: 2e-4, qlora: 2e-4, dora: 2e-4, full: 2e-5, ternary: 5e-4, dpo: 2e-5 };
const DEFAULTS = { warmup_steps: 0.03, max_grad_norm: 1 };

/**
 * Trains a model on samples. An adapter is written as a PEFT folder that transformers and vLLM read, too.
 * @param model a path, a hub name that is in the cache, or an opened model, which stays open
 * @throws {Error} naming the file, line or option that is wrong; others as `fit`
 */
export function tune(model: string | OpenedModel, options: TuneOptions): Job<StepEvent, TuneResult> {
  return new Job((report, signal) => {
    return withModel(model, (opened) => run(opened, options, report, signal));
  }, options.signal);
}

export async function withModel<T>(
  model: string | OpenedModel,
  work: (model: OpenedModel) => Promise<T>,
): Promise<T> {
  if (typeof model !== "string") return work(model);
  const opened = await openModel(model);
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
}

/** The loop's settings: defaults of the method, and what was given. */
function fitting(model: OpenedModel, options: Partial<TuneOptions>) {
  const { method = "lora" } = options;
  return {
    lr: LEARNING_RATE[method],
    ...(trainsAll(method) && { weight_decay: 0.01 }),
    ...DEFAULTS,
    max_loss: 3 * Math.log(model.config.vocab_size),
    ...givenFitOptions(options),
  };
}

async function run(
  model: OpenedModel,
  options: TuneOptions,
  report: (step: StepEvent) => void,
  signal: AbortSignal,
): Promise<TuneResult> {
  const { out, method = "lora" } = options;
  const prepared = await prepare(model, options, signal, options.resume ? out : undefined);
  const title = `${model.name}, tuned by ${method}`;
  const how = fitting(model, options);
  const result = await perform(prepared, { ...options, how, title }, report, signal);
  return { ...result, adapter: !trainsAll(method) };
}

/** What a prepared run is to make. */
export interface Performance extends Pick<TuneOptions, "out" | "onPlan"> {
  /** Settings of the loop. */
  readonly how: Schedule & Partial<FitOptions>;
  readonly title: string;
}

/** Trains what was prepared, writes the result and its report, and frees it. */
export async function perform(
  prepared: Prepared,
  { out, onPlan, how, title }: Performance,
  report: (step: StepEvent) => void,
  signal: AbortSignal,
): Promise<Omit<TuneResult, "adapter">> {
  const { backend, trainable, learner, data, evaluation, plan, settings, warnings } = prepared;
  try {
    onPlan?.(plan, warnings);
    const fitted = fit(learner, data, {
      ...how,
      ...(evaluation.length > 0 && { evaluation }),
      folder: out,
      settings,
      signal,
    });
    for await (const step of fitted) report(step);
    const result = await fitted.result;
    await trainable.save(out, (name) => learner.read(name));
    const page = {
      ...{ title, result, plan, warnings },
      machine: backend,
      settings: { ...settings, ...how },
    };
    return { ...result, folder: out, report: await writeReport(out, page), plan };
  } finally {
    prepared.close();
  }
}

export interface DryRun {
  readonly plan: TrainPlan;
  readonly warnings: readonly string[];
  /** Seconds that the steps and evaluations will take, from a few of them. */
  readonly seconds: number;
  readonly tokens_per_second: number;
  /** Samples as text, what is learned of them marked (see `previewSample`). */
  readonly samples: readonly string[];
}

const MEASURED_STEPS = 3;

/**
 * All of a tuning but the training: reads and checks the data, loads the weights, measures a few steps, and writes
 * nothing.
 * @param shown how many samples are made text, and whether in colour
 */
export async function dryRun(
  model: string | OpenedModel,
  options: Omit<TuneOptions, "out">,
  shown: { samples?: number; color?: boolean } = {},
): Promise<DryRun> {
  const signal = options.signal ?? new AbortController().signal;
  return withModel(model, async (opened) => tryOut(await prepare(opened, options, signal), shown, signal));
}

/** What a dry run tells of what was prepared, which it frees. */
export async function tryOut(
  prepared: Prepared,
  { samples: most = 3, color = false }: { samples?: number; color?: boolean },
  signal: AbortSignal,
): Promise<DryRun> {
  try {
    const { plan, warnings, samples, tokenizer } = prepared;
    const { seconds, tokens } = await measure(prepared, signal);
    return {
      plan,
      warnings,
      seconds: prepared.data.steps * seconds,
      tokens_per_second: tokens / seconds,
      samples: samples.slice(0, most).map((s) => previewSample(s, tokenizer, { color }).join("\n")),
    };
  } finally {
    prepared.close();
  }
}

/** Seconds and tokens of a step, after a first one that makes the programs. */
async function measure({ learner, data }: Prepared, signal: AbortSignal) {
  let [seconds, tokens, steps] = [0, 0, 0];
  for (let i = 0; i <= MEASURED_STEPS; i++) {
    signal.throwIfAborted();
    const { batches } = data.step(i % data.steps);
    const started = performance.now();
    await learner.step(batches, { lr: 0 });
    if (i === 0) continue;
    seconds += (performance.now() - started) / 1000;
    tokens += batches.reduce((sum, batch) => sum + batch.tokens.length, 0);
    steps++;
  }
  return { seconds: seconds / steps, tokens: tokens / steps };
}
