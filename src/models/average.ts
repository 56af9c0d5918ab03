// The mean of several models' weights, "model soup": W = Σ wᵢ Wᵢ / Σ wᵢ, in float64 (Wortsman et al. 2022, arXiv:2203.05482).
// Streamed by rows.

import { dequantize } from "../engine/weights.ts";
import { quote } from "../formats/errors.ts";
import { differingToken } from "../tokenizer/index.ts";
import { type ConvertOptions, type ConvertResult, type Parameter, writeModel } from "./convert.ts";
import { checkTensors, type OpenedModel } from "./open.ts";
import { isFloat, parameterRows, type RowSource } from "./rows.ts";

/** One of the models, and how much it counts beside the others: 1 where nothing is said. */
export interface ModelToAverage {
  readonly model: OpenedModel;
  readonly weight?: number;
}

export interface AverageResult extends ConvertResult {
  /**
   * ‖Wᵢ − mean‖ / ‖mean‖ of each model, over all matrices. Runs that went on from one model are at a tenth or so; models that
   * never had weights in common are at 1 (two of them) and beyond, and their mean is good for nothing.
   */
  readonly distances: readonly number[];
}

/**
 * Writes the mean of models of one shape, as `convert` does; config, tokenizer and templates are the first one's.
 * @throws {RangeError} for fewer than two models, or weights that are no positive numbers
 * @throws {TypeError} where a model differs from the first in shape, vocabulary, or kind of file, naming what differs; for blocks
 *   of a quantized one, unless floats are asked for with `type`. Others as `convert`
 */
export async function average(
  models: readonly ModelToAverage[],
  out: string,
  options: ConvertOptions = {},
): Promise<AverageResult> {
  const [first] = models;
  if (!first || models.length < 2)
    throw new RangeError(`Cannot average ${models.length} models: wanted at least two`);
  for (const { model, weight = 1 } of models)
    if (!(weight > 0 && Number.isFinite(weight)))
      throw new RangeError(
        `Cannot average ${JSON.stringify(model.name)} with the weight ${weight}: wanted a number above 0`,
      );
  for (const { model } of models.slice(1)) await checkAlike(first.model, model);
  const total = models.reduce((sum, { weight = 1 }) => sum + weight, 0);
  const shares = models.map(({ weight = 1 }) => weight / total);
  const moved = models.map(() => 0);
  let length = 0;
  const onRows: OnRows = (mean, each) => {
    for (let i = 0; i < mean.length; i++) length += mean[i]! ** 2;
    each.forEach((values, m) => {
      let sum = 0;
      for (let i = 0; i < mean.length; i++) sum += (values[i]! - mean[i]!) ** 2;
      moved[m]! += sum;
    });
  };
  const result = await writeModel(first.model, out, options, async (rows) => {
    const others = models.slice(1).map(({ model }) => {
      checkTensors(model);
      return new Map(parameterRows(model).map((row) => [row.name, row]));
    });
    const parameters = rows.map((own): Parameter => {
      const sources = [own, ...others.map((all) => all.get(own.name)!)];
      for (const [m, { type }] of sources.entries())
        if (!isFloat(type) && !options.type)
          throw new TypeError(
            `Cannot average ${JSON.stringify(models[m]!.model.name)}: tensor ${quote(own.name)} is ${type}, wanted f32, f16 or bf16; ask for floats with a type (--type f16)`,
          );
      return { source: meanRows(sources, shares, onRows), natural: own.type };
    });
    return { config: first.model.config, parameters };
  });
  return { ...result, distances: moved.map((sum) => (length > 0 ? Math.sqrt(sum / length) : 0)) };
}

type OnRows = (mean: Float64Array, each: readonly Float32Array[]) => void;

/** The rows' mean, as f32. */
function meanRows(sources: readonly RowSource[], shares: readonly number[], onRows: OnRows): RowSource {
  const [own] = sources as [RowSource];
  const cols = own.shape.length > 1 ? own.shape.at(-1)! : 1;
  return {
    ...own,
    type: "f32",
    async read(first, count) {
      const each = await Promise.all(
        sources.map(async (source) => {
          const values = new Float32Array(count * cols);
          dequantize(source.type, await source.read(first, count), values);
          return values;
        }),
      );
      const mean = Float64Array.from(each[0]!, (x) => shares[0]! * x);
      each.slice(1).forEach((values, m) => {
        for (let i = 0; i < mean.length; i++) mean[i]! += shares[m + 1]! * values[i]!;
      });
      if (own.shape.length > 1) onRows(mean, each);
      return new Uint8Array(Float32Array.from(mean).buffer);
    },
  };
}

/** A mean is one only of weights that mean the same. @throws {TypeError} naming what differs */
async function checkAlike(first: OpenedModel, other: OpenedModel): Promise<void> {
  const differ = (what: string, found: unknown, wanted: unknown): never => {
    throw new TypeError(
      `Cannot average ${JSON.stringify(other.name)} with ${JSON.stringify(first.name)}: its ${what} is ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`,
    );
  };
  if (other.kind !== first.kind) differ("kind of file", other.kind, first.kind);
  // What ends a text and how long it may be is no matter of the weights.
  const shapeOf = ({ config }: OpenedModel): Record<string, unknown> => {
    const { eos_token_id, bos_token_id, pad_token_id, max_position_embeddings, ...shape } = config;
    return shape;
  };
  const [has, wants] = [shapeOf(other), shapeOf(first)];
  for (const name of new Set([...Object.keys(wants), ...Object.keys(has)]))
    if (JSON.stringify(has[name]) !== JSON.stringify(wants[name])) differ(name, has[name], wants[name]);
  const [ids, own] = await Promise.all([other.tokenizer(), first.tokenizer()]);
  const token = differingToken(ids, own);
  if (token) differ(`token ${token.id}`, token.names[0] ?? "nothing", token.names[1] ?? "nothing");
}
