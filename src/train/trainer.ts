// The loop: steps, evaluation, the best weights, checkpoints, metrics. Knows no model, no method and no text: it drives a
// `Learner` over `Batches`.

import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { holdLock } from "../formats/lock.ts";
import type { Batches } from "./batches.ts";
import {
  checkpointFolder,
  lastCheckpoint,
  type RunState,
  restoreBest,
  resume,
  type Settings,
  saveBest,
  saveCheckpoint,
} from "./checkpoint.ts";
import { Job } from "./job.ts";
import { MetricsFile, type StepRecord } from "./metrics.ts";
import { checkSchedule, learningRate, type Schedule } from "./schedule.ts";
import type { AdamW, Learner, Sample, TrainBatch } from "./types.ts";

export interface FitOptions extends Schedule, Omit<AdamW, "lr"> {
  /** Evaluated before the first step, every `eval_steps` steps, and after the last. */
  readonly evaluation?: readonly TrainBatch[];
  /** Default: ten times in the run. */
  readonly eval_steps?: number;
  /** Which weights the learner holds in the end. Default: "best", those of the lowest evaluation loss. */
  readonly keep?: "best" | "last";
  /** Ends the run after so many evaluations in a row without a lower loss. Default: never. */
  readonly patience?: number;
  /** Where checkpoints and metrics.jsonl are kept; absent: nowhere. */
  readonly folder?: string;
  /** Steps between two checkpoints. Default: as many as take five minutes. */
  readonly save_steps?: number;
  /** Go on from the folder's last checkpoint, if there is one. */
  readonly resume?: boolean;
  /** What else the run depends on: digests of data, the base, the method. A resumed run must have the same. */
  readonly settings?: Settings;
  readonly signal?: AbortSignal;
}

export interface StepEvent {
  /** From 1. */
  readonly step: number;
  readonly steps: number;
  /** Passes over the data so far. */
  readonly epoch: number;
  /** Mean over the step's targets, in nats. */
  readonly loss: number;
  readonly lr: number;
  /** Before clipping. */
  readonly grad_norm: number;
  /** Of pairs, see `StepResult`. */
  readonly margin?: number;
  readonly accuracy?: number;
  /** Of distillation, see `StepResult`. */
  readonly ce?: number;
  readonly kd?: number;
  readonly generated?: number;
  readonly generation_seconds?: number;
  /** Positions computed. */
  readonly tokens: number;
  /** Over the last steps. */
  readonly tokens_per_second: number;
  /** Seconds until the last step, at this pace. */
  readonly eta: number;
  /** Bytes that the process holds. */
  readonly memory: number;
  /** Mean over the targets of the evaluation data, where this step was evaluated. */
  readonly eval_loss?: number;
  readonly eval_kl?: number;
}

export interface FitResult {
  /** Updates made, those before a resume included. */
  readonly step: number;
  /** Why it ended. */
  readonly stopped: "steps" | "patience";
  /** Mean over the targets of the last tenth of the steps. */
  readonly loss: number;
  /** Before the first step. */
  readonly first_eval?: number;
  /** Of the weights that the learner holds now: the best or the last ones, see `FitOptions.keep`. */
  readonly eval_loss?: number;
  /** The same of the mean KL divergence from the teacher. */
  readonly first_kl?: number;
  readonly eval_kl?: number;
  /** Step of those weights. */
  readonly kept: number;
  readonly tokens: number;
  /** Spent in steps and evaluations. */
  readonly seconds: number;
  readonly records: readonly StepRecord[];
}

const CHECKPOINT_MS = 300_000;
const EVALUATIONS = 10;
/** Steps that the rate is measured over. */
const RECENT = 20;

/**
 * Trains until the steps are done or patience ends. The learner then holds the best weights if there was evaluation
 * data and `keep` is not "last", else the last.
 * @throws {Error} when the signal aborts, after a checkpoint; when a resumed run would not be the same; when another
 * process trains into the folder.
 * @throws {RangeError} when loss or gradient are not finite or the loss exceeds `max_loss`, before the update.
 */
export function fit(learner: Learner, data: Batches, options: FitOptions): Job<StepEvent, FitResult> {
  checkSchedule(options);
  return new Job((report, signal) => new Run(learner, data, options).all(report, signal), options.signal);
}

/** Of a verb's options, those of the loop that are set. */
export function givenFitOptions(options: Partial<FitOptions>): Partial<FitOptions> {
  return Object.fromEntries(
    Object.entries(options).filter(([name, value]) => OPTIONS.includes(name) && value !== undefined),
  );
}

const OPTIONS = [
  ...["lr", "schedule", "warmup_steps", "min_lr", "beta1", "beta2", "eps", "weight_decay"],
  ...["max_grad_norm", "max_loss", "eval_steps", "keep", "patience", "save_steps", "resume"],
];

class Run {
  private readonly learner: Learner;
  private readonly data: Batches;
  private readonly options: FitOptions;
  private readonly checkpoints: string | undefined;
  private readonly evalSteps: number;
  private state: RunState;
  private metrics: MetricsFile | undefined;
  private records: StepRecord[] = [];
  private bestWeights: Map<string, Float32Array> | undefined;
  /** Of the last evaluation. */
  private evalSeconds = 0;
  private savedStep = 0;
  private savedAt = performance.now();
  private readonly recent: { tokens: number; seconds: number }[] = [];

  constructor(learner: Learner, data: Batches, options: FitOptions) {
    this.learner = learner;
    this.data = data;
    this.options = options;
    this.checkpoints = options.folder === undefined ? undefined : checkpointFolder(options.folder);
    this.evalSteps = options.eval_steps ?? Math.ceil(data.steps / EVALUATIONS);
    this.state = {
      step: 0,
      finished: data.steps === 0,
      waited: 0,
      metrics_bytes: 0,
      tokens: 0,
      seconds: 0,
      settings: this.settings(),
    };
  }

  /** Everything that the end of the run depends on. */
  private settings(): Settings {
    const {
      settings,
      evaluation,
      folder: _,
      save_steps: __,
      resume: ___,
      signal: ____,
      ...own
    } = this.options;
    return {
      ...settings,
      ...own,
      steps: this.data.steps,
      ...(evaluation && { eval_steps: this.evalSteps }),
    };
  }

  async all(report: (step: StepEvent) => void, signal: AbortSignal): Promise<FitResult> {
    const { folder } = this.options;
    const busy = `Cannot train into ${JSON.stringify(folder)}: another run does`;
    const lock = folder === undefined ? undefined : await holdLock(join(folder, ".lock"), { busy });
    try {
      await this.open();
      if (this.state.step === 0 && this.options.evaluation) await this.evaluateFirst(signal);
      while (!this.state.finished) {
        if (signal.aborted) await this.interrupted(signal);
        report(await this.one());
        await turn(); // signals and timers are heard even where a step never waits
      }
      await this.save();
      const { best } = this.state;
      if (best && this.options.keep !== "last") await this.restore(best.step);
      return this.result();
    } finally {
      await this.metrics?.close();
      await lock?.release();
    }
  }

  private async open(): Promise<void> {
    const { folder, resume: wanted } = this.options;
    if (folder === undefined || this.checkpoints === undefined) return;
    const last = await lastCheckpoint(this.checkpoints);
    if (last !== undefined && !wanted)
      throw new Error(
        `Cannot train into ${JSON.stringify(folder)}: it holds a run at step ${last}, wanted an empty folder, or resume to go on`,
      );
    if (last !== undefined)
      this.state = await resume(this.checkpoints, last, this.learner, this.state.settings);
    this.savedStep = this.state.step;
    this.metrics = await MetricsFile.open(join(folder, "metrics.jsonl"), this.state.metrics_bytes);
    this.records = await this.metrics.records();
  }

  private async record(record: StepRecord): Promise<void> {
    this.records.push(record);
    await this.metrics?.append(record);
  }

  private async evaluateFirst(signal: AbortSignal): Promise<void> {
    const started = performance.now();
    const evaluated = await this.evaluate(signal);
    const seconds = (performance.now() - started) / 1000;
    this.evalSeconds = seconds;
    this.state = { ...this.state, first_eval: evaluated.eval_loss, seconds: this.state.seconds + seconds };
    await this.record({ step: 0, ...evaluated });
  }

  /** Means over all targets. */
  private async evaluate(signal?: AbortSignal): Promise<{ eval_loss: number; eval_kl?: number }> {
    let [sum, targets, divergence] = [0, 0, undefined as number | undefined];
    for (const batch of this.options.evaluation ?? []) {
      if (signal?.aborted) await this.interrupted(signal);
      const { loss, tokens, kl } = await this.learner.evaluate(batch);
      sum += loss * tokens;
      if (kl !== undefined) divergence = (divergence ?? 0) + kl * tokens;
      targets += tokens;
      await turn();
    }
    if (!Number.isFinite(sum))
      throw new RangeError(
        `Cannot evaluate after step ${this.state.step}: the loss is ${sum / targets}, wanted a finite number${this.whereItIs()}`,
      );
    return { eval_loss: sum / targets, ...(divergence !== undefined && { eval_kl: divergence / targets }) };
  }

  private async one(): Promise<StepEvent> {
    const { evaluation, save_steps } = this.options;
    const { steps } = this.data;
    const started = performance.now();
    const { batches, epoch, sources } = this.data.step(this.state.step);
    const lr = learningRate(this.options, this.state.step, steps);
    const { tokens: targets, ...measured } = await this.update(batches, lr, sources);
    const seconds = (performance.now() - started) / 1000;
    const tokens = batches.reduce((sum, batch) => sum + batch.tokens.length, 0);
    const step = this.state.step + 1;
    this.state = { ...this.state, step, tokens: this.state.tokens + tokens, finished: step >= steps };
    const evaluated = evaluation && (step % this.evalSteps === 0 || step === steps);
    const evaluating = performance.now();
    const evaluation_ = evaluated ? await this.evaluate() : undefined;
    if (evaluated) this.evalSeconds = (performance.now() - evaluating) / 1000;
    if (evaluation_) await this.judge(evaluation_.eval_loss);
    const total = this.state.seconds + (performance.now() - started) / 1000;
    this.state = { ...this.state, seconds: total };
    const seen = { step, epoch, ...measured, lr, tokens };
    await this.record({ ...seen, targets, seconds, ...evaluation_ });
    const due =
      save_steps === undefined ? performance.now() - this.savedAt > CHECKPOINT_MS : step % save_steps === 0;
    if (due && !this.state.finished) await this.save();
    if (this.recent.push({ tokens, seconds }) > RECENT) this.recent.shift();
    const recent = this.recent.reduce((sum, one) => sum + one.seconds, 0);
    return {
      ...seen,
      steps,
      tokens_per_second: this.recent.reduce((sum, one) => sum + one.tokens, 0) / recent,
      eta:
        (recent / this.recent.length) * (steps - step) +
        this.evalSeconds * (this.evaluations(steps) - this.evaluations(step)),
      memory: process.memoryUsage.rss(),
      ...evaluation_,
    };
  }

  /** How many there are up to a step. */
  private evaluations(step: number): number {
    return Math.floor(step / this.evalSteps) + Number(step === this.data.steps && step % this.evalSteps > 0);
  }

  private async update(batches: readonly TrainBatch[], lr: number, sources: readonly Sample["source"][]) {
    const { beta1, beta2, eps, weight_decay, max_grad_norm, max_loss } = this.options;
    const given = { beta1, beta2, eps, weight_decay, max_grad_norm, max_loss };
    const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    try {
      return await this.learner.step(batches, { lr, ...set });
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      const files = new Map<string, Set<number>>();
      for (const { file, line } of sources)
        (files.get(file) ?? files.set(file, new Set()).get(file)!).add(line);
      const where = [...files].map(([file, lines]) => `${file} line ${listed([...lines])}`).join("; ");
      throw new RangeError(
        `${cause.message}; learning rate ${lr}, samples of ${where}${this.whereItIs()}; a lower learning rate may help`,
        { cause },
      );
    }
  }

  /** Whether an evaluation is the best so far, and how long there was none. */
  private async judge(loss: number): Promise<void> {
    const { step, best } = this.state;
    if (best && !(loss < best.loss)) {
      const waited = this.state.waited + 1;
      const { patience = Infinity } = this.options;
      this.state = { ...this.state, waited, finished: this.state.finished || waited >= patience };
      return;
    }
    if (this.checkpoints !== undefined) await saveBest(this.checkpoints, this.learner, step);
    else this.bestWeights = new Map([...this.learner.trained.keys()].map((n) => [n, this.learner.read(n)]));
    this.state = { ...this.state, best: { step, loss }, waited: 0 };
  }

  private async restore(step: number): Promise<void> {
    if (this.checkpoints !== undefined) await restoreBest(this.checkpoints, this.learner, step);
    for (const [name, values] of this.bestWeights ?? []) this.learner.write(name, values);
  }

  private async save(): Promise<void> {
    this.savedAt = performance.now();
    if (this.checkpoints === undefined || !this.metrics) return;
    this.state = { ...this.state, metrics_bytes: await this.metrics.sync() };
    await saveCheckpoint(this.checkpoints, this.learner, this.state);
    this.savedStep = this.state.step;
  }

  private async interrupted(signal: AbortSignal): Promise<never> {
    if (this.state.step > this.savedStep) await this.save();
    throw new Error(
      `Training was stopped after step ${this.state.step} of ${this.data.steps}${this.whereItIs()}`,
      { cause: signal.reason },
    );
  }

  private whereItIs(): string {
    if (this.checkpoints === undefined || this.savedStep === 0) return "";
    return `; ${JSON.stringify(this.checkpoints)} holds step ${this.savedStep}, from which resume goes on`;
  }

  private result(): FitResult {
    const { step, first_eval, best, tokens, seconds } = this.state;
    const kept = this.options.keep === "last" ? step : (best?.step ?? step);
    const evaluated = (at: number) => this.records.find((r) => r.step === at && r.eval_loss !== undefined);
    const { eval_kl: first_kl } = evaluated(0) ?? {};
    const { eval_loss, eval_kl } = evaluated(kept) ?? {};
    const last = this.records.filter((r) => r.loss !== undefined).slice(-Math.max(1, Math.ceil(step / 10)));
    const targets = last.reduce((sum, r) => sum + r.targets!, 0);
    return {
      step,
      stopped: step < this.data.steps ? "patience" : "steps",
      loss: last.reduce((sum, r) => sum + r.loss! * r.targets!, 0) / targets,
      ...(first_eval !== undefined && { first_eval }),
      ...(eval_loss !== undefined && { eval_loss }),
      ...(first_kl !== undefined && { first_kl }),
      ...(eval_kl !== undefined && { eval_kl }),
      kept,
      tokens,
      seconds,
      records: this.records,
    };
  }
}

/** "3, 9, 14 and 20 more" */
function listed(lines: readonly number[]): string {
  const shown = lines.slice(0, 8).join(", ");
  return lines.length > 8 ? `${shown} and ${lines.length - 8} more` : shown;
}
