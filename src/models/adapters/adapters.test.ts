// Adapter files: what is refused and how, what is written reads back, and merging into quantized weights.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fill, GOLDEN, TINY_BASES, writeTinyAdapter } from "../../../test/helpers/tiny-adapters.ts";
import { writeTinyModel } from "../../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../../test/helpers/tiny-tokenizer.ts";
import { readTensorValues, writeGguf, writeSafetensors } from "../../formats/index.ts";
import { convert } from "../convert.ts";
import { type OpenedModel, openModel } from "../open.ts";
import { quantizedModel } from "../quantized.ts";
import {
  type AdapterToSave,
  fuse,
  inspectAdapter,
  isAdapter,
  loadAdapter,
  openAdapter,
  saveAdapter,
} from "./index.ts";

let dir: string;
let model: OpenedModel;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-adapters-"));
  await writeTinyModel(join(dir, "llama"), TINY_BASES.llama);
  await writeTinyTokenizer(join(dir, "llama"));
  model = await openModel(join(dir, "llama"));
  for (const name of ["plain", "patterns", "dora"]) await writeTinyAdapter(join(dir, name), "llama", name);
});
afterAll(async () => {
  await model.close();
  await rm(dir, { recursive: true });
});

async function load(path: string, base = model) {
  const adapter = await openAdapter(path);
  try {
    return await loadAdapter(adapter, base);
  } finally {
    await adapter.close();
  }
}

type Tensors = Record<string, { shape: number[]; data: Float32Array }>;
const Q0 = "base_model.model.model.layers.0.self_attn.q_proj";
const plain = () => {
  const { config, tensors } = GOLDEN.llama.adapters.plain!;
  const all: Tensors = {};
  for (const [name, shape] of Object.entries(tensors))
    all[name] = { shape: [...shape], data: fill(name, shape) };
  return { config: { ...config } as Record<string, unknown>, tensors: all };
};

let count = 0;
/** The plain adapter of the golden file, changed. */
async function changed(change: (adapter: ReturnType<typeof plain>) => void): Promise<string> {
  const adapter = plain();
  change(adapter);
  const folder = join(dir, `changed-${count++}`);
  await mkdir(folder);
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify(adapter.config));
  await writeSafetensors(
    join(folder, "adapter_model.safetensors"),
    Object.entries(adapter.tensors).map(([name, { shape, data }]) => ({
      name,
      type: "f32" as const,
      shape,
      data: async () => new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    })),
  );
  return folder;
}

describe("refused", () => {
  test.each<[string, (a: ReturnType<typeof plain>) => void, string | RegExp]>([
    [
      "another rank",
      ({ config }) => (config.r = 8),
      `tensor "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight" has shape [4, 44], wanted [8, 44]; it says that it was made for "tiny"`,
    ],
    [
      "another base",
      ({ tensors }) => (tensors[`${Q0}.lora_A.weight`] = { shape: [4, 16], data: new Float32Array(64) }),
      `tensor "${Q0}.lora_A.weight" has shape [4, 16], wanted [4, 32]`,
    ],
    [
      "a layer too many",
      ({ tensors }) => {
        for (const part of ["A", "B"]) {
          const at = `.lora_${part}.weight`;
          tensors[`${Q0.replace("layers.0", "layers.3")}${at}`] = tensors[`${Q0}${at}`]!;
        }
      },
      `is for "model.layers.3.self_attn.q_proj", wanted one of the model's linears`,
    ],
    [
      "a tensor too few",
      ({ tensors }) => delete tensors[`${Q0}.lora_B.weight`],
      `tensor "${Q0}.lora_B.weight" is missing, wanted both A and B`,
    ],
    [
      "a pair too few",
      ({ tensors }) => {
        delete tensors[`${Q0}.lora_A.weight`];
        delete tensors[`${Q0}.lora_B.weight`];
      },
      `tensor "model.layers.0.self_attn.q_proj.lora_A.weight" is missing, wanted with shape [rank, 32]`,
    ],
    [
      "a pair that is not named",
      ({ config }) => (config.target_modules = ["v_proj", "down_proj"]),
      `tensor "${Q0}.lora_A.weight" is there, wanted none: target_modules does not name it`,
    ],
    [
      "NaN",
      ({ tensors }) => (tensors[`${Q0}.lora_A.weight`]!.data[33] = Number.NaN),
      `tensor "${Q0}.lora_A.weight" holds NaN at [1, 1], wanted finite numbers`,
    ],
    [
      "a magnitude without DoRA",
      ({ tensors }) => (tensors[`${Q0}.lora_magnitude_vector`] = { shape: [48], data: new Float32Array(48) }),
      "is there, wanted none, as use_dora is false",
    ],
    [
      "DoRA without a magnitude",
      ({ config }) => (config.use_dora = true),
      `tensor "base_model.model.model.layers.0.mlp.down_proj.lora_magnitude_vector" is missing, wanted it, as use_dora is true`,
    ],
    [
      "a bias of B",
      ({ tensors }) => (tensors[`${Q0}.lora_B.bias`] = { shape: [48], data: new Float32Array(48) }),
      "it is not implemented",
    ],
    [
      "a foreign tensor",
      ({ tensors }) => (tensors.other = { shape: [1], data: new Float32Array(1) }),
      `tensor "other" is there, wanted names that begin with "base_model.model."`,
    ],
    [
      "a foreign parameter",
      ({ tensors }) => (tensors["base_model.model.score.weight"] = { shape: [1], data: new Float32Array(1) }),
      `tensor "base_model.model.score.weight" is for "score.weight", wanted one of the model's parameters`,
    ],
    [
      "IA3",
      ({ config }) => (config.peft_type = "IA3"),
      'adapter_config.json": peft_type is "IA3", wanted "LORA"',
    ],
    [
      "lora_bias",
      ({ config }) => (config.lora_bias = true),
      "lora_bias is true, wanted nothing: it is not implemented",
    ],
    [
      "target_parameters",
      ({ config }) => (config.target_parameters = ["x"]),
      "target_parameters is a list of 1, wanted nothing",
    ],
    [
      "PiSSA",
      ({ config }) => (config.init_lora_weights = "pissa_niter_4"),
      "wanted one that leaves the base as it is",
    ],
    ["r 0", ({ config }) => (config.r = 0), "r is 0, wanted a whole number from 1"],
    ["alpha of text", ({ config }) => (config.lora_alpha = "8"), 'lora_alpha is "8", wanted a number'],
    [
      "rank_pattern of lists",
      ({ config }) => (config.rank_pattern = { q_proj: [1] }),
      "rank_pattern.q_proj is a list of 1, wanted a number",
    ],
    [
      "a broken regex",
      ({ config }) => (config.target_modules = "(.*"),
      "target_modules: cannot use the pattern",
    ],
  ])("%s", async (_, change, message) => {
    await expect(changed(change).then((path) => load(path))).rejects.toThrow(message);
  });

  test("a file that is cut off, whichever way, by the tensor that ends beyond it", async () => {
    const folder = await changed(() => {});
    const file = join(folder, "adapter_model.safetensors");
    const whole = await readFile(file);
    await writeFile(file, whole.subarray(0, whole.length - 100));
    await expect(load(folder)).rejects.toThrow(
      /data_offsets of tensor "base_model.*", want an end up to|wanted|want/,
    );
    await writeFile(file, whole.subarray(0, 0));
    await expect(load(folder)).rejects.toThrow(/found an empty file/);
  });

  test("what is no adapter, with what is there", async () => {
    await expect(openAdapter(join(dir, "nowhere"))).rejects.toThrow(
      /found no such file or folder, wanted a PEFT folder/,
    );
    await expect(openAdapter(join(dir, "llama"))).rejects.toThrow(
      /adapter_config.json is missing; found "config.json"/,
    );
    await expect(openAdapter(join(dir, "plain", "adapter_model.safetensors"))).rejects.toThrow(
      /give the folder/,
    );
    const pickled = join(dir, "pickled");
    await mkdir(pickled);
    await writeFile(join(pickled, "adapter_config.json"), "{}");
    await writeFile(join(pickled, "adapter_model.bin"), "");
    await expect(openAdapter(pickled)).rejects.toThrow(/a pickle, which can run code/);
  });

  test("GGUF: another architecture, a model, half a pair, other tensors", async () => {
    const string = (value: string) => ({ type: "string" as const, value });
    const write = async (metadata: Record<string, string>, names: readonly string[], shape = [4, 32]) => {
      const path = join(dir, `bad-${count++}.gguf`);
      await writeGguf(path, {
        metadata: new Map(Object.entries(metadata).map(([key, value]) => [key, string(value)])),
        tensors: names.map((name) => ({
          name,
          type: "f32" as const,
          shape: name.endsWith("b") ? shape.toReversed() : shape,
          data: async () => new Uint8Array(4 * shape[0]! * shape[1]!),
        })),
      });
      return path;
    };
    const good = { "general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama" };
    const q = ["blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b"];
    await expect(load(await write({ ...good, "general.architecture": "qwen2" }, q))).rejects.toThrow(
      'its general.architecture is "qwen2", wanted "llama"',
    );
    await expect(load(await write({ ...good, "general.type": "model" }, q))).rejects.toThrow(
      'general.type is "model", wanted "adapter"',
    );
    await expect(load(await write(good, q.slice(0, 1)))).rejects.toThrow(
      'tensor "blk.0.attn_q.weight.lora_b" is missing, wanted both',
    );
    await expect(
      load(await write(good, ["token_embd.weight.lora_a", "token_embd.weight.lora_b"])),
    ).rejects.toThrow('tensor "token_embd.weight.lora_a" is there, wanted tensors of linears');
    await expect(load(await write(good, ["x"]))).rejects.toThrow(
      'tensor "x" is there, wanted names that end in',
    );
    await expect(load(await write(good, q))).rejects.toThrow(
      'tensor "blk.0.attn_q.weight.lora_b" has shape [32, 4], wanted [48, 4]',
    );
  });
});

/** An adapter of the golden file, as it is written. */
async function toSave(name: string): Promise<AdapterToSave> {
  const { config } = GOLDEN.llama.adapters[name]!;
  const loaded = await load(join(dir, name));
  const pairs = new Map<string, AdapterToSave["pairs"] extends ReadonlyMap<string, infer P> ? P : never>();
  for (const [path, change] of loaded.changes) {
    if ("replaced" in change) throw new Error("not of pairs alone");
    const { a, b, rank, scale, dora } = change;
    const alpha = Math.round(scale * (config.use_rslora ? Math.sqrt(rank) : rank) * 1e6) / 1e6;
    pairs.set(path, { a, b, rank, alpha, ...(dora && { magnitude: dora.magnitude }) });
  }
  return { base_model_name_or_path: "tiny", use_rslora: config.use_rslora === true, pairs };
}

describe("written", () => {
  test.each(["plain", "patterns", "dora"])("%s as a PEFT folder", async (name) => {
    const out = join(dir, `${name}-written`);
    await saveAdapter(out, await toSave(name), model);
    const [before, after] = [await load(join(dir, name)), await load(out)];
    expect(after.changes).toEqual(before.changes);
    expect(after.digest).not.toBe(before.digest);
  });

  test("names are short where they name no other module", async () => {
    const out = join(dir, "plain-written");
    const config = JSON.parse(await readFile(join(out, "adapter_config.json"), "utf8"));
    expect(config.target_modules.toSorted()).toEqual(["down_proj", "q_proj", "v_proj"]);
    expect(config).toMatchObject({ peft_type: "LORA", r: 4, lora_alpha: 8 });
    expect(config).not.toHaveProperty("rank_pattern");
  });

  test.each(["plain", "patterns"])("%s as GGUF, with q and k in llama.cpp's order", async (name) => {
    const out = join(dir, `${name}.gguf`);
    await saveAdapter(out, await toSave(name), model);
    const [before, after] = [await load(join(dir, name)), await load(out)];
    expect([...after.changes.keys()]).toEqual([...before.changes.keys()]);
    for (const [path, change] of after.changes) {
      const wanted = before.changes.get(path)!;
      if ("replaced" in change || "replaced" in wanted) throw new Error("a pair was wanted");
      expect(change.a).toEqual(wanted.a);
      for (let i = 0; i < change.b.length; i++)
        expect(change.scale * change.b[i]!).toBeCloseTo(wanted.scale * wanted.b[i]!, 5);
    }
    const opened = await openAdapter(out);
    expect(inspectAdapter(opened)).toMatchObject({
      format: "gguf",
      made_for: "tiny",
      dora: false,
      saved: [],
    });
    await opened.close();
    expect([
      await isAdapter(out),
      await isAdapter(join(dir, name)),
      await isAdapter(join(dir, "llama")),
    ]).toEqual([true, true, false]);
  });

  test("what a format or the model cannot hold is refused", async () => {
    const dora = await toSave("dora");
    await expect(saveAdapter(join(dir, "dora.gguf"), dora, model)).rejects.toThrow(
      "a GGUF adapter has no magnitudes (DoRA), wanted a folder",
    );
    const a = new Float32Array(8);
    const bad = (pairs: AdapterToSave["pairs"]) =>
      saveAdapter(join(dir, "bad"), { base_model_name_or_path: "tiny", pairs }, model);
    await expect(bad(new Map())).rejects.toThrow("it has no tensor");
    await expect(bad(new Map([["model.norm", { a, b: a, rank: 1, alpha: 1 }]]))).rejects.toThrow(
      '"model.norm" is no linear of the model',
    );
    await expect(bad(new Map([["lm_head", { a, b: a, rank: 1, alpha: 1 }]]))).rejects.toThrow(
      '"lm_head" has 8 and 8 values, wanted [1, 32] and [50, 1]',
    );
  });
});

describe("merged", () => {
  const merge = async (base: OpenedModel, out: string, options: object = {}) => {
    const adapter = await openAdapter(join(dir, "plain"));
    try {
      return await fuse(base, [{ adapter, scale: 0.5 }], join(dir, out), options);
    } finally {
      await adapter.close();
    }
  };
  const values = async (path: string, name: string) => {
    const opened = await openModel(join(dir, path));
    const found = await readTensorValues(opened.tensors.get(name)!);
    await opened.close();
    return found;
  };
  const V = "model.layers.0.self_attn.v_proj.weight";
  const K = "model.layers.0.self_attn.k_proj.weight";

  test("into bf16 and f16, rounded once", async () => {
    await merge(model, "exact");
    for (const type of ["bf16", "f16"] as const) {
      const result = await merge(model, `merged-${type}`, { type });
      const bound = type === "bf16" ? 2 ** -8 : 2 ** -11;
      expect(result.cost!.types).toEqual([type]);
      expect(result.cost!.relative_error).toBeLessThan(bound);
      expect(result.cost!.relative_error).toBeGreaterThan(bound / 8);
      const [exact, rounded] = [await values("exact", V), await values(`merged-${type}`, V)];
      for (let i = 0; i < exact.length; i++)
        expect(Math.abs(exact[i]! - rounded[i]!)).toBeLessThanOrEqual(bound * Math.abs(exact[i]!) + 1e-7);
    }
  });

  test("into quantized weights only when asked for, and it says what it cost", async () => {
    await convert(quantizedModel(model, "q8_0"), join(dir, "q8.gguf"));
    const base = await openModel(join(dir, "q8.gguf"));
    await expect(merge(base, "no.gguf")).rejects.toThrow(
      /^Cannot merge into ".*q8.gguf": tensor "model.layers.0.self_attn.q_proj.weight" is q8_0, wanted f32, f16 or bf16; .*requantize/,
    );
    const result = await merge(base, "yes.gguf", { requantize: true });
    expect(result).toMatchObject({ format: "gguf", type: "q8_0", changed: 9 });
    expect(result.cost!.types).toContain("q8_0");
    expect(result.cost!.relative_error).toBeGreaterThan(1e-4);
    expect(result.cost!.relative_error).toBeLessThan(0.01);
    expect(result.cost!.error_to_change).toBeGreaterThan(result.cost!.relative_error / 10);
    // What no adapter changes is the same to the bit.
    expect(await values("yes.gguf", K)).toEqual(await values("q8.gguf", K));
    const floats = await merge(base, "floats", { type: "f32" });
    expect(floats.cost).toBeUndefined();
    await base.close();
  });

  test("what cannot be is refused before anything is written", async () => {
    const adapter = await openAdapter(join(dir, "plain"));
    await expect(fuse(model, [{ adapter, scale: Infinity }], join(dir, "x"))).rejects.toThrow(
      "scale Infinity",
    );
    await expect(fuse(model, [{ adapter }], join(dir, "llama"))).rejects.toThrow("it exists");
    await adapter.close();
  });
});
