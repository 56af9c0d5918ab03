import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TINY, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../test/helpers/tiny-tokenizer.ts";
import { readTensor, readTensorValues } from "../formats/index.ts";
import { type ConvertOptions, convert } from "./convert.ts";
import { type OpenedModel, openModel } from "./open.ts";
import { type LoadType, quantizedModel } from "./quantized.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-convert-"));
  for (const [name, config] of Object.entries(TINY)) {
    await writeTinyModel(join(dir, name), config);
    await writeTinyTokenizer(join(dir, name));
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function withModel<T>(path: string, use: (model: OpenedModel) => Promise<T>): Promise<T> {
  const model = await openModel(path);
  try {
    return await use(model);
  } finally {
    await model.close();
  }
}

const run = (from: string, to: string, options: ConvertOptions = {}) =>
  withModel(join(dir, from), (model) => convert(model, join(dir, to), options));

/** The llama in blocks, as it is loaded so, as `<type>.gguf`. */
const runQuantized = (type: LoadType) =>
  withModel(join(dir, "llama"), (model) =>
    convert(quantizedModel(model, type), join(dir, `${type}.gguf`), { overwrite: true }),
  );

/** Bytes of every parameter, under its name. */
const bytesOf = (path: string) =>
  withModel(path, async (model) => {
    const all = new Map<string, Buffer>();
    for (const [name, tensor] of model.tensors) all.set(name, Buffer.from(await readTensor(tensor)));
    return all;
  });

describe.each(["llama", "qwen2"] as const)("%s", (name) => {
  test("folder to GGUF to folder gives the same bytes, config, ids", async () => {
    const there = await run(name, `${name}.gguf`);
    expect(there).toMatchObject({ format: "gguf", type: "f32", left_out: [] });
    const back = await run(`${name}.gguf`, `${name}-back`);
    expect(back).toMatchObject({ format: "folder", type: "f32", left_out: [] });
    const [made, usual] = await Promise.all([`${name}-back`, name].map((folder) => stat(join(dir, folder))));
    expect(made!.mode).toBe(usual!.mode); // others may read it where they may read any

    expect(await bytesOf(join(dir, `${name}-back`))).toEqual(await bytesOf(join(dir, name)));
    await withModel(join(dir, name), async (before) => {
      for (const path of [`${name}.gguf`, `${name}-back`])
        await withModel(join(dir, path), async (after) => {
          expect(after.config).toEqual(before.config);
          const text = "the land, and on. The!";
          const wanted = await before.tokenizer();
          const found = await after.tokenizer();
          expect(found.encode(text)).toEqual(wanted.encode(text));
          expect(found.chatTemplate).toBe(wanted.chatTemplate);
        });
    });
  });

  test("q and k of llama change their rows, those of qwen2 do not", async () => {
    await run(name, `${name}-rows.gguf`);
    const q = "model.layers.0.self_attn.q_proj.weight";
    const before = (await bytesOf(join(dir, name))).get(q)!;
    const after = (await bytesOf(join(dir, `${name}-rows.gguf`))).get(q)!;
    expect(after.equals(before)).toBe(name === "qwen2");
    const { head_dim, hidden_size } = TINY[name];
    const row = 4 * hidden_size;
    const second = name === "llama" ? head_dim / 2 : 1;
    expect(after.subarray(row, 2 * row).equals(before.subarray(second * row, (second + 1) * row))).toBe(true);
  });
});

describe("types", () => {
  test("every type is written; norms and biases stay f32; blocks stay as they are", async () => {
    for (const type of ["f32", "f16", "bf16", "q8_0", "q4_0"] as const) {
      const quantized = type === "q8_0" || type === "q4_0";
      const result = await (quantized ? runQuantized(type) : run("llama", `${type}.gguf`, { type }));
      expect(result.type).toBe(type);
      await withModel(join(dir, `${type}.gguf`), async (model) => {
        for (const [name, tensor] of model.tensors) {
          // Widths are 32, 44 and 48: blocks of 32 fit the first alone.
          const float = /down_proj.weight|o_proj.weight/.test(name) && quantized;
          expect([name, tensor.type]).toEqual([name, tensor.shape.length < 2 || float ? "f32" : type]);
        }
        expect(model.gguf!.metadata.get("general.file_type")).toEqual({
          type: "uint32",
          value: { f32: 0, f16: 1, bf16: 32, q8_0: 7, q4_0: 2 }[type],
        });
      });
    }
  });

  test("GGUF to GGUF of the same type moves no byte and keeps metadata", async () => {
    await runQuantized("q4_0");
    await run("q4_0.gguf", "two.gguf");
    expect(await readFile(join(dir, "two.gguf"))).toEqual(await readFile(join(dir, "q4_0.gguf")));
  });

  test("a quantized GGUF becomes a folder in f16, or in the type asked for", async () => {
    await runQuantized("q8_0");
    expect(await run("q8_0.gguf", "from-q")).toMatchObject({ type: "f16" });
    expect(await run("q8_0.gguf", "from-q-f32", { type: "f32" })).toMatchObject({ type: "f32" });
    const config = JSON.parse(await readFile(join(dir, "from-q-f32/config.json"), "utf8"));
    expect(config).toMatchObject({
      architectures: ["LlamaForCausalLM"],
      torch_dtype: "float32",
      eos_token_id: 2,
    });
    const name = "model.layers.0.self_attn.q_proj.weight";
    const [direct, through] = await Promise.all(
      ["q8_0.gguf", "from-q-f32"].map((path) =>
        withModel(join(dir, path), (m) => readTensorValues(m.tensors.get(name)!)),
      ),
    );
    expect(Array.from(through!).sort()).toEqual(Array.from(direct!).sort()); // the same values, rows put back
  });

  test("a folder to a folder keeps the tokenizer's files as they are", async () => {
    await run("qwen2", "qwen2-bf16", { type: "bf16" });
    const file = (folder: string) => readFile(join(dir, folder, "tokenizer.json"));
    expect(await file("qwen2-bf16")).toEqual(await file("qwen2"));
  });
});

describe("refusals leave nothing behind", () => {
  const untouched = async (work: () => Promise<unknown>, message: string | RegExp) => {
    const before = await readdir(dir);
    await expect(work()).rejects.toThrow(message);
    expect(await readdir(dir)).toEqual(before);
  };

  test("what exists, unless asked to overwrite", async () => {
    await writeFile(join(dir, "there.gguf"), "mine");
    await untouched(
      () => run("llama", "there.gguf"),
      /^Cannot write ".*there.gguf": it exists; ask to overwrite it/,
    );
    expect(await readFile(join(dir, "there.gguf"), "utf8")).toBe("mine");
    await run("llama", "there.gguf", { overwrite: true });
    await withModel(join(dir, "there.gguf"), async (model) => expect(model.tensors.size).toBeGreaterThan(10));
  });

  test("overwriting a folder replaces the weights and keeps other files", async () => {
    await mkdir(join(dir, "full"));
    for (const name of ["README.md", "model-00001-of-00002.safetensors", "model.safetensors.index.json"])
      await writeFile(join(dir, "full", name), "old");
    await untouched(() => run("llama", "full"), "it exists");
    await run("llama", "full", { overwrite: true });
    expect((await readdir(join(dir, "full"))).sort()).toEqual(
      [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
      ].sort(),
    );
  });

  test("a folder where a file is wanted, and the other way", async () => {
    await mkdir(join(dir, "folder.gguf"));
    await untouched(() => run("llama", "folder.gguf"), "found a folder there, wanted a file or nothing");
    await writeFile(join(dir, "file"), "");
    await untouched(() => run("llama", "file"), "found a file there, wanted a folder or nothing");
  });

  test("a type of blocks, which quantizing makes", async () => {
    for (const out of ["no", "no.gguf"])
      await untouched(
        () => run("llama", out, { type: "q4_0" as "f16" }),
        /as q4_0: wanted one of f32, f16, bf16; pith quantize makes blocks$/,
      );
    await untouched(() => run("llama", "no.gguf", { type: "f64" as "f16" }), /wanted one of f32, f16, bf16$/);
  });

  test("an abort in the middle", async () => {
    for (const out of ["aborted.gguf", "aborted"]) {
      const controller = new AbortController();
      const options = { signal: controller.signal, onProgress: () => controller.abort(new Error("enough")) };
      await untouched(() => run("llama", out, options), "enough");
    }
  });

  test("values that do not fit", async () => {
    const config = { ...TINY.qwen2, num_hidden_layers: 1 };
    const path = join(dir, "large");
    await writeTinyModel(path, config);
    await writeTinyTokenizer(path);
    const file = join(path, "model.safetensors");
    const bytes = await readFile(file);
    const at = await withModel(path, async (m) => m.tensors.get("model.layers.0.mlp.up_proj.weight")!.offset);
    bytes.writeFloatLE(1e30, at + 400);
    await writeFile(file, bytes);
    await untouched(
      () => run("large", "large.gguf", { type: "f16" }),
      /tensor "model.layers.0.mlp.up_proj.weight" as f16: it holds 1\.0\d*e\+30/,
    );
  });
});
