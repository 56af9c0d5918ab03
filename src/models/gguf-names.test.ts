import { describe, expect, test } from "vitest";
import {
  DECODER_NAMES,
  fromGgufName,
  interleavedHeads,
  moveRows,
  sourceRow,
  toGgufName,
} from "./gguf-names.ts";
import { llama } from "./llama.ts";
import { qwen2 } from "./qwen2.ts";

const PAIRS = [
  ["model.embed_tokens.weight", "token_embd.weight"],
  ["model.norm.weight", "output_norm.weight"],
  ["lm_head.weight", "output.weight"],
  ["model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"],
  ["model.layers.11.self_attn.q_proj.weight", "blk.11.attn_q.weight"],
  ["model.layers.2.self_attn.k_proj.bias", "blk.2.attn_k.bias"],
  ["model.layers.2.self_attn.v_proj.bias", "blk.2.attn_v.bias"],
  ["model.layers.2.self_attn.o_proj.weight", "blk.2.attn_output.weight"],
  ["model.layers.3.post_attention_layernorm.weight", "blk.3.ffn_norm.weight"],
  ["model.layers.3.mlp.gate_proj.weight", "blk.3.ffn_gate.weight"],
  ["model.layers.3.mlp.up_proj.weight", "blk.3.ffn_up.weight"],
  ["model.layers.3.mlp.down_proj.weight", "blk.3.ffn_down.weight"],
] as const;

test.each(PAIRS)("%s is %s", (hf, gguf) => {
  expect(toGgufName(DECODER_NAMES, hf)).toBe(gguf);
  expect(fromGgufName(DECODER_NAMES, gguf)).toBe(hf);
});

test("other names have no counterpart", () => {
  for (const name of [
    "rope_freqs.weight",
    "blk.x.attn_q.weight",
    "blk.0.constructor.weight",
    "constructor.weight",
    "output",
  ])
    expect(fromGgufName(DECODER_NAMES, name)).toBeUndefined();
  for (const name of [
    "model.layers.0.self_attn.rotary_emb.inv_freq",
    "model.layers.0.toString.weight",
    "toString.weight",
  ])
    expect(toGgufName(DECODER_NAMES, name)).toBeUndefined();
});

describe("rows of q and k", () => {
  const config = { num_attention_heads: 6, num_key_value_heads: 2 };

  test("are interleaved for llama alone, biases too", () => {
    expect(interleavedHeads(llama.gguf, config, "model.layers.0.self_attn.q_proj.weight")).toBe(6);
    expect(interleavedHeads(llama.gguf, config, "model.layers.0.self_attn.k_proj.bias")).toBe(2);
    expect(interleavedHeads(llama.gguf, config, "model.layers.0.self_attn.v_proj.weight")).toBeUndefined();
    expect(interleavedHeads(qwen2.gguf, config, "model.layers.0.self_attn.q_proj.weight")).toBeUndefined();
  });

  test("to GGUF the halves of a head alternate", () => {
    // Two heads of four rows: 0 1 | 2 3 become 0 2 1 3.
    expect(Array.from({ length: 8 }, (_, row) => sourceRow(row, 8, 2, "gguf"))).toEqual([
      0, 2, 1, 3, 4, 6, 5, 7,
    ]);
    const bytes = Uint8Array.from({ length: 16 }, (_, i) => i);
    expect(Array.from(moveRows(bytes, 8, 2, "gguf"))).toEqual([
      0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,
    ]);
  });

  test("and come back", () => {
    const bytes = Uint8Array.from({ length: 3 * 48 }, (_, i) => i);
    expect(moveRows(moveRows(bytes, 48, 6, "gguf"), 48, 6, "hf")).toEqual(bytes);
    expect(moveRows(moveRows(bytes, 48, 2, "hf"), 48, 2, "gguf")).toEqual(bytes);
  });
});
