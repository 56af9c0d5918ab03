// What a recipe is: named steps, each a verb with its options, in which steps stand for what they make. Plain data; nothing
// here runs anything.

import { isAbsolute, relative } from "node:path";
import type { VerbName } from "./verbs.ts";

/** Numbers that a step is judged by and told with. */
export type Figures = Readonly<Record<string, number>>;

/** What a figure has to be, bounds included. */
export interface Bounds {
  readonly at_least?: number;
  readonly at_most?: number;
}

/** By the figure's name. */
export type Expectations = Readonly<Record<string, Bounds>>;

/** One step. Where an option wants a path, a step stands for what it makes. */
export interface Step {
  readonly verb: VerbName;
  /** The verb's, with steps in place of paths. */
  readonly options: Readonly<Record<string, unknown>>;
  /** What its figures have to be. Not part of what it makes, so a changed bound makes nothing again. */
  readonly expect?: Expectations;
  /** One file of the folder that it makes: `data.file("train.jsonl")`. */
  file(name: string): StepFile;
}

/** A file that a step makes. */
export interface StepFile {
  readonly step: Step;
  readonly file: string;
}

/** A path, relative to the current folder (of `pith make`: the recipe's), or what a step makes. */
export type Input = string | Step | StepFile;

export interface Recipe {
  readonly name: string;
  /** By name. What a step makes lies in a folder of its name. */
  readonly steps: Readonly<Record<string, Step>>;
  /** The folder that everything is made in. Default "made". */
  readonly out?: string;
  /** What of it is wanted elsewhere: path -> step or file, copied when all steps are made and nothing was missed. */
  readonly outputs?: Readonly<Record<string, Step | StepFile>>;
}

/**
 * A whole pipeline, as the default export of a file that `pith make` runs.
 *
 *     const teacher = step.train({ config: { layers: 4, heads: 4, width: 128, ctx: 256 }, data: "text.txt" });
 *     const q4 = step.quantize({ model: teacher, to: "q4_k", expect: { bits_per_weight: { at_most: 5 } } });
 *     export default defineRecipe({ name: "mine", steps: { teacher, q4 } });
 *
 * @throws {TypeError | RangeError} naming what is wrong with it
 */
export function defineRecipe(recipe: Recipe): Recipe {
  checkRecipe(recipe);
  return recipe;
}

export const isStep = (value: unknown): value is Step =>
  typeof value === "object" && value !== null && "verb" in value && "options" in value && "file" in value;

export const isStepFile = (value: unknown): value is StepFile =>
  typeof value === "object" && value !== null && "step" in value && isStep(value.step) && "file" in value;

/** Where a recipe is made that does not say. */
export const DEFAULT_OUT = "made";

/** A name of a folder everywhere, and no hidden one. */
const NAME = /^[A-Za-z0-9][\w-]{0,63}$/;

/** @throws {TypeError | RangeError} naming what is wrong */
export function checkRecipe(recipe: unknown): asserts recipe is Recipe {
  if (typeof recipe !== "object" || recipe === null || !("steps" in recipe))
    throw new TypeError("Cannot make a recipe: it has no steps, wanted what defineRecipe gives");
  const { name, steps, out, outputs = {} } = recipe as Recipe;
  if (typeof name !== "string" || name === "")
    throw new TypeError(`Cannot make a recipe with the name ${JSON.stringify(name)}: wanted a text`);
  const cannot = `Cannot make ${JSON.stringify(name)}: `;
  if (out !== undefined && (typeof out !== "string" || out === ""))
    throw new TypeError(`${cannot}its out is ${JSON.stringify(out)}, wanted the name of a folder`);
  const all = Object.entries(steps);
  if (all.length === 0) throw new TypeError(`${cannot}it has no steps, wanted at least one`);
  const lower = new Map<string, string>();
  for (const [key, value] of all) {
    if (!NAME.test(key))
      throw new TypeError(
        `${cannot}a step is named ${JSON.stringify(key)}, wanted letters, digits, "_" and "-", since a folder has its name`,
      );
    const alike = lower.get(key.toLowerCase());
    if (alike !== undefined)
      throw new TypeError(
        `${cannot}steps are named ${alike} and ${key}, wanted names that differ by more than case`,
      );
    lower.set(key.toLowerCase(), key);
    if (!isStep(value))
      throw new TypeError(`${cannot}its step ${key} is no step, wanted one such as step.train({ ... })`);
  }
  for (const [path, value] of Object.entries(outputs)) {
    const within = relative(out ?? DEFAULT_OUT, path);
    if (!within.startsWith("..") && !isAbsolute(within))
      throw new TypeError(
        `${cannot}its output ${JSON.stringify(path)} lies where steps are made, in ${JSON.stringify(out ?? DEFAULT_OUT)}; wanted it elsewhere`,
      );
    if (!isStep(value) && !isStepFile(value))
      throw new TypeError(`${cannot}its output ${JSON.stringify(path)} is no step and no file of one`);
  }
  order(recipe as Recipe);
}

/**
 * Names of the steps, each behind what it reads.
 * @throws {RangeError} when a step reads one that the recipe has not, or waits for itself
 */
export function order(recipe: Recipe): string[] {
  const names = new Map(Object.entries(recipe.steps).map(([name, step]) => [step, name]));
  const cannot = `Cannot make ${JSON.stringify(recipe.name)}: `;
  if (names.size < Object.keys(recipe.steps).length)
    throw new RangeError(`${cannot}one step has two names, wanted each step once`);
  const done = new Set<string>();
  const visit = (step: Step, path: readonly string[]): void => {
    const name = names.get(step);
    if (name === undefined)
      throw new RangeError(
        `${cannot}${path.length > 0 ? `its step ${path.at(-1)}` : "an output"} reads a step (${step.verb}) that is not among its steps, wanted it there under a name`,
      );
    if (path.includes(name))
      throw new RangeError(`${cannot}its steps wait for each other: ${[...path, name].join(" reads ")}`);
    if (done.has(name)) return;
    for (const other of readBy(step)) visit(other, [...path, name]);
    done.add(name);
  };
  for (const step of Object.values(recipe.steps)) visit(step, []);
  for (const value of Object.values(recipe.outputs ?? {})) visit(isStep(value) ? value : value.step, []);
  return [...done];
}

/** The steps that a step reads, each once. */
export function readBy(step: Step): Step[] {
  const found = new Set<Step>();
  const look = (value: unknown): void => {
    if (isStep(value)) found.add(value);
    else if (isStepFile(value)) found.add(value.step);
    else if (Array.isArray(value)) value.forEach(look);
    else if (typeof value === "object" && value !== null) Object.values(value).forEach(look);
  };
  look(step.options);
  return [...found];
}
