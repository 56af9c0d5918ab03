// Writing adapters: a PEFT folder, which peft, vLLM and pith open, or a GGUF file, which llama.cpp and pith open.

import { mkdir } from "node:fs/promises";
import { extname, join } from "node:path";
import {
  type GgufValue,
  type TensorToWrite,
  writeFileAtomic,
  writeGguf,
  writeSafetensors,
} from "../../formats/index.ts";
import type { Config } from "../config.ts";
import type { Definition } from "../definition.ts";
import { interleavedHeads, liesOtherwise, moveRows, toGgufName } from "../gguf-names.ts";
import { linearTargets } from "../targets.ts";
import { PEFT_CONFIG, PEFT_WEIGHTS } from "./peft.ts";

/** The change of one linear: ΔW = alpha / rank · B A (alpha / √rank with `use_rslora`). */
export interface PairToSave {
  /** [rank, K] */
  readonly a: Float32Array;
  /** [N, rank] */
  readonly b: Float32Array;
  readonly rank: number;
  readonly alpha: number;
  /** [N]: DoRA. All pairs of an adapter have one, or none. */
  readonly magnitude?: Float32Array;
}

export interface AdapterToSave {
  /** The model it belongs to, as a hub name or path. */
  readonly base_model_name_or_path: string;
  readonly use_rslora?: boolean;
  /** By the path of the linear. */
  readonly pairs: ReadonlyMap<string, PairToSave>;
  /** Whole parameters in place of the base's, by name. PEFT folders only. */
  readonly saved?: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>;
  readonly lora_dropout?: number;
}

export interface SaveAdapterOptions {
  readonly signal?: AbortSignal;
}

/**
 * Writes an adapter of `model`: a GGUF file when the name ends in `.gguf`, else a PEFT folder. What is there is replaced.
 * @throws {RangeError | TypeError} on values that do not fit the model, or that the format cannot hold
 */
export async function saveAdapter(
  path: string,
  adapter: AdapterToSave,
  model: { readonly config: Config; readonly definition: Definition },
  { signal }: SaveAdapterOptions = {},
): Promise<void> {
  check(path, adapter, model);
  if (extname(path).toLowerCase() === ".gguf") await saveGgufAdapter(path, adapter, model, signal);
  else await savePeft(path, adapter, model, signal);
}

function check(
  path: string,
  { pairs, saved }: AdapterToSave,
  { config, definition }: { config: Config; definition: Definition },
): void {
  const fail = (what: string) => {
    throw new RangeError(`Cannot write adapter ${JSON.stringify(path)}: ${what}`);
  };
  const targets = linearTargets(definition, config);
  if (pairs.size + (saved?.size ?? 0) === 0) fail("it has no tensor, wanted at least one");
  const dora = [...pairs.values()].filter(({ magnitude }) => magnitude).length;
  if (dora !== 0 && dora !== pairs.size) fail(`${dora} of ${pairs.size} pairs have a magnitude, wanted all`);
  for (const [linear, { a, b, rank, magnitude }] of pairs) {
    const target = targets.get(linear);
    if (!target) fail(`${JSON.stringify(linear)} is no linear of the model`);
    const format = path.toLowerCase().endsWith(".gguf") ? "gguf" : "peft";
    if (liesOtherwise(definition.gguf, config, linear, format))
      fail(
        `${JSON.stringify(linear)} has its heads in another order than in the model, wanted a ${format === "gguf" ? "folder" : "GGUF file"}`,
      );
    const { N, K } = target!;
    if (a.length !== rank * K || b.length !== N * rank || (magnitude && magnitude.length !== N))
      fail(
        `${JSON.stringify(linear)} has ${a.length} and ${b.length} values, wanted [${rank}, ${K}] and [${N}, ${rank}]`,
      );
  }
}

async function savePeft(
  folder: string,
  adapter: AdapterToSave,
  model: { config: Config; definition: Definition },
  signal: AbortSignal | undefined,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const tensors: TensorToWrite[] = [];
  const add = (name: string, shape: readonly number[], data: Float32Array) =>
    tensors.push({ name: `base_model.model.${name}`, type: "f32", shape, data: async () => bytesOf(data) });
  for (const [path, { a, b, rank, magnitude }] of adapter.pairs) {
    add(`${path}.lora_A.weight`, [rank, a.length / rank], a);
    add(`${path}.lora_B.weight`, [b.length / rank, rank], b);
    if (magnitude) add(`${path}.lora_magnitude_vector`, [magnitude.length], magnitude);
  }
  for (const [name, { shape, data }] of adapter.saved ?? []) add(name, shape, data);
  const options = signal ? { signal } : {};
  await writeSafetensors(join(folder, PEFT_WEIGHTS), tensors, options);
  // The hub shows it, and refuses a folder without it.
  const card = `---\nbase_model: ${JSON.stringify(adapter.base_model_name_or_path)}\nlibrary_name: peft\npipeline_tag: text-generation\ntags:\n- lora\n- pith\n---\n\nA PEFT adapter made by pith.\n`;
  await writeFileAtomic(join(folder, "README.md"), card, signal);
  const config = `${JSON.stringify(peftConfig(adapter, model), null, 2)}\n`;
  await writeFileAtomic(join(folder, PEFT_CONFIG), config, signal);
}

/** Fields with other values than PEFT's defaults: an older PEFT refuses those that it does not know. */
function peftConfig(
  { base_model_name_or_path, use_rslora, lora_dropout, pairs, saved }: AdapterToSave,
  { config, definition }: { config: Config; definition: Definition },
): object {
  const all = [...pairs];
  const r = most(all.map(([, { rank }]) => rank)) ?? 8;
  const lora_alpha = most(all.map(([, { alpha }]) => alpha)) ?? 8;
  const pattern = (value: (pair: PairToSave) => number, usual: number) => {
    const others = all.filter(([, pair]) => value(pair) !== usual);
    return Object.fromEntries(others.map(([path, pair]) => [path, value(pair)]));
  };
  const rank_pattern = pattern(({ rank }) => rank, r);
  const alpha_pattern = pattern(({ alpha }) => alpha, lora_alpha);
  const modules = [
    ...new Set([...(saved?.keys() ?? [])].map((name) => name.replace(/\.(weight|bias)$/, ""))),
  ];
  return {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path,
    inference_mode: true,
    r,
    lora_alpha,
    lora_dropout: lora_dropout ?? 0,
    target_modules: shortNames([...pairs.keys()], [...linearTargets(definition, config).keys()]),
    bias: "none",
    ...(use_rslora && { use_rslora }),
    ...(all.some(([, { magnitude }]) => magnitude) && { use_dora: true }),
    ...(Object.keys(rank_pattern).length > 0 && { rank_pattern }),
    ...(Object.keys(alpha_pattern).length > 0 && { alpha_pattern }),
    ...(modules.length > 0 && { modules_to_save: modules }),
  };
}

/** The last parts of the paths where these name them and no others, else the paths. */
function shortNames(paths: readonly string[], all: readonly string[]): string[] {
  const last = (path: string) => path.slice(path.lastIndexOf(".") + 1);
  const chosen = new Set(paths);
  const names = new Set<string>();
  for (const path of paths) {
    const name = last(path);
    names.add(all.every((other) => last(other) !== name || chosen.has(other)) ? name : path);
  }
  return [...names];
}

function most(values: readonly number[]): number | undefined {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}

/** One alpha for all: what a pair's own scale is beside alpha / rank goes into its B. */
async function saveGgufAdapter(
  path: string,
  adapter: AdapterToSave,
  { config, definition }: { config: Config; definition: Definition },
  signal: AbortSignal | undefined,
): Promise<void> {
  const cannot = (what: string) => {
    throw new TypeError(
      `Cannot write adapter ${JSON.stringify(path)}: a GGUF adapter has no ${what}, wanted a folder; or merge it with pith fuse`,
    );
  };
  if (adapter.saved && adapter.saved.size > 0) cannot("whole parameters");
  const tensors: TensorToWrite[] = [];
  const pairs = [...adapter.pairs];
  // With rsLoRA the factor is alpha / √rank: as alpha · √rank / rank.
  const alphaOf = ({ alpha, rank }: PairToSave) => (adapter.use_rslora ? alpha * Math.sqrt(rank) : alpha);
  const alpha = Math.fround(most(pairs.map(([, pair]) => alphaOf(pair))) || 1);
  for (const [linear, pair] of pairs) {
    if (pair.magnitude) cannot("magnitudes (DoRA)");
    const { a, rank } = pair;
    const name = toGgufName(definition.gguf.names, `${linear}.weight`);
    if (name === undefined) cannot(`name for ${JSON.stringify(linear)}`);
    const factor = alphaOf(pair) / alpha;
    let b = factor === 1 ? pair.b : pair.b.map((x) => x * factor);
    const heads = interleavedHeads(definition.gguf, config, `${linear}.weight`);
    if (heads !== undefined)
      b = new Float32Array(moveRows(bytesOf(b), b.length / rank, heads, "gguf").buffer);
    const add = (part: string, shape: number[], data: Float32Array) =>
      tensors.push({ name: `${name}.lora_${part}`, type: "f32", shape, data: async () => bytesOf(data) });
    add("a", [rank, a.length / rank], a);
    add("b", [b.length / rank, rank], b);
  }
  const string = (value: string) => ({ type: "string" as const, value });
  await writeGguf(path, {
    metadata: new Map<string, GgufValue>([
      ["general.architecture", string(definition.gguf.architecture)],
      ["general.type", string("adapter")],
      ["general.base_model.0.name", string(adapter.base_model_name_or_path)],
      ["adapter.type", string("lora")],
      ["adapter.lora.alpha", { type: "float32" as const, value: alpha }],
    ]),
    tensors,
    ...(signal && { signal }),
  });
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
