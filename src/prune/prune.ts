// Pruning: a model and calibration data -> a smaller model of the same type. The verb `pith prune`.

import { join } from "node:path";
import type { Backend } from "../engine/backend.ts";
import { type BackendName, createBackend } from "../engine/backends/index.ts";
import { availableMemory } from "../engine/machine.ts";
import { checkTensors, type OpenedModel, writeModel } from "../models/index.ts";
import { Job, Random, withModel } from "../train/index.ts";
import { type Calibration, type CalibrationOptions, checkMemory, readCalibration } from "./calibration.ts";
import { chooseKept, normFactors, randomScores, type Scores, scoresOf } from "./choose.ts";
import { type Kept, type Layout, layoutOf } from "./layout.ts";
import { Measured } from "./measure.ts";
import { writePruneReport } from "./report.ts";
import { type DepthRound, dropLayers, searchSizes, type Trial } from "./search.ts";
import { checkSizes, parameterCount, type Sizes, shrunk, sizeNotes, sizesOf } from "./sizes.ts";
import { slicedRows } from "./slice.ts";
import { checkTarget, whole } from "./target.ts";

export interface PruneOptions extends Partial<Sizes>, CalibrationOptions {
  /** Instead of sizes: the share of the parameters that stays, at most; which sizes these are is tried out. */
  readonly to?: number;
  /** The folder that the model is written to, with report.html and prune.json. */
  readonly out: string;
  /** Replace what is there. */
  readonly overwrite?: boolean;
  /** Layers go one by one, each by the loss without it and those before ("greedy", the default), or all by one round. */
  readonly depth?: "greedy" | "once";
  /** "random": layers, neurons, heads and channels by chance, to compare with. Default "activations". */
  readonly importance?: "activations" | "random";
  readonly backend?: BackendName;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/** What is being done, and how far it is. */
export interface PruneEvent {
  readonly stage: "layers" | "importance" | "sizes" | "writing" | "measuring";
  readonly done: number;
  readonly total: number;
}

export interface PruneState {
  readonly sizes: Sizes;
  readonly parameters: number;
  /** On the calibration data: mean negative log-likelihood of a target, in nats. */
  readonly loss: number;
}

export interface PruneResult {
  readonly folder: string;
  /** Path of report.html. */
  readonly report: string;
  readonly before: PruneState;
  /** Of the files that were written. */
  readonly after: PruneState;
  /** Numbers of the old layers that are gone, in the order in which they went. */
  readonly dropped_layers: readonly number[];
  /** Targets that the losses are means of. */
  readonly targets: number;
  /** What should be known of the new sizes. */
  readonly notes: readonly string[];
  readonly seconds: number;
}

/**
 * Writes a smaller model: what does least on the calibration data is left out. Ask for sizes, or with `to` for a share of
 * the parameters.
 * @param model a path, a hub name that is in the cache, or an opened model, which stays open
 * @throws {TypeError | RangeError} before anything is computed, for a type, a size or data that cannot be
 */
export function prune(model: string | OpenedModel, options: PruneOptions): Job<PruneEvent, PruneResult> {
  return new Job(
    (report, signal) => withModel(model, (opened) => run(opened, options, report, signal)),
    options.signal,
  );
}

type Report = (event: PruneEvent) => void;

async function run(
  model: OpenedModel,
  options: PruneOptions,
  report: Report,
  signal: AbortSignal,
): Promise<PruneResult> {
  const started = performance.now();
  const { config, definition } = model;
  const { out, backend: name, threads } = options;
  const layout = layoutOf(model);
  checkTensors(model);
  const asked = askedSizes(model, options, layout);
  await checkTarget(out, model.name, options.overwrite === true);
  const data = await readCalibration(model, options, signal);
  checkMemory(model, data, availableMemory());
  const backend = await createBackend({ ...(name && { backend: name }), ...(threads && { threads }) });
  try {
    const chosen = await choose(model, backend, layout, options, asked, data, report, signal);
    const { kept, sizes, factors } = chosen;
    const smaller = { definition, config: shrunk(config, sizes, kept.layers) };
    return await whole(out, async (folder) => {
      await writeModel(
        model,
        folder,
        {
          signal,
          onProgress: ({ bytes, totalBytes }) => report({ stage: "writing", done: bytes, total: totalBytes }),
        },
        async (rows) => ({
          config: smaller.config,
          parameters: slicedRows(rows, kept, config, smaller, factors).map((source) => ({
            source,
            natural: source.type,
          })),
        }),
      );
      const loss = await lossOf(folder, backend, data, report, signal);
      const whole = sizesOf(config);
      const result: PruneResult = {
        folder: out,
        report: join(out, "report.html"),
        before: { sizes: whole, parameters: parameterCount(definition, config), loss: chosen.loss },
        after: { sizes, parameters: parameterCount(definition, smaller.config), loss },
        dropped_layers: chosen.dropped,
        targets: data.targets,
        notes: sizeNotes(whole, sizes),
        seconds: (performance.now() - started) / 1000,
      };
      await writePruneReport(folder, {
        model: model.name,
        result,
        ...chosen,
        data: data.digests,
        settings: { ...options, signal: undefined },
        machine: backend,
      });
      signal.throwIfAborted();
      return result;
    });
  } finally {
    backend.close();
  }
}

/** The sizes that are wanted, checked; undefined: those that `to` gives. */
function askedSizes(
  { name, config }: OpenedModel,
  { to, layers, ffn, heads, kv_heads, hidden }: PruneOptions,
  { keepsHidden }: Layout,
): Sizes | undefined {
  const given = Object.entries({ layers, ffn, heads, kv_heads, hidden }).filter(([, n]) => n !== undefined);
  const cannot = `Cannot prune ${JSON.stringify(name)} `;
  if ((to === undefined) === (given.length === 0))
    throw new TypeError(
      `${cannot}${to === undefined ? "to nothing less" : "to sizes and to a share at once"}: wanted layers, ffn, heads, kv_heads or hidden, or else to`,
    );
  if (to !== undefined) {
    if (!(to > 0 && to <= 1))
      throw new RangeError(`${cannot}to ${to} of it: wanted a share above 0, up to 1`);
    return undefined;
  }
  const sizes = checkSizes(name, config, Object.fromEntries(given));
  if (keepsHidden !== undefined && sizes.hidden !== config.hidden_size)
    throw new TypeError(
      `${cannot}to hidden_size ${sizes.hidden}: ${keepsHidden} (${config.model_type}), wanted ${config.hidden_size}`,
    );
  return sizes;
}

/** What was chosen, and by what. */
export interface Choice {
  readonly sizes: Sizes;
  readonly kept: Kept;
  readonly scores: Scores;
  /** What the weights of norms are multiplied with. */
  readonly factors: ReadonlyMap<string, number>;
  /** Of the model as it was. */
  readonly loss: number;
  readonly dropped: readonly number[];
  /** Trials of layers, and of sizes. */
  readonly rounds: readonly DepthRound[];
  readonly trials: readonly Trial[];
}

async function choose(
  model: OpenedModel,
  backend: Backend,
  layout: Layout,
  options: PruneOptions,
  asked: Sizes | undefined,
  { limits, batches, trial }: Calibration,
  report: Report,
  signal: AbortSignal,
): Promise<Choice> {
  const { config, definition } = model;
  const { to = 1, seed = 0, importance = "activations" } = options;
  const how = importance === "random" ? "random" : (options.depth ?? "greedy");
  const count = config.num_hidden_layers;
  const all = Array.from({ length: count }, (_, i) => i);
  const stage = (stage: PruneEvent["stage"]) => (done: number, total: number) =>
    report({ stage, done, total });
  const measured = await Measured.load(model, backend, layout, limits, signal);
  try {
    const scored = async (layers: readonly number[]) => {
      const onBatch = (done: number) => stage("importance")(done, batches.length);
      const taps = await measured.taps(batches, layers, signal, onBatch);
      const random = importance === "random";
      const scores = random
        ? randomScores(config, layers, seed)
        : await scoresOf(model, taps, layers, layout);
      return { taps, scores };
    };
    const loss = await measured.loss(batches, { layers: all }, signal);
    let trials: readonly Trial[] = [];
    let sizes = asked;
    if (!sizes) {
      const { rounds } = await dropLayers(measured, trial, count - 1, "once", signal, stage("layers"));
      const order = [...rounds[0]!.losses].sort((a, b) => a.loss - b.loss).map(({ layer }) => layer);
      const whole = parameterCount(definition, config);
      const target = Math.floor(to * whole);
      ({ sizes, trials } = await searchSizes(
        measured,
        trial,
        {
          target,
          scores: (await scored(all)).scores,
          order,
          loss: await measured.loss(trial, { layers: all }, signal),
          keepsHidden: layout.keepsHidden !== undefined,
        },
        signal,
        (parameters) => stage("sizes")(Math.min(whole - parameters, whole - target), whole - target),
      ));
    }
    const { layers, rounds } =
      how === "random"
        ? { layers: all.filter((i) => !randomLayers(count, sizes!.layers, seed).includes(i)), rounds: [] }
        : await dropLayers(measured, trial, sizes.layers, how, signal, stage("layers"));
    const { taps, scores } = await scored(layers);
    const kept = chooseKept(scores, config, sizes);
    return {
      sizes,
      kept,
      scores,
      factors: normFactors(taps, kept.hidden, config.hidden_size),
      loss,
      dropped: how === "random" ? all.filter((i) => !layers.includes(i)) : rounds.flatMap((r) => r.dropped),
      rounds,
      trials,
    };
  } finally {
    measured.free();
  }
}

/** Names the stream of random numbers. */
const STREAM = 98;

function randomLayers(count: number, left: number, seed: number): number[] {
  return [...new Random(seed, STREAM).permutation(count).subarray(0, count - left)];
}

/** Of the model that was written, read back from its files. */
async function lossOf(
  folder: string,
  backend: Backend,
  { limits, batches }: Calibration,
  report: Report,
  signal: AbortSignal,
): Promise<number> {
  report({ stage: "measuring", done: 0, total: 1 });
  return withModel(folder, async (model) => {
    const layers = Array.from({ length: model.config.num_hidden_layers }, (_, i) => i);
    const measured = await Measured.load(model, backend, layoutOf(model), limits, signal);
    try {
      return await measured.loss(batches, { layers }, signal);
    } finally {
      measured.free();
      report({ stage: "measuring", done: 1, total: 1 });
    }
  });
}
