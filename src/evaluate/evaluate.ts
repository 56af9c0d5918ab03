// The one call of this folder.

import type { Model } from "../generate/model.ts";
import { evaluateTask, type TaskOptions, type TaskResult } from "./task.ts";
import { evaluateText, type TextOptions, type TextResult } from "./text.ts";

/**
 * How good a model is: with `text`, its perplexity, and against a `base` how far the model is from it; with `task`,
 * how many answers are right. An abort of `signal` rejects with its reason; `onProgress` has what was finished by then.
 * @throws {RangeError | TypeError} on an empty text, one shorter than a window, or a base of another vocabulary
 * @throws {Error} naming the line of a task that cannot be answered, e.g. one beyond the context
 */
export function evaluate(model: Model, options: TextOptions): Promise<TextResult>;
export function evaluate(model: Model, options: TaskOptions): Promise<TaskResult>;
export function evaluate(
  model: Model,
  options: TextOptions | TaskOptions,
): Promise<TextResult> | Promise<TaskResult> {
  return "task" in options ? evaluateTask(model, options) : evaluateText(model, options);
}
