// Answers of a model that calls functions, beside the right one: calls, a refusal, or a question for what is missing. The
// right one is such an answer itself, or a list of what would do, as Berkeley's function-calling cases have it.

import { isObject, type Json } from "../formats/json.ts";
import { compareSlots, findJson, normalize, wholeJson } from "./answers.ts";
import { rates, type Scores, share, withBootstrap } from "./figures.ts";

type Fields = { readonly [key: string]: Json };

/** What an answer is; `none`: no JSON of these forms. */
export type CallAnswer =
  | { readonly kind: "calls"; readonly calls: readonly Fields[] }
  | { readonly kind: "question"; readonly name: string; readonly missing: readonly string[] }
  | { readonly kind: "refusal" | "none" };

/** `[]` is a refusal, `{ name, missing }` a question, any other object or list of objects with names are calls. */
export function callAnswer(value: Json | undefined): CallAnswer {
  if (isObject(value) && typeof value.name === "string" && Array.isArray(value.missing))
    return { kind: "question", name: value.name, missing: value.missing.map(String) };
  const list = Array.isArray(value) ? value : [value];
  if (list.length === 0) return { kind: "refusal" };
  if (list.every((item) => isObject(item) && typeof (inner(item).name ?? undefined) === "string"))
    return { kind: "calls", calls: list as Fields[] };
  return { kind: "none" };
}

const inner = (call: Fields): Fields => (isObject(call.function) ? call.function : call);
function argumentsOf(call: Fields): Fields {
  const given = inner(call).arguments ?? inner(call).parameters;
  const value = typeof given === "string" ? wholeJson(given) : given;
  return isObject(value) ? value : {};
}

/** How an answer compares. `common`, `found` and `wanted` count name-value pairs of arguments. */
export interface CallScore {
  readonly wants: "calls" | "question" | "refusal";
  readonly answered: CallAnswer["kind"];
  readonly functions: boolean;
  readonly whole: boolean;
  readonly common: number;
  readonly found: number;
  readonly wanted: number;
}

/**
 * @param right calls, a question or `[]`
 * @param truth instead: a list of `{ function: { argument: [values that would do] } }`; "" among the values: it may be left out
 */
export function compareCalls(
  right: Json | undefined,
  truth: Json | undefined,
  answer: Json | undefined,
): CallScore {
  const given = callAnswer(answer);
  const base = { answered: given.kind, common: 0, found: 0, wanted: 0 };
  if (truth !== undefined) return { ...base, ...compareTruth(truth as Fields[], given), wants: "calls" };
  const gold = callAnswer(right);
  if (gold.kind === "calls") {
    const score = compareSlots(right as Json, given.kind === "calls" ? answer : []);
    return { ...base, ...score, wants: "calls", functions: score.function === true };
  }
  const found = given.kind === "calls" ? compareSlots([], answer).found : 0;
  const same =
    gold.kind === "question" && given.kind === "question"
      ? gold.name === given.name && sorted(gold.missing) === sorted(given.missing)
      : gold.kind === "refusal" && given.kind === "refusal";
  const wants = gold.kind === "question" ? "question" : "refusal";
  return { ...base, wants, found, functions: same, whole: same };
}

const sorted = (names: readonly string[]) => [...names].sort().join("\n");

function compareTruth(truth: readonly Fields[], given: CallAnswer) {
  const calls = given.kind === "calls" ? given.calls : [];
  const wantedNames = truth.flatMap((call) => Object.keys(call));
  const names = calls.map((call) => String(inner(call).name));
  let [common, found, wanted] = [0, 0, 0];
  for (const call of calls) found += Object.keys(argumentsOf(call)).length;
  const unused = new Set(calls);
  let matched = 0;
  for (const [i, item] of truth.entries()) {
    const name = wantedNames[i]!;
    const accepted = item[name] as Fields;
    const candidates = [...unused].filter((call) => inner(call).name === name);
    const scored = candidates.map((call) => ({ call, ...acceptedPairs(accepted, argumentsOf(call)) }));
    const best = scored.sort((a, b) => Number(b.whole) - Number(a.whole) || b.right - a.right)[0];
    if (best) unused.delete(best.call);
    if (best?.whole) matched++;
    common += best?.right ?? 0;
    for (const [key, values] of Object.entries(accepted))
      if (!mayLack(values) || best?.rightKeys.includes(key)) wanted++;
  }
  const functions = sorted(wantedNames) === sorted(names);
  return { functions, whole: functions && matched === truth.length, common, found, wanted };
}

const mayLack = (values: Json | undefined) => Array.isArray(values) && values.includes("");

/** Arguments that have one of the accepted values, and whether all that is wanted is there and nothing else. */
function acceptedPairs(accepted: Fields, args: Fields) {
  const rightKeys = Object.keys(args).filter(
    (key) => Object.hasOwn(accepted, key) && accepts(accepted[key]!, args[key]!),
  );
  const complete = Object.keys(accepted).every((key) => Object.hasOwn(args, key) || mayLack(accepted[key]));
  return {
    right: rightKeys.length,
    rightKeys,
    whole: complete && rightKeys.length === Object.keys(args).length,
  };
}

function accepts(values: Json, found: Json): boolean {
  return Array.isArray(values) && values.some((value) => sameValue(value, found));
}

/** Lists are compared item by item; of an object, each member has accepted values of its own. */
function sameValue(value: Json, found: Json): boolean {
  if (Array.isArray(value))
    return (
      Array.isArray(found) && value.length === found.length && value.every((x, i) => sameValue(x, found[i]!))
    );
  if (isObject(value)) return isObject(found) && acceptedPairs(value, found).whole;
  if (typeof value === "string" && typeof found === "string") return bare(value) === bare(found);
  return value === found;
}

/** Berkeley's notion of the same text: case, spaces and , . / - _ * ^ do not matter. */
const bare = (text: string) =>
  normalize(text)
    .replace(/[ ,./\-_*^]/g, "")
    .replaceAll("'", '"');

/** The figures of many answers. */
export function callScores(graded: readonly CallScore[], valid: number, seed: number): Scores {
  const of = (wants: CallScore["wants"]) => graded.filter((score) => score.wants === wants);
  const [calls, questions, refusals] = [of("calls"), of("question"), of("refusal")];
  const right = (list: readonly CallScore[], which: "functions" | "whole" = "whole") =>
    share(list.filter((score) => score[which]).length, list.length);
  const refused = graded.filter(({ answered }) => answered === "refusal");
  const pairs = (items: ArrayLike<number>) => {
    let [common, found, wanted] = [0, 0, 0];
    for (let i = 0; i < items.length; i++) {
      const score = calls[items[i]!]!;
      common += score.common;
      found += score.found;
      wanted += score.wanted;
    }
    return rates(common, found, wanted);
  };
  const figure = (which: "precision" | "recall" | "f1") =>
    withBootstrap(calls.length, (items) => pairs(items)[which], seed);
  return {
    scores: {
      whole_right: right(graded),
      ...(calls.length > 0 && {
        function_right: right(calls, "functions"),
        call_right: right(calls),
        ...(calls.some(({ found, wanted }) => found + wanted > 0) && {
          argument_precision: figure("precision"),
          argument_recall: figure("recall"),
          argument_f1: figure("f1"),
        }),
      }),
      ...(questions.length > 0 && { question_right: right(questions) }),
      ...(refusals.length > 0 && {
        refusal_recall: right(refusals),
        refusal_precision: share(refused.filter(({ wants }) => wants === "refusal").length, refused.length),
      }),
      json_valid: share(valid, graded.length),
    },
  };
}

/** The first JSON of an answer, and whether it is one of the forms and nothing else. */
export function readCallAnswer(text: string): { readonly value: Json | undefined; readonly valid: boolean } {
  const whole = wholeJson(text);
  const valid = whole !== undefined && callAnswer(whole).kind !== "none";
  return { value: whole ?? findJson(text), valid };
}
