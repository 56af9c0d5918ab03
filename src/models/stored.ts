// What safetensors hold, where it is not the parameter itself: GPT-2's matrices lie transposed, Gemma's norms hold the
// weight less one. Everything behind `openModel` sees parameters as they are computed with, which is GGUF's form too.

import { dequantize, type WeightType, weightBytes } from "../engine/weights.ts";
import type { Source, TensorInfo } from "../formats/index.ts";
import { asWeight } from "../formats/index.ts";

/**
 * `transposed`: a matrix as [in, out]. `less_one`: a vector w, where the model multiplies by 1 + w. `depthwise`: a kernel
 * [channels, taps] as [channels, 1, taps]. `neg_exp`: a vector as -e^x.
 */
export type StoredForm = "transposed" | "less_one" | "depthwise" | "neg_exp";

/**
 * The tensor as a parameter: made when it is read, the whole at once, and kept only while somebody reads it.
 * One of another rank or type is left as it is, for the checks of shapes and types to refuse.
 */
export function fromStored(tensor: TensorInfo, form: StoredForm): TensorInfo {
  if (form === "depthwise") {
    const [channels, one, taps] = tensor.shape;
    return tensor.shape.length === 3 && one === 1 ? { ...tensor, shape: [channels!, taps!] } : tensor;
  }
  const float = tensor.type === "f32" || tensor.type === "f16" || tensor.type === "bf16";
  if (!float || tensor.shape.length !== (form === "transposed" ? 2 : 1)) return tensor;
  const { type } = asWeight(tensor);
  const [rows, cols = 1] = tensor.shape as [number, number?];
  const read = () => tensor.source.read(tensor.offset, tensor.bytes);
  if (form === "transposed") {
    const source = made(tensor, tensor.bytes, async () => transpose(await read(), rows, cols, type));
    return { ...tensor, shape: [cols, rows], offset: 0, source };
  }
  const change = form === "less_one" ? (x: number) => x + 1 : (x: number) => Math.log(-x);
  const source = made(tensor, rows * 4, async () => changed(type, await read(), rows, change));
  return { ...tensor, type: "f32", bytes: rows * 4, offset: 0, source };
}

/** A parameter's shape as it is stored. */
export function storedShape(shape: readonly number[], form: StoredForm | undefined): readonly number[] {
  if (form === "depthwise") return [shape[0]!, 1, ...shape.slice(1)];
  return form === "transposed" ? shape.toReversed() : shape;
}

/** A parameter's bytes as they are stored: the other way of `fromStored`, of a float type. */
export async function* toStored(
  pieces: AsyncIterable<Uint8Array>,
  type: WeightType,
  shape: readonly number[],
  form: StoredForm,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (form === "depthwise") {
    yield* pieces;
    return;
  }
  const count = shape.reduce((a, b) => a * b, 1);
  const whole = new Uint8Array(weightBytes(type, count));
  let end = 0;
  for await (const piece of pieces) {
    whole.set(piece, end);
    end += piece.length;
  }
  if (form === "transposed") yield transpose(whole, shape[0]!, shape[1]!, type);
  else if (form === "less_one") yield changed(type, whole, count, (x) => x - 1);
  else yield changed(type, whole, count, (x) => -Math.exp(x));
}

/** Bytes of [rows, cols] as [cols, rows]. */
function transpose(bytes: Uint8Array, rows: number, cols: number, type: WeightType): Uint8Array {
  const Elements = type === "f32" ? Uint32Array : Uint16Array;
  const from = new Elements(bytes.slice().buffer);
  const to = new Elements(rows * cols);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) to[c * rows + r] = from[r * cols + c]!;
  return new Uint8Array(to.buffer);
}

/** Values as f32, each changed. */
function changed(
  type: WeightType,
  bytes: Uint8Array,
  count: number,
  change: (x: number) => number,
): Uint8Array {
  const values = new Float32Array(count);
  dequantize(type, bytes, values);
  for (let i = 0; i < count; i++) values[i] = change(values[i]!);
  return new Uint8Array(values.buffer);
}

/** A source of `size` bytes that are made when they are asked for. */
function made(tensor: TensorInfo, size: number, make: () => Promise<Uint8Array>): Source {
  let kept: WeakRef<Uint8Array> | undefined;
  return {
    name: tensor.source.name,
    madeOf: [tensor],
    size,
    async read(offset, length) {
      let bytes = kept?.deref();
      if (!bytes) {
        bytes = await make();
        kept = new WeakRef(bytes);
      }
      return bytes.subarray(offset, offset + length);
    },
    async close() {},
  };
}
