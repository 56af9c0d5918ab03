// Preference tuning (DPO, Rafailov et al., arXiv 2305.18290): of two answers to a prompt the chosen one becomes likelier
// beside the rejected one than it was in the model without the adapter.
// R: rows with a target · P: pairs

import type { Backend } from "../../engine/backend.ts";
import { fuseLosses } from "../../engine/gradients.ts";
import {
  add,
  concat_last,
  cross_entropy,
  matmul_tn,
  neg,
  reshape,
  scale,
  slice_last,
  sub,
  sum_rows,
} from "../../engine/nn.ts";
import { type Program, record } from "../../engine/program.ts";
import type { Recorder, Tensor } from "../../engine/tensor.ts";
import type { Module } from "../../models/index.ts";
import { addGradients, type ComputeOptions, computed, rowLosses } from "../programs.ts";
import { dims, inputs, rowsOf, TrainStep } from "../step.ts";
import type { MethodTrainable } from "../trainable.ts";
import type { AdamW, Learner, StepResult, TrainBatch } from "../types.ts";

export interface PreferenceOptions extends ComputeOptions {
  /** How much a change of the log-probabilities counts: default 0.1. */
  readonly beta?: number;
  /** Share of pairs taken to be labelled the wrong way round (conservative DPO), below 0.5. Default 0. */
  readonly label_smoothing?: number;
}

type ResolvedOptions = PreferenceOptions & { readonly beta: number; readonly label_smoothing: number };

export interface PreferenceResult extends StepResult {
  /** Mean over the pairs of beta · ((chosen - its reference) - (rejected - its reference)), log-probabilities summed. */
  readonly margin: number;
  /** Share of the pairs whose margin is above 0. */
  readonly accuracy: number;
}

/** Log-probabilities of the answers, [P, 2]: chosen, rejected. `answers` [R, 2 P] is 1 where a row belongs to one. */
function logProbabilities(
  g: Recorder,
  m: Module,
  trainable: MethodTrainable,
  ctx: number,
  pairs: number,
): Tensor {
  const answers = g.input("answers", "f32", ["R", 2 * pairs]);
  const losses = rowLosses(g, m, trainable, ctx); // [R, 1]
  return reshape(neg(matmul_tn(answers, losses)), [pairs, 2]);
}

/**
 * Output `logp` [P, 2] of the model without its adapter. Of core rows, as the program with gradients is: both then round
 * alike, and an adapter that changes nothing has a margin of exactly 0.
 */
function recordReference(
  trainable: MethodTrainable,
  ctx: number,
  pairs: number,
  options: ComputeOptions,
): Program {
  const program = record(
    (g) => {
      const logp = logProbabilities(g, trainable.reference!(g), trainable, ctx, pairs);
      fuseLosses(g, false);
      return { logp };
    },
    { composed: true },
  );
  return computed(program, options);
}

/**
 * Outputs `loss` [1] = Σ over pairs of -(1 - e) log σ(z) - e log σ(-z), and the margins z [P, 1]. Inputs, beside those of a
 * batch: `answers`, `reference` [P, 2], and of every pair a column that is right and one that is wrong, -1 for no pair.
 */
function recordPreference(
  trainable: MethodTrainable,
  ctx: number,
  pairs: number,
  { beta, label_smoothing, ...options }: ResolvedOptions,
  learning: boolean,
): Program {
  const program = record(
    (g) => {
      const logp = logProbabilities(g, trainable.module(g), trainable, ctx, pairs);
      const gain = sub(logp, g.input("reference", "f32", [pairs, 2]));
      const margin = scale(sub(slice_last(gain, 0, 1), slice_last(gain, 1, 1)), beta); // [P, 1]
      // log σ(z) is the log-probability of the first of the logits z/2, -z/2.
      const half = scale(margin, 0.5);
      const logits = concat_last(half, neg(half)); // [P, 2]
      const loss = (targets: string) => sum_rows(cross_entropy(logits, g.input(targets, "i32", [pairs])));
      let total = scale(loss("right"), 1 - label_smoothing);
      if (label_smoothing > 0) total = add(total, scale(loss("wrong"), label_smoothing));
      if (learning) addGradients(g, trainable, total, options);
      else fuseLosses(g, false);
      return { loss: total, margin };
    },
    { composed: true },
  );
  return computed(program, options);
}

interface Sums {
  loss: number;
  margin: number;
  right: number;
  pairs: number;
  tokens: number;
}

/**
 * A learner of pairs: in its batches the sequences 2 i and 2 i + 1 are the chosen and the rejected answer of a pair, and
 * losses are means over pairs. The reference is the model with the adapter switched off, over the same weights: one more
 * forward pass a step.
 */
export class PreferenceStep extends TrainStep {
  private readonly method: MethodTrainable;
  private readonly options: ResolvedOptions;
  private readonly pairs: number;

  /**
   * @throws {TypeError} when the method has no reference: it trains the weights themselves
   * @throws {RangeError} on options out of range, or a size that holds no pair
   */
  constructor(
    backend: Backend,
    trainable: MethodTrainable,
    size: Learner["size"],
    { beta = 0.1, label_smoothing = 0, ...compute }: PreferenceOptions = {},
  ) {
    if (!trainable.reference)
      throw new TypeError(
        "Cannot tune by preferences what trains the weights themselves: wanted an adapter, which can be switched off",
      );
    if (trainable.dropout_seed !== undefined)
      throw new TypeError(
        "Cannot tune by preferences with dropout: wanted an adapter without, as its reference is",
      );
    if (!(Number.isFinite(beta) && beta > 0))
      throw new RangeError(`Cannot tune by preferences with beta ${beta}: wanted a number above 0`);
    if (!(label_smoothing >= 0 && label_smoothing < 0.5))
      throw new RangeError(
        `Cannot tune by preferences with label_smoothing ${label_smoothing}: wanted a number from 0 to below 0.5`,
      );
    if (size.sequences < 2)
      throw new RangeError(
        `Cannot tune by preferences with ${size.sequences} sequence a batch: wanted 2 or more`,
      );
    super(backend, trainable, size, compute);
    this.method = trainable;
    this.options = { ...compute, beta, label_smoothing };
    this.pairs = Math.floor(size.sequences / 2);
  }

  override async step(batches: readonly TrainBatch[], options: AdamW): Promise<PreferenceResult> {
    const sums: Sums = { loss: 0, margin: 0, right: 0, pairs: 0, tokens: 0 };
    for (const batch of batches) await this.run(batch, true, sums);
    const { pairs, tokens } = sums;
    if (pairs === 0) throw new RangeError("Cannot train on no pairs: wanted at least one");
    const loss = sums.loss / pairs;
    const grad_norm = await this.applyGradients(loss, 1 / pairs, options);
    return { loss, grad_norm, tokens, margin: sums.margin / pairs, accuracy: sums.right / pairs };
  }

  /** The mean loss a pair, with how many pairs as `tokens`: what means over batches are weighed by. */
  override async evaluate(
    batch: TrainBatch,
  ): Promise<{ loss: number; tokens: number; margin: number; accuracy: number }> {
    const sums: Sums = { loss: 0, margin: 0, right: 0, pairs: 0, tokens: 0 };
    await this.run(batch, false, sums);
    const { loss, margin, right, pairs } = sums;
    return { loss: loss / pairs, tokens: pairs, margin: margin / pairs, accuracy: right / pairs };
  }

  private async run(batch: TrainBatch, learning: boolean, sums: Sums): Promise<void> {
    const { ctx } = this.size;
    const rows = rowsOf(batch);
    const { answers, count } = this.answers(batch, rows);
    const given = { ...inputs(batch, rows), answers };
    const reference = new Float32Array(2 * this.pairs);
    const forward = await this.ready("reference", () =>
      recordReference(this.method, ctx, this.pairs, this.options),
    );
    await forward.run(dims(batch, rows), given);
    forward.read("logp", reference);

    const program = await this.ready(learning ? "preference" : "preference loss", () =>
      recordPreference(this.method, ctx, this.pairs, this.options, learning),
    );
    const right = Int32Array.from({ length: this.pairs }, (_, i) => (i < count ? 0 : -1));
    const wrong = right.map((column) => (column === 0 ? 1 : -1));
    const smoothing = this.options.label_smoothing > 0 && { wrong };
    await program.run(dims(batch, rows), { ...given, reference, right, ...smoothing });
    const loss = new Float32Array(1);
    const margins = new Float32Array(this.pairs);
    program.read("loss", loss);
    program.read("margin", margins);
    sums.loss += loss[0]!;
    sums.pairs += count;
    sums.tokens += rows.length;
    for (const margin of margins.subarray(0, count)) {
      sums.margin += margin;
      sums.right += Number(margin > 0);
    }
  }

  /** Which answer a row belongs to: f32 [R, 2 P]. */
  private answers({ starts }: TrainBatch, rows: Int32Array): { answers: Float32Array; count: number } {
    const columns = 2 * this.pairs;
    if (starts.length % 2 !== 0 || starts.length > columns)
      throw new RangeError(
        `Cannot tune by preferences on ${starts.length} sequences: wanted pairs, at most ${this.pairs}`,
      );
    const answers = new Float32Array(rows.length * columns);
    const seen = new Set<number>();
    let sequence = 0;
    rows.forEach((row, i) => {
      while (row >= (starts[sequence + 1] ?? Infinity)) sequence++;
      answers[i * columns + sequence] = 1;
      seen.add(sequence);
    });
    if (seen.size !== starts.length)
      throw new RangeError("Cannot tune by preferences on an answer without targets: all are -1");
    return { answers, count: starts.length / 2 };
  }
}
