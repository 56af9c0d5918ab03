import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { backends } from "../../test/helpers/backends.ts";
import { loadOn, tinyFolder } from "../../test/helpers/tiny-chat-model.ts";
import { tinyIds } from "../../test/helpers/tiny-models.ts";

describe("sessions", () => {
  let folder: string;
  let other: string;
  let dir: string;
  beforeAll(async () => {
    [folder, other] = [await tinyFolder(), await tinyFolder("qwen2")];
    dir = await mkdtemp(join(tmpdir(), "pith-session-"));
  });
  afterAll(() => Promise.all([folder, other, dir].map((d) => rm(d, { recursive: true }))));
  const prompt = tinyIds(150, 46, 5);
  const options = { maxTokens: 30, temperature: 1.3, logitBias: { 2: -Infinity } };

  it.each(
    backends.flatMap(([name, make]) => (["f16", "f32"] as const).map((kv) => [name, kv, make] as const)),
  )("go on with the tokens of one run: %s, %s", async (name, kv, make) => {
    const path = join(dir, `${name.replaceAll(/\W/g, "-")}-${kv}.safetensors`);
    let ids: number[];
    let next: number[];
    {
      await using model = await loadOn(folder, { ctx: 256, kv }, await make());
      const first = await model.generate(prompt, { ...options, seed: 1 });
      ids = [...prompt, ...first.ids];
      expect(await model.saveSession(path, ids)).toBe(128);
      next = [...ids, ...tinyIds(9, 46, 3)];
      expect(model.status.usedPages).toBe(0);
    }
    let whole: readonly number[];
    {
      await using model = await loadOn(folder, { ctx: 256, kv }, await make());
      const result = await model.generate(next, { ...options, seed: 2 });
      expect(result.usage.cachedTokens).toBe(0);
      whole = result.ids;
    }
    await using model = await loadOn(folder, { ctx: 256, kv }, await make());
    expect([...(await model.loadSession(path))]).toEqual(ids.slice(0, 128));
    const result = await model.generate(next, { ...options, seed: 2 });
    expect(result.usage.cachedTokens).toBe(128);
    expect(result.ids).toEqual(whole);
    expect(model.status.usedPages).toBe(0);
  });

  it("are read by every backend", async () => {
    const path = join(dir, "shared.safetensors");
    {
      await using model = await loadOn(folder, { ctx: 256 }, await backends[0]![1]());
      await model.generate(prompt, { ...options, maxTokens: 1, seed: 1 });
      await model.saveSession(path, prompt);
    }
    for (const [, make] of backends) {
      await using model = await loadOn(folder, { ctx: 256 }, await make());
      const logits = async () =>
        (await model.generate(prompt, { ...options, maxTokens: 1, seed: 1, logprobs: 5 })).logprobs![0]!;
      await model.loadSession(path);
      const cached = await logits();
      const fresh = await model.generate([...prompt.slice(0, 1), ...prompt.slice(1)], {
        ...options,
        maxTokens: 1,
        seed: 1,
      });
      expect(fresh.usage.cachedTokens).toBe(128);
      await using plain = await loadOn(folder, { ctx: 256 }, await make());
      const { logprobs } = await plain.generate(prompt, { ...options, maxTokens: 1, seed: 1, logprobs: 5 });
      expect(cached.top.map((t) => t.id)).toEqual(logprobs![0]!.top.map((t) => t.id));
      cached.top.forEach((t, i) => {
        expect(t.logprob).toBeCloseTo(logprobs![0]!.top[i]!.logprob, 1);
      });
    }
  });

  it("are refused when they do not fit, and leave nothing behind", async () => {
    const path = join(dir, "good.safetensors");
    await using model = await loadOn(folder, { ctx: 256 });
    await expect(model.saveSession(path, tinyIds(100, 46, 1))).resolves.toBe(0);
    await model.generate(prompt, { ...options, maxTokens: 1, seed: 1 });
    await model.saveSession(path, prompt);
    await expect(model.saveSession(join(dir, "x.bin"), prompt)).rejects.toThrow(/ends in .safetensors/);

    const cases: [string, Parameters<typeof loadOn>[1], string, RegExp][] = [
      [other, { ctx: 256 }, path, /another model/],
      [folder, { ctx: 256, kv: "f32" }, path, /is f16 \[128,.*wants f32/],
      [folder, { ctx: 64 }, path, /128 tokens, but the cache has room for 64/],
      [folder, { ctx: 256 }, join(dir, "none.safetensors"), /none.safetensors/],
    ];
    for (const [where, how, file, message] of cases) {
      await using refusing = await loadOn(where, how);
      await expect(refusing.loadSession(file)).rejects.toThrow(message);
      expect(refusing.status.usedPages).toBe(0);
    }
    const bytes = await readFile(path);
    const bad = join(dir, "bad.safetensors");
    for (let i = 0; i < 60; i++) {
      const copy = Buffer.from(bytes);
      if (i % 3 === 0) await writeFile(bad, copy.subarray(0, Math.floor((copy.length * i) / 60)));
      else {
        // Whatever bit of the file is another one: it is noticed.
        const at = i % 3 === 1 ? Math.floor((i / 60) * 600) : Math.floor((i / 60) * copy.length);
        copy[at]! ^= 1 << (i % 8);
        await writeFile(bad, copy);
      }
      const loaded = await model.loadSession(bad).then(
        (ids) => [...ids],
        (error: Error) => error,
      );
      // A bit of the padding or of a name in the header may not matter; then it is the same session.
      if (!(loaded instanceof Error)) expect(loaded).toEqual(prompt.slice(0, 128));
      expect(model.status.usedPages).toBe(0);
    }
  });
});
