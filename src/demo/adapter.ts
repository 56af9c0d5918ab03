// How adapters of a demonstration are trained, and attached to its model.

import { dryRun, type TuneResult, tune } from "../train/index.ts";
import { computing, followed, stepsIn, type Work } from "./work.ts";

/** Rates far above those of large models: few steps on few examples have to do. */
export const ADAPTER = { rank: 16, alpha: 32, lr: 3e-3, batch_tokens: 1024, max_steps: 140 } as const;

/**
 * An adapter that the model has under this name from now on.
 * @param options.folder of the demonstration's, for the adapter; `data` is a file there
 * @param options.seconds that training may take, and at most how many steps
 */
export async function learnAdapter(
  work: Work,
  options: {
    readonly name: string;
    readonly folder: string;
    readonly data: string;
    readonly what: string;
    readonly seconds: number;
    readonly most: number;
  },
): Promise<{ readonly out: string; readonly steps: number; readonly learned: TuneResult }> {
  const { path, model, place, tell } = work;
  tell("looking how fast it learns", 0, 1);
  const how = { ...ADAPTER, ...computing(work), data: place(options.data) };
  const dry = await dryRun(path, { ...how, epochs: 1 }, { samples: 0 });
  const steps = stepsIn(options.seconds, dry, options.most);
  const out = place(options.folder);
  const learned = await followed(
    work,
    options.what,
    tune(path, { ...how, out, max_steps: steps, epochs: 1e6 }),
  );
  await model.adapter(out, { name: options.name });
  return { out, steps, learned };
}
