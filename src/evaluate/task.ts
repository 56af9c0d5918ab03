// A model at a task: every line answered, greedily and many at once, or its choices scored; then graded.

import { setMaxListeners } from "node:events";
import type { AdapterChoice } from "../generate/adapters.ts";
import type { JsonSchema } from "../generate/index.ts";
import type { Model } from "../generate/model.ts";
import {
  ANY_ANSWER,
  readTools,
  type Tool,
  toolSchema,
  type VerbatimArguments,
  verbatimArguments,
} from "../tools/index.ts";
import { chooseAll } from "./choice.ts";
import { type Scores, share } from "./figures.ts";
import { graderFor } from "./scores.ts";
import { type Metric, rightChoice, type Task, type TaskLine } from "./task-file.ts";

export interface TaskOptions {
  readonly task: Task;
  /** Attached adapters to answer with. */
  readonly adapter?: AdapterChoice;
  /** At most so many lines, from the beginning. */
  readonly limit?: number;
  /** Most tokens of an answer. Default: 16 more than twice the longest right answer of the task; 256 where none is given. */
  readonly maxTokens?: number;
  /** Answers must follow their line's `schema`, or that of calls of its `tools`. */
  readonly constrain?: boolean;
  /**
   * Of "calls": answers are constrained, and texts of arguments must stand in what the user says: all that their schema
   * leaves free, or the arguments of these names.
   */
  readonly verbatim?: VerbatimArguments;
  /** Lines whose prompt does not fit the context: an error (the default), or counted as wrong. Not for "choice". */
  readonly long?: "error" | "wrong";
  /** Text that ends an answer. Default: a line end, for `prompt` lines of "exact" and "label". */
  readonly stop?: string | readonly string[];
  /** Of the bootstrap. Default 1. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: TaskProgress) => void;
  /** Called with every answer, in the order of the lines. */
  readonly onAnswer?: (answer: TaskAnswer) => void;
}

export interface TaskProgress {
  /** Lines answered, and in all. */
  readonly done: number;
  readonly total: number;
  /** What these lines give. */
  result(): TaskResult;
}

/** JSON-able. */
export interface TaskAnswer {
  readonly line: number;
  readonly answer: string;
  /** Right by the task's metric: normalized match, label, whole call or other answer, valid JSON, the choice with the largest sum. */
  readonly right: boolean;
  readonly completion?: unknown;
  readonly finish_reason?: string;
  /** Of "choice": log-probability of each, in nats. */
  readonly log_probabilities?: readonly number[];
}

/** JSON-able. */
export interface TaskResult extends Scores {
  readonly metric: Metric;
  /** Lines answered, and of the whole task or the limit: less are answered when it was interrupted. */
  readonly lines: number;
  readonly lines_total: number;
  readonly bits_per_weight: number;
  readonly max_tokens?: number;
  /** Of these lines the prompt did not fit. */
  readonly lines_too_long?: number;
}

/** Answers asked for at a time: more than run at once, so that none waits for a slow one. */
const UNDER_WAY = 32;

export async function evaluateTask(model: Model, options: TaskOptions): Promise<TaskResult> {
  const { task, limit, verbatim, signal } = options;
  signal?.throwIfAborted();
  if (verbatim && task.metric !== "calls")
    throw new TypeError(`Cannot evaluate ${JSON.stringify(task.metric)} verbatim: wanted a task of "calls"`);
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1))
    throw new RangeError(`Cannot evaluate with a limit of ${limit}: wanted a whole number, 1 or more`);
  const lines = task.lines.slice(0, limit ?? Infinity);
  return task.metric === "choice" ? choose(model, lines, options) : answer(model, lines, options);
}

async function answer(model: Model, lines: readonly TaskLine[], options: TaskOptions): Promise<TaskResult> {
  const { adapter, constrain, verbatim, task } = options;
  let lines_too_long = 0;
  const ask: Ask = (line, settings) => {
    const given = askModel(line, settings);
    if (options.long !== "wrong") return given;
    return given.then(undefined, (error) => {
      if (error.code !== "context_length_exceeded") throw error;
      lines_too_long++;
      return { text: "", finishReason: "prompt too long" };
    });
  };
  const askModel: Ask = (line, { maxTokens, stop, signal }) => {
    const { schema, tools } = constrain || verbatim ? schemaOf(line, task.name) : {};
    const given = { temperature: 0, maxTokens, stop, signal };
    const settings = {
      ...given,
      ...(adapter && { adapter }),
      ...(verbatim
        ? {
            schema: schema ?? ANY_ANSWER,
            verbatim: verbatimArguments(
              tools,
              verbatim,
              line.messages ?? [{ role: "user", content: line.prompt! }],
            ),
          }
        : schema !== undefined && { schema }),
    };
    return line.messages
      ? model.chat(line.messages, { ...settings, ...(line.tools && { tools: line.tools }) })
      : model.generate(line.prompt!, settings);
  };
  const maxTokens =
    options.maxTokens ??
    answerRoom(lines, (text) => model.tokenizer.encode(text, { addSpecial: false }).length);
  const whole = (part: GradedAnswers): TaskResult => ({
    ...part,
    bits_per_weight: model.bitsPerWeight,
    ...(lines_too_long > 0 && { lines_too_long }),
  });
  const { onProgress, ...rest } = options;
  const result = await gradeAnswers(ask, lines, {
    ...rest,
    maxTokens,
    ...(onProgress && {
      onProgress: ({ done, total, result }) => onProgress({ done, total, result: () => whole(result()) }),
    }),
  });
  return whole(result);
}

/** Answers a line. `signal` ends it early. */
export type Ask = (
  line: TaskLine,
  settings: { readonly maxTokens: number; readonly stop: readonly string[]; readonly signal: AbortSignal },
) => PromiseLike<{ readonly text: string; readonly finishReason: string }>;

/** Figures of answers, whoever gave them. */
export type GradedAnswers = Omit<TaskResult, "bits_per_weight" | "lines_too_long">;

export interface GradeOptions
  extends Omit<
    TaskOptions,
    "adapter" | "constrain" | "verbatim" | "long" | "limit" | "onProgress" | "maxTokens"
  > {
  readonly maxTokens: number;
  readonly onProgress?: (progress: {
    readonly done: number;
    readonly total: number;
    result(): GradedAnswers;
  }) => void;
}

/** Asks for an answer to each of `lines` of a task, many at once, and grades them. Not for "choice", which is no answer. */
export async function gradeAnswers(
  ask: Ask,
  lines: readonly TaskLine[],
  { task, signal, onProgress, onAnswer, seed = 1, maxTokens, stop }: GradeOptions,
): Promise<GradedAnswers> {
  const grader = graderFor(task, seed);
  const end = new AbortController();
  const any = signal ? AbortSignal.any([signal, end.signal]) : end.signal;
  setMaxListeners(0, any); // each answer under way has one
  const start = (line: TaskLine) => {
    const oneLine = line.prompt !== undefined && (task.metric === "exact" || task.metric === "label");
    const ends = stop ?? (oneLine && !String(line.completion).trim().includes("\n") ? "\n" : []);
    const answer = ask(line, { maxTokens, stop: typeof ends === "string" ? [ends] : ends, signal: any });
    // One that fails before its turn must not count as an unhandled rejection.
    answer.then(undefined, () => {});
    return answer;
  };
  let done = 0;
  const result = (): GradedAnswers => ({
    metric: task.metric,
    lines: done,
    lines_total: lines.length,
    ...grader.result(),
    max_tokens: maxTokens,
  });
  /** Under way, in the order of the lines; the first is awaited. */
  const running: ReturnType<Ask>[] = [];
  try {
    for (let next = 0; done < lines.length; ) {
      while (next < lines.length && running.length < UNDER_WAY) running.push(start(lines[next++]!));
      const line = lines[done]!;
      const { text, finishReason } = await running[0]!.then(undefined, (error: unknown) => {
        signal?.throwIfAborted();
        throw new Error(
          `Cannot answer ${JSON.stringify(`${task.name}, line ${line.line}`)}: ${message(error)}`,
          {
            cause: error,
          },
        );
      });
      signal?.throwIfAborted();
      running.shift();
      const right = grader.add(line, text);
      done++;
      const { completion } = line;
      onAnswer?.({
        line: line.line,
        answer: text,
        right,
        ...(completion !== undefined && { completion }),
        finish_reason: finishReason,
      });
      onProgress?.({ done, total: lines.length, result });
    }
    return result();
  } finally {
    end.abort();
  }
}

function schemaOf(
  { schema, tools, line }: TaskLine,
  name: string,
): { readonly schema?: JsonSchema; readonly tools?: readonly Tool[] } {
  if (schema !== undefined) return { schema: schema as JsonSchema };
  if (!tools) return {};
  try {
    const read = readTools(tools);
    return { schema: toolSchema(read), tools: read };
  } catch (cause) {
    throw new TypeError(`Cannot answer ${JSON.stringify(`${name}, line ${line}`)}: ${message(cause)}`, {
      cause,
    });
  }
}

/** Most tokens of an answer, from the longest right one. @param tokens of a text */
export function answerRoom(lines: readonly TaskLine[], tokens: (text: string) => number): number {
  let longest = 0;
  for (const { completion, ground_truth } of lines) {
    const right = completion ?? ground_truth;
    if (right === undefined) continue;
    longest = Math.max(longest, tokens(typeof right === "string" ? right : JSON.stringify(right)));
  }
  return longest === 0 ? 256 : 2 * longest + 16;
}

async function choose(model: Model, lines: readonly TaskLine[], options: TaskOptions): Promise<TaskResult> {
  const { task, onProgress, onAnswer } = options;
  let [done, bySum, byLength] = [0, 0, 0];
  const result = (): TaskResult => ({
    metric: "choice",
    lines: done,
    lines_total: lines.length,
    scores: { accuracy_sum: share(bySum, done), accuracy_per_character: share(byLength, done) },
    bits_per_weight: model.bitsPerWeight,
  });
  for await (const sums of chooseAll(model, lines, task.name, options)) {
    const line = lines[done++]!;
    const choices = line.choices!;
    const best = largest(sums);
    const right = rightChoice(line);
    if (best === right) bySum++;
    if (largest(sums.map((sum, i) => sum / [...choices[i]!].length)) === right) byLength++;
    onAnswer?.({
      line: line.line,
      answer: choices[best]!,
      right: best === right,
      completion: choices[right]!,
      log_probabilities: sums,
    });
    onProgress?.({ done, total: lines.length, result });
  }
  return result();
}

/** Index of the largest, the first of equals. */
function largest(values: readonly number[]): number {
  return values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
}

const message = (error: unknown) => (error instanceof Error ? error.message : String(error));
