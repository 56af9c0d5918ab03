// The steps that a recipe is made of: for each verb a function that takes its library options, with steps in place of paths.

import type { CompareOptions } from "../compare/index.ts";
import type { DistillOptions, NewStudent, RecursiveOptions, SynthesizeOptions } from "../distill/index.ts";
import type { OpenedModel } from "../models/index.ts";
import type { PruneOptions } from "../prune/index.ts";
import type { QuantizeOptions } from "../quantize/index.ts";
import type { ModelShape, ScratchOptions, TuneOptions } from "../train/index.ts";
import type { AverageStep, ConvertStep, EvaluateStep, FuseStep } from "./models.ts";
import type { Expectations, Figures, Input, Step } from "./recipe.ts";
import type { VerbName } from "./verbs.ts";

/** Options that a recipe sets itself. */
type Managed =
  | "out"
  | "resume"
  | "overwrite"
  | "signal"
  | "onPlan"
  | "onCache"
  | "availableMemory"
  | "adapter";

/** Paths become inputs; opened models cannot be written down. */
type WithSteps<T> = T extends string
  ? Input
  : T extends readonly string[]
    ? readonly Input[]
    : T extends OpenedModel
      ? never
      : T;

/** Options of a verb for a recipe: those of `Names` are paths. */
type Of<Options, Names extends string> = {
  readonly [K in keyof Omit<Options, Managed>]: K extends Names ? WithSteps<Options[K]> : Options[K];
};

interface Expecting {
  /** What the step's figures have to be; `pith make` fails where they are not. */
  readonly expect?: Expectations;
}

export type TrainStep = Of<ScratchOptions, "data" | "eval" | "tokenizer" | "config">;
export type TuneStep = Of<TuneOptions, "data" | "eval"> & { readonly model: Input };
export type DistillStep = Of<DistillOptions, "data" | "eval" | "teacher" | "cache"> & {
  /** A model, or one to be made. */
  readonly student: Input | (Omit<NewStudent, "config"> & { readonly config: Input | ModelShape });
};
export type RecursiveStep = Of<RecursiveOptions, "data" | "eval" | "calibration" | "task"> & {
  readonly model: Input;
};
export type PruneStep = Of<PruneOptions, "calibration"> & { readonly model: Input };
export type QuantizeStep = Of<QuantizeOptions, "calibration" | "eval"> & {
  readonly model: Input;
  /** "folder": compressed-tensors instead of a GGUF file. */
  readonly as?: "gguf" | "folder";
};
export type SynthesizeStep = Of<SynthesizeOptions, "seeds"> & { readonly teacher: Input };

export type CompareStep = Of<CompareOptions, "text" | "task"> & {
  /** Under the names that their figures get: "q4.decode", "q4.kl_mean", "q4.<task file>.f1". Distances are to the first. */
  readonly models: Readonly<Record<string, Input>>;
};

/** Named inputs of a step of one's own. */
export type Inputs = Readonly<Record<string, Input | readonly Input[]>>;

/** What a function of one's own is called with. */
export interface RunContext<I extends Inputs = Inputs, S = unknown> {
  /** Paths, under the names of the inputs. */
  readonly inputs: { readonly [K in keyof I]: I[K] extends readonly Input[] ? string[] : string };
  /** Figures of inputs that are one step. */
  readonly figures: { readonly [K in keyof I]?: Figures };
  readonly settings: S;
  /** The folder to write into: there, and empty. */
  readonly out: string;
  readonly signal: AbortSignal;
  /** Tells how far it is. */
  progress(done: number, total: number, text?: string): void;
}

export interface RunStep<I extends Inputs, S> {
  readonly inputs?: I;
  /** Plain data that the function is called with. */
  readonly settings?: S;
  /**
   * Files that its code is in, as paths or URLs (`import.meta.url`): when one changes, the step runs again. Without any, the
   * text of the function alone counts.
   */
  readonly sources?: readonly string[];
  /** Gives figures, if it has some. */
  readonly run: (
    context: RunContext<I, S>,
    // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing has this type
  ) => Promise<Figures | undefined | void> | Figures | undefined | void;
}

function make(verb: VerbName, given: object & Expecting): Step {
  const { expect, ...options } = given;
  const step: Step = {
    verb,
    options: options as Step["options"],
    ...(expect && { expect }),
    file: (name) => ({ step, file: name }),
  };
  return step;
}

/** The steps of recipes, by verb. Options are those of the library call of the same name; `out` is the recipe's. */
export const step = {
  /** A function of one's own, for what no verb does: preparing data, writing a card. It makes files in a folder. */
  run: <const I extends Inputs = Record<never, never>, const S = undefined>(
    options: RunStep<I, S> & Expecting,
  ): Step => make("run", options),
  /** A model from nothing: its folder. */
  train: (options: TrainStep & Expecting): Step => make("train", options),
  /** A tuned model or adapter: its folder. */
  tune: (options: TuneStep & Expecting): Step => make("tune", options),
  /** A student: its folder. */
  distill: (options: DistillStep & Expecting): Step => make("distill", options),
  /** Generations of students: a folder with generation-1 and so on. */
  distillRecursively: (options: RecursiveStep & Expecting): Step => make("distillRecursively", options),
  /** A smaller model: its folder. */
  prune: (options: PruneStep & Expecting): Step => make("prune", options),
  /** A GGUF file (or a folder); of several types or methods a folder of files such as q4_k-rtn.gguf. */
  quantize: (options: QuantizeStep & Expecting): Step => make("quantize", options),
  /** A file of samples. */
  synthesize: (options: SynthesizeStep & Expecting): Step => make("synthesize", options),
  /** A model with adapters merged into it: a GGUF file, or a folder. */
  fuse: (options: FuseStep & Expecting): Step => make("fuse", options),
  /** The mean of models of one training: a GGUF file, or a folder. */
  average: (options: AverageStep & Expecting): Step => make("average", options),
  /** A model in another form: a GGUF file, or a folder. */
  convert: (options: ConvertStep & Expecting): Step => make("convert", options),
  /** What a model is worth, as a file of JSON: with `expect` a check. */
  evaluate: (options: EvaluateStep & Expecting): Step => make("evaluate", options),
  /** Models side by side, speed and latency included: a file of JSON, and report.html beside it. */
  compare: (options: CompareStep & Expecting): Step => make("compare", options),
};
