// The linears of a model that an adapter can change: their paths, shapes and order, from the model's own recording.

import { record } from "../engine/program.ts";
import type { Config } from "./config.ts";
import type { Definition } from "./definition.ts";
import { plainModule } from "./definition.ts";
import { declareBatch, forward } from "./programs.ts";

/** A linear y = x Wᵀ, W [N, K]. */
export interface LinearTarget {
  /** Its number in the order of recording: the attribute `linear` of the op `lora` (see `plainModule`). */
  readonly index: number;
  readonly N: number;
  readonly K: number;
  /** The parameter it multiplies with: `path.weight`, or the embedding where that is the head. */
  readonly weight: string;
}

/**
 * Path -> linear, in the order of recording. The output head is `lm_head` even where it is the embedding, as
 * transformers names it.
 */
export function linearTargets(definition: Definition, config: Config): ReadonlyMap<string, LinearTarget> {
  const targets = new Map<string, LinearTarget>();
  record((g) => {
    const plain = plainModule(g, definition, config);
    const linear: typeof plain.linear = (path, x) => {
      const weight = `${path}.weight`;
      const [N, K] = plain.param(weight).shape as [number, number];
      const target = targetOf(path);
      if (!targets.has(target)) targets.set(target, { index: targets.size, N, K, weight });
      return plain.linear(path, x);
    };
    return { logits: forward(definition, { ...plain, linear }, declareBatch(g, config, 1, false)) };
  });
  return targets;
}

/** The path that adapters know a linear by: that of a tied head is its own. */
export function targetOf(path: string): string {
  return /(^|\.)(embed_tokens|wte|word_embeddings)$/.test(path) ? "lm_head" : path;
}
