// What the steps of a demonstration share: the model, the tools and sentences, the folder, the time there is, and what
// earlier steps have made.

import { evaluate, parseTask, type TaskAnswer, type TaskResult } from "../evaluate/index.ts";
import type { Model } from "../generate/index.ts";
import { type CallOptions, type CallResult, callTools, type Tool, type ToolCall } from "../tools/index.ts";
import type { Job, StepEvent } from "../train/index.ts";
import type { Chance, Example } from "./invent.ts";
import type { Network } from "./network.ts";
import type { DemoOptions } from "./types.ts";

/** How much of everything there is. Seconds are those of training, loading not counted. */
export interface Amounts {
  readonly examples: number;
  readonly held_out: number;
  readonly adapter_seconds: number;
  readonly neighbour_seconds: number;
  readonly student_seconds: number;
  readonly ternary_seconds: number;
  /** Sentences that the teacher answers for the student, and samples of other tools beside them. */
  readonly answered: number;
  readonly others: number;
  /** Lines of the task about other tools. */
  readonly other_lines: number;
  /** Of the comparison: short answers that are timed. */
  readonly answers: number;
}

export const WHOLE: Amounts = {
  ...{ examples: 30, held_out: 30, adapter_seconds: 45, neighbour_seconds: 20 },
  ...{ student_seconds: 45, ternary_seconds: 20 },
  ...{ answered: 400, others: 500, other_lines: 40, answers: 200 },
};
export const FAST: Amounts = {
  ...{ examples: 30, held_out: 15, adapter_seconds: 6, neighbour_seconds: 4 },
  ...{ student_seconds: 5, ternary_seconds: 3 },
  ...{ answered: 60, others: 60, other_lines: 12, answers: 20 },
};

/** What a demonstration is about. */
export interface Material {
  readonly tools: readonly Tool[];
  /** Sentences in everyday words. */
  readonly plain: readonly Example[];
  /** What the adapter learns, and what it is measured on: the model sees none of it before. */
  readonly examples: readonly Example[];
  readonly held: readonly Example[];
  /** Words of the house, and what they mean; empty for examples of the user's own. */
  readonly words: readonly (readonly [word: string, means: string])[];
  /** Another house, which an adapter of its own is trained for. */
  readonly neighbour: { readonly tools: readonly Tool[]; readonly examples: readonly Example[] };
  /** More sentences of the house, without answers. */
  readonly unanswered: readonly string[];
}

/** What later steps use of earlier ones. */
export interface Made {
  adapter?: string;
}

export interface Work {
  readonly options: DemoOptions;
  readonly amounts: Amounts;
  readonly seed: number;
  readonly chance: Chance;
  readonly material: Material;
  readonly network: Network;
  readonly model: Model;
  readonly load_ms: number;
  /** Path of the model. */
  readonly path: string;
  readonly made: Made;
  readonly signal: AbortSignal;
  /** A place in the folder that is being made, and how it is called when that is done. */
  place(name: string): string;
  shown(name: string): string;
  /** Tells how far something is. */
  tell(what: string, done: number, total: number, text?: string): void;
}

/** What a step found; `page` is HTML for the report. */
export interface Found {
  readonly lines: readonly string[];
  readonly commands: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
  readonly page: string;
}

/** One file for each. */
export interface Step {
  readonly id: string;
  readonly title: string;
  run(work: Work): Promise<Found>;
}

/** A line of a file of samples, and of a task. */
export const sampleLine = (tools: readonly Tool[], { text, answer }: Example): string =>
  JSON.stringify({
    tools,
    messages: [
      { role: "user", content: text },
      { role: "assistant", content: answerText(answer) },
    ],
  });
export const taskLine = (tools: readonly Tool[], { text, answer }: Example): string =>
  JSON.stringify({
    metric: "calls",
    tools,
    messages: [{ role: "user", content: text }],
    completion: answerText(answer),
  });

/** The one form of an answer that the caller knows: minimal JSON. */
export const answerText = (answer: readonly ToolCall[]): string =>
  JSON.stringify(answer.map(({ name, arguments: args }) => ({ name, arguments: args })));

/** JSON of calls as a reader takes it in: confirm(id: "885"). Anything else is left as it is. */
export function asCalls(text: string): string {
  try {
    const list = JSON.parse(text) as readonly ToolCall[];
    const call = ({ name, arguments: args }: ToolCall) =>
      `${name}(${Object.entries(args)
        .map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
        .join(", ")})`;
    return list.length === 0 ? "no function fits" : list.map(call).join("; ");
  } catch {
    return text;
  }
}

/** The model's answer to one sentence, or why there is none: the answer found no end, or the sentence does not fit. */
export async function tried(model: Model, options: CallOptions): Promise<CallResult | RangeError> {
  try {
    return await callTools(model, options);
  } catch (error) {
    if (error instanceof RangeError) return error;
    throw error;
  }
}

/** Answers of the model to sentences, constrained to the tools. */
export async function answered(
  { model, signal, tell }: Work,
  what: string,
  tools: readonly Tool[],
  examples: readonly Example[],
  adapter?: string,
): Promise<{ readonly right: number; readonly answers: readonly TaskAnswer[]; readonly result: TaskResult }> {
  const task = parseTask(examples.map((one) => taskLine(tools, one)).join("\n"), what);
  const answers: TaskAnswer[] = [];
  const result = await evaluate(model, {
    task,
    constrain: true,
    ...(adapter !== undefined && { adapter }),
    signal,
    onAnswer: (answer) => answers.push(answer),
    onProgress: ({ done, total }) => tell(what, done, total),
  });
  return { right: answers.filter(({ right }) => right).length, answers, result };
}

/** Follows training on the step's bar. */
export async function followed<R>({ tell }: Work, what: string, job: Job<StepEvent, R>): Promise<R> {
  for await (const { step, steps, loss, tokens_per_second } of job)
    tell(what, step, steps, `loss ${loss.toFixed(3)}, ${Math.round(tokens_per_second)} tokens/s`);
  return job.result;
}

/** Steps that fit into so many seconds, of at most `most`; a training of fewer than 8 is none. */
export function stepsIn(
  seconds: number,
  { seconds: all, plan }: { seconds: number; plan: { steps: number } },
  most: number,
): number {
  return Math.max(8, Math.min(most, Math.floor((seconds * plan.steps) / all)));
}

/** Where it is computed, as the user said. */
export const engineOf = ({ backend, threads }: DemoOptions) => ({
  ...(backend && { backend }),
  ...(threads && { threads }),
});

/** Options of training that all steps share. */
export const computing = ({ options, signal, seed }: Work) => ({
  compute: "bf16" as const,
  seed: seed % 2 ** 31,
  signal,
  ...engineOf(options),
});

/** "pith-demo/adapter" as a word of a command line. */
export const shellWord = (text: string): string =>
  /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;
