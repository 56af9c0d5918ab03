// 16-bit floats (IEEE binary16 and bfloat16) to and from 32-bit ones, and rounding to whole numbers. Knows nothing of
// tensors or files.
// All conversions round to nearest, ties to even, and keep signed zeros, subnormals and infinities.
// Hosts are little-endian, as every platform Node runs on in practice.

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

let f16Table: Float32Array | undefined;

/** Every f16 as f32, indexed by its 16 bits: 256 KiB, made at the first use. */
export function f16ToF32Table(): Float32Array {
  if (f16Table) return f16Table;
  const bits = new Uint32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const sign = (h & 0x8000) << 16;
    const exponent = (h >>> 10) & 31;
    const mantissa = h & 0x3ff;
    if (exponent === 31) bits[h] = sign | 0x7f800000 | (mantissa << 13);
    else if (exponent > 0) bits[h] = sign | ((exponent + 112) << 23) | (mantissa << 13);
    else {
      f32[0] = mantissa * 2 ** -24; // subnormal: an exact multiple of the smallest f16
      bits[h] = sign | u32[0]!;
    }
  }
  f16Table = new Float32Array(bits.buffer);
  return f16Table;
}

/** The value of the f16 with these 16 bits. */
export function f16ToF32(bits: number): number {
  return (f16Table ?? f16ToF32Table())[bits & 0xffff]!;
}

/** The 16 bits of the f16 nearest to `x` (taken as an f32). 65520 and above become infinity. */
export function f32ToF16(x: number): number {
  f32[0] = x;
  return f32BitsToF16(u32[0]!);
}

/** The value of the bfloat16 with these 16 bits. */
export function bf16ToF32(bits: number): number {
  u32[0] = bits << 16;
  return f32[0]!;
}

/** The 16 bits of the bfloat16 nearest to `x` (taken as an f32). */
export function f32ToBf16(x: number): number {
  f32[0] = x;
  return f32BitsToBf16(u32[0]!);
}

/** `dst[i] = f16(src[i])` for all of `src`. */
export function f16ToF32Array(src: Uint16Array, dst: Float32Array | Float64Array): void {
  checkLengths("f16ToF32Array", src.length, dst.length);
  const table = f16ToF32Table();
  for (let i = 0; i < src.length; i++) dst[i] = table[src[i]!]!;
}

/** `dst[i] =` the 16 bits of `src[i]` as f16. */
export function f32ToF16Array(src: Float32Array, dst: Uint16Array): void {
  checkLengths("f32ToF16Array", src.length, dst.length);
  const bits = new Uint32Array(src.buffer, src.byteOffset, src.length);
  for (let i = 0; i < bits.length; i++) dst[i] = f32BitsToF16(bits[i]!);
}

/** `dst[i] = bf16(src[i])` for all of `src`. */
export function bf16ToF32Array(src: Uint16Array, dst: Float32Array | Float64Array): void {
  checkLengths("bf16ToF32Array", src.length, dst.length);
  if (dst instanceof Float32Array) {
    const bits = new Uint32Array(dst.buffer, dst.byteOffset, dst.length);
    for (let i = 0; i < src.length; i++) bits[i] = src[i]! << 16;
  } else {
    for (let i = 0; i < src.length; i++) dst[i] = bf16ToF32(src[i]!);
  }
}

/** `dst[i] =` the 16 bits of `src[i]` as bfloat16. */
export function f32ToBf16Array(src: Float32Array, dst: Uint16Array): void {
  checkLengths("f32ToBf16Array", src.length, dst.length);
  const bits = new Uint32Array(src.buffer, src.byteOffset, src.length);
  for (let i = 0; i < bits.length; i++) dst[i] = f32BitsToBf16(bits[i]!);
}

function f32BitsToF16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x47800000) {
    if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff); // NaN, made quiet
    return sign | 0x7c00;
  }
  if (magnitude >= 0x38800000) {
    const rebiased = magnitude - 0x38000000;
    return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
  }
  // Below 2^-14 the result is a multiple of 2^-24, the spacing of f32 in [0.5, 1): adding 0.5 rounds.
  u32[0] = magnitude;
  f32[0] = f32[0]! + 0.5;
  return sign | (u32[0]! - 0x3f000000);
}

function f32BitsToBf16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40; // NaN, made quiet
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function checkLengths(action: string, from: number, to: number): void {
  if (to < from) throw new RangeError(`${action}: the output has ${to} elements, want at least ${from}`);
}

/** The nearest whole number, ties to even, as the processors' conversions round. */
export function roundEven(x: number): number {
  const r = Math.round(x);
  return r - x === 0.5 && r % 2 !== 0 ? r - 1 : r;
}
