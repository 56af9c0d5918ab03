// Quantizing: a model -> the same in fewer bits, as a GGUF file or a folder, in several variants if asked, each measured.
// The verb `pith quantize`.

import { readFile, rename, rm } from "node:fs/promises";
import type { Backend } from "../engine/backend.ts";
import { createBackend } from "../engine/backends/index.ts";
import type { QuantType } from "../engine/grids.ts";
import { checkTensors, type OpenedModel } from "../models/index.ts";
import { Job, withModel } from "../train/index.ts";
import { measureVariants, type Original, readEvaluationText, withPeak } from "./measure.ts";
import { planQuantization, type QuantizePlan } from "./plan.ts";
import { readFinished, writeQuantizeReport } from "./report.ts";
import { checkVariant, type Target, targetOf } from "./target.ts";
import {
  QUANTIZE_METHODS,
  type QuantizeEvent,
  type QuantizeMethod,
  type QuantizeOptions,
  type QuantizeResult,
  type Variant,
} from "./types.ts";
import { writeVariant } from "./write.ts";

/** One of what is to be made. */
export interface Wanted {
  /** "q4_k-gptq" */
  readonly name: string;
  readonly to: QuantType;
  readonly method: QuantizeMethod;
}

/**
 * Writes a model in fewer bits. Everything that can be refused is refused before anything is computed; a file has its name
 * when all of it is written.
 * @param model a path, a hub name that is in the cache, or an opened model, which stays open
 * @throws {TypeError | RangeError | Error} naming the option, file or tensor that is wrong
 */
export function quantize(
  model: string | OpenedModel,
  options: QuantizeOptions,
): Job<QuantizeEvent, QuantizeResult> {
  return new Job(
    (report, signal) => withModel(model, (opened) => run(opened, options, report, signal)),
    options.signal,
  );
}

/** Every type with every method. @throws {TypeError} on a method that there is none of, or none at all */
export function wantedOf({ to, method = "rtn", bits }: QuantizeOptions): Wanted[] {
  const types = [to].flat() as QuantType[];
  const methods = [method].flat() as QuantizeMethod[];
  const unknown = methods.find((name) => !QUANTIZE_METHODS.includes(name));
  if (unknown !== undefined || methods.length === 0 || types.length === 0)
    throw new TypeError(
      `Cannot quantize by ${JSON.stringify(unknown ?? "nothing")}: wanted a type and one of ${QUANTIZE_METHODS.join(", ")}`,
    );
  const prefix = bits === undefined ? "" : `${bits}bits-`;
  return types.flatMap((type) =>
    methods.map((name) => ({ name: `${prefix}${type}-${name}`, to: type, method: name })),
  );
}

/** What every step of a run has at hand. */
export interface Setting {
  readonly model: OpenedModel;
  readonly options: QuantizeOptions;
  readonly backend: Backend;
  readonly target: Target;
  readonly report: (event: QuantizeEvent) => void;
  readonly signal: AbortSignal;
}

async function run(
  model: OpenedModel,
  options: QuantizeOptions,
  report: (event: QuantizeEvent) => void,
  signal: AbortSignal,
): Promise<QuantizeResult> {
  const started = performance.now();
  const { out, overwrite = false, resume = false, backend: name, threads } = options;
  const wanted = wantedOf(options);
  checkTensors(model);
  checkOptions(model, options, wanted);
  const target = targetOf(out, wanted.map((one) => one.name));
  const finished = await readFinished(target, resume);
  const plans = new Map(wanted.map((one) => [one.name, planQuantization(model, { ...options, to: one.to })]));
  const done = new Map<string, Variant>();
  for (const one of wanted) {
    const whole = await checkVariant(target, one.name, model.name, { overwrite, resume });
    const before = finished.get(one.name);
    if (whole && before) done.set(one.name, before);
  }
  const text = options.eval === undefined ? undefined : await readEvaluationText(options.eval);
  const backend = await createBackend({ ...(name && { backend: name }), ...(threads && { threads }) });
  try {
    const setting: Setting = { model, options, backend, target, report, signal };
    for (const one of wanted)
      if (!done.has(one.name)) {
        done.set(one.name, await make(setting, one, plans.get(one.name)!));
        await writeQuantizeReport(setting, resultOf(wanted, done, undefined, target, started));
      }
    const original = text === undefined ? undefined : await measure(setting, wanted, done, text);
    const result = resultOf(wanted, done, original, target, started);
    await writeQuantizeReport(setting, result);
    return result;
  } finally {
    backend.close();
  }
}

function resultOf(
  wanted: readonly Wanted[],
  done: ReadonlyMap<string, Variant>,
  original: Original | undefined,
  { report }: Target,
  started: number,
): QuantizeResult {
  const variants = wanted.flatMap(({ name }) => done.get(name) ?? []);
  const seconds = (performance.now() - started) / 1000;
  return { variants, ...(original && { original }), report, seconds };
}
