// A variant on its way into its file: every parameter rounded as it is read, or taken from what a calibrated method has
// finished.

import { isQuantType } from "../engine/grids.ts";
import { weightBytes } from "../engine/weights.ts";
import type { Parameter } from "../models/convert.ts";
import { type OpenedModel, writeModel } from "../models/index.ts";
import type { RowSource } from "../models/rows.ts";
import { packedParameter, packing } from "./compressed-tensors.ts";
import type { PlannedTensor } from "./plan.ts";
import type { Setting, Wanted } from "./quantize.ts";
import { ErrorSum, roundedRows, valueOrder } from "./round.ts";
import type { Finished } from "./store.ts";
import type { TensorError } from "./types.ts";

/** What a method has found out before anything is written. */
export interface Chosen {
  /** Importance of columns, by matrix: rounding is weighted by it. */
  readonly importance?: ReadonlyMap<string, Float32Array>;
  /** Blocks and vectors that are written as they are. */
  readonly finished?: Finished;
  /** What there is to tell beside the plan's notes. */
  readonly notes?: readonly string[];
}

/** Writes a variant, and says how far its matrices are from what they were. */
export async function writeVariant(
  { model, options, backend, target, report, signal }: Setting,
  { name: variant, plan }: Wanted,
  { importance, finished }: Chosen,
): Promise<TensorError[]> {
  const sums = new Map<string, ErrorSum>();
  const planned = new Map(plan.tensors.map((tensor) => [tensor.name, tensor]));
  await writeModel(
    model,
    target.path(variant),
    {
      signal,
      overwrite: options.overwrite ?? false,
      onProgress: ({ bytes, totalBytes }) =>
        report({ stage: "writing", variant, done: bytes, total: totalBytes }),
    },
    async (rows) => ({
      config: model.config,
      ...(target.kind === "folder" && { quantization_config: packing(model, plan) }),
      parameters: rows.map((source): Parameter => {
        const { name } = source;
        const { type } = planned.get(name)!;
        const own = finished?.type(name) === undefined ? undefined : finishedRows(source, model, finished);
        const errors = new ErrorSum();
        if (!own && isQuantType(type) && source.type !== type) sums.set(name, errors);
        const pieces = (order: RowSource["order"]) =>
          roundedRows(own ?? source, order, model, backend, {
            type,
            importance: importance?.get(name),
            errors,
          });
        if (target.kind === "folder" && isQuantType(type))
          return packedParameter(source, type, () => pieces("hf"));
        return { source: own ?? source, natural: type, encoded: pieces };
      }),
    }),
  );
  return errorsOf(plan.tensors, sums, finished);
}

/** Rows of what a method has finished, in place of a parameter's own. */
function finishedRows(source: RowSource, model: OpenedModel, finished: Finished): RowSource {
  const { name, shape } = source;
  const type = finished.type(name)!;
  const width = weightBytes(type, shape.length > 1 ? shape.at(-1)! : 1);
  return {
    name,
    shape,
    type,
    order: valueOrder(source, model),
    read: (first, count) => finished.read(name, first * width, count * width),
  };
}

function errorsOf(
  tensors: readonly PlannedTensor[],
  sums: ReadonlyMap<string, ErrorSum>,
  finished: Finished | undefined,
): TensorError[] {
  return tensors.flatMap(({ name, type }): TensorError[] => {
    const output = finished?.errors.get(name);
    if (output) return [{ name, type, output_error: Math.sqrt(output.error) }];
    const sum = sums.get(name);
    return sum ? [{ name, type, relative_error: sum.relative }] : [];
  });
}
