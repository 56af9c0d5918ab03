// The values of an adapter, ready for a backend: read, checked to be finite, q and k put into Hugging Face's order, and
// for DoRA the lengths of the base's rows taken from the model's own file.

import { availableMemory } from "../../engine/machine.ts";
import { quote } from "../../formats/errors.ts";
import { readTensorValues, type TensorInfo } from "../../formats/index.ts";
import { interleavedHeads, liesOtherwise, moveRows } from "../gguf-names.ts";
import { mib } from "../memory.ts";
import type { OpenedModel } from "../open.ts";
import { isFloat } from "../rows.ts";
import type { LinearTarget } from "../targets.ts";
import { checkAdapter, type LoraPair, type OpenedAdapter, rankOf, savedOf } from "./adapter.ts";
import { baseRows, tensorRows } from "./base-rows.ts";

/** What an adapter does to one linear, with its own scale but nobody's else. */
export type LoadedChange =
  | {
      /** [rank, K] */
      readonly a: Float32Array;
      /** [N, rank], without `scale` */
      readonly b: Float32Array;
      readonly rank: number;
      readonly scale: number;
      readonly dora?: Dora;
    }
  | { readonly replaced: Float32Array };

/**
 * DoRA: row n of W + s BA is stretched to the length magnitude[n]. ‖W_n + s (BA)_n‖² = w[n] + 2 s c[n] + s² d[n] for
 * every s, so that a scale needs no second look at W.
 */
export interface Dora {
  readonly magnitude: Float32Array;
  /** ‖W_n‖², W_n · (BA)_n, ‖(BA)_n‖² */
  readonly w: Float64Array;
  readonly c: Float64Array;
  readonly d: Float64Array;
}

/** An adapter in memory. */
export interface LoadedAdapter {
  readonly digest: string;
  readonly format: "peft" | "gguf";
  /** The largest of its pairs. */
  readonly rank: number;
  /** Bytes of its values, f32. */
  readonly bytes: number;
  /** By the path of the linear, in the order of the model. */
  readonly changes: ReadonlyMap<string, LoadedChange>;
}

/**
 * Checks an adapter against a model and reads its values.
 * @throws {RangeError | TypeError} naming the first tensor that does not fit, or that holds what is no number; and where
 *   it changes what is no linear, which only merging can do
 */
export async function loadAdapter(
  adapter: OpenedAdapter,
  model: OpenedModel,
  signal?: AbortSignal,
): Promise<LoadedAdapter> {
  const targets = checkAdapter(adapter, model);
  const cannot = (tensor: TensorInfo, what: string): never => {
    throw new TypeError(
      `Cannot attach ${JSON.stringify(adapter.name)}: tensor ${quote(tensor.name)} changes ${what}, wanted linears alone; pith fuse merges it into the model`,
    );
  };
  for (const { a } of adapter.embeddings.values()) cannot(a, "the embedding");
  checkMemory(adapter);
  const changes = new Map<string, LoadedChange>();
  for (const [path, target] of targets) {
    signal?.throwIfAborted();
    const pair = adapter.pairs.get(path);
    if (pair) changes.set(path, await loadPair(adapter, pair, path, target, model, signal));
  }
  for (const [name, tensor] of savedOf(adapter, model.definition)) {
    signal?.throwIfAborted();
    const path = name.replace(/\.weight$/, "");
    const isLinear = targets.has(path) && name.endsWith(".weight");
    // Embeddings are often saved along, as they were.
    if (await isAsInModel(tensor, isLinear ? targets.get(path)!.weight : name, model)) continue;
    if (!isLinear) cannot(tensor, quote(name));
    if (changes.has(path)) cannot(tensor, `${quote(path)}, which a low-rank pair changes too`);
    changes.set(path, { replaced: await finiteValues(tensor) });
  }
  let bytes = 0;
  for (const change of changes.values())
    bytes += 4 * ("replaced" in change ? change.replaced.length : change.a.length + change.b.length);
  return { digest: adapter.digest, format: adapter.format, rank: rankOf(adapter), bytes, changes };
}

/** Its values are held twice: as they are read, and in the backend's table. */
function checkMemory({ name, pairs, saved }: OpenedAdapter): void {
  const tensors = [...[...pairs.values()].flatMap(({ a, b }) => [a, b]), ...saved.values()];
  const values = tensors.reduce((sum, { shape }) => sum + shape.reduce((x, y) => x * y, 1), 0);
  const [needed, available] = [2 * 4 * values, availableMemory()];
  if (needed > available)
    throw new RangeError(
      `Cannot attach ${JSON.stringify(name)}: it needs ${mib(needed)}, but ${mib(available)} of memory is available; pith fuse merges it into the model`,
    );
}

/** A pair's values: A [rank, K] and B [N, rank] in Hugging Face's order of rows. */
export async function readPair(
  adapter: OpenedAdapter,
  { a, b }: LoraPair,
  path: string,
  { definition, config }: Pick<OpenedModel, "definition" | "config">,
): Promise<{ a: Float32Array; b: Float32Array }> {
  if (liesOtherwise(definition.gguf, config, path, adapter.format))
    throw new TypeError(
      `Cannot attach ${JSON.stringify(adapter.name)}: ${quote(path)} has its heads in another order in ${adapter.format} adapters than in this model, wanted both as GGUF or neither`,
    );
  const values = await finiteValues(b);
  const heads =
    adapter.format === "gguf" ? interleavedHeads(definition.gguf, config, `${path}.weight`) : undefined;
  if (heads === undefined) return { a: await finiteValues(a), b: values };
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return {
    a: await finiteValues(a),
    b: new Float32Array(moveRows(bytes, b.shape[0]!, heads, "hf").buffer),
  };
}

async function loadPair(
  adapter: OpenedAdapter,
  pair: LoraPair,
  path: string,
  target: LinearTarget,
  model: OpenedModel,
  signal: AbortSignal | undefined,
): Promise<LoadedChange> {
  const { rank, scale } = pair;
  const values = await readPair(adapter, pair, path, model);
  if (!pair.magnitude) return { ...values, rank, scale };
  const magnitude = await finiteValues(pair.magnitude);
  return { ...values, rank, scale, dora: await doraLengths(values, rank, magnitude, target, model, signal) };
}

/** ‖W_n‖², W_n · (BA)_n and ‖(BA)_n‖² of every row, in float64; W streams by. */
async function doraLengths(
  { a, b }: { a: Float32Array; b: Float32Array },
  rank: number,
  magnitude: Float32Array,
  target: LinearTarget,
  model: OpenedModel,
  signal: AbortSignal | undefined,
): Promise<Dora> {
  const { N, K } = target;
  const [w, c, d] = [new Float64Array(N), new Float64Array(N), new Float64Array(N)];
  const gram = new Float64Array(rank * rank); // A Aᵀ
  for (let i = 0; i < rank; i++)
    for (let j = 0; j <= i; j++) gram[i * rank + j] = gram[j * rank + i] = dot(a, i * K, a, j * K, K);
  const rows = baseRows(model, target.weight);
  for await (const { first, values } of rows.pieces(signal)) {
    for (let i = 0; i * K < values.length; i++) {
      const n = rows.hfRow(first + i);
      w[n] = dot(values, i * K, values, i * K, K);
      for (let j = 0; j < rank; j++) {
        const bj = b[n * rank + j]!;
        if (bj === 0) continue;
        c[n]! += bj * dot(a, j * K, values, i * K, K);
        d[n]! += bj * dot(gram, j * rank, b, n * rank, rank);
      }
    }
  }
  return { magnitude, w, c, d };
}

type Floats = Float32Array | Float64Array;

function dot(x: Floats, i: number, y: Floats, j: number, n: number): number {
  let sum = 0;
  for (let k = 0; k < n; k++) sum += x[i + k]! * y[j + k]!;
  return sum;
}

/** g = magnitude / ‖W + s BA‖ of every row. @throws {RangeError} where a row has no length */
export function doraFactors({ magnitude, w, c, d }: Dora, s: number, path: string): Float32Array {
  return Float32Array.from(magnitude, (m, n) => {
    const square = w[n]! + 2 * s * c[n]! + s * s * d[n]!;
    if (!(square > 0))
      throw new RangeError(
        `Cannot apply DoRA to ${quote(path)}: row ${n} of the base with its change has length 0, wanted more`,
      );
    return m / Math.sqrt(square);
  });
}

/** A tensor as f32. @throws {RangeError} naming it when a value is not finite */
export async function finiteValues(tensor: TensorInfo): Promise<Float32Array> {
  const values = await readTensorValues(tensor);
  for (let i = 0; i < values.length; i++)
    if (!Number.isFinite(values[i]!)) {
      const cols = tensor.shape.at(-1) ?? 1;
      const at = tensor.shape.length === 2 ? `${Math.floor(i / cols)}, ${i % cols}` : i;
      throw new RangeError(
        `Cannot read ${JSON.stringify(tensor.source.name)}: tensor ${quote(tensor.name)} holds ${values[i]} at [${at}], wanted finite numbers`,
      );
    }
  return values;
}

/**
 * Whether a whole tensor is the model's own, saved along: the same numbers, or for the copy that PEFT makes of a base
 * under an adapter the same up to the rounding of the model's type.
 * @param name of the parameter
 */
export async function isAsInModel(tensor: TensorInfo, name: string, model: OpenedModel): Promise<boolean> {
  const { type } = model.tensors.get(name)!;
  const tolerance = !tensor.name.includes(".base_layer.") ? 0 : isFloat(type) ? 2 ** -7 : 0.3;
  const rows = baseRows(model, name);
  let square = 0;
  let difference = 0;
  for await (const { first, values, count } of rows.pieces()) {
    const cols = values.length / count;
    const same = await tensorRows(
      tensor,
      cols,
      Array.from({ length: count }, (_, i) => rows.hfRow(first + i)),
    );
    for (let i = 0; i < values.length; i++) {
      square += values[i]! * values[i]!;
      difference += (values[i]! - same[i]!) ** 2;
    }
    if (tolerance === 0 && difference > 0) return false;
  }
  return difference <= tolerance ** 2 * square;
}
