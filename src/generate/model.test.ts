import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tinyChatModel } from "../../test/helpers/tiny-chat-model.ts";
import { tinyIds } from "../../test/helpers/tiny-models.ts";
import { gatheredBytes } from "./load.ts";
import type { GenerateOptions, Model } from "./model.ts";
import type { Part } from "./stream.ts";

const forbidEos = { logitBias: { 2: -Infinity } };

async function collect(parts: AsyncIterable<Part>): Promise<Part[]> {
  const all: Part[] = [];
  for await (const part of parts) all.push(part);
  return all;
}

describe("Model", () => {
  let model: Model;
  beforeAll(async () => {
    model = await tinyChatModel({ ctx: 128, cacheTokens: 128 * 8 });
  });
  afterAll(() => model.close());

  const idle = () => expect(model.status).toMatchObject({ running: 0, waiting: 0, usedPages: 0 });

  it("gives the same text awaited and iterated", async () => {
    const options = { maxTokens: 20, seed: 3, ...forbidEos };
    const whole = await model.generate("the land", options);
    const parts = await collect(model.generate("the land", options));
    expect(parts.map((p) => p.text).join("")).toBe(whole.text);
    expect(parts.flatMap((p) => p.ids)).toEqual(whole.ids);
    expect(whole.ids.length).toBe(20);
    expect(whole.finishReason).toBe("length");
    expect(whole.usage).toEqual({ promptTokens: 4, completionTokens: 20, cachedTokens: 0 });
    expect(whole.seed).toBe(3);
    expect(whole.stats.tokensPerSecond).toBeGreaterThan(0);
  });

  it("draws the same text with the same seed, alone or among eight, and another with another", async () => {
    const prompts = Array.from({ length: 8 }, (_, i) => tinyIds(3 + 9 * i, 46, i));
    const options = (i: number): GenerateOptions => ({
      maxTokens: 12,
      seed: i,
      temperature: 1.5,
      ...forbidEos,
    });
    const alone: (readonly number[])[] = [];
    for (const [i, prompt] of prompts.entries()) alone.push((await model.generate(prompt, options(i))).ids);
    const together = await Promise.all(prompts.map((prompt, i) => model.generate(prompt, options(i))));
    expect(together.map((r) => r.ids)).toEqual(alone);
    expect((await model.generate(prompts[0]!, options(9))).ids).not.toEqual(alone[0]);
    idle();
  });

  it("gives the likeliest tokens at temperature 0, as logits say", async () => {
    const prompt = tinyIds(7, 46);
    const { ids } = await model.generate(prompt, { maxTokens: 6, temperature: 0, ...forbidEos });
    const all = [...prompt, ...ids];
    const logits = await model.logits(all);
    expect(logits.length).toBe(all.length * 50);
    for (let i = 0; i < ids.length; i++) {
      const row = logits.subarray((prompt.length - 1 + i) * 50, (prompt.length + i) * 50).slice();
      row[2] = -Infinity;
      expect(row.indexOf(Math.max(...row))).toBe(ids[i]);
    }
  });

  it("reports logprobs beside every token", async () => {
    const prompt = tinyIds(5, 46);
    const result = await model.generate(prompt, { maxTokens: 3, temperature: 0, logprobs: 2, ...forbidEos });
    const logits = await model.logits(prompt);
    const row = [...logits.subarray(4 * 50, 5 * 50)];
    const sum = row.reduce((a, b) => a + Math.exp(b), 0);
    expect(result.logprobs!.length).toBe(3);
    expect(result.logprobs![0]!.logprob).toBeCloseTo(row[result.ids[0]!]! - Math.log(sum), 5);
    expect(result.logprobs![0]!.top.length).toBe(2);
  });

  it("ends at an end token, which is no text", async () => {
    const result = await model.generate("the", { maxTokens: 50, logitBias: { 2: 1e6 } });
    expect(result).toMatchObject({ text: "", finishReason: "stop", ids: [2] });
  });

  it("ends at a stop string across tokens and leaves it out", async () => {
    const { text } = await model.generate("the", { maxTokens: 30, seed: 5, ...forbidEos });
    const stop = text.slice(7, 12);
    const parts = await collect(model.generate("the", { maxTokens: 30, seed: 5, stop, ...forbidEos }));
    expect(parts.map((p) => p.text).join("")).toBe(text.slice(0, text.indexOf(stop)));
    expect(
      (await model.generate("the", { maxTokens: 30, seed: 5, stop: [stop, "zzzz"], ...forbidEos }))
        .finishReason,
    ).toBe("stop");
  });

  it("obeys a mask that depends on what was generated, and fails alone when it throws", async () => {
    const only = (id: number) => new Uint32Array(2).map((_, w) => (id >>> 5 === w ? 1 << (id & 31) : 0));
    const masked = model.generate("a", {
      maxTokens: 4,
      mask: ({ ids, prompt }) => only(10 + prompt.length + ids.length),
    });
    const later = model.generate("a", {
      maxTokens: 4,
      mask: ({ ids }) => {
        const mask = only(20 + ids.length);
        return ids.length % 2 ? async () => mask : () => mask;
      },
    });
    const laterThrowing = model.generate("a", {
      maxTokens: 4,
      mask: () => () => {
        throw new Error("my later mask");
      },
    });
    const free = model.generate("a", { maxTokens: 4, seed: 1, ...forbidEos });
    const throwing = model.generate("a", {
      maxTokens: 4,
      mask: () => {
        throw new Error("my mask");
      },
    });
    const short = model.generate("a", { maxTokens: 4, mask: () => new Uint32Array(1) });
    const none = model.generate("a", { maxTokens: 4, mask: () => new Uint32Array(2) });
    await expect(throwing).rejects.toThrow("my mask");
    await expect(laterThrowing).rejects.toThrow("my later mask");
    await expect(short).rejects.toThrow(/1 words, wanted a Uint32Array of 2/);
    await expect(none).rejects.toThrow(/allow none/);
    expect((await masked).ids).toEqual([11, 12, 13, 14]);
    expect((await later).ids).toEqual([20, 21, 22, 23]);
    expect((await free).ids.length).toBe(4);
    idle();
  });

  it("refuses a prompt beyond the context with both numbers", async () => {
    await expect(model.generate(tinyIds(128, 46))).rejects.toThrow(
      "Cannot generate: the prompt has 128 tokens, but a context of 128 has room for 127 and an answer",
    );
    await expect(model.logits(tinyIds(129, 46))).rejects.toThrow(/129 tokens: the context is 128/);
    expect((await model.logits(tinyIds(128, 46))).length).toBe(128 * 50);
  });

  it("ends with length at the end of the context", async () => {
    const result = await model.generate(tinyIds(120, 46), forbidEos);
    expect(result).toMatchObject({ finishReason: "length", usage: { completionTokens: 8 } });
  });

  it("refuses settings that have no meaning, and says which", async () => {
    const bad: [GenerateOptions, RegExp][] = [
      [{ temperature: -1 }, /temperature -1: wanted a number from 0/],
      [{ topK: 1.5 }, /topK 1.5: wanted a whole number/],
      [{ topP: 2 }, /topP 2: wanted a number from 0 to 1/],
      [{ seed: -3 }, /seed -3/],
      [{ logitBias: { 99: 1 } }, /token 99: wanted an id from 0 to 49/],
      [{ maxTokens: Number.NaN }, /maxTokens NaN/],
      [{ stop: "" }, /Cannot stop at ""/],
    ];
    for (const [options, message] of bad) await expect(model.generate("a", options)).rejects.toThrow(message);
    await expect(model.generate("")).rejects.toThrow(/0 tokens/);
    await expect(model.generate([50])).rejects.toThrow(/token 0 of the prompt is 50, wanted 0 to 49/);
    await expect(model.generate([1.5])).rejects.toThrow(/is 1.5, wanted a whole number/);
    expect((await model.generate("a", { maxTokens: 0 })).finishReason).toBe("length");
  });

  it("rejects with the signal's reason, keeps what came before it, and frees the pages", async () => {
    const controller = new AbortController();
    const seen: string[] = [];
    const run = async () => {
      for await (const part of model.generate("the", { signal: controller.signal, ...forbidEos })) {
        seen.push(part.text);
        if (seen.length === 3) controller.abort();
      }
    };
    await expect(run()).rejects.toMatchObject({ name: "AbortError" });
    expect(seen.length).toBe(3);
    await expect(model.generate("a", { signal: AbortSignal.abort("why") })).rejects.toBe("why");
    await expect(model.logits(tinyIds(90, 46), { signal: AbortSignal.timeout(1) })).rejects.toMatchObject({
      name: "TimeoutError",
    });
    await model.generate("a", { maxTokens: 1 });
    idle();
  });

  it("cancels when the loop is left, and leaves the others alone", async () => {
    const other = model.generate("a", { maxTokens: 10, seed: 4, ...forbidEos });
    const left = model.generate("the", forbidEos);
    for await (const _ of left) break;
    expect((await left).finishReason).toBe("abort");
    expect((await other).ids.length).toBe(10);
    idle();
  });

  it("takes the beginning of an equal prompt from the cache, with the same text", async () => {
    const prompt = tinyIds(100, 46, 77);
    const first = await model.generate(prompt, { maxTokens: 8, seed: 1, ...forbidEos });
    const again = await model.generate(prompt, { maxTokens: 8, seed: 1, ...forbidEos });
    expect([first.usage.cachedTokens, again.usage.cachedTokens]).toEqual([0, 64]);
    expect(again.ids).toEqual(first.ids);
  });

  it("penalizes repetition", async () => {
    const options = { maxTokens: 30, temperature: 0, ...forbidEos };
    const distinct = async (more: GenerateOptions) =>
      new Set((await model.generate("the", { ...options, ...more })).ids).size;
    expect(await distinct({ presencePenalty: 1000 })).toBe(30);
    expect(await distinct({})).toBeLessThan(30);
  });
});

describe("Model.close", () => {
  it("ends what runs, and refuses more", async () => {
    const model = await tinyChatModel({ ctx: 64 });
    const running = model.generate("the", forbidEos);
    for await (const _ of { [Symbol.asyncIterator]: () => ({ next: () => running.next() }) }) break;
    const result = expect(running).rejects.toThrow("Cannot go on generating: the model was closed");
    await model.close();
    await result;
    await model.close();
    await expect(model.generate("a")).rejects.toThrow("Cannot generate: the model is closed");
  });

  it("waits its turn when pages are short, and gives the same text", async () => {
    await using model = await tinyChatModel({ ctx: 128, cacheTokens: 192 });
    const ask = (i: number) => model.generate(tinyIds(40, 46, i), { maxTokens: 60, seed: i, ...forbidEos });
    const together = await Promise.all([0, 1, 2, 3].map(ask));
    for (const i of [0, 1, 2, 3]) expect((await ask(i)).ids).toEqual(together[i]!.ids);
    expect(model.status.usedPages).toBe(0);
  });
});

it("tables of which a token reads a row are no bytes that it reads", () => {
  const tensors = new Map([
    ["model.embed_tokens.weight", { bytes: 100 }],
    ["model.embed_tokens_per_layer.weight", { bytes: 10 }],
  ]);
  const bytes = (tie_word_embeddings: boolean) =>
    gatheredBytes({ config: { tie_word_embeddings }, tensors } as never);
  expect([bytes(true), bytes(false)]).toEqual([10, 110]);
});
