// Opening a model: headers only. Gives its config, its tensors under Hugging Face's names, and its tokenizer when
// asked for; no weight is read.

import { join } from "node:path";
import type { WeightSource } from "../engine/backend.ts";
import { isWeightType } from "../engine/weights.ts";
import {
  asWeight,
  type GgufFile,
  openFile,
  packedScheme,
  readGguf,
  readSafetensorsFolder,
  readTensorValues,
  type SafetensorsFolder,
  type TensorInfo,
  unpackTensors,
} from "../formats/index.ts";
import { exists } from "../formats/source.ts";
import { loadTokenizerFolder, loadTokenizerGguf, type Tokenizer } from "../tokenizer/index.ts";
import { type Config, type GenerationConfig, parseConfig, parseGenerationConfig } from "./config.ts";
import type { Definition } from "./definition.ts";
import { parseFields } from "./fields.ts";
import { configFromGguf, ggufDefinition, ROPE_TENSORS, type RopeTensors } from "./gguf-config.ts";
import { fromGgufName, interleavedHeads } from "./gguf-names.ts";
import { definitionOf } from "./registry.ts";
import { type ResolvedModel, resolveModel } from "./resolve.ts";
import { MEAN, readSentenceConfig, type SentenceConfig, sentenceFromGguf } from "./sentence.ts";
import { fromStored, type StoredForm } from "./stored.ts";

/** A model whose headers are read. Its files stay open until `close`. */
export interface OpenedModel {
  /** What errors call it: its path. */
  readonly name: string;
  readonly kind: "folder" | "gguf";
  readonly config: Config;
  readonly definition: Definition;
  readonly generationConfig: GenerationConfig;
  /** Tensors under Hugging Face's names; `q_proj` and `k_proj` of a GGUF llama as the file has them: see `weightSource`. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Tensors in the files that the model has no use for, under the file's names. */
  readonly unused: readonly string[];
  /** The folder with the tokenizer's files, where that is not the model's own. */
  readonly tokenizerFolder?: string;
  /** How an encoder's hidden states become vectors of texts. */
  readonly sentence?: SentenceConfig;
  /** The header, of a GGUF file. */
  readonly gguf?: GgufFile;
  /** Loads the tokenizer, once. @throws {Error} when the model has none that can be read. */
  tokenizer(): Promise<Tokenizer>;
  close(): Promise<void>;
}

/**
 * Opens a model by path or hub name (see `resolveModel`).
 * @throws {Error} that names the file, the field, the value found and the value wanted.
 */
export async function openModel(nameOrPath: string): Promise<OpenedModel> {
  const resolved = await resolveModel(nameOrPath);
  return resolved.kind === "gguf" ? openGguf(resolved) : openFolder(resolved);
}

async function openFolder({ path }: ResolvedModel): Promise<OpenedModel> {
  const configFile = join(path, "config.json");
  const configText = await readText(configFile);
  const config = parseConfig(configFile, configText);
  const definition = definitionOf(config.model_type, configFile);
  const generationFile = join(path, "generation_config.json");
  const generationConfig = (await exists(generationFile))
    ? parseGenerationConfig(generationFile, await readText(generationFile))
    : { eos_token_id: [] };
  const sentence = definition.encoder && ((await readSentenceConfig(path, readIn(path))) ?? MEAN);
  const weights = await readWeights(path, configFile, configText);
  const { tensors: found, unused } = sortTensors(definition, config, weights.tensors, (name) =>
    definition.parameterName ? definition.parameterName(name) : name,
  );
  const tensors = fromStoredForms(found, (name) => definition.stored?.(name));
  return {
    name: path,
    kind: "folder",
    config,
    definition,
    generationConfig: withSpecialTokens(generationConfig, config),
    tensors,
    unused,
    ...(sentence && { sentence }),
    tokenizer: once(() => loadTokenizerFolder(path)),
    close: () => weights.close(),
  };
}

function fromStoredForms(
  found: ReadonlyMap<string, TensorInfo>,
  formOf: (name: string) => StoredForm | undefined,
): Map<string, TensorInfo> {
  return new Map(
    [...found].map(([name, tensor]) => {
      const form = formOf(name);
      return [name, form ? fromStored(tensor, form) : tensor];
    }),
  );
}

/** The tensors of a folder; packed matrices (GPTQ, AWQ, compressed-tensors) as tensors of a weight type. */
async function readWeights(path: string, configFile: string, configText: string): Promise<SafetensorsFolder> {
  const packing = parseFields(configFile, configText).value("quantization_config");
  const scheme = packing === undefined ? undefined : packedScheme(configFile, packing);
  const weights = await readSafetensorsFolder(path);
  if (!scheme) return weights;
  try {
    return { ...weights, tensors: await unpackTensors(path, weights.tensors, scheme) };
  } catch (error) {
    await weights.close();
    throw error;
  }
}

async function openGguf({ path }: ResolvedModel): Promise<OpenedModel> {
  const source = await openFile(path);
  try {
    const gguf = await readGguf(source);
    const definition = ggufDefinition(gguf);
    const config = configFromGguf(gguf, await ropeTensors(gguf));
    const { tensors: found, unused } = sortTensors(definition, config, gguf.tensors, (name) =>
      fromGgufName(definition.gguf.names, name),
    );
    const tensors = fromStoredForms(found, (name) => definition.gguf.stored?.(name));
    return {
      name: path,
      kind: "gguf",
      config,
      definition,
      generationConfig: withSpecialTokens({ eos_token_id: [] }, config),
      tensors,
      unused: unused.filter((name) => !(ROPE_TENSORS as readonly string[]).includes(name)),
      gguf,
      ...(definition.encoder && { sentence: sentenceFromGguf(gguf, definition.gguf.architecture) }),
      tokenizer: once(async () => loadTokenizerGguf(gguf)),
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** As many as half of the largest head: a header may claim more, which must not be read. */
const MAX_ROPE_FACTORS = 2048;

async function ropeTensors(gguf: GgufFile): Promise<RopeTensors> {
  const found: Record<string, readonly number[]> = {};
  for (const name of ROPE_TENSORS) {
    const tensor = gguf.tensors.get(name);
    if (!tensor) continue;
    const [count = 1, ...more] = tensor.shape;
    if (more.length > 0 || count > MAX_ROPE_FACTORS)
      throw new RangeError(
        `Cannot read ${JSON.stringify(gguf.name)}: tensor "${name}" has shape [${tensor.shape}], wanted one dimension of at most ${MAX_ROPE_FACTORS}`,
      );
    found[name] = Array.from(await readTensorValues(tensor));
  }
  return found;
}

/** Tensors the model wants, under its names, and the others. */
function sortTensors(
  definition: Definition,
  config: Config,
  found: ReadonlyMap<string, TensorInfo>,
  toName: (name: string) => string | undefined,
) {
  const wanted = definition.params(config);
  const tensors = new Map<string, TensorInfo>();
  const unused: string[] = [];
  for (const [fileName, tensor] of found) {
    const name = toName(fileName);
    if (name !== undefined && wanted.has(name)) tensors.set(name, tensor);
    // Tables of cosines that old checkpoints carry: not parameters.
    else if (!fileName.endsWith(".rotary_emb.inv_freq")) unused.push(fileName);
  }
  return { tensors, unused };
}

/** Special tokens of config.json stand where generation_config.json gives none. */
function withSpecialTokens(generation: GenerationConfig, config: Config): GenerationConfig {
  const bos = generation.bos_token_id ?? config.bos_token_id;
  const pad = generation.pad_token_id ?? config.pad_token_id;
  return {
    ...generation,
    ...(bos !== undefined && { bos_token_id: bos }),
    ...(pad !== undefined && { pad_token_id: pad }),
    eos_token_id: [...new Set([...generation.eos_token_id, ...config.eos_token_id])],
  };
}

/**
 * Checks that every parameter is there, of a type that the engine computes with and of the config's shape.
 * @throws {RangeError | TypeError} naming the first that is not.
 */
export function checkTensors(model: Pick<OpenedModel, "name" | "config" | "definition" | "tensors">): void {
  for (const [name, shape] of model.definition.params(model.config)) {
    const tensor = model.tensors.get(name);
    if (!tensor)
      throw new RangeError(
        `Cannot load ${JSON.stringify(model.name)}: tensor ${JSON.stringify(name)} is missing, wanted with shape [${shape.join(", ")}]`,
      );
    if (tensor.shape.join() !== shape.join())
      throw new RangeError(
        `Cannot load ${JSON.stringify(model.name)}: tensor ${JSON.stringify(name)} has shape [${tensor.shape.join(", ")}], wanted [${shape.join(", ")}] by its config`,
      );
    asWeight(tensor);
  }
}

/** Where a parameter lies and how, for a backend. @throws {TypeError | RangeError} as `checkTensors`. */
export function weightSource(model: OpenedModel, name: string): WeightSource {
  const tensor = model.tensors.get(name);
  if (!tensor)
    throw new RangeError(
      `Cannot load ${JSON.stringify(model.name)}: tensor ${JSON.stringify(name)} is missing`,
    );
  const { type, shape, offset, bytes, source } = asWeight(tensor);
  const heads =
    model.kind === "gguf" ? interleavedHeads(model.definition.gguf, model.config, name) : undefined;
  return { name, source, offset, bytes, type, shape, ...(heads && { interleavedHeads: heads }) };
}

/** Types and shapes of the parameters whose type the engine knows. */
export function weightShapes(model: OpenedModel) {
  return [...model.tensors.values()].flatMap(({ type, shape }) =>
    isWeightType(type) ? [{ type, shape }] : [],
  );
}

/** No config or template comes near this; a larger file is refused unread. */
const MAX_TEXT_BYTES = 16 * 2 ** 20;

async function readText(path: string): Promise<string> {
  const source = await openFile(path);
  try {
    if (source.size > MAX_TEXT_BYTES)
      throw new RangeError(
        `Cannot read ${JSON.stringify(path)}: it has ${source.size} bytes, wanted at most ${MAX_TEXT_BYTES}`,
      );
    return new TextDecoder().decode(await source.read(0, source.size));
  } finally {
    await source.close();
  }
}

/** Tokens that end a text: the tokenizer's and the generation config's. */
export function endTokens(
  tokenizer: Tokenizer,
  { generationConfig }: Pick<OpenedModel, "generationConfig">,
): number[] {
  return [...new Set([...tokenizer.eosIds, ...generationConfig.eos_token_id])];
}

const readIn = (folder: string) => async (name: string) => {
  const path = join(folder, name);
  return (await exists(path)) ? readText(path) : undefined;
};

export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
