// An adapter from one format into the other: a PEFT folder as a GGUF file, or back. Factors of every pair go along, so
// that rsLoRA and patterns of alpha need no key of their own.

import type { OpenedModel } from "../open.ts";
import { checkAdapter, type OpenedAdapter } from "./adapter.ts";
import { finiteValues, readPair } from "./load.ts";
import { type PairToSave, type SaveAdapterOptions, saveAdapter } from "./save.ts";

/**
 * Writes an adapter of `model`: a GGUF file when the name ends in `.gguf`, else a PEFT folder.
 * @throws {TypeError} when the format cannot hold it: a GGUF adapter has no DoRA and no whole parameters
 * @throws {RangeError | TypeError} when it does not fit the model
 */
export async function convertAdapter(
  adapter: OpenedAdapter,
  model: OpenedModel,
  out: string,
  { signal }: SaveAdapterOptions = {},
): Promise<void> {
  checkAdapter(adapter, model);
  const cannot = (tensor: string, what: string) => {
    throw new TypeError(
      `Cannot convert adapter ${JSON.stringify(adapter.name)}: tensor ${JSON.stringify(tensor)} ${what}, wanted pairs of linears alone; pith fuse merges it into the model`,
    );
  };
  for (const { a } of adapter.embeddings.values()) cannot(a.name, "changes the embedding");
  for (const { name } of adapter.saved.values()) cannot(name, "is a whole parameter");
  const pairs = new Map<string, PairToSave>();
  for (const [path, pair] of adapter.pairs) {
    signal?.throwIfAborted();
    const { rank, scale, magnitude } = pair;
    const values = await readPair(adapter, pair, path, model);
    const m = magnitude && { magnitude: await finiteValues(magnitude) };
    pairs.set(path, { ...values, rank, alpha: scale * rank, ...m });
  }
  const base_model_name_or_path = adapter.madeFor ?? model.name;
  await saveAdapter(out, { base_model_name_or_path, pairs }, model, signal ? { signal } : {});
}
