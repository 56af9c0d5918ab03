/**
 * A program: a flat list of nodes with named inputs, params, states and outputs. Recorded once, run many times.
 */
import { fuseGradients } from "./fuse-gradients.ts";
import { OPS } from "./ops/index.ts";
import { type Node, Recorder, type Tensor } from "./tensor.ts";

export interface Program {
  readonly nodes: readonly Node[];
  readonly inputs: readonly Tensor[];
  readonly params: readonly Tensor[];
  readonly states: readonly Tensor[];
  readonly outputs: ReadonlyMap<string, Tensor>;
}

/**
 * Records `build` into a program. What it returns become the program's outputs, by name. With `composed`, of rows that have
 * gradients, and what gradients do is then fused; with "core", of core rows alone.
 */
export function record(
  build: (g: Recorder) => Record<string, Tensor>,
  options: { composed?: boolean | "core" } = {},
): Program {
  const g = new Recorder(options);
  const outputs = new Map(Object.entries(build(g)));
  const program = finish(g, outputs);
  return options.composed === true ? fuseGradients(program) : program;
}

/** Makes a program of what a recorder holds, without the nodes that nothing needs. */
export function finish(g: Recorder, outputs: ReadonlyMap<string, Tensor>): Program {
  const nodes = prune(g.nodes, outputs);
  const used = new Set<Tensor>(outputs.values());
  for (const node of nodes) for (const t of node.inputs) used.add(t);
  const of = (kind: Tensor["kind"]) => g.tensors.filter((t) => t.kind === kind && used.has(t));
  return { nodes, inputs: of("input"), params: of("param"), states: of("state"), outputs };
}

/** The same program with other nodes: without those that nothing needs. */
export function withNodes(program: Program, nodes: readonly Node[]): Program {
  return { ...program, nodes: prune(nodes, program.outputs) };
}

/** Keeps the nodes that lead to an output or that write a state, in order. */
function prune(nodes: readonly Node[], outputs: ReadonlyMap<string, Tensor>): Node[] {
  const needed = new Set<Tensor>(outputs.values());
  const kept: Node[] = [];
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i]!;
    const writesState = node.inputs.some((t) => t.kind === "state" && isWritten(node, t));
    if (!writesState && !node.outputs.some((t) => needed.has(t))) continue;
    for (const t of node.inputs) needed.add(t);
    kept.push(node);
  }
  return kept.reverse();
}

/** Whether a node writes one of its inputs (a state). */
export function isWritten(node: Node, tensor: Tensor): boolean {
  const row = OPS[node.op];
  return (row.writes ?? []).some((i) => node.inputs[i] === tensor);
}

/** The same program in core rows alone: every fused row is replaced by its composition. */
export function compose(program: Program): Program {
  const g = new Recorder({ composed: "core" });
  const to = new Map<Tensor, Tensor>();
  for (const t of program.inputs) to.set(t, g.input(t.name!, t.dtype, t.shape));
  for (const t of program.params) to.set(t, g.param(t.name!, t.shape));
  for (const t of program.states) to.set(t, g.state(t.name!, t.shape));
  for (const node of program.nodes) {
    const outputs = g.emit(
      node.op,
      node.inputs.map((t) => to.get(t)!),
      node.attrs as never,
    );
    node.outputs.forEach((t, i) => {
      to.set(t, outputs[i]!);
    });
  }
  return finish(g, new Map([...program.outputs].map(([name, t]) => [name, to.get(t)!])));
}
