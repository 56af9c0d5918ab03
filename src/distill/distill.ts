// Distilling: a student learns from samples and from what a teacher says of them. The verb `pith distill`.

import type { OpenedModel } from "../models/index.ts";
import { isEndpoint } from "../remote/index.ts";
import {
  type DryRun,
  givenFitOptions,
  Job,
  perform,
  prepare,
  type StepEvent,
  type TuneResult,
  trainsAll,
  tryOut,
  withModel,
} from "../train/index.ts";
import { type DistillOptions, planOf } from "./options.ts";
import { type NewStudent, openNewStudent } from "./student.ts";
import { checkSameTokens } from "./vocabulary.ts";
import { openWay } from "./way.ts";

export interface DistillResult extends TuneResult {}

/** What may be a student: a model, or one to be made, which takes over the teacher's tokenizer. */
export type Student = string | OpenedModel | NewStudent;

/** Learning rates: of a new model, of all weights of one that is there, of those behind ternary ones, of an adapter. */
const LEARNING_RATE = { new: 1e-3, full: 1e-4, ternary: 1e-3, adapter: 2e-4 };
const DEFAULTS = { warmup_steps: 0.03, max_grad_norm: 1 };

/**
 * Trains a student on samples and on a teacher's distributions over them. An adapter of the student is written as a PEFT
 * folder, a student trained whole as a model folder. By the method "ternary", a model that has no other teacher is taught by
 * what it was before.
 * @throws {TypeError} when the tokenizers differ, naming the first token
 * @throws {Error} naming the file, line or option that is wrong; others as `tune`
 */
export function distill(student: Student, options: DistillOptions): Job<StepEvent, DistillResult> {
  return new Job(
    (report, signal) =>
      withBoth(student, options, async (opened, teacher) => {
        const { method = "full", out } = options;
        const { prepared, how } = await open(student, opened, teacher, options, signal);
        const title = `${opened.name}, taught by ${nameOf(options)}`;
        const result = await perform(prepared, { ...options, out, how, title }, report, signal);
        return { ...result, adapter: !trainsAll(method) };
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

const nameOf = ({ teacher, cache }: Pick<DistillOptions, "teacher" | "cache">): string =>
  teacher === undefined ? (cache ?? "itself") : typeof teacher === "string" ? teacher : teacher.name;

/** Opens student and teacher, as far as they are models. */
function withBoth<T>(
  student: Student,
  { teacher, cache, method }: Pick<DistillOptions, "teacher" | "cache" | "method">,
  work: (student: OpenedModel, teacher: OpenedModel | undefined) => Promise<T>,
): Promise<T> {
  if (method === "ternary" && teacher === undefined && cache === undefined && !isNew(student))
    return withModel(student, (opened) => work(opened, opened));
  if (teacher === undefined && cache === undefined)
    throw new TypeError("Cannot distill without a teacher: wanted a model, an endpoint or a cache");
  const withStudent = async (teacher: OpenedModel | undefined): Promise<T> => {
    if (!isNew(student)) return withModel(student, (opened) => work(opened, teacher));
    if (!teacher)
      throw new TypeError(
        "Cannot make a new student without its teacher's model: wanted one, whose tokenizer it takes over",
      );
    const opened = await openNewStudent(student, teacher);
    try {
      return await work(opened, teacher);
    } finally {
      await opened.close();
    }
  };
  if (teacher === undefined || (typeof teacher === "string" && isEndpoint(teacher)))
    return withStudent(undefined);
  return withModel(teacher, withStudent);
}

async function open(
  student: Student,
  model: OpenedModel,
  teacher: OpenedModel | undefined,
  options: Omit<DistillOptions, "out"> & { readonly out?: string },
  signal: AbortSignal,
) {
  const { method = "full", resume, out } = options;
  const plan = planOf(options);
  if (teacher) {
    const [own, other] = [await model.tokenizer(), await teacher.tokenizer()];
    checkSameTokens({ name: model.name, tokenizer: own }, { name: teacher.name, tokenizer: other });
  }
  const { beta: _, ...given } = options; // that of another method
  const how = {
    lr: LEARNING_RATE[isNew(student) ? "new" : trainsAll(method) ? method : "adapter"],
    ...(trainsAll(method) && { weight_decay: 0.01 }),
    ...DEFAULTS,
    // What is learned last would count as worse by the loss on text that is given.
    ...(plan.on_policy && { keep: "last" as const }),
    // Reverse divergences of a new student begin far above its cross-entropy.
    max_loss: 10 * Math.log(model.config.vocab_size),
    ...givenFitOptions(given),
  };
  const before = resume ? out : undefined;
  const prepared = await prepare(model, { ...given, method }, signal, before, (material) =>
    openWay(teacher, plan, options, material, out === undefined),
  );
  return { prepared, how };
}
