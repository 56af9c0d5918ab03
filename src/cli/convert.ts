// pith convert: a model in another form or type.

import {
  convert as convertModel,
  type ConvertOptions as LibraryOptions,
  openModel,
  type SaveType,
} from "../models/index.ts";
import { interruptible } from "./interrupt.ts";
import { note, printJson } from "./output.ts";
import { type Progress, progressBar } from "./progress.ts";

export interface ConvertOptions {
  type?: SaveType;
  overwrite?: boolean;
  json?: boolean;
}

/** Options of the verbs that write a model, under the library's names. */
export const writing = (
  { type, overwrite }: ConvertOptions,
  signal: AbortSignal,
  bar: Progress,
): LibraryOptions => ({
  ...(type && { type }),
  ...(overwrite && { overwrite: true }),
  signal,
  onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
});

export async function convert(nameOrPath: string, out: string, options: ConvertOptions): Promise<void> {
  const model = await openModel(nameOrPath);
  const bar = progressBar("writing");
  try {
    const result = await interruptible("Interrupted: nothing was written", (signal) =>
      convertModel(model, out, writing(options, signal, bar)),
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
