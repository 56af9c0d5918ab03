// Quantized blocks that learn from the model as it was: scales and minima, norms, and for few bits the codes, are trained by
// the KL divergence of the next token's distributions on calibration text, in the trainer's loop.

import { createHash } from "node:crypto";
import { type Distance, DistillStep, LocalTeacher, type Mix, recordDistillation } from "../distill/index.ts";
import type { Backend } from "../engine/backend.ts";
import { GRIDS, type QuantType } from "../engine/grids.ts";
import { availableMemory } from "../engine/machine.ts";
import type { WeightType } from "../engine/weights.ts";
import { mib, modelIdentity, type OpenedModel, weightShapes } from "../models/index.ts";
import { memoryNeeded } from "../models/memory.ts";
import {
  type Calibration,
  type ComputeOptions,
  chooseSize,
  describeQuantized,
  type FitOptions,
  type FitResult,
  fit,
  givenFitOptions,
  Job,
  packedBatches,
  packItems,
  type QuantizedMatrix,
  type QuantizedOptions,
  quantizedTrainable,
  RATIOS,
  type Settings,
  type StepEvent,
  startedWith,
  type TrainBatch,
  type TrainingMemory,
  trainingMemory,
} from "../train/index.ts";
import type { QuantizeOptions } from "./types.ts";

export interface LearnOptions
  extends ComputeOptions,
    QuantizedOptions,
    Partial<Omit<FitOptions, "evaluation" | "settings">> {
  /**
   * What is learned from: the samples of its batches. A tenth is kept aside: what comes out is the best that was seen on that.
   */
  readonly calibration: Pick<Calibration, "batches" | "limits" | "digests">;
  /** Default 384, over the samples as often as that takes. */
  readonly steps?: number;
  /** Tokens of a step. Default 1024. */
  readonly batch_tokens?: number;
  /** Of both distributions. Default 1. */
  readonly temperature?: number;
  /** Of the order of samples. Default 0. */
  readonly seed?: number;
  /** Bytes that may be taken. Default: what the system and its cgroup have. */
  readonly availableMemory?: number;
}

export interface LearnResult {
  /**
   * The matrices that were trained, as exactly the blocks that they were trained as. None, as of vectors, where training found nothing
   * nearer to the model than the first blocks.
   */
  readonly blocks: ReadonlyMap<string, QuantizedMatrix>;
  /** Norms and biases that were trained. */
  readonly vectors: ReadonlyMap<string, Float32Array>;
  readonly fit: FitResult;
}

const DEFAULTS = { lr: 1e-3, warmup_steps: 0.05 };
const BATCH_TOKENS = 1024;
const STEPS = 384;
/** One sample of so many is kept aside. */
const HELD = 10;
/** Matrices of more elements than these are made anew for each block's gradients: beside memory that costs little. */
const RECOMPUTED = 2 ** 26;

/** Which codes are trained by default: those of up to 5 bits. Others are as good as they can be by their scales. */
export const learnsCodes = (type: QuantType): boolean => GRIDS[type].levels <= FEW_LEVELS;
const FEW_LEVELS = 32;

/** What of a quantization's options is this method's. */
export function learningOptions({
  steps,
  codes,
}: Pick<QuantizeOptions, "steps" | "codes">): Pick<LearnOptions, "steps" | "codes"> {
  return {
    ...(steps !== undefined && { steps }),
    ...(codes !== undefined && { codes: () => codes === "trained" }),
  };
}

/** Embeddings and heads of 6 bits and more are as good as the floats. */
export const learnsEmbeddings = (type: QuantType): boolean => GRIDS[type].levels < MANY_LEVELS;
const MANY_LEVELS = 64;

/**
 * Trains the blocks of a model. The blocks that come out are what was trained, bit for bit: only activations are rounded
 * otherwise where a quantized model runs.
 * @param model as it was: the teacher; opened as long as the job runs
 * @param blocks of its matrices, rows in Hugging Face's order: where training starts
 * @throws {RangeError} when there are too few samples, or memory does not suffice; others as `fit`
 */
export function learn(
  model: OpenedModel,
  backend: Backend,
  blocks: ReadonlyMap<string, QuantizedMatrix>,
  options: LearnOptions,
): Job<StepEvent, LearnResult> {
  return new Job((report, signal) => run(model, backend, blocks, options, report, signal), options.signal);
}

export interface LearnMemory extends TrainingMemory {
  /** Weights of the model as it was. */
  readonly teacher: number;
}

/**
 * What `learn` takes: the model as it was, codes and what scales them (of codes that are trained 4 bytes, of others 1.06, of each group 8
 * to 20), 12 bytes of each trained number for gradients and moments, and the activations of a micro-batch with the
 * matrices of one block, or of all.
 */
export function learnMemory(
  model: OpenedModel,
  types: ReadonlyMap<string, WeightType>,
  options: Pick<LearnOptions, "calibration" | "batch_tokens" | "codes" | "embeddings" | "vectors">,
): LearnMemory {
  const { codes = learnsCodes, embeddings = learnsEmbeddings } = options;
  const described = describeQuantized(model, types, { ...options, codes, embeddings });
  const { ctx } = options.calibration.limits;
  const tokens = Math.max(ctx, options.batch_tokens ?? BATCH_TOKENS);
  const compute = { recompute: recomputed(described) };
  // Its own next token instead of another's distribution: the same activations.
  const memory = trainingMemory(
    { ...described, storages: new Map() },
    { ctx, tokens, sequences: tokens },
    compute,
  );
  const weights = described.bytes;
  const teacher = memoryNeeded(model.config, weightShapes(model), {
    ctx,
    kv: "f32",
    cacheTokens: 1,
    T: tokens,
    R: 1,
  }).total;
  return { ...memory, weights, teacher, total: teacher + weights + memory.optimizer + memory.work };
}

/** @throws {RangeError} with both numbers, before anything is calibrated, where memory does not suffice to learn */
export function checkLearning(
  model: OpenedModel,
  types: ReadonlyMap<string, WeightType>,
  options: Parameters<typeof learnMemory>[2],
  available: number = availableMemory(),
): void {
  const needed = learnMemory(model, types, options).total;
  if (needed <= available) return;
  const fixed = learnMemory(model, types, { ...options, codes: () => false }).total;
  throw new RangeError(
    `Cannot learn the blocks of ${JSON.stringify(model.name)}: it takes ${mib(needed)}, but ${mib(available)} of memory is available; ${fixed <= available ? `with fixed codes it would take ${mib(fixed)} (--codes fixed)` : `with fixed codes it would still take ${mib(fixed)}: gptq is wanted`}`,
  );
}

const recomputed = ({ matrices }: Pick<ReturnType<typeof describeQuantized>, "matrices">): boolean =>
  [...matrices.values()].reduce((sum, { N, K }) => sum + N * K, 0) > RECOMPUTED;

/** Evaluated by the divergence alone: on a short text the loss may fall below that of the model itself. */
class LearnStep extends DistillStep {
  override async evaluate(batch: TrainBatch): Promise<{ loss: number; tokens: number; kl: number }> {
    const { kl, tokens } = await super.evaluate(batch);
    return { loss: kl, tokens, kl };
  }
}

async function run(
  model: OpenedModel,
  backend: Backend,
  blocks: ReadonlyMap<string, QuantizedMatrix>,
  options: LearnOptions,
  report: (step: StepEvent) => void,
  signal: AbortSignal,
): Promise<LearnResult> {
  const { calibration, temperature = 1, steps = STEPS, batch_tokens = BATCH_TOKENS, seed = 0 } = options;
  const { codes = learnsCodes, embeddings = learnsEmbeddings, vectors = true, folder } = options;
  const ratios = { ...RATIOS, ...options.ratios };
  const { batches, limits, digests } = calibration;
  const samples = batches.flatMap(({ samples }) => samples ?? []);
  const held = samples.filter((_, i) => i % HELD === HELD - 1);
  const learned = samples.filter((_, i) => i % HELD !== HELD - 1);
  const each = learned.reduce((sum, { ids }) => sum + ids.length - 1, 0);
  // One more: batches are never quite full.
  const epochs = 1 + Math.ceil((steps * batch_tokens) / Math.max(1, each));
  if (held.length === 0)
    throw new RangeError(
      `Cannot learn the scales of ${JSON.stringify(model.name)} from ${samples.length} samples of ${Object.keys(digests).join(", ")}: wanted at least ${HELD}`,
    );
  const distance: Distance = { loss: "forward_kl", beta: 0.5, temperature, scale_temperature: true };
  const mix: Mix = { ce: 0, kd: 1, distance };
  const trained: QuantizedOptions = { codes, embeddings, vectors, ratios };
  const trainable = await quantizedTrainable(model, backend, blocks, { ...trained, signal });
  let teacher: LocalTeacher | undefined;
  let step: LearnStep | undefined;
  try {
    const { ctx } = limits;
    const local = await LocalTeacher.load(model, backend, { ctx, temperature, signal });
    teacher = local;
    const compute: ComputeOptions = {
      recompute: options.recompute ?? recomputed(trainable),
      ...(options.compute && { compute: options.compute }),
    };
    const before = folder !== undefined && options.resume ? await startedWith(folder) : undefined;
    const size =
      (before?.size as LearnStep["size"] | undefined) ??
      chooseSize(trainable, {
        ...{ ctx, batch_tokens, compute },
        available: options.availableMemory ?? availableMemory(),
        record: (t, ctx, how = {}) => recordDistillation(t, ctx, local, mix, true, how),
      });
    const source = { teacher: local, top_k: 0, vocab_size: model.config.vocab_size };
    step = new LearnStep(backend, trainable, size, { source, mix, ...compute });
    const data = packedBatches(learned, {
      ...{ limits: size, batch_tokens, epochs, seed, max_steps: steps },
    });
    const settings: Settings = {
      base: await modelIdentity(model),
      blocks: digestOf(blocks),
      ...{ calibration: digests, samples: samples.length, temperature, seed, batch_tokens, steps, size },
      trained: Object.fromEntries(
        [...trainable.matrices.values()].map(({ name, codes }) => [name, codes ? "codes" : "scales"]),
      ),
      ...{ vectors, ratios, ...compute },
    };
    const fitted = fit(step, data, {
      ...DEFAULTS,
      ...givenFitOptions(options),
      evaluation: packItems(held, size),
      ...(folder !== undefined && { folder }),
      ...{ settings, signal },
    });
    for await (const one of fitted) report(one);
    const result = await fitted.result;
    // At a high rate for a fine grid the best of what was seen may be where it started.
    if (!(result.eval_loss! < result.first_eval!))
      return { blocks: new Map(), vectors: new Map(), fit: result };
    const read = (name: string) => step!.read(name);
    return { blocks: trainable.blocks(read), vectors: trainable.values(read), fit: result };
  } finally {
    if (step) step.close();
    else for (const storage of trainable.storages.values()) storage.free();
    teacher?.free();
  }
}

function digestOf(blocks: ReadonlyMap<string, QuantizedMatrix>): string {
  const hash = createHash("sha256");
  for (const [name, { type, bytes }] of blocks)
    hash.update(`${name} ${type} ${bytes.length}\n`).update(bytes);
  return hash.digest("hex");
}
