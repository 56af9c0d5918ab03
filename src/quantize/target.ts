// Where quantized models are written: a GGUF file, a folder of safetensors, or a folder with a file of each variant. What
// is there already, and what an interrupted run has left.

import { readdir, realpath, rm, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";

export interface Target {
  /** "gguf": one file; "folder": one model as compressed-tensors; "several": a file of each variant in a folder. */
  readonly kind: "gguf" | "folder" | "several";
  /** As it was given. */
  readonly out: string;
  /** Of the report page. */
  readonly report: string;
  /** Where a variant is written. */
  path(variant: string): string;
}

/** @param variants names of all of them */
export function targetOf(out: string, variants: readonly string[]): Target {
  const gguf = extname(out).toLowerCase() === ".gguf";
  if (variants.length > 1) {
    if (gguf)
      throw new TypeError(
        `Cannot write ${variants.length} variants (${variants.join(", ")}) to ${JSON.stringify(out)}: wanted the name of a folder, which gets a file of each`,
      );
    const path = (variant: string) => join(out, `${variant}.gguf`);
    return { kind: "several", out, report: join(out, "report.html"), path };
  }
  if (!gguf) return { kind: "folder", out, report: join(out, "report.html"), path: () => out };
  const report = join(dirname(out), `${basename(out, extname(out))}.report.html`);
  return { kind: "gguf", out, report, path: () => out };
}

/** What a run keeps beside an output until it is written. */
export const unfinished = (path: string) => `${path}.unfinished`;

export interface Leave {
  readonly overwrite: boolean;
  readonly resume: boolean;
}

/**
 * Checks that a variant can be written, and says whether it is there already: whole, from the run that is resumed.
 * @throws {Error} when something is there that must stay
 */
export async function checkVariant(
  target: Target,
  variant: string,
  model: string,
  { overwrite, resume }: Leave,
): Promise<boolean> {
  const path = target.path(variant);
  const cannot = `Cannot write ${JSON.stringify(path)}: `;
  const left = unfinished(path);
  if ((await stat(left).catch(() => undefined)) && !resume) {
    if (!overwrite)
      throw new Error(
        `${cannot}an interrupted run has left ${JSON.stringify(left)}: go on with it (resume), or begin again (overwrite)`,
      );
    await rm(left, { recursive: true });
  }
  const there = await stat(path).catch(() => undefined);
  if (!there) {
    await checkParent(path, cannot, target.kind === "several" ? target.out : undefined);
    return false;
  }
  const folder = target.kind === "folder";
  if (there.isDirectory() !== folder)
    throw new Error(
      `${cannot}found a ${folder ? "file" : "folder"} there, wanted ${folder ? "a folder or nothing; the name of a GGUF file ends in .gguf" : "a file or nothing"}`,
    );
  const own = await realpath(model).catch(() => undefined);
  if (own !== undefined && own === (await realpath(path)))
    throw new Error(`${cannot}it is the model that is quantized, wanted another name`);
  if (target.kind === "several" && resume) return true;
  if (folder && (await readdir(path)).length === 0) return false;
  if (!overwrite) throw new Error(`${cannot}it exists; ask to overwrite it, or give another name`);
  return false;
}

/** The folder to write into is there; that of several variants is made later. */
async function checkParent(path: string, cannot: string, made: string | undefined): Promise<void> {
  const parent = made === undefined ? dirname(resolve(path)) : dirname(resolve(made));
  const there = await stat(parent).catch(() => undefined);
  if (!there?.isDirectory()) throw new Error(`${cannot}there is no folder ${JSON.stringify(parent)}`);
}

/** Bytes of a file, or of the files in a folder. */
export async function sizeOf(path: string): Promise<number> {
  const there = await stat(path);
  if (!there.isDirectory()) return there.size;
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size);
  return (await Promise.all(sizes)).reduce((a, b) => a + b, 0);
}
