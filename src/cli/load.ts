// Loading a model for a verb, with a bar where one can be seen.

import { loadModel } from "../generate/load.ts";
import type { Model } from "../generate/model.ts";
import { loadOptions, type ModelOptions } from "./options.ts";
import { note } from "./output.ts";
import { progressBar } from "./progress.ts";

export async function load(nameOrPath: string, options: ModelOptions): Promise<Model> {
  const bar = progressBar("loading");
  try {
    const model = await loadModel(nameOrPath, {
      ...loadOptions(options),
      onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
    });
    bar.stop();
    const { name, kernels } = model.backend;
    if (name === "wasm" && options.backend === undefined && !process.env.PITH_BACKEND)
      note(`no native addon here: WebAssembly (${kernels}) computes; see pith doctor`);
    return model;
  } finally {
    bar.stop();
  }
}
