/**
 * Reverse-mode differentiation of a recording: appends the gradient nodes to the same recorder. The rules are the op
 * table's; this file only walks, and decides what is computed again instead of kept.
 */
import { fuseLosses } from "./fuse-losses.ts";
import { add, scale, shift } from "./nn.ts";
import { OPS } from "./ops/index.ts";
import { isWritten } from "./program.ts";
import type { Node, Recorder, Tensor } from "./tensor.ts";

export { fuseLosses };

export interface GradientOptions {
  /**
   * Keeps of the forward pass only what stands at the recorder's checkpoints, and computes each part between two of them
   * again before its gradients: memory of one part instead of all, for the time of about one more forward pass.
   */
  readonly recompute?: boolean;
}

/**
 * d(Σ loss) / d(each of `wrt`), recorded after what there is. The recording must be of rows with gradients (`record(build,
 * { composed: true })`). A head followed by its losses becomes one op (fuse-losses.ts), so that no program holds a batch's
 * logits. Tensors that the loss does not depend on give an error that names them.
 */
export function gradients(
  loss: Tensor,
  wrt: readonly Tensor[],
  { recompute = false }: GradientOptions = {},
): Tensor[] {
  const g = loss.recorder;
  fuseLosses(g, loss);
  const nodes = [...g.nodes];
  const active = new Set<Tensor>(wrt);
  for (const node of nodes)
    if (node.inputs.some((t) => active.has(t))) for (const t of node.outputs) active.add(t);

  const grads = new Map<Tensor, Tensor>();
  grads.set(loss, shift(scale(loss, 0), 1));
  // The last part is differentiated as soon as it is computed: nothing is gained by doing it twice.
  const parts = recompute
    ? g.checkpoints.slice(1, -1).map((end, i) => ({ from: g.checkpoints[i]!.nodes, end }))
    : [];
  let again = new Map<Tensor, Tensor>();
  for (let i = nodes.length - 1; i >= 0; i--) {
    const part = parts.at(-1);
    if (part && i < part.end.nodes) {
      again = repeat(g, nodes.slice(part.from, part.end.nodes), part.end.tensor);
      parts.pop();
    }
    const node = nodes[i]!;
    if (!node.outputs.some((t) => grads.has(t)) || !node.inputs.some((t) => active.has(t))) continue;
    const row = OPS[node.op];
    if (row.kind === "fused" && row.gradient === undefined)
      throw new TypeError(`Cannot differentiate the fused op ${node.op}: record with { composed: true }`);
    if (!row.gradient) throw new TypeError(`Cannot differentiate ${node.op}: it has no gradient`);
    const now = (t: Tensor) => again.get(t) ?? t;
    const dins = row.gradient(
      { ...node, inputs: node.inputs.map(now), outputs: node.outputs.map(now) },
      node.outputs.map((t) => grads.get(t)),
    );
    node.inputs.forEach((t, j) => {
      const d = dins[j];
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

/** Records nodes again; answers what takes the place of their outputs, but for `kept`. What is not used is pruned later. */
function repeat(g: Recorder, nodes: readonly Node[], kept: Tensor): Map<Tensor, Tensor> {
  const again = new Map<Tensor, Tensor>();
  for (const node of nodes) {
    if (node.inputs.some((t) => isWritten(node, t)))
      throw new TypeError(`Cannot compute ${node.op} again: it writes a state`);
    const outputs = g.emit(
      node.op,
      node.inputs.map((t) => again.get(t) ?? t),
      node.attrs as never,
    );
    node.outputs.forEach((t, i) => {
      if (t !== kept) again.set(t, outputs[i]!);
    });
  }
  return again;
}
