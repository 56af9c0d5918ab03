// What a quantized type can represent, apart from how its bytes lie: codes on a grid, whose step and offset belong to
// groups of columns, and are integers times a float of the block where the type says so. Methods choose parts; `packParts`
// alone knows where they go, and is the inverse of what dequantize.ts reads.

import { f16ToF32, f32ToF16 } from "./half.ts";
import { WEIGHT_TYPES, weightBytes } from "./weights.ts";

/** Types that weights are rounded to. */
export const QUANT_TYPES = [
  "q8_0",
  "q6_k",
  "q5_k",
  "q5_1",
  "q5_0",
  "q4_k",
  "q4_0",
  "q3_k",
  "q2_k",
  "tq2_0",
  "tq1_0",
] as const;
export type QuantType = (typeof QUANT_TYPES)[number];

/** Whether `name` is one of {@link QUANT_TYPES}. */
export function isQuantType(name: string): name is QuantType {
  return (QUANT_TYPES as readonly string[]).includes(name);
}

/**
 * The grid of a type. Element i of a block, in group g = ⌊i / group⌋:
 *
 *     x[i] = d · scales[g] · (codes[i] - zero)                    without a minimum
 *     x[i] = d · scales[g] · codes[i] - dmin · mins[g]            with one
 *
 * where scales[g] and mins[g] are 1 where the type has none.
 */
export interface Grid {
  /** Columns that share a scale. */
  readonly group: number;
  /** Columns that share `d`: those of one block in the file. A row is a whole number of blocks. */
  readonly block: number;
  /** Codes are 0 to levels - 1. */
  readonly levels: number;
  /** The code of the value 0; 0 for types with a minimum. */
  readonly zero: number;
  /** Whether values are code · scale - minimum. */
  readonly min: boolean;
  /** Least and greatest of the integers in `scales`; undefined: there are none, the scale of a group is `d`. */
  readonly scales: readonly [low: number, high: number] | undefined;
  /** Least and greatest of the integers in `mins`; undefined: there are none (the minimum, if any, is `dmin`). */
  readonly mins: readonly [low: number, high: number] | undefined;
}

function grid(
  block: number,
  group: number,
  levels: number,
  min: boolean,
  scales?: readonly [number, number],
  mins?: readonly [number, number],
): Grid {
  return { group, block, levels, zero: min ? 0 : levels >> 1, min, scales, mins };
}

export const GRIDS: Readonly<Record<QuantType, Grid>> = {
  q8_0: grid(32, 32, 256, false),
  q6_k: grid(256, 16, 64, false, [-128, 127]),
  q5_k: grid(256, 32, 32, true, [0, 63], [0, 63]),
  q5_1: grid(32, 32, 32, true),
  q5_0: grid(32, 32, 32, false),
  q4_k: grid(256, 32, 16, true, [0, 63], [0, 63]),
  q4_0: grid(32, 32, 16, false),
  q3_k: grid(256, 16, 8, false, [-32, 31]),
  q2_k: grid(256, 16, 4, true, [0, 15], [0, 15]),
  tq2_0: grid(256, 256, 3, false),
  tq1_0: grid(256, 256, 3, false),
};

/** Rows of blocks taken apart: see {@link Grid}. */
export interface Parts {
  /** [elements]: 0 to levels - 1. */
  readonly codes: Uint8Array;
  /** [elements / group], or undefined where the grid has none. */
  readonly scales: Int8Array | undefined;
  /** [elements / group], or undefined where the grid has none. */
  readonly mins: Int8Array | undefined;
  /** [elements / block]. Values of f16, or such as are to be rounded to it. */
  readonly d: Float32Array;
  /** [elements / block], of types with a minimum. Not below 0 in practice, but it may be. */
  readonly dmin: Float32Array | undefined;
}

/** Parts of all zeros, to be filled: codes are 0, which is not the value 0 where `zero` is not 0, but `d` is 0. */
export function emptyParts(type: QuantType, elements: number): Parts {
  const { group, block, min, scales, mins } = GRIDS[type];
  weightBytes(type, elements);
  return {
    codes: new Uint8Array(elements),
    scales: scales && new Int8Array(elements / group),
    mins: mins && new Int8Array(elements / group),
    d: new Float32Array(elements / block),
    dmin: min ? new Float32Array(elements / block) : undefined,
  };
}

/**
 * Of every group its step a and its minimum m: x = a · (code - zero), or a · code - m. Exact: `d` has 11 bits as f16, an integer
 * at most 8.
 */
export function groupSteps(
  type: QuantType,
  parts: Parts,
): { readonly a: Float32Array; readonly m: Float32Array | undefined } {
  const { group, block } = GRIDS[type];
  const groups = parts.codes.length / group;
  const each = block / group;
  const times = (d: Float32Array, n: Int8Array | undefined) =>
    Float32Array.from({ length: groups }, (_, g) => d[Math.floor(g / each)]! * (n ? n[g]! : 1));
  return { a: times(parts.d, parts.scales), m: parts.dmin && times(parts.dmin, parts.mins) };
}

/** Where a number lies in a block: its bits from 0 at (byte, shift), and what does not fit there at a second place. */
type Place = readonly [byte: number, shift: number, bits: number, byte2?: number, shift2?: number];

/** `values` of a block, in their order. What is stored is the value + `bias`, in as many bits as there are. */
class Field {
  readonly count: number;
  private readonly bias: number;
  private readonly flip: number;
  private readonly at: Int32Array;
  private readonly shift: Uint8Array;
  private readonly bits: Uint8Array;
  private readonly at2: Int32Array;
  private readonly shift2: Uint8Array;
  /** How many bits are at the second place; 0: it is not used. */
  private readonly bits2: number;

  constructor(count: number, place: (i: number) => Place, bits2 = 0, bias = 0, flip = 0) {
    const places = Array.from({ length: count }, (_, i) => place(i));
    this.count = count;
    this.bias = bias;
    this.flip = flip;
    this.at = Int32Array.from(places, (p) => p[0]);
    this.shift = Uint8Array.from(places, (p) => p[1]);
    this.bits = Uint8Array.from(places, (p) => p[2]);
    this.at2 = Int32Array.from(places, (p) => p[3] ?? -1);
    this.shift2 = Uint8Array.from(places, (p) => p[4] ?? 0);
    this.bits2 = bits2;
  }

  read(bytes: Uint8Array, b: number, out: Uint8Array | Int8Array, o: number): void {
    const { at, shift, bits, at2, shift2, bits2, bias, flip } = this;
    const mask2 = (1 << bits2) - 1;
    for (let i = 0; i < this.count; i++) {
      let v = (bytes[b + at[i]!]! >>> shift[i]!) & ((1 << bits[i]!) - 1);
      if (bits2 > 0 && at2[i]! >= 0) v |= ((bytes[b + at2[i]!]! >>> shift2[i]!) & mask2) << bits[i]!;
      out[o + i] = (v ^ flip) - bias;
    }
  }

  /** Into zero bytes. */
  write(values: Uint8Array | Int8Array, o: number, bytes: Uint8Array, b: number): void {
    const { at, shift, bits, at2, shift2, bits2, bias, flip } = this;
    const mask2 = (1 << bits2) - 1;
    for (let i = 0; i < this.count; i++) {
      const v = (values[o + i]! + bias) ^ flip;
      bytes[b + at[i]!]! |= (v & ((1 << bits[i]!) - 1)) << shift[i]!;
      if (bits2 > 0 && at2[i]! >= 0) bytes[b + at2[i]!]! |= ((v >>> bits[i]!) & mask2) << shift2[i]!;
    }
  }
}

/** Five base-3 digits a byte, the first the most significant: as v = digits · 256 / 243, rounded up. */
class Trits {
  readonly count = 256;
  private static readonly POWERS = [1, 3, 9, 27, 81];

  /** Byte and place of digit i: runs of 32 bytes, 16 bytes, and 4 bytes of four digits. */
  private place(i: number): [byte: number, digit: number] {
    if (i < 160) return [i % 32, Math.floor(i / 32)];
    if (i < 240) return [32 + (i % 16), Math.floor((i - 160) / 16)];
    return [48 + (i % 4), Math.floor((i - 240) / 4)];
  }

  read(bytes: Uint8Array, b: number, out: Uint8Array | Int8Array, o: number): void {
    for (let i = 0; i < 256; i++) {
      const [byte, digit] = this.place(i);
      out[o + i] = (((bytes[b + byte]! * Trits.POWERS[digit]!) & 255) * 3) >>> 8;
    }
  }

  write(values: Uint8Array | Int8Array, o: number, bytes: Uint8Array, b: number): void {
    const digits = new Uint8Array(52);
    for (let i = 0; i < 256; i++) {
      const [byte, digit] = this.place(i);
      digits[byte]! += values[o + i]! * Trits.POWERS[4 - digit]!;
    }
    for (let i = 0; i < 52; i++) bytes[b + i] = Math.floor((digits[i]! * 256 + 242) / 243);
  }
}

interface Layout {
  readonly codes: Field | Trits;
  readonly scales?: Field;
  readonly mins?: Field;
  readonly d: number;
  readonly dmin?: number;
  /** q5_1 stores the minimum with the other sign. */
  readonly negated?: boolean;
}

/** Two runs of 16 in the halves of 16 bytes. */
const nibbles =
  (byte: number) =>
  (i: number): Place => [byte + (i & 15), (i >> 4) * 4, 4];
/** As nibbles, and a fifth bit i of the word at `high`. */
const fiveBits =
  (byte: number, high: number) =>
  (i: number): Place =>
    [...nibbles(byte)(i), high + (i >> 3), i & 7] as unknown as Place;
/** Four runs of 32 in two bits each of 32 bytes. */
const twoBits =
  (byte: number) =>
  (i: number): Place => [byte + (i >> 7) * 32 + (i & 31), ((i >> 5) & 3) * 2, 2];
/** Two runs of 32 in the halves of 32 bytes. */
const fourBits =
  (byte: number) =>
  (i: number): Place => [byte + (i >> 6) * 32 + (i & 31), ((i >> 5) & 1) * 4, 4];
/** The eight runs of 32 in the bits of 32 bytes. */
const oneBit = (byte: number, i: number): [number, number] => [byte + (i & 31), i >> 5];
/** Eight scales and eight minima of six bits in 12 bytes. */
const sixBitScale =
  (byte: number) =>
  (g: number): Place =>
    g < 4 ? [byte + g, 0, 6] : [byte + 4 + g, 0, 4, byte + g - 4, 6];
const sixBitMin =
  (byte: number) =>
  (g: number): Place =>
    g < 4 ? [byte + 4 + g, 0, 6] : [byte + 4 + g, 4, 4, byte + g, 6];

const LAYOUTS: Readonly<Record<QuantType, Layout>> = {
  q8_0: { codes: new Field(32, (i) => [2 + i, 0, 8], 0, 0, 128), d: 0 },
  q4_0: { codes: new Field(32, nibbles(2)), d: 0 },
  q5_0: { codes: new Field(32, fiveBits(6, 2), 1), d: 0 },
  q5_1: { codes: new Field(32, fiveBits(8, 4), 1), d: 0, dmin: 2, negated: true },
  q2_k: {
    codes: new Field(256, twoBits(16)),
    scales: new Field(16, (g) => [g, 0, 4]),
    mins: new Field(16, (g) => [g, 4, 4]),
    d: 80,
    dmin: 82,
  },
  q3_k: {
    codes: new Field(256, (i) => [...twoBits(32)(i), ...oneBit(0, i)] as unknown as Place, 1),
    scales: new Field(16, (g) => [96 + (g & 7), (g >> 3) * 4, 4, 104 + (g & 3), (g >> 2) * 2], 2, 32),
    d: 108,
  },
  q4_k: {
    codes: new Field(256, fourBits(16)),
    scales: new Field(8, sixBitScale(4), 2),
    mins: new Field(8, sixBitMin(4), 2),
    d: 0,
    dmin: 2,
  },
  q5_k: {
    codes: new Field(256, (i) => [...fourBits(48)(i), ...oneBit(16, i)] as unknown as Place, 1),
    scales: new Field(8, sixBitScale(4), 2),
    mins: new Field(8, sixBitMin(4), 2),
    d: 0,
    dmin: 2,
  },
  q6_k: {
    codes: new Field(
      256,
      (i) => [
        (i >> 7) * 64 + (i & 63),
        ((i >> 6) & 1) * 4,
        4,
        128 + (i >> 7) * 32 + (i & 31),
        ((i >> 5) & 3) * 2,
      ],
      2,
    ),
    scales: new Field(16, (g) => [192 + g, 0, 8]),
    d: 208,
  },
  tq2_0: { codes: new Field(256, twoBits(0)), d: 64 },
  tq1_0: { codes: new Trits(), d: 52 },
};

/**
 * Takes rows of blocks apart.
 * @throws {RangeError} when `bytes` is not what `elements` elements of the type take
 */
export function unpackParts(type: QuantType, bytes: Uint8Array, elements: number): Parts {
  const want = weightBytes(type, elements);
  if (bytes.length !== want)
    throw new RangeError(
      `Cannot unpack ${elements} elements of ${type}: found ${bytes.length} bytes, want ${want}`,
    );
  const parts = emptyParts(type, elements);
  const layout = LAYOUTS[type];
  const { blockSize, blockBytes } = WEIGHT_TYPES[type];
  const half = (at: number) => f16ToF32(bytes[at]! | (bytes[at + 1]! << 8));
  for (let n = 0, b = 0; b < bytes.length; n++, b += blockBytes) {
    layout.codes.read(bytes, b, parts.codes, n * blockSize);
    layout.scales?.read(bytes, b, parts.scales!, n * layout.scales.count);
    layout.mins?.read(bytes, b, parts.mins!, n * layout.mins.count);
    parts.d[n] = half(b + layout.d);
    if (layout.dmin !== undefined) parts.dmin![n] = (layout.negated ? -1 : 1) * half(b + layout.dmin);
  }
  return parts;
}

/**
 * The bytes of rows of blocks; `d` and `dmin` are rounded to the nearest f16, ties to even. The exact inverse of
 * {@link unpackParts}.
 * @throws {RangeError} on parts of other lengths, a code, scale or minimum that the grid has not, or a `d` or `dmin` that is
 *   not finite in f16
 */
export function packParts(type: QuantType, parts: Parts): Uint8Array {
  const layout = LAYOUTS[type];
  const { group, block, levels, scales, mins, min } = GRIDS[type];
  const elements = parts.codes.length;
  const bytes = new Uint8Array(weightBytes(type, elements));
  checkPart(type, "codes", parts.codes, elements, [0, levels - 1]);
  checkPart(type, "scales", parts.scales, scales ? elements / group : undefined, scales);
  checkPart(type, "mins", parts.mins, mins ? elements / group : undefined, mins);
  checkPart(type, "d", parts.d, elements / block, undefined);
  checkPart(type, "dmin", parts.dmin, min ? elements / block : undefined, undefined);
  const { blockSize, blockBytes } = WEIGHT_TYPES[type];
  const half = (at: number, name: string, n: number, x: number) => {
    const bits = f32ToF16(x);
    if ((bits & 0x7c00) === 0x7c00)
      throw new RangeError(`Cannot pack ${type}: ${name}[${n}] is ${x}, want a number that is finite in f16`);
    bytes[at] = bits & 255;
    bytes[at + 1] = bits >>> 8;
  };
  for (let n = 0, b = 0; b < bytes.length; n++, b += blockBytes) {
    layout.codes.write(parts.codes, n * blockSize, bytes, b);
    layout.scales?.write(parts.scales!, n * layout.scales.count, bytes, b);
    layout.mins?.write(parts.mins!, n * layout.mins.count, bytes, b);
    half(b + layout.d, "d", n, parts.d[n]!);
    if (layout.dmin !== undefined)
      half(b + layout.dmin, "dmin", n, layout.negated ? -parts.dmin![n]! : parts.dmin![n]!);
  }
  return bytes;
}

/** @throws {RangeError} when a part has another length, is there or missing against the grid, or leaves the range */
function checkPart(
  type: QuantType,
  name: string,
  part: Uint8Array | Int8Array | Float32Array | undefined,
  length: number | undefined,
  range: readonly [number, number] | undefined,
): void {
  if (part?.length !== length)
    throw new RangeError(`Cannot pack ${type}: ${part?.length ?? "no"} ${name}, want ${length ?? "none"}`);
  if (!range || !part) return;
  const [low, high] = range;
  for (let i = 0; i < part.length; i++)
    if (part[i]! < low || part[i]! > high)
      throw new RangeError(`Cannot pack ${type}: ${name}[${i}] is ${part[i]}, want ${low} to ${high}`);
}
