// Whether figures are what they have to be.

import type { Figures, Step } from "./recipe.ts";

/** @throws {TypeError} on a bound that is none, before anything is made */
export function checkExpectations(name: string, { expect = {} }: Step): void {
  for (const [figure, bounds] of Object.entries(expect)) {
    const cannot = `Cannot judge ${name} by ${figure}: `;
    const all = Object.entries(bounds ?? {});
    if (all.length === 0) throw new TypeError(`${cannot}it has no bound, wanted at_least, at_most or both`);
    for (const [bound, value] of all) {
      if (bound !== "at_least" && bound !== "at_most")
        throw new TypeError(`${cannot}found ${JSON.stringify(bound)}, wanted at_least or at_most`);
      if (typeof value !== "number" || Number.isNaN(value))
        throw new TypeError(`${cannot}${bound} is ${JSON.stringify(value)}, wanted a number`);
    }
  }
}

/**
 * What is missed, one line for each figure: its name, the value found and the value wanted.
 * @throws {RangeError} on a figure that the step has not
 */
export function missedBy(name: string, { expect = {} }: Step, figures: Figures): string[] {
  const missed: string[] = [];
  for (const [figure, bounds] of Object.entries(expect)) {
    const found = figures[figure];
    if (found === undefined)
      throw new RangeError(
        `Cannot judge ${name} by ${JSON.stringify(figure)}: it has ${Object.keys(figures).join(", ") || "no figures"}`,
      );
    const { at_least, at_most } = bounds;
    // Written so that a figure that is no number is missed, too.
    if (at_least !== undefined && !(found >= at_least))
      missed.push(`${name}: ${figure} is ${shown(found)}, wanted at least ${at_least}`);
    if (at_most !== undefined && !(found <= at_most))
      missed.push(`${name}: ${figure} is ${shown(found)}, wanted at most ${at_most}`);
  }
  return missed;
}

const shown = (value: number) =>
  Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
