// Every element type that a safetensors or GGUF file may hold: the engine's weight types and those that are
// only recognised, so that a file which has them can be listed, copied and refused by name.

import { isWeightType, WEIGHT_TYPES, type WeightType } from "../engine/weights.ts";

/** What a tensor of one type takes on disk, and how the two formats call it. */
export interface StorageTypeInfo {
  /** Elements in one block; in GGUF a row is a whole number of blocks. */
  readonly blockSize: number;
  readonly blockBytes: number;
  /** The number GGUF gives this type, where it has it. */
  readonly ggmlType?: number;
  /** The `dtype` safetensors gives this type, where it has it. */
  readonly dtype?: string;
}

const OTHER_TYPES = {
  f64: { blockSize: 1, blockBytes: 8, ggmlType: 28, dtype: "F64" },
  i8: { blockSize: 1, blockBytes: 1, ggmlType: 24, dtype: "I8" },
  i16: { blockSize: 1, blockBytes: 2, ggmlType: 25, dtype: "I16" },
  i32: { blockSize: 1, blockBytes: 4, ggmlType: 26, dtype: "I32" },
  i64: { blockSize: 1, blockBytes: 8, ggmlType: 27, dtype: "I64" },
  u8: { blockSize: 1, blockBytes: 1, dtype: "U8" },
  u16: { blockSize: 1, blockBytes: 2, dtype: "U16" },
  u32: { blockSize: 1, blockBytes: 4, dtype: "U32" },
  u64: { blockSize: 1, blockBytes: 8, dtype: "U64" },
  bool: { blockSize: 1, blockBytes: 1, dtype: "BOOL" },
  c64: { blockSize: 1, blockBytes: 8, dtype: "C64" },
  f8_e4m3: { blockSize: 1, blockBytes: 1, dtype: "F8_E4M3" },
  f8_e5m2: { blockSize: 1, blockBytes: 1, dtype: "F8_E5M2" },
  f8_e8m0: { blockSize: 1, blockBytes: 1, dtype: "F8_E8M0" },
  f8_e4m3fnuz: { blockSize: 1, blockBytes: 1, dtype: "F8_E4M3FNUZ" },
  f8_e5m2fnuz: { blockSize: 1, blockBytes: 1, dtype: "F8_E5M2FNUZ" },
  f6_e2m3: { blockSize: 4, blockBytes: 3, dtype: "F6_E2M3" },
  f6_e3m2: { blockSize: 4, blockBytes: 3, dtype: "F6_E3M2" },
  f4: { blockSize: 2, blockBytes: 1, dtype: "F4" },
  q8_1: { blockSize: 32, blockBytes: 36, ggmlType: 9 },
  q8_k: { blockSize: 256, blockBytes: 292, ggmlType: 15 },
  iq2_xxs: { blockSize: 256, blockBytes: 66, ggmlType: 16 },
  iq2_xs: { blockSize: 256, blockBytes: 74, ggmlType: 17 },
  iq3_xxs: { blockSize: 256, blockBytes: 98, ggmlType: 18 },
  iq1_s: { blockSize: 256, blockBytes: 50, ggmlType: 19 },
  iq3_s: { blockSize: 256, blockBytes: 110, ggmlType: 21 },
  iq2_s: { blockSize: 256, blockBytes: 82, ggmlType: 22 },
  iq1_m: { blockSize: 256, blockBytes: 56, ggmlType: 29 },
  tq1_0: { blockSize: 256, blockBytes: 54, ggmlType: 34 },
  tq2_0: { blockSize: 256, blockBytes: 66, ggmlType: 35 },
  nvfp4: { blockSize: 64, blockBytes: 36, ggmlType: 40 },
  q1_0: { blockSize: 128, blockBytes: 18, ggmlType: 41 },
  q2_0: { blockSize: 64, blockBytes: 18, ggmlType: 42 },
} as const satisfies Record<string, StorageTypeInfo>;

/** The name of any element type a file may hold, lower case. */
export type StorageType = WeightType | keyof typeof OTHER_TYPES;

export const STORAGE_TYPES: Readonly<Record<StorageType, StorageTypeInfo>> = {
  ...WEIGHT_TYPES,
  f32: { ...WEIGHT_TYPES.f32, dtype: "F32" },
  f16: { ...WEIGHT_TYPES.f16, dtype: "F16" },
  bf16: { ...WEIGHT_TYPES.bf16, dtype: "BF16" },
  ...OTHER_TYPES,
};

const names = Object.keys(STORAGE_TYPES) as StorageType[];
const byGgmlType = new Map(names.map((name) => [STORAGE_TYPES[name].ggmlType, name]));
const byDtype = new Map(names.map((name) => [STORAGE_TYPES[name].dtype, name]));

/** The type GGUF calls `number`, or undefined. */
export function storageTypeOfGgml(number: number): StorageType | undefined {
  return byGgmlType.get(number);
}

/** The type safetensors calls `dtype`, or undefined. */
export function storageTypeOfDtype(dtype: string): StorageType | undefined {
  return byDtype.get(dtype);
}

/**
 * Elements of a tensor of this shape (1 for a scalar), or undefined when the product exceeds 2^53 - 1.
 * `shape` holds safe integers >= 0.
 */
export function countElements(shape: readonly number[]): number | undefined {
  if (shape.includes(0)) return 0;
  let count = 1;
  for (const size of shape) {
    count *= size; // once past 2^53 it stays past, as every factor is at least 1
    if (count > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return count;
}

/** Bytes that `elements` of `type` take, or undefined when they are not whole blocks or exceed 2^53 - 1. */
export function storageBytes(type: StorageType, elements: number): number | undefined {
  const { blockSize, blockBytes } = STORAGE_TYPES[type];
  if (elements % blockSize !== 0) return undefined;
  const bytes = (elements / blockSize) * blockBytes;
  return bytes <= Number.MAX_SAFE_INTEGER ? bytes : undefined;
}

export { isWeightType };
