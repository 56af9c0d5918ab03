// pith prune: a smaller model of the same type, by what does least on calibration data.

import { type PruneEvent, type PruneOptions, type PruneResult, prune as pruneModel } from "../prune/index.ts";
import { interruptible } from "./interrupt.ts";
import { figure, note, printJson } from "./output.ts";
import { duration, progressBar } from "./progress.ts";
import { set } from "./train.ts";

export interface PruneCliOptions
  extends Omit<PruneOptions, "calibration" | "kv_heads" | "trial_tokens" | "importance" | "signal"> {
  calibration?: string[];
  kvHeads?: number;
  trialTokens?: number;
  json?: boolean;
}

const STAGES: Readonly<Record<PruneEvent["stage"], string>> = {
  layers: "trying without each layer",
  importance: "measuring importance",
  sizes: "trying sizes",
  writing: "writing",
  measuring: "measuring the loss",
};

export async function prune(model: string, options: PruneCliOptions): Promise<void> {
  const { calibration, kvHeads, trialTokens, json, ...given } = options;
  if (!calibration)
    throw new TypeError("Cannot prune: wanted text or samples to measure on, with --calibration file");
  const bar = progressBar("pruning");
  try {
    const result = await interruptible("Interrupted: nothing was written", async (signal) => {
      const job = pruneModel(model, {
        ...given,
        ...set({ kv_heads: kvHeads, trial_tokens: trialTokens }),
        calibration,
        signal,
      });
      for await (const event of job) {
        const text = ` ${STAGES[event.stage]}, ${Math.floor((100 * event.done) / Math.max(1, event.total))} %`;
        bar.update(event.done, Math.max(1, event.total), text);
      }
      return job.result;
    });
    bar.stop();
    if (json) return printJson(result);
    noteResult(result);
    note(`report: ${result.report}`);
    note(`teach it: pith distill --teacher ${model} --student ${result.folder}`);
  } finally {
    bar.stop();
  }
}

function noteResult({ before, after, dropped_layers, targets, notes, folder, seconds }: PruneResult): void {
  const share = (100 * after.parameters) / before.parameters;
  note(
    `wrote ${folder}: ${figure(after.parameters)} of ${figure(before.parameters)} parameters, ${figure(share)} %, in ${duration(seconds)}`,
  );
  const named = { layers: "layers", hidden: "hidden", ffn: "ffn", heads: "heads", kv_heads: "kv heads" };
  const changed = (Object.keys(named) as (keyof typeof named)[])
    .filter((key) => before.sizes[key] !== after.sizes[key])
    .map((key) => `${named[key]} ${before.sizes[key]} -> ${after.sizes[key]}`);
  if (changed.length > 0) note(changed.join(", "));
  if (dropped_layers.length > 0) note(`without the layers ${dropped_layers.join(", ")}, in this order`);
  note(
    `loss on the calibration data: ${before.loss.toFixed(4)} before, ${after.loss.toFixed(4)} after, over ${figure(targets)} targets`,
  );
  for (const text of notes) note(`worth knowing: ${text}`);
}
