// pith convert: a model in another form or type.

import { convert as convertModel, openModel, type SaveType } from "../models/index.ts";
import { interruptible } from "./interrupt.ts";
import { note, printJson } from "./output.ts";
import { progressBar } from "./progress.ts";

export interface ConvertOptions {
  type?: SaveType;
  overwrite?: boolean;
  json?: boolean;
}

export async function convert(nameOrPath: string, out: string, options: ConvertOptions): Promise<void> {
  const model = await openModel(nameOrPath);
  const bar = progressBar("writing");
  try {
    const result = await interruptible("Interrupted: nothing was written", (signal) =>
      convertModel(model, out, {
        ...(options.type && { type: options.type }),
        ...(options.overwrite && { overwrite: true }),
        signal,
        onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
      }),
    );
    bar.stop();
    if (options.json) return printJson(result);
    note(`wrote ${result.path} (${result.format}, ${result.type})`);
    if (result.left_out.length > 0)
      note(`left out, as the model has no use for them: ${result.left_out.slice(0, 8).join(", ")}`);
  } finally {
    bar.stop();
    await model.close();
  }
}
