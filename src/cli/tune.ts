// pith tune: a model trained on one's own data.

import { dryRun, type TuneOptions, tune as tuneModel } from "../train/index.ts";
import { type LoopOptions, loopOptions, outOf, set } from "./train.ts";
import { follow, noteDryRun, noteStart } from "./training.ts";

/** How samples are read, and with what a step computes. */
export interface SampleOptions {
  ctx?: number;
  long?: "error" | "drop" | "cut";
  reasoning?: "learn" | "ignore";
  lastOnly?: boolean;
  raw?: boolean;
  compute?: "f32" | "bf16";
  recompute?: boolean;
}

export function sampleOptions(options: SampleOptions) {
  const { ctx, long, reasoning, lastOnly, raw, compute, recompute } = options;
  return set({ ctx, long, reasoning, lastOnly, raw, compute, recompute });
}

export interface TuneCliOptions extends LoopOptions, SampleOptions {
  method?: NonNullable<TuneOptions["method"]>;
  rank?: number;
  alpha?: number;
  rslora?: boolean;
  targets?: string;
  dropout?: number;
  beta?: number;
  dryRun?: boolean;
}

export async function tune(model: string, options: TuneCliOptions): Promise<void> {
  const { data, targets } = options;
  if (!data) throw new TypeError("Cannot tune: wanted a file of samples, with --data file");
  const out = outOf("tune", options);
  const { method, rank, alpha, rslora, dropout, beta } = options;
  const given: TuneOptions = {
    data,
    out,
    ...set({ method, rank, alpha, rslora, dropout, beta }),
    ...sampleOptions(options),
    ...(targets !== undefined && { targets: targetsOf(targets) }),
    ...loopOptions(options),
  };
  if (options.dryRun)
    return noteDryRun((signal, color) => dryRun(model, { ...given, signal }, { color }), options.json);
  await follow(
    (signal) => tuneModel(model, { ...given, signal, onPlan: noteStart }),
    options.json,
    ({ adapter }) => (adapter ? `pith run ${model} --adapter ${out}` : `pith run ${out}`),
  );
}

/** "all-linear" and regular expressions as they are; names with commas between them as a list. */
export function targetsOf(text: string): string | string[] {
  return /^[\w.]+(,[\w.]+)*$/.test(text) && text !== "all-linear" ? text.split(",") : text;
}
