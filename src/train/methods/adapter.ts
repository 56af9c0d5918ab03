// Low-rank adapters over frozen weights (LoRA, rsLoRA, DoRA; QLoRA where the weights are quantized): the weights are
// bound as they are loaded for inference, and only A, B and magnitudes are trained.
// r: rank · K, N: input and output features of a linear

import type { Backend, Storage } from "../../engine/backend.ts";
import { add, dropout as drop, matmul_nt, mul, scale as times } from "../../engine/nn.ts";
import type { Recorder } from "../../engine/tensor.ts";
import {
  frozenModule,
  HEAD,
  type LinearTarget,
  type LoadProgress,
  linearTargets,
  loadWeights,
  moduleTest,
  type OpenedModel,
  type PairToSave,
  saveAdapter,
  targetOf,
} from "../../models/index.ts";
import { Random, STREAM } from "../random.ts";
import { count, freeTrainable, type MethodTrainable, maskSeed, type TrainedParameter } from "../trainable.ts";
import { deriveStretch, rowSquares, STRETCH, stretchConstants } from "./dora.ts";

/** What an adapter is made of. */
export interface AdapterOptions {
  /** Width of A's output: default 8, 0.5 % of a model of 1B. */
  readonly rank?: number;
  /** ΔW = alpha / rank · B A. Default: twice the rank. */
  readonly alpha?: number;
  /** ΔW = alpha / √rank · B A (Kalajdzievski, arXiv 2312.03732). */
  readonly rslora?: boolean;
  /** W' = m ⊙ (W + ΔW) / ‖W + ΔW‖ by rows, m trained (Liu et al., arXiv 2402.09353). */
  readonly dora?: boolean;
  /**
   * Linears that get one, by PEFT's rule: "all-linear" (the default; not the output head), a regular expression of the
   * whole path, or a list of paths or their ends, e.g. ["q_proj", "v_proj"].
   */
  readonly targets?: string | readonly string[];
  /** Learning rate of B beside that of A (LoRA+, Hayou et al., arXiv 2402.12354). Default 1. */
  readonly lr_ratio?: number;
  /**
   * Chance of each feature of A's input to be left out of a step, the others counting so much more. Default 0. Not with DoRA,
   * whose row lengths are those of the whole change.
   */
  readonly dropout?: number;
  /** Of A's first values and of dropout. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** The pair of one linear: names of its parameters. */
interface Pair extends LinearTarget {
  readonly path: string;
  readonly a: string;
  readonly b: string;
  readonly magnitude: string | undefined;
}

const MAX_RANK = 2 ** 16;

/**
 * An adapter to be trained over a model: A uniform in ±1/√K (PEFT's kaiming_uniform with a = √5), B zero, so that the
 * first loss is the model's own.
 * @throws {RangeError | TypeError} on options that fit no linear; on tensors as `loadWeights`
 */
export async function adapterTrainable(
  model: OpenedModel,
  backend: Backend,
  options: AdapterOptions = {},
): Promise<MethodTrainable> {
  const { rank = 8, rslora = false, dora = false, lr_ratio = 1, dropout = 0, seed = 0 } = options;
  const { alpha = 2 * rank } = options;
  const { definition, config } = model;
  if (!Number.isInteger(rank) || rank < 1 || rank > MAX_RANK)
    throw new RangeError(
      `Cannot make an adapter of rank ${rank}: wanted a whole number from 1 to ${MAX_RANK}`,
    );
  for (const [name, value] of Object.entries({ alpha, lr_ratio }))
    if (!Number.isFinite(value) || value <= 0)
      throw new RangeError(`Cannot make an adapter with ${name} ${value}: wanted a number above 0`);
  if (!(dropout >= 0 && dropout < 1) || (dora && dropout > 0))
    throw new RangeError(
      `Cannot make an adapter with dropout ${dropout}: wanted a number from 0 to below 1${dora ? ", and 0 with DoRA" : ""}`,
    );
  const pairs = choosePairs(model, options.targets ?? "all-linear", dora);
  const scale = alpha / (rslora ? Math.sqrt(rank) : rank);

  const trained = new Map<string, TrainedParameter>();
  for (const { a, b, magnitude, N, K } of pairs.values()) {
    trained.set(a, { shape: [rank, K] }).set(b, { shape: [N, rank], lr_ratio });
    if (magnitude) trained.set(magnitude, { shape: [N] });
  }
  const { signal, onProgress } = options;
  const weights = await loadWeights(model, backend, {
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  });
  const storages = new Map<string, Storage>(weights);
  try {
    const random = new Random(seed, STREAM.adapter);
    for (const { a, b, magnitude, path, weight, N, K } of pairs.values()) {
      const bound = 1 / Math.sqrt(K);
      const values = Float32Array.from({ length: rank * K }, () => bound * (2 * random.uniform() - 1));
      storages.set(a, backend.dense("f32", [rank, K], values));
      storages.set(b, backend.dense("f32", [N, rank]));
      if (!magnitude) continue;
      signal?.throwIfAborted();
      const squares = await rowSquares(backend, weights.get(weight)!, N, K);
      storages.set(magnitude, backend.dense("f32", [N], squares.map(Math.sqrt)));
      for (const [name, { shape, values }] of stretchConstants(path, squares, rank))
        if (!storages.has(name)) storages.set(name, backend.dense("f32", shape, values));
    }
  } catch (error) {
    freeTrainable({ storages });
    throw error;
  }

  const frozen = (g: Recorder) => frozenModule(g, definition, config);
  return {
    definition,
    config,
    trained,
    storages,
    count: {
      trained: [...trained.values()].reduce((sum, { shape }) => sum + count(shape), 0),
      model: [...definition.params(config).values()].reduce((sum, shape) => sum + count(shape), 0),
    },
    reference: frozen,
    ...(dropout > 0 && { dropout_seed: seed }),
    module: (g, learning = false) => {
      const param = (name: string) => g.param(name, trained.get(name)!.shape);
      return frozenModule(g, definition, config, (path, y, x) => {
        const pair = pairs.get(targetOf(path));
        if (!pair) return y;
        const mask = { p: dropout, number: pair.index };
        const kept = learning && dropout > 0 ? drop(x, maskSeed(g), mask) : x;
        const h = times(matmul_nt(kept, param(pair.a)), scale); // [rows, r]
        const sum = add(y, matmul_nt(h, param(pair.b))); // [rows, N]
        if (!pair.magnitude) return sum;
        return mul(sum, mul(param(pair.magnitude), g.param(`${STRETCH}:${pair.path}`, [pair.N])));
      });
    },
    ...(dora && {
      derive: (g: Recorder) => {
        for (const pair of pairs.values()) deriveStretch(g, pair, rank, scale);
      },
    }),
    async save(path, read, { signal } = {}) {
      const saved = new Map<string, PairToSave>();
      for (const { path, a, b, magnitude } of pairs.values()) {
        const m = magnitude && { magnitude: read(magnitude) };
        saved.set(path, { a: read(a), b: read(b), rank, alpha, ...m });
      }
      const adapter = {
        base_model_name_or_path: hubName(model.name) ?? model.name,
        use_rslora: rslora,
        lora_dropout: dropout,
        pairs: saved,
      };
      await saveAdapter(path, adapter, model, signal ? { signal } : {});
    },
  };
}

/** owner/name of a snapshot in Hugging Face's cache: what another machine knows the model by. */
function hubName(path: string): string | undefined {
  const [, owner, name] = /[\\/]models--([^\\/]+?)--([^\\/]+)[\\/]snapshots[\\/]/.exec(path) ?? [];
  return owner && name && `${owner}/${name}`;
}

/** The linears that the targets name, by path, in the order of use. */
function choosePairs(
  { name, definition, config }: OpenedModel,
  targets: string | readonly string[],
  dora: boolean,
): ReadonlyMap<string, Pair> {
  const what = `Cannot train an adapter of ${JSON.stringify(name)}`;
  const linears = linearTargets(definition, config);
  const test = moduleTest(targets, `${what}: targets`);
  const chosen = [...linears].filter(([path]) => test(path, path === HEAD));
  const ends = [...new Set([...linears.keys()].map((path) => path.slice(path.lastIndexOf(".") + 1)))];
  const nothing = (found: unknown) => {
    throw new RangeError(
      `${what}: targets ${JSON.stringify(found)} name none of its linears, wanted some of ${ends.join(", ")}`,
    );
  };
  if (chosen.length === 0) nothing(targets);
  if (typeof targets !== "string")
    for (const target of targets)
      if (![...linears.keys()].some((path) => moduleTest([target], what)(path, false))) nothing(target);
  return new Map(
    chosen.map(([path, linear]) => [
      path,
      {
        ...linear,
        path,
        a: `${path}.lora_A.weight`,
        b: `${path}.lora_B.weight`,
        magnitude: dora ? `${path}.lora_magnitude_vector` : undefined,
      },
    ]),
  );
}
