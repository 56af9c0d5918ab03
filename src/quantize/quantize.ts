// Quantizing: a model -> the same in fewer bits, as a GGUF file or a folder, in several variants if asked, each measured.
// The verb `pith quantize`.

import { mkdir, rm } from "node:fs/promises";
import type { Backend } from "../engine/backend.ts";
import { createBackend } from "../engine/backends/index.ts";
import { isQuantType, type QuantType } from "../engine/grids.ts";
import { withPeak } from "../engine/machine.ts";
import { readEvaluationText } from "../evaluate/index.ts";
import { checkTensors, type OpenedModel } from "../models/index.ts";
import { Job, withModel } from "../train/index.ts";
import { candidates } from "./bits.ts";
import { checkPackable, packedNames } from "./compressed-tensors.ts";
import { measureVariants, type Original } from "./measure.ts";
import { choose, Shared } from "./methods.ts";
import type { MixType } from "./mix.ts";
import { planQuantization, type QuantizePlan } from "./plan.ts";
import { readFinished, writeQuantizeReport } from "./report.ts";
import { checkVariant, sizeOf, type Target, targetOf, unfinished } from "./target.ts";
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
  /** With `bits`, until the mix is chosen: of all matrices in the smallest type. */
  readonly plan: QuantizePlan;
  readonly bits?: number;
  readonly mix?: NonNullable<Variant["mix"]>;
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

async function run(
  model: OpenedModel,
  options: QuantizeOptions,
  report: (event: QuantizeEvent) => void,
  signal: AbortSignal,
): Promise<QuantizeResult> {
  const started = performance.now();
  const { out, overwrite = false, resume = false, backend: name, threads } = options;
  const { wanted, target } = wantedOf(model, options);
  const finished = await readFinished(target, resume);
  const done = new Map<string, Variant>();
  for (const { name } of wanted) {
    const whole = await checkVariant(target, name, model.name, { overwrite, resume });
    const before = finished.get(name);
    if (whole && before) done.set(name, before);
  }
  const text = options.eval === undefined ? undefined : await readEvaluationText(options.eval);
  const backend = await createBackend({ ...(name && { backend: name }), ...(threads && { threads }) });
  try {
    const setting: Setting = { model, options, backend, target, report, signal };
    const shared = new Shared(setting);
    const left = wanted.filter(({ name }) => !done.has(name));
    if (left.some(needsData)) await shared.calibration();
    if (target.kind === "several") await mkdir(out, { recursive: true });
    for (const one of left) {
      done.set(one.name, await make(setting, shared, await mixed(one, setting, shared)));
      await writeQuantizeReport(setting, resultOf(wanted, done, undefined, target, started));
    }
    if (text === undefined) return resultOf(wanted, done, undefined, target, started);
    const original = await measure(setting, wanted, done, text);
    const result = resultOf(wanted, done, original, target, started);
    await writeQuantizeReport(setting, result);
    return result;
  } finally {
    backend.close();
  }
}

const needsData = ({ method, bits }: Wanted) => method !== "rtn" || bits !== undefined;

/** With `bits`, planned anew with the types that were chosen. */
async function mixed(one: Wanted, { model, options }: Setting, shared: Shared): Promise<Wanted> {
  const { bits, to } = options;
  if (bits === undefined) return one;
  const { types, ...mix } = await shared.mix(bits, [to ?? []].flat());
  const main = mostOf(one.plan, types);
  return { ...one, mix, to: main, plan: planQuantization(model, { ...options, to: main, types }) };
}

/** The type that most of the weights have. */
function mostOf({ tensors }: QuantizePlan, types: ReadonlyMap<string, MixType>): QuantType {
  const weights = new Map<MixType, number>();
  for (const { name, shape } of tensors) {
    const type = types.get(name);
    if (type) weights.set(type, (weights.get(type) ?? 0) + shape.reduce((a, b) => a * b, 1));
  }
  const [type] = [...weights].filter(([type]) => isQuantType(type)).sort((a, b) => b[1] - a[1])[0]!;
  return type as QuantType;
}

/**
 * Every type with every method, planned, and where they are written.
 * @throws {TypeError | RangeError} on options that there are none of, or that do not go together
 */
export function wantedOf(
  model: OpenedModel,
  options: QuantizeOptions,
): { readonly wanted: readonly Wanted[]; readonly target: Target } {
  checkTensors(model);
  const { out, method = "rtn", calibration, mix, bits, pure } = options;
  const types = bits === undefined ? [options.to ?? []].flat() : candidates(bits, [options.to ?? []].flat());
  const methods = [method].flat() as QuantizeMethod[];
  const unknown = methods.find((name) => !QUANTIZE_METHODS.includes(name));
  if (unknown !== undefined || methods.length === 0)
    throw new TypeError(
      `Cannot quantize by ${JSON.stringify(unknown ?? "nothing")}: wanted one of ${QUANTIZE_METHODS.join(", ")}`,
    );
  if (types.length === 0) throw new TypeError("Cannot quantize to nothing: wanted a type (to), or bits");
  const calibrated = methods.find((name) => name !== "rtn") ?? (bits === undefined ? undefined : "bits");
  if (calibration === undefined && calibrated)
    throw new TypeError(
      `Cannot quantize by ${calibrated}: wanted text or samples to calibrate on (calibration)`,
    );
  if (bits !== undefined && pure)
    throw new TypeError(`Cannot quantize purely to ${bits} bits: wanted a mix (bits), or one type (pure)`);
  const pairs =
    bits === undefined
      ? types.flatMap((to) => methods.map((method) => ({ name: `${to}-${method}`, to, method })))
      : methods.map((method) => ({ name: `${bits}bits-${method}`, to: types[0]!, method, bits }));
  const twice = pairs.find(({ name }, i) => pairs.findIndex((other) => other.name === name) < i);
  if (twice) throw new TypeError(`Cannot quantize twice as ${twice.name}: wanted every type and method once`);
  const target = targetOf(
    out,
    pairs.map(({ name }) => name),
  );
  if (target.kind === "folder" && (mix !== undefined || bits !== undefined))
    throw new TypeError(
      `Cannot write ${JSON.stringify(out)}: in a folder all packed matrices are of one type, wanted no mix and no bits; a name that ends in .gguf makes a GGUF file`,
    );
  const packed = target.kind === "folder" ? packedNames(model) : undefined;
  const wanted = pairs.map((pair) => {
    if (packed) checkPackable(model, pair.to, out);
    const given = { ...options, pure: pure === true || bits !== undefined };
    const plan = planQuantization(model, { ...given, to: pair.to, ...(packed && { packed }) });
    if (bits !== undefined && !(plan.bits_per_weight <= bits))
      throw new RangeError(
        `Cannot quantize ${JSON.stringify(model.name)} to ${bits} bits a weight: in ${pair.to} it takes ${plan.bits_per_weight.toFixed(2)}, wanted that or more`,
      );
    return { ...pair, plan };
  });
  return { wanted, target };
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

/** Makes one variant. */
async function make(setting: Setting, shared: Shared, wanted: Wanted): Promise<Variant> {
  const started = performance.now();
  const path = setting.target.path(wanted.name);
  const { value, peak_bytes } = await withPeak(async () => {
    const chosen = await choose(setting, shared, wanted);
    try {
      return { errors: await writeVariant(setting, wanted, chosen), notes: chosen.notes ?? [] };
    } finally {
      await chosen.close();
    }
  });
  await rm(unfinished(path), { recursive: true, force: true });
  return {
    ...wanted,
    ...{ path, errors: value.errors, peak_bytes },
    file_bytes: await sizeOf(path),
    seconds: (performance.now() - started) / 1000,
    notes: [...wanted.plan.notes, ...value.notes],
  };
}

/** Measures every variant beside the original, and fills in what it found. */
async function measure(
  { model, options, report, signal }: Setting,
  wanted: readonly Wanted[],
  done: Map<string, Variant>,
  text: string,
): Promise<Original | undefined> {
  const { eval_limit: limit, backend, threads } = options;
  const variants = wanted.map(({ name }) => done.get(name)!);
  const how = { text, name: JSON.stringify(options.eval), limit, backend, threads, signal };
  const paths = variants.map(({ path }) => path);
  const progress = (at: number, done: number, total: number) =>
    report({ stage: "measuring", variant: variants[at]!.name, done, total });
  let original: Original | undefined;
  let i = 0;
  for await (const found of measureVariants(model, paths, how, progress)) {
    const variant = variants[i++]!;
    done.set(variant.name, { ...variant, measured: found.measured });
    original = found.original;
  }
  return original;
}
