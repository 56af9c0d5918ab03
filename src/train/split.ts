// Keeping a part of the data for evaluation.

import { Random, STREAM } from "./random.ts";

/**
 * The items without a share of them, chosen by the seed, and that share: at least one item, where it is above 0. Both in
 * their old order.
 * @throws {RangeError} when nothing would be left to train on
 */
export function holdOut<Item>(items: readonly Item[], share: number, seed: number): [Item[], Item[]] {
  if (share === 0) return [[...items], []];
  const held = Math.max(1, Math.round(items.length * share));
  if (held >= items.length)
    throw new RangeError(
      `Cannot keep ${share} of ${items.length} samples for evaluation: none would be left to train on`,
    );
  const chosen = new Set(new Random(seed, STREAM.held).permutation(items.length).subarray(0, held));
  return [items.filter((_, i) => !chosen.has(i)), items.filter((_, i) => chosen.has(i))];
}
