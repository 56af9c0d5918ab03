// What pruning measures on: calibration data, and a part of it for what is measured again and again.

import { memoryNeeded, mib, type OpenedModel, weightShapes } from "../models/index.ts";
import {
  CALIBRATION_TOKENS,
  type CalibrationOptions as DataOptions,
  firstSamples,
  packItems,
  readCalibration as readData,
  type TrainBatch,
  type Calibration as Whole,
} from "../train/index.ts";

export interface CalibrationOptions extends DataOptions {
  /** Of the tokens, so many for every trial of a layer or size. Default 4096. */
  readonly trial_tokens?: number;
}

export interface Calibration extends Whole {
  /** A part of the batches, for what is measured again and again. */
  readonly trial: readonly TrainBatch[];
}

const DEFAULT_TRIAL_TOKENS = 4096;

/** @throws {SyntaxError | TypeError | RangeError} as `readSamples`, and on options that allow no token */
export async function readCalibration(
  model: OpenedModel,
  options: CalibrationOptions,
  signal: AbortSignal,
): Promise<Calibration> {
  const { tokens = CALIBRATION_TOKENS, trial_tokens = DEFAULT_TRIAL_TOKENS } = options;
  if (!(Number.isInteger(trial_tokens) && trial_tokens >= 1))
    throw new RangeError(
      `Cannot prune ${JSON.stringify(model.name)} with trial_tokens ${trial_tokens}: wanted a whole number, 1 or more`,
    );
  const data = await readData("prune", model, options, signal);
  return {
    ...data,
    trial: packItems(firstSamples(data.samples, Math.min(tokens, trial_tokens)), data.limits),
  };
}

/** @throws {RangeError} with both numbers, when weights and activations do not fit */
export function checkMemory(model: OpenedModel, { limits }: Calibration, available: number): void {
  const { ctx, tokens, sequences } = limits;
  // Rows of logits are in chunks, whatever their number.
  const sizes = { ctx, kv: "f32", cacheTokens: 1, T: tokens, R: 64, S: sequences } as const;
  const { total } = memoryNeeded(model.config, weightShapes(model), sizes);
  if (total > available)
    throw new RangeError(
      `Cannot prune ${JSON.stringify(model.name)}: to run it takes ${mib(total)}, but ${mib(available)} of memory is available`,
    );
}
