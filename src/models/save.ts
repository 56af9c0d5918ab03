// Saving: a config, parameters and a tokenizer as one GGUF file or as a Hugging Face folder. Tensors are streamed.
// What is at the target is replaced only when all of the new is written.

import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import type { WeightType } from "../engine/weights.ts";
import {
  type GgufValue,
  type TensorToWrite,
  type WriteProgress,
  writeFileAtomic,
  writeGguf,
  writeSafetensors,
} from "../formats/index.ts";
import { type Tokenizer, tokenizerToGguf, tokenizerToJson } from "../tokenizer/index.ts";
import { type Config, configToJson, type GenerationConfig } from "./config.ts";
import type { Definition } from "./definition.ts";
import { configToGguf } from "./gguf-config.ts";
import { toGgufName } from "./gguf-names.ts";
import { ropeFactors } from "./rope.ts";
import { encodeRows, type RowSource } from "./rows.ts";
import { poolingType, type SentenceConfig, sentenceFiles } from "./sentence.ts";
import { storedShape, toStored } from "./stored.ts";

/** A model to be written. */
export interface ModelToSave {
  readonly config: Config;
  readonly definition: Definition;
  readonly generationConfig: GenerationConfig;
  /** `general.name` of a GGUF file. */
  readonly name: string;
  /** Every parameter of the definition, with the type it is written in. */
  readonly parameters: readonly SavedParameter[];
  /** Of config.json: how packed parameters lie. */
  readonly quantization_config?: object;
  readonly tokenizer?: Tokenizer;
  readonly sentence?: SentenceConfig;
}

export interface SavedParameter {
  readonly source: RowSource;
  readonly type: WeightType;
  /** Its bytes in that type, rows and columns in a target's order, in pieces. Absent: they are made of the source's rows. */
  readonly encoded?: (order: RowSource["order"]) => AsyncIterable<Uint8Array>;
  /** In a folder: tensors that take its place. */
  readonly packed?: readonly TensorToWrite[];
}

export interface SaveOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WriteProgress) => void;
}

/** GGUF's numbers for "most matrices are of this type". */
const FILE_TYPES: Readonly<Partial<Record<WeightType, number>>> = {
  f32: 0,
  f16: 1,
  q4_0: 2,
  q4_1: 3,
  q8_0: 7,
  q5_0: 8,
  q5_1: 9,
  q2_k: 10,
  q3_k: 12,
  q4_k: 15,
  q5_k: 17,
  q6_k: 18,
  iq4_nl: 25,
  iq4_xs: 30,
  bf16: 32,
  tq1_0: 36,
  tq2_0: 37,
  mxfp4: 38,
};
/** Of the block layouts; the only version there is. */
const QUANTIZATION_VERSION = 2;

/**
 * Writes a GGUF file that llama.cpp opens.
 * @param metadata replaces what config and tokenizer would give, but for the types of the weights
 * @throws {TypeError} when GGUF cannot state the config. Others as `writeGguf`.
 */
export async function saveGguf(
  path: string,
  model: ModelToSave,
  { signal, onProgress }: SaveOptions = {},
  metadata: Iterable<readonly [string, GgufValue]> = ggufMetadata(model),
): Promise<void> {
  const { config } = model;
  const { gguf } = model.definition;
  const tensors: TensorToWrite[] = model.parameters.map(({ source, type, encoded }) => {
    const { name, shape } = source;
    const form = gguf.stored?.(name);
    const rows = () => encoded?.("gguf") ?? encodeRows(source, type, "gguf", gguf, config);
    const data = () => (form ? toStored(rows(), type, shape, form) : rows());
    return { name: toGgufName(gguf.names, name)!, type, shape: storedShape(shape, form), data };
  });
  for (const [name, factors] of ropeTensors(config, model.definition)) {
    const data = async () => new Uint8Array(Float32Array.from(factors).buffer);
    tensors.push({ name, type: "f32", shape: [factors.length], data });
  }
  const all = new Map(metadata);
  all.set("general.file_type", { type: "uint32", value: FILE_TYPES[mainType(model)] ?? 0 });
  all.set("general.quantization_version", { type: "uint32", value: QUANTIZATION_VERSION });
  await writeGguf(path, {
    metadata: all,
    tensors,
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  });
}

function ggufMetadata(model: ModelToSave): Map<string, GgufValue> {
  const { config, tokenizer, sentence } = model;
  const pooling = sentence && poolingType(sentence);
  if (sentence && pooling === undefined)
    throw new TypeError(
      `Cannot write ${JSON.stringify(model.name)} as GGUF: it pools by ${sentence.pooling.join(" and ")}, wanted mean, cls or lasttoken, which GGUF can state`,
    );
  const key = `${model.definition.gguf.architecture}.pooling_type`;
  return new Map<string, GgufValue>([
    ...configToGguf(config, model.name),
    ...(pooling === undefined ? [] : [[key, { type: "uint32", value: pooling }] as const]),
    ...(config.type_vocab_size === undefined
      ? []
      : [["tokenizer.ggml.token_type_count", { type: "uint32", value: config.type_vocab_size }] as const]),
    ...(tokenizer ? tokenizerToGguf(tokenizer, config.vocab_size) : []),
  ]);
}

/** Architectures for which llama.cpp reads llama3's divisors as a tensor. */
const WITH_ROPE_FREQS = ["llama", "granite"];
/** What llama.cpp's files have as the divisor of a pair that does not turn. */
const UNTURNED = 1e30;

function ropeTensors(config: Config, { gguf }: Definition): [string, ArrayLike<number>][] {
  const { rope, head_dim } = config;
  const scaling = rope?.scaling;
  if (rope && gguf.rope_freqs) {
    const factors = ropeFactors(rope, config.global_heads?.head_dim ?? head_dim);
    return [["rope_freqs.weight", factors.map((x) => Math.min(x, UNTURNED))]];
  }
  if (!rope || !scaling) return [];
  switch (scaling.rope_type) {
    case "longrope":
      return [
        ["rope_factors_long.weight", scaling.long_factor],
        ["rope_factors_short.weight", scaling.short_factor],
      ];
    case "llama3":
    case "proportional":
    case "factors":
      if (!WITH_ROPE_FREQS.includes(gguf.architecture))
        throw new TypeError(
          `Cannot write a ${gguf.architecture} model with ${scaling.rope_type} rope scaling as GGUF: llama.cpp reads it for ${WITH_ROPE_FREQS.join(" and ")} alone`,
        );
      return [["rope_freqs.weight", ropeFactors(rope, rope.rotary_dim ?? head_dim)]];
    default:
      return [];
  }
}

/** The type of most of the matrices' elements. */
export function mainType(model: Pick<ModelToSave, "parameters">): WeightType {
  const elements = new Map<WeightType, number>();
  for (const { source, type } of model.parameters) {
    if (source.shape.length < 2) continue;
    elements.set(type, (elements.get(type) ?? 0) + source.shape.reduce((a, b) => a * b, 1));
  }
  return [...elements].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "f32";
}

const DTYPES = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const;
/** As transformers splits its files. */
const MAX_SHARD_BYTES = 5e9;

/**
 * Writes a folder that transformers opens: config.json, generation_config.json, safetensors, and tokenizer files.
 * A folder that is there keeps its other files.
 * @param extra more files by name: those of a tokenizer that need no conversion
 */
export async function saveFolder(
  path: string,
  model: ModelToSave,
  { signal, onProgress }: SaveOptions = {},
  extra: ReadonlyMap<string, Uint8Array> = new Map(),
): Promise<void> {
  const { config, definition, generationConfig } = model;
  const main = mainType({ parameters: model.parameters.filter(({ packed }) => !packed) });
  if (!(main in DTYPES))
    throw new TypeError(`Cannot write ${JSON.stringify(path)} as ${main}: a folder wants f32, f16 or bf16`);
  const dtype = DTYPES[main as keyof typeof DTYPES];
  const files = new Map<string, string | Uint8Array>([
    // transformers takes no whole number for this one.
    [
      "config.json",
      json({
        ...configToJson(config, definition.architecture, dtype),
        ...(model.quantization_config && { quantization_config: model.quantization_config }),
      }).replace(/("final_logit_softcapping": \d+)(?=[,\n])/, "$1.0"),
    ],
    ["generation_config.json", json(generationToJson(generationConfig))],
  ]);
  if (model.tokenizer) {
    const { tokenizer, config: tokenizerConfig } = tokenizerToJson(model.tokenizer);
    files.set("tokenizer.json", json(tokenizer)).set("tokenizer_config.json", json(tokenizerConfig));
  }
  if (model.sentence)
    for (const [name, content] of sentenceFiles(model.sentence, config.hidden_size))
      files.set(name, json(content));
  for (const [name, bytes] of extra) files.set(name, bytes);

  await mkdir(dirname(path), { recursive: true });
  const beside = await mkdtemp(join(dirname(path), `.${basename(path)}.`));
  try {
    // Within, since a folder of mkdtemp is its owner's alone.
    const staging = join(beside, "new");
    await mkdir(staging);
    const tensors: TensorToWrite[] = model.parameters.flatMap(({ source, type, encoded, packed }) => {
      if (packed) return packed;
      const { name, shape } = source;
      const form = definition.stored?.(name);
      const rows = () => encoded?.("hf") ?? encodeRows(source, type, "hf", definition.gguf, config);
      const data = () => (form ? toStored(rows(), type, shape, form) : rows());
      return [{ name, type, shape: storedShape(shape, form), data }];
    });
    const options = {
      maxShardBytes: MAX_SHARD_BYTES,
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
    };
    await writeSafetensors(join(staging, "model.safetensors"), tensors, options);
    for (const [name, content] of files) {
      await mkdir(dirname(join(staging, name)), { recursive: true });
      await writeFileAtomic(join(staging, name), content, signal);
    }
    await moveInto(staging, path);
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
}

/** Gives `staging` the name `path`; into a folder that is there, its files go one by one, config.json last. */
async function moveInto(staging: string, path: string): Promise<void> {
  const there = await readdir(path).catch(() => undefined);
  if (!there || there.length === 0) {
    await rename(staging, path);
    return;
  }
  const entries = await readdir(staging, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(staging, join(entry.parentPath, entry.name)))
    .sort((a, b) => Number(a === "config.json") - Number(b === "config.json"));
  for (const name of names) {
    await mkdir(dirname(join(path, name)), { recursive: true });
    await rename(join(staging, name), join(path, name));
  }
  const stale = there.filter((name) => WEIGHT_FILE.test(name) && !names.includes(name));
  for (const name of stale) await rm(join(path, name));
}

const WEIGHT_FILE = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;

function generationToJson({ eos_token_id, ...rest }: GenerationConfig): object {
  const eos = eos_token_id.length === 1 ? eos_token_id[0] : eos_token_id;
  return { ...rest, ...(eos_token_id.length > 0 && { eos_token_id: eos }) };
}

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;
