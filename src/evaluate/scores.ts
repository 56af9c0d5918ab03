// From single answers to the figures of a task.

import type { Json } from "../formats/json.ts";
import { callsOf, compareSlots, findJson, labelOf, normalize, type SlotScore, wholeJson } from "./answers.ts";
import { type CallScore, callScores, compareCalls, readCallAnswer } from "./calls.ts";
import { rates, type Scores, share, withBootstrap } from "./figures.ts";
import { matchesSchema, uncheckedKeywords } from "./schema.ts";
import { jsonOf, slotsOf, type Task, type TaskLine } from "./task-file.ts";

/** Grades answers, one for each of the first lines of a task. */
export interface Grader {
  /** Takes the answer to the next line; whether it is right as a whole. */
  add(line: TaskLine, answer: string): boolean;
  result(): Scores;
}

export function graderFor(task: Task, seed: number): Grader {
  switch (task.metric) {
    case "exact":
      return exactGrader();
    case "label":
      return labelGrader(task, seed);
    case "slots":
      return slotsGrader(seed);
    case "calls":
      return callsGrader(seed);
    default:
      return jsonGrader();
  }
}

function exactGrader(): Grader {
  let [n, exact, same] = [0, 0, 0];
  return {
    add({ completion }, answer) {
      n++;
      if ((completion as string).trim() === answer.trim()) exact++;
      const right = normalize(completion as string) === normalize(answer);
      if (right) same++;
      return right;
    },
    result: () => ({ scores: { exact_match: share(exact, n), normalized_match: share(same, n) } }),
  };
}

function labelGrader({ lines }: Task, seed: number): Grader {
  const names: string[] = []; // as the file spells them
  const numbers = new Map<string, number>(); // by what `labelOf` makes of them
  const number = (label: string) => {
    const key = labelOf(label);
    if (!numbers.has(key)) numbers.set(key, names.push(label) - 1);
    return numbers.get(key)!;
  };
  for (const { labels, completion } of lines)
    for (const label of [...(labels ?? []), completion as string]) number(label);
  const wanted: number[] = [];
  const answered: number[] = [];
  return {
    add({ completion }, answer) {
      wanted.push(number(completion as string));
      answered.push(numbers.get(labelOf(answer)) ?? -1);
      return wanted.at(-1) === answered.at(-1);
    },
    result() {
      const n = wanted.length;
      const count = (items: ArrayLike<number>) => {
        const [w, a, r] = [0, 1, 2].map(() => new Float64Array(names.length)) as [
          Float64Array,
          Float64Array,
          Float64Array,
        ];
        for (let i = 0; i < items.length; i++) {
          const [want, found] = [wanted[items[i]!]!, answered[items[i]!]!];
          w[want]!++;
          if (found >= 0) a[found]!++;
          if (want === found) r[want]!++;
        }
        return { w, a, r };
      };
      const macro = (items: ArrayLike<number>) => {
        const { w, a, r } = count(items);
        let [sum, labels] = [0, 0];
        for (let l = 0; l < names.length; l++) {
          if (w[l]! + a[l]! === 0) continue;
          labels++;
          sum += (2 * r[l]!) / (w[l]! + a[l]!);
        }
        return labels > 0 ? sum / labels : 0;
      };
      const all = Int32Array.from({ length: n }, (_, i) => i);
      const { w, a, r } = count(all);
      return {
        scores: {
          accuracy: share(
            r.reduce((sum, x) => sum + x, 0),
            n,
          ),
          macro_f1: withBootstrap(n, macro, seed),
        },
        labels: names.map((label, l) => ({
          label,
          wanted: w[l]!,
          answered: a[l]!,
          right: r[l]!,
          ...rates(r[l]!, a[l]!, w[l]!),
        })),
        unknown_labels: answered.filter((x) => x < 0).length,
      };
    },
  };
}

function slotsGrader(seed: number): Grader {
  const graded: SlotScore[] = [];
  let valid = 0;
  return {
    add({ completion }, answer) {
      if (callsOf(wholeJson(answer)) !== undefined) valid++;
      const score = compareSlots(slotsOf(completion) as Json, findJson(answer));
      graded.push(score);
      return score.whole;
    },
    result() {
      const n = graded.length;
      const calls = graded.filter((score) => score.function !== undefined);
      const pairs = (items: ArrayLike<number>) => {
        let [common, found, wanted] = [0, 0, 0];
        for (let i = 0; i < items.length; i++) {
          const score = graded[items[i]!]!;
          common += score.common;
          found += score.found;
          wanted += score.wanted;
        }
        return rates(common, found, wanted);
      };
      const figure = (which: "precision" | "recall" | "f1") =>
        withBootstrap(n, (items) => pairs(items)[which], seed);
      return {
        scores: {
          ...(calls.length > 0 && {
            function_right: share(calls.filter((score) => score.function).length, calls.length),
          }),
          precision: figure("precision"),
          recall: figure("recall"),
          f1: figure("f1"),
          whole_right: share(graded.filter((score) => score.whole).length, n),
          json_valid: share(valid, n),
        },
      };
    },
  };
}

function callsGrader(seed: number): Grader {
  const graded: CallScore[] = [];
  let valid = 0;
  return {
    add({ completion, ground_truth }, answer) {
      const read = readCallAnswer(answer);
      if (read.valid) valid++;
      const score = compareCalls(jsonOf(completion), ground_truth, read.value);
      graded.push(score);
      return score.whole;
    },
    result: () => callScores(graded, valid, seed),
  };
}

function jsonGrader(): Grader {
  const [valid, schemas, values] = [0, 1, 2].map(() => ({ right: 0, n: 0 })) as [Count, Count, Count];
  const unchecked = new Set<string>();
  return {
    add({ schema, completion }, answer) {
      const value = wholeJson(answer);
      let right = count(valid, value !== undefined);
      if (schema !== undefined) {
        uncheckedKeywords(schema, unchecked);
        right = count(schemas, value !== undefined && matchesSchema(value, schema)) && right;
      }
      const wanted = slotsOf(completion);
      if (wanted !== undefined) right = count(values, compareSlots(wanted, value).whole) && right;
      return right;
    },
    result: () => ({
      scores: {
        json_valid: share(valid.right, valid.n),
        ...(schemas.n > 0 && { schema_valid: share(schemas.right, schemas.n) }),
        ...(values.n > 0 && { value_right: share(values.right, values.n) }),
      },
      ...(schemas.n > 0 && { unchecked_keywords: [...unchecked].sort() }),
    }),
  };
}

interface Count {
  right: number;
  n: number;
}
function count(counts: Count, right: boolean): boolean {
  counts.n++;
  if (right) counts.right++;
  return right;
}
