// What pruning did: report.html for people, prune.json for programs.

import { basename, join } from "node:path";
import type { Backend } from "../engine/backend.ts";
import { writeFileAtomic } from "../formats/index.ts";
import { grouped, htmlPage, htmlRows, htmlTable, madeWith, nats, settingRows } from "../report/page.ts";
import { type Chart, escapeXml, lineChart, type Series } from "../report/svg.ts";
import type { Kept } from "./layout.ts";
import type { Choice, PruneResult } from "./prune.ts";
import type { Sizes } from "./sizes.ts";

export interface PruneReport extends Omit<Choice, "loss" | "factors"> {
  readonly model: string;
  readonly result: PruneResult;
  /** File -> SHA-256. */
  readonly data: Readonly<Record<string, string>>;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly machine: Pick<Backend, "name" | "kernels" | "threads">;
}

/** Writes report.html and prune.json into a folder. */
export async function writePruneReport(folder: string, report: PruneReport): Promise<void> {
  await writeFileAtomic(join(folder, "prune.json"), `${JSON.stringify(pruneJson(report))}\n`);
  await writeFileAtomic(join(folder, "report.html"), pruneHtml(report));
}

/** What stays and what it was chosen by: scores of all, with four digits, by layer of the old model. */
function pruneJson({ model, result, data, settings, kept, scores, rounds, trials }: PruneReport): object {
  const { folder: _, report: __, ...told } = result;
  const short = (values: Float64Array) => Array.from(values, (x) => Number(x.toPrecision(4)));
  return {
    model,
    ...told,
    data,
    settings,
    layer_trials: rounds,
    size_trials: trials,
    hidden: { kept: [...kept.hidden], scores: short(scores.hidden) },
    layers: kept.layers.map((layer, j) => ({
      layer,
      ffn: { kept: [...kept.ffn[j]!], scores: short(scores.ffn[j]!) },
      heads: { kept: [...kept.heads[j]!], scores: short(scores.heads[j]!) },
      kv_heads: { kept: [...kept.kv_heads[j]!] },
    })),
  };
}

const LABELS: Readonly<Record<keyof Sizes, string>> = {
  layers: "Layers",
  hidden: "Hidden size",
  ffn: "Intermediate size",
  heads: "Attention heads",
  kv_heads: "Key and value heads",
};

function pruneHtml(report: PruneReport): string {
  const { model, result, settings, machine, data } = report;
  const { before, after, dropped_layers, notes, targets } = result;
  const title = `${basename(model)}, pruned`;
  const share = (100 * after.parameters) / before.parameters;
  const sizes = (Object.keys(LABELS) as (keyof Sizes)[]).map((key) => [
    LABELS[key],
    String(before.sizes[key]),
    String(after.sizes[key]),
  ]);
  return htmlPage(title, [
    `<h1>${escapeXml(title)}</h1>`,
    htmlTable(
      ["", "Before", "After"],
      [
        ["Parameters", grouped(before.parameters), `${grouped(after.parameters)} (${share.toFixed(1)} %)`],
        [`Loss over ${grouped(targets)} targets`, nats(before.loss), nats(after.loss)],
        ...sizes,
      ],
    ),
    ...(notes.length > 0 ? ["<h2>Worth knowing</h2>", htmlRows(notes.map((note) => ["", note]))] : []),
    ...charts(report).map((chart) => `<figure>${lineChart(chart)}</figure>`),
    ...(dropped_layers.length > 0
      ? ["<h2>Layers that are gone</h2>", htmlRows([["In this order", dropped_layers.join(", ")]])]
      : []),
    "<h2>Settings</h2>",
    htmlRows(settingRows({ ...settings, data })),
    "<h2>Made with</h2>",
    htmlRows(madeWith(machine)),
  ]);
}

function charts({ rounds, trials, result, scores, kept }: PruneReport): Chart[] {
  const found: Chart[] = [];
  const first = rounds[0];
  if (first)
    found.push({
      title: "Loss without one layer (nats)",
      x: "layer",
      from: result.before.loss,
      series: [
        line(
          "without it",
          first.losses.map(({ layer, loss }) => [layer, loss]),
        ),
      ],
    });
  if (trials.length > 0)
    found.push({
      title: "Loss by what is left (nats, before the widths are cut)",
      x: "share of the parameters",
      series: [
        line(
          "loss",
          trials.map((t) => [t.parameters / result.before.parameters, t.loss]),
        ),
      ],
    });
  const lost = lostShares(scores, kept);
  if (lost.some(({ ffn, heads }) => ffn + heads > 0))
    found.push({
      title: "Share of the importance (squares) that was dropped",
      x: "layer",
      from: 0,
      series: [
        {
          ...line(
            "neurons",
            lost.map(({ layer, ffn }) => [layer, ffn]),
          ),
          colour: 1,
        },
        {
          ...line(
            "heads",
            lost.map(({ layer, heads }) => [layer, heads]),
          ),
          colour: 2,
        },
      ],
    });
  if (kept.hidden.length < scores.hidden.length)
    found.push({
      title: `Hidden channels by importance; the first ${kept.hidden.length} stay`,
      x: "rank",
      from: 0,
      series: [
        {
          name: "score",
          kind: "line",
          colour: 3,
          points: [...scores.hidden.toSorted((a, b) => b - a).entries()],
        },
      ],
    });
  return found;
}

const line = (name: string, points: readonly (readonly [number, number])[]): Series => ({
  name,
  points,
  kind: "dots",
  colour: 1,
});

/** Of each layer that stays: how much of the sum of squared scores is gone. */
function lostShares(scores: Choice["scores"], kept: Kept) {
  const lost = (all: Float64Array, stay: Int32Array) => {
    const total = all.reduce((sum, x) => sum + x * x, 0);
    const left = stay.reduce((sum, i) => sum + all[i]! ** 2, 0);
    return total > 0 ? Math.max(0, 1 - left / total) : 0;
  };
  return scores.layers.map((layer, j) => ({
    layer,
    ffn: lost(scores.ffn[j]!, kept.ffn[j]!),
    heads: lost(scores.heads[j]!, kept.heads[j]!),
  }));
}
