// What heads and losses become: the fused programs hold no logits and give the gradients of those that do.
import { afterAll, describe, expect, test } from "vitest";
import type { Backend, Storage } from "./backend.ts";
import { createBackend } from "./backends/index.ts";
import { normal } from "./conformance/cases.ts";
import { fuseLosses, gradients } from "./gradients.ts";
import * as nn from "./nn.ts";
import { DIVERGENCES, type DistillationAttrs } from "./ops/distillation.ts";
import { type Program, record } from "./program.ts";
import type { Recorder, Tensor } from "./tensor.ts";

const [D, E, V, R, K] = [24, 40, 72, 21, 5];
const SHAPES = { embed: [V, D], norm: [D], teacher: [V, E] } as const;
const ATTRS: DistillationAttrs = { loss: "jsd", beta: 0.4, temperature: 1.5, scale_temperature: true };

type Teacher = "dense" | "topk";
interface Made {
  readonly teacher?: Teacher;
  readonly attrs?: DistillationAttrs;
  readonly ce?: number;
  readonly kd?: number;
  /** Kept from being fused: the logits are wanted. */
  readonly whole?: boolean;
  /** Tokens that the teacher's head knows: V. */
  readonly W?: number;
}

/** Loss of a student with a tied head, and its gradients in states. */
function recorded({
  teacher = "dense",
  attrs = ATTRS,
  ce = 0.3,
  kd = 0.7,
  whole = false,
  W = V,
}: Made): Program {
  return record(
    (g: Recorder) => {
      const p = (name: keyof typeof SHAPES): Tensor =>
        g.param(name, name === "teacher" ? [W, E] : SHAPES[name]);
      const first = (z: Tensor) => (Math.min(V, W) === z.shape[1] ? z : nn.slice_last(z, 0, Math.min(V, W)));
      const x = nn.rms_norm(nn.gather_rows(p("embed"), g.input("tokens", "i32", ["R"])), p("norm"), 1e-5);
      const product = nn.matmul_nt(x, p("embed"));
      // Logits times 1 + 0: no head that is known, the same numbers.
      const logits = whole ? nn.add(product, nn.scale(product, 0)) : nn.scale(product, 0.8);
      const known = whole ? nn.scale(logits, 0.8) : logits;
      const parts: Tensor[] = [];
      const outputs: Record<string, Tensor> = {};
      if (ce !== 0) {
        outputs.ce = nn.sum_rows(nn.cross_entropy(known, g.input("targets", "i32", ["R"])));
        parts.push(nn.scale(outputs.ce, ce));
      }
      if (kd !== 0) {
        const theirs = () => {
          const y = nn.matmul_nt(g.input("hidden", "f32", ["R", E]), p("teacher"));
          return nn.scale(nn.tanh(nn.scale(y, 1 / 9)), 9);
        };
        outputs.kd = nn.sum_rows(
          teacher === "dense"
            ? nn.distillation_loss(first(known), first(theirs()), attrs)
            : nn.distillation_topk_loss(
                known,
                g.input("ids", "i32", ["R", K]),
                g.input("logp", "f32", ["R", K]),
                attrs,
              ),
        );
        parts.push(nn.scale(outputs.kd, kd));
      }
      const wrt = [p("embed"), p("norm")];
      for (const [i, d] of gradients(parts.reduce(nn.add), wrt).entries())
        nn.accumulate(g.state(`grad:${wrt[i]!.name}`, wrt[i]!.shape), d);
      return outputs;
    },
    { composed: true },
  );
}

const inputs: Record<string, Int32Array | Float32Array> = {
  tokens: Int32Array.from({ length: R }, (_, i) => (i * 31) % V),
  targets: Int32Array.from({ length: R }, (_, i) => (i * 17) % V),
  hidden: normal(R * E, 9),
  ids: Int32Array.from({ length: R * K }, (_, i) => ((i % K) * 11 + Math.floor(i / K)) % V),
  logp: Float32Array.from({ length: R * K }, (_, i) => Math.log(0.35 / 2 ** (i % K))),
};

async function results(backend: Backend, program: Program): Promise<Map<string, Float32Array>> {
  const dims = { T: 0, S: 0, R };
  const executable = backend.compile(program, dims);
  const states = new Map<string, Storage>();
  for (const t of [...program.params, ...program.states]) {
    const shape = t.shape as number[];
    const n = shape.reduce((a, b) => a * b);
    const seed = Object.keys(SHAPES).indexOf(t.name!) + 3;
    const values =
      t.kind === "state"
        ? new Float32Array(n)
        : normal(n, seed).map((v) => 0.4 * v + (shape.length === 1 ? 1 : 0));
    const storage = backend.dense("f32", shape, values);
    executable.bind(t.name!, storage);
    if (t.kind === "state") states.set(t.name!, storage);
  }
  await executable.run(dims, Object.fromEntries(program.inputs.map((t) => [t.name!, inputs[t.name!]!])));
  const out = new Map<string, Float32Array>();
  for (const name of program.outputs.keys()) {
    out.set(name, new Float32Array(1));
    executable.read(name, out.get(name)!);
  }
  for (const [name, storage] of states) {
    out.set(name, new Float32Array(storage.bytes / 4));
    backend.read(storage, out.get(name)!);
  }
  executable.free();
  return out;
}

function close(found: Map<string, Float32Array>, wanted: Map<string, Float32Array>, by: number) {
  expect([...found.keys()]).toEqual([...wanted.keys()]);
  for (const [name, values] of wanted) {
    const size = Math.max(...values.map(Math.abs));
    for (const [i, v] of values.entries())
      expect(Math.abs(found.get(name)![i]! - v), `${name} ${i}`).toBeLessThanOrEqual(by * size);
  }
}

const ops = (program: Program) => program.nodes.map(({ op }) => op as string);
const reference = await createBackend({ backend: "reference" });
const backend = await createBackend({ threads: 2 });
afterAll(() => backend.close());

const CASES: [string, Made][] = [
  ...DIVERGENCES.map((loss): [string, Made] => [loss, { attrs: { ...ATTRS, loss } }]),
  ["a teacher that knows more tokens", { W: V + 8 }],
  ["a teacher that knows fewer", { W: V - 9, attrs: { ...ATTRS, temperature: 1 } }],
  ["named tokens", { teacher: "topk" }],
  ["distillation alone", { ce: 0, kd: 1 }],
  ["named tokens alone", { ce: 0, kd: 1, teacher: "topk" }],
];

describe.each(CASES)("%s", (_label, made) => {
  test("one op, whose gradients are those of the logits and of finite arithmetic", async () => {
    const [fused, whole] = [recorded(made), recorded({ ...made, whole: true })];
    expect(ops(whole)).toContain(
      made.teacher === "topk" ? "distillation_topk_slopes" : "distillation_slopes",
    );
    expect(ops(fused).filter((op) => op.includes("distillation") || op.includes("entropy"))).toEqual([
      "linear_distillation",
    ]);
    expect(fused.nodes.flatMap((n) => n.outputs.map((t) => t.shape.join()))).not.toContain(`R,${V}`);
    // The tied embedding: both parts of its gradient go into its sum.
    expect(ops(fused)).toContain("accumulate_rows");
    expect(fused.nodes.find(({ op }) => op === "linear_distillation")!.inputs.at(-1)!.name).toBe(
      "grad:embed",
    );
    const truth = await results(reference, whole);
    close(await results(reference, fused), truth, 1e-6);
    close(await results(backend, fused), truth, 2e-5);
  });
});

test("without gradients the same losses", async () => {
  const program = (fused: boolean) =>
    record((g) => {
      const x = g.input("tokens", "i32", ["R"]);
      const logits = nn.matmul_nt(nn.gather_rows(g.param("embed", [V, D]), x), g.param("embed", [V, D]));
      const theirs = nn.matmul_nt(g.input("hidden", "f32", ["R", E]), g.param("teacher", [V, E]));
      const ce = nn.sum_rows(nn.cross_entropy(logits, g.input("targets", "i32", ["R"])));
      const kd = nn.sum_rows(nn.distillation_loss(logits, theirs, ATTRS));
      if (fused) fuseLosses(g, false);
      return { ce, kd };
    });
  expect(ops(program(true))).toContain("linear_distillation");
  close(await results(backend, program(true)), await results(reference, program(false)), 1e-5);
});

test("a loss that does not only sum and scale is left as it is, with the same gradient", async () => {
  const program = record(
    (g) => {
      const w = g.param("embed", [V, D]);
      const logits = nn.matmul_nt(nn.gather_rows(w, g.input("tokens", "i32", ["R"])), w);
      const theirs = nn.matmul_nt(g.input("hidden", "f32", ["R", E]), g.param("teacher", [V, E]));
      const kd = nn.distillation_loss(logits, theirs, ATTRS);
      const loss = nn.sum_rows(nn.mul(kd, kd));
      nn.accumulate(g.state("grad:embed", [V, D]), gradients(loss, [w])[0]!);
      return { loss };
    },
    { composed: true },
  );
  expect(ops(program)).toContain("distillation_slopes");
  close(await results(backend, program), await results(reference, program), 2e-5);
});
