/**
 * The memory plan of a program: a byte offset for every activation, reused once its last reader is done, and the
 * nodes before which all threads must meet. Offsets are planned once, for the largest T, S and R.
 */
import type { Dims } from "./backend.ts";
import { isWritten, type Program } from "./program.ts";
import { elements, type Node, symbol, type Tensor } from "./tensor.ts";

export interface Plan {
  readonly arenaBytes: number;
  /** Byte offset of an activation in the arena. Reshaped activations have their source's. */
  readonly place: ReadonlyMap<Tensor, number>;
  /** The tensor whose memory this one shares: itself, or what was reshaped into it (perhaps a param or an input). */
  root(tensor: Tensor): Tensor;
  /** For each node, whether threads meet before it. */
  readonly barriers: readonly boolean[];
}

const ALIGN = 64;

/** Rows that use no scratch shared between threads; two others in a row would step on each other's. */
const NO_SHARED = new Set(
  "dropout neg exp log sqrt rsqrt tanh erf sigmoid abs step scale shift add sub mul div maximum silu gelu gelu_erf swiglu geglu rope rope_write kv_write gather_rows rms_norm layer_norm broadcast_last broadcast_rows slice_last pad_last concat_last rms_norm_grad swiglu_grad geglu_grad matmul_nn matmul_tn accumulate_tn accumulate accumulate_rows clear_state adamw attention attention_grad scatter_add_rows pick_last place_last sum_last sum_rows max_last causal_conv causal_conv_grad short_conv delta_rule gated_delta_net distillation_loss distillation_slopes distillation_topk_loss distillation_topk_slopes scale_groups scale_groups_grad round_half round_activations".split(
    " ",
  ),
);

/** Bytes of a tensor when the free dimensions are at their largest. All elements are 4 bytes wide. */
export function tensorBytes(tensor: Tensor, maxima: Dims): number {
  const sym = symbol(tensor.shape);
  return elements(tensor.shape) * (sym ? maxima[sym] : 1) * 4;
}

export function plan(program: Program, maxima: Dims): Plan {
  const source = new Map<Tensor, Tensor>();
  for (const node of program.nodes) if (node.op === "reshape") source.set(node.outputs[0]!, node.inputs[0]!);
  const root = (t: Tensor): Tensor => {
    let at = t;
    for (let next = source.get(at); next; next = source.get(at)) at = next;
    return at;
  };

  const lastUse = new Map<Tensor, number>();
  program.nodes.forEach((node, i) => {
    for (const t of [...node.inputs, ...node.outputs]) lastUse.set(root(t), i);
  });
  for (const t of program.outputs.values()) lastUse.set(root(t), program.nodes.length);

  const place = new Map<Tensor, number>();
  const live: { tensor: Tensor; start: number; end: number }[] = []; // ascending by start
  let arenaBytes = 0;
  program.nodes.forEach((node, i) => {
    if (node.op === "reshape") return;
    for (let j = live.length - 1; j >= 0; j--) if (lastUse.get(live[j]!.tensor)! < i) live.splice(j, 1);
    for (const tensor of node.outputs) {
      const bytes = Math.ceil(Math.max(1, tensorBytes(tensor, maxima)) / ALIGN) * ALIGN;
      let start = 0;
      let at = 0;
      while (at < live.length && live[at]!.start < start + bytes) start = Math.max(start, live[at++]!.end);
      live.splice(at, 0, { tensor, start, end: start + bytes });
      live.sort((a, b) => a.start - b.start);
      place.set(tensor, start);
      arenaBytes = Math.max(arenaBytes, start + bytes);
    }
  });
  for (const t of source.keys()) {
    const at = place.get(root(t));
    if (at !== undefined) place.set(t, at);
  }
  return { arenaBytes, place, root, barriers: barriers(program, maxima, place, root) };
}

interface Range {
  readonly space: Tensor | "arena";
  readonly start: number;
  readonly end: number;
}

/** A node waits for all threads when it touches bytes that a node since the last meeting wrote, or writes bytes that one read. */
function barriers(
  program: Program,
  maxima: Dims,
  place: ReadonlyMap<Tensor, number>,
  root: (t: Tensor) => Tensor,
): boolean[] {
  const range = (t: Tensor): Range => {
    const at = place.get(t);
    return at === undefined
      ? { space: root(t), start: 0, end: Infinity }
      : { space: "arena", start: at, end: at + tensorBytes(t, maxima) };
  };
  const meets = (a: Range, b: Range) => a.space === b.space && a.start < b.end && b.start < a.end;
  let reads: Range[] = [];
  let writes: Range[] = [];
  let shared = false;
  return program.nodes.map((node) => {
    if (node.op === "reshape") return false;
    const [mine, theirs] = [touched(node, true).map(range), touched(node, false).map(range)];
    const usesShared = !NO_SHARED.has(node.op);
    const barrier =
      (shared && usesShared) ||
      writes.some((w) => mine.some((m) => meets(w, m)) || theirs.some((r) => meets(w, r))) ||
      reads.some((r) => mine.some((m) => meets(r, m)));
    if (barrier) [reads, writes, shared] = [[], [], false];
    writes.push(...mine);
    reads.push(...theirs);
    shared ||= usesShared;
    return barrier;
  });
}

/** What a node writes, or what it only reads. */
function touched(node: Node, written: boolean): Tensor[] {
  const states = node.inputs.filter((t) => isWritten(node, t) === written);
  return written ? [...node.outputs, ...states] : states;
}
