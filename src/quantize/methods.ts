// The methods, in one form: what each finds out on calibration data before anything is written. Data are read and measured
// once for all variants of a run.

import type { QuantType } from "../engine/grids.ts";
import type { OpenedModel } from "../models/index.ts";
import { type Calibration, readCalibration } from "../train/index.ts";
import { type ChosenMix, candidates, chooseMix } from "./bits.ts";
import type { Setting, Wanted } from "./quantize.ts";
import { measureImportance } from "./stream.ts";
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
export async function choose(
  _setting: Setting,
  _shared: Shared,
  wanted: Wanted,
): Promise<Chosen & { close(): Promise<void> }> {
  switch (wanted.method) {
    case "rtn":
      return { close: async () => {} };
    default:
      throw new TypeError(`Cannot quantize by ${wanted.method} yet: wanted rtn`);
  }
}
