// What is remembered of a step: `<out>/.make/<step>.json`, written whole or not at all.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../formats/index.ts";
import type { FileDigests } from "./files.ts";
import type { Figures } from "./recipe.ts";
import type { StepSettings } from "./settings.ts";

export interface StepState {
  /** Name of the recipe. */
  readonly recipe: string;
  readonly settings: StepSettings;
  /** Absent: begun, and not done. */
  readonly made?: Made;
  /** Spent, interrupted runs included that could say so. */
  readonly seconds: number;
}

interface Made {
  /** Files that count of the step's folder. */
  readonly files: FileDigests;
  readonly figures: Figures;
}

export const stateFolder = (out: string) => join(out, ".make");
const fileOf = (out: string, name: string) => join(stateFolder(out), `${name}.json`);

/** @throws {Error} on a file that was changed: what it says of could be deleted on its account */
export async function readState(out: string, name: string): Promise<StepState | undefined> {
  const file = fileOf(out, name);
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const state = JSON.parse(text) as StepState;
    if (
      typeof state.recipe === "string" &&
      typeof state.settings.verb === "string" &&
      typeof state.seconds === "number"
    )
      return state;
  } catch {}
  throw new Error(
    `Cannot read ${JSON.stringify(file)}: it is not what was written there; delete it and the step's folder to make the step anew`,
  );
}

export async function writeState(out: string, name: string, state: StepState): Promise<void> {
  await writeFileAtomic(fileOf(out, name), `${JSON.stringify(state, null, 1)}\n`);
}
