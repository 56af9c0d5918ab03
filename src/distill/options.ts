// The options of a distillation: what they mean, their defaults, and what is wrong with them before anything is loaded.

import type { OpenedModel } from "../models/index.ts";
import { type EndpointOptions, isEndpoint } from "../remote/index.ts";
import type { TuneOptions } from "../train/index.ts";
import type { Distance, Mix } from "./programs.ts";
import { DISTILLATION_LOSSES, type DistillationLoss } from "./types.ts";

/** How far the making of a cache is. */
export interface CacheProgress {
  readonly tokens: number;
  readonly total: number;
  /** Of a learned token in the file. */
  readonly bytes_per_token: number;
}

export interface DistillOptions extends Omit<TuneOptions, "method" | "beta" | "label_smoothing"> {
  /**
   * A path, a hub name that is in the cache, or an opened model, which stays open; URLs of endpoints that serve one model.
   * Absent: a cache alone teaches; by the method "ternary" the student as it was.
   */
  readonly teacher?: string | OpenedModel;
  /** Settings of endpoints. */
  readonly endpoint?: EndpointOptions;
  /** A file of what the teacher says of the samples: made when it is not there, else used if it is of the same. */
  readonly cache?: string;
  /** Tokens of a position that the cache holds, or that endpoints are asked for. Default 64, of endpoints 20. */
  readonly top_k?: number;
  /** Told while the cache is made. */
  readonly onCache?: (progress: CacheProgress) => void;
  /** What is trained of the student. Default "full". */
  readonly method?: Exclude<TuneOptions["method"], "dpo">;
  /** Distance to the teacher. Default "forward_kl". */
  readonly loss?: DistillationLoss;
  /** Of jsd (default 0.5), skew_kl and skew_reverse_kl (0.1). */
  readonly beta?: number;
  /** Of both distributions. Default 1. */
  readonly temperature?: number;
  /** The distance times temperature². Default false. */
  readonly scale_temperature?: boolean;
  /** Loss = ce_weight · cross-entropy + kd_weight · distance. Default 0.5 each. */
  readonly ce_weight?: number;
  readonly kd_weight?: number;
  /**
   * Share of the samples of a step whose answers the student writes itself, for the teacher to judge. Default 0.5 where the
   * teacher is a model in this process, else 0.
   */
  readonly on_policy?: number;
  /** From which part of the run on. Default 0.75: what a student writes is worth judging when it can write. */
  readonly on_policy_from?: number;
  /** Distance to the teacher on its own text. Default: that of `loss`, but "reverse_kl" for "forward_kl". */
  readonly on_policy_loss?: DistillationLoss;
  /** Of what it writes. Default 1. */
  readonly on_policy_temperature?: number;
  /** Most tokens that it writes of a sample. Default: as many as the longest answer of the data has. */
  readonly max_tokens?: number;
}

/** What is going to be done. */
export interface Plan {
  readonly mix: Mix;
  /** Tokens of a position, where the teacher is asked for the likeliest ones. */
  readonly top_k: number | undefined;
  /** Absent: all text is given. */
  readonly on_policy?: {
    readonly share: number;
    readonly from: number;
    readonly temperature: number;
    readonly mix: Mix;
  };
}

/** Of each loss that has one. */
const BETA = { forward_kl: 0.5, reverse_kl: 0.5, jsd: 0.5, skew_kl: 0.1, skew_reverse_kl: 0.1 };
const ON_POLICY = { share: 0.5, from: 0.75 };

/** @throws {RangeError | TypeError} naming the option that is out of range, or that does not go with the others */
export function planOf(options: Partial<DistillOptions>): Plan {
  const { ce_weight = 0.5, kd_weight = 0.5, loss = "forward_kl", temperature = 1, top_k, teacher } = options;
  for (const [name, weight] of Object.entries({ ce_weight, kd_weight }))
    if (!(Number.isFinite(weight) && weight >= 0))
      throw new RangeError(`Cannot distill with ${name} ${weight}: wanted a number from 0`);
  if (ce_weight + kd_weight === 0)
    throw new RangeError("Cannot distill with ce_weight and kd_weight 0: nothing would be learned");
  if (top_k !== undefined && !(Number.isInteger(top_k) && top_k >= 1))
    throw new RangeError(`Cannot distill with top_k ${top_k}: wanted a whole number from 1`);
  const remote = typeof teacher === "string" && isEndpoint(teacher);
  if (remote && temperature !== 1)
    throw new RangeError(
      `Cannot distill from an endpoint at temperature ${temperature}: wanted 1, since endpoints tell the likeliest tokens at that alone`,
    );
  const mix = { ce: ce_weight, kd: kd_weight, distance: distanceOf(loss, options) };
  const local = teacher !== undefined && !remote;
  const { on_policy = local && kd_weight > 0 ? ON_POLICY.share : 0 } = options;
  const { on_policy_from: from = ON_POLICY.from, on_policy_temperature = 1 } = options;
  for (const [name, share] of Object.entries({ on_policy, on_policy_from: from }))
    if (!(share >= 0 && share <= 1))
      throw new RangeError(`Cannot distill with ${name} ${share}: wanted a share from 0 to 1`);
  if (on_policy === 0 || from === 1) return { mix, top_k };
  if (teacher === undefined)
    throw new TypeError(
      "Cannot let a student write its own text with a cache alone: wanted a teacher that judges it, or on_policy 0",
    );
  if (kd_weight === 0)
    throw new TypeError(
      "Cannot learn from the student's own text with kd_weight 0: its distance to the teacher is all that is learned of it",
    );
  if (!(on_policy_temperature >= 0 && on_policy_temperature <= 100))
    throw new RangeError(
      `Cannot distill with on_policy_temperature ${on_policy_temperature}: wanted a number from 0 to 100`,
    );
  const own = options.on_policy_loss ?? (loss === "forward_kl" ? "reverse_kl" : loss);
  return {
    mix,
    top_k,
    on_policy: {
      ...{ share: on_policy, from, temperature: on_policy_temperature },
      // A row counts as much as one of given text.
      mix: { ce: 0, kd: ce_weight + kd_weight, distance: distanceOf(own, options) },
    },
  };
}

function distanceOf(loss: DistillationLoss, options: Partial<DistillOptions>): Distance {
  const { temperature = 1, scale_temperature = false } = options;
  if (!DISTILLATION_LOSSES.includes(loss))
    throw new TypeError(
      `Cannot distill with the loss ${JSON.stringify(loss)}: wanted ${DISTILLATION_LOSSES.join(", ")}`,
    );
  const { beta = BETA[loss] } = options;
  if (!(beta > 0 && beta < 1))
    throw new RangeError(`Cannot distill with beta ${beta}: wanted a number between 0 and 1`);
  if (!(temperature > 0 && temperature <= 100))
    throw new RangeError(
      `Cannot distill with temperature ${temperature}: wanted a number above 0, up to 100`,
    );
  return { loss, beta, temperature, scale_temperature };
}
