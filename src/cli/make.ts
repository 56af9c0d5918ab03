// pith make: a recipe's steps, those that changed.

import { dirname, join, relative } from "node:path";
import {
  dryRunMake,
  findRecipe,
  type MadeStep,
  type MakeEvent,
  type MakeOptions,
  make as makeRecipe,
  openRecipe,
  type Recipe,
} from "../recipe/index.ts";
import { interruptible } from "./interrupt.ts";
import { bytes, figure, note, oneLine, printJson } from "./output.ts";
import { duration, type Progress, progressBar } from "./progress.ts";

export interface MakeCliOptions {
  only?: boolean;
  force?: string[];
  dryRun?: boolean;
  json?: boolean;
}

export async function make(
  path: string,
  steps: readonly string[],
  { only, force, dryRun, json }: MakeCliOptions,
): Promise<void> {
  const file = await findRecipe(path);
  const given: MakeOptions = { steps, ...(only && { only }), ...(force && { force }) };
  // A recipe's paths start from its own folder, wherever this process was started.
  const [here, folder] = [process.cwd(), dirname(file)];
  process.chdir(folder);
  try {
    const recipe = await openRecipe(file);
    if (dryRun) await showPlan(recipe, given, json);
    else await follow(recipe, given, json, (made) => relative(here, join(folder, made)) || ".");
  } finally {
    process.chdir(here);
  }
}

async function showPlan(recipe: Recipe, given: MakeOptions, json?: boolean): Promise<void> {
  const planned = await interruptible("Interrupted: nothing was made", (signal) =>
    dryRunMake(recipe, { ...given, signal }),
  );
  if (json) return printJson(planned);
  const words = { yes: "is made", no: "stays", perhaps: "may be made" };
  const rows = planned.flatMap(({ step, verb, made, why, plan }) => [
    [step, verb, words[made], why.join("; ")],
    ...plan.map((line) => ["", "", "", line]),
  ]);
  printColumns(rows);
  note("dry run: nothing was made");
}

async function follow(
  recipe: Recipe,
  given: MakeOptions,
  json: boolean | undefined,
  shown: (path: string) => string,
): Promise<void> {
  const told = new Telling();
  try {
    const result = await interruptible(
      "Interrupted: what is made stays; the same command goes on",
      async (signal) => {
        const job = makeRecipe(recipe, { ...given, signal });
        for await (const event of job) told.event(event);
        return job.result;
      },
    );
    told.stop();
    if (json) return printJson(result);
    printSteps(told.steps, shown);
    for (const path of result.copied) note(`wrote ${shown(path)}`);
    if (given.steps?.length === 0) note(`figures: ${shown(result.report)}`);
  } catch (error) {
    told.stop();
    // What was made before it went wrong is told, too.
    if (!json && told.steps.length > 0) printSteps(told.steps, shown);
    throw error;
  } finally {
    told.stop();
  }
}

/** A line where a step begins and ends, and a bar between. */
class Telling {
  readonly steps: MadeStep[] = [];
  private bar: Progress | undefined;

  event({ step, verb, index, steps, stage, why, done, total, text, left, made }: MakeEvent): void {
    const place = `${index} of ${steps}, ${step}`;
    if (stage === "working") {
      const more = [text, left === undefined ? undefined : `${duration(left)} left`];
      const said = more.filter((one) => one !== undefined).join(", ");
      this.bar?.update(done!, Math.max(1, total!), said === "" ? undefined : ` ${said}`);
      return;
    }
    this.stop();
    if (stage === "begun") {
      note(`${place}: ${verb}, since ${why!.join("; ")}`);
      this.bar = progressBar(step);
    }
    if (stage === "held") note(`${place}: waits, since what it reads is not as expected`);
    if (stage === "unchanged") note(`${place}: unchanged`);
    if (stage === "done") note(`${place}: made in ${duration(made!.seconds)}`);
    if (made) this.steps.push(made);
    for (const missed of made?.missed ?? []) note(`not as expected: ${missed}`);
  }

  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
  }
}

function printSteps(steps: readonly MadeStep[], shown: (path: string) => string): void {
  printColumns([
    ["step", "verb", "time", "size", "path", "figures"],
    ...steps.map(({ step, verb, made, path, bytes: size, seconds, figures }) => [
      step,
      verb,
      made ? duration(seconds) : "unchanged",
      bytes(size),
      shown(path),
      Object.entries(figures)
        .slice(0, FIGURES)
        .map(([name, value]) => `${name} ${figure(value)}`)
        .join(", "),
    ]),
  ]);
}

/** Of a step, on its line; all of them are in make.json. */
const FIGURES = 6;

/** Rows of cells, all but the last column padded. */
function printColumns(rows: readonly (readonly string[])[]): void {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  for (const row of rows) {
    const cells = row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!)));
    process.stdout.write(`${oneLine(cells.join("  ")).trimEnd()}\n`);
  }
}
