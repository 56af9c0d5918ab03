// Models on one text: perplexity, bits a byte, and the distance to a reference where both have the same tokens.

import { evaluate } from "../evaluate/index.ts";
import { checkSame } from "../evaluate/text.ts";
import type { Model } from "../generate/index.ts";
import type { TextFigures } from "./types.ts";

/** Tokens of a window, where models know as many. */
export const TEXT_CTX = 512;

/**
 * Every token is scored once, in windows of `ctx` tokens that overlap by half, so that all models answer for the whole text.
 * bits_per_byte = nll · tokens / ln 2 / bytes of the scored text.
 */
export async function measureText(
  model: Model,
  { text, name, ctx, reference }: { text: string; name: string; ctx: number; reference: Model | undefined },
  signal: AbortSignal,
  onProgress: (done: number, total: number) => void,
): Promise<TextFigures> {
  const ids = model.tokenizer.encode(text);
  const other = reference && otherTokens(model, reference, ids, text);
  const base = reference && other === undefined ? reference : undefined;
  const result = await evaluate(model, {
    ...{ text, name, ctx, stride: ctx >> 1, signal },
    ...(base && { base }),
    onProgress: ({ done, total }) => onProgress(done, total),
  });
  const { tokens, perplexity, perplexity_se, nll, nll_se } = result;
  const per = tokens / Math.LN2 / scoredBytes(model, ids, text);
  return {
    ...{ tokens, perplexity, perplexity_se },
    bits_per_byte: nll * per,
    bits_per_byte_se: nll_se * per,
    ...(base && {
      log_ratio: result.log_ratio!,
      log_ratio_se: result.log_ratio_se!,
      kl_mean: result.kl_mean!,
      kl_se: result.kl_se!,
      kl_p99: result.kl_p99!,
      top1: result.top1!,
    }),
    ...(other !== undefined && { other_tokens: other }),
  };
}

/** Why the tokens of one are not those of the other. */
function otherTokens(
  model: Model,
  reference: Model,
  ids: readonly number[],
  text: string,
): string | undefined {
  try {
    checkSame(model, reference, ids, text);
    return undefined;
  } catch (error) {
    if (error instanceof TypeError) return error.message.replace(/^Cannot compare .*?: /, "");
    throw error;
  }
}

/** The first token has nothing before it: only one that stands for no text may be left out for nothing. */
function scoredBytes({ tokenizer }: Model, ids: readonly number[], text: string): number {
  const first = ids[0]!;
  const own = tokenizer.isSpecial(first) ? 0 : tokenizer.tokenBytes(first).length;
  return Math.max(1, Buffer.byteLength(text) - own);
}

/** Whether a tokenizer gives a text back; what it drops costs it no bits. */
export function keepsText({ tokenizer }: Model, text: string): boolean {
  return tokenizer.decode(tokenizer.encode(text), { skipSpecial: true }).trim() === text.trim();
}
