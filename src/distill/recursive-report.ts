// What the generations of a recursive distillation are, side by side: report.html.

import { basename, join } from "node:path";
import { writeFileAtomic } from "../formats/index.ts";
import { grouped, htmlPage, htmlRows, htmlTable, settingRows } from "../report/page.ts";
import { type Chart, escapeXml, lineChart } from "../report/svg.ts";
import type { Generation } from "./recursive.ts";

export interface RecursiveReport {
  readonly model: string;
  readonly generations: readonly Generation[];
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Writes report.html into a folder. */
export async function writeRecursiveReport(folder: string, report: RecursiveReport): Promise<void> {
  await writeFileAtomic(join(folder, "report.html"), recursiveHtml(report));
}

/** A line of names, and one for each generation. */
export function generationTable(generations: readonly Generation[]): string[][] {
  const whole = generations[0]?.parameters ?? 1;
  const score = generations.flatMap(({ scores }) => Object.keys(scores ?? {}))[0];
  const nats = (value: number | undefined) => (value === undefined ? "" : value.toFixed(4));
  return [
    [
      "Generation",
      "Parameters",
      "Share",
      "Held-out loss",
      "KL to its teacher",
      "KL to the first",
      ...(score === undefined ? [] : [score]),
      "Tokens/s",
    ],
    ...generations.map((g) => [
      String(g.generation),
      grouped(g.parameters),
      `${((100 * g.parameters) / whole).toFixed(1)} %`,
      nats(g.loss),
      nats(g.kl_teacher),
      nats(g.kl_first),
      ...(score === undefined ? [] : [nats(g.scores?.[score]?.value)]),
      g.tokens_per_second.toPrecision(3),
    ]),
  ];
}

function recursiveHtml({ model, generations, settings }: RecursiveReport): string {
  const title = `${basename(model)}, distilled again and again`;
  const [names, ...rows] = generationTable(generations);
  const sizes = generations.map(({ generation, sizes, pruned_loss, steps, seconds, folder }) => [
    String(generation),
    `${sizes.layers} layers, hidden ${sizes.hidden}, ffn ${sizes.ffn}, heads ${sizes.heads} of ${sizes.kv_heads}`,
    pruned_loss === undefined ? "" : pruned_loss.toFixed(4),
    steps === undefined ? "" : `${steps} in ${seconds!.toFixed(0)} s`,
    folder,
  ]);
  return htmlPage(title, [
    `<h1>${escapeXml(title)}</h1>`,
    htmlTable(names!, rows),
    ...charts(generations).map((chart) => `<figure>${lineChart(chart)}</figure>`),
    "<h2>How they were made</h2>",
    htmlTable(["Generation", "Sizes", "Loss when pruned, on the calibration data", "Steps", "Folder"], sizes),
    "<h2>Settings</h2>",
    htmlRows(settingRows(settings)),
  ]);
}

function charts(generations: readonly Generation[]): Chart[] {
  const points = (value: (g: Generation) => number | undefined) =>
    generations.flatMap((g) => {
      const y = value(g);
      return y === undefined ? [] : [[g.parameters, y] as const];
    });
  return [
    {
      title: "Held-out loss (nats a token)",
      x: "parameters",
      series: [{ name: "loss", kind: "dots", colour: 1, points: points((g) => g.loss) }],
    },
    {
      title: "KL divergence (nats a token)",
      x: "parameters",
      from: 0,
      series: [
        { name: "to its teacher", kind: "dots", colour: 1, points: points((g) => g.kl_teacher) },
        { name: "to the first", kind: "dots", colour: 2, points: points((g) => g.kl_first) },
      ],
    },
  ];
}
