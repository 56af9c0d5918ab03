// Packed matrices of a checkpoint as tensors of types that the engine computes with. `X.qweight`, `X.scales` and the like
// become `X.weight` [N, K], whose rows are made when they are read; all other tensors stay what they are.
//
//   code q of b bits, scale s, zero z of a group of columns:  w = s · (q - z)
//   4 bits, z = 8 everywhere; up to 3 bits    q4_0: the same numbers, as q - z is from -8 to 7
//   4 bits with other zeros                   q4_1: -z · s is rounded to f16, an error of at most s / 250
//   8 bits, z = 128 everywhere                q8_0: the same numbers
//   groups that no block of 32 columns lies in, mixed columns, 8 bits with other zeros    f16: rounded to 11 bits

import type { WeightType } from "../../engine/weights.ts";
import { weightBytes } from "../../engine/weights.ts";
import { quote } from "../errors.ts";
import type { TensorInfo } from "../types.ts";
import { PackedRows } from "./rows.ts";
import type { PackedScheme } from "./scheme.ts";

/** The parts of one matrix, and its numbers. */
export interface PackedMatrix {
  /** Without the part's name: `model.layers.0.mlp.up_proj`. */
  readonly path: string;
  readonly scheme: PackedScheme;
  readonly N: number;
  readonly K: number;
  readonly bits: number;
  /** Columns of a group; K for one scale a row. */
  readonly group: number;
  readonly groups: number;
  readonly codes: TensorInfo;
  readonly scales: TensorInfo;
  /** Absent: 2^(bits - 1). */
  readonly zeros?: TensorInfo;
  /** [K], where it matters: group of each column. */
  readonly index?: TensorInfo;
  readonly type: WeightType;
}

const CODES = { gptq: "qweight", awq: "qweight", "compressed-tensors": "weight_packed" } as const;
const PARTS =
  /\.(qweight|qzeros|scales|g_idx|weight_packed|weight_scale|weight_zero_point|weight_shape|weight_g_idx)$/;

/**
 * The tensors of a checkpoint with every packed matrix in place of its parts.
 * @throws {TypeError | RangeError} when parts are missing or do not fit together; names the first
 */
export async function unpackTensors(
  file: string,
  tensors: ReadonlyMap<string, TensorInfo>,
  scheme: PackedScheme,
): Promise<Map<string, TensorInfo>> {
  const result = new Map<string, TensorInfo>();
  const ending = `.${CODES[scheme.method]}`;
  const packed = new Set(
    [...tensors.keys()].filter((n) => n.endsWith(ending)).map((n) => n.slice(0, -ending.length)),
  );
  for (const [name, tensor] of tensors) {
    const path = name.replace(PARTS, "");
    if (path === name || !packed.has(path)) result.set(name, tensor);
    else if (name === path + ending) {
      const matrix = await readMatrix(file, path, tensors, scheme);
      const { N, K, type } = matrix;
      const source = new PackedRows(matrix);
      result.set(`${path}.weight`, {
        name: `${path}.weight`,
        type,
        shape: [N, K],
        offset: 0,
        bytes: N * weightBytes(type, K),
        source,
      });
    }
  }
  if (packed.size === 0)
    throw new TypeError(
      `Cannot read ${JSON.stringify(file)}: "quantization_config" states ${scheme.method}, but no tensor ends with ${JSON.stringify(ending)}`,
    );
  return result;
}

async function readMatrix(
  file: string,
  path: string,
  tensors: ReadonlyMap<string, TensorInfo>,
  scheme: PackedScheme,
): Promise<PackedMatrix> {
  const part = (name: string, rank: number, types: readonly string[]): TensorInfo => {
    const tensor = tensors.get(`${path}.${name}`);
    if (!tensor)
      throw new RangeError(
        `Cannot read ${JSON.stringify(file)}: tensor ${quote(`${path}.${name}`)} is missing`,
      );
    if (tensor.shape.length !== rank || !types.includes(tensor.type))
      throw new TypeError(
        `Cannot read ${JSON.stringify(file)}: tensor ${quote(tensor.name)} is ${tensor.type} [${tensor.shape.join(", ")}], wanted ${types.join(" or ")} of ${rank} dimensions`,
      );
    return tensor;
  };
  const fits = (tensor: TensorInfo, wanted: readonly number[]): TensorInfo => {
    if (tensor.shape.join() !== wanted.join())
      throw new RangeError(
        `Cannot read ${JSON.stringify(file)}: tensor ${quote(tensor.name)} has shape [${tensor.shape.join(", ")}], wanted [${wanted.join(", ")}] by the other parts of it`,
      );
    return tensor;
  };
  const FLOATS = ["f16", "bf16", "f32"];
  const codes = part(CODES[scheme.method], 2, ["i32"]);
  const scales = part(scheme.method === "compressed-tensors" ? "weight_scale" : "scales", 2, FLOATS);

  if (scheme.method === "compressed-tensors") {
    const [N, K] = await readShape(file, part("weight_shape", 1, ["i64", "i32"]));
    const bits = Math.floor((codes.shape[1]! * 32) / K);
    if (![2, 3, 4, 8].includes(bits) || codes.shape[1] !== Math.ceil((K * bits) / 32))
      fits(codes, [N, Math.ceil((K * 4) / 32)]);
    fits(codes, [N, codes.shape[1]!]);
    const groups = scales.shape[1]!;
    fits(scales, [N, groups]);
    const hasZeros = tensors.has(`${path}.weight_zero_point`);
    const zeros = hasZeros
      ? fits(part("weight_zero_point", 2, ["i32"]), [Math.ceil((N * bits) / 32), groups])
      : undefined;
    const index = tensors.has(`${path}.weight_g_idx`)
      ? fits(part("weight_g_idx", 1, ["i32"]), [K])
      : undefined;
    return matrixOf(
      { path, scheme, N, K, bits, groups, codes, scales, ...(zeros && { zeros }), ...(index && { index }) },
      file,
    );
  }
  const bits = scheme.bits!;
  const [K, N] =
    scheme.method === "gptq"
      ? [Math.floor((codes.shape[0]! * 32) / bits), codes.shape[1]!]
      : [codes.shape[0]!, (codes.shape[1]! * 32) / bits];
  const groups = scales.shape[0]!;
  fits(scales, [groups, N]);
  const zeros = fits(part("qzeros", 2, ["i32"]), [groups, Math.ceil((N * bits) / 32)]);
  const index = scheme.act_order ? fits(part("g_idx", 1, ["i32", "i64"]), [K]) : undefined;
  return matrixOf({ path, scheme, N, K, bits, groups, codes, scales, zeros, ...(index && { index }) }, file);
}

function matrixOf(m: Omit<PackedMatrix, "group" | "type">, file: string): PackedMatrix {
  const group = m.index ? Math.ceil(m.K / m.groups) : m.K / m.groups;
  if (!Number.isInteger(group) || group < 1)
    throw new RangeError(
      `Cannot read ${JSON.stringify(file)}: tensor ${quote(m.scales.name)} has ${m.groups} groups of ${m.K} columns, wanted a divisor`,
    );
  const symmetric = m.scheme.symmetric || !m.zeros;
  const whole = group % 32 === 0 && !m.index;
  const small = m.bits < 4 || (m.bits === 4 && symmetric);
  const type = !whole ? "f16" : small ? "q4_0" : m.bits === 4 ? "q4_1" : symmetric ? "q8_0" : "f16";
  return { ...m, group, type };
}

/** `weight_shape`: the matrix's own, as the packed one is padded. */
async function readShape(file: string, tensor: TensorInfo): Promise<[N: number, K: number]> {
  const { source, offset, bytes, type } = tensor;
  if (tensor.shape[0] === 2) {
    const view = new DataView((await source.read(offset, bytes)).slice().buffer);
    const at = (i: number) =>
      type === "i64" ? Number(view.getBigInt64(i * 8, true)) : view.getInt32(i * 4, true);
    const [N, K] = [at(0), at(1)];
    if (N > 0 && K > 0 && N <= 2 ** 24 && K <= 2 ** 24) return [N, K];
  }
  throw new RangeError(
    `Cannot read ${JSON.stringify(file)}: tensor ${quote(tensor.name)} is no shape of a matrix`,
  );
}
