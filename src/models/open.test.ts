import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TINY, tinyWeights, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../test/helpers/tiny-tokenizer.ts";
import type { Storage } from "../engine/backend.ts";
import { ReferenceBackend } from "../engine/backends/reference.ts";
import { type GgufValue, readTensorValues, writeGguf, writeSafetensors } from "../formats/index.ts";
import { convert } from "./convert.ts";
import { inspect } from "./inspect.ts";
import { loadWeights } from "./load.ts";
import { openModel } from "./open.ts";
import { quantizedModel } from "./quantized.ts";
import { MODEL_TYPES } from "./registry.ts";
import { createRuntime } from "./runtime.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-open-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** A tiny llama with its config and tensors changed. */
async function changed(
  name: string,
  config: object,
  change: (tensors: Map<string, { shape: number[]; data: Float32Array }>) => void = () => {},
): Promise<string> {
  const path = join(dir, name);
  await writeTinyModel(path, TINY.llama);
  const tensors = tinyWeights(TINY.llama);
  change(tensors);
  await writeSafetensors(
    join(path, "model.safetensors"),
    [...tensors].map(([name, { shape, data }]) => ({
      name,
      type: "f32",
      shape,
      data: async () => new Uint8Array(data.buffer),
    })),
  );
  await writeFile(join(path, "config.json"), JSON.stringify({ ...TINY.llama, ...config }));
  return path;
}

async function load(path: string): Promise<Map<string, Storage>> {
  const model = await openModel(path);
  try {
    return await loadWeights(model, new ReferenceBackend());
  } finally {
    await model.close();
  }
}

describe("loading", () => {
  test("gives every parameter of the definition", async () => {
    const path = await changed("good", {});
    expect([...(await load(path)).keys()].sort()).toEqual([...tinyWeights(TINY.llama).keys()].sort());
  });

  test("progress, in bytes of the file", async () => {
    const model = await openModel(await changed("progress", {}));
    const seen: number[] = [];
    await loadWeights(model, new ReferenceBackend(), { onProgress: ({ bytes }) => seen.push(bytes) });
    expect(seen.at(-1)).toBe([...model.tensors.values()].reduce((sum, t) => sum + t.bytes, 0));
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    await model.close();
  });

  test("an abort frees what was loaded", async () => {
    const model = await openModel(await changed("abort", {}));
    const backend = new ReferenceBackend();
    let live = 0;
    const dense = backend.dense.bind(backend);
    backend.dense = (...args) => {
      live++;
      return { ...dense(...args), free: () => void live-- } as Storage;
    };
    const controller = new AbortController();
    const onProgress = ({ tensor }: { tensor: string }) => {
      if (tensor.includes("layers.1.input_layernorm")) controller.abort(new Error("enough"));
    };
    await expect(loadWeights(model, backend, { signal: controller.signal, onProgress })).rejects.toThrow(
      "enough",
    );
    expect(live).toBe(0);
    await model.close();
  });

  test("a missing tensor", async () => {
    const path = await changed("missing", {}, (tensors) =>
      tensors.delete("model.layers.1.mlp.up_proj.weight"),
    );
    await expect(load(path)).rejects.toThrow(
      `Cannot load ${JSON.stringify(path)}: tensor "model.layers.1.mlp.up_proj.weight" is missing, wanted with shape [44, 32]`,
    );
  });

  test("a shape that the config does not give", async () => {
    const path = await changed("shape", { intermediate_size: 48 });
    await expect(load(path)).rejects.toThrow(
      'tensor "model.layers.0.mlp.gate_proj.weight" has shape [44, 32], wanted [48, 32] by its config',
    );
  });

  test("more layers than there are", async () => {
    await expect(load(await changed("layers", { num_hidden_layers: 4 }))).rejects.toThrow(
      'tensor "model.layers.3.input_layernorm.weight" is missing',
    );
  });

  test("tensors beside those wanted are told, but for old tables of cosines", async () => {
    const path = await changed("more", {}, (tensors) => {
      const extra = { shape: [2], data: new Float32Array(2) };
      tensors.set("model.layers.0.self_attn.rotary_emb.inv_freq", extra);
      tensors.set("model.layers.7.mlp.up_proj.weight", extra).set("classifier.weight", extra);
    });
    const model = await openModel(path);
    expect(model.unused.toSorted()).toEqual(["classifier.weight", "model.layers.7.mlp.up_proj.weight"]);
    await model.close();
  });

  test("a type that the engine does not know", async () => {
    const path = join(dir, "iq2_xs.gguf");
    const metadata = new Map<string, GgufValue>([
      ["general.architecture", { type: "string", value: "llama" }],
    ]);
    for (const [key, value] of Object.entries({
      block_count: 1,
      context_length: 64,
      embedding_length: 256,
      feed_forward_length: 256,
      "attention.head_count": 4,
      "attention.layer_norm_rms_epsilon": 1,
    }))
      metadata.set(`llama.${key}`, { type: "uint32", value });
    await writeGguf(path, {
      metadata,
      tensors: [
        {
          name: "token_embd.weight",
          type: "iq2_xs",
          shape: [8, 256],
          data: async () => new Uint8Array(8 * 74),
        },
      ],
    });
    await expect(load(path)).rejects.toThrow('tensor "token_embd.weight" has type iq2_xs, want one of f32');
  });
});

describe("model types", () => {
  test("an unknown one is refused with those that exist", async () => {
    const path = await changed("mamba", { model_type: "mamba" });
    await expect(openModel(path)).rejects.toThrow(
      `Cannot open ${JSON.stringify(join(path, "config.json"))}: its model type is "mamba", wanted one of ${Object.keys(MODEL_TYPES).join(", ")}`,
    );
    for (const name of ["constructor", "__proto__"])
      await expect(openModel(await changed("proto", { model_type: name }))).rejects.toThrow(
        "wanted one of llama, ",
      );
  });

  test("so is an unknown architecture of a GGUF file", async () => {
    const path = join(dir, "gemma.gguf");
    await writeGguf(path, {
      metadata: [["general.architecture", { type: "string", value: "gemma" }]],
      tensors: [],
    });
    await expect(openModel(path)).rejects.toThrow('general.architecture is "gemma", wanted one of llama, ');
  });
});

describe("createRuntime", () => {
  const create = async (path: string, options: object) => {
    const model = await openModel(path);
    try {
      return await createRuntime(model, new ReferenceBackend(), options);
    } finally {
      await model.close();
    }
  };

  test("a context beyond the model's is refused with both numbers", async () => {
    await expect(create(await changed("ctx", {}), { ctx: 300 })).rejects.toThrow(
      "with a context of 300: wanted a whole number from 1 to 256, for which it was trained",
    );
  });

  test("a model that does not fit is refused before a byte of it is read", async () => {
    const path = await changed("big", {});
    const file = join(path, "model.safetensors");
    await writeFile(file, (await readFile(file)).fill(0, 20_000)); // broken weights would load as well
    await expect(create(path, { availableMemory: 2 ** 20 })).rejects.toThrow(
      /it needs \d+ MiB .*, but 1 MiB of memory/,
    );
  });

  test("its sizes", async () => {
    const runtime = await create(await changed("sizes", {}), {
      ctx: 100,
      cacheTokens: 1000,
      maxima: { S: 3 },
    });
    expect(runtime).toMatchObject({
      ctx: 100,
      pages: 16,
      pagesPerSequence: 2,
      vocab_size: 50,
      kvType: "f16",
    });
    expect(runtime.maxima).toEqual({ T: 512, S: 3, R: 8 });
    runtime.close();
    runtime.close();
  });
});

test("generation_config.json adds end tokens and sampling", async () => {
  const path = await changed("generation", { eos_token_id: 2 });
  await writeFile(
    join(path, "generation_config.json"),
    '{"eos_token_id":[7,2],"temperature":0.6,"bos_token_id":1}',
  );
  const model = await openModel(path);
  expect(model.generationConfig).toEqual({ eos_token_id: [7, 2], bos_token_id: 1, temperature: 0.6 });
  await model.close();
});

test("inspect", async () => {
  const path = await changed("inspect", {});
  await writeTinyTokenizer(path);
  const source = await openModel(path);
  const gguf = join(dir, "inspect.gguf");
  await convert(quantizedModel(source, "q8_0"), gguf);
  const model = await openModel(gguf);
  const found = await inspect(model, [128]);
  const count = [...tinyWeights(TINY.llama).values()].reduce((sum, { data }) => sum + data.length, 0);
  expect(found).toMatchObject({
    format: "gguf",
    parameters: count,
    head_type: "q8_0",
    context_length: 256,
    missing: [],
    unused: [],
  });
  expect(found.types.map(({ type }) => type).sort()).toEqual(["f32", "q8_0"]);
  expect(found.types.reduce((sum, t) => sum + t.bytes, 0)).toBe(found.bytes);
  expect(found.bits_per_weight).toBeCloseTo((8 * found.bytes) / count, 10);
  expect(found.memory.map(({ ctx, kv }) => [ctx, kv])).toEqual([
    [128, "f16"],
    [128, "q8_0"],
    [128, "f32"],
  ]);
  expect(found.tokenizer).toMatchObject({ bos: 1, eos: [2], chat_template: true, adds_bos: false });
  expect(JSON.parse(JSON.stringify(found)).parameters).toBe(count);
  await source.close();
  await model.close();
});

test("values of a GGUF llama's q, loaded, are those of the folder", async () => {
  const path = await changed("same", {});
  await writeTinyTokenizer(path);
  const source = await openModel(path);
  await convert(source, join(dir, "same.gguf"));
  const [a, b] = [await load(path), await load(join(dir, "same.gguf"))];
  const backend = new ReferenceBackend();
  for (const name of ["model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.bias"]) {
    const wanted = await readTensorValues(source.tensors.get(name)!);
    for (const weights of [a, b]) {
      const found = new Float32Array(wanted.length);
      backend.read(weights.get(name)!, found);
      expect(found).toEqual(wanted);
    }
  }
  await source.close();
});
