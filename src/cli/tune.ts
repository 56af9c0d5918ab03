// pith tune: a model trained on one's own data.

import { type DistillOptions, distill, dryDistill } from "../distill/index.ts";
import { dryRun, type TuneOptions, tune as tuneModel } from "../train/index.ts";
import { type LoopOptions, loopOptions, outOf, set } from "./train.ts";
import { follow, noteDryRun, noteStart } from "./training.ts";

/** How samples are read. */
export interface SampleOptions {
  ctx?: number;
  long?: "error" | "drop" | "cut";
  reasoning?: "learn" | "ignore";
  lastOnly?: boolean;
  raw?: boolean;
}

export function sampleOptions(options: SampleOptions) {
  const { ctx, long, reasoning, lastOnly, raw } = options;
  return set({ ctx, long, reasoning, lastOnly, raw });
}

export interface TuneCliOptions extends LoopOptions, SampleOptions {
  method?: NonNullable<TuneOptions["method"]>;
  teacher?: string;
  rank?: number;
  alpha?: number;
  rslora?: boolean;
  targets?: string;
  dropout?: number;
  beta?: number;
  dryRun?: boolean;
}

export async function tune(model: string, options: TuneCliOptions): Promise<void> {
  const { data, targets, teacher } = options;
  if (!data) throw new TypeError("Cannot tune: wanted a file of samples, with --data file");
  if (teacher !== undefined && options.method !== "ternary")
    throw new TypeError(
      "Cannot tune with --teacher: wanted it with --method ternary alone; pith distill has teachers for others",
    );
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
  if (method === "ternary")
    return ternary(model, { ...given, method, on_policy: 0, ...set({ teacher }) }, options);
  if (options.dryRun)
    return noteDryRun((signal, color) => dryRun(model, { ...given, signal }, { color }), options.json);
  await follow(
    (signal) => tuneModel(model, { ...given, signal, onPlan: noteStart }),
    options.json,
    ({ adapter }) => (adapter ? `pith run ${model} --adapter ${out}` : `pith run ${out}`),
  );
}

/** A model with ternary weights, taught by what it was. */
async function ternary(
  model: string,
  given: DistillOptions,
  { dryRun, json }: Pick<TuneCliOptions, "dryRun" | "json">,
): Promise<void> {
  if (dryRun) return noteDryRun((signal, color) => dryDistill(model, { ...given, signal }, { color }), json);
  await follow(
    (signal) => distill(model, { ...given, signal, onPlan: noteStart }),
    json,
    () => `pith run ${given.out}`,
  );
}

/** "all-linear" and regular expressions as they are; names with commas between them as a list. */
export function targetsOf(text: string): string | string[] {
  return /^[\w.]+(,[\w.]+)*$/.test(text) && text !== "all-linear" ? text.split(",") : text;
}
