// What making a recipe would do, told beforehand.

import { join } from "node:path";
import { Digests } from "./files.ts";
import { type MakeOptions, Workshop } from "./plan.ts";
import { checkRecipe, DEFAULT_OUT, type Recipe } from "./recipe.ts";
import { stateFolder } from "./state.ts";
import { VERBS } from "./verbs.ts";

/** A step, and whether it would be made. */
export interface PlannedStep {
  readonly step: string;
  readonly verb: string;
  /** "perhaps": what it reads is made first, and may come out as it was. */
  readonly made: "yes" | "no" | "perhaps";
  readonly why: readonly string[];
  /** What the verb would do, in lines: of steps whose inputs are there, of verbs that tell. */
  readonly plan: readonly string[];
}

/** Which steps `make` would make, and why, with what their verbs tell beforehand. Makes nothing. Errors as `make`. */
export async function dryRunMake(recipe: Recipe, options: MakeOptions = {}): Promise<PlannedStep[]> {
  checkRecipe(recipe);
  const signal = options.signal ?? new AbortController().signal;
  const { out = DEFAULT_OUT } = recipe;
  const workshop = new Workshop(recipe, out, await Digests.open(join(stateFolder(out), "digests.json")));
  const planned = new Map<string, PlannedStep>();
  for (const step of workshop.wanted(options)) {
    signal.throwIfAborted();
    const { verb } = recipe.steps[step]!;
    const forced = options.force?.includes(step) === true;
    const first = workshop.readBy(step).filter((other) => (planned.get(other)?.made ?? "no") !== "no");
    if (first.length > 0) {
      const made = forced || !(await workshop.known(step)) ? "yes" : "perhaps";
      planned.set(step, { step, verb, made, why: [`it reads ${first.join(", ")}`], plan: [] });
      continue;
    }
    const { why, resolved } = await workshop.look(step, forced);
    const made = why.length > 0 ? "yes" : "no";
    const plan = made === "yes" ? await VERBS[verb].plan?.(resolved.options, signal) : undefined;
    planned.set(step, { step, verb, made, why, plan: plan ?? [] });
  }
  return [...planned.values()];
}
