// What differs from layer to layer of one model: which positions a layer sees, its heads, where its keys and values are,
// and by which table it rotates. Reads it from a config's optional fields; a model without them has equal layers.

import type { GgufValue } from "../formats/index.ts";
import type { Config } from "./config.ts";
import type { Fields } from "./fields.ts";
import { type Rope, ropeTable } from "./rope.ts";

/**
 * As in config.json's `layer_types`: attention to all positions so far, or to the last `sliding_window` of them; or a layer
 * that keeps a state of fixed size (`Definition.stateSize`): LFM2's short convolution, Qwen3.5's linear attention.
 */
export type LayerType = "full_attention" | "sliding_attention" | "conv" | "linear_attention";

export const WINDOW = { min: 1, max: 2 ** 30 };

/**
 * `layer_types` and `sliding_window` of a config.json.
 * @param fallback the type of layer i where the file has no list
 * @returns nothing when every layer sees all
 * @throws {TypeError | RangeError} naming the field, the value found and the value wanted.
 */
export function readLayerTypes(
  fields: Fields,
  layers: number,
  fallback: (i: number) => LayerType,
): Pick<Config, "layer_types" | "sliding_window"> {
  const layer_types = layerTypesOf(fields, layers, ["full_attention", "sliding_attention"], fallback);
  if (!layer_types.includes("sliding_attention")) return {};
  return { layer_types, sliding_window: fields.integer("sliding_window", WINDOW) };
}

/**
 * `layer_types` of a config.json: each one of `allowed`.
 * @param fallback the type of layer i where the file has no list
 * @throws {TypeError | RangeError} naming the field, the value found and the value wanted.
 */
export function layerTypesOf(
  fields: Fields,
  layers: number,
  allowed: readonly LayerType[],
  fallback: (i: number) => LayerType,
): LayerType[] {
  const list = fields.value("layer_types");
  if (list !== undefined && !Array.isArray(list)) fields.fail("layer_types", list, "a list");
  if (list && list.length !== layers)
    fields.fail("layer_types", list, `${layers} types, one for each of num_hidden_layers`);
  return Array.from({ length: layers }, (_, i): LayerType => {
    const type: unknown = list ? list[i] : fallback(i);
    const known = allowed.find((one) => one === type);
    if (!known)
      fields.fail(`layer_types[${i}]`, type, allowed.map((one) => JSON.stringify(one)).join(" or "));
    return known;
  });
}

/** Qwen's way: a window only with `use_sliding_window`, and then in the layers from `max_window_layers` on. */
export function qwenLayers(fields: Fields, layers: number): Pick<Config, "layer_types" | "sliding_window"> {
  const sliding = fields.boolean("use_sliding_window", false);
  const first = sliding ? fields.integer("max_window_layers", { min: 0, max: 2 ** 20 }, 28) : layers;
  return readLayerTypes(fields, layers, (i) => (i >= first ? "sliding_attention" : "full_attention"));
}

/** What {@link qwenLayers} reads, for writing. */
export function qwenLayersToJson({ layer_types }: Config): Record<string, unknown> {
  return layer_types ? { use_sliding_window: true } : {};
}

/** Mistral's way: `sliding_window` is for every layer, null for none. */
export function windowed(fields: Fields, layers: number): Pick<Config, "layer_types" | "sliding_window"> {
  const window = fields.has("sliding_window");
  return readLayerTypes(fields, layers, () => (window ? "sliding_attention" : "full_attention"));
}

/** GGUF's window of every layer; 0 or absent for none. */
export function windowFromGguf(fields: Fields, { num_hidden_layers }: Config): Partial<Config> {
  const sliding_window = fields.integer("attention.sliding_window", { ...WINDOW, min: 0 }, 0);
  if (sliding_window === 0) return {};
  return { sliding_window, layer_types: Array<LayerType>(num_hidden_layers).fill("sliding_attention") };
}

/** The same, for writing. @throws {TypeError} when only some layers have it. */
export function windowToGguf({ model_type, layer_types, sliding_window }: Config): [string, GgufValue][] {
  if (!layer_types || sliding_window === undefined) return [];
  if (layer_types.includes("full_attention"))
    throw new TypeError(
      `Cannot write a ${model_type} model as GGUF: only some of its layers slide, wanted all or none, which is all that GGUF can state`,
    );
  return [["attention.sliding_window", { type: "uint32", value: sliding_window }]];
}

/** Positions that a token sees in layer `i`, its own included; 0: all. */
export function layerWindow(config: Config, i: number): number {
  return config.layer_types?.[i] === "sliding_attention" ? (config.sliding_window ?? 0) : 0;
}

const attends = (type: LayerType | undefined) => type !== "conv" && type !== "linear_attention";

/** How many of the layers before `end` attend; by default of all. */
export function kvLayers({ layer_types, num_hidden_layers }: Config, end = num_hidden_layers): number {
  return layer_types ? layer_types.slice(0, end).filter(attends).length : end;
}

/** Query heads, key-value heads and the size of one in layer `i`. */
export function layerHeads(config: Config, i: number) {
  const { num_attention_heads, num_key_value_heads, head_dim, global_heads } = config;
  const own = config.layer_types?.[i] === "full_attention" ? global_heads : undefined;
  return { num_attention_heads, num_key_value_heads, head_dim, ...own };
}

/** The layer whose keys and values layer `i` reads: itself, or the last of its type that has its own. */
export function kvSource(
  { layer_types, num_hidden_layers, num_kv_shared_layers = 0 }: Config,
  i: number,
): number {
  const first = num_hidden_layers - num_kv_shared_layers;
  return i < first ? i : layer_types!.lastIndexOf(layer_types![i]!, first - 1);
}

/** A pool of KV pages: of all layers whose keys and values have the same shape. */
export interface KvPool {
  /** Of the program's state: the first pool's is `KV`. */
  readonly name: string;
  readonly layers: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
}

/** Name of the state that the first KV pool is bound to. */
export const KV = "kv";

/** The pools that a model's layers need: one, but for types whose layers have heads of two kinds. */
export function kvPools(config: Config): KvPool[] {
  return [...kvPlaces(config).pools];
}

/** Where the keys and values that layer `i` reads lie: a pool, and its number among that pool's layers. */
export function kvPlace(config: Config, i: number): { readonly pool: KvPool; readonly layer: number } {
  const { pools, places } = kvPlaces(config);
  const { pool, layer } = places.get(kvSource(config, i))!;
  return { pool: pools[pool]!, layer };
}

function kvPlaces(config: Config) {
  const pools: KvPool[] = [];
  const places = new Map<number, { readonly pool: number; readonly layer: number }>();
  for (let i = 0; i < config.num_hidden_layers; i++) {
    if (!attends(config.layer_types?.[i]) || kvSource(config, i) !== i) continue;
    const { num_key_value_heads, head_dim } = layerHeads(config, i);
    const found = pools.findIndex(
      (one) => one.num_key_value_heads === num_key_value_heads && one.head_dim === head_dim,
    );
    const pool = found < 0 ? pools.length : found;
    const layer = pools[pool]?.layers ?? 0;
    const name = pool === 0 ? KV : `${KV}.${pool}`;
    pools[pool] = { name, layers: layer + 1, num_key_value_heads, head_dim };
    places.set(i, { pool, layer });
  }
  return { pools, places };
}

/** How layer `i` rotates its heads; undefined where it has no positions of its own. */
export function layerRope(config: Config, i: number): Rope | undefined {
  if (config.no_rope_layers?.[i] === 0) return undefined;
  return config.layer_types?.[i] === "sliding_attention" ? (config.rope_local ?? config.rope) : config.rope;
}

/** Name of the param that holds layer `i`'s rope table, or undefined where it has none. */
export function ropeTableName(config: Config, i: number): string | undefined {
  const rope = layerRope(config, i);
  return rope && (rope === config.rope ? ROPE_TABLE : `${ROPE_TABLE}.local`);
}

/** Name of the param that is the rope table of most layers. */
export const ROPE_TABLE = "rope_table";

/** Columns of layer `i`'s rope table: components of a head that are rotated. */
export function rotaryDim(config: Config, i: number): number {
  return layerRope(config, i)?.rotary_dim ?? layerHeads(config, i).head_dim;
}

/** Name of the param that is n ones. */
export const onesName = (n: number) => `ones.${n}`;

/**
 * Every table that a model's programs take beside its parameters, by the name of its param: of rotations, for sequences of up
 * to `ctx` positions, and of ones, which norms without a weight multiply by.
 */
export function modelTables(
  config: Config,
  ctx: number,
): Map<string, { shape: number[]; data: Float32Array }> {
  const tables = new Map<string, { shape: number[]; data: Float32Array }>();
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const { head_dim } = layerHeads(config, i);
    if (config.value_norm)
      tables.set(onesName(head_dim), { shape: [head_dim], data: new Float32Array(head_dim).fill(1) });
    const name = ropeTableName(config, i);
    if (name === undefined || tables.has(name)) continue;
    const columns = rotaryDim(config, i);
    tables.set(name, { shape: [ctx, columns], data: ropeTable(layerRope(config, i)!, columns, ctx) });
  }
  return tables;
}
