/** Blocks of every quantized type for tests: any codes, sane scales, and the extremes of both. */
import type { BlockType } from "../dequantize.ts";
import { f32ToF16 } from "../half.ts";
import { WEIGHT_TYPES, weightBytes } from "../weights.ts";

export const BLOCK_TYPES = (Object.keys(WEIGHT_TYPES) as (keyof typeof WEIGHT_TYPES)[]).filter(
  (type): type is BlockType => WEIGHT_TYPES[type].blockSize > 1,
);

/** Where the f16 scales of a block lie; mxfp4 has a byte of exponent instead. */
const SCALES: Readonly<Record<BlockType, readonly number[]>> = {
  q8_0: [0],
  q4_0: [0],
  q4_1: [0, 2],
  q5_0: [0],
  q5_1: [0, 2],
  q2_k: [80, 82],
  q3_k: [108],
  q4_k: [0, 2],
  q5_k: [0, 2],
  q6_k: [208],
  iq4_nl: [0],
  iq4_xs: [0],
  mxfp4: [],
  tq2_0: [64],
  tq1_0: [52],
  nf4: [0],
};

/**
 * Blocks of `elements` elements. Most have random bytes and scales of 2^-8 to 2^-4 of either sign; of every 16, one has
 * nothing but zero bits behind its scales, one nothing but ones, one scales of zero, and one the smallest scale there is.
 */
export function randomBlocks(type: BlockType, elements: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(weightBytes(type, elements));
  const { blockBytes } = WEIGHT_TYPES[type];
  let state = (seed * 2654435761 + 977) >>> 0;
  const random = () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0;
    return (state ^ (state >>> 13)) >>> 0;
  };
  for (let b = 0; b < bytes.length; b += blockBytes) {
    const kind = (b / blockBytes + seed) % 16;
    for (let i = 0; i < blockBytes; i++) bytes[b + i] = kind === 3 ? 0 : kind === 8 ? 255 : random() >>> 8;
    if (type === "mxfp4") bytes[b] = kind === 11 ? 0 : kind === 13 ? 1 : 120 + (random() % 7);
    for (const at of SCALES[type]) {
      const scale = (1 + (random() % 1024) / 1024) * 2 ** -(5 + (random() % 4)) * (random() & 64 ? 1 : -1);
      const bits = kind === 11 ? 0 : kind === 13 ? 1 : f32ToF16(scale);
      bytes[b + at] = bits & 255;
      bytes[b + at + 1] = bits >>> 8;
    }
  }
  return bytes;
}
