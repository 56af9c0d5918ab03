// What `pith train` and `pith tune` print alike: the plan, how far it is, and how it ended.

import type { DryRun, FitResult, Job, StepEvent, TrainPlan } from "../train/index.ts";
import { interruptible } from "./interrupt.ts";
import { bytes, figure, note, printJson } from "./output.ts";
import { duration, type Progress, progressBar } from "./progress.ts";

function notePlan(plan: TrainPlan): void {
  const { parameters, trained, steps, tokens, eval_tokens, size, memory } = plan;
  const share = (100 * trained) / parameters;
  const whole = trained === parameters;
  note(
    whole
      ? `training all ${figure(parameters)} parameters`
      : `training ${figure(trained)} parameters, ${figure(share)} % of ${figure(parameters)}`,
  );
  note(
    `${figure(steps)} ${steps === 1 ? "step" : "steps"} over ${figure(tokens)} tokens${eval_tokens > 0 ? `, ${figure(eval_tokens)} more for evaluation` : ""}; micro-batches of ${figure(size.tokens)}`,
  );
  note(
    `memory: ${bytes(memory.total)} (weights ${bytes(memory.weights)}, gradients and moments ${bytes(memory.optimizer)}, activations ${bytes(memory.work)})`,
  );
}

/** What is said before the first step. */
export function noteStart(plan: TrainPlan, warnings: readonly string[]): void {
  notePlan(plan);
  noteWarnings(warnings);
}

function noteWarnings(warnings: readonly string[]): void {
  for (const warning of warnings) note(`worth knowing: ${warning}`);
}

/** Prints samples, plan and time of what would be trained. */
export async function noteDryRun(
  start: (signal: AbortSignal, color: boolean) => Promise<DryRun>,
  json = false,
): Promise<void> {
  const result = await interruptible("Interrupted: nothing was written", (signal) =>
    start(signal, process.stdout.isTTY === true && !json),
  );
  if (json) return printJson(result);
  const { plan, warnings, seconds, tokens_per_second, samples } = result;
  for (const sample of samples) process.stdout.write(`${sample}\n\n`);
  notePlan(plan);
  note(
    `time: about ${duration(seconds)}, evaluation not counted, at ${figure(tokens_per_second)} tokens/s; ${bytes(plan.available)} of memory is available`,
  );
  noteWarnings(warnings);
}

/** Follows a job to its end, on a bar, and prints how it ended; `hint` says what to do with the result. */
export async function follow<T extends FitResult & { readonly report: string }>(
  start: (signal: AbortSignal) => Job<StepEvent, T>,
  json: boolean | undefined,
  hint: (result: T) => string,
): Promise<void> {
  const bar = new TrainingBar();
  try {
    const result = await interruptible("Interrupted before the first step", async (signal) => {
      const job = start(signal);
      for await (const step of job) bar.step(step);
      return job.result;
    });
    bar.stop();
    if (json) {
      const { records: _, ...rest } = result;
      return printJson(rest);
    }
    noteResult(result);
    note(`report: ${result.report}`);
    note(`run it: ${hint(result)}`);
  } finally {
    bar.stop();
  }
}

/** A bar over steps, with loss, tokens/s and time left; evaluations are lines of their own where there is no terminal. */
class TrainingBar {
  private readonly bar: Progress = progressBar("training");
  private evaluated = "";

  step(event: StepEvent): void {
    const { step, steps, loss, ce, kd, eval_loss, eval_kl, generated, generation_seconds } = event;
    const kl = eval_kl === undefined ? "" : `, KL ${eval_kl.toFixed(4)}`;
    if (eval_loss !== undefined) this.evaluated = `, evaluation ${eval_loss.toFixed(4)}${kl}`;
    const parts = [
      ce === undefined ? "" : `ce ${ce.toFixed(4)}`,
      kd === undefined ? "" : `kd ${kd.toFixed(4)}`,
    ]
      .filter((part) => part !== "")
      .join(", ");
    const written = generated ? `, writes ${figure(generated / generation_seconds!)} tokens/s` : "";
    const left = step < steps ? `, ${duration(event.eta)} left` : "";
    const text = ` step ${step} of ${steps}, loss ${loss.toFixed(4)}${parts && ` (${parts})`}${this.evaluated}, ${figure(event.tokens_per_second)} tokens/s${written}${left}`;
    this.bar.update(step, steps, text, eval_loss !== undefined || step === steps);
  }

  stop(): void {
    this.bar.stop();
  }
}

function noteResult(result: FitResult): void {
  const { step, stopped, loss, first_eval, eval_loss, first_kl, eval_kl, kept, seconds } = result;
  const ended = stopped === "patience" ? ", ended by patience" : "";
  note(`${step} steps in ${duration(seconds)}${ended}; training loss ${loss.toFixed(4)}`);
  if (eval_loss !== undefined)
    note(
      `evaluation loss ${eval_loss.toFixed(4)} (perplexity ${figure(Math.exp(eval_loss))}) at step ${kept}, whose weights are kept; ${first_eval!.toFixed(4)} before training`,
    );
  if (eval_kl !== undefined)
    note(`KL divergence from the teacher ${eval_kl.toFixed(4)}; ${first_kl!.toFixed(4)} before training`);
}
