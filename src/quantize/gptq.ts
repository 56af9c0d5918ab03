// GPTQ onto the grid of a block type: scales and minima are those of blocks rounded before, and codes are chosen anew, one
// column after another, each making up for what those before it err by. Source: Frantar et al., arXiv 2210.17323.

import type { Backend, Executable } from "../engine/backend.ts";
import { GRIDS, groupSteps, packParts, type QuantType, unpackParts } from "../engine/grids.ts";
import { gptq_round } from "../engine/nn.ts";
import { record } from "../engine/program.ts";
import { chunkRows, type Triangle } from "./moments.ts";

/** Programs of one triangle, by type: linears that read the same share them. Free it before the triangle. */
export class Rounder {
  readonly #backend: Backend;
  readonly #triangle: Triangle;
  readonly #executables = new Map<string, Executable>();

  constructor(backend: Backend, triangle: Triangle) {
    this.#backend = backend;
    this.#triangle = triangle;
  }

  /**
   * The blocks of a matrix with other codes.
   * @param values [rows, K], as they were before rounding
   * @param blocks of the same matrix in `type`, whose scales and minima stay
   */
  async round(type: QuantType, values: Float32Array, blocks: Uint8Array): Promise<Uint8Array> {
    const { columns: K, order } = this.#triangle;
    const { group, zero } = GRIDS[type];
    const rows = values.length / K;
    const parts = unpackParts(type, blocks, values.length);
    const { a, m = a.map((step) => step * zero) } = groupSteps(type, parts);
    const chunk = chunkRows(K, rows);
    const executable = this.#executable(type, chunk);
    const codes = new Uint8Array(values.length);
    const found = new Float32Array(chunk * K);
    for (let first = 0; first < rows; first += chunk) {
      const T = Math.min(chunk, rows - first);
      const of = (x: Float32Array, width: number) => x.subarray(first * width, (first + T) * width);
      const inputs = { w: of(values, K), a: of(a, K / group), m: of(m, K / group), order };
      await executable.run({ T, S: 0, R: 0 }, inputs);
      const part = found.subarray(0, T * K);
      executable.read("codes", part);
      codes.set(part, first * K);
    }
    return packParts(type, { ...parts, codes });
  }

  free(): void {
    for (const executable of this.#executables.values()) executable.free();
  }

  #executable(type: QuantType, chunk: number): Executable {
    const key = `${type} ${chunk}`;
    let executable = this.#executables.get(key);
    if (!executable) {
      const { columns: K, storage } = this.#triangle;
      const { group, levels } = GRIDS[type];
      const program = record((g) => {
        const steps = (name: string) => g.input(name, "f32", ["T", K / group]);
        const w = g.input("w", "f32", ["T", K]);
        const l = g.param("l", [K, K]);
        const [codes, error] = gptq_round([w, steps("a"), steps("m"), l, g.input("order", "i32", [K])], {
          levels,
        });
        return { codes, error };
      });
      executable = this.#backend.compile(program, { T: chunk, S: 0, R: 0 });
      executable.bind("l", storage);
      this.#executables.set(key, executable);
    }
    return executable;
  }
}
