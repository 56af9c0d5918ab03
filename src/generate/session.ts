// A session: token ids with their keys and values in a file, so that a later run need not compute them again. Knows the
// page pool and the file, no text.

import { createHash } from "node:crypto";
import { type KvSpec, PAGE } from "../engine/backend.ts";
import {
  openFile,
  readSafetensors,
  readTensor,
  type TensorToWrite,
  writeSafetensors,
} from "../formats/index.ts";
import type { KvAccess, StateAccess } from "../models/runtime.ts";
import type { PagePool } from "./pages.ts";

const FORMAT = "pith-session";
const VERSION = "1";

/** The memory that sessions are of. `states`: of recurrent layers, if the model has any. */
export interface SessionMemory {
  readonly kv: readonly KvAccess[];
  readonly states?: StateAccess;
}

/** What the keys and values of a session depend on, besides its tokens. */
export interface SessionKey {
  /** Digest of the model. */
  readonly model: string;
  /** Of the adapters; "": none. */
  readonly adapter: string;
}

/**
 * Writes what the pool still has of `ids`: whole pages of 64 tokens from the beginning. Atomic; the name ends in
 * .safetensors. Tensors: `ids` [N] and, for every layer that attends, `layers.i.k` and `layers.i.v` [N, heads,
 * head_dim]; for models with recurrent layers `state` behind the last token, and N ends where one was kept.
 * @returns tokens written; 0: there was no whole page, and nothing is written
 */
export async function saveSession(
  path: string,
  ids: ArrayLike<number>,
  key: SessionKey,
  pool: PagePool,
  { kv, states }: SessionMemory,
): Promise<number> {
  const tokens = Int32Array.from(ids);
  const pages = pool.match(tokens, tokens.length, key.adapter);
  try {
    const count = pages.length * PAGE;
    if (count === 0) return 0;
    const pools = kv.map(({ spec, read }) => {
      const parts = layerParts(spec, pages.length);
      pages.forEach((page, i) => {
        copyPage(read(page), parts, i, "out");
      });
      return { type: spec.type, shape: [count, spec.num_key_value_heads, spec.head_dim], parts };
    });
    const parts = pools.flatMap((pool) => pool.parts.map((data) => ({ ...pool, data })));
    const idBytes = new Uint8Array(tokens.slice(0, count).buffer);
    const state = states?.read(pool.states!.at(pages.at(-1)!)!);
    const stateBytes = state && new Uint8Array(state.buffer);
    const tensors: TensorToWrite[] = [
      { name: "ids", type: "i32", shape: [count], data: async () => idBytes },
      ...parts.map(({ type, shape, data }, i) => ({
        name: partName(i),
        type,
        shape,
        data: async () => data,
      })),
    ];
    if (stateBytes)
      tensors.push({ name: "state", type: "f32", shape: [state.length], data: async () => stateBytes });
    const metadata = new Map(
      Object.entries({
        format: FORMAT,
        version: VERSION,
        ...key,
        sha256: digest([idBytes, ...parts.map(({ data }) => data), ...(stateBytes ? [stateBytes] : [])]),
      }),
    );
    await writeSafetensors(path, tensors, { metadata });
    return count;
  } finally {
    for (const page of pages) pool.release(page);
  }
}

/**
 * Puts a session into the pool, where a prompt that begins with its tokens finds it.
 * @returns its tokens
 * @throws {Error} for a file that is no session, damaged, or of another model, adapter or type of cache
 * @throws {RangeError} when the cache has no room for it
 */
export async function loadSession(
  path: string,
  key: SessionKey,
  pool: PagePool,
  { kv, states }: SessionMemory,
  vocab_size: number,
): Promise<Int32Array> {
  const source = await openFile(path);
  try {
    const { tensors, metadata } = await readSafetensors(source);
    const wrong = (found: string) => new Error(`Cannot load session ${JSON.stringify(path)}: ${found}`);
    if (metadata.get("format") !== FORMAT) throw wrong("it is no session");
    if (metadata.get("version") !== VERSION)
      throw wrong(`its version is ${metadata.get("version")}, wanted ${VERSION}`);
    if (metadata.get("model") !== key.model) throw wrong("it was made with another model");
    if ((metadata.get("adapter") ?? "") !== key.adapter) throw wrong("it was made with other adapters");
    const count = tensors.get("ids")?.shape[0] ?? 0;
    if (count === 0 || count % PAGE !== 0)
      throw wrong(`it has ${count} tokens, wanted a multiple of ${PAGE}`);
    const parts = kv.flatMap(({ spec }) => {
      const { type, num_key_value_heads, head_dim } = spec;
      return Array<[string, number[]]>(2 * spec.layers).fill([type, [count, num_key_value_heads, head_dim]]);
    });
    const tensorsWanted = new Map<string, [string, number[]]>([
      ["ids", ["i32", [count]]],
      ...parts.map((part, i): [string, [string, number[]]] => [partName(i), part]),
      ...(states ? [["state", ["f32", [states.columns]]] as [string, [string, number[]]]] : []),
    ]);
    const bytes: Uint8Array[] = [];
    // All is checked before anything that large is read.
    for (const [name, [wantedType, wanted]] of tensorsWanted) {
      const tensor = tensors.get(name);
      if (!tensor) throw wrong(`tensor "${name}" is missing`);
      if (tensor.type !== wantedType || tensor.shape.join() !== wanted.join())
        throw wrong(
          `tensor "${name}" is ${tensor.type} [${tensor.shape}], but the cache wants ${wantedType} [${wanted}]`,
        );
    }
    if (tensors.size !== tensorsWanted.size)
      throw wrong(`it has ${tensors.size} tensors, wanted ${tensorsWanted.size}`);
    if (count / PAGE > pool.available)
      throw new RangeError(
        `Cannot load session ${JSON.stringify(path)}: it has ${count} tokens, but the cache has room for ${pool.available * PAGE}; load the model with a larger context`,
      );
    for (const name of tensorsWanted.keys()) bytes.push(await readTensor(tensors.get(name)!));
    if (digest(bytes) !== metadata.get("sha256")) throw wrong("it is damaged: its checksum differs");
    const ids = new Int32Array(bytes[0]!.slice().buffer);
    const bad = ids.find((id) => id < 0 || id >= vocab_size);
    if (bad !== undefined) throw wrong(`it holds token ${bad}, wanted 0 to ${vocab_size - 1}`);
    const state = states && new Float32Array(bytes.pop()!.slice().buffer);
    putIntoPool(ids, bytes.slice(1), key.adapter, pool, kv, states, state);
    return ids;
  } finally {
    await source.close();
  }
}

function putIntoPool(
  ids: Int32Array,
  parts: Uint8Array[],
  root: string,
  pool: PagePool,
  kv: readonly KvAccess[],
  states?: StateAccess,
  state?: Float32Array,
): void {
  const pages: number[] = [];
  try {
    for (let i = 0; i < ids.length / PAGE; i++) {
      const page = pool.take();
      if (page < 0) throw new RangeError("Cannot load a session: the cache is in use");
      pages.push(page);
      let first = 0;
      for (const { spec, write } of kv) {
        const own = parts.slice(first, (first += 2 * spec.layers));
        const data = new Uint8Array(own.reduce((sum, part) => sum + part.length, 0) / (ids.length / PAGE));
        copyPage(data, own, i, "in");
        write(page, data);
      }
    }
    const known = pool.remember(ids, ids.length, Int32Array.from(pages), root);
    if (states && state) {
      const row = pool.states!.take();
      states.write(row, state);
      pool.states!.keep(known.at(-1)!, row);
      pool.states!.release(row);
    }
  } finally {
    for (const page of pages) pool.release(page);
  }
}

/** Empty keys and values of every layer, in the order of a page: layer 0's keys, its values, layer 1's keys, ... */
function layerParts({ layers, num_key_value_heads, head_dim, type }: KvSpec, pages: number): Uint8Array[] {
  const bytes = pages * PAGE * num_key_value_heads * head_dim * (type === "f16" ? 2 : 4);
  return Array.from({ length: 2 * layers }, () => new Uint8Array(bytes));
}

/** Copies page i of a session out to, or in from, its parts. */
function copyPage(page: Uint8Array, parts: readonly Uint8Array[], i: number, way: "in" | "out"): void {
  const size = page.length / parts.length;
  parts.forEach((part, j) => {
    const here = page.subarray(j * size, (j + 1) * size);
    const there = part.subarray(i * size, (i + 1) * size);
    if (way === "out") there.set(here);
    else here.set(there);
  });
}

function partName(i: number): string {
  return `layers.${i >> 1}.${i % 2 === 0 ? "k" : "v"}`;
}

function digest(parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}
