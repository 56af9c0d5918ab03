// Again and again: a model is pruned, learns from the one that it was, and is pruned again. `pith distill --recursive`.
// Each finished generation is kept with a digest of its files, and a run that stopped goes on behind the last of them.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseTask } from "../evaluate/index.ts";
import { writeFileAtomic } from "../formats/index.ts";
import { loadModel, type Model } from "../generate/index.ts";
import { endTokens, modelIdentity, type OpenedModel, openModel } from "../models/index.ts";
import { type PruneEvent, prune, type Sizes } from "../prune/index.ts";
import { parameterCount, sizesOf } from "../prune/sizes.ts";
import {
  fileDigests,
  firstDifference,
  givenDataOptions,
  Job,
  readSamples,
  type Sample,
  type StepEvent,
} from "../train/index.ts";
import { holdOut } from "../train/split.ts";
import { distill } from "./distill.ts";
import { type GenerationFigures, generationFigures } from "./generation-figures.ts";
import type { DistillOptions } from "./options.ts";
import { writeRecursiveReport } from "./recursive-report.ts";

export interface RecursiveOptions
  extends Omit<
    DistillOptions,
    "teacher" | "endpoint" | "cache" | "top_k" | "onCache" | "out" | "method" | "onPlan" | "resume"
  > {
  /** Shares of the first model's parameters, falling: "100% > 50% > 25%", or [1, 0.5, 0.25]. */
  readonly shares: string | readonly number[];
  /** The folder of all: a model in generation-1, generation-2 and so on, with report.html and recursive.json. */
  readonly out: string;
  /** What pruning measures on. Default: `data`. */
  readonly calibration?: string | readonly string[];
  /** Of it, see `PruneOptions`. */
  readonly calibration_tokens?: number;
  readonly trial_tokens?: number;
  /** A task file that every generation is scored at. */
  readonly task?: string;
  /** Tokens of the held-out samples that generations are compared on. Default 16384. */
  readonly held_tokens?: number;
  /** Go on behind the last finished generation. */
  readonly resume?: boolean;
}

export interface RecursiveEvent {
  /** 0: the first model. */
  readonly generation: number;
  readonly generations: number;
  readonly stage: "pruning" | "distilling" | "measuring" | "done";
  readonly prune?: PruneEvent;
  readonly step?: StepEvent;
  /** With "done". */
  readonly figures?: Generation;
}

/** A finished generation. JSON-able. */
export interface Generation extends Omit<GenerationFigures, "kl"> {
  readonly generation: number;
  /** Asked for. */
  readonly share: number;
  /** Of the model. */
  readonly folder: string;
  /** SHA-256 of its config and weights. */
  readonly digest: string;
  readonly parameters: number;
  readonly sizes: Sizes;
  /** On held-out samples, in nats: KL(teacher || it), KL(first || it). Absent of the first. */
  readonly kl_teacher?: number;
  readonly kl_first?: number;
  /** Of the pruned model, before it learned: on the calibration data. */
  readonly pruned_loss?: number;
  /** Of learning: steps, and seconds in this process. */
  readonly steps?: number;
  readonly seconds?: number;
}

export interface RecursiveResult {
  readonly folder: string;
  /** Path of report.html. */
  readonly report: string;
  readonly generations: readonly Generation[];
}

/** What recursive.json remembers. */
interface State {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly generations: readonly Generation[];
  /** The pruned model that the next generation learns from. */
  readonly pruned?: { readonly generation: number; readonly digest: string; readonly loss: number };
}

const DEFAULT_HELD_SHARE = 0.1;
const DEFAULT_HELD_TOKENS = 16384;
const DEFAULT_CTX = 2048;

/**
 * Prunes and distils as often as `shares` has values below the first. Held out for comparison are `eval`, or `eval_share` of
 * the data (a tenth by default).
 * @throws {Error} naming the generation that is not what it was when the run stopped, or the setting that differs
 */
export function distillRecursively(
  model: string,
  options: RecursiveOptions,
): Job<RecursiveEvent, RecursiveResult> {
  return new Job((report, signal) => run(model, options, report, signal), options.signal);
}

async function run(
  name: string,
  given: RecursiveOptions,
  report: (event: RecursiveEvent) => void,
  signal: AbortSignal,
): Promise<RecursiveResult> {
  const { eval: evaluation, out } = given;
  const share = evaluation === undefined ? { eval_share: given.eval_share ?? DEFAULT_HELD_SHARE } : {};
  const options = { ...given, ...share };
  const shares = sharesOf(options.shares);
  const task = options.task === undefined ? undefined : await readTask(options.task);
  const first = await openModel(name);
  try {
    const held = await heldSamples(first, options, signal);
    const settings = await settingsOf(first, options, shares, held.digests);
    let state = await readState(out, settings, options.resume === true);
    const folders = [first.name];
    for (const [generation, share] of shares.entries()) {
      signal.throwIfAborted();
      const tell = (event: Omit<RecursiveEvent, "generation" | "generations">) =>
        report({ generation, generations: shares.length, ...event });
      const folder = generation === 0 ? first.name : join(out, `generation-${generation}`);
      if (generation > 0) folders.push(folder);
      const known = state.generations[generation];
      if (known) {
        await checkDigest(known, folder);
        tell({ stage: "done", figures: known });
        continue;
      }
      let learned: Partial<Generation> = {};
      if (generation > 0) {
        const teacher = folders[generation - 1]!;
        const before = state.generations[generation - 1]!;
        state = await prunedFrom(teacher, before, { share, generation, state, options, tell, signal });
        learned = await learn(teacher, folder, state, options, tell, signal);
      }
      tell({ stage: "measuring" });
      const figures = await measure(folders, generation, held.samples, task, options, signal);
      const row: Generation = { generation, share, folder, ...figures, ...learned };
      const { pruned: _, ...rest } = state;
      state = { ...rest, generations: [...state.generations, row] };
      await writeState(out, state);
      await writeRecursiveReport(out, { model: first.name, generations: state.generations, settings });
      tell({ stage: "done", figures: row });
    }
    return { folder: out, report: join(out, "report.html"), generations: state.generations };
  } finally {
    await first.close();
  }
}

/** @throws {SyntaxError | RangeError} on shares that do not fall, or are none */
export function sharesOf(shares: string | readonly number[]): number[] {
  const list =
    typeof shares === "string"
      ? shares.split(">").map((part) => {
          const [, digits, percent] = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*$/.exec(part) ?? [];
          if (digits === undefined)
            throw new SyntaxError(
              `Cannot distill by ${JSON.stringify(shares)}: ${JSON.stringify(part.trim())} is no share, wanted one as 50% or 0.5`,
            );
          return Number(digits) / (percent ? 100 : 1);
        })
      : [...shares];
  if (list[0] !== 1) list.unshift(1);
  const wrong = list.findIndex((share, i) => !(share > 0 && (i === 0 || share < list[i - 1]!)));
  if (wrong >= 0 || list.length < 2)
    throw new RangeError(
      `Cannot distill by ${list.map((x) => `${100 * x}%`).join(" > ")}: wanted at least two shares, each below the one before`,
    );
  return list;
}

type Options = RecursiveOptions;

/** Samples that no generation learns from: the same that distilling measures on. */
async function heldSamples(model: OpenedModel, options: Options, signal: AbortSignal) {
  const { eval: files, eval_share = 0, seed = 0, held_tokens = DEFAULT_HELD_TOKENS } = options;
  const tokenizer = await model.tokenizer();
  const ctx = options.ctx ?? Math.min(model.config.max_position_embeddings, DEFAULT_CTX);
  const how = { ...givenDataOptions(options), tokenizer, ctx, stopIds: endTokens(tokenizer, model), signal };
  const read = (files: string | readonly string[]) => readSamples(files, how);
  const data = await read(options.data);
  const evaluation = files === undefined ? undefined : await read(files);
  const all = evaluation?.samples ?? holdOut(data.samples, eval_share, seed)[1];
  const samples: Sample[] = [];
  for (let i = 0, tokens = 0; i < all.length && tokens < held_tokens; i++) {
    samples.push(all[i]!);
    tokens += all[i]!.ids.length;
  }
  const digests = { ...fileDigests(data.stats), ...(evaluation && fileDigests(evaluation.stats)) };
  return { samples, digests };
}

/** What a resumed run must have the same of: all that the generations follow from. */
async function settingsOf(
  model: OpenedModel,
  options: Options,
  shares: readonly number[],
  data: Readonly<Record<string, string>>,
): Promise<State["settings"]> {
  const { signal: _, out: __, resume: ___, threads: ____, backend: _____, ...rest } = options;
  const plain = Object.fromEntries(Object.entries(rest).filter(([, value]) => typeof value !== "function"));
  return JSON.parse(JSON.stringify({ ...plain, base: await modelIdentity(model), shares, data }));
}

const stateFile = (out: string) => join(out, "recursive.json");

async function readState(out: string, settings: State["settings"], resume: boolean): Promise<State> {
  const file = stateFile(out);
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return { settings, generations: [] };
  if (!resume)
    throw new Error(
      `Cannot distill into ${JSON.stringify(out)}: it holds a run of generations, wanted an empty folder, or resume`,
    );
  let state: State;
  try {
    state = JSON.parse(text);
    if (!Array.isArray(state.generations)) throw new TypeError("it has no list of generations");
  } catch (cause) {
    throw new SyntaxError(`Cannot resume from ${JSON.stringify(file)}: ${(cause as Error).message}`, {
      cause,
    });
  }
  const difference = firstDifference(state.settings, settings);
  if (difference) throw new Error(`Cannot resume ${JSON.stringify(out)}: ${difference}`);
  return state;
}

async function writeState(out: string, state: State): Promise<void> {
  await mkdir(out, { recursive: true });
  await writeFileAtomic(stateFile(out), `${JSON.stringify(state, null, 2)}\n`);
}

async function checkDigest({ generation, digest }: Generation, folder: string): Promise<void> {
  if (generation === 0) return; // the settings have what it is
  const found = await folderDigest(folder);
  if (found !== digest)
    throw new Error(
      `Cannot resume behind generation ${generation}: the digest of ${JSON.stringify(folder)} is ${found.slice(0, 12)}, wanted ${digest.slice(0, 12)}, which it had when it was finished`,
    );
}

/** SHA-256 of a model folder's config and weights. */
async function folderDigest(folder: string): Promise<string> {
  const hash = createHash("sha256");
  const names = await readdir(folder).catch(() => [] as string[]);
  for (const name of names.filter((name) => /^(config\.json|model.*\.safetensors)$/.test(name)).sort()) {
    hash.update(`${name}\n`);
    for await (const chunk of createReadStream(join(folder, name))) hash.update(chunk as Uint8Array);
  }
  return hash.digest("hex");
}

type Tell = (event: Omit<RecursiveEvent, "generation" | "generations">) => void;

/** The pruned model that the generation learns from, in pruned-N: made, or found as it was made. */
async function prunedFrom(
  teacher: string,
  before: Generation,
  {
    share,
    generation,
    state,
    options,
    tell,
    signal,
  }: {
    readonly share: number;
    readonly generation: number;
    readonly state: State;
    readonly options: Options;
    readonly tell: Tell;
    readonly signal: AbortSignal;
  },
): Promise<State> {
  const folder = join(options.out, `pruned-${generation}`);
  const { pruned } = state;
  if (pruned?.generation === generation && (await folderDigest(folder)) === pruned.digest) return state;
  const whole = state.generations[0]!.parameters;
  const { calibration = options.data, calibration_tokens, trial_tokens, seed, backend, threads } = options;
  const job = prune(teacher, {
    to: Math.min(1, (share * whole) / before.parameters),
    calibration,
    out: folder,
    overwrite: true,
    ...(calibration_tokens !== undefined && { tokens: calibration_tokens }),
    ...(trial_tokens !== undefined && { trial_tokens }),
    ...(seed !== undefined && { seed }),
    ...(backend && { backend }),
    ...(threads !== undefined && { threads }),
    signal,
  });
  for await (const event of job) tell({ stage: "pruning", prune: event });
  const { after } = await job.result;
  const next = { ...state, pruned: { generation, digest: await folderDigest(folder), loss: after.loss } };
  await writeState(options.out, next);
  return next;
}

async function learn(
  teacher: string,
  folder: string,
  { pruned }: State,
  options: Options,
  tell: Tell,
  signal: AbortSignal,
): Promise<Partial<Generation>> {
  const { shares: _, calibration: __, calibration_tokens: ___, trial_tokens: ____, ...rest } = options;
  const { task: _____, held_tokens: ______, ...distilling } = rest;
  const job = distill(join(options.out, `pruned-${pruned!.generation}`), {
    ...distilling,
    teacher,
    out: folder,
    resume: true,
    signal,
  });
  for await (const step of job) tell({ stage: "distilling", step });
  const { step, seconds } = await job.result;
  return { pruned_loss: pruned!.loss, steps: step, seconds };
}

async function measure(
  folders: readonly string[],
  generation: number,
  samples: readonly Sample[],
  task: ReturnType<typeof parseTask> | undefined,
  { backend, threads }: Options,
  signal: AbortSignal,
) {
  const folder = folders[generation]!;
  // The teacher, and the first where that is another.
  const others = [...new Set([folders[generation - 1], folders[0]])].filter(
    (other): other is string => other !== undefined && other !== folder,
  );
  const how = { ...(backend && { backend }), ...(threads !== undefined && { threads }), signal };
  const models: Model[] = [];
  try {
    for (const path of [folder, ...others]) models.push(await loadModel(path, how));
    const [model, ...rest] = models;
    const { kl, ...figures } = await generationFigures(model!, rest, samples, task, signal);
    const { config, definition, close } = await openModel(folder);
    await close();
    return {
      ...figures,
      ...(generation > 0 && { kl_teacher: kl[0]!, kl_first: kl.at(-1)! }),
      digest: generation === 0 ? "" : await folderDigest(folder),
      parameters: parameterCount(definition, config),
      sizes: sizesOf(config),
    };
  } finally {
    for (const model of models) await model.close();
  }
}

async function readTask(file: string) {
  return parseTask(await readFile(file, "utf8"), file);
}
