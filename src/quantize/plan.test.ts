import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { TINY, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import type { QuantType } from "../engine/grids.ts";
import { openModel, parseConfig } from "../models/index.ts";
import { definitionOf } from "../models/registry.ts";
import { standardType } from "./mix.ts";
import { planQuantization } from "./plan.ts";

const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-plan-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

/** A llama of given sizes, as a plan sees it: nothing of it is on a disk. */
function shape(sizes: Record<string, unknown>) {
  const config = parseConfig(
    "config.json",
    JSON.stringify({
      model_type: "llama",
      hidden_size: 2048,
      intermediate_size: 8192,
      num_hidden_layers: 16,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      head_dim: 64,
      vocab_size: 128256,
      max_position_embeddings: 131072,
      rms_norm_eps: 1e-5,
      rope_theta: 500000,
      tie_word_embeddings: true,
      ...sizes,
    }),
  );
  const definition = definitionOf("llama", "config.json");
  const source = { name: "none", size: 0, read: async () => new Uint8Array(), close: async () => {} };
  const tensors = new Map(
    [...definition.params(config)].map(([name, shape]) => [
      name,
      { name, type: "f16" as const, shape, offset: 0, bytes: 0, source },
    ]),
  );
  return { name: "shape", config, definition, tensors };
}
const typeOf = (plan: ReturnType<typeof planQuantization>, name: string) =>
  plan.tensors.find((tensor) => tensor.name === name)!;
const smaller = ({ bytes }: ReturnType<typeof planQuantization>) => bytes.f16 / bytes.after;

describe("the standard mix", () => {
  test("gives the head and some layers more bits, as llama.cpp's files have them", () => {
    // What llama-quantize chose for a llama of 16 layers, 4 query heads a key head, with Q4_K_M: q6_k of these layers.
    const plan = planQuantization(shape({}), { to: "q4_k" });
    const more = (part: string) =>
      Array.from({ length: 16 }, (_, i) => i).filter(
        (i) => typeOf(plan, `model.layers.${i}.${part}.weight`).type === "q6_k",
      );
    expect(more("mlp.down_proj")).toEqual([0, 1, 4, 7, 10, 13, 14, 15]);
    expect(more("self_attn.v_proj")).toEqual([0, 1, 4, 7, 10, 13, 14, 15]);
    expect(typeOf(plan, "model.embed_tokens.weight")).toMatchObject({ type: "q6_k", reason: "standard" });
    expect(typeOf(plan, "model.layers.3.self_attn.q_proj.weight").type).toBe("q4_k");
    expect(typeOf(plan, "model.norm.weight")).toMatchObject({ type: "f32", reason: "kept" });
    expect(plan.notes).toEqual([
      "the head is the embedding: both are q6_k (model.embed_tokens.weight, llama)",
    ]);
  });

  test.each<[string, string, number, string]>([
    ["q2_k", "attn_v", 3, "q4_k"],
    ["q2_k", "ffn_down", 3, "q3_k"],
    ["q2_k", "attn_output", 3, "q3_k"],
    ["q3_k", "attn_v", 1, "q5_k"],
    ["q3_k", "ffn_down", 0, "q5_k"],
    ["q3_k", "ffn_down", 5, "q4_k"],
    ["q5_k", "attn_qkv", 0, "q6_k"],
    ["q8_0", "output", 0, "q8_0"],
    ["tq2_0", "token_embd", 0, "q4_k"],
    ["tq1_0", "output", 0, "q6_k"],
    ["q4_0", "ffn_down", 0, "q4_0"],
  ])("%s: %s of layer %i is %s", (to, role, index, type) => {
    expect(standardType(to as QuantType, { role, index, count: 16 }, { tied: false, shared: 4 })).toBe(type);
  });

  test("sizes at the shape of a model of 1.2 billion parameters", () => {
    const of = (to: QuantType, pure: boolean) => smaller(planQuantization(shape({}), { to, pure }));
    expect(of("q4_0", false)).toBeGreaterThan(3.2);
    expect(of("q4_k", true)).toBeGreaterThan(3.5);
    expect(of("q4_0", true)).toBeGreaterThan(3.5);
    expect(of("q2_k", true)).toBeGreaterThan(6);
    expect(of("tq2_0", true)).toBeGreaterThan(7.5);
    // A head of its own, a quarter of the vocabulary: the mix costs less.
    const small = shape({ vocab_size: 32000 });
    expect(smaller(planQuantization(small, { to: "q4_k" }))).toBeGreaterThan(3.2);
  });
});

describe("what is asked for", () => {
  test("mixes by the end of names; the last that fits counts", () => {
    const plan = planQuantization(shape({}), {
      to: "q4_k",
      pure: true,
      mix: "down_proj=q6_k, layers.0.*=q8_0,lm_head=f16",
    });
    const type = (name: string) => typeOf(plan, `model.${name}.weight`).type;
    expect(type("layers.1.mlp.down_proj")).toBe("q6_k");
    expect(type("layers.0.mlp.down_proj")).toBe("q8_0");
    expect(type("layers.10.mlp.gate_proj")).toBe("q4_k");
    expect(type("embed_tokens")).toBe("f16");
  });

  test.each([
    ["down_proj", 'wanted a pattern, "=" and a type'],
    ["down_proj=q9", 'found type "q9", wanted one of q8_0, q6_k'],
    ["dwn_proj=q6_k", "no matrix has a name that ends so, wanted one such as model.layers.15.mlp.gate_proj"],
  ])("a mix %j is refused", (mix, message) => {
    expect(() => planQuantization(shape({}), { to: "q4_k", mix })).toThrow(message);
  });

  test("widths that no block divides fall back, and are told", () => {
    const plan = planQuantization(shape({ intermediate_size: 704, hidden_size: 256 }), { to: "q4_k" });
    expect(typeOf(plan, "model.layers.5.mlp.down_proj.weight")).toMatchObject({
      type: "q5_0",
      reason: "width",
      wanted: "q4_k",
    });
    expect(typeOf(plan, "model.layers.0.mlp.down_proj.weight").type).toBe("q8_0");
    expect(plan.notes).toContain(
      "model.layers.2.mlp.down_proj.weight and 7 more: q5_0 in place of q4_k, as no block of 256 divides the width 704",
    );
    const odd = planQuantization(shape({ intermediate_size: 700, hidden_size: 256 }), { to: "q4_k" });
    expect(typeOf(odd, "model.layers.5.mlp.down_proj.weight")).toMatchObject({ type: "f16", wanted: "q4_k" });
  });

  test("a type that no matrix can take, or one that a mix asks for, is an error", () => {
    const narrow = shape({ intermediate_size: 172, hidden_size: 64, head_dim: 2 });
    expect(() => planQuantization(narrow, { to: "q4_k" })).toThrow(
      "its matrices have widths of 64, 172, wanted some of whole blocks of 256; q8_0, q5_1, q5_0, q4_0 would do",
    );
    expect(() => planQuantization(narrow, { to: "q4_0", mix: "o_proj=q6_k" })).toThrow(
      'Cannot quantize "model.layers.0.self_attn.o_proj.weight" to q6_k: its width is 64, wanted a whole number of blocks of 256',
    );
    expect(() => planQuantization(narrow, { to: "q9" as QuantType })).toThrow("to q9: wanted one of q8_0");
  });
});

test("sizes are those of the files' tensors", async () => {
  const model = await openModel(STORIES);
  const plan = planQuantization(model, { to: "q4_0", pure: true });
  await model.close();
  expect(plan.parameters).toBe(869504);
  expect(plan.bits_per_weight).toBeCloseTo((8 * plan.bytes.after) / 869504, 10);
  await writeTinyModel(join(dir, "tiny"), TINY.llama);
  const tiny = await openModel(join(dir, "tiny"));
  expect(() => planQuantization(tiny, { to: "q4_k" })).toThrow("widths of 32, 48, 44");
  await tiny.close();
});
