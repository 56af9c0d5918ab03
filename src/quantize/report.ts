// What a quantization did: a page for people, and where there are several variants quantize.json for programs, which a
// resumed run goes on with.

import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Backend } from "../engine/backend.ts";
import { writeFileAtomic } from "../formats/index.ts";
import { parseJson } from "../formats/json.ts";
import { grouped, htmlPage, htmlRows, htmlTable, lost, madeWith, settingRows } from "../report/page.ts";
import { type Chart, escapeXml, lineChart } from "../report/svg.ts";
import type { Target } from "./target.ts";
import type { QuantizeOptions, QuantizeResult, TensorError, Variant } from "./types.ts";

export interface QuantizeReport {
  readonly model: { readonly name: string };
  readonly options: QuantizeOptions;
  readonly backend: Pick<Backend, "name" | "kernels" | "threads">;
  readonly target: Target;
}

const JSON_FILE = "quantize.json";

/** Variants that a run before has finished in the folder of several, by name. */
export async function readFinished(target: Target, resume: boolean): Promise<Map<string, Variant>> {
  if (target.kind !== "several" || !resume) return new Map();
  const path = join(target.out, JSON_FILE);
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return new Map();
  const found = parseJson(text, path) as unknown as Partial<QuantizeResult>;
  if (!Array.isArray(found.variants))
    throw new TypeError(
      `Cannot read ${JSON.stringify(path)}: it has no list of variants, wanted what a run has left`,
    );
  return new Map((found.variants as Variant[]).map((variant) => [variant.name, variant]));
}

/** Writes the page, and for several variants quantize.json beside it. */
export async function writeQuantizeReport(report: QuantizeReport, result: QuantizeResult): Promise<void> {
  const { target, options, model } = report;
  if (target.kind === "several") {
    const { signal: _, ...settings } = options;
    const told = { model: model.name, settings, ...result };
    await writeFileAtomic(join(target.out, JSON_FILE), `${JSON.stringify(told)}\n`);
  }
  await writeFileAtomic(target.report, quantizeHtml(report, result));
}

function quantizeHtml({ model, options, backend }: QuantizeReport, result: QuantizeResult): string {
  const { variants, original } = result;
  const title = `${basename(model.name)}, quantized`;
  const first = variants[0]!;
  const { calibration, eval: text, ...settings } = { ...options, signal: undefined };
  return htmlPage(title, [
    `<h1>${escapeXml(title)}</h1>`,
    htmlTable(
      ["", "Size", "Bits a weight", "Smaller than 16 bits"],
      [
        [
          "as it was",
          megabytes(first.plan.bytes.before),
          ((8 * first.plan.bytes.before) / first.plan.parameters).toFixed(2),
          `${(first.plan.bytes.f16 / first.plan.bytes.before).toFixed(2)} times`,
        ],
        ...variants.map(({ name, plan }) => [
          name,
          megabytes(plan.bytes.after),
          plan.bits_per_weight.toFixed(2),
          `${(plan.bytes.f16 / plan.bytes.after).toFixed(2)} times`,
        ]),
      ],
    ),
    ...(original
      ? [
          `<h2>On ${escapeXml(basename(text!))}</h2>`,
          htmlTable(
            ["", "Perplexity", "Beside the original", "KL divergence", "99 % of it", "Same top token"],
            [
              ["as it was", digits(original.perplexity), "", "", "", ""],
              ...variants.map(({ name, measured: m }) =>
                m
                  ? [
                      name,
                      `${digits(m.perplexity)} ± ${digits(m.perplexity_se, 2)}`,
                      lost(m.log_ratio, m.log_ratio_se),
                      `${digits(m.kl_mean, 3)} ± ${digits(m.kl_se, 2)}`,
                      digits(m.kl_p99, 3),
                      `${(100 * m.top1).toFixed(2)} %`,
                    ]
                  : [name, "not measured", "", "", "", ""],
              ),
            ],
          ),
          `<p>${grouped(variants.find(({ measured }) => measured)?.measured?.tokens ?? 0)} tokens, the same for all; the error beside the original is that of the difference, token by token.</p>`,
        ]
      : []),
    ...charts(variants).map((chart) => `<figure>${lineChart(chart)}</figure>`),
    ...variants.flatMap(({ name, notes }) =>
      notes.length > 0
        ? [`<h2>Worth knowing of ${escapeXml(name)}</h2>`, htmlRows(notes.map((note) => ["", note]))]
        : [],
    ),
    "<h2>Time and memory</h2>",
    htmlTable(
      ["", "Seconds", "Most memory of the process"],
      variants.map(({ name, seconds, peak_bytes }) => [name, seconds.toFixed(1), megabytes(peak_bytes)]),
    ),
    "<h2>Types</h2>",
    ...variants.map(({ name, plan }) =>
      htmlTable(["", "Type", "Tensors", "Weights", "Size"], typeRows(name, plan)),
    ),
    "<h2>Settings</h2>",
    htmlRows(settingRows({ ...settings, calibration, eval: text })),
    "<h2>Made with</h2>",
    htmlRows(madeWith(backend)),
  ]);
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)} MB`;
const digits = (x: number, count = 5) => String(Number(x.toPrecision(count)));

function typeRows(name: string, { tensors }: Variant["plan"]): string[][] {
  const byType = new Map<string, { tensors: number; weights: number; bytes: number }>();
  for (const { type, shape, bytes } of tensors) {
    const sum = byType.get(type) ?? { tensors: 0, weights: 0, bytes: 0 };
    sum.tensors++;
    sum.weights += shape.reduce((a, b) => a * b, 1);
    sum.bytes += bytes;
    byType.set(type, sum);
  }
  return [...byType]
    .sort((a, b) => b[1].bytes - a[1].bytes)
    .map(([type, { tensors, weights, bytes }]) => [
      name,
      type,
      String(tensors),
      grouped(weights),
      megabytes(bytes),
    ]);
}

/** Error by layer: the mean over a layer's matrices, of up to four variants. */
function charts(variants: readonly Variant[]): Chart[] {
  const shown = variants.slice(0, 4);
  return (["relative_error", "output_error"] as const).flatMap((kind): Chart[] => {
    const series = shown.flatMap(({ name, errors }, i) => {
      const points = layerMeans(errors, kind);
      return points.length > 0
        ? [{ name, points, kind: "dots" as const, colour: (i + 1) as 1 | 2 | 3 | 4 }]
        : [];
    });
    const title =
      kind === "relative_error"
        ? "Error of the weights by layer (‖Ŵ - W‖ / ‖W‖)"
        : "Error of the outputs by layer (‖ŴX - WX‖ / ‖WX‖)";
    return series.length > 0 ? [{ title, x: "layer", from: 0, series }] : [];
  });
}

function layerMeans(errors: readonly TensorError[], kind: "relative_error" | "output_error") {
  const layers = new Map<number, number[]>();
  for (const error of errors) {
    const layer = /\.(\d+)\./.exec(error.name)?.[1];
    const value = error[kind];
    if (layer === undefined || value === undefined) continue;
    layers.set(Number(layer), [...(layers.get(Number(layer)) ?? []), value]);
  }
  return [...layers]
    .sort(([a], [b]) => a - b)
    .map(([layer, values]) => [layer, values.reduce((a, b) => a + b, 0) / values.length] as const);
}
