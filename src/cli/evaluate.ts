// pith evaluate: perplexity of a text, beside a base how far from it; or a task. JSON with --json, a table without.

import { type FileHandle, open } from "node:fs/promises";
import {
  evaluate as evaluateModel,
  type Metric,
  parseTask,
  readText,
  type Task,
  type TaskAnswer,
  type TaskResult,
  type TextResult,
} from "../evaluate/index.ts";
import type { AdapterChoice } from "../generate/adapters.ts";
import type { Model } from "../generate/model.ts";
import { attachAdapters } from "./adapters.ts";
import { interruptible } from "./interrupt.ts";
import { load } from "./load.ts";
import type { ModelOptions } from "./options.ts";
import { figure, note, printJson, printTable } from "./output.ts";
import { progressBar } from "./progress.ts";

export interface EvaluateOptions extends ModelOptions {
  text?: string;
  base?: string;
  stride?: number;
  limit?: number;
  task?: string;
  metric?: Metric;
  out?: string;
  maxTokens?: number;
  stop?: string[];
  constrain?: boolean;
  verbatim?: true | string[];
  long?: "error" | "wrong";
  seed?: number;
  adapter?: string[];
  json?: boolean;
}

export async function evaluate(nameOrPath: string, options: EvaluateOptions): Promise<void> {
  const { text: textFile, task: taskFile, json } = options;
  if ((textFile === undefined) === (taskFile === undefined))
    throw new TypeError(
      `Cannot evaluate: found ${textFile === undefined ? "neither" : "both"} --text and --task, wanted one of them`,
    );
  if (taskFile !== undefined) {
    if (options.base !== undefined)
      throw new TypeError("Cannot evaluate a task with --base: it compares texts");
    const task = parseTask(await readText(taskFile), taskFile, options.metric);
    await using model = await load(nameOrPath, options);
    const adapter = await attachAdapters(model, options.adapter);
    await report(json, "answers", (signal, bar) => taskResult(model, adapter, task, options, signal, bar));
    return;
  }
  const text = await readText(textFile!);
  await using model = await load(nameOrPath, options);
  const adapter = await attachAdapters(model, options.adapter);
  await using base = options.base === undefined ? undefined : await load(options.base, options);
  await report(json, "tokens", (signal, bar) => textResult(model, adapter, base, text, options, signal, bar));
}

type Bar = ReturnType<typeof progressBar>;

/** Runs what gives a result; Ctrl-C ends it, and shows what is finished. */
async function report(
  json: boolean | undefined,
  unit: string,
  run: (signal: AbortSignal, bar: Bar) => Promise<{ result: object; rows: [string, string][] }>,
): Promise<void> {
  const bar = progressBar("evaluating", unit);
  try {
    await interruptible("Interrupted: nothing was finished", async (signal) => {
      const { result, rows } = await run(signal, bar);
      bar.stop();
      if (json) printJson(result);
      else printTable(rows);
      if (signal.aborted) process.exitCode = 130; // a part is no failure, but no whole either
    });
  } finally {
    bar.stop();
  }
}

async function textResult(
  model: Model,
  adapter: AdapterChoice | undefined,
  base: Model | undefined,
  text: string,
  { ctx, stride, limit, text: file }: EvaluateOptions,
  signal: AbortSignal,
  bar: Bar,
) {
  let partial: (() => TextResult | undefined) | undefined;
  const whole = evaluateModel(model, {
    text,
    name: JSON.stringify(file),
    ...(adapter && { adapter }),
    ...(base && { base }),
    ...(ctx !== undefined && { ctx }),
    ...(stride !== undefined && { stride }),
    ...(limit !== undefined && { limit }),
    signal,
    onProgress: ({ done, total, result }) => {
      partial = result;
      bar.update(done, total);
    },
  });
  const result = await whole.catch((error: unknown) => {
    const finished = signal.aborted ? partial?.() : undefined;
    if (!finished) throw error;
    note(`interrupted after ${finished.windows} of ${finished.windows_total} windows`);
    return finished;
  });
  return {
    result: { model: model.name, ...(base && { base: base.name }), ...result },
    rows: textRows(result),
  };
}

async function taskResult(
  model: Model,
  adapter: AdapterChoice | undefined,
  task: Task,
  { limit, out, maxTokens, stop, constrain, verbatim, long, seed }: EvaluateOptions,
  signal: AbortSignal,
  bar: Bar,
) {
  let partial: (() => TaskResult) | undefined;
  const file = out === undefined ? undefined : await open(out, "w");
  try {
    const written = file && new Lines(file);
    const whole = evaluateModel(model, {
      task,
      ...(adapter && { adapter }),
      ...(limit !== undefined && { limit }),
      ...(maxTokens !== undefined && { maxTokens }),
      ...(stop !== undefined && { stop }),
      ...(constrain !== undefined && { constrain }),
      ...(verbatim && { verbatim }),
      ...(long && { long }),
      ...(seed !== undefined && { seed }),
      signal,
      onProgress: ({ done, total, result }) => {
        partial = result;
        bar.update(done, total);
      },
      ...(written && { onAnswer: (answer: TaskAnswer) => written.add(answer) }),
    });
    const result = await whole.catch((error: unknown) => {
      const finished = signal.aborted ? partial?.() : undefined;
      if (!finished) throw error;
      note(`interrupted after ${finished.lines} of ${finished.lines_total} lines`);
      return finished;
    });
    await written?.end();
    return { result: { model: model.name, task: task.name, ...result }, rows: taskRows(result) };
  } finally {
    await file?.close();
  }
}

/** JSONL to a file, in the order of the calls; a failed write is told at the end. */
class Lines {
  readonly #file: FileHandle;
  #last: Promise<unknown> = Promise.resolve();
  #error: unknown;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  add(value: object): void {
    const text = `${JSON.stringify(value)}\n`;
    this.#last = this.#last
      .then(() => this.#file.write(text))
      .catch((error: unknown) => (this.#error ??= error));
  }

  async end(): Promise<void> {
    await this.#last;
    if (this.#error) throw this.#error;
  }
}

function taskRows(r: TaskResult): [string, string][] {
  const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
  const of = r.lines < r.lines_total ? ` of ${figure(r.lines_total)}` : "";
  const rows: [string, string][] = [
    ["metric", r.metric],
    ["lines", `${figure(r.lines)}${of}`],
  ];
  for (const [name, { value, low, high }] of Object.entries(r.scores))
    rows.push([name, `${percent(value)} (95 %: ${percent(low)} to ${percent(high)})`]);
  for (const { label, wanted, right, answered, f1 } of r.labels ?? [])
    rows.push(["", `${label}: ${right} of ${wanted} right, answered ${answered} times, F1 ${percent(f1)}`]);
  if (r.unknown_labels) rows.push(["", `${r.unknown_labels} answers are none of the labels`]);
  if (r.unchecked_keywords?.length)
    rows.push(["", `not checked in schemas: ${r.unchecked_keywords.join(", ")}`]);
  return [...rows, ["weights", `${r.bits_per_weight.toFixed(2)} bits a weight`]];
}

function textRows(r: TextResult): [string, string][] {
  const percent = (x: number) => `${(100 * x).toFixed(2)} %`;
  const of = r.windows < r.windows_total ? ` of ${figure(r.windows_total)}` : "";
  const cut =
    r.convention === "windows"
      ? `windows: ${figure(r.windows)}${of}, ${r.ctx} tokens each, the second half scored (as llama.cpp)`
      : `strided: ${figure(r.windows)}${of} windows, ${r.ctx} tokens each, ${r.stride} apart, every token scored once (as transformers)`;
  const rows: [string, string][] = [
    ["perplexity", `${precise(r.perplexity)} ± ${precise(r.perplexity_se)}`],
    ["tokens", `${figure(r.tokens)} scored`],
    ["convention", cut],
    ["weights", `${r.bits_per_weight.toFixed(2)} bits a weight`],
  ];
  if (r.log_ratio === undefined) return rows;
  return [
    ...rows,
    [
      "base",
      `perplexity ${precise(r.base_perplexity!)}, ${r.base_bits_per_weight!.toFixed(2)} bits a weight`,
    ],
    ["log ratio", `${r.log_ratio.toFixed(5)} ± ${r.log_ratio_se!.toFixed(5)}`],
    [
      "KL to base",
      `mean ${precise(r.kl_mean!)}, median ${precise(r.kl_median!)}, 99 % ${precise(r.kl_p99!)}`,
    ],
    ["same top", percent(r.top1!)],
  ];
}

const precise = (x: number): string =>
  Math.abs(x) >= 1e6 ? x.toExponential(4) : String(Number(x.toPrecision(5)));
