// Reading a tensor that a file holds: its bytes, its values, or its bytes in pieces.

import { dequantize, isWeightType, WEIGHT_TYPES } from "../engine/weights.ts";
import { quote } from "./errors.ts";
import { countElements } from "./storage.ts";
import type { TensorInfo, WeightTensor } from "./types.ts";

/**
 * The tensor `name` as a weight the engine can compute with.
 * @throws {RangeError} when there is none of that name.
 * @throws {TypeError} when its type is one that files may hold but the engine does not compute with.
 */
export function weightTensor(
  tensors: ReadonlyMap<string, TensorInfo>,
  name: string,
  fileName: string,
): WeightTensor {
  const tensor = tensors.get(name);
  if (!tensor) {
    throw new RangeError(
      `Cannot load ${JSON.stringify(fileName)}: tensor ${quote(name)} is missing among its ${tensors.size}`,
    );
  }
  return asWeight(tensor);
}

/** The same tensor, checked to be of a {@link WEIGHT_TYPES}. @throws {TypeError} when it is not. */
export function asWeight(tensor: TensorInfo): WeightTensor {
  if (isWeightType(tensor.type)) return tensor as WeightTensor;
  throw new TypeError(
    `Cannot load ${JSON.stringify(tensor.source.name)}: tensor ${quote(tensor.name)} has type ${tensor.type}, want one of ${Object.keys(WEIGHT_TYPES).join(", ")}`,
  );
}

/** All bytes of a tensor, as the file has them. */
export function readTensor(tensor: TensorInfo): Promise<Uint8Array> {
  return tensor.source.read(tensor.offset, tensor.bytes);
}

/** All values of a tensor as f32, outermost dimension first. @throws {TypeError} when it is no weight. */
export async function readTensorValues(tensor: TensorInfo): Promise<Float32Array> {
  const { type } = asWeight(tensor);
  const values = new Float32Array(countElements(tensor.shape)!);
  dequantize(type, await readTensor(tensor), values);
  return values;
}

/** The bytes of a tensor in order, in pieces of at most `pieceBytes`; for copying what need not be in memory. */
export async function* streamTensor(
  tensor: TensorInfo,
  pieceBytes = 16 * 2 ** 20,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < tensor.bytes; at += pieceBytes) {
    yield await tensor.source.read(tensor.offset + at, Math.min(pieceBytes, tensor.bytes - at));
  }
}
