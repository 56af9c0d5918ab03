// What `pith inspect` shows of a model: plain data from headers and tokenizer; no weight is read.

import type { KvType } from "../engine/backend.ts";
import { isWeightType } from "../engine/weights.ts";
import type { StorageType } from "../formats/index.ts";
import type { Config, GenerationConfig } from "./config.ts";
import { memoryNeeded } from "./memory.ts";
import { endTokens, type OpenedModel } from "./open.ts";

/** JSON-able. Bytes are bytes, tokens are tokens. */
export interface Inspection {
  readonly name: string;
  readonly format: "folder" | "gguf";
  readonly config: Config;
  readonly generation_config: GenerationConfig;
  /** Elements of all parameters; a tied head counts once. */
  readonly parameters: number;
  /** Bytes of the files' tensors that are parameters. */
  readonly bytes: number;
  readonly bits_per_weight: number;
  /** By type, the most bytes first. */
  readonly types: readonly {
    readonly type: StorageType;
    readonly tensors: number;
    readonly parameters: number;
    readonly bytes: number;
  }[];
  /** The type of the output head, which dominates what a small model reads for a token. */
  readonly head_type: StorageType | undefined;
  readonly context_length: number;
  /** Memory to run it at a context, by the type of the KV cache; a model of unknown types has none. */
  readonly memory: readonly {
    readonly ctx: number;
    readonly kv: KvType;
    readonly weights: number;
    readonly cache: number;
    readonly work: number;
    readonly total: number;
  }[];
  readonly tokenizer:
    | {
        readonly vocabulary: number;
        readonly special: readonly { readonly id: number; readonly text: string }[];
        readonly bos: number | undefined;
        readonly eos: readonly number[];
        readonly adds_bos: boolean;
        readonly chat_template: boolean;
      }
    /** Why it cannot be read. */
    | { readonly error: string };
  /** Parameters that the model wants and the files lack; tensors that they have beside. */
  readonly missing: readonly string[];
  readonly unused: readonly string[];
}

/** More than this are not listed one by one: a vocabulary may have thousands. */
const MAX_SPECIAL = 64;

/** @param ctx contexts to tell the memory of; default 4096 and the model's own */
export async function inspect(model: OpenedModel, ctx?: readonly number[]): Promise<Inspection> {
  const { config, definition } = model;
  const wanted = definition.params(config);
  const byType = new Map<StorageType, { tensors: number; parameters: number; bytes: number }>();
  for (const { type, shape, bytes } of model.tensors.values()) {
    const sum = byType.get(type) ?? { tensors: 0, parameters: 0, bytes: 0 };
    sum.tensors++;
    sum.parameters += shape.reduce((a, b) => a * b, 1);
    sum.bytes += bytes;
    byType.set(type, sum);
  }
  const types = [...byType].map(([type, sums]) => ({ type, ...sums })).sort((a, b) => b.bytes - a.bytes);
  const parameters = types.reduce((sum, t) => sum + t.parameters, 0);
  const bytes = types.reduce((sum, t) => sum + t.bytes, 0);
  const longest = config.max_position_embeddings;
  const head = config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
  return {
    name: model.name,
    format: model.kind,
    config,
    generation_config: model.generationConfig,
    parameters,
    bytes,
    bits_per_weight: bitsPerWeight(model),
    types,
    head_type: model.tensors.get(head)?.type,
    context_length: longest,
    memory: (ctx ?? [...new Set([Math.min(4096, longest), longest])]).flatMap((length) =>
      memoryAt(model, length),
    ),
    tokenizer: await describeTokenizer(model),
    missing: [...wanted.keys()].filter((name) => !model.tensors.has(name)),
    unused: model.unused,
  };
}

/** Bits of the files' parameters over their number; 0 when there are none. */
export function bitsPerWeight(model: Pick<OpenedModel, "tensors">): number {
  let [bytes, elements] = [0, 0];
  for (const tensor of model.tensors.values()) {
    bytes += tensor.bytes;
    elements += tensor.shape.reduce((a, b) => a * b, 1);
  }
  return elements > 0 ? (8 * bytes) / elements : 0;
}

function memoryAt(model: OpenedModel, ctx: number): Inspection["memory"] {
  const weights = [...model.tensors.values()].flatMap(({ type, shape }) =>
    isWeightType(type) ? [{ type, shape }] : [],
  );
  if (weights.length < model.tensors.size) return [];
  return (["f16", "q8_0", "f32"] as const).map((kv) => {
    const {
      weights: w,
      kv: pages,
      state,
      work,
      total,
    } = memoryNeeded(model.config, weights, { ctx, kv, T: 512, R: 8 });
    return { ctx, kv, weights: w, cache: pages + state, work, total };
  });
}

async function describeTokenizer(model: OpenedModel): Promise<Inspection["tokenizer"]> {
  try {
    const tokenizer = await model.tokenizer();
    const special = [...tokenizer.specialTokens]
      .map(([text, id]) => ({ id, text }))
      .sort((a, b) => a.id - b.id);
    return {
      vocabulary: tokenizer.vocabSize,
      special: special.slice(0, MAX_SPECIAL),
      bos: tokenizer.bosId,
      eos: endTokens(tokenizer, model),
      adds_bos: tokenizer.addsBos,
      chat_template: tokenizer.chatTemplate !== undefined,
    };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
