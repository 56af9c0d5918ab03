// What a program with gradients holds and computes, and that computing parts again, fusing and threads change no bit.
import { afterAll, describe, expect, test } from "vitest";
import type { Backend, Storage } from "./backend.ts";
import { createBackend } from "./backends/index.ts";
import { NativeBackend } from "./backends/native.ts";
import { normal } from "./conformance/cases.ts";
import { lowered } from "./fuse-gradients.ts";
import { gradients } from "./gradients.ts";
import * as nn from "./nn.ts";
import { plan } from "./plan.ts";
import { type Program, record } from "./program.ts";
import type { Recorder, Tensor } from "./tensor.ts";

const [D, F, V, LAYERS] = [48, 80, 72, 4];
const SHAPES = new Map<string, readonly number[]>([
  ["embed", [V, D]],
  ...Array.from({ length: LAYERS }, (_, i): [string, readonly number[]][] => [
    [`${i}.norm`, [D]],
    [`${i}.gate`, [F, D]],
    [`${i}.up`, [F, D]],
    [`${i}.down`, [D, F]],
  ]).flat(),
]);

/** A decoder without attention, its head tied to the embedding; gradients of `trained` are added to states. */
function recorded(trained: readonly string[], recompute: boolean): Program {
  return record(
    (g: Recorder) => {
      const p = (name: string): Tensor => g.param(name, SHAPES.get(name)!);
      let x = nn.gather_rows(p("embed"), g.input("tokens", "i32", ["T"]));
      g.checkpoint(x);
      for (let i = 0; i < LAYERS; i++) {
        const h = nn.rms_norm(x, p(`${i}.norm`), 1e-5);
        const y = nn.swiglu(nn.matmul_nt(h, p(`${i}.gate`)), nn.matmul_nt(h, p(`${i}.up`)));
        x = nn.add(x, nn.matmul_nt(y, p(`${i}.down`)));
        g.checkpoint(x);
      }
      const rows = nn.gather_rows(x, g.input("rows", "i32", ["R"]));
      const loss = nn.sum_rows(
        nn.cross_entropy(nn.matmul_nt(rows, p("embed")), g.input("targets", "i32", ["R"])),
      );
      const wrt = trained.map(p);
      for (const [i, d] of gradients(loss, wrt, { recompute }).entries())
        nn.accumulate(g.state(`grad:${trained[i]}`, wrt[i]!.shape), d);
      return { loss };
    },
    { composed: true },
  );
}

const [T, R] = [40, 25];
const inputs = {
  tokens: Int32Array.from({ length: T }, (_, i) => (i * 31) % V),
  rows: Int32Array.from({ length: R }, (_, i) => i + 5),
  targets: Int32Array.from({ length: R }, (_, i) => (i % 7 === 0 ? -1 : (i * 17) % V)),
};

/** Loss, then every gradient sum, after two runs. */
async function results(backend: Backend, program: Program): Promise<Map<string, Float32Array>> {
  const dims = { T, S: 0, R };
  const executable = backend.compile(program, dims);
  const bound = new Map<string, Storage>();
  for (const [i, t] of [...program.params, ...program.states].entries()) {
    const n = (t.shape as number[]).reduce((a, b) => a * b);
    const index = [...SHAPES.keys()].indexOf(t.name!);
    const values =
      t.kind === "state"
        ? new Float32Array(n)
        : normal(n, index + 3).map((v) => 0.3 * v + (t.shape.length === 1 ? 1 : 0));
    bound.set(t.name!, backend.dense("f32", t.shape as number[], values));
    executable.bind(t.name!, bound.get(t.name!)!);
    expect(i).toBeLessThan(40);
  }
  await executable.run(dims, inputs);
  await executable.run(dims, inputs);
  const out = new Map([["loss", new Float32Array(1)]]);
  executable.read("loss", out.get("loss")!);
  for (const t of program.states) {
    out.set(t.name!, new Float32Array(bound.get(t.name!)!.bytes / 4));
    backend.read(bound.get(t.name!)!, out.get(t.name!)!);
  }
  executable.free();
  return out;
}

const ALL = [...SHAPES.keys()];
const kinds = [
  { backend: "wasm", threads: 2 } as const,
  ...(NativeBackend.available() ? NativeBackend.kernels() : []).map(
    (kernels) => ({ backend: "native", kernels, threads: 2 }) as const,
  ),
];
const reference = await createBackend({ backend: "reference" });
const truth = await results(reference, recorded(ALL, false));

describe.each(kinds)("$backend $kernels", (options) => {
  const open: Backend[] = [];
  afterAll(() => {
    for (const backend of open) backend.close();
  });
  const made = async (threads: number) => {
    open.push(await createBackend({ ...options, threads }));
    return open.at(-1)!;
  };

  test("gradients equal the reference's, the same bits with parts computed again and any number of threads", async () => {
    const kept = await results(await made(2), recorded(ALL, false));
    for (const [name, values] of truth) {
      const scale = Math.max(...values.map(Math.abs));
      for (const [i, v] of values.entries())
        expect(Math.abs(kept.get(name)![i]! - v), name).toBeLessThan(2e-5 * scale);
    }
    expect(await results(await made(2), recorded(ALL, true))).toEqual(kept);
    expect(await results(await made(1), recorded(ALL, true))).toEqual(kept);
  });

  test("products in bf16 stay near, wherever they are faster", async () => {
    const low = await results(await made(2), lowered(recorded(ALL, true)));
    expect(await results(await made(1), lowered(recorded(ALL, true)))).toEqual(low);
    expect(Math.abs(low.get("loss")![0]! / truth.get("loss")![0]! - 1)).toBeLessThan(5e-3);
    for (const [name, values] of truth) {
      const error = values.reduce((sum, v, i) => sum + (low.get(name)![i]! - v) ** 2, 0);
      expect(error / values.reduce((sum, v) => sum + v * v, 0), name).toBeLessThan(1e-3);
    }
  });
});

test("no program holds logits or a gradient of a matrix, and parts computed again take less memory", () => {
  const dims = { T: 1000, S: 0, R: 1000 };
  const [kept, again] = [false, true].map((recompute) => recorded(ALL, recompute));
  for (const program of [kept!, again!]) {
    const shapes = program.nodes.flatMap((node) => node.outputs.map((t) => t.shape.join()));
    expect(shapes).not.toContain(`R,${V}`);
    for (const shape of SHAPES.values()) if (shape.length > 1) expect(shapes).not.toContain(shape.join());
  }
  expect(plan(again!, dims).arenaBytes).toBeLessThan(0.6 * plan(kept!, dims).arenaBytes);
  const products = (program: Program) =>
    program.nodes.filter((n) => n.op.startsWith("matmul") || n.op === "accumulate_tn").length;
  // gate and up of all blocks but the last; what comes after them is at the checkpoint.
  expect(products(again!) - products(kept!)).toBe(2 * (LAYERS - 1));
});

test("a loss of frozen weights costs no gradient by them", () => {
  const program = recorded(["1.norm"], false);
  expect(program.nodes.filter(({ op }) => op === "matmul_tn" || op === "accumulate_tn")).toEqual([]);
  expect(program.nodes.find(({ op }) => op === "linear_cross_entropy")!.inputs.length).toBe(3);
});

test("the loss over more rows than a chunk of logits holds", async () => {
  const backend = await createBackend({ threads: 2 });
  const rows = 1100;
  const program = record((g) => {
    const [x, w] = [g.input("x", "f32", ["R", 16]), g.param("w", [20, 16])];
    const [loss, dx] = nn.linear_cross_entropy(x, w, g.input("targets", "i32", ["R"]), { grad: true });
    return { loss: loss!, dx: dx! };
  });
  const found: number[][] = [];
  for (const b of [backend, reference]) {
    const executable = b.compile(program, { T: 0, S: 0, R: rows });
    executable.bind("w", b.dense("f32", [20, 16], normal(320, 1)));
    const targets = Int32Array.from({ length: rows }, (_, i) => (i % 21) - 1);
    await executable.run({ T: 0, S: 0, R: rows }, { x: normal(rows * 16, 2), targets });
    const [loss, dx] = [new Float32Array(rows), new Float32Array(rows * 16)];
    executable.read("loss", loss);
    executable.read("dx", dx);
    found.push([...loss, ...dx]);
  }
  backend.close();
  for (const [i, v] of found[0]!.entries()) expect(Math.abs(v - found[1]![i]!)).toBeLessThan(1e-5);
});
