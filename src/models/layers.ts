// What differs from layer to layer of one model: which positions a layer sees, and by which table it rotates. Reads it
// from a config's optional fields; a model without them has equal layers.

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

/** How many of the layers before `end` attend: the number of layer `end` in the KV pool; by default all that have a place there. */
export function kvLayers({ layer_types, num_hidden_layers }: Config, end = num_hidden_layers): number {
  if (!layer_types) return end;
  return layer_types.slice(0, end).filter((type) => type === "full_attention" || type === "sliding_attention")
    .length;
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

/** Columns of a rope table: components of a head that are rotated. */
export function rotaryDim(config: Config, rope: Rope): number {
  return rope.rotary_dim ?? config.head_dim;
}

/** Every rope table that a model's layers use, by the name of its param, for sequences of up to `ctx` positions. */
export function ropeTables(
  config: Config,
  ctx: number,
): Map<string, { shape: number[]; data: Float32Array }> {
  const tables = new Map<string, { shape: number[]; data: Float32Array }>();
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const name = ropeTableName(config, i);
    if (name === undefined || tables.has(name)) continue;
    const rope = layerRope(config, i)!;
    const columns = rotaryDim(config, rope);
    tables.set(name, { shape: [ctx, columns], data: ropeTable(rope, columns, ctx) });
  }
  return tables;
}
