// pith fuse: adapters merged into a model's weights.

import { type AdapterToFuse, fuse as fuseModel, openAdapter, openModel } from "../models/index.ts";
import { parseAdapter } from "./adapters.ts";
import { type ConvertOptions, writing } from "./convert.ts";
import { interruptible } from "./interrupt.ts";
import { figure, note, printJson } from "./output.ts";
import { progressBar } from "./progress.ts";

export interface FuseOptions extends ConvertOptions {
  adapter?: string[];
  requantize?: boolean;
}

export async function fuse(nameOrPath: string, out: string, options: FuseOptions): Promise<void> {
  const specs = (options.adapter ?? []).map(parseAdapter);
  if (specs.length === 0) throw new TypeError("Cannot merge: wanted an adapter, with --adapter path[=scale]");
  const bar = progressBar("merging", "bytes");
  const model = await openModel(nameOrPath);
  const adapters: AdapterToFuse[] = [];
  try {
    const result = await interruptible("Interrupted: nothing was written", async (signal) => {
      for (const { path, scale } of specs) adapters.push({ adapter: await openAdapter(path, signal), scale });
      return fuseModel(model, adapters, out, {
        ...writing(options, signal, bar),
        ...(options.requantize && { requantize: true }),
      });
    });
    bar.stop();
    if (options.json) return printJson(result);
    note(`wrote ${result.path} (${result.format}, ${result.type}), ${result.changed} tensors changed`);
    if (result.cost) {
      const { types, relative_error, error_to_change } = result.cost;
      note(
        `rounding to ${types.join(", ")} moved the changed weights by ${figure(100 * relative_error)} % of their size, which is ${figure(100 * error_to_change)} % of what the adapters changed`,
      );
    }
  } finally {
    bar.stop();
    for (const { adapter } of adapters) await adapter.close();
    await model.close();
  }
}
