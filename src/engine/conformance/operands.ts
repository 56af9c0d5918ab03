/** What cases are made of: operands and their values, and a row of the table applied to them. */
import type { KvSpec } from "../backend.ts";
import type { OpName } from "../ops/index.ts";
import type { Shape } from "../tensor.ts";
import type { WeightType } from "../weights.ts";

export interface Operand {
  /** `kv` is a KV pool, `adapters` a table of them; `ids` an i32 input; everything else f32. */
  readonly kind: "x" | "ids" | "weight" | "state" | "kv" | "adapters";
  readonly shape: Shape;
  /** Values as a function of index; x: by default normal with unit spread. */
  readonly values?: (i: number, T: number) => number;
  /** For weights: storage types to try, default f32 dense. */
  readonly types?: readonly (WeightType | "dense")[];
  /** For adapters: the sizes of the linears. Slots are filled by `someAdapters`. */
  readonly linears?: readonly { readonly N: number; readonly K: number }[];
}

export interface Case {
  readonly op: OpName;
  readonly label: string;
  readonly operands: readonly Operand[];
  readonly attrs: object;
  readonly kv?: KvSpec;
  /** Rows are independent: bits of a row may not depend on T. */
  readonly rowwise: boolean;
  /** Largest normalised squared error against the reference. */
  readonly nmse?: number;
}

export const x = (...shape: Shape): Operand => ({ kind: "x", shape });
export const positive = (...shape: Shape): Operand => ({
  kind: "x",
  shape,
  values: (i) => 0.1 + ((i * 37) % 101) / 40,
});
/** About as long as the keys of a delta rule, its gates, and what it forgets by. */
export const small = (...shape: Shape): Operand => ({
  kind: "x",
  shape,
  values: (i) => (((i * 37 + 11) % 101) - 50) / 150,
});
export const unit = (...shape: Shape): Operand => ({
  kind: "x",
  shape,
  values: (i) => ((i * 37) % 101) / 101,
});
export const negative = (...shape: Shape): Operand => ({
  kind: "x",
  shape,
  values: (i) => -((i * 53) % 101) / 60,
});
export const ids = (n: number, ...shape: Shape): Operand => ({
  kind: "ids",
  shape,
  values: (i) => (i * 7 + 3) % n,
});
export const ALL = ["f32", "f16", "bf16", "q8_0", "q4_0", "dense"] as const;
export const weight = (N: number, K: number, types: Operand["types"] = ALL): Operand => ({
  kind: "weight",
  shape: [N, K],
  types: types!,
});
export const vector = (n: number): Operand => ({ kind: "weight", shape: [n], types: ["dense"] });
/** One of 50 for each row, or -1. */
export const targets: Operand = { ...ids(51, "T"), values: (i) => ((i * 7) % 51) - 1 };
export const state = (...shape: Shape): Operand => ({ kind: "state", shape });

export const row = (
  op: OpName,
  operands: Operand[],
  attrs: object = {},
  label = "",
  rowwise = true,
): Case => ({
  op,
  label,
  operands,
  attrs,
  rowwise,
});

/** Products whose operands a backend may round to bf16. */
export const lowCase = (op: OpName, operands: Operand[], attrs: object = {}, label = ""): Case => ({
  ...row(op, operands, { ...attrs, bf16: true }, `bf16 ${label}`.trim(), false),
  nmse: 3e-5,
});
