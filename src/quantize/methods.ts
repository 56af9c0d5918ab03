// The methods, in one form: what each finds out on calibration data before anything is written. Data are read and measured
// once for all variants of a run.

import { join } from "node:path";
import type { QuantType } from "../engine/grids.ts";
import type { WeightType } from "../engine/weights.ts";
import { modelIdentity, type OpenedModel } from "../models/index.ts";
import { type Calibration, type QuantizedMatrix, readCalibration, startedWith } from "../train/index.ts";
import { type ChosenMix, candidates, chooseMix } from "./bits.ts";
import { quantizeCalibrated } from "./calibrated.ts";
import { checkLearning, learn, learningOptions } from "./learned.ts";
import { blockTypes } from "./plan.ts";
import type { Setting, Wanted } from "./quantize.ts";
import { Store } from "./store.ts";
import { measureImportance } from "./stream.ts";
import { unfinished } from "./target.ts";
import type { QuantizeOptions } from "./types.ts";
import type { Chosen } from "./write.ts";

/** Targets that calibration data must have: of less, nothing is learned. */
const MIN_TARGETS = 64;

/** What variants share: calibration data, and what was measured on them. */
export class Shared {
  readonly #setting: Setting;
  #calibration: Promise<Calibration> | undefined;
  #importance: Promise<Map<string, Float32Array>> | undefined;

  constructor(setting: Setting) {
    this.#setting = setting;
  }

  /** @throws {SyntaxError | TypeError | RangeError} on data that no method can use */
  calibration(): Promise<Calibration> {
    const { model, options, signal } = this.#setting;
    this.#calibration ??= readChecked(model, options, signal);
    return this.#calibration;
  }

  #mix: Promise<ChosenMix> | undefined;

  /** The mix of `bits`. */
  async mix(bits: number, to: readonly QuantType[]): Promise<ChosenMix> {
    const { model, options, backend, signal, report } = this.#setting;
    const variant = `${bits} bits`;
    const importance = await this.importance(variant);
    const calibration = await this.calibration();
    this.#mix ??= chooseMix(model, backend, {
      ...{ bits, types: candidates(bits, to), importance, calibration, signal },
      ...(options.mix !== undefined && { mix: options.mix }),
      onTrial: (done, total) => report({ stage: "mix", variant, done, total }),
    });
    return this.#mix;
  }

  async importance(variant: string): Promise<Map<string, Float32Array>> {
    const { model, backend, signal, report } = this.#setting;
    const calibration = await this.calibration();
    const total = (model.config.num_hidden_layers + 2) * calibration.batches.length;
    let done = 0;
    this.#importance ??= measureImportance(model, backend, calibration, {
      signal,
      onBatch: () => report({ stage: "calibrating", variant, done: ++done, total }),
    });
    return this.#importance;
  }
}

async function readChecked(
  model: OpenedModel,
  { calibration, tokens, samples, ctx, seed }: QuantizeOptions,
  signal: AbortSignal,
): Promise<Calibration> {
  const files = [calibration ?? []].flat();
  const data = await readCalibration(
    "quantize",
    model,
    {
      calibration: files,
      ...(tokens !== undefined && { tokens }),
      ...(samples !== undefined && { samples }),
      ...(ctx !== undefined && { ctx }),
      ...(seed !== undefined && { seed }),
    },
    signal,
  );
  const cannot = `Cannot calibrate ${JSON.stringify(model.name)} on ${files.join(", ")}: `;
  const { vocab_size } = model.config;
  for (const { tokens } of data.batches)
    for (const id of tokens)
      if (!(id >= 0 && id < vocab_size))
        throw new RangeError(
          `${cannot}its text has token ${id}, but the model knows ${vocab_size}, wanted the tokenizer of this model`,
        );
  if (data.targets < MIN_TARGETS)
    throw new RangeError(
      `${cannot}it has ${data.targets} tokens to predict, wanted ${MIN_TARGETS} or more; some thousands are good`,
    );
  return data;
}

/** What a method has found out; call `close` when it is written. */
export type Choice = Chosen & { close(): Promise<void> };

export async function choose(setting: Setting, shared: Shared, wanted: Wanted): Promise<Choice> {
  switch (wanted.method) {
    case "rtn":
      return { close: async () => {} };
    case "imatrix":
      return { importance: await shared.importance(wanted.name), close: async () => {} };
    case "awq":
    case "gptq":
      return keeping(setting, shared, wanted, (calibration, store) =>
        calibrate(
          setting,
          wanted.name,
          blockTypes(wanted.plan),
          calibration,
          store,
          wanted.method as "awq" | "gptq",
        ),
      );
    case "learned":
      return keeping(setting, shared, wanted, (calibration, store) =>
        train(setting, wanted, calibration, store),
      );
  }
}

/** Does what a calibrated method does with a store beside the output: kept where the work was interrupted, not where it cannot be done. */
async function keeping(
  setting: Setting,
  shared: Shared,
  wanted: Wanted,
  work: (calibration: Calibration, store: Store) => Promise<void>,
): Promise<Choice> {
  const { model, options, target } = setting;
  checkColumns(model, target.kind);
  const calibration = await shared.calibration();
  const settings = {
    model: await modelIdentity(model),
    method: wanted.method,
    types: Object.fromEntries(blockTypes(wanted.plan)),
    data: calibration.digests,
    tokens: options.tokens,
    samples: options.samples,
    ctx: calibration.limits.ctx,
    seed: options.seed ?? 0,
    ...(wanted.method === "learned" && { steps: options.steps, codes: options.codes }),
  };
  const folder = unfinished(target.path(wanted.name));
  const store = await Store.open(folder, settings, options.resume ?? false);
  try {
    await work(calibration, store);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) await store.remove();
    throw error;
  }
  const finished = await store.finished();
  return { finished, notes: unfoldedNote(finished.unfolded), close: () => finished.close() };
}

/** Part by part, each kept when it is finished. */
async function calibrate(
  { model, backend, report, signal }: Setting,
  variant: string,
  types: ReadonlyMap<string, WeightType>,
  calibration: Calibration,
  store: Store,
  method: "awq" | "gptq",
): Promise<void> {
  const state = await store.state();
  const total = model.config.num_hidden_layers + 2;
  const parts = quantizeCalibrated(model, backend, {
    ...{ method, types, calibration, signal },
    ...(state && { resume: state }),
    onProgress: ({ index, stage, done, total: of }) => {
      // Measuring is half of a part's time, about.
      const share = ((stage === "measuring" ? 0 : 1) + done / Math.max(1, of)) / 2;
      report({ stage: "calibrating", variant, done: index + share, total });
    },
  });
  for await (const part of parts) await store.put(part.index, part, part.state);
}

/**
 * Blocks trained together, from what GPTQ makes of them; they are kept when they are trained. GPTQ's blocks and checkpoints lie in the
 * store until then.
 */
async function train(
  setting: Setting,
  { name: variant, plan }: Wanted,
  calibration: Calibration,
  store: Store,
): Promise<void> {
  const { model, backend, options, report, signal } = setting;
  const start = new Map<string, QuantizedMatrix>();
  const types = blockTypes(plan);
  checkLearning(model, types, { calibration, ...learningOptions(options) });
  // Kept, so that a resumed run trains on at once. What they depend on is what the outer store depends on.
  const first = await Store.open(join(store.folder, "start"), {}, true);
  await calibrate(setting, variant, types, calibration, first, "gptq");
  const finished = await first.finished();
  try {
    for (const [name, type] of types)
      if (finished.type(name) === type) start.set(name, { type, bytes: await finished.whole(name) });
  } finally {
    await finished.close();
  }
  const folder = join(store.folder, "training");
  const job = learn(model, backend, start, {
    ...{ calibration, folder, signal },
    resume: (await startedWith(folder)) !== undefined,
    ...learningOptions(options),
    ...(options.seed !== undefined && { seed: options.seed }),
  });
  for await (const { step, steps } of job) report({ stage: "training", variant, done: step, total: steps });
  const { blocks, vectors } = await job.result;
  await store.put(0, { blocks: new Map([...start, ...blocks]), vectors, errors: new Map() });
}

/** Told of AWQ: a matrix that is left out, or all. */
function unfoldedNote(names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const some = names.slice(0, 4).join(", ");
  const more = names.length > 4 ? ` and ${names.length - 4} more` : "";
  return [
    `nothing stands before ${names.length === 1 ? "one matrix" : `${names.length} matrices`} that awq's scales can be folded into, so rows were cut alone: ${some}${more}`,
  ];
}

/** Columns that GGUF orders otherwise cannot be moved when they are in blocks. */
function checkColumns(model: OpenedModel, kind: Setting["target"]["kind"]): void {
  if (kind === "folder" || model.kind === "gguf") return;
  const { definition, config } = model;
  for (const name of definition.params(config).keys())
    if (definition.gguf.moved?.(name, config)?.columns)
      throw new TypeError(
        `Cannot calibrate ${JSON.stringify(model.name)} for a GGUF file: its columns of ${name} lie in another order there, wanted a GGUF file of it (pith convert ${model.name} model.gguf), or rtn or imatrix`,
      );
}
