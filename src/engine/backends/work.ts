/** How much memory a run touches, about: what decides whether it is worth another thread. */
import type { Dims, Storage } from "../backend.ts";
import type { Program } from "../program.ts";
import { elements, symbol } from "../tensor.ts";

const PRODUCTS = new Set(["linear", "matmul_nt", "matmul_nn", "matmul_tn"]);

export class Work {
  private readonly program: Program;
  private readonly activations = { fixed: 0, T: 0, S: 0, R: 0 };
  private weights = 0;

  constructor(program: Program) {
    this.program = program;
    for (const node of program.nodes)
      for (const t of node.outputs) this.activations[symbol(t.shape) ?? "fixed"] += elements(t.shape) * 4;
  }

  /** Bytes of weights that products read, and of what is not a table and is written. Call it when storage was bound. */
  bind(bound: ReadonlyMap<string, Storage>): void {
    const touched = new Set<Storage>();
    for (const node of this.program.nodes)
      for (const t of node.inputs) {
        const storage = bound.get(t.name ?? "");
        const table = storage?.kind === "kv" || storage?.kind === "adapters";
        if (storage && !table && (t.kind === "state" || PRODUCTS.has(node.op))) touched.add(storage);
      }
    this.weights = [...touched].reduce((sum, storage) => sum + storage.bytes, 1);
  }

  /** Bytes: of bound storage for each token, and of activations. */
  bytes({ T, S, R }: Dims): number {
    const a = this.activations;
    return this.weights * Math.max(1, T) + a.fixed + a.T * T + a.S * S + a.R * R;
  }
}
