// The measures of a model that pruning changes: those asked for, checked; and the config that has them.

import type { Config, Definition } from "../models/index.ts";

/** What a model has of each. */
export interface Sizes {
  readonly layers: number;
  /** `hidden_size` */
  readonly hidden: number;
  /** `intermediate_size` */
  readonly ffn: number;
  /** `num_attention_heads` */
  readonly heads: number;
  /** `num_key_value_heads` */
  readonly kv_heads: number;
}

export function sizesOf(config: Config): Sizes {
  return {
    layers: config.num_hidden_layers,
    hidden: config.hidden_size,
    ffn: config.intermediate_size,
    heads: config.num_attention_heads,
    kv_heads: config.num_key_value_heads,
  };
}

/**
 * The sizes that are asked for, the others as they are. Heads without `kv_heads`: whole groups of query heads go where
 * their number allows it, with their key and value head; else as many go from each group.
 * @throws {RangeError} naming the size, what was found and what would do
 */
export function checkSizes(name: string, config: Config, asked: Partial<Sizes>): Sizes {
  const own = sizesOf(config);
  const cannot = `Cannot prune ${JSON.stringify(name)} to `;
  for (const key of Object.keys(own) as (keyof Sizes)[]) {
    const value = asked[key];
    if (value === undefined) continue;
    if (!(Number.isInteger(value) && value >= 1 && value <= own[key]))
      throw new RangeError(
        `${cannot}${NAMES[key]} ${value}: wanted a whole number from 1 to ${own[key]}, which it has`,
      );
  }
  const heads = asked.heads ?? groupsOf(own, asked.kv_heads);
  const kv_heads = asked.kv_heads ?? kvOf(own, heads);
  if (heads % kv_heads !== 0 || heads / kv_heads > own.heads / own.kv_heads)
    throw new RangeError(
      `${cannot}${heads} heads with ${kv_heads} of keys and values: wanted for each of those as many query heads, 1 to ${own.heads / own.kv_heads}; ${advice(own, heads)}`,
    );
  return { ...own, ...asked, heads, kv_heads };
}

const NAMES: Readonly<Record<keyof Sizes, string>> = {
  layers: "num_hidden_layers",
  hidden: "hidden_size",
  ffn: "intermediate_size",
  heads: "num_attention_heads",
  kv_heads: "num_key_value_heads",
};

const groupsOf = (own: Sizes, kv_heads = own.kv_heads) => (own.heads / own.kv_heads) * kv_heads;

function kvOf(own: Sizes, heads: number): number {
  const group = own.heads / own.kv_heads;
  if (heads % group === 0) return heads / group;
  return own.kv_heads;
}

/** Numbers of heads near the one that was asked for. */
function advice(own: Sizes, heads: number): string {
  const group = own.heads / own.kv_heads;
  const good = Array.from({ length: own.heads }, (_, i) => i + 1)
    .filter((n) => n % group === 0 || n % own.kv_heads === 0)
    .sort((a, b) => Math.abs(a - heads) - Math.abs(b - heads))
    .slice(0, 3);
  return `heads that go without a number for these: ${good.sort((a, b) => a - b).join(", ")}`;
}

/** What quantized types ask of a matrix's columns: 256 for K-quants, 32 for the others. 1: neither. */
export function multiple(size: number): 256 | 32 | 1 {
  if (size % 256 === 0) return 256;
  return size % 32 === 0 ? 32 : 1;
}

/** The unit in which a width is cut where nobody says how much: of the multiples that it is, the largest of a quarter at most. */
export function unitOf(size: number): number {
  return [256, 32, 8].find((unit) => size % unit === 0 && 4 * unit <= size) ?? 1;
}

/** What should be known of the new sizes: those that types of fewer bits could hold before, and cannot now. */
export function sizeNotes(before: Sizes, after: Sizes): string[] {
  return (["hidden", "ffn"] as const).flatMap((key) => {
    const [was, is] = [multiple(before[key]), multiple(after[key])];
    if (is >= was) return [];
    const near = Math.max(was, Math.round(after[key] / was) * was);
    const types = is === 1 ? "q8_0, q4_0 and K-quants" : "K-quants";
    return [`${NAMES[key]} ${after[key]} is no multiple of ${was}, which ${types} want; ${near} would be`];
  });
}

/** The config of what stays: heads keep their size. @param layers numbers of the old layers that stay */
export function shrunk(config: Config, sizes: Sizes, layers: readonly number[]): Config {
  const { layer_types, no_rope_layers } = config;
  return {
    ...config,
    hidden_size: sizes.hidden,
    intermediate_size: sizes.ffn,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kv_heads,
    ...(layer_types && { layer_types: layers.map((i) => layer_types[i]!) }),
    ...(no_rope_layers && { no_rope_layers: layers.map((i) => no_rope_layers[i]!) }),
  };
}

/** Elements of all parameters. */
export function parameterCount(definition: Definition, config: Config): number {
  return [...definition.params(config).values()].reduce(
    (sum, shape) => sum + shape.reduce((a, b) => a * b, 1),
    0,
  );
}
