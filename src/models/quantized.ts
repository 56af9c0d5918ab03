// A model whose float matrices are given in a quantized type: rows are rounded while they are read, so that a folder of
// bf16 weights loads into the memory of its 4-bit form with no file in between. To nearest, as `convert` writes them.

import { nf4Magnitudes, nf4Scales, quantizeNf4 } from "../engine/nf4.ts";
import { dequantize, quantize, WEIGHT_TYPES, type WeightType, weightBytes } from "../engine/weights.ts";
import type { Source, TensorInfo } from "../formats/index.ts";
import { HEAD } from "./adapters/adapter.ts";
import { type OpenedModel, once } from "./open.ts";
import { linearTargets } from "./targets.ts";

/** Types that weights can be rounded to while they are loaded; nf4: the linears alone, as QLoRA does. */
export type LoadType = "q8_0" | "q4_0" | "nf4";
export const LOAD_TYPES: readonly LoadType[] = ["q8_0", "q4_0", "nf4"];

/** Rows are made in pieces of about so many values. */
const PIECE_VALUES = 2 ** 18;

/**
 * The same model with every f32, f16 or bf16 matrix in `type` (nf4: not embeddings and the output head). One whose rows are no whole number of blocks, vectors, and
 * what is quantized already stay as they are.
 * @throws {TypeError} for a type that is none of `LOAD_TYPES`
 */
export function quantizedModel(model: OpenedModel, type: LoadType): OpenedModel {
  if (!LOAD_TYPES.includes(type))
    throw new TypeError(
      `Cannot quantize ${JSON.stringify(model.name)} while loading: found ${JSON.stringify(type)}, wanted ${LOAD_TYPES.join(" or ")}`,
    );
  const { blockSize } = WEIGHT_TYPES[type];
  const linears = new Set<string>();
  for (const [path, { weight }] of linearTargets(model.definition, model.config))
    if (path !== HEAD) linears.add(weight);
  const tensors = new Map(
    [...model.tensors].map(([name, tensor]) => {
      const float = tensor.type === "f32" || tensor.type === "f16" || tensor.type === "bf16";
      const fits = tensor.shape.length === 2 && tensor.shape[1]! % blockSize === 0;
      const chosen = type !== "nf4" || linears.has(name);
      return [name, float && fits && chosen ? rounded(tensor, tensor.type as WeightType, type) : tensor];
    }),
  );
  return { ...model, tensors };
}

function rounded(tensor: TensorInfo, from: WeightType, to: LoadType): TensorInfo {
  const [rows, cols] = tensor.shape as [number, number];
  const [width, rowBytes] = [weightBytes(from, cols), weightBytes(to, cols)];
  const step = Math.max(1, Math.floor(PIECE_VALUES / cols));
  const valuesOf = async (row: number, count: number, into: Float32Array) =>
    dequantize(from, await tensor.source.read(tensor.offset + row * width, count * width), into);
  // NF4's scales depend on all of the tensor, which is read once for them.
  const scalesOf = once(async () => {
    const magnitudes = new Float32Array((rows * cols) / WEIGHT_TYPES[to].blockSize);
    const values = new Float32Array(Math.min(step, rows) * cols);
    for (let row = 0; row < rows; row += step) {
      const part = values.subarray(0, Math.min(step, rows - row) * cols);
      await valuesOf(row, part.length / cols, part);
      magnitudes.set(nf4Magnitudes(part), (row * cols) / WEIGHT_TYPES[to].blockSize);
    }
    return { magnitudes, scales: nf4Scales(magnitudes) };
  });
  const encode = async (row: number, values: Float32Array): Promise<Uint8Array> => {
    if (to !== "nf4") return quantize(to, values);
    const { magnitudes, scales } = await scalesOf();
    const [start, end] = [row * cols, row * cols + values.length].map((i) => i / WEIGHT_TYPES.nf4.blockSize);
    return quantizeNf4(values, magnitudes.subarray(start, end), scales.subarray(start, end));
  };
  const source: Source = {
    name: tensor.source.name,
    madeOf: [tensor],
    size: rows * rowBytes,
    async read(offset, length) {
      const [first, end] = [Math.floor(offset / rowBytes), Math.ceil((offset + length) / rowBytes)];
      const bytes = new Uint8Array((end - first) * rowBytes);
      const values = new Float32Array(Math.min(step, end - first) * cols);
      for (let row = first; row < end; row += step) {
        const count = Math.min(step, end - row);
        const part = values.subarray(0, count * cols);
        await valuesOf(row, count, part);
        try {
          bytes.set(await encode(row, part), (row - first) * rowBytes);
        } catch (cause) {
          const reason = (cause as Error).message;
          throw new RangeError(`Cannot load tensor ${JSON.stringify(tensor.name)} as ${to}: ${reason}`, {
            cause,
          });
        }
      }
      return bytes.subarray(offset - first * rowBytes, offset - first * rowBytes + length);
    },
    async close() {},
  };
  return { ...tensor, type: to, offset: 0, bytes: rows * rowBytes, source };
}
