// A checkpoint that vLLM's tools wrote (pack-quantized), as a model.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TINY, tinyIds, tinyWeights } from "../../test/helpers/tiny-models.ts";
import { createBackend } from "../engine/backends/index.ts";
import { dequantize, quantize } from "../engine/weights.ts";
import { readTensor, type TensorToWrite, writeSafetensors } from "../formats/index.ts";
import { inspect } from "./inspect.ts";
import { openModel } from "./open.ts";
import { createRuntime } from "./runtime.ts";

const config = TINY.qwen2;
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-packed-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const f32 = (name: string, shape: number[], data: Float32Array): TensorToWrite => ({
  name,
  type: "f32",
  shape,
  data: async () => new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
});

/** The parts of a matrix whose q4_0 blocks are given: scales in f16, codes along each row, eight in a word. */
function parts(path: string, [N, K]: number[], blocks: Uint8Array): TensorToWrite[] {
  const words = new Uint32Array((N! * K!) / 8);
  const scales = new Uint8Array(((N! * K!) / 32) * 2);
  for (let b = 0; b < (N! * K!) / 32; b++) {
    const block = blocks.subarray(b * 18, b * 18 + 18);
    scales.set(block.subarray(0, 2), b * 2);
    for (let k = 0; k < 32; k++) {
      const code = k < 16 ? block[2 + k]! & 15 : block[2 + k - 16]! >> 4;
      words[b * 4 + (k >> 3)]! |= code << (4 * (k & 7));
    }
  }
  const bytes = (data: Uint32Array | BigInt64Array) => async () => new Uint8Array(data.buffer);
  return [
    { name: `${path}.weight_packed`, type: "i32", shape: [N!, K! / 8], data: bytes(words) },
    { name: `${path}.weight_scale`, type: "f16", shape: [N!, K! / 32], data: async () => scales },
    {
      name: `${path}.weight_shape`,
      type: "i64",
      shape: [2],
      data: bytes(BigInt64Array.of(BigInt(N!), BigInt(K!))),
    },
  ];
}

async function folder(name: string, tensors: TensorToWrite[], more: object): Promise<string> {
  const path = join(dir, name);
  await mkdir(path);
  await writeFile(join(path, "config.json"), JSON.stringify({ ...config, ...more }));
  await writeSafetensors(join(path, "model.safetensors"), tensors);
  return path;
}

test("opens with the same numbers, and runs", async () => {
  const packed: TensorToWrite[] = [];
  const plain: TensorToWrite[] = [];
  const blocks = new Map<string, Uint8Array>();
  for (const [name, { shape, data }] of tinyWeights(config)) {
    if (!/_proj\.weight$/.test(name)) {
      for (const list of [packed, plain]) list.push(f32(name, shape, data));
      continue;
    }
    const bytes = quantize("q4_0", data);
    const values = new Float32Array(data.length);
    dequantize("q4_0", bytes, values);
    blocks.set(name, bytes);
    packed.push(...parts(name.slice(0, -".weight".length), shape, bytes));
    plain.push(f32(name, shape, values));
  }
  const quantization_config = {
    quant_method: "compressed-tensors",
    format: "pack-quantized",
    config_groups: {
      group_0: { targets: ["Linear"], weights: { num_bits: 4, group_size: 32, symmetric: true } },
    },
    ignore: ["lm_head"],
  };
  const model = await openModel(await folder("packed", packed, { quantization_config }));
  const same = await openModel(await folder("plain", plain, {}));
  const backend = await createBackend();
  try {
    for (const [name, bytes] of blocks) expect(await readTensor(model.tensors.get(name)!)).toEqual(bytes);
    const { types, unused } = await inspect(model);
    expect(types.map(({ type, tensors }) => [type, tensors])).toContainEqual(["q4_0", blocks.size]);
    expect(unused).toEqual([]);
    const [a, b] = await Promise.all([model, same].map((m) => lastLogits(m, backend)));
    const worst = Math.max(...a!.map((x, i) => Math.abs(x - b![i]!)));
    expect(worst).toBeLessThan(0.05 * Math.max(...b!.map(Math.abs))); // activations in 8 bits
    expect(a!.indexOf(Math.max(...a!))).toBe(b!.indexOf(Math.max(...b!)));
  } finally {
    backend.close();
    await Promise.all([model.close(), same.close()]);
  }
});

async function lastLogits(
  model: Awaited<ReturnType<typeof openModel>>,
  backend: Awaited<ReturnType<typeof createBackend>>,
): Promise<number[]> {
  const ids = tinyIds(20, config.vocab_size);
  const runtime = await createRuntime(model, backend, { ctx: 64 });
  await runtime.executable.run(
    { T: ids.length, S: 1, R: 1 },
    {
      tokens: Int32Array.from(ids),
      positions: Int32Array.from(ids, (_, i) => i),
      segments: Int32Array.of(0, ids.length, 0, -1),
      pages: Int32Array.of(0),
      rows: Int32Array.of(ids.length - 1),
    },
  );
  const logits = new Float32Array(config.vocab_size);
  runtime.executable.read("logits", logits);
  runtime.close();
  return [...logits];
}
