// Verbs whose library calls want opened models or no folder: options with paths, for recipes.

import {
  evaluate as evaluateModel,
  type Metric,
  parseTask,
  readText,
  type TaskOptions,
  type TaskResult,
  type TextResult,
} from "../evaluate/index.ts";
import type { AdapterChoice } from "../generate/adapters.ts";
import { type LoadModelOptions, loadModel, type Model } from "../generate/index.ts";
import {
  average,
  type ConvertOptions,
  convert,
  fuse,
  type ModelToAverage,
  openAdapter,
  openModel,
  type SaveType,
} from "../models/index.ts";
import { withModel } from "../train/index.ts";
import type { Figures, Input } from "./recipe.ts";

export interface ConvertStep {
  readonly model: Input;
  /** Type of the matrices. Default: the type each has. */
  readonly type?: SaveType;
  /** Default "gguf". */
  readonly as?: "gguf" | "folder";
}

export interface FuseStep extends ConvertStep {
  readonly adapters: readonly Input[];
  /** Of each adapter, beside its own alpha / rank. Default 1. */
  readonly scales?: readonly number[];
  /** Merge into quantized weights too. */
  readonly requantize?: boolean;
}

export interface AverageStep extends Omit<ConvertStep, "model"> {
  readonly models: readonly Input[];
  /** Of each model. Default 1. */
  readonly weights?: readonly number[];
}

/** A text or a task, as `evaluate` takes them. */
export interface EvaluateStep extends Pick<LoadModelOptions, "kv" | "quantize" | "backend" | "threads"> {
  readonly model: Input;
  /** Adapters that it is evaluated with. */
  readonly adapters?: readonly Input[];
  /** A file of text: perplexity. */
  readonly text?: Input;
  /** A model that it is compared with on the text. */
  readonly base?: Input;
  readonly stride?: number;
  /** A task file: scores. */
  readonly task?: Input;
  readonly metric?: Metric;
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
  /** Answers must follow the schema of their line. */
  readonly constrain?: boolean;
  /** Of calls: texts of arguments must stand in the sentence. */
  readonly verbatim?: NonNullable<TaskOptions["verbatim"]>;
  /** Prompts that do not fit: "error", or "wrong". */
  readonly long?: "error" | "wrong";
  readonly seed?: number;
  /** Tokens of a window of text, or of a prompt and its answer. */
  readonly ctx?: number;
  /** At most so many windows or lines. */
  readonly limit?: number;
}

/** The options with paths in place of inputs. */
export type Resolved<T> = {
  readonly [K in keyof T]: Input extends T[K]
    ? Exclude<T[K], Exclude<Input, string>>
    : T[K] extends readonly Input[] | undefined
      ? readonly string[]
      : T[K];
};

type Tell = (done: number, total: number, text?: string) => void;

/** Options of what writes a model; the recipe has seen to the target. */
const writing = (type: SaveType | undefined, signal: AbortSignal, tell: Tell): ConvertOptions => ({
  ...(type && { type }),
  overwrite: true,
  signal,
  onProgress: ({ bytes, totalBytes }) => tell(bytes, totalBytes),
});

export async function convertModel(
  { model, type }: Resolved<ConvertStep>,
  out: string,
  signal: AbortSignal,
  tell: Tell,
): Promise<void> {
  await withModel(model, (opened) => convert(opened, out, writing(type, signal, tell)));
}

/** @throws {RangeError} when there are not as many scales as adapters */
export async function fuseModel(
  { model, adapters: paths, scales, type, requantize }: Resolved<FuseStep>,
  out: string,
  signal: AbortSignal,
  tell: Tell,
): Promise<Figures> {
  if (scales && scales.length !== paths.length)
    throw new RangeError(
      `Cannot merge ${paths.length} adapters with ${scales.length} scales: wanted one for each`,
    );
  const adapters: { adapter: Awaited<ReturnType<typeof openAdapter>>; scale: number }[] = [];
  const opened = await openModel(model);
  try {
    for (const [i, path] of paths.entries())
      adapters.push({ adapter: await openAdapter(path, signal), scale: scales?.[i] ?? 1 });
    const { changed, cost } = await fuse(opened, adapters, out, {
      ...writing(type, signal, tell),
      ...(requantize && { requantize }),
    });
    return { changed, ...(cost && { relative_error: cost.relative_error }) };
  } finally {
    for (const { adapter } of adapters) await adapter.close();
    await opened.close();
  }
}

/** @throws {RangeError} when there are not as many weights as models */
export async function averageModels(
  { models: paths, weights, type }: Resolved<AverageStep>,
  out: string,
  signal: AbortSignal,
  tell: Tell,
): Promise<Figures> {
  if (weights && weights.length !== paths.length)
    throw new RangeError(
      `Cannot average ${paths.length} models with ${weights.length} weights: wanted one for each`,
    );
  const models: ModelToAverage[] = [];
  try {
    for (const [i, path] of paths.entries())
      models.push({ model: await openModel(path), weight: weights?.[i] ?? 1 });
    const { distances } = await average(models, out, writing(type, signal, tell));
    return { farthest: Math.max(...distances) };
  } finally {
    for (const { model } of models) await model.close();
  }
}

/** @throws {TypeError} when neither or both of a text and a task are wanted */
export async function evaluateStep(
  options: Resolved<EvaluateStep>,
  signal: AbortSignal,
  tell: Tell,
): Promise<TextResult | TaskResult> {
  const {
    model: path,
    adapters,
    text,
    base: basePath,
    task,
    metric,
    kv,
    quantize,
    backend,
    threads,
  } = options;
  if ((text === undefined) === (task === undefined))
    throw new TypeError(
      `Cannot evaluate: found ${text === undefined ? "neither" : "both"} text and task, wanted one of them`,
    );
  if (task !== undefined && basePath !== undefined)
    throw new TypeError("Cannot evaluate a task with base: it compares texts");
  const { stride, maxTokens, stop, constrain, verbatim, long, seed, ctx, limit } = options;
  const how: LoadModelOptions = {
    ...(kv && { kv }),
    ...(quantize && { quantize }),
    ...(backend && { backend }),
    ...(threads !== undefined && { threads }),
    ...(ctx !== undefined && { ctx }),
    signal,
  };
  const common = {
    ...(limit !== undefined && { limit }),
    signal,
    onProgress: ({ done, total }: { done: number; total: number }) => tell(done, total),
  };
  if (task !== undefined) {
    const parsed = parseTask(await readText(task), task, metric);
    await using model = await loadModel(path, how);
    const adapter = await attach(model, adapters);
    return await evaluateModel(model, {
      ...common,
      task: parsed,
      ...(adapter && { adapter }),
      ...(maxTokens !== undefined && { maxTokens }),
      ...(stop && { stop }),
      ...(constrain !== undefined && { constrain }),
      ...(verbatim && { verbatim }),
      ...(long && { long }),
      ...(seed !== undefined && { seed }),
    });
  }
  const content = await readText(text!);
  await using model = await loadModel(path, how);
  await using base = basePath === undefined ? undefined : await loadModel(basePath, how);
  const adapter = await attach(model, adapters);
  return await evaluateModel(model, {
    ...common,
    text: content,
    name: JSON.stringify(text),
    ...(adapter && { adapter }),
    ...(base && { base }),
    ...(ctx !== undefined && { ctx }),
    ...(stride !== undefined && { stride }),
  });
}

async function attach(model: Model, paths: readonly string[] = []): Promise<AdapterChoice | undefined> {
  const choice: AdapterChoice[] = [];
  for (const path of paths) choice.push(await model.adapter(path, { name: path }));
  return choice.length === 0 ? undefined : (choice as AdapterChoice);
}

/** What an evaluation found, as figures: numbers of a text's, scores of a task's. */
export function evaluationFigures(result: TextResult | TaskResult): Figures {
  if (!("scores" in result)) return numbers(result);
  const { scores, lines, bits_per_weight } = result;
  const values = Object.entries(scores).map(([name, { value }]) => [name, value] as const);
  return { ...Object.fromEntries(values), lines, bits_per_weight };
}

/** The properties that are numbers. */
export function numbers(all: object): Figures {
  const found = Object.entries(all).filter(([, value]) => typeof value === "number");
  return Object.fromEntries(found) as Figures;
}
