// Where a scale of a linear's input channels can go without changing what a model computes: into the norm before it, or into the
// rows of the linear that its input is a multiple of. Read from what a part is recorded as, so no type is named here.

import type { Node, Tensor } from "../engine/tensor.ts";

/** Columns of `linears` times s are the same function where what is before them is divided by s. */
export interface Fold {
  /** Weights of linears with one input. */
  readonly linears: readonly string[];
  /** A norm's weight, or a linear's: its elements, or rows, are divided; so is the bias. */
  readonly before: string;
  readonly bias?: string;
  /** Of each column of the linears the element or row of `before`. Heads that share a value share their rows. */
  readonly from: Int32Array;
}

/** The folds of a part. */
export function findFolds(nodes: readonly Node[]): Fold[] {
  const makers = new Map<Tensor, Node>();
  const users = new Map<Tensor, Node[]>();
  for (const node of nodes) {
    for (const output of node.outputs) makers.set(output, node);
    for (const input of new Set(node.inputs)) users.set(input, [...(users.get(input) ?? []), node]);
  }
  const found: Fold[] = [];
  for (const [x, readers] of users) {
    if (!readers.every((node) => isLinear(node) && node.inputs[0] === x)) continue;
    const source = sourceOf(x, makers, users);
    if (source) found.push({ linears: readers.map(({ inputs }) => inputs[1]!.name!), ...source });
  }
  return found;
}

const isLinear = ({ op, inputs }: Node) => op === "matmul_nt" && inputs[1]!.kind === "param";

type Source = Omit<Fold, "linears">;

/** What x [T, K] is a multiple of, channel by channel. */
function sourceOf(
  x: Tensor,
  makers: ReadonlyMap<Tensor, Node>,
  users: ReadonlyMap<Tensor, readonly Node[]>,
): Source | undefined {
  const node = makers.get(x);
  const [first, second, third] = node?.inputs ?? [];
  const K = Number(x.shape.at(-1));
  const all = Int32Array.from({ length: K }, (_, c) => c);
  switch (node?.op) {
    case "rms_norm":
      return second!.shape.length === 1 ? { before: second!.name!, from: all } : undefined;
    case "layer_norm":
      return { before: second!.name!, bias: third!.name!, from: all };
    case "swiglu":
    case "geglu":
      return linearOf(second!, all, makers, users);
    case "reshape": {
      // Rows of attention's output are means of rows of values.
      const attention = makers.get(first!);
      if (attention?.op !== "attention" || attention.outputs[0] !== first) return undefined;
      const values = attention.inputs[2]!;
      const [Hq, Hkv, D] = [Number(first!.shape[1]), Number(values.shape[1]), Number(values.shape[2])];
      const from = all.map((c) => Math.floor((Math.floor(c / D) * Hkv) / Hq) * D + (c % D));
      return linearOf(values, from, makers, users);
    }
    default:
      return undefined;
  }
}

/** The linear that x is the output of, or some columns of it, where nothing else reads them. */
function linearOf(
  x: Tensor,
  from: Int32Array,
  makers: ReadonlyMap<Tensor, Node>,
  users: ReadonlyMap<Tensor, readonly Node[]>,
): Source | undefined {
  let bias: string | undefined;
  let start = 0;
  for (let t = x; ; ) {
    const node = makers.get(t);
    const readers = users.get(t) ?? [];
    const sliced = readers.every(({ op }) => op === "slice_last") && start + Number(t !== x) > 0;
    if (!node || (readers.length !== 1 && !sliced)) return undefined;
    const [input, second] = node.inputs as [Tensor, Tensor | undefined];
    if (isLinear(node)) {
      const moved = from.map((c) => start + c);
      return { before: second!.name!, from: moved, ...(bias !== undefined && { bias }) };
    }
    if (node.op === "slice_last" && input.shape.length === 2)
      start += (node.attrs as { readonly start: number }).start;
    else if (node.op === "add" && second!.kind === "param" && second!.shape.length === 1)
      bias = second!.name!;
    else if (node.op !== "reshape") return undefined;
    t = input;
  }
}
