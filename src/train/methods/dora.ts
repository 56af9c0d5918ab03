// DoRA's 1 / ‖W + s B A‖ by rows, without a dense copy of W: ‖W + s B A‖² = ‖W‖² + Σ_r B ∘ (2s W Aᵀ + s² B (A Aᵀ)).
// r: rank · K, N: input and output features of a linear

import type { Backend, Storage } from "../../engine/backend.ts";
import {
  accumulate,
  add,
  clear_state,
  gather_rows,
  matmul_nt,
  matmul_tn,
  mul,
  reshape,
  rsqrt,
  shift,
  sum_last,
  scale as times,
} from "../../engine/nn.ts";
import { record } from "../../engine/program.ts";
import type { Recorder } from "../../engine/tensor.ts";

/** The state [N] of a linear, `STRETCH:path`: 1 / ‖row of W + s B A‖. A constant in backward, as in the paper (4.3). */
export const STRETCH = "stretch";
const SQUARES = "squares";
const IDENTITY = "identity";
/** So that a row of zeros, whose magnitude is 0, gives 0 and no NaN; far below the square of any other row. */
const LEAST = 1e-30;
/** Rows that are read at a time. */
const CHUNK = 256;

/** Σ over each row of a weight [N, K], packed or dense, of its squares. */
export async function rowSquares(
  backend: Backend,
  weight: Storage,
  N: number,
  K: number,
): Promise<Float32Array> {
  const program = record((g) => {
    const rows = gather_rows(g.param("weight", [N, K]), g.input("rows", "i32", ["T"])); // [T, K]
    return { squares: sum_last(mul(rows, rows)) };
  });
  const squares = new Float32Array(N);
  const executable = backend.compile(program, { T: Math.min(CHUNK, N), S: 0, R: 0 });
  try {
    executable.bind("weight", weight);
    for (let row = 0; row < N; row += CHUNK) {
      const rows = Int32Array.from({ length: Math.min(CHUNK, N - row) }, (_, i) => row + i);
      await executable.run({ T: rows.length, S: 0, R: 0 }, { rows });
      executable.read("squares", squares.subarray(row, row + rows.length));
    }
  } finally {
    executable.free();
  }
  return squares;
}

/** What `deriveStretch` binds beside the parameters, by name, with the stretch at B = 0. */
export function* stretchConstants(
  path: string,
  squares: Float32Array,
  rank: number,
): Generator<[string, { shape: number[]; values: Float32Array }]> {
  const N = squares.length;
  yield [`${STRETCH}:${path}`, { shape: [N], values: squares.map((x) => 1 / Math.sqrt(x + LEAST)) }];
  yield [`${SQUARES}:${path}`, { shape: [N, 1], values: squares }];
  const values = Float32Array.from({ length: rank * rank }, (_, i) => (i % (rank + 1) === 0 ? 1 : 0));
  yield [`${IDENTITY}:${rank}`, { shape: [rank, rank], values }];
}

/** Writes the state `STRETCH:path` of a linear. */
export function deriveStretch(
  g: Recorder,
  { path, weight, a, b, N, K }: { path: string; weight: string; a: string; b: string; N: number; K: number },
  rank: number,
  scale: number,
): void {
  const A = g.param(a, [rank, K]);
  const B = g.param(b, [N, rank]);
  const AW = matmul_nt(A, g.param(weight, [N, K]), { int8: false }); // [r, N]
  const WA = matmul_tn(AW, g.param(`${IDENTITY}:${rank}`, [rank, rank])); // [N, r]
  const BAA = matmul_nt(B, matmul_nt(A, A)); // [N, r]
  const inner = sum_last(mul(B, add(times(WA, 2 * scale), times(BAA, scale * scale)))); // [N, 1]
  const squares = add(inner, g.param(`${SQUARES}:${path}`, [N, 1]));
  const state = g.state(`${STRETCH}:${path}`, [N]);
  clear_state(state);
  accumulate(state, reshape(rsqrt(shift(squares, LEAST)), [N]));
}
