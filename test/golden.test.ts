// Tiny random models of both types against golden logits, in a clone without any other data. The golden files are made
// by the plain float64 forward pass alone: UPDATE_GOLDEN=1 npx vitest run test/golden.test.ts
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { convert, openModel, type Runtime } from "../src/models/index.ts";
import { backends } from "./helpers/backends.ts";
import { type PlainConfig, plainForward } from "./helpers/plain-forward.ts";
import { type Part, step, withRuntime } from "./helpers/step.ts";
import { TINY, tinyIds, tinyWeights, writeTinyModel } from "./helpers/tiny-models.ts";
import { writeTinyTokenizer } from "./helpers/tiny-tokenizer.ts";

const file = (name: string) => fileURLToPath(new URL(`golden/${name}.json`, import.meta.url));
const ROWS = [0, 1, 17, 63, 64, 99];

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-golden-"));
  for (const [name, config] of Object.entries(TINY)) {
    await writeTinyModel(join(dir, name), config);
    await writeTinyTokenizer(join(dir, name));
    const model = await openModel(join(dir, name));
    await convert(model, join(dir, `${name}.gguf`));
    await model.close();
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function plainLogits(config: PlainConfig, ids: readonly number[]): Float64Array[] {
  return plainForward(config, new Map([...tinyWeights(config)].map(([name, { data }]) => [name, data])), ids);
}

function golden(name: string): { ids: number[]; logits: Record<string, number[]> } {
  return JSON.parse(readFileSync(file(name), "utf8"));
}

function largestError(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  return Math.max(...Array.from(wanted, (x, i) => Math.abs(x - found[i]!)));
}

describe.each(Object.keys(TINY) as (keyof typeof TINY)[])("tiny %s", (name) => {
  const config = TINY[name];

  test("the plain forward pass gives the golden logits", () => {
    const ids = tinyIds(100, config.vocab_size);
    const all = plainLogits(config, ids);
    if (process.env.UPDATE_GOLDEN) {
      const rows = ROWS.map(
        (t) => `    "${t}": ${JSON.stringify(Array.from(all[t]!, (x) => +x.toFixed(7)))}`,
      );
      writeFileSync(
        file(name),
        `{\n  "ids": ${JSON.stringify(ids)},\n  "logits": {\n${rows.join(",\n")}\n  }\n}\n`,
      );
    }
    expect(golden(name).ids).toEqual(ids);
    for (const [t, row] of Object.entries(golden(name).logits))
      expect(largestError(all[+t]!, row)).toBeLessThan(1e-6);
  });

  describe.each(backends)("on %s", (_, make) => {
    const withModel = (end: "" | ".gguf", use: (runtime: Runtime) => Promise<void>) =>
      withRuntime(make, join(dir, name + end), 256, use);

    test("logits in one step, and past the first page", () =>
      withModel("", async (runtime) => {
        const { ids, logits } = golden(name);
        const rows = await step(runtime, [{ ids, past: 0, pages: [3, 0] }]);
        for (const [t, row] of Object.entries(logits))
          expect(largestError(rows[+t]!, row)).toBeLessThan(1e-4);
      }));

    test("the same bits from a GGUF file, where llama's q and k lie in another order", () =>
      withModel("", async (runtime) => {
        const { ids } = golden(name);
        const folder = await step(runtime, [{ ids, past: 0, pages: [0, 1] }]);
        await withModel(".gguf", async (other) => {
          expect(await step(other, [{ ids, past: 0, pages: [0, 1] }])).toEqual(folder);
        });
      }));

    test("the same bits in chunks, in any pages, beside other sequences", () =>
      withModel("", async (runtime) => {
        const { ids } = golden(name);
        const whole = await step(runtime, [{ ids, past: 0, pages: [3, 0] }]);
        const others = [tinyIds(40, config.vocab_size, 2), tinyIds(70, config.vocab_size, 3)];
        let past = 0;
        let otherPast = 0;
        for (const length of [1, 8, 3, 30, 17, 1, 40]) {
          const part: Part = { ids: ids.slice(past, past + length), past, pages: [5, 2] };
          const beside: Part[] = others.map((other, i) => ({
            ids: other.slice(otherPast, otherPast + 5),
            past: otherPast,
            pages: [8 + 2 * i, 9 + 2 * i],
          }));
          const rows = await step(runtime, [beside[0]!, part, beside[1]!]);
          for (let i = 0; i < length; i++) expect(rows[5 + i]).toEqual(whole[past + i]);
          past += length;
          otherPast += 5;
        }
        expect(past).toBe(ids.length);
      }));
  });
});
