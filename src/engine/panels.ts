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
  move(type, bytes, panels, rows, cols, true);
  return panels;
}

/**
 * Panels to rows as files hold them; the padding rows are dropped.
 * @throws {RangeError} when `panels` is not what `[rows, cols]` takes in panels.
 */
export function fromPanels(type: PanelType, panels: Uint8Array, rows: number, cols: number): Uint8Array {
  checkLength("fromPanels", type, panels.length, panelBytes(type, rows, cols));
  const bytes = new Uint8Array(rows * weightBytes(type, cols));
  move(type, bytes, panels, rows, cols, false);
  return bytes;
}

/** Moves every word (an element, a scale, half of the four bytes of a group) to the panels or from them. */
function move(
  type: PanelType,
  bytes: Uint8Array,
  panels: Uint8Array,
  rows: number,
  cols: number,
  intoPanels: boolean,
): void {
  const { blockSize, blockBytes } = WEIGHT_TYPES[type];
  const a = words(type, bytes);
  const p = words(type, panels);
  const blockWords = blockBytes / p.BYTES_PER_ELEMENT;
  const blocks = cols / blockSize;
  const rowWords = blocks * blockWords;
  for (let panel = 0; panel < rows; panel += PANEL_ROWS) {
    const panelRows = Math.min(PANEL_ROWS, rows - panel);
    for (let k = 0; k < blocks; k++) {
      const to = panel * rowWords + k * PANEL_ROWS * blockWords;
      for (let r = 0; r < panelRows; r++) {
        const from = (panel + r) * rowWords + k * blockWords;
        if (intoPanels) p[to + r] = a[from]!;
        else a[from] = p[to + r]!;
        for (let j = 1, g = to + PANEL_ROWS + 2 * r; j < blockWords; j += 2, g += 32) {
          if (intoPanels) {
            p[g] = a[from + j]!;
            p[g + 1] = a[from + j + 1]!;
          } else {
            a[from + j] = p[g]!;
            a[from + j + 1] = p[g + 1]!;
          }
        }
      }
    }
  }
}

/** `bytes` as words of the type's size, copied only when they do not start at a multiple of it. */
function words(type: PanelType, bytes: Uint8Array): Uint32Array | Uint16Array {
  const size = type === "f32" ? 4 : 2;
  const { buffer, byteOffset, length } = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return type === "f32"
    ? new Uint32Array(buffer, byteOffset, length / 4)
    : new Uint16Array(buffer, byteOffset, length / 2);
}

function checkLength(action: string, type: PanelType, found: number, want: number): void {
  if (found !== want) throw new RangeError(`${action} of ${type}: found ${found} bytes, want ${want}`);
}
