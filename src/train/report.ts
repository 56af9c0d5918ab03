// report.html: what a run was and how it went, on one page that needs nothing else: charts are static SVG, there is no
// script, and it is readable in light and in dark.

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import type { Backend } from "../engine/backend.ts";
import { writeFileAtomic } from "../formats/index.ts";
import { mib } from "../models/index.ts";
import type { TrainPlan } from "./plan.ts";
import { type Chart, escapeXml, lineChart } from "./svg.ts";
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
  const rows = (list: readonly (readonly [string, string])[]) =>
    `<table>${list.map(([name, value]) => `<tr><th>${escapeXml(name)}</th><td>${escapeXml(value)}</td></tr>`).join("")}</table>`;
  const sections = [
    `<h1>${escapeXml(title)}</h1>`,
    rows(results(result, plan)),
    ...charts(result).map((chart) => `<figure>${chart}</figure>`),
    ...(warnings.length > 0
      ? [`<h2>Worth knowing</h2><ul>${warnings.map((w) => `<li>${escapeXml(w)}</li>`).join("")}</ul>`]
      : []),
    "<h2>Settings</h2>",
    rows(flat(settings)),
    "<h2>Made with</h2>",
    rows(versions(machine, plan)),
  ];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeXml(title)}</title>
<style>${STYLE}</style>
${sections.filter((section) => section !== "").join("\n")}
</html>
`;
}

function results(result: FitResult, plan: TrainPlan): [string, string][] {
  const { step, stopped, loss, first_eval, eval_loss, kept, tokens, seconds } = result;
  const nats = (value: number) =>
    `${value.toFixed(4)} (perplexity ${Number(Math.exp(value).toPrecision(4))})`;
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

/** Nested settings as rows: "data.train.jsonl". */
function flat(value: unknown, name = ""): [string, string][] {
  if (value === undefined) return [];
  if (Array.isArray(value) || typeof value !== "object" || value === null)
    return [[name, typeof value === "string" ? value : JSON.stringify(value)]];
  return Object.entries(value).flatMap(([key, inner]) => flat(inner, name === "" ? key : `${name}.${key}`));
}

function versions({ name, kernels, threads }: Report["machine"], plan: TrainPlan): [string, string][] {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const { weights, optimizer, work } = plan.memory;
  return [
    ["pith", version],
    ["Node", `${process.version} on ${process.platform} ${process.arch}`],
    ["Processor", `${cpus()[0]?.model ?? "unknown"}, ${threads} threads, ${name} ${kernels}`],
    [
      "Memory",
      `weights ${mib(weights)}, gradients and moments ${mib(optimizer)}, activations ${mib(work)} for ${plan.size.tokens} tokens`,
    ],
    ["Written", new Date().toISOString()],
  ];
}

/** 1234567 -> "1,234,567" */
function grouped(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const STYLE = `
:root { color-scheme: light dark; --back: #ffffff; --text: #1d2127; --dim: #69707a; --grid: #e6e8eb;
  --series-1: #2563c9; --series-2: #d9480f; --series-3: #2b8a3e; --series-4: #7048c8; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --text: #e4e7ea; --dim: #949ca6; --grid: #2a2f36;
  --series-1: #74a5f5; --series-2: #ff9a62; --series-3: #69c880; --series-4: #b197fc; } }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem .25rem 0; border-bottom: 1px solid var(--grid);
  overflow-wrap: anywhere; }
th { font-weight: normal; color: var(--dim); width: 14rem; }
figure { margin: 1.5rem 0; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--dim); font: 11px system-ui, sans-serif; }
svg .title { fill: var(--text); font-size: 13px; font-weight: 600; }
svg .grid { stroke: var(--grid); }
svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
svg .faint { opacity: .28; stroke-width: 1; }
${[1, 2, 3, 4].map((n) => `svg .s${n} { stroke: var(--series-${n}); } svg .dot.s${n} { fill: var(--series-${n}); stroke: none; }`).join("\n")}
`;
