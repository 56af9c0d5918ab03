// Quantized weights that are trained: scales and minima of a block type's grid, over codes that stay or that are trained
// straight through, and the norms and biases beside them. What a program computes with is what the blocks will hold.
// N, K: output and input features of a matrix · G, S: groups and blocks of a row

import { type Backend, type Storage, weightOfBytes } from "../../engine/backend.ts";
import {
  GRIDS,
  isQuantType,
  type Parts,
  packParts,
  type QuantType,
  unpackParts,
} from "../../engine/grids.ts";
import { f16ToF32, f32ToF16 } from "../../engine/half.ts";
import { add, matmul_nt, mul, round_half, scale_groups } from "../../engine/nn.ts";
import { nearestCode } from "../../engine/ops/quantization.ts";
import type { Recorder, Tensor } from "../../engine/tensor.ts";
import { type WeightType, weightBytes } from "../../engine/weights.ts";
import {
  HEAD,
  linearTargets,
  loadWeight,
  type Module,
  type OpenedModel,
  parameterValues,
  plainModule,
} from "../../models/index.ts";
import { count, freeTrainable, type Trainable, type TrainedParameter } from "../trainable.ts";

/** A matrix as blocks, rows in Hugging Face's order. */
export interface QuantizedMatrix {
  readonly type: WeightType;
  readonly bytes: Uint8Array;
}

export interface QuantizedOptions {
  /**
   * Whether the codes of a matrix are trained, by its type: then each weight takes 16 bytes more, for its value in codes, its gradient
   * and two moments. Absent: none.
   */
  readonly codes?: (type: QuantType) => boolean;
  /**
   * Whether embeddings and the output head are trained, too, by their type; others stay as their blocks are. Default: all.
   */
  readonly embeddings?: (type: QuantType) => boolean;
  /** Norms and biases are trained. Default true. */
  readonly vectors?: boolean;
  /** Learning rates of the parts beside the run's. Default: `RATIOS`. */
  readonly ratios?: Partial<Ratios>;
  readonly signal?: AbortSignal;
}

export interface Ratios {
  /** Of scales, in shares of what they were, for a grid of 16 levels: more with less levels, so that codes at the end move as far. */
  readonly scales: number;
  /** Of minima and of codes, in steps of the scale. */
  readonly mins: number;
  readonly codes: number;
  /** Of norms and biases. */
  readonly vectors: number;
}
export const RATIOS: Ratios = { scales: 1, mins: 4, codes: 0.2, vectors: 1 };
const LEVELS = 16;

export interface QuantizedTrainable extends QuantizedDescription, Trainable {
  /** Blocks of the matrices that were trained: exactly what the programs compute with. */
  blocks(read: (name: string) => Float32Array): Map<string, QuantizedMatrix>;
  /** Norms and biases that were trained. */
  values(read: (name: string) => Float32Array): Map<string, Float32Array>;
}

/** A matrix that is trained. */
interface Described {
  readonly name: string;
  readonly type: QuantType;
  readonly N: number;
  readonly K: number;
  /** Its codes are trained, too. */
  readonly codes: boolean;
}
interface Matrix extends Described {
  readonly parts: Parts;
}

/** Names of storages: what is trained, and what it starts from. */
type TrainedPart = "codes" | "d" | "scales" | "mins";
type FirstPart = TrainedPart | "dmin" | "unit";
const trainedName = (name: string, part: TrainedPart) => `${name}:${part}`;
const firstName = (name: string, part: FirstPart) => `${name}:first ${part}`;

/** All of a trainable but its memory: which parameters are trained, and how programs see the model. */
export interface QuantizedDescription extends Omit<Trainable, "storages"> {
  readonly matrices: ReadonlyMap<string, Described>;
  /** Names of the norms and biases that are trained. */
  readonly trainedVectors: readonly string[];
  /** Bytes of what is trained, of what it starts from and of frozen matrices. */
  readonly bytes: number;
}

/** @param types of the matrices that are blocks */
export function describeQuantized(
  { definition, config }: Pick<OpenedModel, "definition" | "config">,
  types: ReadonlyMap<string, WeightType>,
  { codes, embeddings, vectors = true, ratios: given = {} }: QuantizedOptions = {},
): QuantizedDescription {
  const ratios = { ...RATIOS, ...given };
  const linears = new Set<string>();
  for (const [path, { weight }] of linearTargets(definition, config)) if (path !== HEAD) linears.add(weight);
  const trained = new Map<string, TrainedParameter>();
  const matrices = new Map<string, Described>();
  const trainedVectors: string[] = [];
  let bytes = 0;
  const learn = (name: string, shape: readonly number[], lr_ratio: number) => {
    trained.set(name, { shape, lr_ratio });
    bytes += 4 * count(shape);
  };
  for (const [name, shape] of definition.params(config)) {
    const type = types.get(name);
    const elements = count(shape);
    if (shape.length === 1 && !definition.constant?.(name) && vectors) {
      learn(name, shape, ratios.vectors);
      trainedVectors.push(name);
    } else if (!type || !isQuantType(type) || !(linears.has(name) || (embeddings?.(type) ?? true)))
      bytes += type ? weightBytes(type, elements) : 4 * elements;
    else {
      const [N, K] = shape as [number, number];
      const { group, block, levels, min, scales, mins } = GRIDS[type];
      const [groups, supers] = [
        [N, K / group],
        [N, K / block],
      ];
      const share = (ratios.scales * LEVELS) / levels;
      const own = codes?.(type) ?? false;
      matrices.set(name, { name, type, N, K, codes: own });
      learn(trainedName(name, "d"), supers, share);
      if (scales) learn(trainedName(name, "scales"), groups, share);
      if (min) learn(trainedName(name, "mins"), groups, ratios.mins);
      if (own) learn(trainedName(name, "codes"), shape, ratios.codes);
      else bytes += weightBytes("q8_0", elements);
      bytes += 4 * (count(supers) * (mins ? 2 : 1) + count(groups) * ((scales ? 1 : 0) + (min ? 2 : 0)));
    }
  }
  const described = { definition, config, trained, matrices, trainedVectors, bytes };
  return { ...described, module: (g) => quantizedModule(g, { definition, config }, matrices) };
}

/**
 * A model whose matrices are blocks, to be trained. A scale is d t, t from 1; a minimum m + s u, u from 0 (s: the scale of its
 * group), so one learning rate suits all. Where scales are whole numbers times d, what they become is rounded to such
 * numbers, straight through, and where d is f16, to that.
 * @param blocks by parameter; a matrix without stays as the model has it, and one of a type without a grid as its blocks are
 * @throws {RangeError} when blocks are not as many as the matrix has
 */
export async function quantizedTrainable(
  model: OpenedModel,
  backend: Backend,
  blocks: ReadonlyMap<string, QuantizedMatrix>,
  options: QuantizedOptions = {},
): Promise<QuantizedTrainable> {
  const { definition, config } = model;
  const types = new Map([...blocks].map(([name, { type }]) => [name, type]));
  const described = describeQuantized(model, types, options);
  const { trained } = described;
  const storages = new Map<string, Storage>();
  const matrices = new Map<string, Matrix>();
  const dense = (name: string, shape: readonly number[], values: Float32Array) =>
    storages.set(name, backend.dense("f32", shape, values));
  try {
    for (const [name, shape] of definition.params(config)) {
      options.signal?.throwIfAborted();
      const given = blocks.get(name);
      const found = described.matrices.get(name);
      if (trained.has(name)) dense(name, shape, await parameterValues(model, name));
      else if (!given) storages.set(name, await loadWeight(model, backend, name, options.signal));
      else if (!found) storages.set(name, await weightOfBytes(backend, name, shape, given));
      else {
        const matrix = { ...found, parts: unpackParts(found.type, given.bytes, found.N * found.K) };
        matrices.set(name, matrix);
        for (const [name, { shape, values }] of await startOf(matrix, model)) dense(name, shape, values);
        if (!matrix.codes)
          storages.set(
            firstName(name, "codes"),
            await weightOfBytes(backend, name, shape, wholeNumbers(matrix)),
          );
      }
    }
  } catch (error) {
    freeTrainable({ storages });
    throw error;
  }
  return {
    ...described,
    storages,
    blocks: (read) =>
      new Map(
        [...matrices].map(([name, m]) => [
          name,
          { type: m.type, bytes: packParts(m.type, learned(m, read)) },
        ]),
      ),
    values: (read) => new Map(described.trainedVectors.map((name) => [name, read(name)])),
  };
}

/** Dense storages of a matrix, by name. */
async function startOf(
  matrix: Matrix,
  model: OpenedModel,
): Promise<Map<string, { shape: readonly number[]; values: Float32Array }>> {
  const { name, type, N, K, parts } = matrix;
  const { group, block, min, scales, mins } = GRIDS[type];
  const [groups, supers] = [
    [N, K / group],
    [N, K / block],
  ];
  const all = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  const first = (part: FirstPart, shape: readonly number[], values: Float32Array) =>
    all.set(firstName(name, part), { shape, values });
  const start = (part: TrainedPart, shape: readonly number[], value: number) =>
    all.set(trainedName(name, part), { shape, values: new Float32Array(count(shape)).fill(value) });
  first("d", supers, parts.d);
  start("d", supers, 1);
  if (scales) {
    first("scales", groups, Float32Array.from(parts.scales!));
    start("scales", groups, 1);
  }
  if (min) {
    const from = minima(matrix);
    first("mins", groups, from.mins);
    first("unit", groups, from.unit);
    if (mins) first("dmin", supers, parts.dmin!);
    start("mins", groups, 0);
  }
  if (matrix.codes) {
    const values = latent(matrix, await parameterValues(model, name));
    all.set(trainedName(name, "codes"), { shape: [N, K], values });
  }
  return all;
}

/** Codes less their zero as a weight of eight bits, whose scale is 1. */
function wholeNumbers({ type, parts: { codes } }: Matrix): QuantizedMatrix {
  const { zero } = GRIDS[type];
  const bytes = new Uint8Array((codes.length / 32) * 34);
  for (let i = 0, b = 0; i < codes.length; i += 32, b += 34) {
    bytes[b + 1] = 0x3c; // 1 in f16
    for (let j = 0; j < 32; j++) bytes[b + 2 + j] = codes[i + j]! - zero;
  }
  return { type: "q8_0", bytes };
}

/** The minima of groups in what they are rounded to, and what a step of the group's scale is in that. */
function minima({ type, parts }: Matrix): { mins: Float32Array; unit: Float32Array } {
  const { group, block } = GRIDS[type];
  const each = block / group;
  const dmin = parts.dmin!;
  const n = dmin.length * each;
  const mins = new Float32Array(n);
  const unit = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const at = Math.floor(i / each);
    const scale = parts.d[at]! * (parts.scales ? parts.scales[i]! : 1);
    mins[i] = parts.mins ? parts.mins[i]! : dmin[at]!;
    unit[i] = !parts.mins ? scale : dmin[at] === 0 ? 0 : scale / dmin[at]!;
  }
  return { mins, unit };
}

/** Where values lie between codes; within half of the code that was chosen for them. */
function latent({ type, parts }: Matrix, values: Float32Array): Float32Array {
  const { group, block, zero } = GRIDS[type];
  const each = block / group;
  const { codes, d, scales, dmin, mins } = parts;
  return values.map((x, i) => {
    const g = Math.floor(i / group);
    const at = Math.floor(g / each);
    const scale = d[at]! * (scales ? scales[g]! : 1);
    const min = dmin ? dmin[at]! * (mins ? mins[g]! : 1) : 0;
    const code = codes[i]! - zero;
    if (scale === 0) return code;
    return Math.max(code - WITHIN, Math.min(code + WITHIN, (x + min) / scale));
  });
}

const WITHIN = 0.499;

function quantizedModule(
  g: Recorder,
  { definition, config }: Pick<OpenedModel, "definition" | "config">,
  matrices: ReadonlyMap<string, Described>,
): Module {
  const plain = plainModule(g, definition, config);
  const shapes = definition.params(config);
  const param = (name: string) => expression(g, matrices.get(name)) ?? plain.param(name);
  return {
    config,
    param,
    linear(path, x) {
      const y = matmul_nt(x, param(`${path}.weight`), { int8: false });
      return shapes.has(`${path}.bias`) ? add(y, param(`${path}.bias`)) : y;
    },
  };
}

/** A matrix [N, K] of its parts. */
function expression(g: Recorder, matrix: Described | undefined): Tensor | undefined {
  if (!matrix) return undefined;
  const { name, type, N, K } = matrix;
  const { group, block, levels, zero, min, scales, mins } = GRIDS[type];
  const [groups, supers] = [
    [N, K / group],
    [N, K / block],
  ];
  const first = (part: FirstPart, shape: readonly number[]) => g.param(firstName(name, part), shape);
  const now = (part: TrainedPart, shape: readonly number[]) => g.param(trainedName(name, part), shape);
  const each = block / group;
  const d = round_half(mul(first("d", supers), now("d", supers)));
  const scale = scales
    ? scale_groups(mul(first("scales", groups), now("scales", groups)), d, undefined, {
        group: each,
        range: scales,
      })
    : d;
  let least: Tensor | undefined;
  if (min) {
    const moved = add(first("mins", groups), mul(first("unit", groups), now("mins", groups)));
    least = mins
      ? scale_groups(moved, first("dmin", supers), undefined, { group: each, range: mins })
      : round_half(moved);
  }
  return matrix.codes
    ? scale_groups(now("codes", [N, K]), scale, least, { group, range: [-zero, levels - 1 - zero] })
    : scale_groups(first("codes", [N, K]), scale, least, { group });
}

/** The same numbers as `expression`, as parts. */
function learned(matrix: Matrix, read: (name: string) => Float32Array): Parts {
  const { name, type, parts } = matrix;
  const { levels, zero, min, scales, mins } = GRIDS[type];
  const t = read(trainedName(name, "d"));
  const s = scales && read(trainedName(name, "scales"));
  let [leasts, dmin] = [parts.mins, parts.dmin];
  if (min) {
    const u = read(trainedName(name, "mins"));
    const { mins: from, unit } = minima(matrix);
    const moved = from.map((m, i) => m + Math.fround(unit[i]! * u[i]!));
    if (mins) leasts = Int8Array.from(moved, (m) => nearestCode(m, mins));
    else dmin = moved.map(half);
  }
  const x = matrix.codes && read(trainedName(name, "codes"));
  return {
    codes: x ? Uint8Array.from(x, (c) => nearestCode(c, [-zero, levels - 1 - zero]) + zero) : parts.codes,
    scales: s && Int8Array.from(parts.scales!, (n, i) => nearestCode(Math.fround(n * s[i]!), scales)),
    mins: leasts,
    d: parts.d.map((d, i) => half(Math.fround(d * t[i]!))),
    dmin,
  };
}

const half = (x: number) => f16ToF32(f32ToF16(x));
