import { expect, test } from "vitest";
import { ReferenceBackend } from "./backends/reference.ts";
import { CASES, type Case, normal } from "./conformance/cases.ts";
import { operandValues, size } from "./conformance/run.ts";
import { gradients } from "./gradients.ts";
import * as nn from "./nn.ts";
import { OPS } from "./ops/index.ts";
import { record } from "./program.ts";
import type { Tensor } from "./tensor.ts";

const dims = { T: 5, S: 2, R: 5 };
/** Rows without a gradient, and why. */
const NONE: Record<string, string> = {
  kv_write: "generation only",
  attention_paged: "generation only",
  rope_write: "generation only",
  lora: "generation only: training replaces parameters by expressions",
  adamw: "the optimizer itself",
  accumulate: "the optimizer itself",
  sum_squares: "only measured, never trained on",
  attention_grad: "second derivatives are not needed",
  delta_rule_grad: "second derivatives are not needed",
  causal_conv_grad: "second derivatives are not needed",
  rms_norm_grad: "second derivatives are not needed",
  rms_norm_weight_grad: "second derivatives are not needed",
  swiglu_grad: "second derivatives are not needed",
  geglu_grad: "second derivatives are not needed",
  linear_cross_entropy_weight_grad: "second derivatives are not needed",
  round_half: "goes straight through: quantization.test.ts",
  distillation_slopes: "second derivatives are not needed",
  linear_distillation_grad: "second derivatives are not needed",
  scale_groups_grad: "second derivatives are not needed",
  distillation_topk_slopes: "second derivatives are not needed",
  ternarize: "straight through, tested below",
  round_activations: "straight through, tested below",
  clear_state: "the optimizer itself",
  accumulate_tn: "the optimizer itself",
  accumulate_rows: "the optimizer itself",
  cholesky: "of moments that were measured, never trained on",
  gptq_round: "codes have no slope",
};

/** Operands that are not differentiated by: the table of rope, what a teacher says. */
const CONSTANT: Partial<Record<string, readonly number[]>> = {
  rope: [2],
  distillation_loss: [1],
  distillation_topk_loss: [2],
  linear_distillation: [3, 4],
  scale_groups: [0],
};
/** Outputs that are differentiated, where that is not all of them. */
const LOSSES: Partial<Record<string, number>> = {
  attention: 1,
  linear_cross_entropy: 1,
  linear_distillation: 2,
};

test("every row of the table has a case", () => {
  const covered = new Set(CASES.map((c) => c.op));
  expect(Object.keys(OPS).filter((op) => !covered.has(op as never))).toEqual([]);
});

const seen = CASES.filter(
  (c) =>
    !(c.op in NONE) &&
    !("adapters" in c.attrs) &&
    !("range" in c.attrs) && // straight through what is rounded: quantization.test.ts
    !c.operands.some(({ kind }) => kind === "state"),
);
/** Fused rows with a rule of their own are checked by it and by their composition's. */
const ways = (c: Case) => {
  const row = OPS[c.op];
  return row.kind === "fused" && row.gradient ? ([true, "core"] as const) : ([true] as const);
};
test.each(seen.flatMap((c) => ways(c).map((way) => [`${c.op} ${c.label} (${way})`, c, way] as const)))(
  "gradient of %s equals finite differences",
  async (_name, c, way) => {
    if (c.op === "step") return expect(await differences(c, true, way)).toBeLessThan(1e-6); // zero almost everywhere
    expect(await differences(c, false, way)).toBeLessThan(2e-6);
  },
);

test("what is rounded forward lets gradients through as they are", async () => {
  const backend = new ReferenceBackend();
  const program = record((g) => {
    const [w, x] = [g.param("w", [3, 64]), g.param("x", [2, 64])];
    const y = nn.matmul_nt(nn.round_activations(x), nn.ternarize(w, 0), { int8: false }); // [2, 3]
    const loss = nn.sum_rows(nn.sum_last(y));
    const [dw, dx] = gradients(loss, [w, x]);
    // By w the rounded x, by x the rounded w: what the product itself would be given.
    return { dw: dw!, dx: dx!, wantedX: nn.ternarize(w, 0), wantedW: nn.round_activations(x) };
  });
  const executable = backend.compile(program, dims);
  executable.bind("w", backend.dense("f32", [3, 64], normal(192, 1)));
  executable.bind("x", backend.dense("f32", [2, 64], normal(128, 2)));
  await executable.run(dims, {});
  const read = (name: string, n: number) => {
    const into = new Float32Array(n);
    executable.read(name, into);
    return into;
  };
  const columnSums = (values: Float32Array, rows: number) =>
    Float32Array.from({ length: rows * 64 }, (_, i) => {
      let sum = 0;
      for (let j = i % 64; j < values.length; j += 64) sum += values[j]!;
      return sum;
    });
  const near = (a: Float32Array, b: Float32Array) =>
    expect(Math.max(...a.map((v, i) => Math.abs(v - b[i]!)))).toBeLessThan(1e-5);
  near(read("dx", 128), columnSums(read("wantedX", 192), 2));
  near(read("dw", 192), columnSums(read("wantedW", 128), 3));
});

/** Largest difference between the gradient and central differences, relative to the largest gradient (at least 1). */
async function differences(c: Case, zero: boolean, composed: true | "core"): Promise<number> {
  const backend = new ReferenceBackend();
  const isFloat = c.operands.map((o, i) => o.kind !== "ids" && !CONSTANT[c.op]?.includes(i));
  // Float operands become states of fixed size, so that they can be nudged in float64.
  const fixed = (shape: readonly (number | string)[]) =>
    shape.map((d) => (typeof d === "number" ? d : dims[d as "T"]));
  const build = (withGradients: boolean) =>
    record(
      (g) => {
        const inputs = c.operands.map((o, i) =>
          o.kind !== "ids" ? g.param(`p${i}`, fixed(o.shape)) : g.input(`p${i}`, "i32", fixed(o.shape)),
        );
        const attrs = "shape" in c.attrs ? { ...c.attrs, shape: fixed(c.attrs.shape as never) } : c.attrs;
        const exact = "int8" in attrs ? { ...attrs, int8: false } : attrs; // rounding has no derivative
        const outputs = g.emit(c.op, inputs, exact as never);
        let loss: Tensor | undefined;
        outputs.slice(0, LOSSES[c.op]).forEach((y, i) => {
          const flat = nn.reshape(y, [1, size(y.shape, dims)]);
          const weighed = nn.sum_last(nn.mul(flat, g.param(`weigh${i}`, flat.shape)));
          loss = loss ? nn.add(loss, weighed) : weighed;
        });
        if (!withGradients) return { loss: loss! };
        const wrt = inputs.filter((_, i) => isFloat[i]);
        if (zero) return { loss: loss! };
        return { loss: loss!, ...Object.fromEntries(gradients(loss!, wrt).map((d, i) => [`d${i}`, d])) };
      },
      { composed },
    );
  const program = build(true);
  const executable = backend.compile(program, dims);
  const inputs: Record<string, Int32Array> = {};
  const floats: { name: string; storage: ReturnType<typeof backend.dense>; values: Float64Array }[] = [];
  c.operands.forEach((o, i) => {
    const values = operandValues(o, i, dims);
    if (!isFloat[i] && o.kind !== "ids")
      executable.bind(`p${i}`, backend.dense("f32", [values.length], values));
    else if (!isFloat[i]) inputs[`p${i}`] = values as Int32Array;
    else {
      const storage = backend.dense("f32", [values.length], values as Float32Array);
      floats.push({ name: `p${i}`, storage, values: Float64Array.from(values) });
      if (program.params.some((t) => t.name === `p${i}`)) executable.bind(`p${i}`, storage);
    }
  });
  for (const t of program.params)
    if (t.name!.startsWith("weigh"))
      executable.bind(t.name!, backend.dense("f32", t.shape as number[], normal(size(t.shape, dims), 55)));
  const at = async (): Promise<number> => {
    await executable.run(dims, inputs);
    return (executable as unknown as { output(n: string): { data: Float64Array } }).output("loss").data[0]!;
  };
  await at();
  const gradient = zero
    ? floats.map((f) => new Float64Array(f.values.length))
    : floats.map((_, i) =>
        (executable as unknown as { output(n: string): { data: Float64Array } }).output(`d${i}`).data.slice(),
      );
  let worst = 0;
  const eps = 1e-5;
  for (const [i, f] of floats.entries())
    for (let j = 0; j < f.values.length; j += Math.max(1, Math.floor(f.values.length / 12))) {
      const nudge = async (by: number) => {
        backend.write(f.storage, Float64Array.of(f.values[j]! + by) as never, j);
        return at();
      };
      const numeric = ((await nudge(eps)) - (await nudge(-eps))) / (2 * eps);
      await nudge(0);
      const scale = Math.max(1, ...gradient[i]!.map(Math.abs));
      worst = Math.max(worst, Math.abs(numeric - gradient[i]![j]!) / scale);
    }
  return worst;
}
