// A comparison as a page that needs nothing else, and as Markdown.

import { duration, htmlPage, htmlRows, madeWith } from "../report/page.ts";
import { type NamedPoint, scatterChart, spreadChart } from "../report/scatter.ts";
import { escapeXml } from "../report/svg.ts";
import { notesOf, summaries } from "./summary.ts";
import { type Cell, fileName, MAIN_SCORE, scoreName, type TableRow, tableOf } from "./table.ts";
import type { Compared, CompareResult } from "./types.ts";

type Colour = 1 | 2 | 3 | 4;
const colourOf = (i: number) => ((i % 4) + 1) as Colour;

/** The page. */
export function compareHtml(result: CompareResult): string {
  const { models, machine } = result;
  const title = titleOf(result);
  const { backend: name, kernels, threads } = machine;
  return htmlPage(
    title,
    [
      `<h1>${escapeXml(title)}</h1>`,
      `<ul class="summary">${summaries(result)
        .map((text) => `<li>${escapeXml(text)}</li>`)
        .join("")}</ul>`,
      table(result),
      ...charts(result).map((chart) => `<figure>${chart}</figure>`),
      "<h2>How it was measured</h2>",
      `<ul>${notesOf(result)
        .map((note) => `<li>${escapeXml(note)}</li>`)
        .join("")}</ul>`,
      "<h2>The models</h2>",
      htmlRows(models.map(({ name, model }) => [name, model])),
      "<h2>Made with</h2>",
      htmlRows([
        ...madeWith({ name: name as "native", kernels, threads }),
        ["Took", duration(result.seconds)],
      ]),
    ],
    STYLE,
  );
}

const titleOf = ({ models }: CompareResult) => `Compared: ${models.map(({ name }) => name).join(", ")}`;

function table(result: CompareResult): string {
  const { models } = result;
  const columns = models.length + 1;
  const head = `<tr><td></td>${models.map(({ name }, i) => `<th scope="col"><i class="key s${colourOf(i)}"></i>${escapeXml(name)}</th>`).join("")}</tr>`;
  const body = tableOf(result).map(({ title, why, rows }) => {
    const reason = why === "" ? "" : `<small>${escapeXml(why)}</small>`;
    const line = `<tr class="section"><th colspan="${columns}">${escapeXml(title)}${reason}</th></tr>`;
    return `<tbody>${line}${rows.map(rowHtml).join("")}</tbody>`;
  });
  return `<div class="scroll"><table class="compare"><thead>${head}</thead>${body.join("")}</table></div>`;
}

function rowHtml({ name, unit, why, numbers, cells }: TableRow): string {
  const label = `${escapeXml(name)}${unit === "" ? "" : `, ${escapeXml(unit)}`}`;
  const reason = why === "" ? "" : `<small>${escapeXml(why)}</small>`;
  const cell = ({ text, note, best }: Cell) => {
    const classes = [numbers ? "number" : "", best ? "best" : ""].filter((x) => x !== "").join(" ");
    const below = note === undefined ? "" : `<small>${escapeXml(note)}</small>`;
    return `<td${classes === "" ? "" : ` class="${classes}"`}>${escapeXml(text)}${below}</td>`;
  };
  return `<tr><th scope="row">${label}${reason}</th>${cells.map(cell).join("")}</tr>`;
}

interface Quality {
  readonly title: string;
  readonly of: (model: Compared) => { y: number; low?: number; high?: number } | undefined;
}

/** What can stand on the vertical axis. */
function qualities({ text, models, tasks }: CompareResult): Quality[] {
  const other = models.some((model) => model.text?.other_tokens !== undefined);
  const reference = models.find(({ name }) => name === text?.reference);
  return [
    ...tasks.map(({ name, metric }, i) => ({
      title: `${scoreName(MAIN_SCORE[metric])} on ${fileName(name)}, % (higher is better)`,
      of: ({ tasks }: Compared) => {
        const figure = tasks[i]?.scores[MAIN_SCORE[metric]];
        return figure && { y: 100 * figure.value, low: 100 * figure.low, high: 100 * figure.high };
      },
    })),
    ...(text
      ? [
          {
            title: `${other ? "Bits a byte" : "Perplexity"} of ${fileName(text.name)} (lower is better)`,
            of: ({ text }: Compared) => {
              if (!text) return undefined;
              if (other) return { y: text.bits_per_byte };
              // What the models share of the error is left out: it is the text's.
              const error = 1.96 * (text.log_ratio_se ?? 0);
              const y =
                reference?.text && text.log_ratio !== undefined
                  ? reference.text.perplexity * Math.exp(text.log_ratio)
                  : text.perplexity;
              return { y, low: y * Math.exp(-error), high: y * Math.exp(error) };
            },
          },
        ]
      : []),
  ];
}

function charts(result: CompareResult): string[] {
  const { models, round_trip_ms } = result;
  const points = (x: (model: Compared) => number | undefined, { of }: Quality): NamedPoint[] =>
    models.flatMap((model, i) => {
      const [at, quality] = [x(model), of(model)];
      return at === undefined || quality === undefined
        ? []
        : [{ name: model.name, x: at, ...quality, colour: colourOf(i) }];
    });
  return [
    ...qualities(result).flatMap((quality) => [
      scatterChart({
        title: quality.title,
        x: "size of the files, MB",
        points: points(({ file_bytes }) => file_bytes && file_bytes / 1e6, quality),
      }),
      scatterChart({
        title: quality.title,
        x: "tokens/s in writing",
        points: points(({ speed }) => speed?.decode, quality),
      }),
    ]),
    spreadChart({
      title: "How long short answers take (left is better; the higher, the more of them)",
      x: "milliseconds",
      line: { value: round_trip_ms, name: `a far server's way there and back: ${round_trip_ms} ms` },
      spreads: models.flatMap(({ name, answers }, i) =>
        answers
          ? [
              {
                name,
                values: answers.ms,
                colour: colourOf(i),
                marks: [
                  { name: "half", value: answers.p50 },
                  ...(answers.p99 === undefined ? [] : [{ name: "99 %", value: answers.p99 }]),
                  ...(answers.p99_9 === undefined ? [] : [{ name: "99.9 %", value: answers.p99_9 }]),
                ],
              },
            ]
          : [],
      ),
    }),
  ].filter((chart) => chart !== "");
}

/** The same as Markdown: sentences, a table, notes. The better of a row is bold. */
export function compareMarkdown(result: CompareResult): string {
  const { models } = result;
  const line = (cells: readonly string[]) =>
    `| ${cells.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
  const sections = tableOf(result).map(({ title, why, rows }) =>
    [
      `### ${title}`,
      "",
      ...(why === "" ? [] : [why, ""]),
      line(["", ...models.map(({ name }) => name)]),
      line(["---", ...models.map(() => (rows.some(({ numbers }) => numbers) ? "---:" : "---"))]),
      ...rows.map(({ name, unit, cells }) =>
        line([
          unit === "" ? name : `${name}, ${unit}`,
          ...cells.map(({ text, note, best }) => {
            const shown = note === undefined ? text : `${text} (${note})`;
            return best ? `**${shown}**` : shown;
          }),
        ]),
      ),
    ].join("\n"),
  );
  return [
    `# ${titleOf(result)}`,
    summaries(result)
      .map((text) => `- ${text}`)
      .join("\n"),
    ...sections,
    notesOf(result)
      .map((note) => `- ${note}`)
      .join("\n"),
    "",
  ]
    .join("\n\n")
    .replace(/\n+$/, "\n");
}

const STYLE = `
:root { --best: #e4f1e6; --band: #f4f5f7; }
@media (prefers-color-scheme: dark) { :root { --best: #1f3527; --band: #1b1f24; } }
body { max-width: 60rem; }
small { display: block; color: var(--dim); font-size: .78rem; line-height: 1.35; }
.summary { padding-left: 1.2rem; }
.scroll { overflow-x: auto; }
figure { max-width: 46rem; }
.compare th, .compare td { padding: .35rem .6rem; overflow-wrap: normal; }
.compare thead th { color: var(--text); font-weight: 600; text-align: right; width: auto; overflow-wrap: anywhere;
  vertical-align: bottom; }
.compare tbody th[scope=row] { color: var(--text); width: 18rem; min-width: 11rem; }
.compare td { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.compare td.number { white-space: nowrap; }
.compare .best { background: var(--best); }
.compare .section th { background: var(--band); color: var(--text); font-weight: 600; padding-top: .6rem; }
.compare .section small { font-weight: normal; }
.key { display: block; width: .65rem; height: .65rem; border-radius: 50%; margin: 0 0 .2rem auto; }
${[1, 2, 3, 4].map((n) => `.key.s${n} { background: var(--series-${n}); } svg text.name.s${n} { fill: var(--series-${n}); stroke: none; } svg .hill.s${n} { fill: var(--series-${n}); fill-opacity: .25; stroke-width: 1; }`).join("\n")}
svg text.name { fill: var(--text); font-size: 12px; }
svg .limit { stroke: var(--dim); stroke-dasharray: 4 3; }
svg .faint { stroke-width: 2; }
`;
