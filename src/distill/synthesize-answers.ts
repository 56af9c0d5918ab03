// Which answers are kept: whole, of the right length, under the schema, and what most of several samples say.

import { normalize, wholeJson } from "../evaluate/answers.ts";
import { matchesSchema } from "../evaluate/schema.ts";
import { isObject, type Json } from "../formats/json.ts";

/** Why an attempt gave no sample. */
export const REASONS = {
  prompt_cut: "prompts that did not end",
  prompt_length: "prompts too short or too long",
  duplicate: "near-duplicates",
  cut: "answers that did not end",
  length: "answers too short or too long",
  not_json: "answers that are not JSON",
  schema: "answers that the schema does not allow",
  no_agreement: "answers without a majority",
} as const;
export type Reason = keyof typeof REASONS;

export interface AnswerRules {
  /** In characters. */
  readonly minLength: number;
  readonly maxLength: number;
  readonly schema?: Json;
  /** Of the samples asked for, more than this share must agree. */
  readonly agreeShare: number;
}

export interface Written {
  readonly text: string;
  /** Ended by itself, not by its length. */
  readonly finished: boolean;
}

/** An answer that keeps to the rules, or the reason why it does not. */
export function checkAnswer({ text, finished }: Written, rules: AnswerRules): { text: string } | Reason {
  if (!finished) return "cut";
  const { schema, minLength, maxLength } = rules;
  // Chat models like to put a fence around JSON; what is learned is JSON alone.
  const bare =
    schema === undefined
      ? text
      : text
          .trim()
          .replace(/^```(?:json)?\s*\n([\s\S]*)\n```$/, "$1")
          .trim();
  if (schema !== undefined) {
    const value = wholeJson(bare);
    if (value === undefined) return "not_json";
    if (!matchesSchema(value, schema)) return "schema";
  }
  const length = [...bare.trim()].length;
  return length < Math.max(1, minLength) || length > maxLength ? "length" : { text: bare };
}

/**
 * What more than `agreeShare` of all samples say, as the first of them says it; or why there is nothing. Texts are equal but
 * for case and white space, JSON objects and lists as values.
 */
export function agree(
  answers: readonly ({ text: string } | Reason)[],
  share: number,
): { text: string } | Reason {
  if (answers.length === 1) return answers[0]!;
  const votes = new Map<string, { first: { text: string }; n: number }>();
  for (const answer of answers) {
    if (typeof answer === "string") continue;
    const key = sameness(answer.text);
    const group = votes.get(key);
    if (group) group.n++;
    else votes.set(key, { first: answer, n: 1 });
  }
  if (votes.size === 0) return answers[0]!;
  let best = { first: answers[0] as { text: string }, n: 0 };
  for (const group of votes.values()) if (group.n > best.n) best = group;
  return best.n > share * answers.length ? best.first : "no_agreement";
}

/** A key that equal answers share. */
export function sameness(text: string): string {
  const value = wholeJson(text);
  return isObject(value) || Array.isArray(value) ? `json ${ordered(value)}` : `text ${normalize(text)}`;
}

function ordered(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(ordered).join()}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${ordered(value[key]!)}`).join()}}`;
}
