/**
 * Reverse-mode differentiation of a recording: appends the gradient nodes to the same recorder. The rules are the op
 * table's; this file only walks.
 */
import { add, scale, shift } from "./nn.ts";
import { OPS } from "./ops/index.ts";
import type { Tensor } from "./tensor.ts";

/**
 * d(Σ loss) / d(each of `wrt`), recorded after what there is. The recording must be of core rows (`record(build,
 * { composed: true })`). Tensors that the loss does not depend on give an error that names them.
 */
export function gradients(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  const nodes = [...loss.recorder.nodes];
  const active = new Set<Tensor>(wrt);
  for (const node of nodes)
    if (node.inputs.some((t) => active.has(t))) for (const t of node.outputs) active.add(t);

  const grads = new Map<Tensor, Tensor>();
  grads.set(loss, shift(scale(loss, 0), 1));
  for (const node of nodes.reverse()) {
    if (!node.outputs.some((t) => grads.has(t)) || !node.inputs.some((t) => active.has(t))) continue;
    const row = OPS[node.op];
    if (row.kind === "fused")
      throw new TypeError(`Cannot differentiate the fused op ${node.op}: record with { composed: true }`);
    if (!row.gradient) throw new TypeError(`Cannot differentiate ${node.op}: it has no gradient`);
    const dins = row.gradient(
      node,
      node.outputs.map((t) => grads.get(t)),
    );
    node.inputs.forEach((t, i) => {
      const d = dins[i];
      if (!d || !active.has(t)) return;
      const before = grads.get(t);
      grads.set(t, before ? add(before, d) : d);
    });
  }
  return wrt.map((t) => {
    const d = grads.get(t);
    if (!d)
      throw new TypeError(`Cannot differentiate by "${t.name ?? t.id}": the loss does not depend on it`);
    return d;
  });
}
