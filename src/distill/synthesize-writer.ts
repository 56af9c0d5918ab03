// Who writes samples: a model in this process, or endpoints. Both are asked alike.

import type { Json } from "../formats/json.ts";
import type { AdapterChoice } from "../generate/adapters.ts";
import type { JsonSchema } from "../generate/grammar/index.ts";
import type { Model } from "../generate/model.ts";
import {
  type EndpointOptions,
  EndpointPool,
  type EndpointUsage,
  modelOf,
  writeText,
} from "../remote/index.ts";
import type { Written } from "./synthesize-answers.ts";
import type { Asked } from "./synthesize-seeds.ts";

export interface WriteRequest extends Asked {
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP?: number;
  readonly seed: number;
  readonly schema?: Json;
  /** Whether it is an answer that is asked for, not a prompt. */
  readonly answer: boolean;
}

export interface Writer {
  /** Of the model: what samples were written by. */
  readonly name: string;
  /** Whether it is asked by messages. */
  readonly chat: boolean;
  /** Texts that it writes at once. */
  readonly slots: number;
  readonly usage: readonly EndpointUsage[];
  write(request: WriteRequest, signal: AbortSignal): Promise<Written>;
  close(): void;
}

/**
 * A model in this process. Answers under a schema are generated under it.
 * @param adapter answers are written with it, prompts by the base alone, which knows more kinds of text
 * @param sequences how many the model runs at once
 */
export function modelWriter(
  model: Model,
  {
    raw,
    adapter,
    sequences,
    think,
  }: { raw: boolean; adapter?: AdapterChoice; sequences: number; think?: boolean },
): Writer {
  const usage = { host: "here", answered: 0, failed: 0, prompt_tokens: 0, completion_tokens: 0 };
  return {
    name: model.name,
    chat: model.canChat && !raw,
    slots: sequences,
    get usage() {
      return [{ ...usage }];
    },
    async write({ prompt, maxTokens, temperature, topP, seed, stop, schema, answer }, signal) {
      const options = {
        maxTokens,
        temperature,
        seed,
        stop,
        signal,
        ...(topP !== undefined && { topP }),
        ...(schema !== undefined && { schema: schema as JsonSchema }),
        ...(answer && adapter !== undefined && { adapter }),
      };
      const written = await (typeof prompt === "string"
        ? model.generate(prompt, options)
        : model.chat(prompt, { ...options, ...(think !== undefined && { think }) }));
      usage.answered++;
      usage.prompt_tokens += written.usage.promptTokens;
      usage.completion_tokens += written.usage.completionTokens;
      return { text: written.text, finished: written.finishReason === "stop" };
    },
    close() {},
  };
}

/** Endpoints that serve one model. They are asked to keep to a schema; whether they did is for the caller to see. */
export async function endpointWriter(
  urls: string,
  options: EndpointOptions,
  { raw, think, responseFormat }: { raw: boolean; think?: boolean; responseFormat?: boolean },
  signal: AbortSignal,
): Promise<Writer> {
  const pool = new EndpointPool(urls, options);
  try {
    const name = await modelOf(pool, options.model, signal);
    return {
      name,
      chat: !raw,
      slots: pool.slots,
      get usage() {
        return pool.usage;
      },
      async write({ answer: _, schema, ...request }, stop) {
        const asked = {
          ...request,
          ...(schema !== undefined && responseFormat !== false && { schema }),
          ...(think !== undefined && !raw && { think }),
        };
        const { text, finishReason } = await writeText(pool, name, asked, stop);
        return { text, finished: finishReason !== "length" };
      },
      close: () => pool.close(),
    };
  } catch (error) {
    pool.close();
    throw error;
  }
}
