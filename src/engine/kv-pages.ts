// A KV page as others see it: [layers, 2 (keys, values), 64 positions, heads, head_dim] in the pool's type. The backends
// over C++ hold it in tiles (kernels/README.md); bits are moved, never changed.

import { type KvSpec, PAGE } from "./backend.ts";

const TILE = 16;

/** Bytes of a page in the order above. */
export function kvPageBytes({ layers, num_key_value_heads, head_dim, type }: KvSpec): number {
  return layers * 2 * PAGE * num_key_value_heads * head_dim * elementBytes(type);
}

/** Bytes of a page as C++ holds it: heads are padded to whole tiles. */
export function heldPageBytes({ layers, num_key_value_heads, head_dim, type }: KvSpec): number {
  return layers * 2 * PAGE * num_key_value_heads * padded(head_dim) * elementBytes(type);
}

/** From C++'s order into the common one. */
export function unpackKvPage(spec: KvSpec, held: Uint8Array): Uint8Array {
  const out = new Uint8Array(kvPageBytes(spec));
  move(spec, elements(spec, held), elements(spec, out), (from, to, i, j) => {
    to[j] = from[i]!;
  });
  return out;
}

/** From the common order into C++'s. What pads it is 0. */
export function packKvPage(spec: KvSpec, page: Uint8Array): Uint8Array {
  const out = new Uint8Array(heldPageBytes(spec));
  move(spec, elements(spec, out), elements(spec, page), (to, from, i, j) => {
    to[i] = from[j]!;
  });
  return out;
}

/** @throws {RangeError} for a page that is none of the pool's, or data of another size; {TypeError} for another type */
export function checkKvPage(spec: KvSpec, page: number, data?: Uint8Array): void {
  elementBytes(spec.type);
  if (!Number.isInteger(page) || page < 0 || page >= spec.pages)
    throw new RangeError(`Cannot copy KV page ${page}: the pool has pages 0 to ${spec.pages - 1}`);
  if (data && data.length !== kvPageBytes(spec))
    throw new RangeError(`Cannot copy KV page ${page}: ${data.length} bytes, wanted ${kvPageBytes(spec)}`);
}

type Elements = Uint16Array<ArrayBufferLike> | Uint32Array<ArrayBufferLike>;

function move(
  spec: KvSpec,
  held: Elements,
  page: Elements,
  one: (held: Elements, page: Elements, i: number, j: number) => void,
): void {
  const { layers, num_key_value_heads: heads, head_dim: dim } = spec;
  const width = padded(dim);
  for (let layer = 0; layer < layers; layer++)
    for (let head = 0; head < heads; head++) {
      const block = (layer * heads + head) * 2 * PAGE * width;
      for (let position = 0; position < PAGE; position++) {
        const keys = block + (position - (position % TILE)) * width + (position % TILE);
        const values = block + (PAGE + position) * width;
        const k = ((layer * 2 * PAGE + position) * heads + head) * dim;
        const v = k + PAGE * heads * dim;
        for (let d = 0; d < dim; d++) {
          one(held, page, keys + d * TILE, k + d);
          one(held, page, values + d, v + d);
        }
      }
    }
}

function elements({ type }: KvSpec, bytes: Uint8Array): Elements {
  const { buffer, byteOffset, length } = bytes;
  return elementBytes(type) === 2
    ? new Uint16Array(buffer, byteOffset, length / 2)
    : new Uint32Array(buffer, byteOffset, length / 4);
}

function elementBytes(type: KvSpec["type"]): number {
  if (type !== "f16" && type !== "f32")
    throw new TypeError(`Cannot copy KV pages of type ${type}: wanted f16 or f32`);
  return type === "f16" ? 2 : 4;
}

function padded(head_dim: number): number {
  return Math.ceil(head_dim / TILE) * TILE;
}
