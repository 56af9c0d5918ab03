import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { backends } from "../../test/helpers/backends.ts";
import { type PlainWeights, plainForward } from "../../test/helpers/plain-forward.ts";
import { GOLDEN, TINY_BASES, type TinyType, writeTinyAdapter } from "../../test/helpers/tiny-adapters.ts";
import { loadOn, tinyFolder } from "../../test/helpers/tiny-chat-model.ts";
import { TINY, tinyWeights, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import { writeSafetensors } from "../formats/index.ts";
import type { Model } from "../generate/model.ts";
import { openModel } from "../models/index.ts";
import { evaluate } from "./evaluate.ts";
import { meanAndError, percentile } from "./statistics.ts";
import type { TextResult } from "./text.ts";
import { windows } from "./windows.ts";

const TEXT = "the land and the inn on a hill, then one and another. on the land! ".repeat(2);

/** Log-probabilities [position][token] of a sequence, in float64, by formulas that share nothing with the engine. */
function logProbs(ids: readonly number[], weights: PlainWeights): Float64Array[] {
  return plainForward(TINY.llama, weights, ids).map((logits) => {
    const top = Math.max(...logits);
    const log = top + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - top), 0));
    return logits.map((x) => x - log);
  });
}

const plain: PlainWeights = new Map([...tinyWeights(TINY.llama)].map(([name, { data }]) => [name, data]));

let model: Model;
let folder: string;
beforeAll(async () => {
  folder = await tinyFolder();
  model = await loadOn(folder, { kv: "f32" });
});
afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

describe("perplexity against float64 formulas", () => {
  const direct = (cut: ReturnType<typeof windows>) => {
    const losses: number[] = [];
    for (let i = 0; i < cut.count; i++) {
      const { ids, from } = cut.sequence(i);
      const rows = logProbs([...ids], plain);
      for (let t = from; t < ids.length; t++) losses.push(-rows[t - 1]![ids[t]!]!);
    }
    return losses;
  };

  it.each([
    [24, undefined],
    [25, undefined],
    [16, 5],
    [16, 16],
    [256, 64],
  ])("ctx %s, stride %s", async (ctx, stride) => {
    const size = { ctx, ...(stride !== undefined && { stride }) };
    const losses = direct(windows(model.tokenizer.encode(TEXT), size));
    const { mean, error } = meanAndError(losses);
    const result = await evaluate(model, { text: TEXT, ...size });
    expect(result.tokens).toBe(losses.length);
    expect(result.nll).toBeCloseTo(mean, 5);
    expect(result.nll_se).toBeCloseTo(error, 5);
    expect(result.perplexity / Math.exp(mean)).toBeCloseTo(1, 5);
    expect(result.perplexity_se).toBeCloseTo(result.perplexity * error, 4);
    expect(result).toMatchObject({ convention: stride === undefined ? "windows" : "strided", ...size });
    expect(result.bits_per_weight).toBe(32);
  });

  it("puts a begin token first in each window where the tokenizer does", async () => {
    const cut = windows([1, 5, 6, 7, 8, 9, 10, 11, 12], { ctx: 4, bosId: 1 });
    expect([cut.count, cut.scored]).toEqual([2, 2]);
    expect([...cut.sequence(1).ids]).toEqual([1, 9, 10, 11]);
    expect(cut.sequence(1).from).toBe(3);
  });
});

describe("beside a base", () => {
  it("gives KL, log-ratio and agreement as float64 formulas do", async () => {
    // The base is the same model with its head scaled: a distribution of another temperature.
    const scaled = await tinyFolder();
    const tensors = [...tinyWeights(TINY.llama)].map(([name, { shape, data }]) => {
      const values = name === "lm_head.weight" ? data.map((x) => x * 1.25) : data;
      return { name, type: "f32" as const, shape, data: async () => new Uint8Array(values.buffer) };
    });
    await writeSafetensors(join(scaled, "model.safetensors"), tensors);
    const base = await loadOn(scaled, { kv: "f32" });
    await rm(scaled, { recursive: true });
    const weights = new Map(plain);
    weights.set(
      "lm_head.weight",
      Float64Array.from(weights.get("lm_head.weight")!, (x) => Math.fround(x * 1.25)),
    );
    const cut = windows(model.tokenizer.encode(TEXT), { ctx: 20 });
    const [kls, ratios]: [number[], number[]] = [[], []];
    let same = 0;
    for (let i = 0; i < cut.count; i++) {
      const { ids, from } = cut.sequence(i);
      const [own, others] = [logProbs([...ids], plain), logProbs([...ids], weights)];
      for (let t = from; t < ids.length; t++) {
        const [q, p] = [own[t - 1]!, others[t - 1]!];
        kls.push(p.reduce((sum, logP, v) => sum + Math.exp(logP) * (logP - q[v]!), 0));
        ratios.push(p[ids[t]!]! - q[ids[t]!]!);
        if (p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q))) same++;
      }
    }
    const result = await evaluate(model, { text: TEXT, ctx: 20, base });
    await base.close();
    const ratio = meanAndError(ratios);
    expect(result.log_ratio).toBeCloseTo(ratio.mean, 5);
    expect(result.log_ratio_se).toBeCloseTo(ratio.error, 5);
    expect(result.base_perplexity! * Math.exp(result.log_ratio!)).toBeCloseTo(result.perplexity, 5);
    kls.sort((a, b) => a - b);
    expect(result.kl_mean).toBeCloseTo(meanAndError(kls).mean, 5);
    expect(result.kl_median).toBeCloseTo(percentile(kls, 0.5), 5);
    expect(result.kl_p99).toBeCloseTo(percentile(kls, 0.99), 5);
    expect(result.kl_mean).toBeGreaterThan(0.001);
    expect(result.top1).toBe(same / kls.length);
  });

  it("finds no difference from itself", async () => {
    const result = await evaluate(model, { text: TEXT, ctx: 32, base: model });
    expect(result).toMatchObject({
      log_ratio: 0,
      log_ratio_se: 0,
      kl_mean: 0,
      kl_median: 0,
      kl_p99: 0,
      top1: 1,
    });
  });

  it("refuses another vocabulary and another tokenizer", async () => {
    const other = await tinyFolder("qwen2");
    const base = await loadOn(other);
    await expect(evaluate(model, { text: TEXT, base })).rejects.toThrow(
      /Cannot compare .* with .*: their vocabularies have 50 and 70 tokens, wanted the same/,
    );
    await base.close();
    await rm(other, { recursive: true });
    const swapped = await tinyFolder();
    const file = join(swapped, "tokenizer.json");
    const json = JSON.parse(await readFile(file, "utf8"));
    [json.model.vocab.n, json.model.vocab.o] = [json.model.vocab.o, json.model.vocab.n];
    await writeFile(file, JSON.stringify(json));
    const second = await loadOn(swapped);
    await expect(evaluate(model, { text: TEXT, base: second })).rejects.toThrow(
      /token 16 is "n" to the one and "o" to the other, wanted the same tokenizer/,
    );
    await second.close();
    await rm(swapped, { recursive: true });
  });
});

it("evaluates with an adapter, beside the same model without", async () => {
  const type = Object.keys(GOLDEN)[0] as TinyType;
  const name = Object.keys(GOLDEN[type].adapters)[0]!;
  const dir = await tinyFolder();
  await writeTinyModel(dir, TINY_BASES[type]);
  const path = await writeTinyAdapter(join(dir, name), type, name);
  const some = [
    ...new Set([backends[0]!, ...backends.filter(([name]) => name.startsWith("wasm")), backends.at(-1)!]),
  ];
  for (const [backend, make] of some) {
    await using adapted = await loadOn(dir, { kv: "f32", ctx: 64 }, await make());
    const adapter = await adapted.adapter(path);
    const size = { text: TEXT, ctx: 24 };
    const plain = await evaluate(adapted, size);
    const result = await evaluate(adapted, { ...size, adapter, base: adapted });
    // Directly, from the logits that generation gives with the adapter.
    const { vocab_size } = adapted.config;
    const cut = windows(adapted.tokenizer.encode(TEXT), size);
    const losses: number[] = [];
    for (let i = 0; i < cut.count; i++) {
      const { ids, from } = cut.sequence(i);
      const logits = await adapted.logits(ids, { adapter });
      for (let t = from; t < ids.length; t++) {
        const row = logits.subarray((t - 1) * vocab_size, t * vocab_size);
        losses.push(Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[ids[t]!]!);
      }
    }
    expect(result.nll, backend).toBeCloseTo(meanAndError(losses).mean, 4);
    expect(result.base_perplexity! / plain.perplexity, backend).toBeCloseTo(1, 6);
    expect(result.kl_mean, backend).toBeGreaterThan(1e-4);
    await adapter.detach(); // nothing holds it any more
  }
  await rm(dir, { recursive: true });
});

describe("what is refused, and interruption", () => {
  it.each<[Record<string, unknown>, RegExp]>([
    [{ text: "" }, /Cannot evaluate the text: it is empty/],
    [
      { text: "the", ctx: 64 },
      /a text of 1 tokens in windows of 64: wanted at least one window; give a longer text/,
    ],
    [{ text: "a the land", ctx: 64 }, /wanted at least one window; a ctx of \d+ would do, or a stride/],
    [{ text: "the", ctx: 64, stride: 8 }, /a text of 1 tokens: wanted at least 2/],
    [{ text: TEXT, ctx: 3 }, /ctx of 3: wanted a whole number, 4 or more/],
    [{ text: TEXT, ctx: 300 }, /ctx of 300: the context of the model is 256/],
    [{ text: TEXT, ctx: 16, stride: 17 }, /stride of 17: wanted a whole number from 1 to the ctx of 16/],
    [{ text: TEXT, ctx: 16, stride: 0 }, /stride of 0/],
    [{ text: TEXT, ctx: 16, limit: 0 }, /limit of 0/],
    [{ text: 7 }, /a text that is number/],
  ])("%j", async (options, message) => {
    await expect(evaluate(model, options as never)).rejects.toThrow(message);
  });

  it("ends with the signal's reason, and knows what was finished", async () => {
    const stop = new AbortController();
    let partial: TextResult | undefined;
    const long = TEXT.repeat(40);
    const running = evaluate(model, {
      text: long,
      ctx: 64,
      signal: stop.signal,
      onProgress: ({ done, total, result }) => {
        expect(done).toBeLessThanOrEqual(total);
        partial = result();
        if (partial && partial.windows > 1) stop.abort(new Error("enough"));
      },
    });
    await expect(running).rejects.toThrow("enough");
    expect(partial!.windows).toBeGreaterThan(1);
    expect(partial!.windows).toBeLessThan(partial!.windows_total);
    // What was finished is what these windows alone give.
    const { windows_total: _, ...found } = partial!;
    expect(await evaluate(model, { text: long, ctx: 64, limit: partial!.windows })).toMatchObject(found);
    await expect(evaluate(model, { text: long, signal: stop.signal })).rejects.toThrow("enough");
  });
});

it("tells bits a weight as inspect does", async () => {
  const opened = await openModel(folder);
  await opened.close();
  const elements = [...opened.tensors.values()].map((t) => t.shape.reduce((a, b) => a * b, 1));
  expect(model.bitsPerWeight).toBe(
    (8 * 4 * elements.reduce((a, b) => a + b, 0)) / elements.reduce((a, b) => a + b, 0),
  );
});
