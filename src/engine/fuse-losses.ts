/**
 * Rewrites heads and what is lost at them into one op each, so that no program holds a batch's logits: cross_entropy of x wᵀ
 * becomes linear_cross_entropy; distillation_loss of x wᵀ and a teacher's x wᵀ, or distillation_topk_loss, with the
 * cross_entropy of the same logits if there is one, becomes linear_distillation. Heads may have a factor and a cap, and the
 * distillation may be of the first logits, as many as the shorter vocabulary has.
 */
import { linear_cross_entropy, linear_distillation, scale } from "./nn.ts";
import type { DistillationAttrs } from "./ops/distillation.ts";
import type { Node, Recorder, Tensor } from "./tensor.ts";

interface Head {
  readonly x: Tensor;
  readonly w: Tensor;
  readonly scale: number;
  readonly cap: number;
}

/** @param loss what is differentiated, or false: nothing is */
export function fuseLosses(g: Recorder, loss: Tensor | false): void {
  const uses = new Map<Tensor, number>();
  const maker = new Map<Tensor, Node>();
  for (const node of g.nodes) {
    for (const t of node.inputs) uses.set(t, (uses.get(t) ?? 0) + 1);
    for (const t of node.outputs) maker.set(t, node);
  }
  /** The node of this op that alone makes `t`, for so many uses. */
  const own = (t: Tensor | undefined, op: Node["op"], users = 1): Node | undefined => {
    const node = t && uses.get(t) === users ? maker.get(t) : undefined;
    return node?.op === op ? node : undefined;
  };
  const factor = (node: Node) => (node.attrs as { c: number }).c;
  /** What makes logits that nothing else uses. */
  const headOf = (logits: Tensor, users: number): Head | undefined => {
    let [at, left, by, cap] = [logits, users, 1, 0];
    const outer = own(at, "scale", left);
    const inner = own(own(outer?.inputs[0], "tanh")?.inputs[0], "scale");
    if (outer && inner && Math.abs(factor(outer) * factor(inner) - 1) < 1e-12) {
      cap = factor(outer);
      [at, left] = [inner.inputs[0]!, 1];
    }
    const scaled = own(at, "scale", left);
    if (scaled) {
      by = factor(scaled);
      [at, left] = [scaled.inputs[0]!, 1];
    }
    const head = own(at, "matmul_nt", left);
    if (head?.inputs.length !== 2) return undefined;
    return { x: head.inputs[0]!, w: head.inputs[1]!, scale: by, cap };
  };
  /** What a tensor, used once, is the first columns of: else itself. */
  const whole = (t: Tensor): Tensor => {
    const node = own(t, "slice_last");
    return node && (node.attrs as { start: number }).start === 0 ? node.inputs[0]! : t;
  };
  /** Puts the node that was recorded last where another was, with its outputs in the place of known ones. */
  const put = (at: number, outputs: readonly Tensor[]) => {
    const made = g.nodes.pop()!;
    g.nodes[at] = { ...made, outputs: [...outputs, ...made.outputs.slice(outputs.length)] };
  };

  const counts = loss && factors(g, loss);
  const nodes = [...g.nodes];
  for (const [i, node] of nodes.entries()) {
    const named = node.op === "distillation_topk_loss";
    if (!named && node.op !== "distillation_loss") continue;
    // The tail of named tokens is what all others have together, so there the first ones alone are something else.
    const logits = named ? node.inputs[0]! : whole(node.inputs[0]!);
    const j = nodes.findIndex((n) => n.op === "cross_entropy" && n.inputs[0] === logits);
    const ce = nodes[j];
    const student = headOf(logits, ce ? 2 : 1);
    const theirs = named ? undefined : headOf(whole(node.inputs[1]!), 1);
    if (!student || !(named || theirs)) continue;
    const sizes = [student.w.shape[0], theirs?.w.shape[0] ?? node.inputs[0]!.shape[1]] as number[];
    if (Math.min(...sizes) !== node.inputs[0]!.shape[1]) continue;
    const teacher = theirs ? [theirs.x, theirs.w] : node.inputs.slice(1);
    // It stands where the earlier of the two was, or where the later one was if nobody before wants the other.
    const [first, last] = ce ? [Math.min(i, j), Math.max(i, j)] : [i, i];
    const operands = [student.x, student.w, ...(ce?.inputs.slice(1) ?? []), ...teacher];
    const early = operands.every((t) => !maker.has(t) || nodes.indexOf(maker.get(t)!) < first);
    const wanted = nodes.slice(first, last).some((n) => n.inputs.includes(nodes[first]!.outputs[0]!));
    if (!early && wanted) continue;
    const weights = [ce?.outputs[0], node.outputs[0]].map((t) => (t && counts ? (counts.get(t) ?? 0) : 0));
    if (weights.includes(Number.NaN)) continue;
    linear_distillation(student.x, student.w, ce?.inputs[1], teacher as [Tensor, Tensor], {
      ...(node.attrs as DistillationAttrs),
      scale: student.scale,
      cap: student.cap,
      teacher_scale: theirs?.scale ?? 1,
      teacher_cap: theirs?.cap ?? 0,
      ce_weight: weights[0]!,
      kd_weight: weights[1]!,
      masked: false,
      grad: loss !== false,
    });
    put(early ? first : last, [ce?.outputs[0] ?? g.nodes.at(-1)!.outputs[0]!, node.outputs[0]!]);
    if (ce) {
      scale(student.x, 0); // nobody's, so that nodes keep their numbers
      put(early ? last : first, []);
    }
  }
  for (const [i, node] of nodes.entries()) {
    if (node.op !== "cross_entropy" || g.nodes[i] !== node) continue;
    const head = headOf(node.inputs[0]!, 1);
    if (!head) continue;
    const { x, w, ...attrs } = head;
    linear_cross_entropy(x, w, node.inputs[1]!, { ...attrs, grad: loss !== false });
    put(i, [node.outputs[0]!]);
  }
}

/** What each tensor counts in a loss: a number as long as it is only summed and scaled on the way, else NaN. */
function factors(g: Recorder, loss: Tensor): Map<Tensor, number> {
  const found = new Map([[loss, 1]]);
  for (const node of g.nodes.toReversed()) {
    const outputs = node.outputs.filter((t) => found.has(t));
    if (outputs.length === 0) continue;
    const by = found.get(outputs[0]!)!;
    const give = (t: Tensor | undefined, c: number) => t && found.set(t, (found.get(t) ?? 0) + c);
    const [a, b] = node.inputs;
    const alike = a?.shape.join() === b?.shape.join();
    if (["sum_rows", "sum_last", "reshape", "shift"].includes(node.op)) give(a, by);
    else if (node.op === "scale") give(a, by * (node.attrs as { c: number }).c);
    else if (node.op === "neg") give(a, -by);
    else if ((node.op === "add" || node.op === "sub") && alike) {
      give(a, by);
      give(b, node.op === "add" ? by : -by);
    } else for (const t of node.inputs) give(t, Number.NaN);
  }
  return found;
}
