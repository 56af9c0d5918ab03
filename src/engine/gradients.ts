/**
 * Reverse-mode differentiation of a recording: appends the gradient nodes to the same recorder. The rules are the op
 * table's; this file only walks, and decides what is computed again instead of kept.
 */
import { add, linear_cross_entropy, scale, shift } from "./nn.ts";
import { OPS } from "./ops/index.ts";
import { isWritten } from "./program.ts";
import type { Node, Recorder, Tensor } from "./tensor.ts";

export interface GradientOptions {
  /**
   * Keeps of the forward pass only what stands at the recorder's checkpoints, and computes each part between two of them
   * again before its gradients: memory of one part instead of all, for the time of about one more forward pass.
   */
  readonly recompute?: boolean;
}

/**
 * d(Σ loss) / d(each of `wrt`), recorded after what there is. The recording must be of rows with gradients (`record(build,
 * { composed: true })`). A head followed by cross_entropy becomes `linear_cross_entropy`, so that no program holds a batch's
 * logits. Tensors that the loss does not depend on give an error that names them.
 */
export function gradients(
  loss: Tensor,
  wrt: readonly Tensor[],
  { recompute = false }: GradientOptions = {},
): Tensor[] {
  const g = loss.recorder;
  fuseLosses(g);
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

/**
 * Puts linear_cross_entropy in the place of every cross_entropy of x wᵀ, perhaps with a factor and a cap. `gradients` does
 * so; a program without gradients asks for it with `grad` false.
 */
export function fuseLosses(g: Recorder, grad = true): void {
  const uses = new Map<Tensor, number>();
  const maker = new Map<Tensor, Node>();
  for (const node of g.nodes) {
    for (const t of node.inputs) uses.set(t, (uses.get(t) ?? 0) + 1);
    for (const t of node.outputs) maker.set(t, node);
  }
  /** The node of this op that alone makes `t`, for one user. */
  const own = (t: Tensor | undefined, op: Node["op"]): Node | undefined => {
    const node = t && uses.get(t) === 1 ? maker.get(t) : undefined;
    return node?.op === op ? node : undefined;
  };
  const factor = (node: Node) => (node.attrs as { c: number }).c;
  g.nodes.forEach((node, i) => {
    if (node.op !== "cross_entropy") return;
    const attrs = { scale: 1, cap: 0, grad };
    let [logits, targets] = node.inputs as [Tensor, Tensor];
    const outer = own(logits, "scale");
    const inner = own(own(outer?.inputs[0], "tanh")?.inputs[0], "scale");
    if (outer && inner && Math.abs(factor(outer) * factor(inner) - 1) < 1e-12) {
      attrs.cap = factor(outer);
      logits = inner.inputs[0]!;
    }
    const scaled = own(logits, "scale");
    if (scaled) {
      attrs.scale = factor(scaled);
      logits = scaled.inputs[0]!;
    }
    const head = own(logits, "matmul_nt");
    if (head?.inputs.length !== 2) return;
    linear_cross_entropy(head.inputs[0]!, head.inputs[1]!, targets, attrs);
    const made = g.nodes.pop()!; // it belongs where the loss was, and gives that loss
    g.nodes[i] = { ...made, outputs: [node.outputs[0]!, ...made.outputs.slice(1)] };
  });
}
