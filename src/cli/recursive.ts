// pith distill --recursive: pruned and distilled again and again.

import {
  type DistillOptions,
  distillRecursively,
  type Generation,
  generationTable,
  type RecursiveEvent,
} from "../distill/index.ts";
import { interruptible } from "./interrupt.ts";
import { note, printJson } from "./output.ts";
import { duration, progressBar } from "./progress.ts";
import { set } from "./train.ts";

export interface RecursiveCliOptions {
  recursive?: string;
  student?: string;
  calibration?: string[];
  calibrationTokens?: number;
  task?: string;
  dryRun?: boolean;
  json?: boolean;
}

/** @param given what distilling is told; the teacher is the first generation */
export async function recursive(given: DistillOptions, options: RecursiveCliOptions): Promise<void> {
  const { recursive: shares = "", student, calibration, calibrationTokens, task, json } = options;
  const cannot = "Cannot distill recursively ";
  if (student !== undefined)
    throw new TypeError(`${cannot}with a student: each generation is a part of the one before, wanted none`);
  if (options.dryRun) throw new TypeError(`${cannot}with --dry-run: wanted it without`);
  const { teacher, method = "full", cache, endpoint: _endpoint, top_k: _top_k, onCache: _, ...rest } = given;
  if (cache !== undefined)
    throw new TypeError(`${cannot}with a cache: each generation has another teacher, wanted it without`);
  if (typeof teacher !== "string" || method !== "full")
    throw new TypeError(`${cannot}by the method ${method}: wanted full, since a smaller model is trained`);
  const watch = new Watch();
  try {
    const { generations, report } = await interruptible(
      "Interrupted before the first generation",
      async (signal) => {
        const job = distillRecursively(teacher, {
          ...rest,
          shares,
          ...set({ calibration, calibration_tokens: calibrationTokens, task }),
          signal,
        });
        for await (const event of job) watch.event(event);
        return job.result;
      },
    );
    watch.stop();
    if (json) return printJson({ generations, report });
    printGenerations(generations);
    note(`report: ${report}`);
    note(`run the smallest: pith run ${generations.at(-1)!.folder}`);
  } finally {
    watch.stop();
  }
}

/** A bar over what is being done; finished generations are lines of their own. */
class Watch {
  private bar = progressBar("distilling");

  event({ generation, generations, stage, prune, step, figures }: RecursiveEvent): void {
    const at = ` generation ${generation} of ${generations - 1}, `;
    if (step) {
      const left = step.step < step.steps ? `, ${duration(step.eta)} left` : "";
      const evaluated = step.eval_loss !== undefined;
      const text = `${at}step ${step.step} of ${step.steps}, loss ${step.loss.toFixed(4)}${left}`;
      this.bar.update(step.step, step.steps, text, evaluated);
    } else if (prune) {
      const total = Math.max(1, prune.total);
      this.bar.update(prune.done, total, `${at}pruning: ${prune.stage}`);
    } else if (figures) {
      this.stop();
      note(
        `generation ${generation}: ${figures.parameters} parameters, held-out loss ${figures.loss.toFixed(4)}${figures.kl_teacher === undefined ? "" : `, KL to its teacher ${figures.kl_teacher.toFixed(4)}`}`,
      );
      this.bar = progressBar("distilling");
    } else this.bar.update(0, 1, `${at}${stage}`);
  }

  stop(): void {
    this.bar.stop();
  }
}

function printGenerations(generations: readonly Generation[]): void {
  const rows = generationTable(generations);
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  for (const row of rows)
    process.stdout.write(`${row.map((cell, i) => cell.padStart(widths[i]!)).join("  ")}\n`);
}
