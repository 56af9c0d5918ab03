// report.html: what a run was and how it went, on one page that needs nothing else: charts are static SVG, there is no
// script, and it is readable in light and in dark.

import { join } from "node:path";
import type { Backend } from "../engine/backend.ts";
import { writeFileAtomic } from "../formats/index.ts";
import { mib } from "../models/index.ts";
import { duration, grouped, htmlPage, htmlRows, madeWith, nats, settingRows } from "../report/page.ts";
import { type Chart, escapeXml, lineChart } from "../report/svg.ts";
import type { TrainPlan } from "./plan.ts";
import type { FitResult } from "./trainer.ts";

export interface Report {
  readonly title: string;
  readonly result: FitResult;
  readonly plan: TrainPlan;
  readonly machine: Pick<Backend, "name" | "kernels" | "threads">;
  /** Plain data: everything that the run was started with. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** What should be known of the data. */
  readonly warnings?: readonly string[];
}

/** Writes report.html into a folder. @returns its path */
export async function writeReport(folder: string, report: Report): Promise<string> {
  const path = join(folder, "report.html");
  await writeFileAtomic(path, reportHtml(report));
  return path;
}

/** The page. */
export function reportHtml({ title, result, plan, machine, settings, warnings = [] }: Report): string {
  const sections = [
    `<h1>${escapeXml(title)}</h1>`,
    htmlRows(results(result, plan)),
    ...charts(result).map((chart) => `<figure>${chart}</figure>`),
    ...(warnings.length > 0
      ? [`<h2>Worth knowing</h2><ul>${warnings.map((w) => `<li>${escapeXml(w)}</li>`).join("")}</ul>`]
      : []),
    "<h2>Settings</h2>",
    htmlRows(settingRows(settings)),
    "<h2>Made with</h2>",
    htmlRows(versions(machine, plan)),
  ];
  return htmlPage(title, sections);
}

function results(result: FitResult, plan: TrainPlan): [string, string][] {
  const { step, stopped, loss, first_eval, eval_loss, kept, tokens, seconds } = result;
  const { first_kl, eval_kl, records } = result;
  const written = records.reduce((sum, r) => sum + (r.generated ?? 0), 0);
  const writing = records.reduce((sum, r) => sum + (r.generation_seconds ?? 0), 0);
  const share = (100 * plan.trained) / plan.parameters;
  return [
    [
      "Parameters trained",
      plan.trained === plan.parameters
        ? `all ${grouped(plan.trained)}`
        : `${grouped(plan.trained)} beside ${grouped(plan.parameters)} (${share.toPrecision(3)} %)`,
    ],
    ["Steps", `${step} of ${plan.steps}${stopped === "patience" ? ", ended by patience" : ""}`],
    ["Tokens", `${grouped(tokens)} in ${duration(seconds)}, ${grouped(tokens / seconds)} a second`],
    ["Training loss, last tenth", nats(loss)],
    ...(first_eval === undefined ? [] : [["Evaluation loss before", nats(first_eval)] as [string, string]]),
    ...(eval_loss === undefined
      ? []
      : [
          ["Evaluation loss", `${nats(eval_loss)}, at step ${kept}, whose weights are kept`] as [
            string,
            string,
          ],
        ]),
    ...(eval_kl === undefined
      ? []
      : [
          ["KL divergence from the teacher", `${eval_kl.toFixed(4)}; ${first_kl!.toFixed(4)} before`] as [
            string,
            string,
          ],
        ]),
    ...(written === 0
      ? []
      : [
          [
            "Written by the student",
            `${grouped(written)} tokens, ${grouped(written / writing)} a second`,
          ] as [string, string],
        ]),
  ];
}

function charts({ records }: FitResult): string[] {
  const points = (value: (r: FitResult["records"][number]) => number | undefined) =>
    records.flatMap((r) => {
      const y = value(r);
      return y === undefined ? [] : [[r.step, y] as const];
    });
  const all: Chart[] = [
    {
      title: "Loss (nats a token)",
      x: "step",
      series: [
        { name: "training", points: points((r) => r.loss), kind: "smooth", colour: 1 },
        { name: "evaluation", points: points((r) => r.eval_loss), kind: "dots", colour: 2 },
      ],
    },
    {
      title: "Parts of the loss, and KL divergence from the teacher (nats a token)",
      x: "step",
      series: [
        { name: "cross-entropy", points: points((r) => r.ce), kind: "smooth", colour: 1 },
        { name: "distance", points: points((r) => r.kd), kind: "smooth", colour: 3 },
        { name: "evaluation KL", points: points((r) => r.eval_kl), kind: "dots", colour: 2 },
      ],
    },
    {
      title: "Share of pairs told apart",
      x: "step",
      series: [{ name: "accuracy", points: points((r) => r.accuracy), kind: "smooth", colour: 3 }],
    },
    {
      title: "Gradient norm, before clipping",
      x: "step",
      from: 0,
      series: [{ name: "norm", points: points((r) => r.grad_norm), kind: "smooth", colour: 3 }],
    },
    {
      title: "Learning rate",
      x: "step",
      from: 0,
      series: [{ name: "rate", points: points((r) => r.lr), kind: "line", colour: 4 }],
    },
    {
      title: "Tokens a second",
      x: "step",
      from: 0,
      series: [
        {
          name: "rate",
          points: points((r) => (r.seconds ? r.tokens! / r.seconds : undefined)),
          kind: "smooth",
          colour: 1,
        },
      ],
    },
  ];
  return all.map(lineChart).filter((svg) => svg !== "");
}

function versions(machine: Report["machine"], plan: TrainPlan): [string, string][] {
  const { weights, optimizer, work } = plan.memory;
  return [
    ...madeWith(machine),
    [
      "Memory",
      `weights ${mib(weights)}, gradients and moments ${mib(optimizer)}, activations ${mib(work)} for ${plan.size.tokens} tokens`,
    ],
  ];
}
