// Which model it is, without reading all of it: what a file that was made with one model is checked against.

import { createHash } from "node:crypto";
import type { OpenedModel } from "./open.ts";

/** Bytes that are read in the middle of every tensor. */
const SAMPLE = 256;

/**
 * A digest of the config, of every tensor's name, type and shape, and of some of its bytes: training, quantizing or
 * merging changes it, a new path or format of the folder does not.
 */
export async function modelIdentity({ config, tensors }: OpenedModel): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(config));
  for (const [name, { type, shape, bytes, offset, source }] of tensors) {
    hash.update(JSON.stringify([name, type, shape, bytes]));
    const length = Math.min(SAMPLE, bytes);
    hash.update(await source.read(offset + Math.floor((bytes - length) / 2), length));
  }
  return hash.digest("hex");
}
