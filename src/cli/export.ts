// pith export: an adapter in another format, compared with what it was made of.

import { rm, stat } from "node:fs/promises";
import { exportAdapter } from "../evaluate/index.ts";
import { interruptible } from "./interrupt.ts";
import { load } from "./load.ts";
import type { ModelOptions } from "./options.ts";
import { figure, note, printJson } from "./output.ts";

export interface ExportOptions extends ModelOptions {
  /** Largest mean KL that is taken for the same adapter. */
  maxKl?: number;
  overwrite?: boolean;
  json?: boolean;
}

/** Rounding to another order of sums makes 1e-12 of a float model and 1e-4 of a quantized one. */
const MAX_KL = 1e-3;

export async function exportTo(
  nameOrPath: string,
  adapter: string,
  out: string,
  options: ExportOptions,
): Promise<void> {
  const there = await stat(out).then(
    () => true,
    () => false,
  );
  if (there && !options.overwrite)
    throw new Error(`Cannot write ${JSON.stringify(out)}: it exists; --overwrite replaces it`);
  const model = await load(nameOrPath, options);
  try {
    const result = await interruptible("Interrupted: the adapter was not compared", (signal) =>
      exportAdapter(model, adapter, out, { signal }),
    );
    const { kl_mean, kl_max, kl_base, top1, tokens } = result;
    const most = options.maxKl ?? MAX_KL;
    if (!(kl_mean <= most)) {
      if (!there) await rm(out, { recursive: true });
      throw new Error(
        `Cannot export ${JSON.stringify(adapter)}: what was written differs by a mean KL divergence of ${figure(kl_mean)} nats, wanted at most ${most}`,
      );
    }
    if (options.json) return printJson({ ...result, model: model.name });
    note(
      `wrote ${out}: mean KL divergence ${figure(kl_mean)} nats over ${tokens} tokens (largest ${figure(kl_max)}, the same token likeliest in ${figure(100 * top1)} %); the adapter itself moves the model by ${figure(kl_base)}`,
    );
  } finally {
    await model.close();
  }
}
