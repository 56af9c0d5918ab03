// What is computed with the moments H = Σ x xᵀ of a linear's input: how far a changed weight is from the original in what it
// computes, and the triangle that GPTQ rounds by. H stays in the backend's memory.
// K: columns of the weight

import type { Backend, Executable, Storage } from "../engine/backend.ts";
import { cholesky, matmul_nt, mul, sum_last } from "../engine/nn.ts";
import { record } from "../engine/program.ts";
import type { LinearInput } from "./stream.ts";

/** Values of a matrix that a run takes. */
const CHUNK_VALUES = 2 ** 21;

/** Rows of a matrix of K columns that a run takes. */
export const chunkRows = (K: number, rows: number): number =>
  Math.min(rows, Math.max(16, Math.floor(CHUNK_VALUES / K / 16) * 16));

/** @throws {TypeError} where the stream measured squares alone */
export function productsOf({ weights, products }: LinearInput): Storage {
  if (!products)
    throw new TypeError(`Cannot use the moments of ${weights[0]}: squares were measured, wanted products`);
  return products;
}

/** δ H δᵀ of the rows of a matrix δ [rows, K]. Free it before the moments. */
export class RowErrors {
  readonly #executable: Executable;
  readonly #K: number;
  readonly #chunk: number;

  constructor(backend: Backend, products: Storage, K: number, rows: number) {
    this.#K = K;
    this.#chunk = chunkRows(K, rows);
    const program = record((g) => {
      const delta = g.input("delta", "f32", ["T", K]);
      return { errors: sum_last(mul(matmul_nt(delta, g.param("moments", [K, K])), delta)) };
    });
    this.#executable = backend.compile(program, { T: this.#chunk, S: 0, R: 0 });
    this.#executable.bind("moments", products);
  }

  /** Of each row. */
  async of(delta: Float32Array): Promise<Float32Array> {
    const rows = delta.length / this.#K;
    const errors = new Float32Array(rows);
    for (let first = 0; first < rows; first += this.#chunk) {
      const T = Math.min(this.#chunk, rows - first);
      const part = delta.subarray(first * this.#K, (first + T) * this.#K);
      await this.#executable.run({ T, S: 0, R: 0 }, { delta: part });
      this.#executable.read("errors", errors.subarray(first, first + T));
    }
    return errors;
  }

  /** tr(δ H δᵀ): Σ |δ x|² over the calibration tokens. */
  async sum(delta: Float32Array): Promise<number> {
    return (await this.of(delta)).reduce((sum, x) => sum + x, 0);
  }

  free(): void {
    this.#executable.free();
  }
}

/** How H is made ready for rounding. */
export interface TriangleOptions {
  /** Added to H's diagonal, as a share of its mean. Default 0.1: see docs/LOG.md. */
  readonly damping?: number;
  /** Columns of large inputs are rounded first ("activation", the default), or the first ones. */
  readonly order?: "activation" | "natural";
}

/** L of L Lᵀ = H + damping, rows and columns in `order`. */
export interface Triangle {
  readonly columns: number;
  readonly order: Int32Array;
  readonly storage: Storage;
  /** What was added to the diagonal, as a share of its mean. */
  readonly damping: number;
  free(): void;
}

const DAMPING = 0.1;
const MAX_DAMPING = 10;

/**
 * More is added to H's diagonal where it takes more for all pivots to be above 0.
 * @throws {Error} where no damping suffices: the moments are not finite
 */
export async function makeTriangle(
  backend: Backend,
  input: LinearInput,
  { damping = DAMPING, order: by = "activation" }: TriangleOptions = {},
): Promise<Triangle> {
  const { columns: K, squares, tokens, weights } = input;
  const products = productsOf(input);
  // The last of the order is rounded first.
  const order = Int32Array.from({ length: K }, (_, i) => K - 1 - i);
  if (by === "activation") order.sort((i, j) => squares[i]! - squares[j]! || j - i);
  const mean = (squares.reduce((sum, x) => sum + x, 0) * tokens) / K;
  const program = record((g) => ({
    failed: cholesky(
      g.state("l", [K, K]),
      g.param("moments", [K, K]),
      g.input("order", "i32", [K]),
      g.input("damping", "f32", [1]),
    ),
  }));
  const storage = backend.dense("f32", [K, K]);
  const executable = backend.compile(program, { T: 0, S: 0, R: 0 });
  try {
    executable.bind("l", storage);
    executable.bind("moments", products);
    const failed = new Float32Array(1);
    for (let share = damping; share <= MAX_DAMPING; share = Math.max(share * 10, 1e-4)) {
      // Of an input that is always zero nothing is known; whatever its weights are rounded to is right.
      const added = Math.max(share * mean, Number.MIN_VALUE * 2 ** 948);
      await executable.run({ T: 0, S: 0, R: 0 }, { order, damping: Float32Array.of(added) });
      executable.read("failed", failed);
      if (failed[0] === 0) return { columns: K, order, storage, damping: share, free: () => storage.free() };
    }
    throw new Error(
      `Cannot calibrate ${weights[0]}: the moments of its input have no triangle at any damping up to ${MAX_DAMPING}; mean of its squares: ${mean / tokens}`,
    );
  } catch (error) {
    storage.free();
    throw error;
  } finally {
    executable.free();
  }
}
