// Adapters as peft applies them: effective weights through a forward pass of its own, against peft's logits.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { plainForward } from "../../../test/helpers/plain-forward.ts";
import {
  GOLDEN,
  GOLDEN_IDS,
  TINY_BASES,
  type TinyType,
  writeTinyAdapter,
} from "../../../test/helpers/tiny-adapters.ts";
import { tinyIds, tinyWeights, writeTinyModel } from "../../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../../test/helpers/tiny-tokenizer.ts";
import { readTensorValues } from "../../formats/index.ts";
import { convert } from "../convert.ts";
import { type OpenedModel, openModel } from "../open.ts";
import { linearTargets } from "../targets.ts";
import { composeAdapters } from "./compose.ts";
import { fuse } from "./fuse.ts";
import { loadAdapter } from "./load.ts";
import { openAdapter } from "./open.ts";

let dir: string;
const models = {} as Record<TinyType, OpenedModel>;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-adapters-"));
  for (const type of Object.keys(GOLDEN) as TinyType[]) {
    await writeTinyModel(join(dir, type), TINY_BASES[type]);
    await writeTinyTokenizer(join(dir, type));
    models[type] = await openModel(join(dir, type));
    for (const name of Object.keys(GOLDEN[type].adapters))
      await writeTinyAdapter(join(dir, `${type}-${name}`), type, name);
  }
});
afterAll(async () => {
  for (const model of Object.values(models)) await model.close();
  await rm(dir, { recursive: true });
});

/** What only merging can do. */
const WHOLE = ["whole", "embedding", "tied"];

async function load(type: TinyType, name: string) {
  const opened = await openAdapter(join(dir, `${type}-${name}`));
  try {
    return await loadAdapter(opened, models[type]);
  } finally {
    await opened.close();
  }
}

/** Weights of the base with the changes, and the head as a weight of its own. */
async function changedWeights(type: TinyType, parts: readonly (readonly [string, number])[]) {
  const { definition, config } = models[type];
  const targets = linearTargets(definition, config);
  const adapters = await Promise.all(
    parts.map(async ([name, scale]) => ({ adapter: await load(type, name), scale })),
  );
  const changes = composeAdapters(adapters, targets);
  const weights = new Map<string, ArrayLike<number>>(
    [...tinyWeights(TINY_BASES[type])].map(([name, { data }]) => [name, data]),
  );
  for (const [path, { index, N, K, weight }] of targets) {
    const base = weights.get(weight)!;
    const change = changes.get(index);
    if (!change) weights.set(`${path}.weight`, base);
    else if ("replaced" in change) weights.set(`${path}.weight`, change.replaced);
    else {
      const { a, b, rank, magnitude } = change;
      const sum = (n: number, k: number) => {
        let x = base[n * K + k]!;
        for (let j = 0; j < rank; j++) x += b[n * rank + j]! * a[j * K + k]!;
        return x * (magnitude?.[n] ?? 1);
      };
      weights.set(
        `${path}.weight`,
        Float64Array.from({ length: N * K }, (_, i) => sum(Math.floor(i / K), i % K)),
      );
    }
  }
  return weights;
}

function expectLogits(
  type: TinyType,
  weights: ReadonlyMap<string, ArrayLike<number>>,
  wanted: Record<string, number[]>,
  tied: boolean,
) {
  const config = { ...TINY_BASES[type], tie_word_embeddings: tied };
  const all = plainForward(config, weights, tinyIds(GOLDEN_IDS, config.vocab_size));
  for (const [t, row] of Object.entries(wanted))
    expect(Math.max(...row.map((x, i) => Math.abs(x - all[+t]![i]!)))).toBeLessThan(1e-4);
}

describe.each(Object.keys(GOLDEN) as TinyType[])("%s", (type) => {
  const golden = GOLDEN[type];
  const names = Object.keys(golden.adapters);

  test.each(names.filter((name) => !WHOLE.includes(name)))("%s", async (name) => {
    expectLogits(type, await changedWeights(type, [[name, 1]]), golden.adapters[name]!.logits, false);
  });

  test.each(Object.keys(golden.several))("%s", async (name) => {
    const { parts, logits } = golden.several[name]!;
    expectLogits(type, await changedWeights(type, parts), logits, false);
  });

  test.each(WHOLE.filter((name) => names.includes(name)))("%s only merges", async (name) => {
    await expect(load(type, name)).rejects.toThrow(/^Cannot attach ".*": tensor .* pith fuse merges it/);
  });

  const merged = async (base: OpenedModel, parts: readonly (readonly [string, number])[], out: string) => {
    const adapters = await Promise.all(
      parts.map(async ([name, scale]) => ({
        adapter: await openAdapter(join(dir, `${type}-${name}`)),
        scale,
      })),
    );
    const result = await fuse(base, adapters, out);
    for (const { adapter } of adapters) await adapter.close();
    const model = await openModel(out);
    const weights = new Map<string, ArrayLike<number>>();
    for (const [key, tensor] of model.tensors) weights.set(key, await readTensorValues(tensor));
    await model.close();
    return { result, weights, tied: model.config.tie_word_embeddings };
  };

  test.each(names)("%s, merged", async (name) => {
    const out = join(dir, `${type}-${name}-merged`);
    const { weights, tied, result } = await merged(models[type], [[name, 1]], out);
    expect(result.changed).toBeGreaterThan(0);
    expect(result.cost).toBeUndefined();
    if (type === "qwen2") expect(tied).toBe(!["plain", "embedding", "whole"].includes(name));
    expectLogits(type, weights, golden.adapters[name]!.logits, tied);
  });

  test.each(Object.keys(golden.several))("%s, merged", async (name) => {
    const { parts, logits } = golden.several[name]!;
    const out = join(dir, `${type}-${name}-merged`);
    const { weights, tied } = await merged(models[type], parts, out);
    expectLogits(type, weights, logits, tied);
  });

  test("merged into a GGUF file, the same bits as into a folder", async () => {
    const gguf = join(dir, `${type}-base.gguf`);
    await convert(models[type], gguf);
    const base = await openModel(gguf);
    const out = join(dir, `${type}-merged.gguf`);
    await merged(base, [["dora", 1]], out);
    await base.close();
    const folder = join(dir, `${type}-unmerged`);
    const model = await openModel(out);
    await convert(model, folder);
    await model.close();
    const [a, b] = [await openModel(folder), await openModel(join(dir, `${type}-dora-merged`))];
    for (const [key, tensor] of b.tensors)
      expect(await readTensorValues(a.tensors.get(key)!)).toEqual(await readTensorValues(tensor));
    await a.close();
    await b.close();
  });
});
