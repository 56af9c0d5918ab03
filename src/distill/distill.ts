// Distilling: a student learns from samples and from what a teacher says of them. The verb `pith distill`.

import type { Backend } from "../engine/backend.ts";
import { modelIdentity, type OpenedModel } from "../models/index.ts";
import {
  type DryRun,
  type GradientProgram,
  givenFitOptions,
  Job,
  type Material,
  perform,
  prepare,
  type StepEvent,
  type TuneOptions,
  type TuneResult,
  tryOut,
  type Way,
  withModel,
} from "../train/index.ts";
import { type Mix, recordDistillation } from "./programs.ts";
import { DistillStep } from "./step.ts";
import { type NewStudent, openNewStudent } from "./student.ts";
import { LocalTeacher } from "./teacher.ts";
import { DISTILLATION_LOSSES, type DistillationLoss } from "./types.ts";
import { checkSameTokens } from "./vocabulary.ts";

export interface DistillOptions extends Omit<TuneOptions, "method" | "beta" | "label_smoothing"> {
  /** A path, a hub name that is in the cache, or an opened model, which stays open. */
  readonly teacher: string | OpenedModel;
  /** What is trained of the student. Default "full". */
  readonly method?: Exclude<TuneOptions["method"], "dpo">;
  /** Distance to the teacher. Default "forward_kl". */
  readonly loss?: DistillationLoss;
  /** Of jsd (default 0.5), skew_kl and skew_reverse_kl (0.1). */
  readonly beta?: number;
  /** Of both distributions. Default 1. */
  readonly temperature?: number;
  /** The distance times temperature². Default false. */
  readonly scale_temperature?: boolean;
  /** Loss = ce_weight · cross-entropy + kd_weight · distance. Default 0.5 each. */
  readonly ce_weight?: number;
  readonly kd_weight?: number;
}

export interface DistillResult extends TuneResult {}

/** What may be a student: a model, or one to be made, which takes over the teacher's tokenizer. */
export type Student = string | OpenedModel | NewStudent;

/** Learning rates: of a new model, of all weights of one that is there, of an adapter. */
const LEARNING_RATE = { new: 1e-3, full: 1e-4, adapter: 2e-4 };
const DEFAULTS = { warmup_steps: 0.03, max_grad_norm: 1 };
/** Of each loss that has one. */
const BETA = { forward_kl: 0.5, reverse_kl: 0.5, jsd: 0.5, skew_kl: 0.1, skew_reverse_kl: 0.1 };

/**
 * Trains a student on samples and on a teacher's distributions over them. An adapter of the student is written as a PEFT
 * folder, a student trained whole as a model folder.
 * @throws {TypeError} when the tokenizers differ, naming the first token
 * @throws {Error} naming the file, line or option that is wrong; others as `tune`
 */
export function distill(student: Student, options: DistillOptions): Job<StepEvent, DistillResult> {
  return new Job(
    (report, signal) =>
      withBoth(student, options, async (opened, teacher) => {
        const { method = "full", out } = options;
        const { prepared, how } = await open(student, opened, teacher, options, signal);
        const title = `${opened.name}, taught by ${teacher.name}`;
        const result = await perform(prepared, { ...options, out, how, title }, report, signal);
        return { ...result, adapter: method !== "full" };
      }),
    options.signal,
  );
}

/** All of a distillation but the training, as `dryRun`. */
export function dryDistill(
  student: Student,
  options: Omit<DistillOptions, "out">,
  shown: { samples?: number; color?: boolean } = {},
): Promise<DryRun> {
  const signal = options.signal ?? new AbortController().signal;
  return withBoth(student, options, async (opened, teacher) => {
    const { prepared } = await open(student, opened, teacher, options, signal);
    return tryOut(prepared, shown, signal);
  });
}

const isNew = (student: Student): student is NewStudent =>
  typeof student !== "string" && !("tensors" in student);

function withBoth<T>(
  student: Student,
  { teacher }: Pick<DistillOptions, "teacher">,
  work: (student: OpenedModel, teacher: OpenedModel) => Promise<T>,
): Promise<T> {
  return withModel(teacher, async (teacher) => {
    if (!isNew(student)) return withModel(student, (opened) => work(opened, teacher));
    const opened = await openNewStudent(student, teacher);
    try {
      return await work(opened, teacher);
    } finally {
      await opened.close();
    }
  });
}

async function open(
  student: Student,
  model: OpenedModel,
  teacher: OpenedModel,
  options: Omit<DistillOptions, "out"> & { readonly out?: string },
  signal: AbortSignal,
) {
  const { method = "full", resume, out } = options;
  const mix = mixOf(options);
  const tokenizers = [model, teacher].map(async ({ name, tokenizer }) => ({
    name,
    tokenizer: await tokenizer(),
  }));
  const [own, other] = await Promise.all(tokenizers);
  checkSameTokens(own!, other!);
  // None of them is the option of another method.
  const { beta: _beta, ...given } = options;
  const how = {
    lr: LEARNING_RATE[isNew(student) ? "new" : method === "full" ? "full" : "adapter"],
    ...(method === "full" && { weight_decay: 0.01 }),
    ...DEFAULTS,
    // Reverse divergences of a new student begin far above its cross-entropy.
    max_loss: 10 * Math.log(model.config.vocab_size),
    ...givenFitOptions(given),
  };
  const prepared = await prepare(model, { ...given, method }, signal, resume ? out : undefined, (material) =>
    openWay(teacher, mix, material),
  );
  return { prepared, how };
}

/** @throws {RangeError | TypeError} naming the option that is out of range */
function mixOf(options: Partial<DistillOptions>): Mix {
  const { loss = "forward_kl", temperature = 1, scale_temperature = false } = options;
  const { ce_weight = 0.5, kd_weight = 0.5 } = options;
  if (!DISTILLATION_LOSSES.includes(loss))
    throw new TypeError(
      `Cannot distill with the loss ${JSON.stringify(loss)}: wanted ${DISTILLATION_LOSSES.join(", ")}`,
    );
  const { beta = BETA[loss] } = options;
  if (!(beta > 0 && beta < 1))
    throw new RangeError(`Cannot distill with beta ${beta}: wanted a number between 0 and 1`);
  if (!(temperature > 0 && temperature <= 100))
    throw new RangeError(
      `Cannot distill with temperature ${temperature}: wanted a number above 0, up to 100`,
    );
  for (const [name, weight] of Object.entries({ ce_weight, kd_weight }))
    if (!(Number.isFinite(weight) && weight >= 0))
      throw new RangeError(`Cannot distill with ${name} ${weight}: wanted a number from 0`);
  if (ce_weight + kd_weight === 0)
    throw new RangeError("Cannot distill with ce_weight and kd_weight 0: nothing would be learned");
  return { ce: ce_weight, kd: kd_weight, distance: { loss, beta, temperature, scale_temperature } };
}

async function openWay(model: OpenedModel, mix: Mix, material: Material): Promise<Way> {
  const { backend, trainable, longest, signal } = material;
  const teacher = await LocalTeacher.load(model, backend as Backend, { ctx: longest, signal });
  const source = { teacher, top_k: 0 };
  const record: GradientProgram = (trainable, ctx, compute = {}) =>
    recordDistillation(trainable, ctx, teacher, mix, true, compute);
  try {
    return {
      record,
      bytes: teacher.bytes,
      settings: { teacher: await modelIdentity(model), mix },
      learner: async (size, _steps, compute) =>
        new DistillStep(backend, trainable, size, { source, mix, ...compute }),
      close: () => teacher.free(),
    };
  } catch (error) {
    teacher.free();
    throw error;
  }
}
