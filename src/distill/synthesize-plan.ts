// What synthesize is asked for: options with their defaults, and which of them the samples depend on.

import type { Json } from "../formats/json.ts";
import type { AdapterChoice } from "../generate/adapters.ts";
import type { EndpointOptions } from "../remote/index.ts";
import type { SynthesizeState } from "./synthesize-file.ts";
import type { Seeds } from "./synthesize-seeds.ts";
import type { Writer } from "./synthesize-writer.ts";

export interface SynthesizeOptions {
  /** Files of samples as `tune` reads them; answers may be missing. Prompts with completions, conversations, or texts. */
  readonly seeds: string | readonly string[];
  /** Samples wanted. */
  readonly count: number;
  /** JSONL of samples; begun anew, or gone on with, by the state beside it. */
  readonly out: string;
  /** "new": prompts (or texts) in the manner of the seeds, then their answers. "seeds": answers to the seeds' own. Default "new". */
  readonly prompts?: "new" | "seeds";
  /** Seeds shown for a new prompt. Default 3. */
  readonly shots?: number;
  /** Seeds shown with their answers before an answer. Default 0 for chat models, else `shots`. */
  readonly answerShots?: number;
  /** Asks for the continuation of a text even where the teacher can chat. */
  readonly raw?: boolean;
  /** Said to a chat teacher before every prompt that it answers, in place of the seeds' own; samples have theirs. */
  readonly system?: string;
  /** Answers are JSON documents that satisfy this. */
  readonly schema?: Json;
  /** Whether endpoints are asked to keep to the schema (`response_format`), which not all know. Default true. */
  readonly responseFormat?: boolean;
  /** Whether a chat model shall think first, where its template has a switch. Default: as the template has it. */
  readonly think?: boolean;
  /** Most tokens of an answer, and of a prompt. Default 512 and 128. */
  readonly maxTokens?: number;
  readonly promptTokens?: number;
  /** Default 0.8. */
  readonly temperature?: number;
  readonly topP?: number;
  /** Text that ends an answer. */
  readonly stop?: readonly string[];
  /** Answers to each prompt, of which the majority's is kept. Default 1. */
  readonly agree?: number;
  /** More than this share of them must agree. Default 0.5. */
  readonly agreeShare?: number;
  /** Bounds in characters, of prompts, and of answers or texts. Default 1 and no end. */
  readonly minPrompt?: number;
  readonly maxPrompt?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  /** Texts whose character 4-grams have at least this Jaccard index are near-duplicates. Default 0.7. */
  readonly near?: number;
  /**
   * It ends after so many, however few were accepted. Default 20 for each sample wanted. Seeds' own prompts are asked once
   * at temperature 0, without examples.
   */
  readonly maxAttempts?: number;
  /** Default 0. */
  readonly seed?: number;
  /** Of a model in this process: answers are written with it, prompts without. */
  readonly adapter?: AdapterChoice;
  /** Texts at once of a model in this process: the `sequences` that it was loaded with. Default 8. */
  readonly sequences?: number;
  /** Of a teacher behind URLs. */
  readonly endpoint?: EndpointOptions;
  /** Of a million tokens, for `cost`. */
  readonly price?: { readonly prompt?: number; readonly completion?: number };
  readonly signal?: AbortSignal;
}

export type Plan = ReturnType<typeof planOf>;

/** All settings with their defaults. @throws {RangeError | TypeError} naming the one that cannot be */
export function planOf(options: SynthesizeOptions) {
  const plan = {
    prompts: "new" as const,
    shots: 3,
    raw: false,
    maxTokens: 512,
    promptTokens: 128,
    temperature: 0.8,
    stop: [] as readonly string[],
    agree: 1,
    agreeShare: 0.5,
    minPrompt: 1,
    maxPrompt: Number.MAX_SAFE_INTEGER,
    minLength: 1,
    maxLength: Number.MAX_SAFE_INTEGER,
    near: 0.7,
    maxAttempts: 20 * options.count,
    seed: 0,
    sequences: 8,
    ...options,
  };
  const whole = (name: keyof typeof plan, min: number, max = Number.MAX_SAFE_INTEGER) => {
    const value = plan[name];
    if (!(Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max))
      throw new RangeError(
        `Cannot synthesize with ${name} ${JSON.stringify(value)}: wanted a whole number from ${min}${max < Number.MAX_SAFE_INTEGER ? ` to ${max}` : ""}`,
      );
  };
  for (const name of ["count", "shots", "maxTokens", "promptTokens", "maxAttempts", "sequences"] as const)
    whole(name, 1);
  for (const name of ["minPrompt", "maxPrompt", "minLength", "maxLength", "seed"] as const) whole(name, 0);
  whole("agree", 1, 100);
  if (options.answerShots !== undefined) whole("answerShots", 0);
  for (const name of ["near", "agreeShare"] as const)
    if (!(plan[name] >= 0 && plan[name] <= 1))
      throw new RangeError(`Cannot synthesize with ${name} ${plan[name]}: wanted a number from 0 to 1`);
  if (!(plan.temperature >= 0))
    throw new RangeError(`Cannot synthesize with temperature ${plan.temperature}: wanted 0 or more`);
  if (plan.prompts !== "new" && plan.prompts !== "seeds")
    throw new TypeError(
      `Cannot synthesize with prompts ${JSON.stringify(plan.prompts)}: wanted "new" or "seeds"`,
    );
  return plan;
}

/** What the samples depend on. The file, the count, prices and where the teacher stands do not change them. */
export function settingsOf(plan: Plan, writer: Writer, seeds: Seeds): SynthesizeState["settings"] {
  const {
    count: _,
    out: _o,
    seeds: _s,
    maxAttempts: _m,
    sequences: _q,
    endpoint: _e,
    price: _p,
    ...rest
  } = plan;
  const { signal: _g, adapter, ...kept } = rest;
  return JSON.parse(
    JSON.stringify({
      teacher: writer.name,
      chat: writer.chat,
      seeds: seeds.digests,
      ...kept,
      ...(adapter !== undefined && { adapter: adapterNames(adapter) }),
    }),
  );
}

function adapterNames(choice: AdapterChoice): string[] {
  const all = (Array.isArray(choice) ? choice : [choice]) as Exclude<AdapterChoice, readonly unknown[]>[];
  return all.map((one) => {
    if (typeof one === "string") return one;
    if (!("adapter" in one)) return one.digest;
    return `${typeof one.adapter === "string" ? one.adapter : one.adapter.digest}=${one.scale ?? 1}`;
  });
}
