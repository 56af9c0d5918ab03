// Whether a step has to be made, and why; the same for making and for telling beforehand.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { checkExpectations } from "./expect.ts";
import type { Digests, FileDigests } from "./files.ts";
import { placeOf } from "./place.ts";
import { order, type Recipe, readBy, type Step } from "./recipe.ts";
import { differences, type MadeBefore, type ResolvedStep, resolveStep } from "./settings.ts";
import { readState, type StepState } from "./state.ts";

export interface MakeOptions {
  /** Names of steps: they, and what they read. Default: all. */
  readonly steps?: readonly string[];
  /** `steps` alone, on what is there of the others, old or not. */
  readonly only?: boolean;
  /** Names of steps that are made from their beginning, whatever is there. */
  readonly force?: readonly string[];
  readonly signal?: AbortSignal;
}

/** A step of a recipe, looked at. */
export interface Looked {
  readonly resolved: ResolvedStep;
  readonly state: StepState | undefined;
  /** Why it has to be made; none: it is there as it would be made. */
  readonly why: readonly string[];
  /** It was begun with the same settings, and goes on. */
  readonly resume: boolean;
}

/** A recipe in its folder: where steps lie, what is known of them. */
export class Workshop implements MadeBefore {
  readonly recipe: Recipe;
  readonly out: string;
  readonly digests: Digests;
  readonly states = new Map<string, StepState>();
  readonly #names: ReadonlyMap<Step, string>;

  constructor(recipe: Recipe, out: string, digests: Digests) {
    this.recipe = recipe;
    this.out = out;
    this.digests = digests;
    this.#names = new Map(Object.entries(recipe.steps).map(([name, step]) => [step, name]));
  }

  nameOf(step: Step): string {
    return this.#names.get(step)!;
  }

  placeOf(name: string) {
    const { verb, options } = this.recipe.steps[name]!;
    return placeOf(this.out, name, verb, options);
  }

  pathOf(step: Step): string {
    return this.placeOf(this.nameOf(step)).path;
  }

  figuresOf(step: Step) {
    return this.states.get(this.nameOf(step))?.made?.figures ?? {};
  }

  /** Names of the steps that a step reads. */
  readBy(name: string): string[] {
    return readBy(this.recipe.steps[name]!).map((step) => this.nameOf(step));
  }

  /** Names of the steps to look at, in their order. @throws {RangeError | TypeError} on a name or bound that is none */
  wanted({ steps = [], only = false, force = [] }: MakeOptions): string[] {
    const all = order(this.recipe);
    const unknown = [...steps, ...force].find((name) => !all.includes(name));
    if (unknown !== undefined)
      throw new RangeError(
        `Cannot make the step ${JSON.stringify(unknown)} of ${JSON.stringify(this.recipe.name)}: wanted one of ${all.join(", ")}`,
      );
    if (only && steps.length === 0) throw new TypeError("Cannot make only some steps: wanted their names");
    for (const name of all) checkExpectations(name, this.recipe.steps[name]!);
    if (steps.length === 0) return all;
    const wanted = new Set(steps);
    // Backwards: what a step reads lies before it.
    if (!only)
      for (const name of [...all].reverse())
        if (wanted.has(name)) for (const one of this.readBy(name)) wanted.add(one);
    return all.filter((name) => wanted.has(name));
  }

  /** Whether a step was made once. */
  async known(name: string): Promise<boolean> {
    return (await readState(this.out, name))?.made !== undefined;
  }

  /**
   * Looks at a step whose inputs are there.
   * @param forced it shall be made in any case, from its beginning
   */
  async look(name: string, forced: boolean): Promise<Looked> {
    const state = await readState(this.out, name);
    if (state) this.states.set(name, state);
    for (const other of this.readBy(name)) {
      const its = this.states.get(other) ?? (await readState(this.out, other));
      if (!its?.made) throw new Error(`Cannot make ${name}: it reads ${other}, which is not made`);
      this.states.set(other, its);
    }
    const resolved = await resolveStep(name, this.recipe.steps[name]!, this, this.digests);
    if (!state) {
      const { folder } = this.placeOf(name);
      if (await stat(folder).catch(() => undefined))
        throw new Error(
          `Cannot make ${name}: ${JSON.stringify(folder)} is there, and was not made by this recipe; move it away, or name the step or the recipe's out otherwise`,
        );
      return { resolved, state, why: ["it was never made"], resume: false };
    }
    if (state.recipe !== this.recipe.name)
      throw new Error(
        `Cannot make ${name}: ${JSON.stringify(this.placeOf(name).folder)} was made by the recipe ${JSON.stringify(state.recipe)}, and this is ${JSON.stringify(this.recipe.name)}; wanted another out for one of them`,
      );
    if (forced) return { resolved, state, why: ["asked for"], resume: false };
    const why = differences(state.settings, resolved.settings);
    if (why.length > 0) return { resolved, state, why, resume: false };
    if (!state.made) return { resolved, state, why: ["it was begun, and goes on"], resume: true };
    return { resolved, state, why: await this.#altered(name, state.made.files), resume: false };
  }

  async #altered(name: string, files: FileDigests): Promise<string[]> {
    const { folder } = this.placeOf(name);
    if (!(await stat(folder).catch(() => undefined))) return [`${JSON.stringify(folder)} is gone`];
    const there = await this.digests.ofFolder(folder);
    const found: string[] = [];
    for (const file of new Set([...Object.keys(files), ...Object.keys(there)])) {
      const path = JSON.stringify(join(folder, file));
      if (there[file] === undefined) found.push(`${path} is gone`);
      else if (files[file] === undefined) found.push(`${path} was added`);
      else if (files[file] !== there[file]) found.push(`${path} is not as it was made`);
    }
    return found;
  }
}
