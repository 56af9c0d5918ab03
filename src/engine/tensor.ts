/**
 * Symbolic tensors and the recorder: what model code sees. Nothing is computed here and no memory is held;
 * a recorded list of nodes becomes a program (program.ts), and a backend runs it.
 */

import type { AttrsOf, OpName } from "./ops/index.ts";
import { OPS } from "./ops/index.ts";

/** The free dimensions of a program: `T` tokens, `S` segments, `R` output rows. */
export type Sym = "T" | "S" | "R";
export type Dim = number | Sym;
/** Outermost first. At most one symbol, and only as the first dimension. */
export type Shape = readonly Dim[];
/** Element type of what flows between ops. Parameters may be of any weight type: the op asks for values. */
export type DType = "f32" | "i32";

/**
 * Where a tensor's values live.
 * `activation`: planned memory of the program · `input`: given at each run · `param`: bound once, read only
 * · `state`: bound once, and some op writes it (KV pages, optimizer moments, gradient sums).
 */
export type TensorKind = "activation" | "input" | "param" | "state";

export interface Tensor {
  readonly id: number;
  readonly kind: TensorKind;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Inputs, params and states have a name; activations only when they are outputs. */
  readonly name: string | undefined;
  readonly recorder: Recorder;
}

/** One application of an op. Tensors in `inputs` that the op writes (states) are listed by its row's `writes`. */
export interface Node {
  readonly op: OpName;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attrs: object;
}

/** Collects the nodes that model code emits, in order. */
export class Recorder {
  readonly nodes: Node[] = [];
  readonly tensors: Tensor[] = [];
  readonly named = new Map<string, Tensor>();
  /** Ends of parts that a backward pass may compute again, in order: see `gradients`. */
  readonly checkpoints: { readonly tensor: Tensor; readonly nodes: number }[] = [];
  private readonly composed: boolean | "core";

  /**
   * With `composed`, fused rows without a gradient are recorded as the core rows they are made of: what gradients need. With
   * "core", all of them.
   */
  constructor({ composed = false }: { composed?: boolean | "core" } = {}) {
    this.composed = composed;
  }

  /** Says that everything recorded so far is needed for what follows only through `tensor`, inputs, params and states. */
  checkpoint(tensor: Tensor): void {
    this.checkpoints.push({ tensor, nodes: this.nodes.length });
  }

  private add(kind: TensorKind, dtype: DType, shape: Shape, name?: string): Tensor {
    checkShape(shape, name ?? `#${this.tensors.length}`);
    const tensor: Tensor = { id: this.tensors.length, kind, dtype, shape, name, recorder: this };
    this.tensors.push(tensor);
    return tensor;
  }

  private declare(kind: TensorKind, dtype: DType, shape: Shape, name: string): Tensor {
    const known = this.named.get(name);
    if (known) {
      if (known.kind !== kind || known.dtype !== dtype || known.shape.join() !== shape.join())
        throw new TypeError(
          `Cannot declare ${kind} "${name}" as ${dtype}[${shape}]: it is already ${known.kind} ${known.dtype}[${known.shape}]`,
        );
      return known;
    }
    const tensor = this.add(kind, dtype, shape, name);
    this.named.set(name, tensor);
    return tensor;
  }

  /** Data given at every run. */
  input(name: string, dtype: DType, shape: Shape): Tensor {
    return this.declare("input", dtype, shape, name);
  }

  /** A bound, read-only tensor: a weight of any type, or a table. Declaring it twice gives the same tensor. */
  param(name: string, shape: Shape): Tensor {
    return this.declare("param", "f32", shape, name);
  }

  /** A bound tensor that ops write to. A KV pool has shape [0]: its layout belongs to the backend. */
  state(name: string, shape: Shape): Tensor {
    return this.declare("state", "f32", shape, name);
  }

  /** Applies one op. Shapes are checked by its row. */
  emit<N extends OpName>(op: N, inputs: readonly Tensor[], attrs: AttrsOf<N>): Tensor[] {
    for (const input of inputs)
      if (input.recorder !== this)
        throw new TypeError(`Cannot apply ${op}: an input belongs to another recording`);
    const row = OPS[op];
    if (row.kind === "fused" && (this.composed === "core" || (this.composed && row.gradient === undefined))) {
      row.shape(inputs, attrs);
      return row.compose(inputs, attrs);
    }
    const outputs = row
      .shape(inputs, attrs as never)
      .map((o) => this.add("activation", o.dtype ?? "f32", o.shape));
    this.nodes.push({ op, inputs, outputs, attrs });
    return outputs;
  }
}

function checkShape(shape: Shape, what: string): void {
  shape.forEach((dim, i) => {
    const good = typeof dim === "string" ? i === 0 : Number.isInteger(dim) && dim >= 0;
    if (!good)
      throw new RangeError(
        `Cannot make tensor ${what}: dimension ${i} of [${shape}] is ${dim}, wanted a size >= 0, or T, S or R first`,
      );
  });
}

/** Number of elements for one unit of the symbol (or in all, when there is none). */
export function elements(shape: Shape): number {
  let n = 1;
  for (const dim of shape) if (typeof dim === "number") n *= dim;
  return n;
}

/** The symbol of a shape, or undefined when all its dimensions are numbers. */
export function symbol(shape: Shape): Sym | undefined {
  return typeof shape[0] === "string" ? shape[0] : undefined;
}
