// What a quantization is asked for, what it tells on its way, and what comes out.

import type { BackendName } from "../engine/backends/index.ts";
import type { QuantType } from "../engine/grids.ts";
import type { WeightType } from "../engine/weights.ts";
import type { Trial } from "./bits.ts";
import type { QuantizePlan } from "./plan.ts";

/**
 * How codes and scales are chosen. `rtn`: the least squared error of the weights. `imatrix`: weighted by the mean squares of
 * what each column is multiplied with. `awq`: channels scaled so that the outputs err least. `gptq`: each column's error is made up
 * for by the columns after it. `learned`: those of `gptq`, trained by the distance to the model as it was.
 */
export const QUANTIZE_METHODS = ["rtn", "imatrix", "awq", "gptq", "learned"] as const;
export type QuantizeMethod = (typeof QUANTIZE_METHODS)[number];

export interface QuantizeOptions {
  /** The type, or several: each with each method is a variant. With `bits`: the types to choose among, if not the usual ones. */
  readonly to?: QuantType | readonly QuantType[];
  /** Default "rtn". */
  readonly method?: QuantizeMethod | readonly QuantizeMethod[];
  /**
   * One variant: a name that ends in .gguf, or else a folder of safetensors (compressed-tensors; q4_0 and q8_0). Several: a
   * folder with a GGUF file of each.
   */
  readonly out: string;
  /** Every matrix in the type asked for. Default: the standard mix of that type (see `standardType`). */
  readonly pure?: boolean;
  /** Types of some matrices: "pattern=type,pattern=type" (see `parseMix`). */
  readonly mix?: string;
  /**
   * Instead of one type: a mix of at most so many bits a weight over all tensors, chosen by what each type costs of KL divergence
   * on the calibration data (see `chooseMix`).
   */
  readonly bits?: number;
  /** Files of text or samples that methods are calibrated on, and that `bits` is chosen by. */
  readonly calibration?: string | readonly string[];
  /** Tokens of the calibration data that are used, chosen by the seed. Default 32768. */
  readonly tokens?: number;
  /** Instead: so many samples of it; a text is cut into samples of `ctx` tokens. */
  readonly samples?: number;
  /** Longest sequence of it. Default: the lesser of the model's context and 512. */
  readonly ctx?: number;
  /** Default 0. */
  readonly seed?: number;
  /** Of `learned`: steps of 1024 tokens. Default 384. */
  readonly steps?: number;
  /**
   * Of `learned`: whether codes are trained beside their scales, which takes 16 bytes of each weight. Default: "trained" for types of
   * at most 5 bits, "fixed" for others.
   */
  readonly codes?: "trained" | "fixed";
  /** A file of text that the model and every variant are measured on when they are written. */
  readonly eval?: string;
  /** At most so many windows of it. */
  readonly eval_limit?: number;
  /** Replace what is there. */
  readonly overwrite?: boolean;
  /** Go on with what an interrupted run has left beside the output. */
  readonly resume?: boolean;
  readonly backend?: BackendName;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/** What is being done, and how far it is. */
export interface QuantizeEvent {
  readonly stage: "mix" | "calibrating" | "training" | "writing" | "measuring";
  /** Of which variant: "q4_k-gptq". */
  readonly variant: string;
  readonly done: number;
  readonly total: number;
}

/** How far a written matrix is from what it was. */
export interface TensorError {
  readonly name: string;
  readonly type: WeightType;
  /** ‖Ŵ - W‖ / ‖W‖, of some of its rows: where it was rounded. */
  readonly relative_error?: number;
  /** ‖ŴX - WX‖ / ‖WX‖ over the calibration data: where it was calibrated. */
  readonly output_error?: number;
}

/** On the evaluation text, beside the model as it was. Logarithms are natural. */
export interface Measured {
  readonly perplexity: number;
  readonly perplexity_se: number;
  readonly tokens: number;
  /** Mean of the log of perplexity / the original's over the same tokens, and its standard error. */
  readonly log_ratio: number;
  readonly log_ratio_se: number;
  readonly kl_mean: number;
  readonly kl_se: number;
  readonly kl_p99: number;
  /** Share of tokens for which both find the same token likeliest. */
  readonly top1: number;
}

export interface Variant {
  /** "q4_k-gptq" */
  readonly name: string;
  readonly to: QuantType;
  readonly method: QuantizeMethod;
  readonly path: string;
  readonly plan: QuantizePlan;
  /** Of the file or folder. */
  readonly file_bytes: number;
  readonly errors: readonly TensorError[];
  readonly measured?: Measured;
  readonly seconds: number;
  /** Most memory of the process while it was made, in bytes. */
  readonly peak_bytes: number;
  readonly notes: readonly string[];
  /** With `bits`: what was tried, and KL on the calibration data, predicted by the sum of the trials and measured. */
  readonly mix?: {
    readonly trials: readonly Trial[];
    readonly predicted_kl: number;
    readonly kl: number;
  };
}

export interface QuantizeResult {
  readonly variants: readonly Variant[];
  /** The model as it was, on the evaluation text. */
  readonly original?: { readonly perplexity: number; readonly bits_per_weight: number };
  /** Path of the report. */
  readonly report: string;
  readonly seconds: number;
}
