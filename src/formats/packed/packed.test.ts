// The packed layouts against what AutoGPTQ, AutoAWQ and compressed-tensors themselves wrote (test/golden/packed.json: codes,
// zeros and scales drawn at random, and the words that each library's own packing made of them).

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dequantize } from "../../engine/weights.ts";
import { fromBytes } from "../source.ts";
import { countElements, type StorageType, storageBytes } from "../storage.ts";
import { readTensorValues } from "../tensors.ts";
import type { TensorInfo } from "../types.ts";
import { packedScheme } from "./scheme.ts";
import { unpackTensors } from "./tensors.ts";

interface Case {
  method: "gptq" | "awq" | "compressed-tensors";
  bits: number;
  sym: boolean;
  N: number;
  K: number;
  group: number;
  codes: string[];
  zeros: number[][];
  scales: number[][];
  qweight: number[];
  qzeros: number[];
  qweight_shape: number[];
  qzeros_shape: number[];
}
const cases: Case[] = JSON.parse(
  readFileSync(new URL("../../../test/golden/packed.json", import.meta.url), "utf8"),
);

function tensor(name: string, type: StorageType, shape: number[], data: ArrayBufferView): TensorInfo {
  const bytes = storageBytes(type, countElements(shape)!)!;
  const { buffer, byteOffset, byteLength } = data;
  const source = fromBytes(
    "model.safetensors",
    new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength),
  );
  return { name, type, shape, offset: 0, bytes, source };
}

function transposed(rows: number[][]): number[] {
  return rows[0]!.flatMap((_, g) => rows.map((row) => row[g]!));
}

/** A checkpoint of one matrix `m`, as the file has it. */
function checkpoint(c: Case): Map<string, TensorInfo> {
  const all: TensorInfo[] = [tensor("norm.weight", "f32", [2], Float32Array.of(1, 2))];
  const G = c.K / c.group;
  if (c.method === "compressed-tensors") {
    all.push(
      tensor("m.weight_packed", "i32", c.qweight_shape, Int32Array.from(c.qweight)),
      tensor("m.weight_scale", "f32", [c.N, G], Float32Array.from(c.scales.flat())),
      tensor("m.weight_shape", "i64", [2], BigInt64Array.of(BigInt(c.N), BigInt(c.K))),
    );
    if (!c.sym) all.push(tensor("m.weight_zero_point", "i32", c.qzeros_shape, Int32Array.from(c.qzeros)));
  } else {
    all.push(
      tensor("m.qweight", "i32", c.qweight_shape, Int32Array.from(c.qweight)),
      tensor("m.qzeros", "i32", c.qzeros_shape, Int32Array.from(c.qzeros)),
      tensor("m.scales", "f32", [G, c.N], Float32Array.from(transposed(c.scales))),
    );
    if (c.method === "gptq")
      all.push(
        tensor(
          "m.g_idx",
          "i32",
          [c.K],
          Int32Array.from({ length: c.K }, (_, k) => (k / c.group) | 0),
        ),
      );
  }
  return new Map(all.map((t) => [t.name, t]));
}

const configOf = (c: Case, more: object = {}) =>
  c.method === "compressed-tensors"
    ? { quant_method: c.method, format: "pack-quantized", ...more }
    : { quant_method: c.method, bits: c.bits, group_size: c.group, sym: c.sym, ...more };

/** What the drawn codes, zeros and scales stand for, by the formula. */
function values(c: Case, groupOf = (k: number) => (k / c.group) | 0): number[] {
  const digits = c.bits > 4 ? 2 : 1;
  return c.codes.flatMap((row, n) =>
    Array.from({ length: c.K }, (_, k) => {
      const q = Number.parseInt(row.slice(k * digits, (k + 1) * digits), 16);
      return c.scales[n]![groupOf(k)]! * (q - c.zeros[n]![groupOf(k)]!);
    }),
  );
}

const open = (c: Case, more?: object) =>
  unpackTensors("model", checkpoint(c), packedScheme("config.json", configOf(c, more)));
const title = (c: Case) => `${c.method}, ${c.bits} bits, ${c.sym ? "symmetric" : "with zeros"}`;
const byTitle = cases.map((c) => [title(c), c] as const);

test.each(byTitle)("%s: every value, exactly", async (_, c) => {
  const tensors = await open(c);
  expect([...tensors.keys()].sort()).toEqual(["m.weight", "norm.weight"]);
  const weight = tensors.get("m.weight")!;
  expect(weight.type).toBe(c.bits === 8 ? "q8_0" : c.bits === 4 && !c.sym ? "q4_1" : "q4_0");
  expect(weight.shape).toEqual([c.N, c.K]);
  expect(Array.from(await readTensorValues(weight))).toEqual(values(c));
});

test.each(byTitle)("%s: any range of bytes is the same part of the whole", async (_, c) => {
  const weight = (await open(c)).get("m.weight")!;
  const whole = await weight.source.read(0, weight.bytes);
  await fc.assert(
    fc.asyncProperty(fc.nat(weight.bytes), fc.nat(weight.bytes), async (a, b) => {
      const [from, to] = a < b ? [a, b] : [b, a];
      expect(await weight.source.read(from, to - from)).toEqual(whole.subarray(from, to));
    }),
    { numRuns: 20 },
  );
  await expect(weight.source.read(1, weight.bytes)).rejects.toThrow(RangeError);
});

test("gptq_v2 stores zeros as they are", async () => {
  const c = cases.find((x) => x.method === "gptq" && x.bits === 2)!;
  const plus = { ...c, zeros: c.zeros.map((row) => row.map((z) => z - 1)) };
  const weight = (await open(c, { checkpoint_format: "gptq_v2" })).get("m.weight")!;
  expect(Array.from(await readTensorValues(weight))).toEqual(values(plus));
});

test("columns in any order of groups become f16", async () => {
  const c = cases.find((x) => x.method === "gptq" && x.bits === 4)!;
  const tensors = checkpoint(c);
  const groupOf = (k: number) => (k * 7) % 2;
  tensors.set(
    "m.g_idx",
    tensor(
      "m.g_idx",
      "i32",
      [c.K],
      Int32Array.from({ length: c.K }, (_, k) => groupOf(k)),
    ),
  );
  const scheme = packedScheme("config.json", configOf(c, { desc_act: true }));
  const weight = (await unpackTensors("model", tensors, scheme)).get("m.weight")!;
  expect(weight.type).toBe("f16");
  expect(Array.from(await readTensorValues(weight))).toEqual(values(c, groupOf));
});

test("bf16 scales, and one scale a row", async () => {
  const c = cases.find((x) => x.method === "compressed-tensors" && x.sym && x.bits === 4)!;
  const tensors = checkpoint(c);
  const scales = c.scales.map((row) => row[0]!);
  const bf16 = Uint16Array.from(scales, (s) => new Uint32Array(Float32Array.of(s).buffer)[0]! >>> 16);
  tensors.set("m.weight_scale", tensor("m.weight_scale", "bf16", [c.N, 1], bf16));
  const weight = (await unpackTensors("model", tensors, packedScheme("config.json", configOf(c)))).get(
    "m.weight",
  )!;
  expect(weight.type).toBe("q4_0");
  const same = { ...c, scales: scales.map((s) => [s, s]) };
  expect(Array.from(await readTensorValues(weight))).toEqual(values(same));
});

describe("what is refused", () => {
  const gptq = cases[0]!;
  test.each<[object | string, string]>([
    ["none", '"quantization_config.quant_method" is undefined'],
    [{ quant_method: "bitsandbytes" }, 'is "bitsandbytes", wanted "gptq", "awq" or "compressed-tensors"'],
    [{ quant_method: "gptq", bits: 5 }, '"quantization_config.bits" is 5, wanted 2, 3, 4 or 8'],
    [{ quant_method: "gptq", bits: 4, dynamic: { "-:x": {} } }, "dynamic"],
    [{ quant_method: "gptq", bits: 4, checkpoint_format: "marlin" }, '"marlin", wanted "gptq" or "gptq_v2"'],
    [{ quant_method: "awq", bits: 4, version: "gemv" }, '"gemv", wanted "gemm"'],
    [{ quant_method: "compressed-tensors", format: "float-quantized" }, 'wanted "pack-quantized"'],
    [
      { quant_method: "compressed-tensors", format: "pack-quantized", transform_config: { a: 1 } },
      "transform_config",
    ],
  ])("%j", (config, message) => {
    expect(() => packedScheme("config.json", config)).toThrow(message);
  });

  test.each<[string, (t: Map<string, TensorInfo>) => unknown, string]>([
    ["a missing part", (t) => t.delete("m.scales"), 'tensor "m.scales" is missing'],
    ["no packed tensor", (t) => t.delete("m.qweight"), 'no tensor ends with ".qweight"'],
    [
      "a part of another shape",
      (t) => t.set("m.qzeros", tensor("m.qzeros", "i32", [1, 4], new Int32Array(4))),
      'tensor "m.qzeros" has shape [1, 4], wanted [2, 4]',
    ],
    [
      "a part of another type",
      (t) => t.set("m.qweight", tensor("m.qweight", "f32", [8, 32], new Float32Array(256))),
      'tensor "m.qweight" is f32 [8, 32], wanted i32',
    ],
  ])("%s", async (_, change, message) => {
    const tensors = checkpoint(gptq);
    change(tensors);
    const opened = unpackTensors("model", tensors, packedScheme("config.json", configOf(gptq)));
    await expect(opened).rejects.toThrow(message);
  });

  test.each<[string, Case, (t: Map<string, TensorInfo>) => unknown, object, string]>([
    [
      "a scale that is not finite",
      gptq,
      (t) => t.set("m.scales", tensor("m.scales", "f32", [2, 32], new Float32Array(64).fill(Number.NaN))),
      {},
      'tensor "m.scales" holds NaN',
    ],
    [
      "zeros that are not symmetric, though the config says so",
      cases[1]!,
      () => {},
      { sym: true },
      "wanted 8 everywhere",
    ],
    [
      "a group that is not there",
      gptq,
      (t) => t.set("m.g_idx", tensor("m.g_idx", "i32", [64], new Int32Array(64).fill(2))),
      { desc_act: true },
      'tensor "m.g_idx" puts column 0 in group 2, wanted 0 to 1',
    ],
  ])("%s", async (_, c, change, more, message) => {
    const tensors = checkpoint(c);
    change(tensors);
    const opened = await unpackTensors("model", tensors, packedScheme("config.json", configOf(c, more)));
    const weight = opened.get("m.weight")!;
    await expect(weight.source.read(0, weight.bytes)).rejects.toThrow(message);
  });

  test("mutants of shapes, types and words end in values or a clear error", async () => {
    const kinds = ["i32", "f32", "f16", "i64", "u8"] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(cases.length - 1),
        fc.nat(10),
        fc.constantFrom(...kinds),
        fc.array(fc.integer({ min: 0, max: 70 }), { maxLength: 3 }),
        fc.uint8Array({ minLength: 64, maxLength: 64 }),
        async (which, part, type, shape, noise) => {
          const tensors = checkpoint(cases[which]!);
          const names = [...tensors.keys()];
          const name = names[part % names.length]!;
          const bytes = storageBytes(type, countElements(shape)!)!;
          const data = Uint8Array.from({ length: bytes }, (_, i) => noise[i % 64]!);
          tensors.set(name, tensor(name, type, shape, data));
          try {
            const opened = await unpackTensors("model", tensors, packedScheme("c", configOf(cases[which]!)));
            for (const t of opened.values()) {
              if (t.type !== "q4_0" && t.type !== "q4_1" && t.type !== "q8_0" && t.type !== "f16") continue;
              dequantize(
                t.type,
                await t.source.read(t.offset, t.bytes),
                new Float32Array(countElements(t.shape)!),
              );
            }
          } catch (error) {
            expect((error as Error).message).toMatch(/^Cannot (read|store)/);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
