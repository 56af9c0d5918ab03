/**
 * What every backend does around the rounding of rows to blocks: checks, pieces, importance as the search wants it, and what
 * is said when a block cannot be encoded.
 */
import { GRIDS, isQuantType, QUANT_TYPES, type QuantType } from "../grids.ts";
import { weightBytes } from "../weights.ts";

/** Values given to threads at once. */
const PIECE_VALUES = 1 << 20;
/** Least weight of a column, of their mean: where nothing was ever seen, errors still count a little. */
const LEAST_WEIGHT = 1e-4;

export interface EncodePiece {
  readonly row: number;
  readonly values: Float32Array;
  readonly bytes: number;
}

/**
 * @returns the number of rows, and the importance with mean 1 and none that is 0, empty when there is none
 * @throws {TypeError | RangeError} see Backend.encode
 */
export function checkEncode(
  type: QuantType,
  values: Float32Array,
  cols: number,
  importance: Float32Array | undefined,
): { rows: number; weights: Float32Array } {
  if (!isQuantType(type)) throw new TypeError(`Cannot encode to ${type}: want ${QUANT_TYPES.join(", ")}`);
  const { block } = GRIDS[type];
  if (!(Number.isInteger(cols) && cols > 0 && cols % block === 0))
    throw new RangeError(`Cannot encode rows of ${cols} to ${type}: want a multiple of ${block}`);
  if (values.length % cols !== 0)
    throw new RangeError(`Cannot encode ${values.length} values to ${type}: want rows of ${cols}`);
  checkSize(type, values, cols);
  return { rows: values.length / cols, weights: checkImportance(type, importance, cols) };
}

/** Where scales are integers times `d`, a `d` beyond f16 would be taken for one that is not worth having: zeros would come. */
function checkSize(type: QuantType, values: Float32Array, cols: number): void {
  const { scales, mins, levels, zero } = GRIDS[type];
  if (!scales) return;
  const most = 65504 * 0.95 * (mins ? mins[1] : scales[1] * (zero || levels - 1));
  for (let i = 0; i < values.length; i++)
    if (Math.abs(values[i]!) > most && Number.isFinite(values[i]!))
      throw new RangeError(
        `Cannot encode to ${type}: row ${Math.floor(i / cols)}, column ${i % cols} is ${values[i]}, want numbers whose scale fits in f16`,
      );
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

/** Rows by pieces: whole panels of 16 rows but for the last. */
export function* encodePieces(type: QuantType, values: Float32Array, cols: number): Generator<EncodePiece> {
  const step = Math.max(1, Math.floor(PIECE_VALUES / (cols * 16))) * 16 * cols;
  for (let at = 0; at < values.length; at += step) {
    const piece = values.subarray(at, at + step);
    yield { row: at / cols, values: piece, bytes: weightBytes(type, piece.length) };
  }
}

/** Says which value of the block at index `at` of `values` cannot be encoded. */
export function encodeError(type: QuantType, piece: EncodePiece, cols: number, at: number): RangeError {
  // A block of all 16 rows of the panel was given up: the first bad one is in one of them.
  const { block } = GRIDS[type];
  const [row, col] = [Math.floor(at / cols), at % cols];
  const name = (r: number, c: number) => `row ${piece.row + r}, column ${c} is ${piece.values[r * cols + c]}`;
  const rows = Math.min(16, piece.values.length / cols - row);
  let largest: [number, number] = [row, col];
  for (let r = row; r < row + rows; r++)
    for (let c = col; c < col + block; c++) {
      const x = piece.values[r * cols + c]!;
      if (!Number.isFinite(x))
        return new RangeError(`Cannot encode to ${type}: ${name(r, c)}, want finite numbers`);
      if (Math.abs(x) > Math.abs(piece.values[largest[0] * cols + largest[1]]!)) largest = [r, c];
    }
  return new RangeError(
    `Cannot encode to ${type}: ${name(...largest)}, want numbers whose scale fits in f16`,
  );
}
