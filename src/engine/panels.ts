// The layout that kernels read weights in: 16 rows interleaved, so that one 64-byte load holds 4 columns of 16
// rows. From and to the rows that files hold it is a pure move of bytes; rows are padded with zero bytes to a
// multiple of 16. Kernels do this move themselves when they load; this is its plain form.
//
// A panel is 16 rows. Panels lie in order; in a panel the blocks lie in order of their columns. A row's block, laid out
// as dequantize.ts says, is a sequence of fields: scales of two bytes (one in mxfp4), and all else in fours. A field is
// stored 16 times, row after row, where the row's block has it once: field f of row r, which begins at byte o of the row's
// block and has n bytes, is at 16 * o + n * r. f32, f16 and bf16 are blocks of one field.

import { WEIGHT_TYPES, type WeightType, weightBytes } from "./weights.ts";

/** Rows in one panel. */
export const PANEL_ROWS = 16;

/**
 * Bytes of a `[rows, cols]` matrix in panels, padding rows included.
 * @throws {RangeError} when a row is not a whole number of blocks.
 */
export function panelBytes(type: WeightType, rows: number, cols: number): number {
  return Math.ceil(rows / PANEL_ROWS) * PANEL_ROWS * weightBytes(type, cols);
}

/**
 * Rows as files hold them to panels; the exact inverse of {@link fromPanels}.
 * @throws {RangeError} when `bytes` is not what `[rows, cols]` takes.
 */
export function toPanels(type: WeightType, bytes: Uint8Array, rows: number, cols: number): Uint8Array {
  checkLength("toPanels", type, bytes.length, rows * weightBytes(type, cols));
  const panels = new Uint8Array(panelBytes(type, rows, cols));
  move(type, bytes, panels, rows, cols, true);
  return panels;
}

/**
 * Panels to rows as files hold them; the padding rows are dropped.
 * @throws {RangeError} when `panels` is not what `[rows, cols]` takes in panels.
 */
export function fromPanels(type: WeightType, panels: Uint8Array, rows: number, cols: number): Uint8Array {
  checkLength("fromPanels", type, panels.length, panelBytes(type, rows, cols));
  const bytes = new Uint8Array(rows * weightBytes(type, cols));
  move(type, bytes, panels, rows, cols, false);
  return bytes;
}

/** Bytes of the fields that are not fours: those before them, and those after. */
const SCALES: Readonly<
  Partial<Record<WeightType, readonly [before: readonly number[], after: readonly number[]]>>
> = {
  f16: [[2], []],
  bf16: [[2], []],
  q8_0: [[2], []],
  q4_0: [[2], []],
  q4_1: [[2, 2], []],
  q5_0: [[2], []],
  q5_1: [[2, 2], []],
  q2_k: [[], [2, 2]],
  q3_k: [[], [2]],
  q4_k: [[2, 2], []],
  q5_k: [[2, 2], []],
  q6_k: [[], [2]],
  iq4_nl: [[2], []],
  iq4_xs: [[2, 2], []],
  mxfp4: [[1], []],
  tq2_0: [[], [2]],
  tq1_0: [[], [2]],
  nf4: [[2], []],
};

/** Bytes of each field of a row's block, in order. */
function fields(type: WeightType): number[] {
  const [before, after] = SCALES[type] ?? [[], []];
  const rest = WEIGHT_TYPES[type].blockBytes - [...before, ...after].reduce((a, b) => a + b, 0);
  return [...before, ...new Array<number>(rest / 4).fill(4), ...after];
}

/** Moves every field to the panels or from them. */
function move(
  type: WeightType,
  bytes: Uint8Array,
  panels: Uint8Array,
  rows: number,
  cols: number,
  intoPanels: boolean,
): void {
  const { blockSize, blockBytes } = WEIGHT_TYPES[type];
  const sizes = fields(type);
  const rowBytes = (cols / blockSize) * blockBytes;
  for (let row = 0; row < rows; row++) {
    const r = row % PANEL_ROWS;
    for (let block = 0; block < rowBytes; block += blockBytes) {
      const from = row * rowBytes + block;
      const to = (row - r) * rowBytes + PANEL_ROWS * block;
      let o = 0;
      for (const n of sizes) {
        const at = to + PANEL_ROWS * o + n * r;
        for (let i = 0; i < n; i++)
          if (intoPanels) panels[at + i] = bytes[from + o + i]!;
          else bytes[from + o + i] = panels[at + i]!;
        o += n;
      }
    }
  }
}

function checkLength(action: string, type: WeightType, found: number, want: number): void {
  if (found !== want) throw new RangeError(`${action} of ${type}: found ${found} bytes, want ${want}`);
}
