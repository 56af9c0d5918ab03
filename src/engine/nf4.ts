// NF4 with double quantization (QLoRA, arXiv 2305.14314, sections 2 and 3), with the numbers that bitsandbytes gives: the
// largest magnitude of every 64 values of a tensor, in order, and of these magnitudes less their mean, 256 at a time, the
// nearest of 255 times the largest. What is kept is the magnitude that comes of it, as f16: 4.25 bits a weight, where the
// paper's eight bits and a share of an f32 make 4.127, so that a block is read without a table beside it.

import { NF4 } from "./dequantize.ts";
import { f16ToF32, f32ToF16 } from "./half.ts";

/** Values that share a scale. */
const BLOCK = 64;
const BYTES = 34;
/** Scales that share a scale. */
const NESTED = 256;

/** Ends of the intervals of values that a code is nearest to. */
const MIDDLES = midpoints(NF4);

/**
 * Dynamic numbers of eight bits: a sign, then an exponent of ten by the count of zero bits, then a fraction (Dettmers,
 * arXiv 1511.04561). Ascending, with 0 and 1.
 */
export const DYNAMIC: Float32Array = dynamicNumbers();
const DYNAMIC_MIDDLES = midpoints(DYNAMIC);

function dynamicNumbers(): Float32Array {
  const numbers = [0, 1];
  for (let exponent = 0; exponent < 7; exponent++) {
    const parts = 2 ** exponent; // of 0.1 .. 1, each stands for its middle
    for (let i = 0; i < parts; i++) {
      const middle = 0.1 + (0.9 * (i + 0.5)) / parts;
      numbers.push(middle * 10 ** (exponent - 6), -middle * 10 ** (exponent - 6));
    }
  }
  return Float32Array.from(numbers).sort();
}

function midpoints(sorted: Float32Array): Float64Array {
  return Float64Array.from({ length: sorted.length - 1 }, (_, i) => (sorted[i]! + sorted[i + 1]!) / 2);
}

/** How many of the ascending `ends` lie below x. */
function nearest(x: number, ends: Float64Array): number {
  let [low, high] = [0, ends.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x > ends[middle]!) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The largest magnitudes of blocks of 64 values: the scales before they are quantized.
 * @throws {RangeError} when a value is not finite
 */
export function nf4Magnitudes(values: Float32Array): Float32Array {
  const out = new Float32Array(values.length / BLOCK);
  for (let i = 0; i < values.length; i++) {
    const x = Math.abs(values[i]!);
    if (!(x < Infinity))
      throw new RangeError(`Cannot quantize to nf4: value ${i} is ${values[i]}, want finite values`);
    const b = Math.floor(i / BLOCK);
    if (x > out[b]!) out[b] = x;
  }
  return out;
}

/** The scales of a whole tensor after double quantization, as f16 holds them. */
export function nf4Scales(magnitudes: Float32Array): Float32Array {
  let sum = 0;
  for (const x of magnitudes) sum += x;
  const mean = Math.fround(sum / magnitudes.length);
  const scales = new Float32Array(magnitudes.length);
  for (let start = 0; start < magnitudes.length; start += NESTED) {
    const part = magnitudes.subarray(start, start + NESTED).map((x) => x - mean);
    const largest = part.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    part.forEach((x, i) => {
      const code = largest > 0 ? nearest(x / largest, DYNAMIC_MIDDLES) : nearest(0, DYNAMIC_MIDDLES);
      const scale = Math.fround(Math.fround(DYNAMIC[code]! * largest) + mean);
      scales[start + i] = f16ToF32(f32ToF16(scale));
    });
  }
  return scales;
}

/**
 * Blocks of whole 64s of values: the code of each is the nearest to it in the block's own magnitude, beside the scale that
 * `nf4Scales` gave the block.
 */
export function quantizeNf4(
  values: Float32Array,
  magnitudes: Float32Array,
  scales: Float32Array,
): Uint8Array {
  const bytes = new Uint8Array((values.length / BLOCK) * BYTES);
  for (let block = 0; block < magnitudes.length; block++) {
    const [from, to] = [block * BLOCK, block * BYTES];
    const bits = f32ToF16(scales[block]!);
    bytes[to] = bits & 255;
    bytes[to + 1] = bits >>> 8;
    const largest = magnitudes[block]!;
    const code = (i: number) => nearest(largest > 0 ? values[from + i]! / largest : 0, MIDDLES);
    for (let j = 0; j < 32; j++) {
      const at = Math.floor(j / 16) * 32 + (j % 16);
      bytes[to + 2 + j] = code(at) | (code(at + 16) << 4);
    }
  }
  return bytes;
}
