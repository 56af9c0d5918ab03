// Texts to vectors: prompts, ids, cutting to length, steps as full as they get, pooling.

import type { Encoder } from "./encoder.ts";
import { normalize, pool, rowsOf } from "./pool.ts";

export interface EmbedOptions {
  /** Name of one of the model's prompts, e.g. "query": its text is put before every text. Default: the model's default. */
  readonly prompt?: string;
  /** Vectors of length 1. Default: as the model's files say. */
  readonly normalize?: boolean;
  /** Cut texts to so many tokens. Default and most: the model's longest. */
  readonly maxLength?: number;
  readonly signal?: AbortSignal;
  /** Called after each step. */
  readonly onProgress?: (progress: { readonly texts: number; readonly totalTexts: number }) => void;
}

export interface Embeddings {
  /** One row for each text, in their order. */
  readonly vectors: readonly Float32Array[];
  /** Numbers in a row. */
  readonly dimension: number;
  /** Tokens of each text, before it was cut, with prompt and what the tokenizer puts around it. */
  readonly tokens: readonly number[];
  /** Indices of texts that were longer than the model takes, and of which only the beginning counts. */
  readonly truncated: readonly number[];
}

interface Prepared {
  readonly ids: readonly number[];
  readonly tokens: number;
  readonly cut: boolean;
}

/**
 * A vector for each text. A text's vector has the same bits alone and beside any others.
 * @throws {TypeError} when a text is no string. @throws {RangeError} on a prompt or length that the model has not.
 * An abort rejects with the signal's reason after the step that runs.
 */
export async function embed(
  model: Encoder,
  texts: readonly string[],
  options: EmbedOptions = {},
): Promise<Embeddings> {
  const { signal, onProgress } = options;
  const { sentence, config, tokenizer } = model;
  texts.forEach((text, i) => {
    if (typeof text !== "string")
      throw new TypeError(`Cannot embed text ${i}: found ${typeof text}, wanted a string`);
  });
  const prompt = promptText(model, options.prompt);
  const longest = options.maxLength ?? model.maxLength;
  const around = tokenizer.encode("").length;
  if (!Number.isInteger(longest) || longest <= around || longest > model.maxLength)
    throw new RangeError(
      `Cannot embed with maxLength ${longest}: wanted a whole number from ${around + 1} to ${model.maxLength}`,
    );
  const unit = options.normalize ?? sentence.normalize;
  // Tokens of the prompt with what stands before it: those that pooling leaves out.
  const skipped = sentence.include_prompt || !prompt ? 0 : promptTokens(model, prompt);

  const vectors: Float32Array[] = [];
  const tokens: number[] = [];
  const truncated: number[] = [];
  let ahead: Prepared | undefined;
  for (let next = 0; next < texts.length; ) {
    signal?.throwIfAborted();
    const step: Prepared[] = [];
    let T = 0;
    while (next + step.length < texts.length && step.length < model.maxima.S) {
      ahead ??= prepare(model, prompt + texts[next + step.length]!, longest);
      if (T + ahead.ids.length > model.maxima.T) break;
      T += ahead.ids.length;
      step.push(ahead);
      ahead = undefined;
    }
    const hidden = await model.run(
      step.map(({ ids }) => ids),
      step.map(({ ids }) => (ids.length === 0 ? [] : rowsOf(sentence.pooling, ids.length))),
    );
    for (const [i, text] of step.entries()) {
      const vector =
        text.ids.length === 0
          ? new Float32Array(sentence.pooling.length * config.hidden_size)
          : pool(sentence.pooling, hidden[i]!, config.hidden_size, skipped);
      vectors.push(unit ? normalize(vector) : vector);
      tokens.push(text.tokens);
      if (text.cut) truncated.push(next + i);
    }
    next += step.length;
    onProgress?.({ texts: next, totalTexts: texts.length });
  }
  return { vectors, dimension: sentence.pooling.length * config.hidden_size, tokens, truncated };
}

function promptText({ sentence, name }: Encoder, asked: string | undefined): string {
  const key = asked ?? sentence.default_prompt_name;
  if (key === undefined) return "";
  if (Object.hasOwn(sentence.prompts, key)) return sentence.prompts[key]!;
  const known = Object.keys(sentence.prompts).map((prompt) => JSON.stringify(prompt));
  throw new RangeError(
    `Cannot embed with prompt ${JSON.stringify(key)}: ${JSON.stringify(name)} has ${known.join(", ") || "none"}`,
  );
}

/** Ids with what the tokenizer puts around them; a long text loses its end, not that. */
function prepare({ tokenizer, sentence }: Encoder, text: string, longest: number): Prepared {
  const plain = sentence.do_lower_case ? text.toLowerCase() : text;
  const ids = tokenizer.encode(plain);
  if (ids.length <= longest) return { ids, tokens: ids.length, cut: false };
  const [, after] = aroundText(tokenizer, plain, ids);
  const kept = [...ids.slice(0, longest - after), ...ids.slice(ids.length - after)];
  return { ids: kept, tokens: ids.length, cut: true };
}

/** How many tokens stand before and after a text's own. */
function aroundText(
  tokenizer: Encoder["tokenizer"],
  text: string,
  ids: readonly number[],
): [before: number, after: number] {
  const own = tokenizer.encode(text, { addSpecial: false });
  const added = ids.length - own.length;
  let before = 0;
  while (before < added && !own.every((id, i) => ids[before + i] === id)) before++;
  return [before, added - before];
}

function promptTokens({ tokenizer, sentence }: Encoder, prompt: string): number {
  const plain = sentence.do_lower_case ? prompt.toLowerCase() : prompt;
  const ids = tokenizer.encode(plain);
  return ids.length - aroundText(tokenizer, plain, ids)[1];
}
