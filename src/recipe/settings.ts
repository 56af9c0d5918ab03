// What a step follows from: its verb and options, digests of what it reads, and the version of pith. Two runs of the same
// settings make the same, so a step whose settings are as they were is not run again.

import { stat } from "node:fs/promises";
import { isAbsolute, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { version } from "../formats/version.ts";
import { parseHubName } from "../hub/name.ts";
import { resolveModel } from "../models/index.ts";
import { isEndpoint } from "../remote/index.ts";
import type { Digests } from "./files.ts";
import { type Figures, isStep, isStepFile, type Step } from "./recipe.ts";
import { VERBS } from "./verbs.ts";

/** Plain data. */
export interface StepSettings {
  readonly pith: string;
  readonly verb: string;
  /** Steps as "<name>" and "<name>/file". */
  readonly options: unknown;
  /** SHA-256 of every file and model that is read, and figures of steps where the verb sees them. */
  readonly inputs: Readonly<Record<string, string | Figures>>;
}

/** A step as it can be run. */
export interface ResolvedStep {
  /** With paths in place of steps. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly settings: StepSettings;
  readonly figures: Readonly<Record<string, Figures>>;
}

/** Of the steps before: where what they make lies, and their figures. */
export interface MadeBefore {
  /** The folder of all of it. */
  readonly out: string;
  nameOf(step: Step): string;
  pathOf(step: Step): string;
  figuresOf(step: Step): Figures;
}

/** Options that change how, and not what, is made; of `endpoint` (which may hold a key) only the model counts. */
const UNCOUNTED = new Set(["threads", "save_steps", "concurrency", "price"]);

/** Options that are models, which may be names of the hub. */
const isModel = (at: string) => /^(model|teacher|student|base|models(\..*)?)$/.test(at);

/**
 * Puts paths in place of steps, and reads what the step follows from.
 * @throws {TypeError} for an option that is no plain data, naming it
 * @throws {Error} for an input that is not there
 */
export async function resolveStep(
  name: string,
  step: Step,
  before: MadeBefore,
  digests: Digests,
): Promise<ResolvedStep> {
  const { paths } = VERBS[step.verb];
  const inputs: Record<string, string | Figures> = {};
  const figures: Record<string, Figures> = {};
  const isPath = (at: string) =>
    paths.some((path) => at === path || (path.endsWith(".*") && at.startsWith(path.slice(0, -1))));
  const input = async (at: string, shown: string, path: string, model: boolean): Promise<void> => {
    const made = relative(path, before.out);
    if (!model && !made.startsWith("..") && !isAbsolute(made))
      throw new Error(
        `Cannot make ${name}: its input ${at}, ${JSON.stringify(path)}, holds the folder that is made, ${JSON.stringify(before.out)}; wanted one or the other elsewhere`,
      );
    const read = model ? digests.ofModel(path) : digests.of(path);
    inputs[`${at}: ${shown}`] = await read.catch((cause: Error) => {
      throw new Error(`Cannot make ${name}: its input ${at} is not there; ${cause.message}`, { cause });
    });
  };
  /** @param at dotted name without places in lists */
  const resolve = async (value: unknown, at: string): Promise<{ path: unknown; plain: unknown }> => {
    if (isStep(value) || isStepFile(value)) {
      const [of, file] = isStep(value) ? [value, undefined] : [value.step, value.file];
      const shown = `<${before.nameOf(of)}>${file === undefined ? "" : `/${file}`}`;
      const path =
        file === undefined ? before.pathOf(of) : join(before.pathOf(of), checkedFile(name, at, file));
      await input(at, shown, path, false);
      if (step.verb === "run" && isStep(value)) {
        figures[at] = before.figuresOf(of);
        inputs[`figures of ${shown}`] = figures[at];
      }
      return { path, plain: shown };
    }
    if (typeof value === "string" && isPath(at)) {
      if (at === "tokenizer" && value === "characters") return { path: value, plain: value };
      if (isEndpoint(value) && isModel(at)) return { path: value, plain: value };
      // Beside a teacher a cache holds what that teacher says, or will: it tells nothing more.
      if (at === "cache" && step.options.teacher !== undefined)
        return { path: value, plain: shownPath(value) };
      const path = value.startsWith("file:") ? fileURLToPath(value) : value;
      const shown = shownPath(path);
      const there = await stat(path).catch(() => undefined);
      const model = isModel(at);
      // Of the hub's name of a model what lies in the cache counts.
      const hub = model && !there && parseHubName(path) !== undefined;
      await input(at, shown, hub ? (await resolveModel(path)).path : path, model);
      return { path, plain: shown };
    }
    if (Array.isArray(value)) {
      const all: { path: unknown; plain: unknown }[] = [];
      for (const item of value) all.push(await resolve(item, at));
      delete figures[at]; // of one step alone: a list has no place for several
      return { path: all.map(({ path }) => path), plain: all.map(({ plain }) => plain) };
    }
    if (typeof value === "function" && step.verb === "run" && at === "run")
      return { path: value, plain: String(value) };
    if (typeof value === "object" && value !== null) {
      const [path, plain]: Record<string, unknown>[] = [{}, {}];
      for (const [key, inner] of Object.entries(value)) {
        if (inner === undefined) continue;
        const found = await resolve(inner, at === "" ? key : `${at}.${key}`);
        path![key] = found.path;
        const secret = at === "endpoint" && key !== "model";
        if (!secret && !(at === "" && UNCOUNTED.has(key))) plain![key] = found.plain;
      }
      return { path, plain };
    }
    if (["string", "number", "boolean"].includes(typeof value) || value === null)
      return { path: value, plain: value };
    throw new TypeError(
      `Cannot make ${name}: its option ${at} is a ${typeof value}, wanted plain data or a step`,
    );
  };
  const { path, plain } = await resolve(step.options, "");
  const settings = { pith: version(), verb: step.verb, options: plain, inputs };
  // As it is read back: -0, NaN and the like do not survive.
  return {
    options: path as Record<string, unknown>,
    settings: sorted(JSON.parse(JSON.stringify(settings))),
    figures,
  };
}

/** Plain data with the keys of objects in one order, in which they mean the same. */
function sorted<T>(value: T): T {
  if (Array.isArray(value)) return value.map(sorted) as T;
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)])) as T;
}

/** A path that means the same when the folder of the recipe is moved, where that can be. */
function shownPath(path: string): string {
  if (!isAbsolute(path)) return path;
  const short = relative(process.cwd(), path);
  return short.startsWith("..") || isAbsolute(short) ? path : short;
}

function checkedFile(name: string, at: string, file: string): string {
  if (typeof file === "string" && file !== "" && !isAbsolute(file) && !file.split(/[\\/]/).includes(".."))
    return file;
  throw new TypeError(
    `Cannot make ${name}: its input ${at} is the file ${JSON.stringify(file)} of a step, wanted a path within its folder`,
  );
}

/** Why a step with settings `is` is not what was made with `was`, one line for each option and input. */
export function differences(was: StepSettings, is: StepSettings): string[] {
  const found: string[] = [];
  if (was.pith !== is.pith) found.push(`pith was ${was.pith} and is ${is.pith}`);
  if (was.verb !== is.verb) found.push(`it was ${was.verb} and is ${is.verb}`);
  compare(was.options, is.options, "", found);
  for (const [name, now] of Object.entries(is.inputs)) {
    const then = was.inputs[name];
    // What is read for the first time is told by its option.
    if (then !== undefined && JSON.stringify(then) !== JSON.stringify(now)) found.push(`${name} changed`);
  }
  // What none of the above saw: an input more or less.
  if (found.length === 0 && JSON.stringify(was) !== JSON.stringify(is)) found.push("what it reads changed");
  return found;
}

function compare(was: unknown, is: unknown, name: string, found: string[]): void {
  const both = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (both(was) && both(is)) {
    for (const key of new Set([...Object.keys(was), ...Object.keys(is)]))
      compare(was[key], is[key], name === "" ? key : `${name}.${key}`, found);
    return;
  }
  if (JSON.stringify(was) === JSON.stringify(is)) return;
  const text = [was, is].map((value) => (value === undefined ? "not set" : JSON.stringify(value)));
  found.push(
    text.some((one) => one.length > 60) ? `${name} changed` : `${name} was ${text[0]} and is ${text[1]}`,
  );
}
