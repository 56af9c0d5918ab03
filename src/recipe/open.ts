// A recipe's file: JavaScript, or TypeScript where the running Node takes it.

import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { checkRecipe, type Recipe } from "./recipe.ts";

/** Names that are looked for in a folder, in this order. */
const NAMES = ["recipe.mjs", "recipe.js", "recipe.ts", "recipe.mts"];

/**
 * The path of a recipe's file.
 * @param path the file, or a folder with a recipe.mjs, recipe.js or recipe.ts
 * @throws {Error} when there is none
 */
export async function findRecipe(path: string): Promise<string> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isFile()) return resolve(path);
  const names = there ? NAMES.map((name) => join(path, name)) : [];
  for (const name of names) if ((await stat(name).catch(() => undefined))?.isFile()) return resolve(name);
  throw new Error(
    `Cannot make ${JSON.stringify(path)}: found no such file, wanted a recipe, or a folder with ${NAMES.slice(0, 3).join(" or ")}`,
  );
}

/**
 * Reads a recipe by running its file, which may do whatever you may: only open what you trust.
 * @throws {TypeError} when this Node runs no TypeScript and the file is such, or when its default export is no recipe
 */
export async function openRecipe(path: string): Promise<Recipe> {
  const file = await findRecipe(path);
  const cannot = `Cannot make ${JSON.stringify(path)}: `;
  // Since Node 22.18 and 23.6 without a flag.
  if (/\.[mc]?ts$/.test(file) && !(process.features as { typescript?: unknown }).typescript)
    throw new TypeError(
      `${cannot}it is TypeScript, which Node ${process.versions.node} does not run; wanted Node 22.18 or newer, or the recipe as .mjs (types by "// @ts-check"), or what tsc makes of it`,
    );
  const { default: recipe } = await import(pathToFileURL(file).href);
  if (recipe === undefined)
    throw new TypeError(`${cannot}it has no default export, wanted: export default defineRecipe({ ... })`);
  checkRecipe(recipe);
  return recipe;
}
