// Gemma 4: its config.json in the forms that there are, what is refused, pools of KV pages, and checkpoints that see too.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { backends } from "../../test/helpers/backends.ts";
import { loadOn } from "../../test/helpers/tiny-chat-model.ts";
import { tinyIds } from "../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../test/helpers/tiny-tokenizer.ts";
import { TINY_TYPES, writeTinyType } from "../../test/helpers/tiny-types.ts";
import { type GgufValue, readSafetensorsFolder, readTensor, writeSafetensors } from "../formats/index.ts";
import { parseConfig } from "./config.ts";
import { convert } from "./convert.ts";
import { configToGguf } from "./gguf-config.ts";
import { kvPlace, kvPools } from "./layers.ts";
import { kvBytes, parameters } from "./memory.ts";
import { openModel } from "./open.ts";

const dir = await mkdtemp(join(tmpdir(), "pith-gemma4-"));
afterAll(() => rm(dir, { recursive: true, force: true }));
const parse = (fields: object) => parseConfig("config.json", JSON.stringify(fields));
const shared = TINY_TYPES.gemma4_text!.config;
const dense = TINY_TYPES["gemma4_text-dense"]!.config;

/** Of E2B's size. */
const E2B = {
  model_type: "gemma4_text",
  hidden_size: 1536,
  intermediate_size: 6144,
  num_hidden_layers: 35,
  num_attention_heads: 8,
  num_key_value_heads: 1,
  num_kv_shared_layers: 20,
  use_double_wide_mlp: true,
  layer_types: Array.from({ length: 35 }, (_, i) => (i % 5 === 4 ? "full_attention" : "sliding_attention")),
  final_logit_softcapping: 30,
};

test("what a config.json leaves out is transformers' default", () => {
  const config = parse(E2B);
  expect(config).toMatchObject({
    head_dim: 256,
    global_heads: { head_dim: 512, num_key_value_heads: 1 },
    rope: { rope_theta: 1e6, scaling: { rope_type: "proportional", partial_rotary_factor: 0.25 } },
    rope_local: { rope_theta: 1e4 },
    sliding_window: 512,
    hidden_size_per_layer_input: 256,
    tie_word_embeddings: true,
  });
  // 2.35 billion of them are the table of inputs.
  expect(parameters(config) / 1e9).toBeCloseTo(4.65, 1);
});

test("heads stated layer by layer are the same as those stated for all", () => {
  const { global_head_dim, num_global_key_value_heads, ...rest } = dense;
  const own = { head_dim: global_head_dim, num_key_value_heads: num_global_key_value_heads };
  expect(parse({ ...rest, per_layer_config: { 0: own, 2: own } })).toEqual(parse(dense));
  expect(() => parse({ ...rest, per_layer_config: { 0: own } })).toThrow(
    "per_layer_config.2.head_dim is 16, wanted 32, as other layers of type full_attention",
  );
});

test.each([
  [
    { enable_moe_block: true, num_experts: 8 },
    "enable_moe_block is true, wanted false: a mixture of experts",
  ],
  [{ use_bidirectional_attention: "all" }, 'use_bidirectional_attention is "all", wanted null or "vision"'],
  [{ num_kv_shared_layers: 5 }, "num_kv_shared_layers is 5, wanted fewer: layer 3 (full_attention) has none"],
  [{ num_kv_shared_layers: 8 }, "num_kv_shared_layers is 8, wanted a whole number from 0 to 7"],
  [{ vocab_size_per_layer_input: 50 }, "vocab_size_per_layer_input is 50, wanted 60, as vocab_size"],
  [
    { layer_types: Array(8).fill("sliding_attention") },
    'layer_types[7] is "sliding_attention", wanted "full',
  ],
  [{ global_head_dim: 33 }, "global_head_dim is 33, wanted an even number"],
  [
    { attention_k_eq_v: true, num_global_key_value_heads: 3 },
    "num_global_key_value_heads is 3, wanted a div",
  ],
  [
    { rope_parameters: { full_attention: { rope_type: "default", partial_rotary_factor: 0.5 } } },
    'rope_parameters.full_attention.partial_rotary_factor is 0.5, wanted 1 where rope_type is not "proportional"',
  ],
  [
    { rope_parameters: { full_attention: { rope_type: "proportional", factor: 8 } } },
    "factor is 8, wanted 1: proportional frequencies are not scaled",
  ],
])("%j is refused", (fields, message) => {
  expect(() => parse({ ...shared, ...fields })).toThrow(message);
});

test("layers with heads of one kind share a pool, and those that read another's have no place in it", () => {
  const config = parse(shared);
  expect(kvPools(config)).toEqual([
    { name: "kv", layers: 3, num_key_value_heads: 1, head_dim: 16 },
    { name: "kv.1", layers: 1, num_key_value_heads: 1, head_dim: 24 },
  ]);
  const places = Array.from({ length: 8 }, (_, i) => kvPlace(config, i));
  expect(places.map(({ pool, layer }) => `${pool.name}/${layer}`)).toEqual(
    ["kv/0", "kv/1", "kv/2", "kv.1/0", "kv/2", "kv/2", "kv/2", "kv.1/0"], // the last four read
  );
  expect(kvBytes(config, 100, "f16")).toBe(2 * (3 * 2 * 64 * 16 + 2 * 64 * 32) * 2);
});

test("GGUF refuses what llama.cpp would read otherwise", () => {
  const write = (fields: object): ReadonlyMap<string, GgufValue> =>
    configToGguf(parse({ ...shared, ...fields }), "x");
  expect(write({}).get("gemma4.attention.shared_kv_layers")).toEqual({ type: "uint32", value: 4 });
  const [s, f] = ["sliding_attention", "full_attention"];
  const layers = { num_hidden_layers: 4, num_kv_shared_layers: 2 };
  expect(() => write({ ...layers, layer_types: [f, s, s, f] })).toThrow(
    "layer 2 reads the keys and values of layer 1, but llama.cpp would take those of layer 0",
  );
  expect(() => write({ ...layers, layer_types: [f, f, f, f] })).toThrow("none of its layers slides");
  expect(() => write({ attention_bias: true })).toThrow("its attention has biases");
});

test("a checkpoint that sees and hears gives its text part, and names what is left", async () => {
  const plain = join(dir, "plain");
  await writeTinyType(plain, shared);
  const { tensors, close } = await readSafetensorsFolder(plain);
  const folder = join(dir, "whole");
  await writeTinyType(folder, shared);
  const text = JSON.parse(await readFile(join(plain, "config.json"), "utf8"));
  const { tie_word_embeddings: _, ...rest } = text;
  const whole = { model_type: "gemma4", text_config: rest, vision_config: {}, audio_config: null };
  await writeFile(join(folder, "config.json"), JSON.stringify(whole));
  const renamed = [...tensors].map(([name, tensor]) => ({
    name: name.replace(/^model\./, "model.language_model."),
    type: "f32" as const,
    shape: tensor.shape,
    data: () => readTensor(tensor),
  }));
  // Files have keys and values of layers that read others', too.
  const data = async () => new Uint8Array(4);
  for (const name of ["language_model.layers.7.self_attn.k_proj.weight", "vision_tower.x", "embed_vision.x"])
    renamed.push({ name: `model.${name}`, type: "f32", shape: [1], data });
  await writeSafetensors(join(folder, "model.safetensors"), renamed);
  await close();
  const [a, b] = [await openModel(plain), await openModel(folder)];
  expect(b.config).toEqual(a.config);
  expect([...b.tensors.keys()].sort()).toEqual([...a.tensors.keys()].sort());
  expect(b.unused.length).toBe(3);
  const { left_out } = await convert(b, join(dir, "again"));
  expect(left_out).toEqual(b.unused);
  await Promise.all([a.close(), b.close()]);
});

test.each(backends)("sessions hold the pages of every pool: %s", async (_, make) => {
  const folder = join(dir, "session");
  await writeTinyType(folder, shared);
  await writeTinyTokenizer(folder);
  const path = join(dir, "session.safetensors");
  const prompt = tinyIds(150, 46, 5);
  const next = { maxTokens: 20, temperature: 1, seed: 2 };
  let whole: readonly number[];
  {
    await using model = await loadOn(folder, { ctx: 256 }, await make());
    whole = (await model.generate(prompt, next)).ids;
    expect(await model.saveSession(path, prompt)).toBe(128);
  }
  await using model = await loadOn(folder, { ctx: 256 }, await make());
  await model.loadSession(path);
  const result = await model.generate(prompt, next);
  expect(result.usage.cachedTokens).toBe(128);
  expect(result.ids).toEqual(whole);
});
