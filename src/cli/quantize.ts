// pith quantize: a model in fewer bits, and what that cost.

import {
  dryRunQuantize,
  type QuantizeDryRun,
  type QuantizeEvent,
  type QuantizeOptions,
  type QuantizeResult,
  quantize as quantizeModel,
  type Variant,
} from "../quantize/index.ts";
import { interruptible } from "./interrupt.ts";
import { bytes, figure, note, printJson, printTable } from "./output.ts";
import { duration, progressBar } from "./progress.ts";
import { set } from "./train.ts";

export interface QuantizeCliOptions extends Omit<QuantizeOptions, "eval_limit" | "signal"> {
  evalLimit?: number;
  dryRun?: boolean;
  json?: boolean;
}

const STAGES: Readonly<Record<QuantizeEvent["stage"], string>> = {
  mix: "trying types",
  calibrating: "calibrating",
  training: "training",
  writing: "writing",
  measuring: "measuring",
};

export async function quantize(model: string, options: QuantizeCliOptions): Promise<void> {
  const { evalLimit, json, dryRun, ...rest } = options;
  const given: QuantizeOptions = { ...rest, ...set({ eval_limit: evalLimit }) };
  if (dryRun) {
    const found = await dryRunQuantize(model, given);
    return json ? printJson(found) : noteDryRun(found);
  }
  const bar = progressBar("quantizing");
  try {
    const result = await interruptible(
      "Interrupted: nothing is half-written; what calibration has finished is kept for --resume",
      async (signal) => {
        const job = quantizeModel(model, { ...given, signal });
        for await (const { stage, variant, done, total } of job) {
          const percent = Math.floor((100 * done) / Math.max(1, total));
          bar.update(done, Math.max(1, total), ` ${variant}: ${STAGES[stage]}, ${percent} %`);
        }
        return job.result;
      },
    );
    bar.stop();
    if (json) return printJson(brief(result));
    for (const variant of result.variants) noteVariant(variant);
    if (result.original) printMeasured(result);
    note(`report: ${result.report}`);
  } finally {
    bar.stop();
  }
}

/** Without what every tensor is planned to be. */
function brief({ variants, ...rest }: QuantizeResult): object {
  return {
    ...rest,
    variants: variants.map(({ plan: { tensors: _, ...plan }, ...variant }) => ({ ...variant, plan })),
  };
}

function noteVariant({ path, plan, file_bytes, seconds, notes, method, to }: Variant): void {
  const smaller = (plan.bytes.f16 / plan.bytes.after).toFixed(2);
  note(
    `wrote ${path}: ${to} by ${method}, ${bytes(file_bytes)}, ${plan.bits_per_weight.toFixed(2)} bits a weight, ${smaller} times smaller than 16 bits, in ${duration(seconds)}`,
  );
  for (const text of notes) note(`worth knowing: ${text}`);
}

function printMeasured({ variants, original }: QuantizeResult): void {
  const percent = (x: number) => `${(100 * x).toFixed(2)} %`;
  printTable([
    [
      "as it was",
      `${original!.bits_per_weight.toFixed(2)} bits, perplexity ${Number(original!.perplexity.toPrecision(5))}`,
    ],
    ...variants.flatMap(({ name, plan, measured: m }): [string, string][] => {
      if (!m) return [];
      const lost = Math.expm1(m.log_ratio);
      const bits = `${plan.bits_per_weight.toFixed(2)} bits`;
      const ratio = `${lost < 0 ? "" : "+"}${percent(lost)} ± ${percent(Math.exp(m.log_ratio) * m.log_ratio_se)}`;
      return [
        [
          name,
          `${bits}, perplexity ${Number(m.perplexity.toPrecision(5))} (${ratio}), KL ${Number(m.kl_mean.toPrecision(3))}, same top ${percent(m.top1)}`,
        ],
      ];
    }),
  ]);
}

function noteDryRun({ variants, available }: QuantizeDryRun): void {
  for (const { name, plan, memory } of variants) {
    const counts = new Map<string, number>();
    for (const { type } of plan.tensors) counts.set(type, (counts.get(type) ?? 0) + 1);
    printTable([
      [name, `${bytes(plan.bytes.after)}, ${plan.bits_per_weight.toFixed(2)} bits a weight`],
      ["  from", `${bytes(plan.bytes.before)}, ${figure(plan.parameters)} parameters`],
      ["  types", [...counts].map(([type, n]) => `${n} ${type}`).join(", ")],
      ...memory.parts.map(({ what, formula, bytes: n }): [string, string] => [
        `  ${what}`,
        `${formula} = ${bytes(n)}`,
      ]),
      ["  memory", `${bytes(memory.total)} beyond the program; ${bytes(available)} is available`],
    ]);
    for (const text of plan.notes) note(`worth knowing: ${text}`);
  }
  note("dry run: nothing was written");
}
