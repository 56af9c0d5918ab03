// What an endpoint says of given tokens: for every position that is learned the k likeliest tokens with their logarithms.
// Asked of `completions` with the prompt as ids. vLLM answers with `prompt_logprobs`, by id; where a server has only the
// older `echo` with `logprobs`, tokens must come as ids (`return_tokens_as_token_ids`), since their texts may be equal.

import { quote } from "../formats/errors.ts";
import { isObject, type Json } from "../formats/json.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { firstChoice, without, wrong } from "./endpoint.ts";
import type { EndpointPool } from "./pool.ts";

/** Positions of one text: its ids, and 1 where the token is asked for. Position 0 has nothing before it and never is. */
export interface ScoreRequest {
  readonly ids: Int32Array;
  readonly learned: Uint8Array;
}

/** n positions, k tokens of each, the likeliest first; -1 where there are fewer. Natural logarithms, at temperature 1. */
export interface ScoreRows {
  readonly k: number;
  readonly ids: Int32Array;
  readonly logp: Float32Array;
}

/** Below this a server means "nothing": vLLM writes -9999 for minus infinity. */
const LEAST = -9000;

export interface ScoreOptions {
  readonly model: string;
  /** Whose ids they are: an endpoint with other tokens under them is refused. */
  readonly tokenizer?: Tokenizer;
}

/**
 * @throws {Error} naming the host, when it gives no logprobs, or is of another tokenizer
 */
export function scoreText(
  pool: EndpointPool,
  { ids, learned }: ScoreRequest,
  k: number,
  { model, tokenizer }: ScoreOptions,
  signal?: AbortSignal,
): Promise<ScoreRows> {
  const body = {
    model,
    prompt: [...ids],
    max_tokens: 0,
    echo: true,
    logprobs: k,
    prompt_logprobs: k,
    return_tokens_as_token_ids: true,
    temperature: 1,
  };
  const read = (answer: Json, url: URL): ScoreRows => {
    const choice = firstChoice(answer, url);
    const rows = positions(choice, url);
    if (rows.length < ids.length)
      throw wrong(url, "score a text", choice, `logprobs of ${ids.length} tokens, found ${rows.length}`);
    const n = learned.reduce((sum, one, i) => sum + (i > 0 && one === 1 ? 1 : 0), 0);
    const result = { k, ids: new Int32Array(n * k).fill(-1), logp: new Float32Array(n * k) };
    const check = tokenizer && new TokenCheck(tokenizer);
    let row = 0;
    for (let i = 1; i < ids.length; i++) {
      const found = rows[i]!;
      // The token itself is always named, however unlikely: else the server speaks of another text.
      if (!found.some(({ id }) => id === ids[i]))
        throw wrong(
          url,
          `score a text at position ${i}`,
          found.map(({ id }) => id),
          `the text's own token ${ids[i]} among them`,
        );
      check?.add(found);
      if (learned[i] !== 1) continue;
      const top = found
        // Heads may have more rows than there are tokens.
        .filter(({ id, logp }) => logp > LEAST && !(tokenizer && id >= tokenizer.vocabSize))
        .sort((a, b) => b.logp - a.logp || a.id - b.id)
        .slice(0, k);
      top.forEach(({ id, logp }, j) => {
        result.ids[row * k + j] = id;
        result.logp[row * k + j] = logp;
      });
      row++;
    }
    check?.end(url);
    return result;
  };
  return pool.request("completions", body, read, signal);
}

interface Named {
  readonly id: number;
  readonly logp: number;
  /** How the server spells the token, where it says so. */
  readonly text?: string;
}

/** For every position of the prompt the tokens that the server names; the first position has none. */
function positions(choice: { readonly [name: string]: Json }, url: URL): Named[][] {
  const { prompt_logprobs, logprobs } = choice;
  if (Array.isArray(prompt_logprobs))
    return prompt_logprobs.map((item) =>
      !isObject(item)
        ? []
        : Object.entries(item).map(([id, value]) => {
            const { logprob, decoded_token } = isObject(value) ? value : {};
            return named(id, logprob, url, decoded_token);
          }),
    );
  const { tokens, token_logprobs, top_logprobs } = isObject(logprobs!) ? logprobs : {};
  if (!Array.isArray(tokens) || !Array.isArray(token_logprobs) || !Array.isArray(top_logprobs))
    throw without(url, "prompt_logprobs, or logprobs of the echoed prompt,", choice);
  return tokens.map((token, i) => {
    const tops = top_logprobs[i];
    if (!isObject(tops!)) return [];
    const all = Object.entries({ [String(token)]: token_logprobs[i]!, ...tops });
    return all.map(([key, logprob]) => {
      const id = /^token_id:(\d+)$/.exec(key)?.[1];
      if (id === undefined)
        throw without(url, "ids of the tokens (return_tokens_as_token_ids), whose texts may be equal,", tops);
      return named(id, logprob, url);
    });
  });
}

function named(key: string, logprob: Json | undefined, url: URL, text?: Json): Named {
  const id = Number(key);
  if (!/^\d+$/.test(key) || id > 2 ** 31 - 1 || typeof logprob !== "number" || logprob > 1e-3)
    throw wrong(url, "score a text", { [key]: logprob ?? null }, "a token's id with its logprob");
  return { id, logp: Math.min(0, logprob), ...(typeof text === "string" && { text }) };
}

/**
 * Refuses an endpoint under whose ids other tokens lie, by the texts that it gives beside them. A few may differ, since servers
 * decode a lone token in several ways; white space and marks of it do not count.
 */
class TokenCheck {
  readonly #tokenizer: Tokenizer;
  #compared = 0;
  #other = 0;
  #example = "";

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  add(found: readonly Named[]): void {
    const bare = (text: string) => text.replace(/[\s▁Ġ]/g, "");
    const tokenizer = this.#tokenizer;
    for (const { id, text } of found) {
      if (text === undefined || id >= tokenizer.vocabSize || tokenizer.isSpecial(id)) continue;
      const own = new TextDecoder().decode(tokenizer.tokenBytes(id));
      // Parts of a character have no text of their own.
      if (own.includes("\uFFFD") || text.includes("\uFFFD") || bare(text) === "") continue;
      this.#compared++;
      if (bare(own) === bare(text)) continue;
      this.#other++;
      this.#example ||= `token ${id} is ${quote(text)} there and ${quote(own)} here`;
    }
  }

  end(url: URL): void {
    if (this.#other > this.#compared / 20)
      throw new TypeError(
        `Cannot score with ${url.host}: its tokens are others, ${this.#example}; wanted a model with the tokenizer of ${JSON.stringify(this.#tokenizer.name)}`,
      );
  }
}
