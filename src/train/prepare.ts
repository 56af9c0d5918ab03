// All that tuning needs before its first step: the data read and checked, the weights loaded, a size that fits.

import type { Backend } from "../engine/backend.ts";
import { type BackendName, createBackend } from "../engine/backends/index.ts";
import { availableMemory } from "../engine/machine.ts";
import {
  endTokens,
  memoryNeeded,
  mib,
  modelIdentity,
  type OpenedModel,
  weightShapes,
} from "../models/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { type Batches, checkItems, type Item, packedBatches, packItems } from "./batches.ts";
import { checkContext } from "./calibration.ts";
import { type Settings, startedWith } from "./checkpoint.ts";
import { digestOf } from "./corpus.ts";
import {
  type DataOptions,
  type DataStats,
  fileDigests,
  overlapWarning,
  readPairs,
  readSamples,
} from "./data/index.ts";
import { chooseSize, type GradientProgram, type TrainingMemory, trainingMemory } from "./memory.ts";
import { type Method, type MethodOptions, openTrainable, trainsAll } from "./methods/index.ts";
import { type PreferenceOptions, PreferenceStep } from "./methods/preference.ts";
import type { TrainPlan } from "./plan.ts";
import type { ComputeOptions } from "./programs.ts";
import { holdOut } from "./split.ts";
import { TrainStep } from "./step.ts";
import { count, freeTrainable, type MethodTrainable, weightBytes } from "./trainable.ts";
import type { Learner, Pair, Sample, TrainBatch } from "./types.ts";

export interface PrepareOptions
  extends Omit<MethodOptions, "method" | "onProgress">,
    Pick<DataOptions, "long" | "reasoning" | "lastOnly" | "raw" | "columns" | "separator">,
    ComputeOptions,
    Pick<PreferenceOptions, "beta" | "label_smoothing"> {
  /** Files of samples, or for "dpo" of pairs (see `readSamples`, `readPairs`). */
  readonly data: string | readonly string[];
  /** Files that it is measured on. */
  readonly eval?: string | readonly string[];
  /** Instead: this share of the samples is measured on and not trained on. */
  readonly eval_share?: number;
  /** "dpo": an adapter by LoRA, tuned by preferences. Default "lora". */
  readonly method?: Method | "dpo";
  /** Longest sample in tokens. Default: the lesser of the model's context and 2048. */
  readonly ctx?: number;
  /** Default 3. */
  readonly epochs?: number;
  readonly max_steps?: number;
  /**
   * Tokens of a step, in as many micro-batches as memory asks for. Default: a hundredth of all that is trained on, at most
   * 2048: little data shall make some steps, too.
   */
  readonly batch_tokens?: number;
  readonly backend?: BackendName;
  readonly threads?: number;
  /** Bytes that may be taken. Default: what the system and its cgroup have. */
  readonly availableMemory?: number;
}

/** What is learned from, where not from the samples' tokens alone, made when the weights are loaded. */
export interface Way {
  /** The program of a micro-batch: room is made for it. */
  readonly record: GradientProgram;
  /** Bytes of what it holds beside the trainable, and of what it will take while it learns. */
  readonly bytes: number;
  readonly reserved: number;
  /** What a resumed run must have the same of. */
  readonly settings: Settings;
  learner(size: Learner["size"], steps: number, compute: ComputeOptions): Promise<TrainStep>;
  /** Frees what `learner` has not taken over. */
  close(): void;
}

/** What a way is made from. */
export interface Material {
  readonly model: OpenedModel;
  readonly tokenizer: Tokenizer;
  readonly backend: Backend;
  readonly trainable: MethodTrainable;
  readonly train: readonly Sample[];
  readonly held: readonly Sample[];
  /** Tokens of the longest sample. */
  readonly longest: number;
  readonly signal: AbortSignal;
}

export interface Prepared {
  readonly backend: Backend;
  readonly trainable: MethodTrainable;
  readonly learner: TrainStep;
  readonly data: Batches;
  readonly evaluation: readonly TrainBatch[];
  readonly plan: TrainPlan;
  /** What a resumed run must have the same of. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
  readonly samples: readonly Sample[];
  readonly tokenizer: Tokenizer;
  close(): void;
}

const DEFAULT_CTX = 2048;
const DEFAULT_EPOCHS = 3;
const MAX_BATCH_TOKENS = 2048;
const LEAST_STEPS = 100;

/**
 * @param out of a run that is to be resumed: its micro-batches are kept
 * @param openWay default: samples, or pairs with "dpo"
 * @throws {Error} naming the file, line or option that is wrong; when memory does not suffice, with what would
 */
export async function prepare(
  model: OpenedModel,
  options: PrepareOptions,
  signal: AbortSignal,
  out?: string,
  openWay?: (material: Material) => Promise<Way>,
): Promise<Prepared> {
  const { method = "lora", seed = 0 } = options;
  const pairs = method === "dpo";
  const tokenizer = await model.tokenizer();
  const read = await readData(model, tokenizer, options, pairs, signal);
  const available = options.availableMemory ?? availableMemory();
  checkWeights(model, method, available);
  const { backend: name, threads } = options;
  const backend = await createBackend({ ...(name && { backend: name }), ...(threads && { threads }) });
  let trainable: MethodTrainable | undefined;
  let way: Way | undefined;
  try {
    const adapter = adapterOptions(options);
    trainable = await openTrainable(model, backend, {
      ...(trainsAll(method) ? {} : { ...adapter, seed }),
      method: pairs ? "lora" : method,
      signal,
    });
    const { longest } = read;
    const [train, held] = [samplesOf(read.train), samplesOf(read.held)];
    way = await openWay?.({ model, tokenizer, backend, trainable, train, held, longest, signal });
    const { compute, recompute } = options;
    const computing = { ...(compute && { compute }), ...(recompute && { recompute }) };
    const { epochs = DEFAULT_EPOCHS, max_steps } = options;
    const fewest = Math.ceil((tokensOf(read.train) * epochs) / LEAST_STEPS);
    const batch_tokens = options.batch_tokens ?? Math.min(MAX_BATCH_TOKENS, fewest);
    const before = out === undefined ? undefined : await startedWith(out);
    const given = options.availableMemory;
    const { bytes, reserved } = way ?? { bytes: 0, reserved: 0 };
    const free =
      (given === undefined ? availableMemory() : given - weightBytes(trainable) - bytes) - reserved;
    const size =
      (before?.size as Learner["size"] | undefined) ??
      chooseSize(trainable, {
        ctx: read.longest,
        batch_tokens,
        together: pairs ? 2 : 1,
        available: free,
        compute: computing,
        ...(way && { record: way.record }),
      });
    const run = { limits: size, batch_tokens, epochs, seed, ...(max_steps && { max_steps }) };
    const data = packedBatches(read.train, run);
    if (read.held.length > 0) checkItems(read.held, size);
    const plan: TrainPlan = {
      parameters: trainable.count.model,
      trained: trainable.count.trained,
      steps: data.steps,
      tokens: tokensOf(read.train),
      eval_tokens: tokensOf(read.held),
      size,
      memory: withWay(trainingMemory(trainable, size, computing, way?.record), bytes, reserved),
      available: free,
    };
    const { beta, label_smoothing } = options;
    const preference = {
      ...(beta !== undefined && { beta }),
      ...(label_smoothing !== undefined && { label_smoothing }),
    };
    const learner = way
      ? await way.learner(size, data.steps, computing)
      : pairs
        ? new PreferenceStep(backend, trainable, size, { ...preference, ...computing })
        : new TrainStep(backend, trainable, size, computing);
    const settings = {
      base: await modelIdentity(model),
      ...read.settings,
      template: digestOf(tokenizer.chatTemplate ?? ""),
      method,
      ...adapter,
      ...(pairs && preference),
      ...computing,
      ...way?.settings,
      ...{ seed, batch_tokens, epochs, size },
    };
    return {
      ...{ backend, trainable, learner, data, plan, settings, tokenizer },
      evaluation: read.held.length > 0 ? packItems(read.held, size) : [],
      warnings: read.warnings,
      samples: train,
      close() {
        learner.close();
        way?.close();
        backend.close();
      },
    };
  } catch (error) {
    if (trainable) freeTrainable(trainable);
    way?.close();
    backend.close();
    throw error;
  }
}

/** Memory with what a way holds (a teacher's weights) and will take. */
function withWay({ weights, optimizer, work, total }: TrainingMemory, bytes: number, reserved: number) {
  return { weights: weights + bytes, optimizer, work: work + reserved, total: total + bytes + reserved };
}

/** Those of the options that make an adapter what it is. */
function adapterOptions({ rank, alpha, rslora, targets, lr_ratio, dropout }: PrepareOptions) {
  return {
    ...(rank !== undefined && { rank }),
    ...(alpha !== undefined && { alpha }),
    ...(rslora !== undefined && { rslora }),
    ...(targets !== undefined && { targets }),
    ...(lr_ratio !== undefined && { lr_ratio }),
    ...(dropout !== undefined && { dropout }),
  };
}

const tokensOf = (items: readonly Item[]) =>
  items.reduce(
    (sum, item) =>
      sum + ("ids" in item ? item.ids.length : item.chosen.ids.length + item.rejected.ids.length),
    0,
  );

const samplesOf = (items: readonly Item[]): Sample[] =>
  items.flatMap((item: Sample | Pair) => ("ids" in item ? [item] : [item.chosen, item.rejected]));

/** Before a weight is read: whether the weights alone, and for full training their optimizer, can be there. */
function checkWeights(model: OpenedModel, method: Method | "dpo", available: number): void {
  const { config } = model;
  const shapes = weightShapes(model);
  const loaded = memoryNeeded(config, shapes, { ctx: 1, kv: "f16", T: 1, R: 1 }).weights;
  const elements = shapes.reduce((sum, { shape }) => sum + count(shape), 0);
  const nf4 = elements * 0.6; // 4.13 bits each, embeddings in what they have
  const all = 16 + (method === "ternary" ? 4 : 0); // value, gradient, two moments; the ternary value
  const needed = trainsAll(method) ? all * elements : method === "qlora" ? Math.min(loaded, nf4) : loaded;
  if (needed <= available) return;
  const advice = [
    ["lora", loaded],
    ["qlora", Math.min(loaded, nf4)],
  ] as const;
  const fits = advice.find(([name, bytes]) => name !== method && bytes <= available);
  throw new RangeError(
    `Cannot tune ${JSON.stringify(model.name)} by the method "${method}": it needs ${mib(needed)} for its weights${trainsAll(method) ? ", gradients and moments" : ""}, but ${mib(available)} of memory is available; ${fits ? `the method "${fits[0]}" takes ${mib(fits[1])} for them` : "no method would fit"}`,
  );
}

interface ReadData {
  readonly train: readonly Item[];
  readonly held: readonly Item[];
  readonly longest: number;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
}

/** Of a verb's options, those of its samples that are set. */
export function givenDataOptions(options: Partial<DataOptions>): Partial<DataOptions> {
  const { long, reasoning, lastOnly, raw, columns, separator } = options;
  const given = { long, reasoning, lastOnly, raw, columns, separator };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

async function readData(
  model: OpenedModel,
  tokenizer: Tokenizer,
  options: PrepareOptions,
  pairs: boolean,
  signal: AbortSignal,
): Promise<ReadData> {
  const { eval_share = 0, seed = 0 } = options;
  const ctx = options.ctx ?? Math.min(model.config.max_position_embeddings, DEFAULT_CTX);
  checkContext("tune", model, ctx);
  if (!(eval_share >= 0 && eval_share < 1) || (eval_share > 0 && options.eval !== undefined))
    throw new RangeError(
      `Cannot keep ${eval_share} of the data for evaluation: wanted a share below 1, and no files for it`,
    );
  const how = givenDataOptions(options);
  const given: DataOptions = { ...how, tokenizer, ctx, stopIds: endTokens(tokenizer, model), signal };
  const open = async (files: string | readonly string[]): Promise<{ items: Item[]; stats: DataStats }> => {
    if (!pairs) {
      const { samples, stats } = await readSamples(files, given);
      return { items: samples, stats };
    }
    const { pairs: items, stats } = await readPairs(files, given);
    return { items, stats };
  };
  const data = await open(options.data);
  const evaluation = options.eval === undefined ? undefined : await open(options.eval);
  const [train, held] = evaluation ? [data.items, evaluation.items] : holdOut(data.items, eval_share, seed);
  const overlap = pairs ? undefined : overlapWarning(samplesOf(train), samplesOf(held));
  const all = [...samplesOf(train), ...samplesOf(held)];
  return {
    train,
    held,
    longest: all.reduce((most, { ids }) => Math.max(most, ids.length), 2),
    settings: {
      data: fileDigests(data.stats),
      ...(evaluation && { eval: fileDigests(evaluation.stats) }),
      ...how,
      ctx,
      eval_share,
    },
    warnings: [...data.stats.warnings, ...(overlap ? [overlap] : [])],
  };
}
