// Which model it is, without reading all of it: what a file that was made with one model is checked against.

import { createHash } from "node:crypto";
import type { TensorInfo } from "../formats/index.ts";
import type { OpenedModel } from "./open.ts";

/** Bytes that are read in the middle of every tensor. */
const SAMPLE = 256;

/**
 * A digest of the config, of every tensor's name, type and shape, and of some of its bytes: training, quantizing or
 * merging changes it, a new path or format of the folder does not.
 */
export async function modelIdentity({ config, tensors }: OpenedModel): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(config));
  for (const [name, tensor] of tensors) {
    const { type, shape, bytes } = tensor;
    hash.update(JSON.stringify([name, type, shape, bytes]));
    for await (const sample of samples(tensor)) hash.update(sample);
  }
  return hash.digest("hex");
}

/** Bytes as they lie in files: to make those of a packed or transposed matrix would read all of it. */
async function* samples({ bytes, offset, source }: TensorInfo): AsyncGenerator<Uint8Array> {
  if (source.madeOf) for (const tensor of source.madeOf) yield* samples(tensor);
  else {
    const length = Math.min(SAMPLE, bytes);
    yield await source.read(offset + Math.floor((bytes - length) / 2), length);
  }
}
