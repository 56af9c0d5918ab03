/**
 * What every backend does around the rounding of rows to blocks: checks, pieces, importance as the search wants it, and what
 * is said when a block cannot be encoded.
 */
import { GRIDS, isQuantType, QUANT_TYPES, type QuantType } from "../grids.ts";
import { dequantize, type FloatRows, type FloatType, isFloatType, weightBytes } from "../weights.ts";

/** Values given to threads at once. */
const PIECE_VALUES = 1 << 20;
/** Least weight of a column, of their mean: where nothing was ever seen, errors still count a little. */
const LEAST_WEIGHT = 1e-4;

/** Whole rows on their way: their bytes, and where theirs are among the blocks. */
export interface EncodePiece {
  readonly row: number;
  readonly rows: number;
  readonly values: Uint8Array;
  readonly out: Uint8Array;
}

/** What is encoded, checked. */
export interface Encoding {
  readonly type: QuantType;
  readonly from: FloatType;
  readonly cols: number;
  /** Importance with mean 1 and none that is 0; empty when there is none. */
  readonly weights: Float32Array;
  readonly out: Uint8Array;
  readonly pieces: readonly EncodePiece[];
}

/** @throws {TypeError | RangeError} see Backend.encode */
export function checkEncode(
  type: QuantType,
  { type: from, bytes }: FloatRows,
  cols: number,
  importance: Float32Array | undefined,
): Encoding {
  if (!isQuantType(type)) throw new TypeError(`Cannot encode to ${type}: want ${QUANT_TYPES.join(", ")}`);
  if (!isFloatType(from)) throw new TypeError(`Cannot encode ${from} to ${type}: want floats`);
  const { block } = GRIDS[type];
  if (!(Number.isInteger(cols) && cols > 0 && cols % block === 0))
    throw new RangeError(`Cannot encode rows of ${cols} to ${type}: want a multiple of ${block}`);
  const width = weightBytes(from, cols);
  if (bytes.length % width !== 0)
    throw new RangeError(
      `Cannot encode ${bytes.length} bytes of ${from} to ${type}: want rows of ${cols}, ${width} bytes each`,
    );
  const rows = bytes.length / width;
  const own = weightBytes(type, cols);
  const out = new Uint8Array(rows * own);
  const weights = checkImportance(type, importance, cols);
  const step = Math.max(1, Math.floor(PIECE_VALUES / (cols * 16))) * 16;
  const pieces: EncodePiece[] = [];
  for (let row = 0; row < rows; row += step) {
    const end = Math.min(row + step, rows);
    pieces.push({
      row,
      rows: end - row,
      values: bytes.subarray(row * width, end * width),
      out: out.subarray(row * own, end * own),
    });
  }
  return { type, from, cols, weights, out, pieces };
}

function checkImportance(type: QuantType, importance: Float32Array | undefined, cols: number): Float32Array {
  if (!importance) return new Float32Array(0);
  if (importance.length !== cols)
    throw new RangeError(
      `Cannot encode to ${type}: ${importance.length} numbers of importance, want ${cols}`,
    );
  let sum = 0;
  importance.forEach((x, i) => {
    if (!(x >= 0 && x < Number.POSITIVE_INFINITY))
      throw new RangeError(
        `Cannot encode to ${type}: importance of column ${i} is ${x}, want a finite number from 0`,
      );
    sum += x;
  });
  if (sum === 0) return new Float32Array(0);
  const scale = cols / sum;
  return importance.map((x) => Math.max(x * scale, LEAST_WEIGHT));
}

/** Says which value of the block at index `at` of a piece cannot be encoded. */
export function encodeError({ type, from, cols }: Encoding, piece: EncodePiece, at: number): RangeError {
  // A block of all 16 rows of the panel was given up: the first bad one is in one of them.
  const { block } = GRIDS[type];
  const [row, col] = [Math.floor(at / cols), at % cols];
  const values = new Float32Array(piece.rows * cols);
  dequantize(from, piece.values, values);
  const name = (r: number, c: number) => `row ${piece.row + r}, column ${c} is ${values[r * cols + c]}`;
  const rows = Math.min(16, piece.rows - row);
  let largest: [number, number] = [row, col];
  for (let r = row; r < row + rows; r++)
    for (let c = col; c < col + block; c++) {
      const x = values[r * cols + c]!;
      if (!Number.isFinite(x))
        return new RangeError(`Cannot encode to ${type}: ${name(r, c)}, want finite numbers`);
      if (Math.abs(x) > Math.abs(values[largest[0] * cols + largest[1]]!)) largest = [r, c];
    }
  return new RangeError(
    `Cannot encode to ${type}: ${name(...largest)}, want numbers whose scale fits in f16`,
  );
}
