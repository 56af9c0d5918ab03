// What the distillation losses must hold at the edges: probabilities that underflow, logits of minus infinity, equal
// distributions, and named tokens in place of all.
import { afterAll, describe, expect, test } from "vitest";
import { createBackend } from "./backends/index.ts";
import { normal } from "./conformance/cases.ts";
import * as nn from "./nn.ts";
import { DIVERGENCES, type DistillationAttrs, type Divergence } from "./ops/distillation.ts";
import { record } from "./program.ts";

const backends = [
  await createBackend({ threads: 2 }),
  await createBackend({ backend: "wasm", threads: 1 }),
  await createBackend({ backend: "reference" }),
];
afterAll(() => {
  for (const backend of backends) backend.close();
});
const attrsOf = (loss: Divergence, temperature = 1): DistillationAttrs => ({
  loss,
  beta: 0.2,
  temperature,
  scale_temperature: false,
});

interface Rows {
  readonly loss: Float32Array;
  readonly slopes: Float32Array;
}

/** Losses and slopes of rows of V logits by the teacher's logits, or by K named tokens of each row. */
async function rows(
  backend: (typeof backends)[number],
  V: number,
  logits: Float32Array,
  teacher: Float32Array | { ids: Int32Array; logp: Float32Array },
  attrs: DistillationAttrs,
): Promise<Rows> {
  const R = logits.length / V;
  const dims = { T: 0, S: 0, R };
  const program = record((g) => {
    const z = g.input("logits", "f32", ["R", V]);
    if (teacher instanceof Float32Array) {
      const t = g.input("teacher", "f32", ["R", V]);
      return { loss: nn.distillation_loss(z, t, attrs), slopes: nn.distillation_slopes(z, t, attrs) };
    }
    const K = teacher.ids.length / R;
    const [ids, logp] = [g.input("ids", "i32", ["R", K]), g.input("logp", "f32", ["R", K])];
    return {
      loss: nn.distillation_topk_loss(z, ids, logp, attrs),
      slopes: nn.distillation_topk_slopes(z, ids, logp, attrs),
    };
  });
  const executable = backend.compile(program, dims);
  await executable.run(dims, {
    logits,
    ...(teacher instanceof Float32Array ? { teacher } : teacher),
  });
  const out = { loss: new Float32Array(R), slopes: new Float32Array(R * V) };
  executable.read("loss", out.loss);
  executable.read("slopes", out.slopes);
  executable.free();
  return out;
}

/** The K likeliest tokens of each row of logits, and their log-probabilities. */
function likeliest(teacher: Float32Array, V: number, K: number, temperature: number) {
  const R = teacher.length / V;
  const [ids, logp] = [new Int32Array(R * K), new Float32Array(R * K)];
  const tails = new Float64Array(R);
  for (let r = 0; r < R; r++) {
    const row = Array.from(teacher.subarray(r * V, (r + 1) * V), (z) => z / temperature);
    const top = Math.max(...row);
    const lse = top + Math.log(row.reduce((sum, z) => sum + Math.exp(z - top), 0));
    const order = row.map((_, i) => i).sort((a, b) => row[b]! - row[a]!);
    order.slice(0, K).forEach((id, k) => {
      ids[r * K + k] = id;
      logp[r * K + k] = row[id]! - lse;
    });
    tails[r] = order.slice(K).reduce((sum, id) => sum + Math.exp(row[id]! - lse), 0);
  }
  return { ids, logp, tails };
}

const spread = (n: number, seed: number, by: number) => normal(n, seed).map((x) => x * by);

describe.each(DIVERGENCES)("%s", (loss) => {
  test("no NaN where probabilities underflow, and as in float64", async () => {
    const V = 100;
    // Each is all but certain of another token, by 300 nats; the last row has logits of minus infinity on either side.
    const [logits, teacher] = [7, 8].map((seed) => spread(4 * V, seed, 2));
    for (let r = 0; r < 3; r++) {
      logits![r * V + 3] = 300;
      teacher![r * V + 5 - r] = 250;
    }
    for (let i = 0; i < 20; i++) {
      logits![3 * V + i] = -Infinity;
      teacher![3 * V + 70 + i] = -Infinity;
    }
    const found: Rows[] = [];
    for (const backend of backends) found.push(await rows(backend, V, logits!, teacher!, attrsOf(loss)));
    const wanted = found.at(-1)!;
    for (const { loss: losses, slopes } of found) {
      for (const [i, x] of losses.entries())
        expect(Math.abs(x - wanted.loss[i]!)).toBeLessThan(2e-5 * Math.max(1, Math.abs(wanted.loss[i]!)));
      for (const [i, x] of slopes.entries())
        expect(Math.abs(x - wanted.slopes[i]!)).toBeLessThan(2e-5 * Math.max(1, Math.abs(wanted.slopes[i]!)));
    }
  });

  test("never negative beyond rounding: nothing between equals, little between the nearly equal", async () => {
    const [V, R] = [5000, 6];
    const logits = spread(R * V, 5, 3);
    const nearly = logits.map((z, i) => z + 1e-3 * Math.sin(i));
    for (const backend of backends) {
      const equal = await rows(backend, V, logits, logits.slice(), attrsOf(loss, 1.3));
      for (const x of equal.loss) expect(Math.abs(x)).toBeLessThan(1e-7);
      for (const x of equal.slopes) expect(Math.abs(x)).toBeLessThan(1e-8);
      const near = await rows(backend, V, logits, nearly, attrsOf(loss));
      for (const x of near.loss) expect(x).toBeGreaterThan(-2e-8);
      for (const x of near.loss) expect(x).toBeLessThan(2e-6); // half the variance of a difference of at most 1e-3
    }
  });

  test("all tokens named: the dense loss and slopes", async () => {
    const [V, R, temperature] = [90, 5, 1.7];
    const [logits, teacher] = [spread(R * V, 1, 2), spread(R * V, 2, 3)];
    const named = likeliest(teacher, V, V, temperature);
    for (const backend of backends) {
      const dense = await rows(backend, V, logits, teacher, attrsOf(loss, temperature));
      const topk = await rows(backend, V, logits, named, attrsOf(loss, temperature));
      for (const [i, x] of dense.loss.entries()) expect(Math.abs(topk.loss[i]! - x)).toBeLessThan(1e-5);
      for (const [i, x] of dense.slopes.entries()) expect(Math.abs(topk.slopes[i]! - x)).toBeLessThan(1e-6);
    }
  });

  test("some named: a loss that is no larger", async () => {
    const [V, R] = [90, 5];
    const [logits, teacher] = [spread(R * V, 3, 2), spread(R * V, 4, 3)];
    for (const backend of backends) {
      const dense = await rows(backend, V, logits, teacher, attrsOf(loss));
      let before = 0;
      for (const K of [1, 4, 16, 64]) {
        const topk = await rows(backend, V, logits, likeliest(teacher, V, K, 1), attrsOf(loss));
        for (const [i, x] of topk.loss.entries()) expect(x).toBeLessThanOrEqual(dense.loss[i]! + 1e-5);
        // A bucket that is split in two has more to say: the loss grows with K.
        const sum = topk.loss.reduce((a, b) => a + b, 0);
        expect(sum).toBeGreaterThanOrEqual(before - 1e-5);
        before = sum;
      }
    }
  });
});

// Forward KL: slopes are q - p for named tokens, and q_i - P q_i / Q for one of the tail, P and Q being the tails' masses; the
// dense slope is q_i - p_i. So the sum of what differs is Σ |p_i - P q_i / Q| <= 2 P: twice what the teacher left out.
test("forward_kl of some named tokens: its slopes are off by at most twice the teacher's tail", async () => {
  const [V, R] = [200, 6];
  const [logits, teacher] = [spread(R * V, 3, 1), spread(R * V, 4, 3)];
  for (const backend of backends)
    for (const K of [4, 16, 64]) {
      const dense = await rows(backend, V, logits, teacher, attrsOf("forward_kl"));
      const { tails, ...named } = likeliest(teacher, V, K, 1);
      const topk = await rows(backend, V, logits, named, attrsOf("forward_kl"));
      for (let r = 0; r < R; r++) {
        let off = 0;
        for (let i = r * V; i < (r + 1) * V; i++) off += Math.abs(dense.slopes[i]! - topk.slopes[i]!);
        expect(off).toBeLessThanOrEqual(2 * tails[r]! + 1e-5);
        expect(off).toBeGreaterThan(0);
      }
    }
});

test("what cannot be meant is refused", () => {
  const make = (attrs: object, K = 3) =>
    record((g) => {
      const [ids, logp] = [g.input("ids", "i32", ["R", K]), g.input("logp", "f32", ["R", K])];
      return { y: nn.distillation_topk_loss(g.input("z", "f32", ["R", 8]), ids, logp, attrs) };
    });
  expect(() => make({ loss: "jsd", beta: 1 })).toThrow("beta of jsd is 1, wanted a number between 0 and 1");
  expect(() => make({ temperature: 0 })).toThrow("the temperature is 0, wanted a number above 0");
  expect(() => make({ loss: "kl" })).toThrow('the loss is "kl", wanted forward_kl, reverse_kl, jsd');
  expect(() => make({}, 9)).toThrow("9 tokens are named, wanted 1 to 8");
  const dense = (V: number) =>
    record((g) => ({
      y: nn.distillation_loss(g.input("z", "f32", ["R", 8]), g.input("t", "f32", ["R", V])),
    }));
  expect(() => dense(9)).toThrow("Cannot apply distillation_loss: shapes are [R,8] and [R,9], wanted equal");
});

test("over more rows than a chunk holds, and the same bits with any number of threads", async () => {
  const [R, V, d, e] = [1100, 40, 16, 24];
  const program = record((g) => {
    const teacher = [g.input("theirs", "f32", ["R", e]), g.param("v", [V, e])] as const;
    const [x, w, targets] = [
      g.input("x", "f32", ["R", d]),
      g.param("w", [V, d]),
      g.input("targets", "i32", ["R"]),
    ];
    const attrs = { loss: "jsd", temperature: 2, grad: true } as const;
    const [ce, kd, dx] = nn.linear_distillation(x, w, targets, teacher, attrs);
    return { ce: ce!, kd: kd!, dx: dx! };
  });
  const found: number[][] = [];
  const dims = { T: 0, S: 0, R };
  for (const threads of [1, 2, 0]) {
    const backend = await createBackend(threads ? { threads } : { backend: "reference" });
    const executable = backend.compile(program, dims);
    executable.bind("w", backend.dense("f32", [V, d], normal(V * d, 1)));
    executable.bind("v", backend.dense("f32", [V, e], normal(V * e, 2)));
    const targets = Int32Array.from({ length: R }, (_, i) => (i % (V + 1)) - 1);
    await executable.run(dims, { x: normal(R * d, 3), theirs: normal(R * e, 4), targets });
    const all = [1, 1, d].map((n) => new Float32Array(R * n));
    for (const [i, name] of ["ce", "kd", "dx"].entries()) executable.read(name, all[i]!);
    found.push(all.flatMap((values) => [...values]));
    backend.close();
  }
  expect(found[0]).toEqual(found[1]);
  for (const [i, x] of found[0]!.entries()) expect(Math.abs(x - found[2]![i]!)).toBeLessThan(1e-5);
});
