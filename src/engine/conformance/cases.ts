/**
 * One list of cases for every row of the op table, used by the finite-difference test (on the reference) and by the
 * conformance suite (every backend against the reference). A row without a case fails a test.
 */
import type { AdapterLinear, KvSpec, KvType, LinearChange } from "../backend.ts";
import type { OpName } from "../ops/index.ts";
import type { LinearAttrs } from "../ops/linear.ts";
import { BLOCK_TYPES } from "./blocks.ts";
import { DISTILLATION_CASES } from "./distillation-cases.ts";
import { GPTQ_CASES } from "./gptq-cases.ts";
import {
  ALL,
  type Case,
  ids,
  lowCase,
  negative,
  type Operand,
  positive,
  row,
  small,
  state,
  targets,
  unit,
  vector,
  weight,
  x,
} from "./operands.ts";
import { QUANTIZATION_CASES } from "./quantization-cases.ts";

export type { Case, Operand };

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
/** Rows of a state that the two segments read and write: one goes to another row, one begins with zeros. */
const readWritten: Operand = { kind: "ids", shape: ["S", 2], values: (i) => [1, 2, -1, 3][i]! };
const pool: Operand = { kind: "kv", shape: [0] };

function kvCase(op: OpName, type: KvType, D: number, operands: readonly Operand[], window = 0): Case {
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

/** Two segments as ever, with these adapters. */
const slots = (first: number, second: number): Operand => ({
  ...segments,
  values: (i, T) => (i === 3 ? first : i === 7 ? second : segments.values!(i, T)),
});
/** Tokens of R = T rows, not in order. */
const tokens: Operand = { kind: "ids", shape: ["R"], values: (i, T) => (i * 7 + 2) % T };
const table = (linears: { N: number; K: number }[], types: Operand["types"]): Operand => ({
  kind: "adapters",
  shape: [0],
  linears,
  types: types!,
});

function loraCase(
  label: string,
  N: number,
  K: number,
  types: Operand["types"],
  chosen: Operand,
  rows: boolean,
  int8: boolean,
): Case {
  const dim = rows ? "R" : "T";
  const operands = [x(dim, N), x(dim, K), table([{ N, K }], types), chosen, ...(rows ? [tokens] : [])];
  return row("lora", operands, { linear: 0, int8 }, label, false);
}

/** `linear` of weights [50, 96] with a table of two such linears. */
function adaptedCase(label: string, chosen: Operand, attrs: object): Case {
  const a = { n: 1, norm: undefined, bias: [false], epilogue: "none", int8: true, ...attrs } as LinearAttrs;
  const dim = a.adapters!.rows ? "R" : "T";
  const operands = [
    x(dim, 96),
    ...(a.norm ? [vector(96)] : []),
    ...Array.from({ length: a.n }, () => weight(50, 96)),
    ...a.bias.filter(Boolean).map(() => vector(50)),
    ...(a.epilogue === "residual" ? [x(dim, 50)] : []),
    table(Array(2).fill({ N: 50, K: 96 }), ALL),
    chosen,
    ...(a.adapters!.rows ? [tokens] : []),
  ];
  return { ...linearCase(label, operands, a), rowwise: false };
}

export const CASES: readonly Case[] = [
  ...unary,
  ...ofPositive,
  row("scale", [x("T", 37)], { c: -1.75 }),
  row("shift", [x("T", 37)], { c: 0.3 }),
  row("dropout", [x("T", 137), ids(9999, 1)], { p: 0.3, number: 5 }),
  ...binary,
  row("ternarize", [weight(9, 960, ["dense"])], { group: 0 }, "one scale", false),
  row("ternarize", [weight(5, 512, ["dense"])], { group: 256 }, "scales of 256 columns", false),
  row("ternarize", [weight(3, 37, ["dense"])], { group: 37 }, "scales of rows", false),
  row("round_activations", [x("T", 96)]),
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
  row("matmul_nt", [x("T", 96), weight(50, 96), x("T", 50)], { int8: true }, "added"),
  row("matmul_nn", [x("T", 50), weight(50, 96)]),
  row("matmul_nn", [x("T", 50), weight(50, 96), x("T", 96)], {}, "added"),
  row("gather_rows", [weight(40, 512, BLOCK_TYPES), ids(40, "T")], {}, "of blocks"),
  row(
    "matmul_nt",
    [x("T", 512), weight(50, 512, BLOCK_TYPES)],
    { int8: true },
    "of blocks, int8 activations",
  ),
  row(
    "matmul_nt",
    [x("T", 512), weight(50, 512, BLOCK_TYPES)],
    { int8: false },
    "of blocks, float activations",
  ),
  row("matmul_nn", [x("T", 50), weight(50, 512, BLOCK_TYPES)], {}, "of blocks"),
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
  ...(["f16", "f32", "q8_0"] as const).flatMap((type) =>
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
  {
    ...kvCase("rope_write", "f16", 40, [
      x("T", 6, 40),
      x("T", 2, 40),
      x("T", 2, 40),
      ids(200, "T"),
      vectorTable(200, 24),
      pool,
      paged,
      pages,
      vector(40),
      vector(40),
    ]),
    label: "of part of a head, after norms",
    attrs: { ...kvCase("rope_write", "f16", 40, []).attrs, norm: { eps: 1e-5 } },
  },
  kvCase("attention_paged", "f32", 40, [x("T", 6, 40), pool, paged, pages], 20),
  kvCase("attention_paged", "q8_0", 40, [x("T", 6, 40), pool, paged, pages], 20),
  kvCase("attention_paged", "q8_0", 80, [x("T", 6, 80), pool, paged, pages]),
  ...[3, 4, 6].flatMap((K) => {
    const kernel = weight(37, K, ["f32", "f16", "bf16", "dense"]);
    const held = [state(4, 9 + (K - 1) * 37), readWritten];
    return [
      row("causal_conv", [x("T", 37), kernel, segments], { offset: 0 }, `of ${K}`, false),
      row("causal_conv", [x("T", 37), kernel, paged, ...held], { offset: 5 }, `of ${K}, state`, false),
      row("causal_conv_grad", [x("T", 37), x("T", 37), kernel, segments], {}, `of ${K}`, false),
      row(
        "short_conv",
        [x("T", 37), x("T", 37), x("T", 37), kernel, paged, ...held],
        { offset: 9 },
        `of ${K}, state`,
        false,
      ),
    ];
  }),
  row(
    "short_conv",
    [x("T", 37), x("T", 37), x("T", 37), weight(37, 3, ["dense"]), segments],
    { offset: 0 },
    "",
    false,
  ),
  ...[false, true].flatMap((tiled) => {
    const [Hk, Hv, Dk, Dv] = [2, 4, 20, 24];
    const keys = [small("T", Hk, Dk), small("T", Hk, Dk)];
    const rule = [...keys, x("T", Hv, Dv), negative("T", Hv), unit("T", Hv)];
    const net = [x("T", 2 * Hk * Dk + Hv * Dv), x("T", Hv * Dv), x("T", Hv), x("T", Hv), vector(Hv)];
    const attrs = { tiled, num_key_heads: Hk, num_value_heads: Hv, key_head_dim: Dk, eps: 1e-5 };
    const held = [state(4, 7 + Hv * Dk * Dv), readWritten];
    const label = tiled ? "tiled" : "grouped";
    return [
      row("delta_rule", [...rule, segments], { tiled, offset: 0 }, label, false),
      row("delta_rule", [...rule, paged, ...held], { tiled, offset: 7 }, `${label}, state`, false),
      row("delta_rule_grad", [...rule, x("T", Hv, Dv), segments], { tiled }, label, false),
      row("gated_delta_net", [...net, vector(Dv), segments], { ...attrs, offset: 0 }, label, false),
      row(
        "gated_delta_net",
        [...net, vector(Dv), paged, ...held],
        { ...attrs, offset: 5 },
        `${label}, state`,
        false,
      ),
    ];
  }),
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
  row("clear_state", [state(300)], {}, "", false),
  row("accumulate", [state(300), x(300)], {}, "", false),
  lowCase("matmul_nt", [x("T", 96), weight(50, 96), x("T", 50)], { int8: false }),
  lowCase("matmul_nt", [x("T", 37), weight(50, 37, ["dense", "f16"])], { int8: true }, "odd"),
  lowCase("matmul_nn", [x("T", 50), weight(50, 96), x("T", 96)]),
  lowCase("matmul_nn", [x("T", 37), weight(37, 41, ["dense", "f16"])], {}, "odd"),
  lowCase("matmul_tn", [x("T", 40), x("T", 50)]),
  lowCase("accumulate_tn", [state(40, 50), x("T", 40), x("T", 50)]),
  lowCase("linear_cross_entropy", [x("T", 40), weight(50, 40, ["dense"]), targets, state(50, 40)], {
    scale: 0.3,
    cap: 0,
    grad: true,
    sum: true,
  }),
  row("accumulate_tn", [state(40, 50), x("T", 40), x("T", 50)], {}, "", false),
  row("accumulate_rows", [state(9, 37), x("T", 37), ids(9, "T")], {}, "", false),
  row("rms_norm_grad", [x("T", 37), vector(37), x("T", 37)], { eps: 1e-5 }),
  row("rms_norm_weight_grad", [x("T", 37), x("T", 37)], { eps: 1e-5 }, "", false),
  row("swiglu_grad", [x("T", 37), x("T", 37), x("T", 37)]),
  row("geglu_grad", [x("T", 37), x("T", 37), x("T", 37)]),
  row("linear_cross_entropy", [x("T", 96), weight(50, 96), targets], { scale: 0.3, cap: 0, grad: false }),
  row(
    "linear_cross_entropy",
    [x("T", 96), weight(50, 96), targets],
    { scale: 0.3, cap: 5, grad: true },
    "capped, with gradient",
  ),
  row(
    "linear_cross_entropy",
    [x("T", 40), weight(50, 40, ["dense"]), targets, state(50, 40)],
    { scale: 0.3, cap: 0, grad: true, sum: true },
    "with both gradients",
    false,
  ),
  row(
    "linear_cross_entropy_weight_grad",
    [x("T", 40), weight(50, 40, ["dense"]), targets, x("T", 1)],
    { scale: 0.3, cap: 5, grad: false },
    "",
    false,
  ),
  ...DISTILLATION_CASES,
  ...QUANTIZATION_CASES,
  ...GPTQ_CASES,
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
  linearCase("scaled, residual", [x("T", 96), weight(50, 96), x("T", 50)], {
    epilogue: "residual",
    scale: 0.22,
  }),
  linearCase("norm, rows of one weight", [x("T", 96), vector(96), weight(112, 96), weight(112, 96)], {
    n: 2,
    norm: { eps: 1e-5 },
    bias: [false, false],
    ranges: [
      { start: 0, length: 80 },
      { start: 80, length: 27 },
    ],
  }),
  linearCase("norm, swiglu of rows of one weight", [x("T", 96), vector(96), weight(64, 96), weight(64, 96)], {
    n: 2,
    norm: { eps: 1e-5 },
    bias: [false, false],
    epilogue: "swiglu",
    ranges: [
      { start: 32, length: 30 },
      { start: 0, length: 30 },
    ],
  }),
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
  loraCase("tokens", 50, 96, ["f32", "f16", "q8_0"], slots(1, 0), false, true),
  loraCase("odd sizes", 21, 44, ["f32", "f16"], slots(2, 0), false, true),
  loraCase("one without", 50, 96, ["f32", "q4_0"], slots(-1, 2), false, true),
  loraCase("replaced", 50, 96, ["f32", "f16", "q8_0"], slots(3, 2), false, true),
  loraCase("replaced, float activations", 50, 96, ["f16", "q8_0"], slots(3, 1), false, false),
  loraCase("rows", 50, 96, ["f32", "q4_0"], slots(1, 2), true, true),
  adaptedCase("norm, three weights, two biases, adapters", slots(2, 1), {
    n: 3,
    norm: { eps: 1e-5 },
    bias: [true, false, true],
    adapters: { linears: [0, 1, -1], rows: false },
  }),
  adaptedCase("residual, adapters, rows", slots(0, 1), {
    epilogue: "residual",
    adapters: { linears: [1], rows: true },
  }),
  adaptedCase("norm, swiglu, adapters and replaced", slots(3, 1), {
    n: 2,
    norm: { eps: 1e-5 },
    bias: [false, false],
    epilogue: "swiglu",
    adapters: { linears: [0, 1], rows: false },
  }),
  ...([slots(2, 3), slots(0, 1)] as const).map((chosen, i) =>
    adaptedCase(`norm, rows of one weight, biases, adapters ${i ? "" : "and replaced"}`, chosen, {
      n: 3,
      norm: { eps: 1e-5 },
      bias: [true, true, true],
      adapters: { linears: [1, 1, 1], rows: false },
      ranges: [
        { start: 0, length: 16 },
        { start: 16, length: 16 },
        { start: 32, length: 18 },
      ],
    }),
  ),
  adaptedCase("norm, float activations, adapters and replaced", slots(2, 3), {
    norm: { eps: 1e-5 },
    int8: false,
    adapters: { linears: [0], rows: false },
  }),
  linearCase("float activations", [x("T", 96), weight(50, 96), x("T", 50)], {
    epilogue: "residual",
    int8: false,
  }),
];

/** Four slots over linears of these sizes: ranks 4 and 16 to all, rank 70 with magnitudes, replaced weights, and none. */
export function someAdapters(linears: readonly AdapterLinear[]): Map<number, LinearChange>[] {
  return [4, 16, 70, 0].map((rank, slot) => {
    const changes = linears.map(({ N, K }, i): [number, LinearChange] => {
      const seed = 100 * slot + 10 * i;
      if (rank === 0) return [i, { replaced: exact(normal(N * K, seed)) }];
      const magnitude = slot === 2 ? { magnitude: normal(N, seed + 3).map((x) => x / 9 + 1) } : {};
      return [
        i,
        {
          a: exact(normal(rank * K, seed + 1)),
          b: exact(normal(N * rank, seed + 2), rank),
          rank,
          ...magnitude,
        },
      ];
    });
    return new Map(slot === 3 ? changes.slice(0, 1) : changes);
  });
}

/** Rows that f16 and q8_0 hold exactly: whole numbers up to 127 over 64, of which each 32 of a row begin with 127. */
function exact(values: Float32Array, cols = 32): Float32Array {
  return values.map(
    (x, i) => ((i % cols) % 32 === 0 ? 127 : Math.max(-127, Math.min(127, Math.round(40 * x)))) / 64,
  );
}

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
