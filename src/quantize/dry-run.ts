// All of a quantization but the work: which type every tensor would get, how large all would be, and what memory it takes.

import type { QuantType } from "../engine/grids.ts";
import { availableMemory } from "../engine/machine.ts";
import type { OpenedModel } from "../models/index.ts";
import { withModel } from "../train/index.ts";
import { type QuantizeMemory, quantizeMemory } from "./memory.ts";
import type { QuantizePlan } from "./plan.ts";
import { wantedOf } from "./quantize.ts";
import type { QuantizeMethod, QuantizeOptions } from "./types.ts";

export interface QuantizeDryRun {
  readonly variants: readonly {
    readonly name: string;
    readonly to: QuantType;
    readonly method: QuantizeMethod;
    readonly plan: QuantizePlan;
    readonly memory: QuantizeMemory;
  }[];
  /** Bytes that this process may still take. */
  readonly available: number;
}

/** Checks what `quantize` would refuse before it computes, reads headers only, and writes nothing. Errors as `quantize`. */
export function dryRunQuantize(
  model: string | OpenedModel,
  options: QuantizeOptions,
): Promise<QuantizeDryRun> {
  return withModel(model, async (opened) => {
    const { wanted } = wantedOf(opened, options);
    return {
      variants: wanted.map((one) => ({
        ...one,
        memory: quantizeMemory(opened, one.plan, one.method, options),
      })),
      available: availableMemory(),
    };
  });
}
