// Models with recurrent layers, on every backend: whatever runs beside a sequence, however its prompt is cut, whether it
// had to give up its pages or goes on from a kept state, its tokens are those of a run alone.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { backends } from "../../test/helpers/backends.ts";
import { loadOn } from "../../test/helpers/tiny-chat-model.ts";
import { tinyIds } from "../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../test/helpers/tiny-tokenizer.ts";
import { TINY_TYPES, writeTinyType } from "../../test/helpers/tiny-types.ts";

// The reference takes the same way, slowly.
const quick = backends.filter(([name]) => name !== "reference");

describe.each(["lfm2", "qwen3_5_text"])("%s", (type) => {
  const { config } = TINY_TYPES[type]!;
  let dir: string;
  let folder: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "pith-recurrent-"));
    folder = join(dir, type);
    await writeTinyType(folder, config);
    await writeTinyTokenizer(folder);
  });
  afterAll(() => rm(dir, { recursive: true }));
  // Words of the tiny tokenizer; the model knows more.
  const ids = (count: number, seed: number) => tinyIds(count, 46, seed);
  const options = { temperature: 1.3, logitBias: { 2: -Infinity } };
  const prompts = [70, 3, 129, 64].map((count, i) => ids(count, i + 1));

  describe.each(quick)("on %s", (_name, make) => {
    let alone: (readonly number[])[];
    const load = async (more: Parameters<typeof loadOn>[1]) =>
      loadOn(folder, { ctx: 256, kv: "f32", ...more }, await make());
    const run = (model: Awaited<ReturnType<typeof load>>, i: number, maxTokens = 40) =>
      model.generate(prompts[i]!, { ...options, maxTokens, seed: i });

    it("gives the same tokens alone, in batches, in chunks, and when pages run out", async () => {
      alone = [];
      for (let i = 0; i < prompts.length; i++) {
        await using model = await load({});
        alone.push((await run(model, i)).ids);
      }
      await using model = await load({ maxima: { T: 11, S: 4, R: 4 }, cacheTokens: 384 });
      const gone = new AbortController();
      const aborted = model.generate(ids(100, 9), { ...options, seed: 1, signal: gone.signal });
      const all = prompts.map((_, i) => run(model, i));
      await all[1]!;
      gone.abort();
      await expect(aborted).rejects.toThrow();
      for (const [i, one] of all.entries()) expect((await one).ids, `prompt ${i}`).toEqual(alone[i]);
      // What runs now goes on from what is kept.
      for (let i = 0; i < prompts.length; i++) {
        const again = await run(model, i);
        expect(again.ids).toEqual(alone[i]);
      }
      expect(model.status).toMatchObject({ running: 0, waiting: 0, usedPages: 0 });
    });

    it("goes on behind an answer, and from a session, as from nothing", async () => {
      const path = join(dir, "session.safetensors");
      let next: number[];
      {
        await using model = await load({});
        const first = await run(model, 2, 70);
        next = [...prompts[2]!, ...first.ids, ...ids(9, 3)];
        expect(await model.saveSession(path, next)).toBe(192);
        const second = await model.generate(next, { ...options, seed: 7, maxTokens: 5 });
        expect(second.usage.cachedTokens).toBe(192);
        alone = [second.ids];
      }
      {
        await using model = await load({});
        const fresh = await model.generate(next, { ...options, seed: 7, maxTokens: 5 });
        expect(fresh.usage.cachedTokens).toBe(0);
        expect(fresh.ids).toEqual(alone[0]);
      }
      await using model = await load({});
      expect(await model.loadSession(path)).toHaveLength(192);
      const loaded = await model.generate(next, { ...options, seed: 7, maxTokens: 5 });
      expect(loaded.usage.cachedTokens).toBe(192);
      expect(loaded.ids).toEqual(alone[0]);
    });
  });
});
