// Adapters in generation: peft's logits on every backend, eight sequences with different adapters in one batch, and
// attaching and detaching while others run.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { backends } from "../../test/helpers/backends.ts";
import {
  GOLDEN,
  GOLDEN_IDS,
  TINY_BASES,
  type TinyType,
  writeTinyAdapter,
} from "../../test/helpers/tiny-adapters.ts";
import { loadOn } from "../../test/helpers/tiny-chat-model.ts";
import { tinyIds, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../test/helpers/tiny-tokenizer.ts";
import type { Backend } from "../engine/backend.ts";
import type { AdapterChoice } from "./adapters.ts";
import type { Model } from "./model.ts";

let dir: string;
const TYPES = Object.keys(GOLDEN) as TinyType[];
/** Those that only merging can do are not attached. */
const attachable = (type: TinyType) =>
  Object.keys(GOLDEN[type].adapters).filter((name) => !["whole", "embedding", "tied"].includes(name));
const path = (type: TinyType, name: string) => join(dir, type, "adapters", name);

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-adapters-"));
  for (const type of TYPES) {
    await mkdir(join(dir, type, "adapters"), { recursive: true });
    await writeTinyModel(join(dir, type), TINY_BASES[type]);
    await writeTinyTokenizer(join(dir, type));
    for (const name of attachable(type)) await writeTinyAdapter(path(type, name), type, name);
  }
});
afterAll(() => rm(dir, { recursive: true }));

const load = async (type: TinyType, backend: Backend) =>
  loadOn(join(dir, type), { ctx: 128, cacheTokens: 2048, kv: "f32" }, backend);

async function attachAll(model: Model, type: TinyType) {
  return Promise.all(attachable(type).map((name) => model.adapter(path(type, name))));
}

function largestError(all: Float32Array, vocab: number, wanted: Record<string, number[]>): number {
  return Math.max(
    ...Object.entries(wanted).flatMap(([t, row]) => row.map((x, i) => Math.abs(x - all[+t * vocab + i]!))),
  );
}

describe.each(backends)("on %s", (_, make) => {
  test.each(TYPES)("logits of %s as peft's", async (type) => {
    await using model = await load(type, await make());
    await attachAll(model, type);
    const { vocab_size } = model.config;
    const ids = tinyIds(GOLDEN_IDS, vocab_size);
    const base = await model.logits(ids);
    for (const name of attachable(type)) {
      const logits = await model.logits(ids, { adapter: name });
      const error = largestError(logits, vocab_size, GOLDEN[type].adapters[name]!.logits);
      expect([name, error < 1e-4 ? 0 : error]).toEqual([name, 0]);
    }
    for (const [name, { parts, logits: wanted }] of Object.entries(GOLDEN[type].several)) {
      const adapter = parts.map(([adapter, scale]) => ({ adapter, scale }));
      const error = largestError(await model.logits(ids, { adapter }), vocab_size, wanted);
      expect([name, error < 1e-4 ? 0 : error]).toEqual([name, 0]);
    }
    expect(await model.logits(ids)).toEqual(base);
  });

  test("eight sequences with different adapters, and none, at once: the tokens of each alone", async () => {
    await using model = await load("llama", await make());
    await attachAll(model, "llama");
    const choices: (AdapterChoice | undefined)[] = [
      undefined,
      "plain",
      "dora",
      ["plain", { adapter: "patterns", scale: 0.5 }],
      "saved",
      undefined,
      { adapter: "plain", scale: -1 },
      "plain",
      "layers",
      ["dora", "plain"],
    ];
    const run = (i: number) =>
      model.generate(tinyIds(5 + 9 * i, 50, i), {
        maxTokens: 12,
        temperature: 1,
        seed: i,
        ...(choices[i] && { adapter: choices[i] }),
      });
    const together = await Promise.all(choices.map((_, i) => run(i)));
    for (let i = 0; i < choices.length; i++) expect((await run(i)).ids).toEqual(together[i]!.ids);
    const texts = await Promise.all(choices.map((adapter) => greedy(model, adapter)));
    expect(new Set(texts.map(String)).size).toBeGreaterThan(5);
  });
});

const PROMPT = tinyIds(70, 50, 3);
async function greedy(model: Model, adapter: AdapterChoice | undefined): Promise<readonly number[]> {
  const result = await model.generate(PROMPT, {
    maxTokens: 6,
    temperature: 0,
    ...(adapter && { adapter }),
  });
  return result.ids;
}

describe("attach and detach", () => {
  const open = async () => load("llama", await backends[0]![1]());

  test("a handle, once for the same adapter", async () => {
    await using model = await open();
    const plain = await model.adapter(path("llama", "plain"));
    expect(plain).toMatchObject({ name: "plain", format: "peft", rank: 4, scale: 1 });
    expect(plain.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(plain.targets).toContain("model.layers.2.mlp.down_proj");
    expect(await model.adapter("plain")).toBe(plain);
    expect(await model.adapter(path("llama", "plain"))).toBe(plain);
    const half = await model.adapter(path("llama", "plain"), { name: "half", scale: 0.5 });
    expect(half.digest).toBe(plain.digest);
    expect(model.adapters.map(({ name }) => name)).toEqual(["plain", "half"]);
    expect(await greedy(model, "half")).toEqual(await greedy(model, { adapter: plain, scale: 0.5 }));
    await expect(model.adapter(path("llama", "dora"), { name: "plain" })).rejects.toThrow(
      /"plain" is the name of another adapter/,
    );
    await expect(model.adapter(path("llama", "plain"), { scale: 2 })).rejects.toThrow(
      /"plain" is attached with scale 1/,
    );
    await expect(model.adapter(path("llama", "plain"), { name: "x", scale: Number.NaN })).rejects.toThrow(
      'Cannot use adapter "x" with scale NaN: wanted a number',
    );
    await expect(greedy(model, "nobody")).rejects.toThrow(
      'Cannot generate with adapter "nobody": it is not attached, wanted one of "plain", "half"',
    );
  });

  test("no prefix crosses from one adapter to another, or to none", async () => {
    await using model = await open();
    await attachAll(model, "llama");
    const cached = async (adapter?: AdapterChoice) => {
      const { usage } = await model.generate(PROMPT, { maxTokens: 1, ...(adapter && { adapter }) });
      return usage.cachedTokens;
    };
    for (const adapter of [undefined, "plain", "dora", { adapter: "plain", scale: 2 }, ["plain", "dora"]]) {
      expect(await cached(adapter)).toBe(0);
      expect(await cached(adapter)).toBe(64);
    }
    expect(await cached()).toBe(64);
  });

  test("detaching waits for those who use it, and nobody else stops", async () => {
    await using model = await open();
    const plain = await model.adapter(path("llama", "plain"));
    const wanted = await greedy(model, plain);
    const running = model.generate(PROMPT, { maxTokens: 6, temperature: 0, adapter: plain });
    const base = model.generate(PROMPT, { maxTokens: 40, temperature: 0, logitBias: { 2: -Infinity } });
    let done = false;
    const detaching = plain.detach().then(() => {
      done = true;
    });
    await expect(greedy(model, plain)).rejects.toThrow(/it is not attached/);
    expect(done).toBe(false);
    const again = model.adapter(path("llama", "plain")); // while the first is still in use
    expect((await running).ids).toEqual(wanted);
    await detaching;
    await plain.detach();
    expect((await base).ids.length).toBe(40);
    expect(await greedy(model, await again)).toEqual(wanted);
    {
      await using other = await model.adapter(path("llama", "dora"));
      expect(await greedy(model, other)).not.toEqual(wanted);
    }
    expect(model.adapters.map(({ name }) => name)).toEqual(["plain"]);
  });

  test("what ends early gives its adapter back", async () => {
    await using model = await open();
    const plain = await model.adapter(path("llama", "plain"));
    const abort = new AbortController();
    const options = { adapter: plain, maxTokens: 30, signal: abort.signal };
    const all = [1, 2, 3].map((seed) => model.generate(PROMPT, { ...options, seed }));
    const refused = [
      model.generate([], options),
      model.generate(tinyIds(500, 50), options),
      model.logits([99], { adapter: plain }),
    ];
    for (const one of refused) await expect(one).rejects.toThrow(/^Cannot/);
    await all[0]!.next();
    abort.abort(new Error("enough"));
    for (const one of all) await expect(one).rejects.toThrow("enough");
    await model.generate(PROMPT, { adapter: plain, maxTokens: 0 });
    await plain.detach();
    expect(model.adapters).toEqual([]);
  });

  test("more adapters than slots take turns", async () => {
    await using model = await loadOn(join(dir, "llama"), { ctx: 128, maxima: { T: 32, S: 2, R: 8 } });
    await attachAll(model, "llama");
    const names = attachable("llama");
    const alone: (readonly number[])[] = [];
    for (const name of names) alone.push(await greedy(model, name));
    expect(await Promise.all(names.map((name) => greedy(model, name)))).toEqual(alone);
  });

  test("two that replace one linear do not go together", async () => {
    await using model = await open();
    const saved = await model.adapter(path("llama", "saved"));
    await expect(greedy(model, [saved, { adapter: saved, scale: 2 }])).rejects.toThrow(
      'Cannot use 2 adapters at once: one replaces "lm_head", which another changes too',
    );
  });
});
