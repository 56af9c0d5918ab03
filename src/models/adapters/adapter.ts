// What an adapter is, whichever format it came in: low-rank pairs by the path of their linear, and whole tensors that
// replace parameters. Headers only; checked against a model here, so that nothing of another model gets further.

import { isWeightType } from "../../engine/weights.ts";
import { quote } from "../../formats/errors.ts";
import type { TensorInfo } from "../../formats/index.ts";
import type { Config } from "../config.ts";
import type { Definition } from "../definition.ts";
import { fromStored } from "../stored.ts";
import { type LinearTarget, linearTargets } from "../targets.ts";

/** A low-rank change as it lies in a file: ΔW = scale · B A. With `magnitude` the rows of W + ΔW get these lengths. */
export interface LoraPair {
  /** [rank, K] */
  readonly a: TensorInfo;
  /** [N, rank] */
  readonly b: TensorInfo;
  readonly rank: number;
  /** alpha / rank, or alpha / √rank. */
  readonly scale: number;
  /** [N]: DoRA. */
  readonly magnitude?: TensorInfo;
}

/** An adapter whose headers are read. Its file stays open until `close`. */
export interface OpenedAdapter {
  /** What errors call it: its path. */
  readonly name: string;
  readonly format: "peft" | "gguf";
  /** SHA-256 of its files, in hex: its identity. */
  readonly digest: string;
  /** The model that it says it was made for. */
  readonly madeFor: string | undefined;
  /** What a GGUF file says of its model: `general.architecture`. */
  readonly architecture?: string;
  /** By the path of the linear, e.g. `model.layers.0.self_attn.q_proj`. */
  readonly pairs: ReadonlyMap<string, LoraPair>;
  /** Of an embedding: A [rank, vocabulary], B [width, rank], so ΔE = scale · (B A)ᵀ. By its path. */
  readonly embeddings: ReadonlyMap<string, LoraPair>;
  /** Whole tensors in place of the model's parameters, by the parameter's name; see `savedOf`. */
  readonly saved: ReadonlyMap<string, TensorInfo>;
  /** A saved embedding is the output head too, where these are tied. */
  readonly tiesSaved: boolean;
  /** Whether the config names this linear; a format without a config names what it holds. */
  targets(path: string, isHead: boolean): boolean;
  close(): Promise<void>;
}

/** The largest rank of its pairs; 0 where it only replaces. */
export function rankOf({ pairs, embeddings }: Pick<OpenedAdapter, "pairs" | "embeddings">): number {
  return Math.max(0, ...[...pairs.values(), ...embeddings.values()].map(({ rank }) => rank));
}

/**
 * Checks that an adapter fits a model: every module is one of its linears, every shape its shape, and nothing that the
 * config names is missing.
 * @throws {RangeError | TypeError} naming the first tensor that does not fit
 */
export function checkAdapter(
  adapter: OpenedAdapter,
  model: { readonly name: string; readonly config: Config; readonly definition: Definition },
): ReadonlyMap<string, LinearTarget> {
  const { config, definition } = model;
  const { architecture } = definition.gguf;
  if (adapter.architecture !== undefined && adapter.architecture !== architecture)
    throw new TypeError(
      `Cannot use adapter ${JSON.stringify(adapter.name)} with ${JSON.stringify(model.name)}: its general.architecture is ${quote(adapter.architecture)}, wanted ${JSON.stringify(architecture)}`,
    );
  const targets = linearTargets(definition, config);
  const params = definition.params(config);
  const wrong: Complaint = new Complaint(adapter, model.name);
  for (const [path, pair] of adapter.pairs) {
    const target = targets.get(path);
    if (!target) wrong.fail(pair.a.name, `is for ${quote(path)}, wanted one of the model's linears`);
    checkPair(wrong, pair, target.N, target.K);
    if (!adapter.targets(path, path === HEAD))
      wrong.fail(pair.a.name, "is there", "none: target_modules does not name it");
  }
  for (const [path, pair] of adapter.embeddings) {
    const shape = params.get(`${path}.weight`);
    if (!shape || targets.has(path)) wrong.fail(pair.a.name, `is for ${quote(path)}, wanted an embedding`);
    checkPair(wrong, pair, shape[1]!, shape[0]!);
  }
  for (const [path, { N, K }] of targets)
    if (adapter.targets(path, path === HEAD) && !adapter.pairs.has(path) && adapter.format === "peft")
      wrong.fail(
        `${path}.lora_A.weight`,
        `is missing, wanted with shape [rank, ${K}] and lora_B of [${N}, rank]`,
      );
  for (const [name, tensor] of savedOf(adapter, definition)) {
    const head = name === `${HEAD}.weight` ? targets.get(HEAD) : undefined;
    const shape = params.get(name) ?? (head && [head.N, head.K]);
    if (!shape) wrong.fail(tensor.name, `is for ${quote(name)}, wanted one of the model's parameters`);
    checkType(wrong, tensor);
    if (tensor.shape.join() !== shape.join())
      wrong.fail(tensor.name, `has shape [${tensor.shape.join(", ")}]`, `[${shape.join(", ")}]`);
  }
  return targets;
}

/** The tensors that replace parameters, as the model computes with them. */
export function savedOf(
  { saved }: Pick<OpenedAdapter, "saved">,
  { stored }: Definition,
): ReadonlyMap<string, TensorInfo> {
  if (!stored) return saved;
  return new Map(
    [...saved].map(([name, tensor]) => {
      const form = stored(name);
      return [name, form ? fromStored(tensor, form) : tensor];
    }),
  );
}

/** Path of the output head, whether it has a weight of its own or is the embedding. */
export const HEAD = "lm_head";

function checkPair(wrong: Complaint, { a, b, rank, magnitude }: LoraPair, N: number, K: number): void {
  const shapes: [TensorInfo, number[]][] = [
    [a, [rank, K]],
    [b, [N, rank]],
  ];
  if (magnitude) shapes.push([magnitude, [N]]);
  for (const [tensor, shape] of shapes) {
    checkType(wrong, tensor);
    // PEFT's older magnitudes are [N], those of embeddings [1, N].
    const found = tensor === magnitude ? tensor.shape.filter((n) => n !== 1 || N === 1) : tensor.shape;
    if (found.join() !== shape.join())
      wrong.fail(tensor.name, `has shape [${tensor.shape.join(", ")}]`, `[${shape.join(", ")}]`);
  }
}

function checkType(wrong: Complaint, tensor: TensorInfo): void {
  if (!isWeightType(tensor.type)) wrong.fail(tensor.name, `has type ${tensor.type}`, "f32, f16 or bf16");
}

/** Errors about one adapter on one model. */
class Complaint {
  readonly #adapter: OpenedAdapter;
  readonly #model: string;

  constructor(adapter: OpenedAdapter, model: string) {
    this.#adapter = adapter;
    this.#model = model;
  }

  fail(tensor: string, found: string, wanted?: string): never {
    const { name, madeFor } = this.#adapter;
    const hint = madeFor === undefined ? "" : `; it says that it was made for ${quote(madeFor)}`;
    throw new RangeError(
      `Cannot use adapter ${JSON.stringify(name)} with ${JSON.stringify(this.#model)}: tensor ${quote(tensor)} ${found}${wanted === undefined ? "" : `, wanted ${wanted}`}${hint}`,
    );
  }
}
