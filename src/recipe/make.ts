// Making a recipe: each step behind what it reads, only those that are not there as they would be made. The verb `pith make`.

import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../formats/index.ts";
import { holdLock } from "../formats/lock.ts";
import { version } from "../formats/version.ts";
import { Job } from "../train/index.ts";
import { missedBy } from "./expect.ts";
import { Digests } from "./files.ts";
import { copyOutputs } from "./outputs.ts";
import { clear, sweep } from "./place.ts";
import { type Looked, type MakeOptions, Workshop } from "./plan.ts";
import { checkRecipe, DEFAULT_OUT, type Figures, order, type Recipe } from "./recipe.ts";
import { stateFolder, writeState } from "./state.ts";
import { type How, VERBS } from "./verbs.ts";

export interface MakeEvent {
  readonly step: string;
  readonly verb: string;
  /** From 1, and of how many. */
  readonly index: number;
  readonly steps: number;
  /** "unchanged": it is there. "held": a step that it reads has missed what was expected of it. */
  readonly stage: "unchanged" | "begun" | "working" | "done" | "held";
  /** With "begun". */
  readonly why?: readonly string[];
  /** With "working": how far it is, and a word on it. */
  readonly done?: number;
  readonly total?: number;
  readonly text?: string;
  /** Seconds until the step is done, where that is known. */
  readonly left?: number;
  /** With "done" and "unchanged". */
  readonly made?: MadeStep;
}

/** JSON-able. */
export interface MadeStep {
  readonly step: string;
  readonly verb: string;
  /** Whether this call made it. */
  readonly made: boolean;
  /** The file or folder that stands for it. */
  readonly path: string;
  /** Of its files. */
  readonly bytes: number;
  readonly figures: Figures;
  /** It took to make. */
  readonly seconds: number;
  /** What was expected of it and is not so. */
  readonly missed: readonly string[];
}

export interface MakeResult {
  readonly name: string;
  readonly out: string;
  /** Path of make.json. */
  readonly report: string;
  readonly steps: readonly MadeStep[];
  /** Paths that outputs were copied to by this call. */
  readonly copied: readonly string[];
}

/**
 * Makes what has changed. An interrupted call is gone on with by the next. Where a figure is not what it has to be, all that was
 * made stays, what reads that step waits, and the call ends with an error.
 * @throws {Error} naming every figure that is missed, with the value found and wanted; or the step that could not be made
 */
export function make(recipe: Recipe, options: MakeOptions = {}): Job<MakeEvent, MakeResult> {
  return new Job((report, signal) => {
    checkRecipe(recipe);
    return withWorkshop(recipe, (workshop) => run(workshop, options, report, signal));
  }, options.signal);
}

async function withWorkshop<T>(recipe: Recipe, work: (workshop: Workshop) => Promise<T>): Promise<T> {
  const { out = DEFAULT_OUT } = recipe;
  const busy = `Cannot make ${JSON.stringify(recipe.name)}: it is being made already`;
  const lock = await holdLock(join(stateFolder(out), "lock"), { busy });
  try {
    const digests = await Digests.open(join(stateFolder(out), "digests.json"));
    try {
      return await work(new Workshop(recipe, out, digests));
    } finally {
      await digests.save();
    }
  } finally {
    await lock.release();
  }
}

async function run(
  workshop: Workshop,
  options: MakeOptions,
  report: (event: MakeEvent) => void,
  signal: AbortSignal,
): Promise<MakeResult> {
  const { recipe, out } = workshop;
  const names = workshop.wanted(options);
  const made = new Map<string, MadeStep>();
  const held = new Set<string>();
  for (const [i, name] of names.entries()) {
    signal.throwIfAborted();
    const { verb } = recipe.steps[name]!;
    const tell = (event: Omit<MakeEvent, "step" | "verb" | "index" | "steps">) =>
      report({ step: name, verb, index: i + 1, steps: names.length, ...event });
    if (workshop.readBy(name).some((other) => held.has(other) || made.get(other)?.missed.length)) {
      held.add(name);
      tell({ stage: "held" });
      continue;
    }
    const looked = await workshop.look(name, options.force?.includes(name) === true);
    if (looked.why.length > 0) {
      tell({ stage: "begun", why: looked.why });
      await makeStep(workshop, name, looked, signal, (done, total, text, left) =>
        tell({
          ...{ stage: "working", done, total },
          ...(text !== undefined && { text }),
          ...(left !== undefined && { left }),
        }),
      );
    }
    const step = await madeStep(workshop, name, looked.why.length > 0);
    made.set(name, step);
    tell({ stage: step.made ? "done" : "unchanged", made: step });
    await workshop.digests.save();
  }
  const steps = [...made.values()];
  const missed = steps.flatMap((step) => step.missed);
  const file = join(out, "make.json");
  const whole = names.length === order(recipe).length;
  if (whole) {
    const page = { name: recipe.name, pith: version(), missed, held: [...held], steps };
    await writeFileAtomic(file, `${JSON.stringify(page, null, 1)}\n`);
  }
  if (missed.length > 0)
    throw new Error(`${JSON.stringify(recipe.name)} is not as expected: ${missed.join("; ")}`);
  const copied = whole ? await copyOutputs(workshop, signal) : [];
  return { name: recipe.name, out, report: file, steps, copied };
}

async function makeStep(
  workshop: Workshop,
  name: string,
  { resolved, state, resume }: Looked,
  signal: AbortSignal,
  tell: How["tell"],
): Promise<void> {
  const { recipe, out } = workshop;
  const { verb } = recipe.steps[name]!;
  const { folder, path } = workshop.placeOf(name);
  const { options, settings, figures } = resolved;
  const before = resume ? state!.seconds : 0;
  const goesOn = resume && verb !== "run";
  // In this order: what is there follows from what is noted, wherever it ends, and a folder is never there without a note.
  await clear(out, name, !goesOn);
  await writeState(out, name, { recipe: recipe.name, settings, seconds: before });
  await mkdir(folder, { recursive: true });
  const started = performance.now();
  const seconds = () => before + (performance.now() - started) / 1000;
  let found: Figures;
  try {
    found = await VERBS[verb].run(options, { out: path, folder, resume: goesOn, signal, tell, figures });
    signal.throwIfAborted();
  } catch (cause) {
    await writeState(out, name, { recipe: recipe.name, settings, seconds: seconds() });
    if (signal.aborted) throw cause;
    throw new Error(`Cannot make ${name}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
  await sweep(folder);
  const files = await workshop.digests.ofFolder(folder);
  if (Object.keys(files).length === 0)
    throw new Error(`Cannot make ${name}: it left ${JSON.stringify(folder)} empty, wanted files`);
  const done = { recipe: recipe.name, settings, seconds: seconds(), made: { files, figures: found } };
  await writeState(out, name, done);
  workshop.states.set(name, done);
}

/** What is known of a step that is made. */
async function madeStep(workshop: Workshop, name: string, now: boolean): Promise<MadeStep> {
  const step = workshop.recipe.steps[name]!;
  const { folder, path } = workshop.placeOf(name);
  const { made, seconds } = workshop.states.get(name)!;
  let bytes = 0;
  for (const file of Object.keys(made!.files)) bytes += (await stat(join(folder, file))).size;
  const missed = missedBy(name, step, made!.figures);
  return { step: name, verb: step.verb, made: now, path, bytes, figures: made!.figures, seconds, missed };
}
