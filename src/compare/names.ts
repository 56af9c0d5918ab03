// Short names of models that stand side by side.

import { basename, dirname, resolve } from "node:path";

/**
 * The last part of each path, without ".gguf" or ".safetensors"; with the folder before it where models in several places
 * have the same one, and with a number where that does not help.
 */
export function shortNames(models: readonly string[]): string[] {
  const parts = models.map((model) => {
    const path = model.replace(/[\\/]+$/, "").replace(/\.(gguf|safetensors)$/i, "") || model;
    return { last: basename(path), folder: dirname(resolve(path)) };
  });
  const names = parts.map(({ last, folder }) =>
    parts.some((other) => other.last === last && other.folder !== folder)
      ? `${basename(folder)}/${last}`
      : last,
  );
  return names.map((name, i) => {
    const before = names.slice(0, i).filter((other) => other === name).length;
    return before > 0 ? `${name} (${before + 1})` : name;
  });
}
