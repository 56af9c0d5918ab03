// Loading a model for a verb, with a bar where one can be seen.

import { loadModel } from "../generate/load.ts";
import type { Model } from "../generate/model.ts";
import { loadOptions, type ModelOptions } from "./options.ts";
import { progressBar } from "./progress.ts";

export async function load(nameOrPath: string, options: ModelOptions): Promise<Model> {
  const bar = progressBar("loading");
  try {
    return await loadModel(nameOrPath, {
      ...loadOptions(options),
      onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
    });
  } finally {
    bar.stop();
  }
}
