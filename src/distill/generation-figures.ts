// What is known of one generation: its loss on held-out samples, how far it is from others there, its score at a task, and
// how fast it writes.

import { divergence } from "../evaluate/divergence.ts";
import { evaluate, type Figure, type Task } from "../evaluate/index.ts";
import { Scorer } from "../evaluate/scorer.ts";
import { bench } from "../generate/bench.ts";
import type { Model } from "../generate/index.ts";
import type { Sample } from "../train/index.ts";

/** On held-out samples: means over their targets, in nats. */
export interface HeldOut {
  readonly loss: number;
  /** KL(other || model) of each of the others. */
  readonly kl: readonly number[];
  readonly targets: number;
}

export interface GenerationFigures extends HeldOut {
  /** Of the task; by its metric's names. */
  readonly scores?: Readonly<Record<string, Figure>>;
  /** One sequence, written token by token. */
  readonly tokens_per_second: number;
}

/** Measures a loaded model; `others` are of the same vocabulary, and loaded for as long sequences. */
export async function generationFigures(
  model: Model,
  others: readonly Model[],
  samples: readonly Sample[],
  task: Task | undefined,
  signal: AbortSignal,
): Promise<GenerationFigures> {
  const held = await heldOut(model, others, samples, signal);
  const scores = task && (await evaluate(model, { task, signal })).scores;
  const { decode_tokens_per_second } = await bench(model, { rounds: 3, tokens: 48, signal });
  return { ...held, ...(scores && { scores }), tokens_per_second: decode_tokens_per_second };
}

/** Loss of the learned tokens, and the mean divergence from each of the others there. */
export async function heldOut(
  model: Model,
  others: readonly Model[],
  samples: readonly Sample[],
  signal: AbortSignal,
): Promise<HeldOut> {
  const longest = samples.reduce((most, { ids }) => Math.max(most, ids.length), 2);
  const own = new Scorer(model, longest);
  const scorers: Scorer[] = [];
  try {
    for (const other of others) scorers.push(new Scorer(other, longest));
    const n = own.vocab_size;
    const rows = scorers.length > 0 ? own.maxima.R : 0;
    const [logits, theirs] = [new Float32Array(rows * n), new Float32Array(rows * n)];
    const kl = others.map(() => 0);
    let [loss, targets] = [0, 0];
    const sequences = samples.map(({ ids, learned }) => ({ ids, from: learned.indexOf(1, 1) }));
    for (const step of own.steps(sequences)) {
      signal.throwIfAborted();
      const { R } = step.dims;
      const losses = await own.run(step);
      const wanted = [...Array(R).keys()].filter(
        (r) => samples[step.sequence[r]!]!.learned[step.token[r]!] === 1,
      );
      for (const r of wanted) loss += losses[r]!;
      targets += wanted.length;
      if (scorers.length > 0) own.logits(logits.subarray(0, R * n));
      for (const [i, scorer] of scorers.entries()) {
        await scorer.run(step);
        scorer.logits(theirs.subarray(0, R * n));
        for (const r of wanted) kl[i]! += divergence(theirs, logits, r, n).kl;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { loss: loss / targets, kl: kl.map((sum) => sum / targets), targets };
  } finally {
    own.free();
    for (const scorer of scorers) scorer.free();
  }
}
