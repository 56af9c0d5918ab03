// Short names of models that stand side by side.

import { basename, dirname, resolve } from "node:path";

/**
 * The last part of each path, without ".gguf" or ".safetensors"; with the folder before it where two are alike, and with a
 * number where that does not help.
 */
export function shortNames(models: readonly string[]): string[] {
  const last = models.map((model) => basename(trimmed(model)));
  const longer = models.map((model, i) =>
    last.filter((name) => name === last[i]).length > 1 && !/^https?:/i.test(model)
      ? `${basename(dirname(resolve(trimmed(model))))}/${last[i]}`
      : last[i]!,
  );
  return longer.map((name, i) => {
    const before = longer.slice(0, i).filter((other) => other === name).length;
    return before > 0 ? `${name} (${before + 1})` : name;
  });
}

const trimmed = (model: string): string =>
  model.replace(/[\\/]+$/, "").replace(/\.(gguf|safetensors)$/i, "") || model;
