/**
 * One list of cases for every row of the op table, used by the finite-difference test (on the reference) and by the
 * conformance suite (every backend against the reference). A row without a case fails a test.
 */
import type { KvSpec } from "../backend.ts";
import type { OpName } from "../ops/index.ts";
import type { Shape } from "../tensor.ts";
import type { WeightType } from "../weights.ts";

export interface Operand {
  /** `kv` is a KV pool; `ids` an i32 input; everything else f32. */
  readonly kind: "x" | "ids" | "weight" | "state" | "kv";
  readonly shape: Shape;
  /** Values as a function of index; x: by default normal with unit spread. */
  readonly values?: (i: number, T: number) => number;
  /** For weights: storage types to try, default f32 dense. */
  readonly types?: readonly (WeightType | "dense")[];
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

const x = (...shape: Shape): Operand => ({ kind: "x", shape });
const positive = (...shape: Shape): Operand => ({
  kind: "x",
  shape,
  values: (i) => 0.1 + ((i * 37) % 101) / 40,
});
const ids = (n: number, ...shape: Shape): Operand => ({ kind: "ids", shape, values: (i) => (i * 7 + 3) % n });
const ALL = ["f32", "f16", "bf16", "q8_0", "q4_0", "dense"] as const;
const weight = (N: number, K: number, types: Operand["types"] = ALL): Operand => ({
  kind: "weight",
  shape: [N, K],
  types: types!,
});
const vector = (n: number): Operand => ({ kind: "weight", shape: [n], types: ["dense"] });
const state = (...shape: Shape): Operand => ({ kind: "state", shape });

/** Two segments: the first takes all tokens but the last third (at least one each when T > 1). */
const segments: Operand = {
  kind: "ids",
  shape: ["S", 4],
  values: (i, T) => {
    const first = Math.max(1, T - Math.floor(T / 3));
    return [0, first, 0, -1, first, T - first, 0, -1][i]!;
  },
};
/** The same, behind pasts of 70 and 3 positions. */
const paged: Operand = {
  ...segments,
  values: (i, T) => (i === 2 ? 70 : i === 6 ? 3 : segments.values!(i, T)),
};
const pages: Operand = { kind: "ids", shape: ["S", 4], values: (i) => [3, 1, 6, 2, 0, 5, 4, 7][i]! };
const pool: Operand = { kind: "kv", shape: [0] };

function kvCase(op: OpName, type: "f16" | "f32", D: number, operands: readonly Operand[], window = 0): Case {
  const spec: KvSpec = { layers: 2, num_key_value_heads: 2, head_dim: D, pages: 8, type };
  const attrs = {
    layer: 1,
    layers: 2,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    head_dim: D,
    window,
    scale: D ** -0.5,
  };
  return {
    op,
    label: `${type} head_dim ${D}${window ? ` window ${window}` : ""}`,
    operands,
    attrs,
    kv: spec,
    rowwise: true,
  };
}

const row = (op: OpName, operands: Operand[], attrs: object = {}, label = "", rowwise = true): Case => ({
  op,
  label,
  operands,
  attrs,
  rowwise,
});

const unary = (
  ["neg", "exp", "tanh", "erf", "sigmoid", "abs", "step", "silu", "gelu", "gelu_erf"] as const
).map((op) => row(op, [x("T", 37)]));
const ofPositive = (["log", "sqrt", "rsqrt"] as const).map((op) => row(op, [positive("T", 37)]));
const binary = (["add", "sub", "mul", "div", "maximum"] as const).flatMap((op) => {
  const b = op === "div" ? positive : x;
  return [
    row(op, [x("T", 37), b("T", 37)], {}, "same shape"),
    row(op, [x("T", 37), b(37)], {}, "row"),
    row(op, [x("T", 37), b("T", 1)], {}, "column"),
  ];
});

const linearCase = (label: string, operands: Operand[], attrs: object): Case => ({
  ...row(
    "linear",
    operands,
    { n: 1, norm: undefined, bias: [false], epilogue: "none", int8: true, ...attrs },
    label,
  ),
});

export const CASES: readonly Case[] = [
  ...unary,
  ...ofPositive,
  row("scale", [x("T", 37)], { c: -1.75 }),
  row("shift", [x("T", 37)], { c: 0.3 }),
  ...binary,
  row("sum_last", [x("T", 37)]),
  row("max_last", [x("T", 37)]),
  row("sum_rows", [x("T", 37)], {}, "", false),
  row("broadcast_last", [x("T", 1)], { n: 37 }),
  row("broadcast_rows", [x(37)], { shape: ["T", 37] }),
  row("reshape", [x("T", 36)], { shape: ["T", 4, 9] }),
  row("slice_last", [x("T", 37)], { start: 5, length: 17 }),
  row("pad_last", [x("T", 17)], { start: 5, n: 37 }),
  row("concat_last", [x("T", 17), x("T", 5), x("T", 15)]),
  row("gather_rows", [weight(50, 64), ids(50, "T")]),
  row("scatter_add_rows", [x("T", 37), ids(5, "T")], { rows: 9 }, "", false),
  row("pick_last", [x("T", 37), { ...ids(38, "T"), values: (i) => ((i * 7) % 38) - 1 }]),
  row("place_last", [x("T", 1), { ...ids(38, "T"), values: (i) => ((i * 7) % 38) - 1 }], { n: 37 }),
  row("matmul_nt", [x("T", 96), weight(50, 96)], { int8: true }, "int8 activations"),
  row("matmul_nt", [x("T", 96), weight(50, 96)], { int8: false }, "float activations"),
  row(
    "matmul_nt",
    [x("T", 44), weight(21, 44, ["f32", "f16", "bf16", "dense"])],
    { int8: true },
    "odd sizes",
  ),
  row("matmul_nn", [x("T", 50), weight(50, 96)]),
  row("matmul_tn", [x("T", 37), x("T", 21)], {}, "", false),
  row("rope", [x("T", 3, 16), ids(9, "T"), vectorTable(9, 16)], { inverse: false }),
  row("rope", [x("T", 3, 16), ids(9, "T"), vectorTable(9, 8)], { inverse: true }, "partial, inverse"),
  ...[true, false].flatMap((causal) =>
    [8, 64].map((D) =>
      row(
        "attention",
        [x("T", 6, D), x("T", 2, D), x("T", 2, D), segments],
        { causal, window: D === 8 ? 0 : 3, scale: D ** -0.5 },
        `${causal ? "causal" : "full"} head_dim ${D}${D === 8 ? "" : " window 3"}`,
        false,
      ),
    ),
  ),
  ...(
    [
      [true, 0],
      [true, 3],
      [false, 2],
    ] as const
  ).map(([causal, window]) =>
    row(
      "attention_grad",
      [
        x("T", 6, 16),
        x("T", 2, 16),
        x("T", 2, 16),
        x("T", 6, 16),
        { ...positive("T", 6), values: () => 3 },
        x("T", 6, 16),
        segments,
      ],
      { causal, window, scale: 0.25 },
      `${causal ? "causal" : "full"} window ${window}`,
      false,
    ),
  ),
  ...(["f16", "f32"] as const).flatMap((type) =>
    [8, 64].flatMap((D) => [
      kvCase("kv_write", type, D, [x("T", 2, D), x("T", 2, D), pool, paged, pages]),
      kvCase("attention_paged", type, D, [x("T", 6, D), pool, paged, pages]),
      kvCase("rope_write", type, D, [
        x("T", 6, D),
        x("T", 2, D),
        x("T", 2, D),
        ids(200, "T"),
        vectorTable(200, D),
        pool,
        paged,
        pages,
      ]),
    ]),
  ),
  kvCase("attention_paged", "f32", 40, [x("T", 6, 40), pool, paged, pages], 20),
  row(
    "adamw",
    [
      state(300),
      x(300),
      state(300),
      { ...state(300), values: (i) => (i % 7) / 9 },
      vectorOf([0.01, 0.9, 0.99, 1e-8, 0.1, 0.271, 0.0297, 0.5]),
    ],
    {},
    "",
    false,
  ),
  row("accumulate", [state(300), x(300)], {}, "", false),
  row("sum_squares", [x("T", 37)], {}, "", false),
  row("swiglu", [x("T", 37), x("T", 37)]),
  row("geglu", [x("T", 37), x("T", 37)]),
  row("layer_norm", [x("T", 37), vector(37), vector(37)], { eps: 1e-5 }),
  row("rms_norm", [x("T", 37), vector(37)], { eps: 1e-5 }),
  row("softmax_last", [x("T", 37)]),
  row("cross_entropy", [x("T", 37), { ...ids(38, "T"), values: (i) => ((i * 7) % 38) - 1 }]),
  linearCase("plain", [x("T", 96), weight(50, 96)], {}),
  linearCase(
    "norm, three weights, two biases",
    [x("T", 96), vector(96), weight(50, 96), weight(32, 96), weight(32, 96), vector(50), vector(32)],
    {
      n: 3,
      norm: { eps: 1e-5 },
      bias: [true, false, true],
    },
  ),
  linearCase("residual", [x("T", 96), weight(50, 96), x("T", 50)], { epilogue: "residual" }),
  linearCase("norm, swiglu", [x("T", 96), vector(96), weight(50, 96), weight(50, 96)], {
    n: 2,
    norm: { eps: 1e-5 },
    bias: [false, false],
    epilogue: "swiglu",
  }),
  linearCase("layer_norm, bias, gelu", [x("T", 96), vector(96), vector(96), weight(50, 96), vector(50)], {
    norm: { eps: 1e-5, layer: true },
    bias: [true],
    epilogue: "gelu",
  }),
  linearCase("gelu_erf", [x("T", 96), weight(50, 96)], { epilogue: "gelu_erf" }),
  linearCase("norm, geglu", [x("T", 96), vector(96), weight(50, 96), weight(50, 96)], {
    n: 2,
    norm: { eps: 1e-5 },
    bias: [false, false],
    epilogue: "geglu",
  }),
  linearCase("float activations", [x("T", 96), weight(50, 96), x("T", 50)], {
    epilogue: "residual",
    int8: false,
  }),
];

function vectorTable(positions: number, r: number): Operand {
  return {
    kind: "weight",
    shape: [positions, r],
    types: ["dense"],
    values: (i) => (i % r < r / 2 ? Math.cos(i) : Math.sin(i - r / 2)),
  };
}

function vectorOf(values: number[]): Operand {
  return { kind: "x", shape: [values.length], values: (i) => values[i]! };
}

/** Deterministic, roughly normal numbers. */
export function normal(n: number, seed: number): Float32Array {
  let s = (seed * 2654435761 + 12345) >>> 0;
  const next = () => {
    s = (Math.imul(s ^ (s >>> 15), 2246822519) + 0x9e3779b9) >>> 0;
    return s / 2 ** 32;
  };
  return Float32Array.from({ length: n }, () => next() + next() + next() + next() + next() + next() - 3);
}
