// pith pull, list, remove: models of the hub in the cache; and finding the model that another verb is given.

import { createInterface } from "node:readline/promises";
import { listModels, type PullResult, pull as pullModel, removeModel } from "../hub/index.ts";
import { NotHere, resolveModel } from "../models/index.ts";
import { interruptible } from "./interrupt.ts";
import { bytes, note, printJson, printTable } from "./output.ts";
import { progressBar } from "./progress.ts";

/** Downloads with a bar; Ctrl-C stops it, and it goes on from there the next time. */
export async function download(name: string): Promise<PullResult> {
  const bar = progressBar(`pulling ${name}`, "bytes");
  try {
    return await interruptible(`Interrupted: go on where it stopped with: pith pull ${name}`, (signal) =>
      pullModel(name, { signal, onProgress: (p) => bar.update(p.bytes, p.totalBytes) }),
    );
  } finally {
    bar.stop();
  }
}

export async function pull(name: string, options: { json?: boolean }): Promise<void> {
  const result = await download(name);
  if (options.json) return printJson(result);
  const came = result.fetchedBytes === 0 ? "all of it was here" : `${bytes(result.fetchedBytes)} fetched`;
  note(`${name} is here: ${result.files.length} files, ${bytes(result.bytes)}, ${came}, every digest right`);
  process.stdout.write(`${result.path}\n`);
}

export async function list(options: { json?: boolean }): Promise<void> {
  const models = await listModels();
  if (options.json) return printJson(models);
  if (models.length === 0) return note("no models are in the hub cache; pith pull owner/name brings one");
  printTable(
    models.map((model) => {
      const kind = model.quants.length > 0 ? `GGUF ${model.quants.join(", ")}` : "safetensors";
      const rest = model.incompleteBytes > 0 ? `, ${bytes(model.incompleteBytes)} of it not finished` : "";
      return [
        model.name,
        `${bytes(model.bytes)}${rest}, ${kind}, ${new Date(model.modified).toISOString().slice(0, 10)}`,
      ];
    }),
  );
}

export async function remove(name: string, options: { yes?: boolean; json?: boolean }): Promise<void> {
  if (!options.yes && !(await agreed(`Remove ${name} from the hub cache?`)))
    throw new Error(`Cannot remove ${JSON.stringify(name)} unasked: nobody agreed; use --yes`);
  const result = await removeModel(name);
  if (options.json) return printJson(result);
  note(`removed ${result.name}: ${result.files} files, ${bytes(result.bytes)} freed`);
}

/**
 * Sees to it that a model is here before a verb opens it. One that is not is downloaded when `--pull` was given, or
 * when the person at the terminal agrees.
 */
export async function locate(nameOrPath: string, options: { pull?: boolean }): Promise<void> {
  try {
    await resolveModel(nameOrPath);
  } catch (error) {
    if (!(error instanceof NotHere)) throw error;
    if (!options.pull && !(await agreed(`${nameOrPath} is not here. Download it from the hub?`))) throw error;
    await download(nameOrPath);
  }
}

/** Asks on the terminal; without one the answer is no. */
export async function agreed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim());
  } finally {
    terminal.close();
  }
}
