// A process that serves the model of this repository teaches as the model itself does.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { buildTeacher, TeacherServer } from "../../test/helpers/teacher-server.ts";
import { loadModel, type Model } from "../generate/index.ts";
import { EndpointPool, writeText } from "../remote/index.ts";
import type { Sample } from "../train/index.ts";
import { distill } from "./distill.ts";
import { endpointTeacher } from "./endpoint.ts";

const STORIES = resolve(import.meta.dirname, "../../models/stories");
const K = 5;
let dir: string;
let server: TeacherServer;
let model: Model;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-endpoint-"));
  await buildTeacher(dir, true);
  [server, model] = await Promise.all([
    TeacherServer.start(dir, STORIES),
    loadModel(STORIES, { threads: 1 }),
  ]);
}, 60_000);
beforeEach(() => server.misbehave());
afterAll(async () => {
  await server?.kill();
  await model?.close();
  await rm(dir, { recursive: true, force: true });
});

function sample(text: string, from: number): Sample {
  const ids = Int32Array.from(model.tokenizer.encode(text));
  return { ids, learned: ids.map((_, i) => Number(i >= from)) as never, source: { file: "f", line: 1 } };
}

const teacher = (tries = 2) =>
  endpointTeacher(server.url, { tokenizer: model.tokenizer, backoffMs: 5, tries });

test("rows are those of the model, at the learned positions", async () => {
  const samples = [
    sample("Once upon a time there was a cat.", 3),
    sample("Tom and Mina went to the park.", 1),
  ];
  await server.misbehave({ kind: "cut", times: 1 });
  const far = teacher();
  const rows = await far.score(samples, K);
  // The older form, of servers that know no prompt_logprobs.
  await server.misbehave({ kind: "echo", times: 2 });
  expect(await far.score(samples, K)).toEqual(rows);
  for (const [s, { ids, learned }] of samples.entries()) {
    const { vocab_size } = model.config;
    const logits = await model.logits(ids);
    let row = 0;
    for (let i = 1; i < ids.length; i++) {
      if (learned[i] !== 1) continue;
      const own = Float64Array.from(logits.subarray((i - 1) * vocab_size, i * vocab_size));
      const sum = Math.log(own.reduce((a, b) => a + Math.exp(b), 0));
      const order = [...own.keys()].sort((a, b) => own[b]! - own[a]!).slice(0, K);
      expect([...rows[s]!.ids.subarray(row * K, row * K + K)]).toEqual(order);
      for (const [j, id] of order.entries())
        expect(rows[s]!.logp[row * K + j]).toBeCloseTo(own[id]! - sum, 4);
      row++;
    }
    expect(rows[s]!.ids.length).toBe(row * K);
    expect(row).toBeGreaterThan(3);
  }
  await far.close();
});

test("no logprobs, other ids and other tokens are errors that name the host", async () => {
  const far = teacher();
  const one = [sample("Once upon a time", 1)];
  const refused = async (kind: "bare" | "wrong-ids" | "texts", message: string) => {
    await server.misbehave({ kind, times: 2 });
    await expect(far.score(one, K)).rejects.toThrow(message);
  };
  await refused("bare", `Cannot get logprobs from ${server.host}: it answered {`.slice(0, -1));
  await refused("wrong-ids", `Cannot let ${server.host} score a text at position 1: it answered`);
  await refused("texts", `Cannot score with ${server.host}: its tokens are others, token`);
  // One wrong answer of several tries is passed over.
  await server.misbehave({ kind: "wrong-ids", times: 1 });
  expect((await far.score(one, K)).length).toBe(1);
  const abort = AbortSignal.abort(new Error("enough"));
  await expect(far.score(one, K, abort)).rejects.toThrow("enough");
  await far.close();
});

test("texts with the same seed are the model's own", async () => {
  const pool = new EndpointPool(server.url);
  const given = { maxTokens: 12, temperature: 0.9, seed: 5 };
  const [{ text }, far] = await Promise.all([
    model.generate("Once upon a time", given),
    writeText(pool, "stories", { prompt: "Once upon a time", ...given }),
  ]);
  expect(far).toMatchObject({ text, finishReason: "length", completionTokens: 12, host: server.host });
  pool.close();
});

test("a student learns from an endpoint as from the likeliest tokens of the model itself", async () => {
  const data = join(dir, "told.jsonl");
  const texts = ["Once upon a time there was a cat.", "Tom and Mina went to the park.", "The sun was warm."];
  await writeFile(data, texts.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  const student = join(dir, "student");
  const made = { config: { layers: 1, heads: 2, width: 16, ctx: 64 } };
  await distill(made, { teacher: STORIES, data, on_policy: 0, max_steps: 1, threads: 1, out: student })
    .result;
  const common = {
    data,
    top_k: K,
    max_steps: 3,
    batch_tokens: 32,
    epochs: 9,
    seed: 1,
    threads: 1,
    on_policy: 0,
  };
  await server.misbehave({ kind: "garbage", times: 1 });
  const far = distill(student, {
    ...{ ...common, teacher: server.url, cache: join(dir, "far.logits"), out: join(dir, "far") },
    endpoint: { backoffMs: 5 },
  });
  const near = { ...common, teacher: STORIES, cache: join(dir, "near.logits"), out: join(dir, "near") };
  const [told, known] = [await far.result, await distill(student, near).result];
  for (const [i, { kd, ce }] of told.records.entries()) {
    expect(kd).toBeCloseTo(known.records[i]!.kd!, 2);
    expect(ce).toBeCloseTo(known.records[i]!.ce!, 3);
  }
  expect(told.records.length).toBe(3);
});
