// Which layers go, and which sizes a share of the parameters asks for: both by the loss of the model without them.

import type { TrainBatch } from "../train/index.ts";
import { chooseKept, maskOf, type Scores } from "./choose.ts";
import type { Measured, Part } from "./measure.ts";
import { parameterCount, type Sizes, shrunk, sizesOf, unitOf } from "./sizes.ts";

/** What the removal of each layer that was left would have cost, in nats; and the one that went. */
export interface DepthRound {
  readonly losses: readonly { readonly layer: number; readonly loss: number }[];
  readonly dropped: readonly number[];
}

/**
 * Takes layers away until `count` are left, each time the one without which the loss is least ("greedy"), or all at once by
 * the first round ("once").
 */
export async function dropLayers(
  measured: Measured,
  batches: readonly TrainBatch[],
  count: number,
  how: "greedy" | "once",
  signal: AbortSignal,
  onTrial: (done: number, total: number) => void,
): Promise<{ readonly layers: number[]; readonly rounds: DepthRound[] }> {
  const total = measured.model.config.num_hidden_layers;
  let layers = Array.from({ length: total }, (_, i) => i);
  const rounds: DepthRound[] = [];
  let done = 0;
  const trials =
    how === "once"
      ? total
      : Array.from({ length: total - count }, (_, i) => total - i).reduce((a, b) => a + b, 0);
  while (layers.length > count) {
    const losses: { layer: number; loss: number }[] = [];
    for (const layer of layers) {
      const part = { layers: layers.filter((i) => i !== layer) };
      losses.push({ layer, loss: await measured.loss(batches, part, signal) });
      onTrial(++done, trials);
    }
    const order = [...losses].sort((a, b) => a.loss - b.loss || a.layer - b.layer);
    const dropped = order.slice(0, how === "once" ? layers.length - count : 1).map(({ layer }) => layer);
    rounds.push({ losses, dropped });
    layers = layers.filter((i) => !dropped.includes(i));
  }
  return { layers, rounds };
}

/** A cut that was tried, and what it cost. */
export interface Trial {
  readonly sizes: Sizes;
  readonly parameters: number;
  readonly loss: number;
}

/** Of a size, the least that a step of the search takes away, as a share. */
const STEP = 1 / 16;

/**
 * Sizes with at most `target` parameters: step by step, of a cut of neurons, of heads with their group, of hidden channels
 * and of layers the one that costs least loss for each parameter that goes; each a sixteenth of what there is, at least
 * one. Widths go by 256, 32 or 8, see `unitOf`.
 * @param scores of the whole model: which neurons, heads and channels a trial goes without
 * @param order layers, the first to go first
 * @throws {RangeError} when no cut is left
 */
export async function searchSizes(
  measured: Measured,
  batches: readonly TrainBatch[],
  {
    target,
    scores,
    order,
    loss,
    keepsHidden,
  }: {
    readonly target: number;
    readonly scores: Scores;
    readonly order: readonly number[];
    /** Of the whole model, on the same batches. */
    readonly loss: number;
    readonly keepsHidden: boolean;
  },
  signal: AbortSignal,
  onStep: (parameters: number) => void,
): Promise<{ readonly sizes: Sizes; readonly trials: Trial[] }> {
  const { config, definition } = measured.model;
  const whole = sizesOf(config);
  const layersOf = ({ layers }: Sizes) => [...order.slice(whole.layers - layers)].sort((a, b) => a - b);
  const parameters = (sizes: Sizes) => parameterCount(definition, shrunk(config, sizes, layersOf(sizes)));
  const tried = async (sizes: Sizes): Promise<Trial> => ({
    sizes,
    parameters: parameters(sizes),
    loss: await measured.loss(batches, partOf(scores, config, sizes, layersOf(sizes)), signal),
  });
  const trials: Trial[] = [];
  let now: Trial = { sizes: whole, parameters: parameters(whole), loss };
  while (now.parameters > target) {
    let best: Trial | undefined;
    for (const sizes of steps(whole, now.sizes, -1, keepsHidden)) {
      const trial = await tried(sizes);
      if (!best || price(now, trial) < price(now, best)) best = trial;
    }
    if (!best)
      throw new RangeError(
        `Cannot prune ${JSON.stringify(measured.model.name)} to ${target} parameters: no less than ${now.parameters} can be left, wanted a larger share`,
      );
    trials.push(best);
    now = best;
    onStep(now.parameters);
  }
  // The last cut may have been a large one: what still fits is given back.
  for (;;) {
    let best: Trial | undefined;
    for (const sizes of steps(whole, now.sizes, 1, keepsHidden)) {
      if (parameters(sizes) > target) continue;
      const trial = await tried(sizes);
      if (trial.loss < (best ?? now).loss) best = trial;
    }
    if (!best) return { sizes: now.sizes, trials };
    trials.push(best);
    now = best;
  }
}

const price = (from: Trial, to: Trial) => (to.loss - from.loss) / (from.parameters - to.parameters);

/** One step down or up from `now` on each axis that has one left. */
function steps(whole: Sizes, now: Sizes, direction: -1 | 1, keepsHidden: boolean): Sizes[] {
  const next = (key: keyof Sizes, unit: number) => {
    const size = now[key] + direction * Math.max(1, Math.round((whole[key] * STEP) / unit)) * unit;
    return size > 0 && size <= whole[key] ? [size] : [];
  };
  return [
    ...next("ffn", unitOf(whole.ffn)).map((ffn) => ({ ...now, ffn })),
    ...(keepsHidden ? [] : next("hidden", unitOf(whole.hidden)).map((hidden) => ({ ...now, hidden }))),
    ...next("kv_heads", 1).map((kv_heads) => ({
      ...now,
      kv_heads,
      heads: (whole.heads / whole.kv_heads) * kv_heads,
    })),
    ...next("layers", 1).map((layers) => ({ ...now, layers })),
  ];
}

/** The model with these sizes, by masks over the whole one. */
function partOf(
  scores: Scores,
  config: Parameters<typeof chooseKept>[1],
  sizes: Sizes,
  layers: number[],
): Part {
  const pick = <T>(all: readonly T[]) => layers.map((i) => all[scores.layers.indexOf(i)]!);
  const own = { ...scores, layers, ffn: pick(scores.ffn), heads: pick(scores.heads) };
  const kept = chooseKept(own, config, sizes);
  const masks = new Map(
    layers.flatMap((i, j) => [
      [`model.layers.${i}.mlp.down_proj`, maskOf(kept.ffn[j]!, config.intermediate_size)] as const,
      [
        `model.layers.${i}.self_attn.o_proj`,
        maskOf(kept.heads[j]!, config.num_attention_heads, config.head_dim),
      ] as const,
    ]),
  );
  return { layers, masks, hidden: maskOf(kept.hidden, config.hidden_size) };
}
