// Converting: an opened model to a GGUF file or a Hugging Face folder, in another type of weights if asked.

import { readFile, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { isQuantType } from "../engine/grids.ts";
import type { WeightType } from "../engine/weights.ts";
import type { GgufValue, TensorToWrite } from "../formats/index.ts";
import type { Config } from "./config.ts";
import { checkTensors, type OpenedModel } from "./open.ts";
import { parameterRows, type RowSource, SAVE_TYPES, type SaveType, typeFor } from "./rows.ts";
import { mainType, type SaveOptions, saveFolder, saveGguf } from "./save.ts";

export interface ConvertOptions extends SaveOptions {
  /** Type of the matrices; norms and biases stay f32. Default: the type each has, f16 where a folder cannot hold it. */
  readonly type?: SaveType;
  /** Replace what is at the target. */
  readonly overwrite?: boolean;
}

export interface ConvertResult {
  readonly path: string;
  readonly format: "gguf" | "folder";
  /** Type of most of the weights. */
  readonly type: WeightType;
  /** Tensors of the source that the model has no use for, and that were left out. */
  readonly left_out: readonly string[];
}

/** Files of a folder that belong to a tokenizer or its templates: copied as they are from folder to folder. */
const TOKENIZER_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "tokenizer.model",
  "chat_template.jinja",
  "generation_config.json",
];

/**
 * Writes `model` to `out`: a GGUF file when the name ends in `.gguf`, else a folder.
 * @throws {Error} when `out` exists and `overwrite` is not set. @throws {TypeError} on a type the format has none for.
 */
export function convert(
  model: OpenedModel,
  out: string,
  options: ConvertOptions = {},
): Promise<ConvertResult> {
  return writeModel(model, out, options, async (rows) => ({
    config: model.config,
    parameters: rows.map((source) => ({ source, natural: source.type })),
  }));
}

/** A parameter on its way into a file. */
export interface Parameter {
  readonly source: RowSource;
  /** The type it is written in where none is asked for. */
  readonly natural: WeightType;
  /** Told the type that it will be written in. */
  readonly onType?: (type: WeightType) => void;
  /** Its bytes in the natural type, rows and columns in a target's order, in pieces. Absent: the source's rows. */
  readonly encoded?: (order: RowSource["order"]) => AsyncIterable<Uint8Array>;
  /** In a folder: tensors that take its place, codes and scales for example. */
  readonly packed?: readonly TensorToWrite[];
}

/** What becomes of a model. */
export interface ChangedModel {
  readonly config: Config;
  readonly parameters: readonly Parameter[];
  /** Of config.json in a folder with packed parameters. */
  readonly quantization_config?: object;
}

/** Writes what `change` makes of a model's parameters. Everything that can be refused is refused before it is asked. */
export async function writeModel(
  model: OpenedModel,
  out: string,
  options: ConvertOptions,
  change: (rows: RowSource[]) => Promise<ChangedModel>,
): Promise<ConvertResult> {
  const format = extname(out).toLowerCase() === ".gguf" ? "gguf" : "folder";
  const { type: wanted } = options;
  checkType(out, wanted);
  await checkTarget(out, format, options.overwrite ?? false);
  checkTensors(model);
  const changed = await change(parameterRows(model));
  const parameters = changed.parameters.map(({ source, natural, onType, encoded, packed }) => {
    if (packed && format === "folder") return { source, type: natural, packed };
    const quantized = format === "folder" && !["f32", "f16", "bf16"].includes(natural);
    const type = typeFor({ ...source, type: natural }, wanted ?? (quantized ? "f16" : undefined));
    onType?.(type);
    return { source, type, ...(encoded && type === natural && { encoded }) };
  });
  const { definition, generationConfig, sentence } = model;
  const toSave = {
    ...(sentence && { sentence }),
    config: changed.config,
    ...(changed.quantization_config && { quantization_config: changed.quantization_config }),
    definition,
    generationConfig,
    name: nameOf(model),
    parameters,
  };
  if (format === "gguf") {
    if (model.gguf) await saveGguf(out, toSave, options, keptMetadata(model.gguf.metadata));
    else await saveGguf(out, { ...toSave, tokenizer: await model.tokenizer() }, options);
  } else if (model.kind === "folder") {
    await saveFolder(out, toSave, options, await tokenizerFiles(model.tokenizerFolder ?? model.name));
  } else {
    await saveFolder(out, { ...toSave, tokenizer: await model.tokenizer() }, options);
  }
  return { path: out, format, type: mainType(toSave), left_out: model.unused };
}

function checkType(out: string, type: SaveType | undefined): void {
  if (type === undefined || SAVE_TYPES.includes(type)) return;
  const hint = isQuantType(type) ? "; pith quantize makes blocks" : "";
  throw new TypeError(
    `Cannot write ${JSON.stringify(out)} as ${type}: wanted one of ${SAVE_TYPES.join(", ")}${hint}`,
  );
}

async function checkTarget(out: string, format: "gguf" | "folder", overwrite: boolean): Promise<void> {
  const there = await stat(out).catch(() => undefined);
  if (!there) return;
  if (there.isDirectory() !== (format === "folder"))
    throw new Error(
      `Cannot write ${JSON.stringify(out)}: found a ${there.isDirectory() ? "folder" : "file"} there, wanted ${format === "gguf" ? "a file or nothing" : "a folder or nothing; the name of a GGUF file ends in .gguf"}`,
    );
  if (!overwrite)
    throw new Error(
      `Cannot write ${JSON.stringify(out)}: it exists; ask to overwrite it, or give another name`,
    );
}

/** The source's metadata, without what tells of the file it was split over. */
function* keptMetadata(
  metadata: Iterable<readonly [string, GgufValue]>,
): Generator<readonly [string, GgufValue]> {
  for (const entry of metadata)
    if (!entry[0].startsWith("split.") && entry[0] !== "general.alignment") yield entry;
}

async function tokenizerFiles(folder: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const name of TOKENIZER_FILES) {
    const content = await readFile(join(folder, name)).catch(() => undefined);
    if (content) files.set(name, content);
  }
  return files;
}

function nameOf(model: OpenedModel): string {
  const named = model.gguf?.metadata.get("general.name");
  if (named?.type === "string" && named.value) return named.value;
  // A snapshot of the hub's cache is named by its model, three folders up: models--owner--name/snapshots/commit.
  const hub = /models--[^/]*?--([^/]+)\/snapshots\/[^/]+\/?$/.exec(model.name);
  return hub?.[1] ?? basename(model.name, ".gguf");
}
