// What a quantization has cost: the model as it was and what was written, side by side on a text.

import type { BackendName } from "../engine/backends/index.ts";
import { evaluate } from "../evaluate/index.ts";
import { loadModel } from "../generate/index.ts";
import type { OpenedModel } from "../models/index.ts";
import type { Measured } from "./types.ts";

/** Tokens of a window; a model may know fewer. */
const CTX = 512;

export interface MeasureOptions {
  readonly text: string;
  /** What errors call it. */
  readonly name: string;
  readonly limit?: number | undefined;
  readonly backend?: BackendName | undefined;
  readonly threads?: number | undefined;
  readonly signal: AbortSignal;
}

/** Of the model as it was. */
export interface Original {
  readonly perplexity: number;
  readonly bits_per_weight: number;
}

/**
 * Measures models that were written beside the one that they were made of.
 * @param onProgress number of the path, tokens, and of how many
 */
export async function* measureVariants(
  original: Pick<OpenedModel, "name" | "config">,
  paths: readonly string[],
  { text, name, limit, backend, threads, signal }: MeasureOptions,
  onProgress: (path: number, done: number, total: number) => void,
): AsyncGenerator<{ measured: Measured; original: Original }, void, undefined> {
  const ctx = Math.min(CTX, original.config.max_position_embeddings);
  const options = { ctx, ...(backend && { backend }), ...(threads && { threads }), signal };
  await using base = await loadModel(original.name, options);
  for (const [i, path] of paths.entries()) {
    await using model = await loadModel(path, options);
    const result = await evaluate(model, {
      ...{ text, name, base, ctx, signal },
      ...(limit !== undefined && { limit }),
      onProgress: ({ done, total }) => onProgress(i, done, total),
    });
    const { perplexity, perplexity_se, tokens } = result;
    yield {
      measured: {
        ...{ perplexity, perplexity_se, tokens },
        log_ratio: result.log_ratio!,
        log_ratio_se: result.log_ratio_se!,
        kl_mean: result.kl_mean!,
        kl_se: result.kl_se!,
        kl_p99: result.kl_p99!,
        top1: result.top1!,
      },
      original: { perplexity: result.base_perplexity!, bits_per_weight: result.base_bits_per_weight! },
    };
  }
}
