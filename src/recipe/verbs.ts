// What `make` knows of each verb: which options name files or models, what is made of a step, how it is called, which
// figures it gives, and what it tells beforehand.

import { basename, join } from "node:path";
import { type Compared, compare } from "../compare/index.ts";
import {
  distill,
  distillRecursively,
  dryDistill,
  type Generation,
  type SynthesizeResult,
  synthesize,
} from "../distill/index.ts";
import { writeFileAtomic } from "../formats/index.ts";
import { prune } from "../prune/index.ts";
import { dryRunQuantize, quantize, type Variant } from "../quantize/index.ts";
import { type DryRun, dryRun, type FitResult, type StepEvent, train, tune } from "../train/index.ts";
import {
  averageModels,
  convertModel,
  evaluateStep,
  evaluationFigures,
  fuseModel,
  numbers,
} from "./models.ts";
import type { Figures } from "./recipe.ts";

export type VerbName =
  | "run"
  | "train"
  | "tune"
  | "distill"
  | "distillRecursively"
  | "prune"
  | "quantize"
  | "synthesize"
  | "fuse"
  | "average"
  | "convert"
  | "evaluate"
  | "compare";

/** How a step is run. */
export interface How {
  /** What it shall make: `folder`, or a file in it. */
  readonly out: string;
  /** The step's own folder, which is there. */
  readonly folder: string;
  /** The step was interrupted, and what it left is there. */
  readonly resume: boolean;
  readonly signal: AbortSignal;
  /** @param left seconds until it is done, where that is known */
  tell(done: number, total: number, text?: string, left?: number): void;
  /** Figures of inputs that are steps, by the option's name. */
  readonly figures: Readonly<Record<string, Figures>>;
}

/** Library options, paths in place of steps. Checked by the verb itself. */
// biome-ignore lint/suspicious/noExplicitAny: the options of twelve verbs, whose types the functions of `step` hold
type Options = any;

export interface Verb {
  /** Dotted names of the options that are paths; "name.*": all within. */
  readonly paths: readonly string[];
  /** Name of the file in the step's folder that stands for it; undefined: the folder does. */
  file(name: string, options: Options): string | undefined;
  run(options: Options, how: How): Promise<Figures>;
  /** What it would do, in lines. */
  plan?(options: Options, signal: AbortSignal): Promise<string[]>;
}

const folder = () => undefined;

export const VERBS: Readonly<Record<VerbName, Verb>> = {
  run: {
    paths: ["inputs.*", "sources"],
    file: folder,
    async run({ run, inputs = {}, settings }, { out, signal, tell, figures }) {
      const own = Object.entries(figures).map(([name, of]) => [name.replace(/^inputs\./, ""), of]);
      const context = { inputs, settings, out, signal, progress: tell, figures: Object.fromEntries(own) };
      return checkedFigures(await run(context));
    },
  },
  train: {
    paths: ["data", "eval", "tokenizer", "config"],
    file: folder,
    run: (options, how) => training(train({ ...options, ...resumed(how) }), how),
  },
  tune: {
    paths: ["model", "data", "eval"],
    file: folder,
    run: ({ model, ...options }, how) => training(tune(model, { ...options, ...resumed(how) }), how),
    plan: async ({ model, ...options }, signal) => planned(await dryRun(model, { ...options, signal }, NONE)),
  },
  distill: {
    paths: ["student", "student.config", "teacher", "data", "eval", "cache"],
    file: folder,
    run: ({ student, ...options }, how) =>
      training(distill(student, { ...options, onCache: cached(how), ...resumed(how) }), how),
    plan: async ({ student, ...options }, signal) =>
      planned(await dryDistill(student, { ...options, signal }, NONE)),
  },
  distillRecursively: {
    paths: ["model", "data", "eval", "calibration", "task"],
    file: folder,
    async run({ model, ...options }, how) {
      const job = distillRecursively(model, { ...options, ...resumed(how) });
      for await (const { generation, generations, stage, step, prune } of job) {
        const [done, total] = step ? [step.step, step.steps] : prune ? [prune.done, prune.total] : [0, 1];
        const text = `generation ${generation} of ${generations - 1}: ${stage}${step ? `, ${lossOf(step)}` : ""}`;
        how.tell(done, total, text, step?.eta);
      }
      const { generations } = await job.result;
      return Object.fromEntries(generations.slice(1).flatMap(generationFigures));
    },
  },
  prune: {
    paths: ["model", "calibration"],
    file: folder,
    async run({ model, ...options }, { out, signal, tell }) {
      const job = prune(model, { ...options, out, overwrite: true, signal });
      for await (const { stage, done, total } of job) tell(done, total, stage);
      const { before, after } = await job.result;
      return {
        parameters: after.parameters,
        share: after.parameters / before.parameters,
        loss: after.loss,
        loss_before: before.loss,
      };
    },
  },
  quantize: {
    paths: ["model", "calibration", "eval"],
    file: (name, options) => (options.as === "folder" || several(options) ? undefined : `${name}.gguf`),
    async run({ model, as: _, ...options }, { out, signal, tell, resume }) {
      const job = quantize(model, { ...options, out, overwrite: true, resume, signal });
      for await (const { stage, variant, done, total } of job) tell(done, total, `${variant}: ${stage}`);
      const { variants, original } = await job.result;
      const found = variants.flatMap((variant) =>
        Object.entries(variantFigures(variant)).map(
          ([name, value]) => [several(options) ? `${variant.name}.${name}` : name, value] as const,
        ),
      );
      return { ...Object.fromEntries(found), ...(original && { perplexity_before: original.perplexity }) };
    },
    async plan({ model, as: _, ...options }, signal) {
      const out = several(options) ? "variants" : "model.gguf";
      const { variants } = await dryRunQuantize(model, { ...options, out, signal });
      return variants.map(
        ({ name, plan, memory }) =>
          `${name}: ${mib(plan.bytes.after)}, ${plan.bits_per_weight.toFixed(2)} bits a weight; memory ${mib(memory.total)}`,
      );
    },
  },
  synthesize: {
    paths: ["teacher", "seeds"],
    file: (name) => `${name}.jsonl`,
    async run({ teacher, ...options }, { out, signal, tell }) {
      const job = synthesize(teacher, { ...options, out, signal });
      for await (const { accepted, count, attempts, eta } of job)
        tell(accepted, count, `${attempts} attempts`, eta);
      return synthesisFigures(await job.result);
    },
  },
  fuse: {
    paths: ["model", "adapters"],
    file: (name, { as = "gguf" }) => (as === "gguf" ? `${name}.gguf` : undefined),
    run: (options, { out, signal, tell }) => fuseModel(options, out, signal, tell),
  },
  average: {
    paths: ["models"],
    file: (name, { as = "gguf" }) => (as === "gguf" ? `${name}.gguf` : undefined),
    run: (options, { out, signal, tell }) => averageModels(options, out, signal, tell),
  },
  convert: {
    paths: ["model"],
    file: (name, { as = "gguf" }) => (as === "gguf" ? `${name}.gguf` : undefined),
    async run(options, { out, signal, tell }) {
      await convertModel(options, out, signal, tell);
      return {};
    },
  },
  evaluate: {
    paths: ["model", "adapters", "text", "base", "task"],
    file: (name) => `${name}.json`,
    async run(options, { out, signal, tell }) {
      const result = await evaluateStep(options, signal, tell);
      await writeFileAtomic(out, `${JSON.stringify(result, null, 1)}\n`);
      return evaluationFigures(result);
    },
  },
  compare: {
    paths: ["models.*", "text", "task"],
    file: (name) => `${name}.json`,
    async run({ models, ...options }, { out, folder, signal, tell }) {
      const page = join(folder, "report.html");
      const job = compare(Object.values(models), { ...options, out: page, signal });
      for await (const { model, stage, done, total } of job) tell(done, total, `${model}: ${stage}`);
      const result = await job.result;
      await writeFileAtomic(out, `${JSON.stringify(result, null, 1)}\n`);
      const names = Object.keys(models);
      return Object.fromEntries(
        result.models.flatMap((model, i) => comparedFigures(names[i]!, model, result.tasks)),
      );
    },
  },
};

/** What was measured of a model, under its name in the recipe; scores under that of the task's file, too. */
function comparedFigures(
  name: string,
  model: Compared,
  tasks: readonly { name: string }[],
): [string, number][] {
  const { speed, answers, energy, text } = model;
  const { count: _, tokens: __, ...latency } = numbers(answers ?? {}) as Record<string, number>;
  const all = { ...numbers(model), ...numbers(speed ?? {}), ...latency, ...numbers(energy ?? {}) };
  const scores = model.tasks.flatMap(({ scores }, i) =>
    Object.entries(scores).map(
      ([score, { value }]) => [`${taskName(tasks[i]!.name)}.${score}`, value] as const,
    ),
  );
  const found = [...Object.entries({ ...all, ...numbers(text ?? {}) }), ...scores];
  return found.map(([figure, value]) => [`${name}.${figure}`, value]);
}

/** "made/data/snips.task.jsonl" -> "snips" */
const taskName = (file: string) => basename(file).replace(/(\.task)?\.jsonl$/, "");

/** No samples are shown. */
const NONE = { samples: 0 };

/** A run that a step was interrupted in goes on; in an empty folder it begins. */
const resumed = ({ out, signal }: How) => ({ out, signal, resume: true });

type Following = AsyncIterable<StepEvent> & {
  readonly result: Promise<FitResult & { plan: DryRun["plan"] }>;
};

async function training(job: Following, { tell }: How): Promise<Figures> {
  for await (const event of job) tell(event.step, event.steps, lossOf(event), event.eta);
  const { step, loss, eval_loss, eval_kl, tokens, plan } = await job.result;
  return {
    ...{ parameters: plan.parameters, trained: plan.trained, steps: step, tokens, loss },
    ...(eval_loss !== undefined && { eval_loss, eval_perplexity: Math.exp(eval_loss) }),
    ...(eval_kl !== undefined && { eval_kl }),
  };
}

const lossOf = ({ loss, eval_loss }: StepEvent) =>
  `loss ${loss.toFixed(4)}${eval_loss === undefined ? "" : `, evaluation ${eval_loss.toFixed(4)}`}`;

const cached =
  ({ tell }: How) =>
  ({ tokens, total }: { tokens: number; total: number }) =>
    tell(tokens, total, "asking the teacher");

function planned({ plan, seconds, warnings }: DryRun): string[] {
  const { steps, tokens, trained, memory } = plan;
  return [
    `${steps} steps over ${tokens} tokens, ${trained} parameters trained; memory ${mib(memory.total)}; about ${Math.ceil(seconds)} s`,
    ...warnings.map((warning) => `worth knowing: ${warning}`),
  ];
}

const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const several = ({ to, method }: { to?: unknown; method?: unknown }): boolean =>
  [to, method].some((value) => Array.isArray(value) && value.length > 1);

function variantFigures({ plan, file_bytes, measured }: Variant): Figures {
  return { bits_per_weight: plan.bits_per_weight, file_bytes, ...(measured && numbers(measured)) };
}

function synthesisFigures({
  accepted,
  attempts,
  prompt_tokens,
  completion_tokens,
}: SynthesizeResult): Figures {
  return { accepted, attempts, prompt_tokens, completion_tokens };
}

function generationFigures({ folder, ...generation }: Generation): (readonly [string, number])[] {
  const { generation: _, seconds: __, ...rest } = numbers(generation) as Record<string, number>;
  const scores = Object.entries(generation.scores ?? {}).map(([name, { value }]) => [name, value] as const);
  const all = [...Object.entries(rest), ...scores] as (readonly [string, number])[];
  return all.map(([name, value]) => [`${basename(folder)}.${name}`, value]);
}

/** @throws {TypeError} when a function of one's own gives something else */
function checkedFigures(given: unknown): Figures {
  if (given === undefined) return {};
  const all = typeof given === "object" && given !== null ? Object.entries(given) : [["", given] as const];
  const wrong = all.find(
    ([name, value]) => name === "" || typeof value !== "number" || !Number.isFinite(value),
  );
  if (wrong)
    throw new TypeError(
      `Cannot take ${JSON.stringify(wrong[1])} as the figure ${JSON.stringify(wrong[0])}: wanted an object of numbers, or nothing`,
    );
  return given as Figures;
}
