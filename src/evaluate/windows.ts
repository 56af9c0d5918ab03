// How a long text is cut into sequences that a model can score: the two conventions in use.

import type { Scored } from "./steps.ts";

/**
 * "windows", llama.cpp's: windows of `ctx` tokens that do not overlap, what is left at the end dropped. The first half
 * of each is context; of the second, the ctx - ctx/2 - 1 tokens after its first are scored. Where the tokenizer begins
 * a text with a begin token, one takes the place of each window's first token.
 *
 * "strided", transformers': windows of `ctx` tokens, each `stride` after the one before; each scores what none before
 * has scored, so that every token of the text but its first counts once (with a stride of `ctx`, not the first of each
 * window, which has nothing before it).
 */
export type Convention = "windows" | "strided";

/** The windows of a text, and how many tokens they score in all. */
export interface Windows {
  readonly convention: Convention;
  readonly ctx: number;
  readonly stride?: number;
  readonly count: number;
  /** Tokens scored. */
  readonly scored: number;
  /** Tokens computed. */
  readonly computed: number;
  sequence(i: number): Scored;
}

/**
 * @param bosId put first in each of "windows"
 * @throws {RangeError} on a size out of range, or a text shorter than a window of "windows"
 */
export function windows(
  ids: ArrayLike<number>,
  { ctx, stride, bosId }: { ctx: number; stride?: number; bosId?: number },
): Windows {
  const all = Int32Array.from(ids);
  if (!Number.isInteger(ctx) || ctx < 4)
    throw new RangeError(`Cannot evaluate with a ctx of ${ctx}: wanted a whole number, 4 or more`);
  if (stride !== undefined) return strided(all, ctx, stride);
  const count = Math.floor(all.length / ctx);
  if (count === 0)
    throw new RangeError(
      `Cannot evaluate a text of ${all.length} tokens in windows of ${ctx}: wanted at least one window; ${
        all.length >= 4
          ? `a ctx of ${all.length} would do, or a stride, which scores every token`
          : "give a longer text"
      }`,
    );
  const from = Math.floor(ctx / 2) + 1;
  return {
    convention: "windows",
    ctx,
    count,
    scored: count * (ctx - from),
    computed: count * (ctx - 1),
    sequence(i) {
      const window = all.slice(i * ctx, (i + 1) * ctx);
      if (bosId !== undefined) window[0] = bosId;
      return { ids: window, from };
    },
  };
}

function strided(all: Int32Array, ctx: number, stride: number): Windows {
  if (!Number.isInteger(stride) || stride < 1 || stride > ctx)
    throw new RangeError(
      `Cannot evaluate with a stride of ${stride}: wanted a whole number from 1 to the ctx of ${ctx}`,
    );
  if (all.length < 2)
    throw new RangeError(`Cannot evaluate a text of ${all.length} tokens: wanted at least 2`);
  // Window i begins at i · stride; the one that reaches the end is the last. A last one of a single token has no target.
  let count = 1 + Math.max(0, Math.ceil((all.length - ctx) / stride));
  if (count > 1 && all.length - (count - 1) * stride < 2) count--;
  const bounds = (i: number) => {
    const start = i * stride;
    const end = Math.min(start + ctx, all.length);
    const done = i === 0 ? 0 : Math.min((i - 1) * stride + ctx, all.length);
    return { start, end, from: Math.max(1, done - start) };
  };
  let [scored, computed] = [0, 0];
  for (let i = 0; i < count; i++) {
    const { start, end, from } = bounds(i);
    scored += end - start - from;
    computed += end - start - 1;
  }
  return {
    convention: "strided",
    ctx,
    stride,
    count,
    scored,
    computed,
    sequence(i) {
      const { start, end, from } = bounds(i);
      return { ids: all.slice(start, end), from };
    },
  };
}
