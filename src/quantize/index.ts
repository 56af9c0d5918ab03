/** pith/quantize: the same model in fewer bits. */
export { dryRunQuantize, type QuantizeDryRun } from "./dry-run.ts";
export { type PlannedTensor, planQuantization, type QuantizePlan } from "./plan.ts";
export { quantize } from "./quantize.ts";
export {
  type Measured,
  QUANTIZE_METHODS,
  type QuantizeEvent,
  type QuantizeMethod,
  type QuantizeOptions,
  type QuantizeResult,
  type TensorError,
  type Variant,
} from "./types.ts";
