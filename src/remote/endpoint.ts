// What an OpenAI-compatible endpoint is asked: its models, texts, and what it says of given tokens.

import { quote } from "../formats/errors.ts";
import { isObject, type Json } from "../formats/json.ts";
import type { ChatMessage } from "../tokenizer/index.ts";
import type { EndpointPool } from "./pool.ts";
import { Passing } from "./request.ts";

export interface TextRequest {
  /** A text to go on with, or a conversation to answer. */
  readonly prompt: string | readonly ChatMessage[];
  readonly maxTokens: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  /** The answer is asked to follow this JSON Schema (`response_format`). Servers may pass over it. */
  readonly schema?: Json;
  /** Functions that the model may call; calls that it makes are the text, as JSON. Of a conversation only. */
  readonly tools?: readonly Json[];
  /** Whether the model shall think first, where its template has a switch (`chat_template_kwargs`). Default: the server's. */
  readonly think?: boolean;
  /** Also give the log-probability of every token, and of this many of the likeliest beside it. */
  readonly logprobs?: number;
}

export interface TokenChoice {
  /** As the server spells it. */
  readonly token: string;
  /** Natural logarithm. */
  readonly logprob: number;
}

export interface TextAnswer {
  readonly text: string;
  /** "stop" or "length", as a rule. */
  readonly finishReason: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Who answered. */
  readonly host: string;
  readonly logprobs?: readonly (TokenChoice & { readonly top: readonly TokenChoice[] })[];
}

type Fields = { readonly [name: string]: Json };

/** The model that the endpoints of a pool serve: the given one, or the only one. */
export async function modelOf(
  pool: EndpointPool,
  model: string | undefined,
  signal?: AbortSignal,
): Promise<string> {
  if (model !== undefined) return model;
  const names = await pool.request("models", undefined, readModels, signal);
  if (names.length !== 1)
    throw new TypeError(
      `Cannot choose the model of ${pool.urls[0]!.host}: it serves ${names.length === 0 ? "none" : names.map(quote).join(", ")}, wanted the name of one`,
    );
  return names[0]!;
}

function readModels(answer: Json, url: URL): string[] {
  const data = isObject(answer) ? answer.data : undefined;
  if (!Array.isArray(data)) throw wrong(url, "list its models", answer, "a list of models");
  return data.flatMap((item) => (isObject(item) && typeof item.id === "string" ? [item.id] : []));
}

/**
 * One text, from `chat/completions` for a conversation and `completions` for a text.
 * @throws {Error} naming the host and what it answered, when it gives no such text, or no logprobs where they were asked for
 */
export function writeText(
  pool: EndpointPool,
  model: string,
  { prompt, maxTokens, temperature, topP, seed, stop, schema, tools, think, logprobs }: TextRequest,
  signal?: AbortSignal,
): Promise<TextAnswer> {
  const chat = typeof prompt !== "string";
  const body = {
    model,
    ...(chat ? { messages: prompt } : { prompt }),
    max_tokens: maxTokens,
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { top_p: topP }),
    ...(seed !== undefined && { seed }),
    ...(stop && stop.length > 0 && { stop }),
    ...(chat && tools && tools.length > 0 && { tools }),
    ...(schema !== undefined && {
      response_format: { type: "json_schema", json_schema: { name: "answer", schema, strict: true } },
    }),
    ...(think !== undefined && { chat_template_kwargs: { enable_thinking: think, thinking: think } }),
    ...(logprobs !== undefined && (chat ? { logprobs: true, top_logprobs: logprobs } : { logprobs })),
  };
  return pool.request(
    chat ? "chat/completions" : "completions",
    body,
    (answer, url) => readTextAnswer(answer, url, chat, logprobs !== undefined),
    signal,
  );
}

function readTextAnswer(answer: Json, url: URL, chat: boolean, logprobs: boolean): TextAnswer {
  const choice = firstChoice(answer, url);
  const message = chat ? choice.message : choice;
  const said = isObject(message) ? (chat ? message.content : message.text) : undefined;
  const calls = isObject(message) && Array.isArray(message.tool_calls) ? message.tool_calls : [];
  const text = calls.length > 0 ? JSON.stringify(calls) : said;
  // A model that was cut while it thought has said nothing.
  if (typeof text !== "string" && !(text === null && choice.finish_reason === "length"))
    throw wrong(url, "write a text", choice, chat ? "a message with content" : "a text");
  const usage = isObject(answer) && isObject(answer.usage!) ? answer.usage : {};
  const number = (name: string) => (Number.isSafeInteger(usage[name]) ? (usage[name] as number) : 0);
  return {
    text: typeof text === "string" ? text : "",
    finishReason: typeof choice.finish_reason === "string" ? choice.finish_reason : "stop",
    promptTokens: number("prompt_tokens"),
    completionTokens: number("completion_tokens"),
    host: url.host,
    ...(logprobs && { logprobs: chat ? chatLogprobs(choice, url) : textLogprobs(choice, url) }),
  };
}

export function firstChoice(answer: Json, url: URL): Fields {
  const choices = isObject(answer) ? answer.choices : undefined;
  const first = Array.isArray(choices) ? choices[0] : undefined;
  if (!isObject(first)) throw wrong(url, "answer", answer, "a list of choices");
  return first;
}

/** An endpoint that cannot do what was asked: no other try will change it. */
export function without(url: URL, what: string, answer: Json | undefined): Error {
  return new TypeError(
    `Cannot get logprobs from ${url.host}: it answered ${shown(answer)} without ${what}, wanted an endpoint that gives them`,
  );
}

export function wrong(url: URL, what: string, found: Json | undefined, wanted: string): Passing {
  return new Passing(`Cannot let ${url.host} ${what}: it answered ${shown(found)}, wanted ${wanted}`);
}

const shown = (value: Json | undefined): string =>
  value === undefined ? "nothing" : quote(JSON.stringify(value));

function chatLogprobs(choice: Fields, url: URL) {
  const { logprobs } = choice;
  const content = isObject(logprobs!) ? logprobs.content : undefined;
  if (!Array.isArray(content)) throw without(url, "logprobs.content", choice);
  return content.map((item) => {
    const { top_logprobs } = isObject(item) ? item : {};
    const top = Array.isArray(top_logprobs) ? top_logprobs.map((one) => tokenChoice(one, url)) : [];
    return { ...tokenChoice(item, url), top };
  });
}

function tokenChoice(item: Json, url: URL): TokenChoice {
  const { token, logprob } = isObject(item) ? item : {};
  if (typeof token !== "string" || typeof logprob !== "number")
    throw wrong(url, "give logprobs", item, "a token with its logprob");
  return { token, logprob };
}

function textLogprobs(choice: Fields, url: URL) {
  const { tokens, token_logprobs, top_logprobs } = isObject(choice.logprobs!) ? choice.logprobs : {};
  if (!Array.isArray(tokens) || !Array.isArray(token_logprobs)) throw without(url, "logprobs.tokens", choice);
  return tokens.map((token, i) => {
    const tops = Array.isArray(top_logprobs) ? top_logprobs[i] : undefined;
    return {
      ...tokenChoice({ token, logprob: token_logprobs[i] ?? null }, url),
      top: isObject(tops)
        ? Object.entries(tops).map(([name, logprob]) => tokenChoice({ token: name, logprob }, url))
        : [],
    };
  });
}
