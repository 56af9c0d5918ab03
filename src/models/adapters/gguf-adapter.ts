// Opening a GGUF adapter, as llama.cpp reads it: `blk.N.attn_q.weight.lora_a` [r, K] and `.lora_b` [N, r], and one
// alpha for all. Headers only.

import { quote } from "../../formats/errors.ts";
import {
  getNumber,
  getString,
  openFile,
  readGguf,
  type Source,
  type TensorInfo,
} from "../../formats/index.ts";
import type { GgufForm } from "../definition.ts";
import { fromGgufName } from "../gguf-names.ts";
import { definitionOfGguf } from "../registry.ts";
import type { LoraPair, OpenedAdapter } from "./adapter.ts";
import { digestOf } from "./digest.ts";

const MAX_RANK = 2 ** 16;
/** Lies the other way round, and is no linear. */
const EMBEDDING = "token_embd.weight";

/** @throws {Error} naming the file, what was found and what was wanted */
export async function openGgufAdapter(path: string, signal?: AbortSignal): Promise<OpenedAdapter> {
  const source = await openFile(path);
  try {
    const gguf = await readGguf(source);
    expect(source, "general.type", getString(gguf, "general.type"), "adapter");
    expect(source, "adapter.type", getString(gguf, "adapter.type"), "lora");
    if (gguf.metadata.has("adapter.alora.invocation_tokens"))
      fail(source, "adapter.alora.invocation_tokens is there", "an adapter that is always on");
    const architecture = getString(gguf, "general.architecture");
    if (architecture === undefined) fail(source, "general.architecture is missing", "the type of its model");
    const alpha = getNumber(gguf, "adapter.lora.alpha") ?? 0;
    if (!Number.isFinite(alpha)) fail(source, `adapter.lora.alpha is ${alpha}`, "a finite number");
    const { names } = definitionOfGguf(architecture, false, path).gguf;
    const pairs = pairTensors(source, gguf.tensors, names, alpha);
    return {
      name: path,
      format: "gguf",
      digest: await digestOf([source], signal),
      madeFor: getString(gguf, "general.base_model.0.name"),
      architecture,
      pairs,
      embeddings: new Map(),
      saved: new Map(),
      tiesSaved: false,
      targets: (linear) => pairs.has(linear),
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

function pairTensors(
  source: Source,
  tensors: ReadonlyMap<string, TensorInfo>,
  names: GgufForm["names"],
  alpha: number,
) {
  const found = new Map<string, { a?: TensorInfo; b?: TensorInfo }>();
  for (const tensor of tensors.values()) {
    const [, stem, part] = /^(.*)\.lora_([ab])$/.exec(tensor.name) ?? [];
    if (stem === undefined)
      fail(source, `tensor ${quote(tensor.name)} is there`, "names that end in .lora_a or .lora_b alone");
    const entry = found.get(stem) ?? {};
    entry[part as "a" | "b"] = tensor;
    found.set(stem, entry);
  }
  const pairs = new Map<string, LoraPair>();
  for (const [stem, { a, b }] of found) {
    const missing = !a ? "a" : !b ? "b" : undefined;
    if (missing)
      fail(source, `tensor ${quote(`${stem}.lora_${missing}`)} is missing`, "both lora_a and lora_b");
    const name = fromGgufName(names, stem);
    if (!name?.endsWith(".weight") || stem === EMBEDDING)
      fail(source, `tensor ${quote(a!.name)} is there`, "tensors of linears that pith knows");
    const path = name.slice(0, -".weight".length);
    const rank = a!.shape.length === 2 ? a!.shape[0]! : 0;
    if (rank < 1 || rank > MAX_RANK)
      fail(
        source,
        `tensor ${quote(a!.name)} has shape [${a!.shape.join(", ")}]`,
        `[rank, width] with a rank from 1 to ${MAX_RANK}`,
      );
    // As llama.cpp: without an alpha the product counts as it is.
    pairs.set(path, { a: a!, b: b!, rank, scale: alpha === 0 ? 1 : alpha / rank });
  }
  if (found.size === 0) fail(source, "found no tensor", "at least one");
  return pairs;
}

function expect(source: Source, key: string, found: string | undefined, wanted: string): void {
  if (found !== wanted)
    fail(source, `${key} is ${found === undefined ? "missing" : quote(found)}`, JSON.stringify(wanted));
}

function fail(source: Source, found: string, wanted: string): never {
  throw new TypeError(`Cannot read ${JSON.stringify(source.name)}: ${found}, wanted ${wanted}`);
}
