// pith tune: a model trained on one's own data.

import { dryRun, type TuneOptions, tune as tuneModel } from "../train/index.ts";
import { interruptible } from "./interrupt.ts";
import { bytes, figure, note, printJson } from "./output.ts";
import { duration } from "./progress.ts";
import { type LoopOptions, loopOptions, set } from "./train.ts";
import { follow, notePlan } from "./training.ts";

export interface TuneCliOptions extends LoopOptions {
  method?: NonNullable<TuneOptions["method"]>;
  rank?: number;
  alpha?: number;
  rslora?: boolean;
  targets?: string;
  dropout?: number;
  ctx?: number;
  long?: "error" | "drop" | "cut";
  reasoning?: "learn" | "ignore";
  lastOnly?: boolean;
  raw?: boolean;
  beta?: number;
  compute?: "f32" | "bf16";
  recompute?: boolean;
  dryRun?: boolean;
}

export async function tune(model: string, options: TuneCliOptions): Promise<void> {
  const { data, out, targets } = options;
  if (!data) throw new TypeError("Cannot tune: wanted a file of samples, with --data file");
  const { method, rank, alpha, rslora, ctx, long, reasoning, lastOnly, raw, beta } = options;
  const { dropout, compute, recompute } = options;
  const given: TuneOptions = {
    data,
    out,
    ...set({ method, rank, alpha, rslora, dropout, ctx, long, reasoning, lastOnly, raw, beta }),
    ...set({ compute, recompute }),
    ...(targets !== undefined && { targets: targetsOf(targets) }),
    ...loopOptions(options),
  };
  if (options.dryRun) return showDryRun(model, given, options.json === true);
  await follow(
    (signal) =>
      tuneModel(model, {
        ...given,
        signal,
        onPlan(plan, warnings) {
          notePlan(plan);
          for (const warning of warnings) note(`worth knowing: ${warning}`);
        },
      }),
    options.json,
    ({ adapter }) => (adapter ? `pith run ${model} --adapter ${out}` : `pith run ${out}`),
  );
}

/** "all-linear" and regular expressions as they are; names with commas between them as a list. */
function targetsOf(text: string): string | string[] {
  return /^[\w.]+(,[\w.]+)*$/.test(text) && text !== "all-linear" ? text.split(",") : text;
}

async function showDryRun(model: string, options: TuneOptions, json: boolean): Promise<void> {
  const result = await interruptible("Interrupted: nothing was written", (signal) =>
    dryRun(model, { ...options, signal }, { color: process.stdout.isTTY === true && !json }),
  );
  if (json) return printJson(result);
  const { plan, warnings, seconds, tokens_per_second, samples } = result;
  for (const sample of samples) process.stdout.write(`${sample}\n\n`);
  notePlan(plan);
  note(
    `time: about ${duration(seconds)}, evaluation not counted, at ${figure(tokens_per_second)} tokens/s; ${bytes(plan.available)} of memory is available`,
  );
  for (const warning of warnings) note(`worth knowing: ${warning}`);
}
