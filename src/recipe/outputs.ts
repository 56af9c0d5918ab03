// Where the outputs of a recipe are wanted: copies of what its steps made.

import { createReadStream } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeFileAtomic } from "../formats/index.ts";
import { filesOf } from "./files.ts";
import type { Workshop } from "./plan.ts";
import { isStep } from "./recipe.ts";

/**
 * Copies what is not there as it was made, each file whole or not at all.
 * @returns paths that were written
 */
export async function copyOutputs(workshop: Workshop, signal: AbortSignal): Promise<string[]> {
  const { recipe, digests } = workshop;
  const copied: string[] = [];
  for (const [target, value] of Object.entries(recipe.outputs ?? {})) {
    const from = isStep(value) ? workshop.pathOf(value) : join(workshop.pathOf(value.step), value.file);
    const there = await stat(from).catch((cause) => {
      throw new Error(`Cannot copy ${JSON.stringify(from)} to ${JSON.stringify(target)}: it is not there`, {
        cause,
      });
    });
    const files = there.isDirectory()
      ? (await filesOf(from)).map((file) => [join(from, file), join(target, file)] as const)
      : [[from, target] as const];
    for (const [source, path] of files) {
      const same = await digests.of(path).catch(() => undefined);
      if (same === (await digests.of(source))) continue;
      await mkdir(dirname(path), { recursive: true });
      await writeFileAtomic(path, createReadStream(source), signal);
      copied.push(path);
    }
  }
  return copied;
}
