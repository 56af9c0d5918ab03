// Opening a PEFT folder: adapter_config.json and adapter_model.safetensors. Headers only.
//
//   base_model.model.<path>.lora_A.weight [r, K]   .lora_B.weight [N, r]   .lora_magnitude_vector [N]
//   base_model.model.<path>.lora_embedding_A [r, V]   .lora_embedding_B [C, r]
//   base_model.model.<parameter>: a whole tensor (modules_to_save, biases, embeddings)
//
// Format: https://huggingface.co/docs/peft/developer_guides/checkpoint

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { quote } from "../../formats/errors.ts";
import { openFile, readSafetensors, type Source, type TensorInfo } from "../../formats/index.ts";
import type { LoraPair, OpenedAdapter } from "./adapter.ts";
import { digestOf } from "./digest.ts";
import { type PeftConfig, parsePeftConfig } from "./peft-config.ts";

export const PEFT_CONFIG = "adapter_config.json";
export const PEFT_WEIGHTS = "adapter_model.safetensors";
const MAX_CONFIG_BYTES = 16 * 2 ** 20;
const PREFIX = "base_model.model.";

/** @throws {Error} naming the file, what was found and what was wanted */
export async function openPeft(folder: string, signal?: AbortSignal): Promise<OpenedAdapter> {
  const names = await readdir(folder);
  for (const wanted of [PEFT_CONFIG, PEFT_WEIGHTS])
    if (!names.includes(wanted)) {
      const pickle = wanted === PEFT_WEIGHTS && names.includes("adapter_model.bin");
      throw new Error(
        `Cannot open adapter ${JSON.stringify(folder)}: ${wanted} is missing; found ${
          pickle
            ? `"adapter_model.bin", a pickle, which can run code when it is opened; save it as safetensors where you trust it`
            : names.sort().slice(0, 20).map(quote).join(", ") || "an empty folder"
        }`,
      );
    }
  const configFile = await openFile(join(folder, PEFT_CONFIG));
  let weights: Source | undefined;
  try {
    if (configFile.size > MAX_CONFIG_BYTES)
      throw new RangeError(
        `Cannot read ${JSON.stringify(configFile.name)}: it has ${configFile.size} bytes, wanted at most ${MAX_CONFIG_BYTES}`,
      );
    const text = new TextDecoder().decode(await configFile.read(0, configFile.size));
    const config = parsePeftConfig(configFile.name, text);
    weights = await openFile(join(folder, PEFT_WEIGHTS));
    const { tensors } = await readSafetensors(weights);
    const sorted = sortTensors(weights.name, tensors, config);
    const digest = await digestOf([configFile, weights], signal);
    return {
      name: folder,
      format: "peft",
      digest,
      madeFor: config.base_model_name_or_path,
      ...sorted,
      tiesSaved: config.ensure_weight_tying,
      targets: config.targets,
      close: weights.close.bind(weights),
    };
  } catch (error) {
    await weights?.close();
    throw error;
  } finally {
    await configFile.close();
  }
}

type Part = "a" | "b" | "magnitude";
const PARTS: readonly [suffix: string, part: Part, embedding: boolean][] = [
  [".lora_A.weight", "a", false],
  [".lora_B.weight", "b", false],
  [".lora_magnitude_vector", "magnitude", false],
  [".lora_magnitude_vector.weight", "magnitude", false],
  [".lora_embedding_A", "a", true],
  [".lora_embedding_B", "b", true],
];

interface Found {
  readonly path: string;
  readonly embedding: boolean;
  readonly parts: Partial<Record<Part, TensorInfo>>;
}

function sortTensors(file: string, tensors: ReadonlyMap<string, TensorInfo>, config: PeftConfig) {
  const found = new Map<string, Found>();
  const saved = new Map<string, TensorInfo>();
  for (const tensor of tensors.values()) {
    if (!tensor.name.startsWith(PREFIX))
      fail(file, tensor.name, "is there", `names that begin with "${PREFIX}"`);
    const name = tensor.name.slice(PREFIX.length);
    const kind = PARTS.find(([suffix]) => name.endsWith(suffix));
    if (kind) {
      const path = name.slice(0, -kind[0].length);
      const entry = found.get(path) ?? { path, embedding: kind[2], parts: {} };
      if (
        entry.parts[kind[1]] ||
        entry.embedding !== (kind[2] || (kind[1] === "magnitude" && entry.embedding))
      )
        fail(file, tensor.name, "is there", "one A and one B for a module");
      entry.parts[kind[1]] = tensor;
      found.set(path, entry);
      continue;
    }
    if (/\.lora_|\.token_adapter\.|\.trainable_tokens_/.test(name))
      fail(
        file,
        tensor.name,
        "is there",
        "lora_A, lora_B, lora_magnitude_vector or whole parameters: it is not implemented",
      );
    // The parameter of a module that is wrapped, or of the copy that was trained in its place.
    const parameter = name.replace(/\.(base_layer|modules_to_save|original_module)(?=\.(weight|bias)$)/, "");
    if (saved.has(parameter)) fail(file, tensor.name, "is there", `${quote(parameter)} once`);
    saved.set(parameter, tensor);
  }
  const pairs = new Map<string, LoraPair>();
  const embeddings = new Map<string, LoraPair>();
  for (const entry of found.values())
    (entry.embedding ? embeddings : pairs).set(entry.path, pairOf(file, entry, config));
  if (found.size + saved.size === 0)
    throw new RangeError(`Cannot read ${JSON.stringify(file)}: found no tensor, wanted at least one`);
  return { pairs, embeddings, saved };
}

function pairOf(file: string, { path, embedding, parts }: Found, config: PeftConfig): LoraPair {
  const suffix = (part: "A" | "B") => (embedding ? `.lora_embedding_${part}` : `.lora_${part}.weight`);
  const missing = !parts.a ? suffix("A") : !parts.b ? suffix("B") : undefined;
  if (missing) fail(file, `${PREFIX}${path}${missing}`, "is missing", "both A and B");
  const { a, b, magnitude } = parts as { a: TensorInfo; b: TensorInfo; magnitude?: TensorInfo };
  if (magnitude && !config.use_dora) fail(file, magnitude.name, "is there", "none, as use_dora is false");
  if (!magnitude && config.use_dora)
    fail(file, `${PREFIX}${path}.lora_magnitude_vector`, "is missing", "it, as use_dora is true");
  const rank = config.rankOf(path);
  const alpha = config.alphaOf(path);
  const scale = alpha / (config.use_rslora ? Math.sqrt(rank) : rank);
  return { a, b, rank, scale, ...(magnitude && { magnitude }) };
}

function fail(file: string, tensor: string, found: string, wanted: string): never {
  throw new RangeError(
    `Cannot read ${JSON.stringify(file)}: tensor ${quote(tensor)} ${found}, wanted ${wanted}`,
  );
}
