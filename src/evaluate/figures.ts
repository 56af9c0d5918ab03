// What figures of a task are: shares with Wilson's intervals, F1 with a bootstrap's. Seeded, so that the same answers give
// the same figures.

import { bootstrap, wilson } from "./statistics.ts";

/** A figure with its 95 % confidence interval. */
export interface Figure {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface LabelCount {
  readonly label: string;
  /** Lines with this right answer, lines answered so, and lines that are both. */
  readonly wanted: number;
  readonly answered: number;
  readonly right: number;
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

/** What a metric's answers give; JSON-able. */
export interface Scores {
  /**
   * exact: `exact_match` (but for white space at the ends), `normalized_match` (but for case and white space).
   * label: `accuracy`, `macro_f1` (mean over the labels that are wanted or answered).
   * slots: `function_right` (where the right answers are calls), `precision`, `recall`, `f1` of name-value pairs counted
   * over all lines, `whole_right`, `json_valid` (the answer is JSON and nothing else).
   * calls: `whole_right` of all lines; where calls are right, `function_right`, `call_right`, `argument_precision`, `argument_recall`,
   * `argument_f1`; `question_right`; `refusal_recall` and `refusal_precision`; `json_valid` (an answer of these forms and no more).
   * json: `json_valid`; `schema_valid` of lines with a schema, `value_right` of lines with a right answer.
   * choice: `accuracy_sum` by the sum of log-probabilities of a choice, `accuracy_per_character` by that over its length.
   */
  readonly scores: Readonly<Record<string, Figure>>;
  readonly labels?: readonly LabelCount[];
  /** Answers that are none of the labels. */
  readonly unknown_labels?: number;
  /** Keywords of the schemas that were not looked at. */
  readonly unchecked_keywords?: readonly string[];
}

export function share(right: number, n: number): Figure {
  const [low, high] = wilson(right, n);
  return { value: n > 0 ? right / n : 0, low, high };
}

/** Precision, recall and F1 = 2 · common / (found + wanted). Where there is nothing to find and nothing found, all are 1. */
export function rates(common: number, found: number, wanted: number) {
  if (found + wanted === 0) return { precision: 1, recall: 1, f1: 1 };
  return {
    precision: found > 0 ? common / found : 0,
    recall: wanted > 0 ? common / wanted : 0,
    f1: (2 * common) / (found + wanted),
  };
}

/** A statistic of `n` items, given by their numbers. */
export function withBootstrap(
  n: number,
  statistic: (items: ArrayLike<number>) => number,
  seed: number,
): Figure {
  const value = statistic(Int32Array.from({ length: n }, (_, i) => i));
  const [low, high] = bootstrap(n, statistic, { seed });
  return { value, low, high };
}
