// An adapter exported to another format, and the proof: the model with the one and with the other, side by side.

import type { Model } from "../generate/model.ts";
import { convertAdapter, openAdapter, openModel } from "../models/index.ts";
import { divergence } from "./divergence.ts";
import { Scorer } from "./scorer.ts";
import type { Scored } from "./steps.ts";

export interface ExportOptions {
  /** Tokens that both are compared on. Default: 512 of the vocabulary at random, in windows of 64. */
  readonly ids?: readonly number[];
  readonly signal?: AbortSignal;
}

/** How the model with the written adapter differs from the model with the given one, as next-token distributions. */
export interface ExportResult {
  readonly path: string;
  /** KL(given || written) in nats: mean and largest over the tokens. */
  readonly kl_mean: number;
  readonly kl_max: number;
  /** Share of tokens for which both find the same token likeliest. */
  readonly top1: number;
  /** KL(given || the model alone), mean: what there was to keep. */
  readonly kl_base: number;
  readonly tokens: number;
}

const TOKENS = 512;
const WINDOW = 64;

/**
 * Writes the adapter at `path` to `out` (a GGUF file when the name ends in `.gguf`, else a PEFT folder), and compares.
 * @param model the loaded model that it belongs to, by the path that it was loaded from
 * @throws {TypeError} when the format cannot hold it: a GGUF adapter has no DoRA and no whole parameters
 */
export async function exportAdapter(
  model: Model,
  path: string,
  out: string,
  { ids, signal }: ExportOptions = {},
): Promise<ExportResult> {
  const opened = await openModel(model.name);
  try {
    const adapter = await openAdapter(path, signal);
    try {
      await convertAdapter(adapter, opened, out, signal ? { signal } : {});
    } finally {
      await adapter.close();
    }
  } finally {
    await opened.close();
  }
  const given = await model.adapter(path, { name: `${path} as given`, ...(signal && { signal }) });
  try {
    const written = await model.adapter(out, { name: `${out} as written`, ...(signal && { signal }) });
    try {
      return { path: out, ...(await compare(model, [given, written, undefined], ids, signal)) };
    } finally {
      await written.detach();
    }
  } finally {
    await given.detach();
  }
}

async function compare(
  model: Model,
  adapters: readonly (Awaited<ReturnType<Model["adapter"]>> | undefined)[],
  ids: readonly number[] = randomIds(model.config.vocab_size),
  signal: AbortSignal | undefined,
): Promise<Omit<ExportResult, "path">> {
  const window = Math.min(WINDOW, model.ctx);
  const sequences: Scored[] = [];
  for (let at = 0; at + 1 < ids.length; at += window)
    sequences.push({ ids: Int32Array.from(ids.slice(at, at + window)), from: 1 });
  const scorers: Scorer[] = [];
  try {
    for (const adapter of adapters) scorers.push(new Scorer(model, window, adapter));
    const { maxima, vocab_size } = scorers[0]!;
    const logits = scorers.map(() => new Float32Array(maxima.R * vocab_size));
    let [tokens, sum, largest, same, base] = [0, 0, 0, 0, 0];
    for (const step of scorers[0]!.steps(sequences.filter((s) => s.ids.length > 1))) {
      signal?.throwIfAborted();
      const { R } = step.dims;
      for (const [i, scorer] of scorers.entries()) {
        await scorer.run(step);
        scorer.logits(logits[i]!.subarray(0, R * vocab_size));
      }
      for (let r = 0; r < R; r++) {
        const { kl, same: top } = divergence(logits[0]!, logits[1]!, r, vocab_size);
        tokens++;
        sum += kl;
        largest = Math.max(largest, kl);
        same += Number(top);
        base += divergence(logits[0]!, logits[2]!, r, vocab_size).kl;
      }
    }
    if (tokens === 0) throw new RangeError(`Cannot compare on ${ids.length} tokens: wanted 2 or more`);
    return { kl_mean: sum / tokens, kl_max: largest, top1: same / tokens, kl_base: base / tokens, tokens };
  } finally {
    for (const scorer of scorers) scorer.free();
  }
}

/** The same on every machine. */
function randomIds(vocab_size: number): number[] {
  let seed = 1;
  return Array.from({ length: TOKENS }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * vocab_size);
  });
}
