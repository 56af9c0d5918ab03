// Adapters of tiny models whose logits peft computed: test/golden/adapters.json has their configs and the names and
// shapes of their tensors; the values come from the names, here and in test/golden/adapters.py.
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeSafetensors } from "../../src/formats/index.ts";
import type { PlainConfig } from "./plain-forward.ts";
import { TINY, tinyWeights } from "./tiny-models.ts";

export type TinyType = "llama" | "qwen2";
/** transformers asks for a hidden size that the number of heads divides. */
export const TINY_BASES: Record<TinyType, PlainConfig> = {
  llama: { ...TINY.llama, num_attention_heads: 4, head_dim: 12 },
  qwen2: TINY.qwen2,
};

type Logits = Record<string, number[]>;
export interface Golden {
  adapters: Record<
    string,
    { config: Record<string, unknown>; tensors: Record<string, number[]>; logits: Logits }
  >;
  several: Record<string, { parts: [adapter: string, scale: number][]; logits: Logits }>;
}
export const GOLDEN: Record<TinyType, Golden> = JSON.parse(
  readFileSync(new URL("../golden/adapters.json", import.meta.url), "utf8"),
);
/** Tokens that the logits are of. */
export const GOLDEN_IDS = 40;

/** Values from a name: as `fill` of adapters.py. */
export function fill(name: string, shape: readonly number[]): Float32Array {
  let seed = 7;
  for (const c of name) seed = (Math.imul(seed, 31) + c.charCodeAt(0)) >>> 0;
  const [mean, spread] = /magnitude|norm/.test(name) ? [1.5, 0.5] : [0, 0.4];
  const count = shape.reduce((a, b) => a * b, 1);
  return Float32Array.from({ length: count }, () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    const u = ((seed >>> 8) / 2 ** 24) * 2 - 1;
    return Math.floor((mean + spread * u) * 4096 + 0.5) / 4096;
  });
}

/** Writes an adapter of the golden file as a PEFT folder. */
export async function writeTinyAdapter(folder: string, type: TinyType, name: string): Promise<string> {
  const { config, tensors } = GOLDEN[type].adapters[name]!;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify(config));
  const base = tinyWeights(TINY_BASES[type]);
  const list = Object.entries(tensors).map(([key, shape]) => {
    const copied = /^base_model\.model\.(.*)\.base_layer\.weight$/.exec(key)?.[1];
    const own = copied === "lm_head" && TINY_BASES[type].tie_word_embeddings ? "model.embed_tokens" : copied;
    const source = config.ensure_weight_tying ? key.replace("lm_head", "model.embed_tokens") : key;
    const data = own === undefined ? fill(source, shape) : base.get(`${own}.weight`)!.data;
    return { name: key, type: "f32" as const, shape, data: async () => new Uint8Array(data.buffer) };
  });
  await writeSafetensors(join(folder, "adapter_model.safetensors"), list);
  return folder;
}
