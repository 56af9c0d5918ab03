import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TINY, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../test/helpers/tiny-tokenizer.ts";
import { quantize } from "../engine/weights.ts";
import { readTensor, readTensorValues } from "../formats/index.ts";
import { openModel } from "./open.ts";
import { type LoadType, quantizedModel } from "./quantized.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-quantized-"));
  await writeTinyModel(join(dir, "qwen2"), TINY.qwen2);
  await writeTinyTokenizer(join(dir, "qwen2"));
  await writeTinyModel(join(dir, "llama"), TINY.llama);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

test.each(["q8_0", "q4_0"] as const)("gives the blocks of every matrix: %s", async (type) => {
  const model = await openModel(join(dir, "qwen2"));
  try {
    const { tensors } = quantizedModel(model, type);
    expect([...tensors.keys()]).toEqual([...model.tensors.keys()]);
    for (const [name, tensor] of tensors) {
      const plain = model.tensors.get(name)!;
      const bytes = await readTensor(tensor);
      const wanted = plain.shape.length === 2 ? type : "f32";
      expect([name, tensor.type, tensor.bytes]).toEqual([name, wanted, bytes.length]);
      expect(bytes).toEqual(quantize(wanted, await readTensorValues(plain)));
      const part = await tensor.source.read(tensor.offset + 17, Math.min(40, tensor.bytes - 17));
      expect(part).toEqual(bytes.subarray(17, 17 + part.length));
    }
  } finally {
    await model.close();
  }
});

test("a width that no block divides keeps its type, as do vectors", async () => {
  const model = await openModel(join(dir, "llama"));
  try {
    const { tensors } = quantizedModel(model, "q4_0");
    expect(tensors.get("model.layers.0.mlp.down_proj.weight")!.type).toBe("f32"); // 44 wide
    expect(tensors.get("model.layers.0.self_attn.q_proj.weight")!.type).toBe("q4_0");
    expect(tensors.get("model.layers.0.self_attn.q_proj.bias")!.type).toBe("f32");
    expect(() => quantizedModel(model, "q4_k" as LoadType)).toThrow('found "q4_k", wanted q8_0 or q4_0');
  } finally {
    await model.close();
  }
});
