// Losses and gradients of a step against float64 arithmetic over an independent forward pass.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { plainForward } from "../../test/helpers/plain-forward.ts";
import { TINY, tinyIds, tinyWeights, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import { createBackend } from "../engine/backends/index.ts";
import { type OpenedModel, openModel } from "../models/index.ts";
import { fullTrainable, type Learner, packItems, type Sample } from "../train/index.ts";
import { LogitCache, makeCache, samplesDigest } from "./cache.ts";
import { DistillStep, type Source } from "./step.ts";
import { LocalTeacher } from "./teacher.ts";
import { DISTILLATION_LOSSES, type DistillationLoss } from "./types.ts";

const root = await mkdtemp(join(tmpdir(), "pith-distill-step-"));
const opened: OpenedModel[] = [];
const model = async (type: "llama" | "qwen2") => {
  await writeTinyModel(join(root, type), TINY[type]);
  const one = await openModel(join(root, type));
  opened.push(one);
  return one;
};
// The teacher has 50 tokens, the student 70: as if it were padded.
const [teacherModel, studentModel] = [await model("llama"), await model("qwen2")];
const backend = await createBackend({ threads: 1 });
afterAll(async () => {
  for (const one of opened) await one.close();
  backend.close();
  await rm(root, { recursive: true, force: true });
});

const V = TINY.llama.vocab_size;
const SIZE: Learner["size"] = { ctx: 24, tokens: 48, sequences: 4 };
const samples: Sample[] = [7, 12, 19].map((length, n) => ({
  ids: Int32Array.from(tinyIds(length, V, n + 1)),
  learned: Uint8Array.from({ length }, (_, i) => Number(i > n)),
  source: { file: "tiny.jsonl", line: n + 1 },
}));
const batches = packItems(samples, SIZE);
const BETA = 0.3;

async function learner(loss: DistillationLoss, source: Source, temperature = 1.5): Promise<DistillStep> {
  const distance = { loss, beta: BETA, temperature, scale_temperature: false };
  return new DistillStep(backend, await fullTrainable(studentModel, backend), SIZE, {
    source,
    mix: { ce: 0.25, kd: 0.75, distance },
  });
}

const localTeacher = (temperature = 1) =>
  LocalTeacher.load(teacherModel, backend, { ctx: SIZE.ctx, vocab_size: V, temperature });

const softmax = (row: ArrayLike<number>, temperature: number): number[] => {
  const z = Array.from(row, (x) => x / temperature);
  const top = Math.max(...z);
  const e = z.map((x) => Math.exp(x - top));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((x) => x / sum);
};
const kl = (p: number[], q: number[]) => p.reduce((sum, x, i) => sum + x * Math.log(x / q[i]!), 0);
const between = (p: number[], q: number[], b: number) => p.map((x, i) => b * x + (1 - b) * q[i]!);
const LOSSES: Record<DistillationLoss, (p: number[], q: number[]) => number> = {
  forward_kl: kl,
  reverse_kl: (p, q) => kl(q, p),
  jsd: (p, q) => BETA * kl(p, between(p, q, BETA)) + (1 - BETA) * kl(q, between(p, q, BETA)),
  skew_kl: (p, q) => kl(p, between(p, q, BETA)),
  skew_reverse_kl: (p, q) => kl(q, between(q, p, BETA)),
};

const weights = (type: "llama" | "qwen2") =>
  new Map([...tinyWeights(TINY[type])].map(([name, { data }]) => [name, data]));

/** Means over the learned positions, in float64. */
function expected(loss: DistillationLoss, temperature: number): { ce: number; kd: number } {
  const [t, s] = [TINY.llama, TINY.qwen2];
  const [tw, sw] = [weights("llama"), weights("qwen2")];
  let [ce, kd, rows] = [0, 0, 0];
  for (const { ids, learned } of samples) {
    const input = Array.from(ids.subarray(0, -1));
    const [teacher, student] = [plainForward(t, tw, input), plainForward(s, sw, input)];
    for (let i = 1; i < ids.length; i++) {
      if (!learned[i]) continue;
      const own = student[i - 1]!;
      ce -= Math.log(softmax(own, 1)[ids[i]!]!);
      const p = softmax(teacher[i - 1]!, temperature);
      kd += LOSSES[loss](p, softmax(own.slice(0, V), temperature));
      rows++;
    }
  }
  return { ce: ce / rows, kd: kd / rows };
}

test.each(DISTILLATION_LOSSES)("%s and the cross-entropy are those of float64", async (loss) => {
  const teacher = await localTeacher();
  const step = await learner(loss, { teacher, top_k: 0, vocab_size: V });
  const result = await step.step(batches, { lr: 0 });
  const wanted = expected(loss, 1.5);
  expect(result.ce).toBeCloseTo(wanted.ce, 4);
  expect(result.kd).toBeCloseTo(wanted.kd, 4);
  expect(result.loss).toBeCloseTo(0.25 * wanted.ce + 0.75 * wanted.kd, 4);
  const evaluated = await step.evaluate(batches[0]!);
  const all = await Promise.all(batches.map((batch) => step.evaluate(batch)));
  expect(evaluated.tokens).toBeGreaterThan(0);
  const mean = (value: "loss" | "kl") =>
    all.reduce((sum, one) => sum + one[value] * one.tokens, 0) /
    all.reduce((sum, one) => sum + one.tokens, 0);
  expect(mean("loss")).toBeCloseTo(wanted.ce, 4);
  expect(mean("kl")).toBeCloseTo(expected("forward_kl", 1).kd, 4);
  step.close();
  teacher.free();
});

test("a teacher whose products are in bf16 says nearly the same", async () => {
  const [exact, rounded] = await Promise.all(
    (["f32", "bf16"] as const).map((compute) =>
      LocalTeacher.load(teacherModel, backend, { ctx: SIZE.ctx, vocab_size: V, compute }),
    ),
  );
  for (const batch of batches) {
    const [a, b] = [await exact!.hidden(batch), await rounded!.hidden(batch)];
    const length = (values: Float32Array) => Math.hypot(...values);
    const distance = length(a.map((value, i) => value - b[i]!)) / length(a);
    expect(distance).toBeLessThan(0.02);
    // It is another program, in bf16 only where the processor has it.
    expect(backend.kernels === "amx" ? distance : 1).toBeGreaterThan(0);
  }
  exact!.free();
  rounded!.free();
});

test("gradients are those of finite differences, and a cache of all tokens gives the same", async () => {
  const teacher = await localTeacher(1.5);
  const live = await learner("jsd", { teacher, top_k: 0, vocab_size: V });
  const names = ["model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight", "model.norm.weight"];
  const values = names.map((name) => live.read(name));
  await live.step(batches, { lr: 0 });
  const gradients = names.map((name) => live.read(name, "m").map((m) => m / 0.1));
  for (const [n, name] of names.entries()) {
    const largest = gradients[n]!.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const at = gradients[n]!.findIndex((x) => Math.abs(x) === largest);
    const nudged = async (by: number) => {
      live.write(name, values[n]!.with(at, values[n]![at]! + by));
      return (await live.step(batches, { lr: 0 })).loss;
    };
    const difference = ((await nudged(1e-2)) - (await nudged(-1e-2))) / 2e-2;
    live.write(name, values[n]!);
    expect(Math.abs(difference - gradients[n]![at]!) / largest).toBeLessThan(0.02);
  }
  live.close();

  const header = {
    ...{ tokenizer: "t", template: "c", data: samplesDigest(samples), teacher: "m", teacher_name: "tiny" },
    ...{ temperature: 1.5, top_k: V, vocab_size: V },
  };
  const differences: number[] = [];
  for (const top_k of [V, 8]) {
    const path = join(root, `all-${top_k}.logits`);
    await makeCache(path, samples, { ...header, top_k }, teacher);
    const cache = await LogitCache.open(path, samples, { ...header, top_k });
    const cached = await learner("jsd", { teacher: cache, top_k, vocab_size: V });
    await cached.step(batches, { lr: 0 });
    const [difference, length] = names.reduce(
      ([d, l], name, n) => {
        const g = cached.read(name, "m").map((m) => m / 0.1);
        return [
          d + g.reduce((sum, x, i) => sum + (x - gradients[n]![i]!) ** 2, 0),
          l + gradients[n]!.reduce((sum, x) => sum + x * x, 0),
        ] as const;
      },
      [0, 0] as readonly [number, number],
    );
    differences.push(Math.sqrt(difference / length));
    cached.close();
    await cache.close();
  }
  // f16 has eleven bits; eight of fifty tokens leave out what is in the tail.
  expect(differences[0]).toBeLessThan(2e-3);
  expect(differences[1]).toBeLessThan(0.3);
  expect(differences[1]).toBeGreaterThan(differences[0]!);
  teacher.free();
});

test("the likeliest tokens are the teacher's, at the temperature asked for", async () => {
  const teacher = await localTeacher(0.7);
  const rows = await teacher.score(samples, 5);
  for (const [n, { ids, learned }] of samples.entries()) {
    const logits = plainForward(TINY.llama, weights("llama"), Array.from(ids.subarray(0, -1)));
    let row = 0;
    for (let i = 1; i < ids.length; i++) {
      if (!learned[i]) continue;
      const p = softmax(logits[i - 1]!, 0.7);
      const order = [...p.keys()].sort((a, b) => p[b]! - p[a]!).slice(0, 5);
      expect([...rows[n]!.ids.subarray(row * 5, row * 5 + 5)]).toEqual(order);
      order.forEach((id, j) => {
        expect(rows[n]!.logp[row * 5 + j]).toBeCloseTo(Math.log(p[id]!), 4);
      });
      row++;
    }
    expect(rows[n]!.ids.length).toBe(row * 5);
  }
  teacher.free();
});
