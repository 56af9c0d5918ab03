// The rows of one packed matrix, made when they are read: codes are taken out of their words, and put into blocks of the
// type that the matrix is given as. The parts are held from the first read to the last.

import { bf16ToF32Array, f16ToF32Array, f32ToF16 } from "../../engine/half.ts";
import { weightBytes } from "../../engine/weights.ts";
import { quote } from "../errors.ts";
import type { Source } from "../source.ts";
import type { TensorInfo } from "../types.ts";
import type { PackedMatrix } from "./tensors.ts";

/** Rows that are made together: their codes stay in the processor's cache. */
const ROWS = 64;
/** Column c of eight lies in nibble AWQ[c] of its word. */
const AWQ = [0, 4, 1, 5, 2, 6, 3, 7];

/** A zero point times this is within f16. */
const MAX_SCALE = 4094;

interface Parts {
  readonly words: Int32Array;
  /** [N, groups] or [groups, N], as stored. */
  readonly scales: Float32Array;
  readonly zeros: Int32Array | undefined;
  /** [K], or undefined where columns lie in order. */
  readonly index: Int32Array | undefined;
}

export class PackedRows implements Source {
  readonly name: string;
  readonly size: number;
  readonly madeOf: readonly TensorInfo[];
  readonly #m: PackedMatrix;
  readonly #rowBytes: number;
  #parts: Promise<Parts> | undefined;

  constructor(matrix: PackedMatrix) {
    this.#m = matrix;
    this.name = matrix.codes.source.name;
    this.madeOf = [matrix.codes, matrix.scales];
    this.#rowBytes = weightBytes(matrix.type, matrix.K);
    this.size = matrix.N * this.#rowBytes;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size))
      throw new RangeError(
        `Cannot read ${quote(this.#m.path)} of ${JSON.stringify(this.name)}: found bytes ${offset} to ${offset + length}, want at most its ${this.size}`,
      );
    this.#parts ??= readParts(this.#m);
    const parts = await this.#parts;
    const first = Math.floor(offset / this.#rowBytes);
    const end = Math.ceil((offset + length) / this.#rowBytes);
    const rows = new Uint8Array((end - first) * this.#rowBytes);
    for (let n = first; n < end; n += ROWS) {
      const count = Math.min(ROWS, end - n);
      makeRows(this.#m, parts, n, count, rows.subarray((n - first) * this.#rowBytes));
    }
    if (offset + length === this.size) this.#parts = undefined;
    const start = offset - first * this.#rowBytes;
    return rows.subarray(start, start + length);
  }

  async close(): Promise<void> {
    this.#parts = undefined;
  }
}

async function readParts(m: PackedMatrix): Promise<Parts> {
  const bytes = async ({ source, offset, bytes }: TensorInfo) =>
    (await source.read(offset, bytes)).slice().buffer;
  const [words, scales, zeros, index] = await Promise.all([
    bytes(m.codes),
    floats(m.scales),
    m.zeros && bytes(m.zeros),
    m.index && bytes(m.index),
  ]);
  const bad = scales.findIndex((s) => !(Math.abs(s) <= MAX_SCALE));
  if (bad >= 0)
    throw new RangeError(
      `Cannot read ${JSON.stringify(m.scales.source.name)}: tensor ${quote(m.scales.name)} holds ${scales[bad]}, wanted finite scales of at most ${MAX_SCALE}`,
    );
  const groupOf =
    index &&
    (m.index!.type === "i64" ? Int32Array.from(new BigInt64Array(index), Number) : new Int32Array(index));
  const wrong = groupOf?.findIndex((g) => g < 0 || g >= m.groups) ?? -1;
  if (wrong >= 0)
    throw new RangeError(
      `Cannot read ${JSON.stringify(m.index!.source.name)}: tensor ${quote(m.index!.name)} puts column ${wrong} in group ${groupOf![wrong]}, wanted 0 to ${m.groups - 1}`,
    );
  return { words: new Int32Array(words), scales, zeros: zeros && new Int32Array(zeros), index: groupOf };
}

async function floats({ source, offset, bytes, type }: TensorInfo): Promise<Float32Array> {
  const { buffer } = (await source.read(offset, bytes)).slice();
  if (type === "f32") return new Float32Array(buffer);
  const halves = new Uint16Array(buffer);
  const values = new Float32Array(halves.length);
  if (type === "f16") f16ToF32Array(halves, values);
  else bf16ToF32Array(halves, values);
  return values;
}

/** Rows [n, n + count) in the type of the matrix. */
function makeRows(m: PackedMatrix, parts: Parts, n: number, count: number, out: Uint8Array): void {
  const { K, groups, type } = m;
  const codes = new Uint8Array(count * K);
  takeCodes(m, parts.words, n, count, codes);
  const scales = new Float32Array(groups);
  const zeros = new Int32Array(groups);
  const rowBytes = weightBytes(type, K);
  for (let r = 0; r < count; r++) {
    takeGroups(m, parts, n + r, scales, zeros);
    const row = codes.subarray(r * K, (r + 1) * K);
    const to = out.subarray(r * rowBytes, (r + 1) * rowBytes);
    if (type === "q4_0" || type === "q4_1") putQ4(m, row, scales, zeros, to);
    else if (type === "q8_0") putQ8(m, row, scales, zeros, to);
    else putF16(m, row, scales, zeros, parts.index, to);
  }
}

function takeCodes(m: PackedMatrix, words: Int32Array, n: number, count: number, codes: Uint8Array): void {
  const { N, K, bits } = m;
  const mask = (1 << bits) - 1;
  if (m.scheme.method === "awq") {
    const width = N / 8;
    for (let k = 0; k < K; k++)
      for (let r = 0; r < count; r++) {
        const row = n + r;
        codes[r * K + k] = (words[k * width + (row >> 3)]! >>> (4 * AWQ[row & 7]!)) & 15;
      }
    return;
  }
  // A stream of bits along the columns, lowest first: down a column of words (gptq), or along a row of them.
  const [start, rowStep, wordStep] =
    m.scheme.method === "gptq" ? [n, 1, N] : [n * m.codes.shape[1]!, m.codes.shape[1]!, 1];
  for (let k = 0; k < K; k++) {
    const bit = k * bits;
    const word = start + (bit >> 5) * wordStep;
    const shift = bit & 31;
    const split = shift + bits > 32;
    for (let r = 0; r < count; r++) {
      const at = word + r * rowStep;
      let code = words[at]! >>> shift;
      if (split) code |= words[at + wordStep]! << (32 - shift);
      codes[r * K + k] = code & mask;
    }
  }
}

/** Scales and zero points of the groups of row n. */
function takeGroups(m: PackedMatrix, parts: Parts, n: number, scales: Float32Array, zeros: Int32Array): void {
  const { N, bits, groups, scheme } = m;
  const middle = 1 << (bits - 1);
  const byRow = scheme.method === "compressed-tensors";
  for (let g = 0; g < groups; g++) {
    scales[g] = parts.scales[byRow ? n * groups + g : g * N + n]!;
    zeros[g] = parts.zeros ? zeroAt(m, parts.zeros, n, g) : middle;
    if (scheme.symmetric && zeros[g] !== middle)
      throw new RangeError(
        `Cannot read ${JSON.stringify(m.codes.source.name)}: ${quote(`${m.path}.qzeros`)} holds the zero point ${zeros[g]} for row ${n}, wanted ${middle} everywhere, as "quantization_config" says it is symmetric`,
      );
  }
}

function zeroAt({ scheme, N, bits, groups }: PackedMatrix, words: Int32Array, n: number, g: number): number {
  const mask = (1 << bits) - 1;
  if (scheme.method === "awq") return (words[(g * N) / 8 + (n >> 3)]! >>> (4 * AWQ[n & 7]!)) & 15;
  const bit = n * bits;
  const shift = bit & 31;
  // gptq: a stream along a row of [groups, words]; compressed-tensors: down a column of [words, groups].
  const width = Math.ceil((N * bits) / 32);
  const [at, step] =
    scheme.method === "gptq" ? [g * width + (bit >> 5), 1] : [(bit >> 5) * groups + g, groups];
  let code = words[at]! >>> shift;
  if (shift + bits > 32) code |= words[at + step]! << (32 - shift);
  return (code & mask) + scheme.zero_offset;
}

/** q4_0: s · (q' - 8) with q' = q - z + 8. q4_1: s · q + m with m = -z · s. */
function putQ4(
  { K, group, type }: PackedMatrix,
  codes: Uint8Array,
  scales: Float32Array,
  zeros: Int32Array,
  to: Uint8Array,
): void {
  const withMinimum = type === "q4_1";
  for (let k = 0, at = 0; k < K; k += 32) {
    const g = (k / group) | 0;
    at = put16(to, at, scales[g]!);
    if (withMinimum) at = put16(to, at, -zeros[g]! * scales[g]!);
    const up = withMinimum ? 0 : 8 - zeros[g]!;
    for (let j = 0; j < 16; j++) to[at++] = (codes[k + j]! + up) | ((codes[k + 16 + j]! + up) << 4);
  }
}

function putQ8(
  { K, group }: PackedMatrix,
  codes: Uint8Array,
  scales: Float32Array,
  zeros: Int32Array,
  to: Uint8Array,
): void {
  for (let k = 0, at = 0; k < K; k += 32) {
    const g = (k / group) | 0;
    at = put16(to, at, scales[g]!);
    for (let j = 0; j < 32; j++) to[at++] = codes[k + j]! - zeros[g]!;
  }
}

function putF16(
  { K, group }: PackedMatrix,
  codes: Uint8Array,
  scales: Float32Array,
  zeros: Int32Array,
  index: Int32Array | undefined,
  to: Uint8Array,
): void {
  for (let k = 0; k < K; k++) {
    const g = index ? index[k]! : (k / group) | 0;
    put16(to, 2 * k, scales[g]! * (codes[k]! - zeros[g]!));
  }
}

/** x as f16 at byte `at`; the byte after it. */
function put16(to: Uint8Array, at: number, x: number): number {
  const bits = f32ToF16(x);
  to[at] = bits & 255;
  to[at + 1] = bits >> 8;
  return at + 2;
}
