// A real trained model through the public API: the text that its maker published, parts that add up, eight at once.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { backends } from "../../test/helpers/backends.ts";
import { sharedData } from "../../test/helpers/shared-data.ts";
import { loadOn } from "../../test/helpers/tiny-chat-model.ts";

const folder = sharedData("stories260K");

describe.skipIf(!folder)("stories260K (../shared/data is absent: skipped)", () => {
  it.each(backends)(
    "writes the published text, greedily, and eight at once write their own: %s",
    async (_, make) => {
      await using model = await loadOn(folder!, { kv: "f32", cacheTokens: 2048 }, await make());
      const expected: number[] = JSON.parse(readFileSync(`${folder}/greedy_ids_bos_200.json`, "utf8"));
      const text = readFileSync(`${folder}/expected_greedy.txt`, "utf8");
      const generation = model.generate("", { maxTokens: expected.length - 1, temperature: 0 });
      let shown = "";
      for await (const part of generation) shown += part.text;
      const result = await generation;
      expect([1, ...result.ids]).toEqual(expected);
      expect(shown).toBe(result.text);
      expect(shown.trim()).toBe(text.trim());

      const ask = (seed: number) => model.generate("One day", { maxTokens: 30, seed });
      const together = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(ask));
      expect(new Set(together.map((r) => r.text)).size).toBe(8);
      expect((await ask(5)).text).toBe(together[4]!.text);
    },
  );

  it.each(backends)("gives the same bits however a text is cut into steps: %s", async (_, make) => {
    const ids: number[] = JSON.parse(readFileSync(`${folder}/greedy_ids_bos_200.json`, "utf8"));
    const logits = async (T: number, R: number) => {
      await using model = await loadOn(folder!, { maxima: { T, S: 2, R } }, await make());
      return Buffer.from((await model.logits(ids.slice(0, 150))).buffer);
    };
    const whole = await logits(256, 256);
    for (const [T, R] of [
      [64, 64],
      [17, 17],
      [3, 3],
    ] as const)
      expect(Buffer.compare(await logits(T, R), whole), `chunks of ${T}`).toBe(0);
  });

  it("goes on where a prompt ends, with the space between words", async () => {
    await using model = await loadOn(folder!);
    const { text } = await model.generate("Once upon a time, there", { maxTokens: 9, temperature: 0 });
    expect(text).toMatch(/^ was a little girl/);
  });

  it("adds a begin token once, and takes names of control tokens only when asked to", async () => {
    await using model = await loadOn(folder!);
    expect(Array.from(model.encodePrompt("<s>One", true))).toEqual(Array.from(model.encodePrompt("One")));
    expect(Array.from(model.encodePrompt("One", true))[0]).toBe(1);
    expect(model.encodePrompt("<s>One").length).toBeGreaterThan(model.encodePrompt("One").length);
  });
});
