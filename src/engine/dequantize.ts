// Exact values of quantized blocks. Knows one block at a time; sizes and dispatch are in weights.ts.
//
// Byte layouts (little-endian) are GGUF's; qs[j] lo, hi: its low and high four bits. Blocks of 32 elements:
//   q8_0     34 bytes: f16 d | i8 qs[32]                          x[i] = d * qs[i]
//   q4_0     18 bytes: f16 d | u8 qs[16]                          x[j] = d * (lo - 8), x[16+j] = d * (hi - 8)
//   q4_1     20 bytes: f16 d | f16 m | u8 qs[16]                  x[j] = d * lo + m, x[16+j] = d * hi + m
//   q5_0     22 bytes: f16 d | u32 qh | u8 qs[16]                 as q4_0, with bit i of qh as the fifth bit of x[i]: - 16
//   q5_1     24 bytes: f16 d | f16 m | u32 qh | u8 qs[16]         as q4_1, with bit i of qh as the fifth bit of x[i]
//   iq4_nl   18 bytes: f16 d | u8 qs[16]                          x[j] = d * IQ4[lo], x[16+j] = d * IQ4[hi]
//   mxfp4    17 bytes: u8 e | u8 qs[16]                           x[j] = 2^(e-128) * FP4[lo], x[16+j] = 2^(e-128) * FP4[hi]
// Of 64 elements, in no GGUF file:
//   nf4      34 bytes: f16 d | u8 qs[32]                          two runs of 32 as in iq4_nl: x = d * NF4[q]
// Blocks of 256 are 8 runs of 32, or 16 of 16 with a scale of their own; s is the run of 32:
//   q2_k     84 bytes: u8 scales[16] | u8 qs[64] | f16 d | f16 dmin
//            two bits q: (qs[32 * (s >> 2) + l] >> 2 * (s & 3)) & 3           x = d * lo(scales) * q - dmin * hi(scales)
//   q3_k    110 bytes: u8 hmask[32] | u8 qs[64] | u8 scales[12] | f16 d
//            two bits as in q2_k, bit s of hmask[l] as the third               x = d * (scale - 32) * (q - 4)
//   q4_k    144 bytes: f16 d | f16 dmin | u8 scales[12] | u8 qs[128]
//            four bits: lo (s even) or hi (s odd) of qs[32 * (s >> 1) + l]     x = d * scale * q - dmin * min
//   q5_k    176 bytes: f16 d | f16 dmin | u8 scales[12] | u8 qh[32] | u8 qs[128]
//            as q4_k, with bit s of qh[l] as the fifth bit
//   q6_k    210 bytes: u8 ql[128] | u8 qh[64] | i8 scales[16] | f16 d
//            four bits: lo (s & 2 = 0) or hi of ql[64 * (s >> 2) + 32 * (s & 1) + l], two more
//            (qh[32 * (s >> 2) + l] >> 2 * (s & 3)) & 3                        x = d * scale * (q - 32)
//   iq4_xs  136 bytes: f16 d | u16 scales_h | u8 scales_l[4] | u8 qs[128]
//            16 bytes of qs for each run, as in iq4_nl                         x = d * (scale - 32) * IQ4[q]
//   tq2_0    66 bytes: u8 qs[64] | f16 d
//            two bits as in q2_k                                               x = d * (q - 1)
//   tq1_0    54 bytes: u8 qs[48] | u8 qh[4] | f16 d
//            digits to base 3, the first one the highest: digit n of a byte is q = 3 * (byte * 3^n mod 256) >> 8.
//            n-th 32 of the first 160: digit n of qs[0..32]; n-th 16 of the next 80: of qs[32..48]; n-th 4 of the
//            last 16: of qh                                                    x = d * (q - 1)
// The six bits of scales[12]: q4_k and q5_k have 8 scales and 8 minima, j < 4: scale = scales[j] & 63,
// min = scales[4+j] & 63; j >= 4: low four bits lo and hi of scales[4+j], two more the top bits of scales[j-4] and
// scales[j]. q3_k has 16 scales: low four bits lo (j < 8) or hi of scales[j & 7], two more
// (scales[8 + (j & 3)] >> 2 * (j >> 2)) & 3. iq4_xs: four bits in scales_l, two more (scales_h >> 2 * s) & 3.

import { f16ToF32 } from "./half.ts";

/** Types whose elements share scales. */
export type BlockType =
  | "q8_0"
  | "q4_0"
  | "q4_1"
  | "q5_0"
  | "q5_1"
  | "q2_k"
  | "q3_k"
  | "q4_k"
  | "q5_k"
  | "q6_k"
  | "iq4_nl"
  | "iq4_xs"
  | "mxfp4"
  | "tq2_0"
  | "tq1_0"
  | "nf4";

type Floats = Float32Array | Float64Array;

const IQ4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/** Twice the values of a float with 1 sign, 2 exponent and 1 fraction bits. */
const FP4 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/**
 * Quantiles of the normal distribution, the largest 1, in f32 (QLoRA, arXiv 2305.14314, appendix E): the values of nf4's
 * codes.
 */
export const NF4 = Float32Array.of(
  -1,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1,
);

/** Elements of a block, its bytes, and `decode`, which reads the block at byte `b` to `out[i...]`. */
interface Blocks {
  readonly size: number;
  readonly bytes: number;
  readonly decode: (a: Uint8Array, b: number, out: Floats, i: number) => void;
}

const half = (a: Uint8Array, b: number): number => f16ToF32(a[b]! | (a[b + 1]! << 8));

/** `out[i + j]` = value(code j) for 32 nibbles in 16 bytes; `high` has a fifth bit for each. */
function nibbles(a: Uint8Array, b: number, out: Floats, i: number, value: (q: number) => number, high = 0) {
  for (let j = 0; j < 16; j++) {
    const q = a[b + j]!;
    out[i + j] = value((q & 15) | (((high >>> j) & 1) << 4));
    out[i + 16 + j] = value((q >>> 4) | (((high >>> (16 + j)) & 1) << 4));
  }
}

const word = (a: Uint8Array, b: number): number =>
  a[b]! | (a[b + 1]! << 8) | (a[b + 2]! << 16) | (a[b + 3]! << 24);

/** Scale and minimum of run `s`, six bits each, of the 12 bytes at `b`. */
function sixBits(a: Uint8Array, b: number, s: number): [scale: number, min: number] {
  if (s < 4) return [a[b + s]! & 63, a[b + 4 + s]! & 63];
  return [
    (a[b + 4 + s]! & 15) | ((a[b + s - 4]! >>> 6) << 4),
    (a[b + 4 + s]! >>> 4) | ((a[b + s]! >>> 6) << 4),
  ];
}

/** Code l of run s: two bits of the 64 bytes at `b`. */
const twoBits = (a: Uint8Array, b: number, s: number, l: number): number =>
  (a[b + (s >>> 2) * 32 + l]! >>> ((s & 3) * 2)) & 3;

/** Code l of run s: four bits of the 128 bytes at `b`. */
const fourBits = (a: Uint8Array, b: number, s: number, l: number): number =>
  (a[b + (s >>> 1) * 32 + l]! >>> ((s & 1) * 4)) & 15;

/** Digit n to base 3 of a byte that holds five (or four) as a fraction of 256. */
const digit = (byte: number, n: number): number => (3 * ((byte * 3 ** n) & 255)) >>> 8;

/** 256 elements in their order: element l of run s is f(s)(l). */
function runs(out: Floats, i: number, f: (s: number) => (l: number) => number): void {
  for (let s = 0; s < 8; s++) {
    const value = f(s);
    for (let l = 0; l < 32; l++) out[i + s * 32 + l] = value(l);
  }
}

const BLOCKS: Readonly<Record<BlockType, Blocks>> = {
  q8_0: {
    size: 32,
    bytes: 34,
    decode(a, b, out, i) {
      const d = half(a, b);
      for (let j = 0; j < 32; j++) out[i + j] = d * ((a[b + 2 + j]! << 24) >> 24);
    },
  },
  q4_0: {
    size: 32,
    bytes: 18,
    decode(a, b, out, i) {
      const d = half(a, b);
      nibbles(a, b + 2, out, i, (q) => d * (q - 8));
    },
  },
  q4_1: {
    size: 32,
    bytes: 20,
    decode(a, b, out, i) {
      const [d, m] = [half(a, b), half(a, b + 2)];
      nibbles(a, b + 4, out, i, (q) => d * q + m);
    },
  },
  q5_0: {
    size: 32,
    bytes: 22,
    decode(a, b, out, i) {
      const d = half(a, b);
      nibbles(a, b + 6, out, i, (q) => d * (q - 16), word(a, b + 2));
    },
  },
  q5_1: {
    size: 32,
    bytes: 24,
    decode(a, b, out, i) {
      const [d, m] = [half(a, b), half(a, b + 2)];
      nibbles(a, b + 8, out, i, (q) => d * q + m, word(a, b + 4));
    },
  },
  iq4_nl: {
    size: 32,
    bytes: 18,
    decode(a, b, out, i) {
      const d = half(a, b);
      nibbles(a, b + 2, out, i, (q) => d * IQ4[q]!);
    },
  },
  mxfp4: {
    size: 32,
    bytes: 17,
    decode(a, b, out, i) {
      const d = 2 ** (a[b]! - 128);
      nibbles(a, b + 1, out, i, (q) => d * FP4[q]!);
    },
  },
  nf4: {
    size: 64,
    bytes: 34,
    decode(a, b, out, i) {
      const d = half(a, b);
      for (const s of [0, 1]) nibbles(a, b + 2 + s * 16, out, i + s * 32, (q) => d * NF4[q]!);
    },
  },
  q2_k: {
    size: 256,
    bytes: 84,
    decode(a, b, out, i) {
      const [d, min] = [half(a, b + 80), half(a, b + 82)];
      runs(out, i, (s) => (l) => {
        const scale = a[b + s * 2 + (l >>> 4)]!;
        return d * (scale & 15) * twoBits(a, b + 16, s, l) - min * (scale >>> 4);
      });
    },
  },
  q3_k: {
    size: 256,
    bytes: 110,
    decode(a, b, out, i) {
      const d = half(a, b + 108);
      runs(out, i, (s) => (l) => {
        const j = s * 2 + (l >>> 4);
        const low = (a[b + 96 + (j & 7)]! >>> (j < 8 ? 0 : 4)) & 15;
        const scale = low | (((a[b + 104 + (j & 3)]! >>> ((j >>> 2) * 2)) & 3) << 4);
        const q = twoBits(a, b + 32, s, l) | (((a[b + l]! >>> s) & 1) << 2);
        return d * (scale - 32) * (q - 4);
      });
    },
  },
  q4_k: {
    size: 256,
    bytes: 144,
    decode(a, b, out, i) {
      const [d, dmin] = [half(a, b), half(a, b + 2)];
      runs(out, i, (s) => {
        const [scale, min] = sixBits(a, b + 4, s);
        return (l) => d * scale * fourBits(a, b + 16, s, l) - dmin * min;
      });
    },
  },
  q5_k: {
    size: 256,
    bytes: 176,
    decode(a, b, out, i) {
      const [d, dmin] = [half(a, b), half(a, b + 2)];
      runs(out, i, (s) => {
        const [scale, min] = sixBits(a, b + 4, s);
        return (l) => {
          const q = fourBits(a, b + 48, s, l) | (((a[b + 16 + l]! >>> s) & 1) << 4);
          return d * scale * q - dmin * min;
        };
      });
    },
  },
  q6_k: {
    size: 256,
    bytes: 210,
    decode(a, b, out, i) {
      const d = half(a, b + 208);
      runs(out, i, (s) => (l) => {
        const low = (a[b + (s >>> 2) * 64 + (s & 1) * 32 + l]! >>> ((s & 2) * 2)) & 15;
        const scale = (a[b + 192 + s * 2 + (l >>> 4)]! << 24) >> 24;
        return d * scale * ((low | (twoBits(a, b + 128, s, l) << 4)) - 32);
      });
    },
  },
  iq4_xs: {
    size: 256,
    bytes: 136,
    decode(a, b, out, i) {
      const d = half(a, b);
      const high = a[b + 2]! | (a[b + 3]! << 8);
      for (let s = 0; s < 8; s++) {
        const low = (a[b + 4 + (s >>> 1)]! >>> ((s & 1) * 4)) & 15;
        const scale = d * ((low | (((high >>> (2 * s)) & 3) << 4)) - 32);
        nibbles(a, b + 8 + s * 16, out, i + s * 32, (q) => scale * IQ4[q]!);
      }
    },
  },
  tq2_0: {
    size: 256,
    bytes: 66,
    decode(a, b, out, i) {
      const d = half(a, b + 64);
      runs(out, i, (s) => (l) => d * (twoBits(a, b, s, l) - 1));
    },
  },
  tq1_0: {
    size: 256,
    bytes: 54,
    decode(a, b, out, i) {
      const d = half(a, b + 52);
      for (const [bytes, from, digits] of [
        [32, 0, 5],
        [16, 32, 5],
        [4, 48, 4],
      ] as const)
        for (let n = 0; n < digits; n++)
          for (let l = 0; l < bytes; l++) out[i++] = d * (digit(a[b + from + l]!, n) - 1);
    },
  },
};

/** `out[i]` = the value of element `i`, of whole blocks in `bytes`. */
export function dequantizeBlocks(type: BlockType, bytes: Uint8Array, out: Floats): void {
  const { size, bytes: step, decode } = BLOCKS[type];
  for (let i = 0, b = 0; i < out.length; i += size, b += step) decode(bytes, b, out, i);
}
