/**
 * Rewrites a program so that what lies between two barriers is one node: `linear` (norm, products that share their
 * input, adapters, biases, residual or activation) and `rope_write`. The meaning stays: each fused row's composition is what it replaces.
 */
import type { LinearAttrs, WeightRows } from "./ops/linear.ts";
import type { LoraAttrs } from "./ops/lora.ts";
import { isWritten, type Program } from "./program.ts";
import type { Node, Tensor } from "./tensor.ts";

export function fuse(program: Program): Program {
  const uses = countUses(program);
  const gone = new Set<Node>();
  const made: Node[] = [];
  const user = new Map<Tensor, Node[]>();
  for (const node of program.nodes) for (const t of node.inputs) user.set(t, [...(user.get(t) ?? []), node]);
  const maker = new Map<Tensor, Node>();
  for (const node of program.nodes) for (const t of node.outputs) maker.set(t, node);
  /** The only user of a tensor that nothing else needs, if it is not a part of another node already. */
  const soleUser = (t: Tensor): Node | undefined => {
    const [only] = user.get(t) ?? [];
    return uses.get(t) === 1 && only && !gone.has(only) ? only : undefined;
  };

  for (const first of program.nodes) {
    if (first.op !== "matmul_nt" || gone.has(first)) continue;
    const x = first.inputs[0]!;
    const { int8 } = first.attrs as { int8: boolean };
    const isMate = (n: Node) =>
      n.op === "matmul_nt" &&
      n.inputs.length === 2 &&
      n.inputs[0] === x &&
      (n.attrs as { int8: boolean }).int8 === int8 &&
      n.inputs[1]!.kind === "param";
    if (!isMate(first)) continue;
    const mates = program.nodes.filter((n) => isMate(n) && !gone.has(n)).slice(0, MOST_WEIGHTS);
    const replaced: Node[] = [...mates];

    let weights = mates.map((n) => n.inputs[1]!);
    let outputs = mates.map((n) => n.outputs[0]!);
    // What adapters do to the products; those that other tables or rows decide stay as they are.
    let tables: readonly Tensor[] = [];
    let linears = outputs.map((y, j) => {
      const next = soleUser(y);
      if (next?.op !== "lora" || next.inputs[0] !== y || next.inputs[1] !== x) return -1;
      const attrs = next.attrs as LoraAttrs;
      const own = next.inputs.slice(2);
      if (attrs.int8 !== int8 || (tables.length > 0 && !sameTensors(own, tables))) return -1;
      tables = own;
      replaced.push(next);
      outputs = outputs.with(j, next.outputs[0]!);
      return attrs.linear;
    });
    const adapted = linears.filter((i) => i >= 0).length;

    let biases = outputs.map((y, j) => {
      const next = soleUser(y);
      const bias = next?.op === "add" && next.inputs[0] === y ? next.inputs[1]! : undefined;
      if (bias?.kind !== "param" || bias.shape.length !== 1) return undefined;
      replaced.push(next!);
      outputs = outputs.with(j, next!.outputs[0]!);
      return bias;
    });

    // A product that is only sliced (q, k and v of one weight) becomes several, each of some rows of that weight.
    let ranges: WeightRows[] | undefined;
    const slices = mates.length === 1 ? slicesOf(outputs[0]!, uses, user) : [];
    if (slices.length > 0) {
      ranges = slices.map(({ attrs }) => attrs as WeightRows);
      const repeat = <T>([only]: readonly T[]) => slices.map(() => only!);
      [weights, linears, biases] = [repeat(weights), repeat(linears), repeat(biases)];
      outputs = slices.map((n) => n.outputs[0]!);
      replaced.push(...slices);
    }

    let epilogue: LinearAttrs["epilogue"] = "none";
    let residual: Tensor | undefined;
    let next = soleUser(outputs[0]!);
    // A factor before the residual: Granite's.
    const factor = weights.length === 1 && next?.op === "scale" ? next : undefined;
    if (factor) {
      const sum = soleUser(factor.outputs[0]!);
      if (sum?.op === "add" && sameShapes(sum.inputs)) next = sum;
    }
    if (
      weights.length === 2 &&
      (next?.op === "swiglu" || next?.op === "geglu") &&
      next.inputs[0] === outputs[0] &&
      next.inputs[1] === outputs[1] &&
      soleUser(outputs[1]!) === next
    ) {
      epilogue = next.op;
    } else if (weights.length === 1 && (next?.op === "gelu" || next?.op === "gelu_erf")) {
      epilogue = next.op;
    } else if (weights.length === 1 && next?.op === "add" && sameShapes(next.inputs)) {
      const own = factor?.outputs[0] ?? outputs[0];
      residual = next.inputs.find((t) => t !== own);
      if (residual) epilogue = "residual";
      if (residual && factor) replaced.push(factor);
    }
    if (epilogue !== "none") {
      replaced.push(next!);
      outputs = [next!.outputs[0]!];
    }

    const norm = maker.get(x);
    const layer = norm?.op === "layer_norm";
    const takesNorm =
      (layer || norm?.op === "rms_norm") &&
      norm.inputs.slice(1).every((t) => t.kind === "param") &&
      uses.get(x) === mates.length + adapted;
    if (takesNorm) replaced.push(norm!);

    for (const node of replaced) gone.add(node);
    const inputs = [
      takesNorm ? norm!.inputs[0]! : x,
      ...(takesNorm ? norm!.inputs.slice(1) : []),
      ...weights,
    ];
    inputs.push(...biases.filter((b) => b !== undefined), ...(residual ? [residual] : []), ...tables);
    made.push({
      op: "linear",
      inputs,
      outputs,
      attrs: {
        n: weights.length,
        norm: takesNorm ? { ...norm!.attrs, ...(layer && { layer }) } : undefined,
        bias: biases.map(Boolean),
        epilogue,
        int8,
        ...(epilogue === "residual" && factor && { scale: (factor.attrs as { c: number }).c }),
        ...(ranges && { ranges }),
        ...(adapted > 0 && { adapters: { linears, rows: tables.length === 3 } }),
      },
    });
  }

  for (const write of program.nodes) {
    if (write.op !== "kv_write") continue;
    const [k, v, kv, segments, pages] = write.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const ropeK = maker.get(k);
    if (ropeK?.op !== "rope" || uses.get(k) !== 1) continue;
    const attend = program.nodes.find(
      (n) =>
        n.op === "attention_paged" &&
        n.inputs[1] === kv &&
        (n.attrs as { layer: number }).layer === (write.attrs as { layer: number }).layer,
    );
    const ropeQ = attend && maker.get(attend.inputs[0]!);
    if (ropeQ?.op !== "rope" || ropeQ.inputs[1] !== ropeK.inputs[1] || ropeQ.inputs[2] !== ropeK.inputs[2])
      continue;
    if ([ropeQ, ropeK].some((n) => (n.attrs as { inverse: boolean }).inverse)) continue;
    for (const node of [write, ropeK, ropeQ]) gone.add(node);
    const [, positions, table] = ropeK.inputs as [Tensor, Tensor, Tensor];
    let [q, rotated] = [ropeQ.inputs[0]!, ropeK.inputs[0]!];
    // rms_norm of the heads before, when it is nothing else's.
    const norms = [q, rotated].map((t) => maker.get(t));
    const [eps, other] = norms.map((n) => (n?.attrs as { eps?: number } | undefined)?.eps);
    const normed =
      eps !== undefined &&
      eps === other &&
      norms.every(
        (n) => n?.op === "rms_norm" && n.inputs[1]!.kind === "param" && uses.get(n.outputs[0]!) === 1,
      );
    if (normed) {
      for (const norm of norms) gone.add(norm!);
      [q, rotated] = [norms[0]!.inputs[0]!, norms[1]!.inputs[0]!];
    }
    made.push({
      op: "rope_write",
      inputs: [
        ...[q, rotated, v, positions, table, kv, segments, pages],
        ...(normed ? norms.map((n) => n!.inputs[1]!) : []),
      ],
      outputs: ropeQ.outputs,
      attrs: { ...write.attrs, ...(normed && { norm: { eps } }) },
    });
  }
  return { ...program, nodes: order(program, gone, made) };
}

/** Most weights of one `linear`. */
const MOST_WEIGHTS = 4;

/** The slices that a product is used by, if by nothing else and each can be some panels of the weight. */
function slicesOf(y: Tensor, uses: ReadonlyMap<Tensor, number>, user: ReadonlyMap<Tensor, Node[]>): Node[] {
  const all = user.get(y) ?? [];
  const fit = all.every(({ op, attrs }) => op === "slice_last" && (attrs as WeightRows).start % PANEL === 0);
  return fit && all.length <= MOST_WEIGHTS && uses.get(y) === all.length ? all : [];
}

/** Rows of a packed weight that lie together. */
const PANEL = 16;

function sameShapes(inputs: readonly Tensor[]): boolean {
  return inputs[0]!.shape.join() === inputs[1]!.shape.join();
}

function sameTensors(a: readonly Tensor[], b: readonly Tensor[]): boolean {
  return a.length === b.length && a.every((t, i) => t === b[i]);
}

function countUses(program: Program): Map<Tensor, number> {
  const uses = new Map<Tensor, number>();
  const count = (t: Tensor) => uses.set(t, (uses.get(t) ?? 0) + 1);
  for (const node of program.nodes) node.inputs.forEach(count);
  for (const t of program.outputs.values()) {
    count(t);
    count(t); // an output is never the private value of one node
  }
  return uses;
}

/** Old and new nodes in an order in which every value is made before it is read, and states are met in the old order. */
function order(program: Program, gone: ReadonlySet<Node>, made: readonly Node[]): Node[] {
  const position = new Map<Tensor, number>();
  program.nodes.forEach((node, i) => {
    for (const t of node.outputs) position.set(t, i);
  });
  // A fused node stands where the last node that it replaced stood; a kept one where it was.
  const at = (node: Node, i: number): number => {
    if (i < program.nodes.length) return i;
    if (node.op === "rope_write") {
      const layer = (node.attrs as { layer: number }).layer;
      const kv = node.inputs[5];
      return program.nodes.findIndex(
        (n) => n.op === "kv_write" && n.inputs[2] === kv && (n.attrs as { layer: number }).layer === layer,
      );
    }
    return Math.max(...node.outputs.map((t) => position.get(t)!));
  };
  const all = [...program.nodes, ...made]
    .map((node, i) => ({ node, at: at(node, i) }))
    .filter(({ node }) => !gone.has(node));
  all.sort((a, b) => a.at - b.at);

  const ready = new Set<Tensor>([...program.inputs, ...program.params, ...program.states]);
  const done: Node[] = [];
  let waiting = all.map((x) => x.node);
  const written = new Set(waiting.flatMap((node) => node.inputs.filter((t) => isWritten(node, t))));
  while (waiting.length > 0) {
    const later: Node[] = [];
    const blocked = new Set<Tensor>(); // states that a waiting node comes first to
    for (const node of waiting) {
      const free = node.inputs.every((t) => ready.has(t)) && !node.inputs.some((t) => blocked.has(t));
      if (free) {
        done.push(node);
        for (const t of node.outputs) ready.add(t);
      } else {
        later.push(node);
        for (const t of node.inputs) if (written.has(t)) blocked.add(t);
      }
    }
    if (later.length === waiting.length)
      throw new Error("Cannot order the fused program: its nodes wait for each other");
    waiting = later;
  }
  return done;
}
