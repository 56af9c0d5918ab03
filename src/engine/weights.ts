// The weight types the engine computes with: block geometry, and conversion to and from floats (exactly, from blocks:
// dequantize.ts). Knows nothing of files; the layout that kernels read is in panels.ts.

import { type BlockType, dequantizeBlocks } from "./dequantize.ts";
import { bf16ToF32Array, f16ToF32Array, f32ToBf16Array, f32ToF16, f32ToF16Array } from "./half.ts";

export type FloatType = "f32" | "f16" | "bf16";
/** A type the engine has kernels for. */
export type WeightType = FloatType | BlockType;

export interface WeightTypeInfo {
  readonly name: WeightType;
  /** The number GGUF gives this type, where it has it. */
  readonly ggmlType?: number;
  /** Elements in one block; a row is a whole number of blocks. */
  readonly blockSize: number;
  /** Bytes of one block. */
  readonly blockBytes: number;
}

export const WEIGHT_TYPES: Readonly<Record<WeightType, WeightTypeInfo>> = {
  f32: { name: "f32", ggmlType: 0, blockSize: 1, blockBytes: 4 },
  f16: { name: "f16", ggmlType: 1, blockSize: 1, blockBytes: 2 },
  bf16: { name: "bf16", ggmlType: 30, blockSize: 1, blockBytes: 2 },
  q8_0: { name: "q8_0", ggmlType: 8, blockSize: 32, blockBytes: 34 },
  q4_0: { name: "q4_0", ggmlType: 2, blockSize: 32, blockBytes: 18 },
  q4_1: { name: "q4_1", ggmlType: 3, blockSize: 32, blockBytes: 20 },
  q5_0: { name: "q5_0", ggmlType: 6, blockSize: 32, blockBytes: 22 },
  q5_1: { name: "q5_1", ggmlType: 7, blockSize: 32, blockBytes: 24 },
  q2_k: { name: "q2_k", ggmlType: 10, blockSize: 256, blockBytes: 84 },
  q3_k: { name: "q3_k", ggmlType: 11, blockSize: 256, blockBytes: 110 },
  q4_k: { name: "q4_k", ggmlType: 12, blockSize: 256, blockBytes: 144 },
  q5_k: { name: "q5_k", ggmlType: 13, blockSize: 256, blockBytes: 176 },
  q6_k: { name: "q6_k", ggmlType: 14, blockSize: 256, blockBytes: 210 },
  iq4_nl: { name: "iq4_nl", ggmlType: 20, blockSize: 32, blockBytes: 18 },
  iq4_xs: { name: "iq4_xs", ggmlType: 23, blockSize: 256, blockBytes: 136 },
  mxfp4: { name: "mxfp4", ggmlType: 39, blockSize: 32, blockBytes: 17 },
  tq2_0: { name: "tq2_0", ggmlType: 35, blockSize: 256, blockBytes: 66 },
  tq1_0: { name: "tq1_0", ggmlType: 34, blockSize: 256, blockBytes: 54 },
  nf4: { name: "nf4", blockSize: 64, blockBytes: 34 },
};

/** Floats as they lie in a file. */
export interface FloatRows {
  readonly type: FloatType;
  readonly bytes: Uint8Array;
}

/** Values as their own bytes. */
export function floatRows(values: Float32Array): FloatRows {
  return { type: "f32", bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

export function isFloatType(type: string): type is FloatType {
  return type === "f32" || type === "f16" || type === "bf16";
}

/** Whether `name` is one of {@link WEIGHT_TYPES}. */
export function isWeightType(name: string): name is WeightType {
  return Object.hasOwn(WEIGHT_TYPES, name);
}

/**
 * Bytes that `elements` elements of `type` take.
 * @throws {RangeError} when `elements` is not a whole number of blocks.
 */
export function weightBytes(type: WeightType, elements: number): number {
  const { blockSize, blockBytes } = WEIGHT_TYPES[type];
  if (!Number.isSafeInteger(elements) || elements < 0 || elements % blockSize !== 0) {
    throw new RangeError(
      `Cannot store ${elements} elements as ${type}: want a whole number of blocks of ${blockSize}`,
    );
  }
  return (elements / blockSize) * blockBytes;
}

/**
 * `out[i]` = the value of element `i`: exact, but that types with a minimum (`d * q + m`) may need more than the 24 bits of
 * an f32, and are rounded once.
 * @throws {RangeError} when `bytes` is not what `out.length` elements take.
 */
export function dequantize(type: WeightType, bytes: Uint8Array, out: Float32Array | Float64Array): void {
  const want = weightBytes(type, out.length);
  if (bytes.length !== want) {
    throw new RangeError(
      `Cannot dequantize ${type} to ${out.length} elements: found ${bytes.length} bytes, want ${want}`,
    );
  }
  switch (type) {
    case "f32":
      out.set(float32View(bytes));
      break;
    case "f16":
      f16ToF32Array(uint16View(bytes), out);
      break;
    case "bf16":
      bf16ToF32Array(uint16View(bytes), out);
      break;
    default:
      dequantizeBlocks(type, bytes, out);
  }
}

/** Types that {@link quantize} writes. */
export type WritableType = "f32" | "f16" | "bf16" | "q8_0" | "q4_0";

/** Whether {@link quantize} writes `type`. */
export function isWritable(type: WeightType): type is WritableType {
  return type === "f32" || type === "f16" || type === "bf16" || type === "q8_0" || type === "q4_0";
}

/**
 * The bytes of `values` in `type`, rounded to nearest: ties to even for f16 and bf16; for `q8_0` and `q4_0`
 * the reference rounding of llama.cpp (`quantize_row_q8_0_ref`, `quantize_row_q4_0_ref`), byte for byte,
 * every step in f32.
 * @throws {RangeError} when `values` is not a whole number of blocks, or a block holds NaN, infinity or a
 *   value whose scale does not fit in f16.
 */
export function quantize(type: WritableType, values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(weightBytes(type, values.length));
  switch (type) {
    case "f32":
      bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      break;
    case "f16":
      f32ToF16Array(values, new Uint16Array(bytes.buffer));
      break;
    case "bf16":
      f32ToBf16Array(values, new Uint16Array(bytes.buffer));
      break;
    case "q8_0":
      quantizeQ8(values, bytes);
      break;
    case "q4_0":
      quantizeQ4(values, bytes);
      break;
    default:
      throw new TypeError(
        `Cannot quantize to ${type}, which is only read: want f32, f16, bf16, q8_0 or q4_0`,
      );
  }
  return bytes;
}

/** `bytes` as 16-bit words; copied only when it does not start at an even address. */
function uint16View(bytes: Uint8Array): Uint16Array {
  const even = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(even.buffer, even.byteOffset, even.length / 2);
}

/** `bytes` as floats; copied only when it does not start at an address of four. */
export function float32View(bytes: Uint8Array): Float32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
}

function quantizeQ8(values: Float32Array, bytes: Uint8Array): void {
  for (let i = 0, b = 0; i < values.length; i += 32, b += 34) {
    let amax = 0;
    let notFinite = 0; // v - v is 0 for a finite v, else NaN
    for (let j = 0; j < 32; j++) {
      const v = values[i + j]!;
      notFinite += v - v;
      if (Math.abs(v) > amax) amax = Math.abs(v);
    }
    const d = Math.fround(amax / 127) + notFinite;
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    writeScale("q8_0", values, i, d, bytes, b);
    for (let j = 0; j < 32; j++) {
      const x = Math.fround(values[i + j]! * inverse);
      bytes[b + 2 + j] = x < 0 ? -Math.floor(0.5 - x) : Math.floor(x + 0.5); // half away from zero
    }
  }
}

function quantizeQ4(values: Float32Array, bytes: Uint8Array): void {
  for (let i = 0, b = 0; i < values.length; i += 32, b += 18) {
    let amax = 0;
    let max = 0; // the value of largest magnitude, with its sign; the first of equals
    let notFinite = 0;
    for (let j = 0; j < 32; j++) {
      const v = values[i + j]!;
      notFinite += v - v;
      if (Math.abs(v) > amax) {
        amax = Math.abs(v);
        max = v;
      }
    }
    const d = Math.fround(max / -8 - notFinite); // an all-zero block keeps llama.cpp's -0
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    writeScale("q4_0", values, i, d, bytes, b);
    for (let j = 0; j < 16; j++) {
      const low = nibble(values[i + j]!, inverse);
      const high = nibble(values[i + 16 + j]!, inverse);
      bytes[b + 2 + j] = low | (high << 4);
    }
  }
}

function nibble(value: number, inverse: number): number {
  const q = Math.trunc(Math.fround(Math.fround(value * inverse) + 8.5));
  return Math.min(15, q);
}

function writeScale(
  type: WeightType,
  values: Float32Array,
  i: number,
  d: number,
  bytes: Uint8Array,
  b: number,
): void {
  const bits = f32ToF16(d);
  if ((bits & 0x7c00) === 0x7c00) {
    const block = values.subarray(i, i + 32);
    const bad = block.findIndex((x) => !Number.isFinite(x));
    const at =
      bad >= 0 ? bad : block.reduce((best, x, j) => (Math.abs(x) > Math.abs(block[best]!) ? j : best), 0);
    throw new RangeError(
      `Cannot quantize to ${type}: value ${i + at} is ${block[at]}, want finite values whose scale fits in f16`,
    );
  }
  bytes[b] = bits & 0xff;
  bytes[b + 1] = bits >>> 8;
}
