/**
 * What a row of the op table is. One op = one file in ops/: name, shape rule, gradient rule and a reference in
 * plain TypeScript (float64, slow, obvious: the definition of truth). The rows themselves are in ops/index.ts.
 */
import type { AdapterLinear, LinearChange } from "./backend.ts";
import type { DType, Node, Shape, Tensor } from "./tensor.ts";

export interface OutputSpec {
  readonly shape: Shape;
  readonly dtype?: DType;
}

/** A concrete value for references: float64 (or int32 for ids), row-major. */
export interface Value {
  readonly data: Float64Array | Int32Array;
  readonly shape: readonly number[];
  /** Weight type a parameter was stored in ("f32" for everything else): decides int8 activations. */
  readonly type: string;
  /** Only for a KV pool. */
  readonly kv?: ReferenceKv;
  /** Only for a table of adapters. */
  readonly adapters?: ReferenceAdapters;
}

/** The table of adapters of the reference backend. */
export interface ReferenceAdapters {
  readonly linears: readonly AdapterLinear[];
  readonly slots: (ReadonlyMap<number, LinearChange> | undefined)[];
}

/** KV pages of the reference backend: value (k or v) of one head at [page][layer][k|v][slot][head][dim]. */
export interface ReferenceKv {
  readonly layers: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  /** The components of one key or value as the pool's type holds them. */
  readonly round: (head: Float64Array) => Float64Array;
  readonly data: Float64Array;
}

interface RowBase<A> {
  /** Checks inputs and attributes, and gives the outputs' shapes. Throws TypeError or RangeError. */
  shape(inputs: readonly Tensor[], attrs: A): OutputSpec[];
  /** Indices of inputs the op writes (states). */
  readonly writes?: readonly number[];
  /** The attributes as the compiled image carries them, in the order that the kernel of the same name reads. */
  encode?(attrs: A, inputs: readonly Tensor[]): { ints?: number[]; floats?: number[] };
}

/** A core row: mandatory for every backend. */
export interface CoreOp<A extends object = object> extends RowBase<A> {
  readonly kind: "core";
  /** Fills `outputs` from `inputs`, in float64. */
  reference(inputs: readonly Value[], outputs: readonly Value[], attrs: A): void;
  /**
   * Gradients of the inputs, given those of the outputs (undefined: that one is not needed or zero).
   * `null` in place of the function: not differentiable.
   */
  gradient:
    | ((node: Node & { attrs: A }, douts: readonly (Tensor | undefined)[]) => (Tensor | undefined)[])
    | null;
}

/** A fused row: its composition of other rows is its reference, its fallback and, without a rule of its own, its gradient. */
export interface FusedOp<A extends object = object> extends RowBase<A> {
  readonly kind: "fused";
  compose(inputs: readonly Tensor[], attrs: A): Tensor[];
  /** As a core row's, where that takes fewer passes over memory than the composition's. `null`: not differentiable. */
  gradient?: CoreOp<A>["gradient"];
}

// biome-ignore lint/suspicious/noExplicitAny: the table holds rows of every attribute type
export type Op = CoreOp<any> | FusedOp<any>;
