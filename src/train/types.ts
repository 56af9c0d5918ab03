// What the parts of training hand to each other: samples (made by data/), batches (packed by batches.ts), and the learner
// that the loop drives (step.ts and methods/).

/** One training sample. */
export interface Sample {
  readonly ids: Int32Array;
  /** 1 where the token is part of the loss: it is the target of the token before it. Position 0 never is. */
  readonly learned: Uint8Array;
  /** Where it came from, counted from 1. */
  readonly source: { readonly file: string; readonly line: number };
}

/** Two answers to one prompt, for preference tuning: both samples begin with the prompt. */
export interface Pair {
  readonly chosen: Sample;
  readonly rejected: Sample;
}

/** Sequences end to end: `tokens` [T]; `starts` of the sequences; `targets` [T], -1 where a token has none. */
export interface TrainBatch {
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
  readonly starts: readonly number[];
  /** The sequences as they were before they lay end to end, where they came from samples. */
  readonly samples?: readonly Sample[];
}

/** AdamW's settings of one step. Decay is not applied to vectors (norms, biases). */
export interface AdamW {
  readonly lr: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  readonly weight_decay?: number;
  /** Gradients longer than this are scaled down to it. Default: no clipping. */
  readonly max_grad_norm?: number;
  /** A larger mean loss is refused like one that is not finite. Default: none is too large. */
  readonly max_loss?: number;
}

export interface StepResult {
  /** Mean negative log-likelihood a target, in nats; of distillation its weighted loss. */
  readonly loss: number;
  /** Length of the gradient of the mean loss, before clipping. */
  readonly grad_norm: number;
  readonly tokens: number;
  /** Of pairs: how far the chosen answers are ahead, and the share of those that are (see `PreferenceResult`). */
  readonly margin?: number;
  readonly accuracy?: number;
  /** Of distillation: means a target of the cross-entropy (of given text alone) and of the distance to the teacher. */
  readonly ce?: number;
  readonly kd?: number;
  /** Tokens that the student wrote for this step, and how long it took. */
  readonly generated?: number;
  readonly generation_seconds?: number;
}

/** What the training loop drives: trained parameters with their optimizer state, and the programs over them. */
export interface Learner {
  /** Largest micro-batch in tokens and sequences; longest sequence. */
  readonly size: { readonly ctx: number; readonly tokens: number; readonly sequences: number };
  /**
   * Gradient of all micro-batches together, then one update.
   * @throws {RangeError} on a loss or gradient that is not finite, or a loss above `max_loss`; then nothing has changed
   */
  step(batches: readonly TrainBatch[], options: AdamW): Promise<StepResult>;
  /** Mean loss a target (`tokens` of them), without learning; with pairs a pair, and `tokens` counts pairs. */
  evaluate(batch: TrainBatch): Promise<{
    readonly loss: number;
    readonly tokens: number;
    /** Mean KL divergence from the teacher, where there is one. */
    readonly kl?: number;
  }>;
  /** Every trained parameter by its name, with its shape. */
  readonly trained: ReadonlyMap<string, readonly number[]>;
  /** A trained parameter's values, or its first or second moment, row-major. */
  read(name: string, kind?: "m" | "v"): Float32Array;
  write(name: string, values: Float32Array, kind?: "m" | "v"): void;
  /** Updates so far: the exponent of AdamW's bias correction. */
  steps: number;
  close(): void;
}
