// pith average: several models' weights as one.

import { average as averageModels, type ModelToAverage, openModel } from "../models/index.ts";
import { pathAndNumber } from "./adapters.ts";
import { type ConvertOptions, writing } from "./convert.ts";
import { interruptible } from "./interrupt.ts";
import { figure, note, printJson } from "./output.ts";
import { progressBar } from "./progress.ts";

export interface AverageOptions extends ConvertOptions {
  out: string;
}

export async function average(names: readonly string[], options: AverageOptions): Promise<void> {
  const specs = names.map((text) => pathAndNumber(text, "the model", "weight"));
  const models: ModelToAverage[] = [];
  const bar = progressBar("averaging", "bytes");
  try {
    for (const { path, number } of specs) models.push({ model: await openModel(path), weight: number });
    const result = await interruptible("Interrupted: nothing was written", (signal) =>
      averageModels(models, options.out, writing(options, signal, bar)),
    );
    bar.stop();
    if (options.json) return printJson(result);
    note(`wrote ${result.path} (${result.format}, ${result.type}), the mean of ${specs.length} models`);
    for (const [i, { path }] of specs.entries())
      note(`  ${path} is ${figure(100 * result.distances[i]!)} % of its length away`);
  } finally {
    bar.stop();
    for (const { model } of models) await model.close();
  }
}
