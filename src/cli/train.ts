// pith train: a model from nothing.

import type { BackendName } from "../engine/backends/index.ts";
import { type FitOptions, type ScratchOptions, train as trainModel } from "../train/index.ts";
import { follow, noteStart } from "./training.ts";

export interface LoopOptions {
  data?: string[];
  eval?: string[];
  evalShare?: number;
  epochs?: number;
  steps?: number;
  batchTokens?: number;
  lr?: number;
  minLr?: number;
  schedule?: "cosine" | "linear" | "constant";
  warmup?: number;
  weightDecay?: number;
  beta2?: number;
  clip?: number;
  evalSteps?: number;
  patience?: number;
  saveSteps?: number;
  seed?: number;
  resume?: boolean;
  out?: string;
  backend?: BackendName;
  threads?: number;
  compute?: "f32" | "bf16";
  recompute?: boolean;
  json?: boolean;
}

/** The measures of a model to be made. */
export interface ShapeOptions {
  modelType?: string;
  layers?: number;
  heads?: number;
  kvHeads?: number;
  width?: number;
  ctx?: number;
}

export interface TrainOptions extends LoopOptions, ShapeOptions {
  config?: string;
  tokenizer?: string;
  method?: "full" | "ternary";
  type?: "f32" | "bf16" | "f16";
  long?: "error" | "drop" | "cut";
}

/** Options of the command line under the library's names, without those that are not set. */
export function loopOptions(options: LoopOptions) {
  const { lr, minLr, schedule, warmup, weightDecay, beta2, clip, evalSteps, patience, saveSteps } = options;
  const fit: Partial<FitOptions> = set({
    lr,
    min_lr: minLr,
    schedule,
    warmup_steps: warmup,
    weight_decay: weightDecay,
    beta2,
    max_grad_norm: clip,
    eval_steps: evalSteps,
    patience,
    save_steps: saveSteps,
  });
  const { epochs, steps, batchTokens, seed, resume, backend, threads, evalShare } = options;
  const run = { epochs, max_steps: steps, batch_tokens: batchTokens, seed, resume, backend, threads };
  const { compute, recompute } = options;
  return { ...fit, ...set({ ...run, compute, recompute, eval: options.eval, eval_share: evalShare }) };
}

/** The folder that is written to: a dry run needs none. @throws {TypeError} when none is given */
export function outOf(verb: string, { out, dryRun }: { out?: string; dryRun?: boolean }): string {
  if (out === undefined && !dryRun)
    throw new TypeError(`Cannot ${verb}: wanted a folder to write to, with --out folder`);
  return out ?? "";
}

export function set<T extends object>(all: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as never;
}

export async function train(options: TrainOptions): Promise<void> {
  const { data, config, tokenizer, method, type, long } = options;
  if (!data) throw new TypeError("Cannot train: wanted a file of text or samples, with --data file");
  const out = outOf("train", options);
  await follow(
    (signal) =>
      trainModel({
        config:
          config ?? shapeOf(options, "Cannot train: wanted what the model is, with --config config.json, or"),
        data,
        out,
        ...(tokenizer !== undefined && {
          tokenizer: /^\d+$/.test(tokenizer) ? Number(tokenizer) : tokenizer,
        }),
        ...set({ method, type, long }),
        ...loopOptions(options),
        signal,
        onPlan: noteStart,
      }),
    options.json,
    () => `pith run ${out} "..."`,
  );
}

/** @param what an error begins with */
export function shapeOf(
  { modelType, layers, heads, kvHeads, width, ctx }: ShapeOptions,
  what: string,
): Exclude<ScratchOptions["config"], string> {
  if (!layers || !heads || !width || !ctx)
    throw new TypeError(`${what} --layers, --heads, --width and --ctx`);
  return {
    layers,
    heads,
    width,
    ctx,
    ...(modelType && { model_type: modelType }),
    ...(kvHeads && { kv_heads: kvHeads }),
  };
}
