/** pith/recipe: a whole pipeline as a file, of which only what changed is made. */
export { dryRunMake, type PlannedStep } from "./dry-run.ts";
export { type MadeStep, type MakeEvent, type MakeResult, make } from "./make.ts";
export type { ConvertStep, EvaluateStep, FuseStep } from "./models.ts";
export { findRecipe, openRecipe } from "./open.ts";
export type { MakeOptions } from "./plan.ts";
export {
  type Bounds,
  defineRecipe,
  type Expectations,
  type Figures,
  type Input,
  type Recipe,
  type Step,
  type StepFile,
} from "./recipe.ts";
export {
  type CompareStep,
  type DistillStep,
  type Inputs,
  type PruneStep,
  type QuantizeStep,
  type RecursiveStep,
  type RunContext,
  type RunStep,
  type SynthesizeStep,
  step,
  type TrainStep,
  type TuneStep,
} from "./steps.ts";
