// A model that uses functions: a sentence and tools in, a checked answer out.

import type { ChatOptions, GenerationResult, JsonSchema, Model } from "../generate/index.ts";
import type { ChatMessage } from "../tokenizer/index.ts";
import { ANY_ANSWER, readTools, type Tool, toolSchema } from "./schema.ts";
import { type VerbatimArguments, verbatimArguments } from "./verbatim.ts";

/** Arguments satisfy the function's schema; what the sentence does not say is left out, also where there is a default. */
export interface ToolCall {
  readonly name: string;
  readonly arguments: { readonly [name: string]: unknown };
}

/** Calls in the order of the sentence; a question for required arguments that are missing; or no function fits. */
export type ToolAnswer =
  | { readonly kind: "calls"; readonly calls: readonly ToolCall[] }
  | {
      readonly kind: "question";
      readonly name: string;
      readonly missing: readonly string[];
      readonly question: string;
    }
  | { readonly kind: "refusal" };

export type CallResult = ToolAnswer & { readonly generation: GenerationResult };

export interface CallOptions
  extends Omit<ChatOptions, "tools" | "schema" | "regex" | "grammar" | "verbatim" | "mask" | "stop"> {
  /** OpenAI's `tools`, or a list of their `function`s. */
  readonly tools?: readonly unknown[];
  /**
   * Name of a list of tools that the model, or its adapter, knows by heart (`@snips`). `tools` then only say what an
   * answer may be, and are no part of the prompt.
   */
  readonly toolset?: string;
  /**
   * Texts of arguments must stand in what the user said, character for character: all that their schema leaves free, or
   * the arguments of these names. Nothing can be invented or misspelt then, and nothing normalised.
   */
  readonly verbatim?: VerbatimArguments;
  /** One of the two: a sentence, or a conversation. */
  readonly prompt?: string;
  readonly messages?: readonly ChatMessage[];
}

/** Long enough for a dozen calls. */
const MAX_TOKENS = 512;

/**
 * Answers a sentence with calls of functions. The answer follows the tools' schemas whatever the model is; that it is
 * the right one takes a model that has learned this form, as models/caller has. Tools come first in the prompt, so that
 * they are computed once for all sentences that use them.
 * @throws {TypeError | RangeError} for tools that are not right, naming the tool; when the answer is cut by `maxTokens`
 */
export async function callTools(model: Model, options: CallOptions): Promise<CallResult> {
  const { tools, toolset, prompt, messages, verbatim, ...chat } = options;
  if ((prompt === undefined) === (messages === undefined))
    throw new TypeError(
      `Cannot call tools: found ${prompt === undefined ? "neither prompt nor" : "both prompt and"} messages, wanted one of them`,
    );
  if (tools === undefined && toolset === undefined)
    throw new TypeError("Cannot call tools: found neither tools nor a toolset, wanted one of them");
  const read = tools && readCached(tools);
  const system = toolset === undefined ? [] : [{ role: "system", content: toolset }];
  const turns = messages ?? [{ role: "user", content: prompt }];
  const generation = await model.chat([...system, ...turns], {
    temperature: 0,
    maxTokens: MAX_TOKENS,
    ...chat,
    ...(read && toolset === undefined && { tools: read.tools }),
    schema: read ? read.schema : ANY_ANSWER,
    ...(verbatim && { verbatim: verbatimArguments(read?.tools, verbatim, turns) }),
  });
  if (!("parsed" in generation))
    throw new RangeError(
      `Cannot call tools: the answer ended (${generation.finishReason}) after ${generation.usage.completionTokens} tokens as ${JSON.stringify(generation.text.slice(0, 80))}, wanted a whole one; raise maxTokens`,
    );
  return { ...readAnswer(generation.parsed), generation };
}

/** What a parsed answer says. @throws {TypeError} when it is none of the forms */
export function readAnswer(parsed: unknown): ToolAnswer {
  if (Array.isArray(parsed))
    return parsed.length === 0 ? { kind: "refusal" } : { kind: "calls", calls: parsed as ToolCall[] };
  const { name, missing, question } = (parsed ?? {}) as Record<string, unknown>;
  if (typeof name !== "string" || !Array.isArray(missing) || typeof question !== "string")
    throw new TypeError(
      `Cannot read an answer: found ${JSON.stringify(parsed)?.slice(0, 80)}, wanted calls, a question or []`,
    );
  return { kind: "question", name, missing: missing as string[], question };
}

interface Read {
  readonly tools: readonly Tool[];
  readonly schema: JsonSchema;
}

/** The same list is read once. */
const known = new WeakMap<readonly unknown[], { text: string; read: Read }>();
function readCached(given: readonly unknown[]): Read {
  const text = JSON.stringify(given);
  const before = Array.isArray(given) ? known.get(given) : undefined;
  if (before?.text === text) return before.read;
  const tools = readTools(given);
  const read = { tools, schema: toolSchema(tools) };
  known.set(given, { text, read });
  return read;
}
