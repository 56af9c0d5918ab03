// The one call of this folder: the steps of the demonstration in their order, each in a file of its own.

import { randomInt } from "node:crypto";
import { setMaxListeners } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadModel } from "../generate/index.ts";
import { Job } from "../train/index.ts";
import { checkOut, RECORD, wholeFolder } from "./folder.ts";
import { makeHouses } from "./house.ts";
import { type Chance, type Example, generator, inventTools, sentenceFor } from "./invent.ts";
import { Network } from "./network.ts";
import { ownExamples, ownTools } from "./own.ts";
import { demoHtml, type Section } from "./report.ts";
import { call } from "./steps/call.ts";
import { left } from "./steps/left.ts";
import { shrink } from "./steps/shrink.ts";
import { swap } from "./steps/swap.ts";
import { teach } from "./steps/teach.ts";
import type { DemoEvent, DemoOptions, DemoResult } from "./types.ts";
import {
  type Amounts,
  engineOf,
  FAST,
  type Material,
  type Step,
  sampleLine,
  taskLine,
  WHOLE,
  type Work,
} from "./work.ts";

/** In their order: later ones use what earlier ones made. */
const STEPS: readonly Step[] = [call, teach, swap, shrink, left];
/** Sequences that run at once. */
const SEQUENCES = 16;
/** Sentences in everyday words. */
const PLAIN = 3;

/**
 * Shows in some minutes what pith does, with a model of its own and nothing from elsewhere: calls of functions it has never seen,
 * a house's words learned from examples, two adapters in one batch, a smaller model in 4 and 2 bits, and what left the machine.
 * @throws {TypeError | RangeError} before anything is computed, for tools and examples that do not fit each other
 * @throws {Error} when the model is not there, or the folder holds something else
 */
export function demo(options: DemoOptions = {}): Job<DemoEvent, DemoResult> {
  return new Job((report, signal) => run(options, report, signal), options.signal);
}

async function run(
  options: DemoOptions,
  report: (event: DemoEvent) => void,
  signal: AbortSignal,
): Promise<DemoResult> {
  const started = performance.now();
  setMaxListeners(0, signal); // each request of a batch has one
  const { out = "pith-demo", overwrite = false, fast = false, seed = randomInt(1, 100_000) } = options;
  if (!Number.isInteger(seed) || seed < 0)
    throw new RangeError(`Cannot demonstrate with the seed ${seed}: wanted a whole number from 0`);
  await checkOut(out, overwrite);
  const amounts = fast ? FAST : WHOLE;
  const { Chance } = await generator();
  const chance = new Chance(seed, "demo");
  const material = await materialOf(options, amounts, chance);
  const path = options.model ?? builtIn();
  const network = new Network();
  try {
    return await wholeFolder(out, async (folder) => {
      const place = (name: string) => join(folder, name);
      await writeMaterial(material, place);
      const loading = performance.now();
      await using model = await loadModel(path, {
        sequences: SEQUENCES,
        ...engineOf(options),
        signal,
      });
      const shared = {
        ...{ options, amounts, seed, chance, material, network, model, path, signal, place },
        load_ms: performance.now() - loading,
        made: {},
        shown: (name: string) => join(out, name),
      };
      const sections: Section[] = [];
      for (const [i, step] of STEPS.entries()) {
        signal.throwIfAborted();
        const { id, title } = step;
        const event = { id, title, index: i + 1, steps: STEPS.length };
        report({ ...event, stage: "begun" });
        const begun = performance.now();
        const work: Work = {
          ...shared,
          tell: (what, done, total, text) =>
            report({ ...event, stage: "working", what, done, total, ...(text !== undefined && { text }) }),
        };
        const { page, ...found } = await step.run(work);
        const result = { id, title, seconds: (performance.now() - begun) / 1000, ...found };
        sections.push({ result, page });
        report({ ...event, stage: "done", result });
      }
      const seconds = (performance.now() - started) / 1000;
      const result: DemoResult = {
        seed,
        folder: out,
        report: join(out, "report.html"),
        seconds,
        steps: sections.map((section) => section.result),
      };
      await writeFile(place("report.html"), demoHtml({ ...shared, tell() {} }, sections, seconds));
      await writeFile(place(RECORD), `${JSON.stringify(result, undefined, 1)}\n`);
      signal.throwIfAborted();
      return result;
    });
  } finally {
    network.close();
  }
}

/** The package's own model. */
function builtIn(): string {
  const path = fileURLToPath(new URL("../../models/caller", import.meta.url));
  if (!existsSync(join(path, "model.safetensors")))
    throw new Error(
      `Cannot demonstrate: found no model in ${JSON.stringify(path)}, wanted the one of the package; give another with the option model`,
    );
  return path;
}

/** Tools and sentences: invented, or the user's own. */
async function materialOf(options: DemoOptions, amounts: Amounts, chance: Chance): Promise<Material> {
  const invented = await inventTools(chance.fork("tools"));
  const [house, neighbour] = await makeHouses(invented, chance.fork("words"));
  const all = await house.sentences(
    chance.fork("house"),
    amounts.examples + amounts.held_out + amounts.answered,
  );
  const tools = invented.map(({ tool }) => tool);
  const other = {
    tools,
    examples: await neighbour.sentences(chance.fork("neighbour"), amounts.examples),
  };
  const made: Material = {
    tools,
    plain: await plainSentences(invented, chance.fork("plain")),
    examples: all.slice(0, amounts.examples),
    held: all.slice(amounts.examples, amounts.examples + amounts.held_out),
    words: house.words,
    neighbour: other,
    unanswered: all.slice(amounts.examples + amounts.held_out).map(({ text }) => text),
  };
  if (options.tools === undefined) {
    if (options.examples !== undefined)
      throw new TypeError("Cannot demonstrate with examples alone: wanted the tools that they call, too");
    return made;
  }
  if (options.examples === undefined)
    throw new TypeError(
      "Cannot demonstrate with tools alone: wanted examples of sentences and their calls, too",
    );
  const own = await ownTools(options.tools);
  const { examples, held } = await ownExamples(options.examples, own, chance.fork("own"));
  return {
    tools: own,
    plain: examples.slice(0, PLAIN),
    examples,
    held,
    words: [],
    neighbour: other,
    unanswered: [],
  };
}

async function plainSentences(
  tools: Awaited<ReturnType<typeof inventTools>>,
  chance: Chance,
): Promise<Example[]> {
  const out: Example[] = [];
  while (out.length < PLAIN) {
    const said = await sentenceFor(tools[out.length % tools.length]!, chance);
    if (said) out.push(said);
  }
  return out;
}

/** Files for the commands that every step names. */
async function writeMaterial(
  { tools, examples, held, neighbour }: Material,
  place: (name: string) => string,
): Promise<void> {
  const lines = (list: readonly string[]) => `${list.join("\n")}\n`;
  await writeFile(place("tools.json"), `${JSON.stringify(tools, undefined, 1)}\n`);
  await writeFile(place("examples.jsonl"), lines(examples.map((one) => sampleLine(tools, one))));
  await writeFile(place("held-out.task.jsonl"), lines(held.map((one) => taskLine(tools, one))));
  await writeFile(
    place("neighbour.jsonl"),
    lines(neighbour.examples.map((one) => sampleLine(neighbour.tools, one))),
  );
}
