// Merging adapters into a model's weights: W' = W + s BA, with DoRA m (W + s BA) / ‖W + s BA‖ by rows, and whole tensors
// in place of the model's. Streamed by rows; what no adapter changes is copied bit for bit.

import { dequantize, isWritable, quantize, type WritableType } from "../../engine/weights.ts";
import { quote } from "../../formats/errors.ts";
import type { TensorInfo } from "../../formats/index.ts";
import type { Config } from "../config.ts";
import { type ConvertOptions, type ConvertResult, type Parameter, writeModel } from "../convert.ts";
import type { OpenedModel } from "../open.ts";
import { isFloat, type RowSource } from "../rows.ts";
import { checkAdapter, HEAD, type LoraPair, type OpenedAdapter, savedOf } from "./adapter.ts";
import { hfRows, tensorRows } from "./base-rows.ts";
import { finiteValues, isAsInModel, readPair } from "./load.ts";

export interface FuseOptions extends ConvertOptions {
  /** Merge into quantized weights too: they are rounded to their type again. */
  readonly requantize?: boolean;
}

/** One adapter to merge, and its scale beside its own alpha / rank. */
export interface AdapterToFuse {
  readonly adapter: OpenedAdapter;
  readonly scale?: number;
}

export interface FuseResult extends ConvertResult {
  /** Parameters that differ from the base's. */
  readonly changed: number;
  /** What writing the changed matrices in their type cost, where it is not f32. */
  readonly cost?: {
    readonly types: readonly WritableType[];
    /** ‖written − exact‖ / ‖exact‖, over all changed matrices. */
    readonly relative_error: number;
    /** ‖written − exact‖ / ‖exact − base‖: the rounding beside what the adapters change. */
    readonly error_to_change: number;
  };
}

/**
 * Merges adapters into a model, one after the other, and writes it as `convert` does.
 * @throws {TypeError} where a changed matrix is quantized and neither `requantize` nor a type of floats is asked for;
 *   others as `checkAdapter` and `convert`
 */
export async function fuse(
  model: OpenedModel,
  adapters: readonly AdapterToFuse[],
  out: string,
  options: FuseOptions = {},
): Promise<FuseResult> {
  for (const { scale = 1 } of adapters)
    if (!Number.isFinite(scale)) throw new RangeError(`Cannot merge with scale ${scale}: wanted a number`);
  const cost = new Cost();
  let changed = 0;
  const result = await writeModel(model, out, options, async (rows) => {
    const merge = await planMerge(model, adapters);
    const parameters = [...model.definition.params(merge.config).keys()].map((name): Parameter => {
      const own = rows.find((row) => row.name === (merge.sourceOf.get(name) ?? name));
      if (!own)
        throw new TypeError(`Cannot merge into ${JSON.stringify(model.name)}: it has no ${quote(name)}`);
      const steps = merge.steps.get(name) ?? [];
      const saved = merge.saved.get(name);
      const base: RowSource = saved ? savedRows(saved, { ...own, name }) : { ...own, name };
      if (saved || steps.length > 0) changed++;
      if (steps.length === 0) return { source: base, natural: base.type };
      if (!isFloat(base.type) && !options.requantize && !options.type)
        throw new TypeError(
          `Cannot merge into ${JSON.stringify(model.name)}: tensor ${quote(name)} is ${base.type}, wanted f32, f16 or bf16; every changed weight would be rounded once more: ask for that with requantize (--requantize), or for floats with a type (--type f16), or keep the adapter apart (--adapter)`,
        );
      let type: WritableType = "f32";
      const source = mergedRows(base, steps, model, (base, exact) => cost.add(type, base, exact));
      // What can only be read is written as q8_0.
      const natural = isWritable(base.type) ? base.type : "q8_0";
      return { source, natural, onType: (t) => (type = t as WritableType) };
    });
    return { config: merge.config, parameters };
  });
  return { ...result, changed, ...cost.result() };
}

/** A low-rank change of one parameter. */
interface Step {
  readonly scale: number;
  readonly rank: number;
  /** A [rank, cols], B [rows, rank] in Hugging Face's order, magnitude [rows]. */
  read(): Promise<{ a: Float32Array; b: Float32Array; magnitude?: Float32Array }>;
}

interface Merge {
  /** Of the result: a head that no longer is the embedding is not tied. */
  readonly config: Config;
  /** By the parameter's name. */
  readonly steps: Map<string, Step[]>;
  readonly saved: Map<string, TensorInfo>;
  /** Parameter -> the base's parameter that it begins as, where it has another name. */
  readonly sourceOf: Map<string, string>;
}

async function planMerge(model: OpenedModel, adapters: readonly AdapterToFuse[]): Promise<Merge> {
  const steps = new Map<string, Step[]>();
  const saved = new Map<string, TensorInfo>();
  const sourceOf = new Map<string, string>();
  const add = (name: string, step: Step) => steps.set(name, [...(steps.get(name) ?? []), step]);
  let config = model.config;
  let tiesSaved = false;
  for (const { adapter, scale = 1 } of adapters) {
    const targets = checkAdapter(adapter, model);
    const head = targets.get(HEAD);
    if (head && head.weight !== `${HEAD}.weight`) sourceOf.set(`${HEAD}.weight`, head.weight);
    for (const [path, pair] of adapter.pairs)
      add(`${path}.weight`, stepOf(adapter, pair, path, scale, model));
    for (const [path, pair] of adapter.embeddings) add(`${path}.weight`, embeddingStep(pair, scale));
    for (const [name, tensor] of savedOf(adapter, model.definition)) {
      if (await isAsInModel(tensor, sourceOf.get(name) ?? name, model)) continue;
      if (saved.has(name))
        throw new RangeError(
          `Cannot merge ${JSON.stringify(adapter.name)}: tensor ${quote(tensor.name)} replaces ${quote(name)}, which another adapter replaces, wanted one that does`,
        );
      saved.set(name, tensor);
      tiesSaved ||= adapter.tiesSaved;
    }
  }
  const tied = sourceOf.get(`${HEAD}.weight`);
  if (tied !== undefined) {
    const touched = (name: string) => steps.has(name) || saved.has(name);
    if (tiesSaved && !steps.has(tied) && !steps.has(`${HEAD}.weight`)) saved.delete(`${HEAD}.weight`);
    else if (touched(tied) || touched(`${HEAD}.weight`)) config = untied(model);
  }
  return { config, steps, saved, sourceOf };
}

/** The head gets a weight of its own: one of the two is changed alone. */
function untied(model: OpenedModel): Config {
  const config = { ...model.config, tie_word_embeddings: false };
  if (model.definition.params(config).has(`${HEAD}.weight`)) return config;
  throw new TypeError(
    `Cannot merge into ${JSON.stringify(model.name)}: its output head is its embedding, which cannot change alone in a ${config.model_type} model`,
  );
}

function stepOf(
  adapter: OpenedAdapter,
  pair: LoraPair,
  path: string,
  scale: number,
  model: OpenedModel,
): Step {
  return {
    scale: scale * pair.scale,
    rank: pair.rank,
    async read() {
      const values = await readPair(adapter, pair, path, model);
      return pair.magnitude ? { ...values, magnitude: await finiteValues(pair.magnitude) } : values;
    },
  };
}

/** ΔE [V, C] = scale (B A)ᵀ with A [r, V] and B [C, r]: the same with Bᵀ for A and Aᵀ for B. */
function embeddingStep({ a, b, rank, scale, magnitude }: LoraPair, times: number): Step {
  if (magnitude)
    throw new TypeError(
      `Cannot merge tensor ${quote(magnitude.name)}: DoRA of an embedding is not implemented, wanted LoRA`,
    );
  return {
    scale: times * scale,
    rank,
    async read() {
      return {
        a: transposed(await finiteValues(b), b.shape[0]!, rank),
        b: transposed(await finiteValues(a), rank, a.shape[1]!),
      };
    },
  };
}

function transposed(values: Float32Array, rows: number, cols: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = values[i * cols + j]!;
  return out;
}

/** The rows of a tensor that replaces a parameter, for which `base` is the model's. */
function savedRows(tensor: TensorInfo, { name, shape }: RowSource): RowSource {
  const cols = shape.length > 1 ? shape.at(-1)! : 1;
  return {
    name,
    shape,
    type: "f32",
    order: "hf",
    async read(first, count) {
      if (first === 0) await finiteValues(tensor);
      const rows = Array.from({ length: count }, (_, i) => first + i);
      return new Uint8Array((await tensorRows(tensor, cols, rows)).buffer);
    },
  };
}

/** The rows of a parameter with its changes, as f32. */
function mergedRows(
  base: RowSource,
  steps: readonly Step[],
  model: OpenedModel,
  onRows: (base: Float32Array, exact: Float32Array) => void,
): RowSource {
  const [rows, cols] = base.shape as [number, number];
  const hfRow = hfRows(base, model);
  let loaded: (Step & Awaited<ReturnType<Step["read"]>>)[] = [];
  return {
    ...base,
    type: "f32",
    async read(first, count) {
      if (loaded.length === 0)
        loaded = await Promise.all(steps.map(async (step) => ({ ...step, ...(await step.read()) })));
      const before = new Float32Array(count * cols);
      dequantize(base.type, await base.read(first, count), before);
      const after = new Float32Array(count * cols);
      const delta = new Float64Array(cols);
      for (let i = 0; i < count; i++) {
        const n = hfRow(first + i);
        const row = Float64Array.from(before.subarray(i * cols, (i + 1) * cols));
        for (const { a, b, rank, scale, magnitude } of loaded) {
          delta.fill(0);
          for (let j = 0; j < rank; j++) {
            const factor = scale * b[n * rank + j]!;
            if (factor !== 0) for (let k = 0; k < cols; k++) delta[k]! += factor * a[j * cols + k]!;
          }
          let stretch = 1;
          if (magnitude) {
            let square = 0;
            for (let k = 0; k < cols; k++) square += (before[i * cols + k]! + delta[k]!) ** 2;
            if (!(square > 0))
              throw new RangeError(
                `Cannot merge DoRA into ${quote(base.name)}: row ${n} of the base with its change has length 0, wanted more`,
              );
            stretch = magnitude[n]! / Math.sqrt(square);
          }
          for (let k = 0; k < cols; k++) row[k] = stretch * (row[k]! + delta[k]!);
        }
        after.set(row, i * cols);
      }
      if (first + count === rows) loaded = []; // read in order: the next is another parameter
      onRows(before, after);
      return new Uint8Array(after.buffer);
    },
  };
}

/** Sums of squares over all that was merged. */
class Cost {
  readonly #types = new Set<WritableType>();
  #error = 0;
  #exact = 0;
  #change = 0;

  add(type: WritableType, base: Float32Array, exact: Float32Array): void {
    if (type === "f32") return;
    this.#types.add(type);
    const written = new Float32Array(exact.length);
    dequantize(type, quantize(type, exact), written);
    for (let i = 0; i < exact.length; i++) {
      this.#error += (written[i]! - exact[i]!) ** 2;
      this.#exact += exact[i]! ** 2;
      this.#change += (exact[i]! - base[i]!) ** 2;
    }
  }

  result(): Pick<FuseResult, "cost"> {
    if (this.#types.size === 0) return {};
    const ratio = (to: number) => (to > 0 ? Math.sqrt(this.#error / to) : 0);
    return {
      cost: {
        types: [...this.#types],
        relative_error: ratio(this.#exact),
        error_to_change: ratio(this.#change),
      },
    };
  }
}
