// The layout that kernels read weights in: 16 rows interleaved, so that one 64-byte load holds 4 columns of 16
// rows. From and to the rows that files hold it is a pure move of bytes; rows are padded with zero bytes to a
// multiple of 16. Kernels do this move themselves when they load; this is its plain form.
//
// A panel is 16 rows. Panels lie in order; in a panel the blocks lie in order of their columns.
//   f32, f16, bf16   element of row r, column k at k * 16 + r
//   q8_0   16 rows x 32 columns, 544 bytes:  f16 d[16] | 8 groups of 64 bytes: row r's qs[4g + b] at 64g + 4r + b
//   q4_0   16 rows x 32 columns, 288 bytes:  f16 d[16] | 4 groups of 64 bytes: row r's qs[4g + b] at 64g + 4r + b
//          (its low nibble is column 4g + b, its high nibble column 16 + 4g + b)

import { WEIGHT_TYPES, type WeightType, weightBytes } from "./weights.ts";

/** Rows in one panel. */
export const PANEL_ROWS = 16;

/** Types that have a panel layout. */
export type PanelType = Exclude<WeightType, "q6_k">;

/**
 * Bytes of a `[rows, cols]` matrix in panels, padding rows included.
 * @throws {RangeError} when a row is not a whole number of blocks.
 */
export function panelBytes(type: PanelType, rows: number, cols: number): number {
  return Math.ceil(rows / PANEL_ROWS) * PANEL_ROWS * weightBytes(type, cols);
}

/**
 * Rows as files hold them to panels; the exact inverse of {@link fromPanels}.
 * @throws {RangeError} when `bytes` is not what `[rows, cols]` takes.
 */
export function toPanels(type: PanelType, bytes: Uint8Array, rows: number, cols: number): Uint8Array {
  checkLength("toPanels", type, bytes.length, rows * weightBytes(type, cols));
  const panels = new Uint8Array(panelBytes(type, rows, cols));
  move(type, rows, cols, (row, panel, length) => {
    for (let i = 0; i < length; i++) panels[panel + i] = bytes[row + i]!;
  });
  return panels;
}

/**
 * Panels to rows as files hold them; the padding rows are dropped.
 * @throws {RangeError} when `panels` is not what `[rows, cols]` takes in panels.
 */
export function fromPanels(type: PanelType, panels: Uint8Array, rows: number, cols: number): Uint8Array {
  checkLength("fromPanels", type, panels.length, panelBytes(type, rows, cols));
  const bytes = new Uint8Array(rows * weightBytes(type, cols));
  move(type, rows, cols, (row, panel, length) => {
    for (let i = 0; i < length; i++) bytes[row + i] = panels[panel + i]!;
  });
  return bytes;
}

/**
 * Calls `copy(position among the rows, position in the panels, bytes)` for each run of bytes that moves whole:
 * an element, a scale, or four bytes of a group.
 */
function move(
  type: PanelType,
  rows: number,
  cols: number,
  copy: (row: number, panel: number, length: number) => void,
): void {
  const { blockSize, blockBytes } = WEIGHT_TYPES[type];
  const blocks = cols / blockSize;
  const quantized = blockSize > 1;
  for (let row = 0; row < rows; row++) {
    const r = row % PANEL_ROWS;
    for (let k = 0; k < blocks; k++) {
      const from = (row * blocks + k) * blockBytes;
      const to = ((row - r) * blocks + k * PANEL_ROWS) * blockBytes;
      if (!quantized) {
        copy(from, to + r * blockBytes, blockBytes);
        continue;
      }
      copy(from, to + r * 2, 2);
      for (let j = 2, g = to + 32; j < blockBytes; j += 4, g += 64) copy(from + j, g + r * 4, 4);
    }
  }
}

function checkLength(action: string, type: PanelType, found: number, want: number): void {
  if (found !== want) throw new RangeError(`${action} of ${type}: found ${found} bytes, want ${want}`);
}
