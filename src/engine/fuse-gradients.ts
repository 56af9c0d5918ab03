/**
 * Rewrites a program with gradients so that it takes less memory and fewer passes over it: gradients go straight into the
 * states that sum them, as soon as what they are made of is there, and what is added to a product is added by it.
 */
import { areWeights, type LinearDistillationAttrs } from "./ops/linear-distillation.ts";
import { areOnes } from "./ops/loss.ts";
import { type Program, withNodes } from "./program.ts";
import type { Node, Tensor } from "./tensor.ts";

export function fuseGradients(program: Program): Program {
  const uses = new Map<Tensor, number>();
  const count = (t: Tensor) => uses.set(t, (uses.get(t) ?? 0) + 1);
  const maker = new Map<Tensor, Node>();
  for (const node of program.nodes) {
    node.inputs.forEach(count);
    for (const t of node.outputs) maker.set(t, node);
  }
  for (const t of program.outputs.values()) {
    count(t);
    count(t); // an output is never the private value of one node
  }
  const position = new Map(program.nodes.map((node, i) => [node, i]));
  /** What stands in the place of a node; several for one that others were moved to. */
  const instead = new Map<Node, Node[]>();
  const gone = new Set<Node>();

  // Sums that nothing else touches may grow at any time.
  const others = new Set<Tensor>();
  for (const node of program.nodes)
    node.inputs.forEach((t, i) => {
      if (node.op !== "accumulate" || i !== 0) others.add(t);
    });
  const after = (node: Node, made: Node) => instead.set(node, [...(instead.get(node) ?? [node]), made]);
  const replace = (node: Node, made: Node) => instead.set(node, [made]);

  /** sum += x, where x is made. False: x is not made here. */
  const grow = (sum: Tensor, x: Tensor): boolean => {
    const node = maker.get(x);
    if (!node || node.op === "reshape") return false;
    const own = uses.get(x) === 1;
    if (own && node.op === "add" && sameShape(node) && node.inputs.every((t) => maker.has(t))) {
      const all = node.inputs.map((t) => grow(sum, t));
      node.inputs.forEach((t, i) => {
        if (!all[i]) after(node, { op: "accumulate", inputs: [sum, t], outputs: [], attrs: {} });
      });
      if (all.every(Boolean)) gone.add(node);
      else instead.set(node, instead.get(node)!.slice(1));
    } else if (own && node.op === "matmul_tn") {
      replace(node, { ...node, op: "accumulate_tn", inputs: [sum, ...node.inputs], outputs: [] });
    } else if (own && node.op === "scatter_add_rows") {
      replace(node, { op: "accumulate_rows", inputs: [sum, ...node.inputs], outputs: [], attrs: {} });
    } else if (own && intoLoss(sum, node)) {
      gone.add(node);
    } else {
      after(node, { op: "accumulate", inputs: [sum, x], outputs: [], attrs: {} });
    }
    return true;
  };
  /** The loss itself sums the gradient by its weight, when every row counts as it does there. */
  const intoLoss = (sum: Tensor, node: Node): boolean => {
    const [op, operands] =
      node.op === "linear_cross_entropy_weight_grad"
        ? (["linear_cross_entropy", 3] as const)
        : (["linear_distillation", 5] as const);
    const whole =
      op === "linear_cross_entropy"
        ? areOnes(node.inputs[3]!)
        : node.op === "linear_distillation_grad" &&
          areWeights(node.inputs[5]!, node.inputs[6]!, node.attrs as LinearDistillationAttrs);
    const same = node.inputs.slice(0, operands);
    const loss = program.nodes.find((n) => n.op === op && same.every((t, i) => n.inputs[i] === t));
    if (!whole || loss?.inputs.length !== operands || instead.has(loss)) return false;
    replace(loss, { ...loss, inputs: [...loss.inputs, sum], attrs: { ...loss.attrs, sum: true } });
    return true;
  };
  for (const node of program.nodes) {
    if (node.op !== "accumulate" || others.has(node.inputs[0]!)) continue;
    if (grow(node.inputs[0]!, node.inputs[1]!)) gone.add(node);
  }

  // x + product
  for (const node of program.nodes) {
    if (node.op !== "add" || !sameShape(node) || gone.has(node) || instead.has(node)) continue;
    const products = node.inputs
      .map((t) => maker.get(t))
      .filter((n) => n && isProduct(n) && !instead.has(n) && !gone.has(n));
    const last = products
      .filter((n) => uses.get(n!.outputs[0]!) === 1)
      .sort((a, b) => position.get(b!)! - position.get(a!)!)[0];
    if (!last || node.inputs[0] === node.inputs[1]) continue;
    const added = node.inputs.find((t) => t !== last.outputs[0])!;
    gone.add(last);
    replace(node, { ...last, inputs: [...last.inputs, added], outputs: node.outputs });
  }
  const nodes = program.nodes.flatMap((node) => {
    const made = instead.get(node) ?? [node];
    return gone.has(node) ? made.filter((n) => n !== node) : made;
  });
  return withNodes(program, nodes);
}

/**
 * The same program with products that take bf16 where the backend's processor multiplies it faster (AVX512-BF16): both
 * operands are rounded to bf16, sums stay f32. Norms, softmax, the loss, sums of gradients and the optimizer stay f32.
 */
export function lowered(program: Program): Program {
  const nodes = program.nodes.map((node) =>
    LOWERED.has(node.op) ? { ...node, attrs: { ...node.attrs, bf16: true } } : node,
  );
  return { ...program, nodes };
}

const LOWERED = new Set<string>([
  ...["matmul_nt", "matmul_nn", "matmul_tn", "accumulate_tn"],
  ...["linear_cross_entropy", "linear_cross_entropy_weight_grad"],
  ...["linear_distillation", "linear_distillation_grad"],
]);

function isProduct(node: Node): boolean {
  return (node.op === "matmul_nt" || node.op === "matmul_nn") && node.inputs.length === 2;
}

function sameShape({ inputs: [a, b] }: Node): boolean {
  return a!.shape.join() === b!.shape.join();
}
