// AWQ: input channels of a linear that carry much are made larger before rounding, and what is before them smaller, so that
// the model is the same function and its file a plain one. Source: Lin et al., arXiv 2306.00978; errors are measured by the
// moments of the inputs instead of by running the layer.

import type { Backend } from "../engine/backend.ts";
import type { QuantType } from "../engine/grids.ts";
import { dequantize } from "../engine/weights.ts";
import { type Fold, findFolds } from "./folds.ts";
import { productsOf, RowErrors } from "./moments.ts";
import type { LinearInput, PartVisit } from "./stream.ts";

/** Rounds rows of a matrix to blocks of its type. */
export type RoundRows = (
  type: QuantType,
  values: Float32Array,
  cols: number,
  importance?: Float32Array,
) => Promise<Uint8Array>;

/** Scales are the inputs' root mean squares to the power of i / GRID. */
const GRID = 20;
/** Rows of each linear that a scale is tried on. */
const TRIED_ROWS = 256;
const LEAST = 1e-4;
/** Shares of a row's largest weight beyond which it is cut. */
const CUTS = [0.95, 0.9, 0.85, 0.8, 0.7, 0.6];
/** Their outputs go through a softmax, which a cut of the largest weights changes most. */
const UNCUT = /\.(q_proj|k_proj|qkv_proj|c_attn)\.weight$/;

/** What becomes of a part's parameters before they are rounded. */
export interface Folded {
  /** Weight -> what its columns are multiplied with; absent: 1. */
  readonly columns: ReadonlyMap<string, Float32Array>;
  /** Weight -> what its rows are divided by; absent: 1. */
  readonly rows: ReadonlyMap<string, Float32Array>;
  /** Matrices and vectors with all factors applied. */
  readonly values: ReadonlyMap<string, Float32Array>;
  /** Of `values`, norms and biases. */
  readonly vectors: ReadonlySet<string>;
  /** Matrices whose columns could have been scaled, whether or not it helped. */
  readonly foldable: ReadonlySet<string>;
}

/**
 * Chooses the scales of a part and applies them.
 * @param types of the matrices that will be rounded; folds that touch others are left out
 */
export async function foldPart(
  visit: Pick<PartVisit, "nodes" | "inputs" | "parameters">,
  types: ReadonlyMap<string, QuantType>,
  read: (name: string) => Promise<Float32Array>,
  round: RoundRows,
  backend: Backend,
  signal?: AbortSignal,
): Promise<Folded> {
  const own = new Set(visit.parameters);
  const folds = findFolds(visit.nodes).filter(
    ({ linears, before, bias, from }) =>
      linears.every((name) => own.has(name) && types.has(name)) &&
      own.has(before) &&
      (bias === undefined || own.has(bias)) &&
      (types.has(before) || isVector(visit, before, from.length)),
  );
  const columns = new Map<string, Float32Array>();
  const rows = new Map<string, Float32Array>();
  const values = new Map<string, Float32Array>();
  const vectors = new Set<string>();
  const get = async (name: string) => {
    const found = values.get(name) ?? (await read(name));
    values.set(name, found);
    return found;
  };
  for (const fold of folds) {
    signal?.throwIfAborted();
    const input = visit.inputs.get(fold.linears[0]!)!;
    const scales = await chooseScales(fold, input, types, get, round, backend);
    if (!scales) continue;
    for (const name of fold.linears) {
      scaleColumns(await get(name), scales);
      columns.set(name, scales);
    }
    for (const name of [fold.before, ...(fold.bias === undefined ? [] : [fold.bias])]) {
      const found = await get(name);
      const width = types.has(name) ? visit.inputs.get(name)!.columns : 1;
      const by = divisors(found.length / width, fold.from, scales);
      for (let i = 0; i < found.length; i++) found[i]! /= by[Math.floor(i / width)]!;
      if (types.has(name)) rows.set(name, by);
      else vectors.add(name);
    }
  }
  const foldable = new Set(folds.flatMap(({ linears }) => linears));
  return { columns, rows, values, vectors, foldable };
}

/** A norm's weight: it is nobody's matrix. */
function isVector({ nodes }: Pick<PartVisit, "nodes">, name: string, length: number): boolean {
  const tensor = nodes.flatMap(({ inputs }) => inputs).find((t) => t.name === name);
  return tensor?.shape.length === 1 && tensor.shape[0] === length;
}

/** The power of the inputs' sizes with the least error of all linears together; undefined: 0, where nothing changes. */
async function chooseScales(
  { linears, from }: Fold,
  input: LinearInput,
  types: ReadonlyMap<string, QuantType>,
  get: (name: string) => Promise<Float32Array>,
  round: RoundRows,
  backend: Backend,
): Promise<Float32Array | undefined> {
  const K = input.columns;
  const parts = await Promise.all(
    linears.map(async (name) => ({ type: types.get(name)!, rows: someRows(await get(name), K) })),
  );
  const size = channelSizes(input.squares, from);
  const errors = new RowErrors(backend, productsOf(input), K, TRIED_ROWS);
  let best: { error: number; scales: Float32Array } | undefined;
  let plain = 0;
  try {
    for (let i = 0; i < GRID; i++) {
      const scales = normalized(size.map((x) => Math.max(x ** (i / GRID), LEAST)));
      let error = 0;
      for (const { type, rows } of parts)
        error += await errors.sum(await changed(type, rows, scales, input.squares, round));
      if (i === 0) plain = error;
      if (!best || error < best.error) best = { error, scales };
    }
  } finally {
    errors.free();
  }
  return best!.error < plain ? best!.scales : undefined;
}

/** Root of the mean square of each column's channel: columns of one row of what is before have one size. */
function channelSizes(squares: Float32Array, from: Int32Array): Float32Array {
  const length = from.reduce((most, row) => Math.max(most, row), 0) + 1;
  const [sums, counts] = [new Float64Array(length), new Float64Array(length)];
  from.forEach((row, c) => {
    sums[row]! += squares[c]!;
    counts[row]! += 1;
  });
  return Float32Array.from(from, (row) => Math.sqrt(sums[row]! / counts[row]!));
}

/** The largest and the least are as far from 1. */
function normalized(scales: Float32Array): Float32Array {
  let [least, most] = [Infinity, 0];
  for (const x of scales) [least, most] = [Math.min(least, x), Math.max(most, x)];
  const root = Math.sqrt(least * most);
  return scales.map((x) => x / root);
}

/** Q(W s) / s - W */
async function changed(
  type: QuantType,
  values: Float32Array,
  scales: Float32Array,
  squares: Float32Array,
  round: RoundRows,
): Promise<Float32Array> {
  const K = scales.length;
  const scaled = values.slice();
  scaleColumns(scaled, scales);
  const bytes = await round(
    type,
    scaled,
    K,
    squares.map((x, c) => x / scales[c]! ** 2),
  );
  const delta = new Float32Array(values.length);
  dequantize(type, bytes, delta);
  for (let i = 0; i < delta.length; i++) delta[i] = delta[i]! / scales[i % K]! - values[i]!;
  return delta;
}

/** Rows at equal distances. */
function someRows(values: Float32Array, K: number): Float32Array {
  const rows = values.length / K;
  if (rows <= TRIED_ROWS) return values;
  const out = new Float32Array(TRIED_ROWS * K);
  for (let r = 0; r < TRIED_ROWS; r++) {
    const from = Math.floor((r * rows) / TRIED_ROWS) * K;
    out.set(values.subarray(from, from + K), r * K);
  }
  return out;
}

function scaleColumns(values: Float32Array, scales: Float32Array): void {
  for (let i = 0; i < values.length; i++) values[i]! *= scales[i % scales.length]!;
}

/** Of each element of a vector, or row of a matrix, the scale of the columns that come from it. */
function divisors(length: number, from: Int32Array, scales: Float32Array): Float32Array {
  const by = new Float32Array(length).fill(1);
  from.forEach((row, c) => {
    by[row] = scales[c]!;
  });
  return by;
}

/**
 * Blocks of a scaled matrix, the largest weights of each row cut where that errs less: values [rows, K], columns times `scales`.
 */
export async function roundCut(
  name: string,
  type: QuantType,
  values: Float32Array,
  scales: Float32Array,
  squares: Float32Array,
  errors: RowErrors,
  round: RoundRows,
): Promise<Uint8Array> {
  const K = scales.length;
  const importance = squares.map((x, c) => x / scales[c]! ** 2);
  const best = await round(type, values, K, importance);
  if (UNCUT.test(name)) return best;
  const errorsOf = async (bytes: Uint8Array) => {
    const delta = new Float32Array(values.length);
    dequantize(type, bytes, delta);
    for (let i = 0; i < delta.length; i++) delta[i] = (delta[i]! - values[i]!) / scales[i % K]!;
    return errors.of(delta);
  };
  const least = await errorsOf(best);
  const width = best.length / least.length;
  for (const share of CUTS) {
    const cut = values.slice();
    for (let r = 0; r < least.length; r++) {
      const row = cut.subarray(r * K, (r + 1) * K);
      const limit = share * row.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      for (let c = 0; c < K; c++) row[c] = Math.min(limit, Math.max(-limit, row[c]!));
    }
    const bytes = await round(type, cut, K, importance);
    for (const [r, error] of (await errorsOf(bytes)).entries()) {
      if (!(error < least[r]!)) continue;
      least[r] = error;
      best.set(bytes.subarray(r * width, (r + 1) * width), r * width);
    }
  }
  return best;
}
