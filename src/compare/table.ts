// A comparison as a table: a row for each figure, a column for each model. Says what is better; knows no HTML.

import type { Metric } from "../evaluate/index.ts";
import { grouped } from "../report/page.ts";
import type { Compared, CompareResult } from "./types.ts";

export interface Cell {
  readonly text: string;
  /** Under it, smaller: an error, an interval. */
  readonly note?: string;
  /** The better of its row, or as good as it. */
  readonly best: boolean;
}

export interface TableRow {
  readonly name: string;
  readonly unit: string;
  /** What it means, for one who has never heard of it. */
  readonly why: string;
  readonly numbers: boolean;
  readonly cells: readonly Cell[];
}

export interface Section {
  readonly title: string;
  /** How it was measured. */
  readonly why: string;
  readonly rows: readonly TableRow[];
}

/** What a figure that is not there looks like. */
export const NOTHING = "–";

/** Timings on a machine that does other things, too, differ by so much from run to run. */
const TIMING = 0.05;

interface Figures {
  readonly name: string;
  readonly unit?: string;
  readonly why: string;
  readonly value: (model: Compared) => number | undefined;
  readonly note?: (model: Compared) => string | undefined;
  /** What is better, if any is. */
  readonly better?: "less" | "more";
  /** Whether a value is as good as the best: by default, within 1 % of it. */
  readonly tied?: (value: number, best: number, model: Compared, bestModel: Compared) => boolean;
  /** Digits of its smallest value. Default 3. */
  readonly digits?: number;
  /** Instead: places behind the point. */
  readonly decimals?: number;
  /** A plus sign before what is above 0. */
  readonly signed?: boolean;
}

const within = (share: number) => (value: number, best: number) =>
  Math.abs(value - best) <= share * Math.abs(best);

/** Sections of rows; a row that no model has a figure for is left out, and so is a section without rows. */
export function tableOf(result: CompareResult): Section[] {
  const { models } = result;
  const figures = (row: Figures) => figureRow(models, row);
  const texts = (name: string, why: string, text: (model: Compared) => string): TableRow => ({
    ...{ name, unit: "", why, numbers: false },
    cells: models.map((model) => ({ text: text(model), best: false })),
  });
  const sections: Section[] = [
    {
      title: "What they are",
      why: "",
      rows: [
        figures({
          ...{ name: "Parameters", unit: "M", why: "numbers that the model has learned" },
          value: ({ parameters }) => millions(parameters),
        }),
        figures({
          ...{ name: "Files", unit: "MB", why: "on disk", better: "less" },
          value: ({ file_bytes }) => millions(file_bytes),
        }),
        figures({
          ...{ name: "Bits a weight", why: "16 or 32 is how models are trained" },
          value: ({ bits_per_weight }) => bits_per_weight,
        }),
        texts("Types of weights", "most bytes first", ({ types }) => types?.join(", ") ?? NOTHING),
        figures({
          ...{ name: "Memory at work", unit: "MB", better: "less" },
          why: `by how much this process grew: weights, a cache of ${grouped(Math.max(result.machine.ctx, 1024))} tokens, what computes`,
          value: ({ memory_bytes }) => millions(memory_bytes),
          // Other parts of the process come and go meanwhile.
          tied: (value, best) => Math.abs(value - best) <= Math.max(4, 0.05 * best),
        }),
        texts("Licence", "as the model's files state it", ({ licence, kind }) =>
          kind === "endpoint" ? NOTHING : (licence ?? "not stated"),
        ),
        texts("Where your data goes", "what is typed, and what is answered", dataUse),
      ],
    },
    {
      title: "How fast they are here",
      why: "Medians. For an endpoint the way there and back is part of every time.",
      rows: speedRows(figures),
    },
    {
      title: "How long a short answer takes",
      why: `${models.find(({ answers }) => answers)?.answers?.tokens ?? 0} tokens to a question of one line, one after another. A server far away needs about ${result.round_trip_ms} ms for the way there and back, before it computes anything.`,
      rows: answerRows(result, figures),
    },
    ...(result.text ? [textSection(result, result.text, figures)] : []),
    ...result.tasks.map((task, i) => taskSection(result, task, i, figures)),
  ];
  return sections
    .map((section) => ({
      ...section,
      rows: section.rows.filter(({ cells }) => cells.some(({ text }) => text !== NOTHING)),
    }))
    .filter(({ rows }) => rows.length > 0);
}

const millions = (value: number | undefined) => (value === undefined ? undefined : value / 1e6);

/** Who has seen what was asked. */
export function dataUse({ data }: Compared): string {
  if (data.sent_to === undefined) return "nowhere: this process computes";
  const { sent_to, requests = 0, prompt_tokens = 0, completion_tokens = 0 } = data;
  const tokens = prompt_tokens + completion_tokens;
  return `to ${sent_to}: ${grouped(requests)} requests${tokens > 0 ? `, ${grouped(tokens)} tokens` : ""}`;
}

function speedRows(figures: (row: Figures) => TableRow): TableRow[] {
  const timing = { tied: within(TIMING) };
  return [
    figures({
      ...{ name: "Loading", unit: "ms", better: "less", ...timing },
      why: "its files already in the system's cache",
      value: ({ load_ms }) => load_ms,
    }),
    figures({
      ...{ name: "First token", unit: "ms", better: "less", ...timing },
      why: "from a question of one line to the beginning of its answer",
      value: ({ answers }) => answers?.first_token_p50,
    }),
    figures({
      ...{ name: "Reading", unit: "tokens/s", better: "more", ...timing },
      why: "of a prompt of about 500 tokens, or what there is room for",
      value: ({ speed }) => speed?.prefill,
    }),
    figures({
      ...{ name: "Writing", unit: "tokens/s", better: "more", ...timing },
      why: "one answer; people read 5 to 10 a second",
      value: ({ speed }) => speed?.decode,
    }),
    figures({
      ...{ name: "Writing eight at once", unit: "tokens/s", better: "more", ...timing },
      why: "of all eight together",
      value: ({ speed }) => speed?.decode_8,
    }),
    figures({
      ...{ name: "Largest model at 150 tokens/s", unit: "M parameters", better: "more", tied: within(0.1) },
      why: "that this machine would write so fast, with as many bits a weight; see below",
      value: ({ speed }) => millions(speed?.largest_at_150),
    }),
    figures({
      ...{ name: "Energy a token", unit: "mJ", better: "less", ...timing },
      why: "of the whole processor while it writes, idle part included",
      value: ({ energy }) => energy?.joules_per_token && 1000 * energy.joules_per_token,
    }),
    figures({
      ...{ name: "Processor time a token", unit: "CPU-seconds", better: "less", ...timing },
      why: "of all threads while it writes: what energy goes by",
      value: ({ energy }) => energy?.cpu_seconds_per_token,
    }),
  ];
}

function answerRows({ round_trip_ms }: CompareResult, figures: (row: Figures) => TableRow): TableRow[] {
  const timing = { unit: "ms", better: "less", tied: within(TIMING) } as const;
  const counted = ({ answers }: Compared) => answers && `of ${grouped(answers.count)}`;
  return [
    figures({
      ...{ name: "Half of them within", why: "p50, the median", ...timing },
      value: ({ answers }) => answers?.p50,
      note: counted,
    }),
    figures({
      ...{ name: "99 of 100 within", why: "p99", ...timing },
      value: ({ answers }) => answers?.p99,
    }),
    figures({
      ...{ name: "999 of 1000 within", why: "p99.9; of 1000 answers or more", ...timing },
      value: ({ answers }) => answers?.p99_9,
    }),
    figures({
      ...{ name: `Answers in ${round_trip_ms} ms`, better: "more", tied: within(TIMING) },
      why: "that are whole before a far server has even been reached",
      value: ({ answers }) => answers && round_trip_ms / answers.p50,
    }),
  ];
}

function textSection(
  result: CompareResult,
  { name, bytes, ctx, reference }: NonNullable<CompareResult["text"]>,
  figures: (row: Figures) => TableRow,
): Section {
  const other = result.models.some(({ text }) => text?.other_tokens !== undefined);
  const sameAsBest = (_: number, __: number, model: Compared, best: Compared) => {
    const difference = Math.abs((model.text?.log_ratio ?? 0) - (best.text?.log_ratio ?? 0));
    const error = Math.hypot(model.text?.log_ratio_se ?? 0, best.text?.log_ratio_se ?? 0);
    return difference <= 2 * error;
  };
  return {
    title: `How well they foresee ${fileName(name)}`,
    why: `${grouped(bytes)} bytes; every token scored once, in windows of ${ctx} that overlap by half.${
      other
        ? " Perplexity counts tokens, which differ between tokenizers: compare bits a byte. KL divergence needs the same tokens."
        : ""
    }`,
    rows: [
      figures({
        ...{ name: "Bits a byte", better: "less", digits: 4 },
        why: "what the text would take if the model compressed it; the same measure for every tokenizer",
        value: ({ text }) => text?.bits_per_byte,
        note: ({ text }) => text && `± ${digits(text.bits_per_byte_se)}`,
        ...(!other && { tied: sameAsBest }),
      }),
      figures({
        ...{ name: "Perplexity", digits: 4, ...(!other && { better: "less", tied: sameAsBest }) },
        why: "among how many tokens it is in doubt, on average",
        value: ({ text }) => text?.perplexity,
        note: ({ text }) => text && `± ${digits(text.perplexity_se)}`,
      }),
      figures({
        ...{ name: `Perplexity beside ${reference}`, unit: "%", signed: true, decimals: 2 },
        why: "the error is that of the difference, token by token",
        value: ({ text }) => (text?.log_ratio !== undefined ? 100 * Math.expm1(text.log_ratio) : undefined),
        note: ({ text }) =>
          text?.log_ratio === undefined
            ? undefined
            : `± ${digits(100 * Math.exp(text.log_ratio) * text.log_ratio_se!)}`,
      }),
      figures({
        ...{ name: `KL divergence from ${reference}`, unit: "nats" },
        why: "how far its probabilities are from those; 0: the same model",
        value: ({ text }) => text?.kl_mean,
        note: ({ text }) => (text?.kl_se === undefined ? undefined : `± ${digits(text.kl_se)}`),
      }),
      figures({
        ...{ name: "Same likeliest token", unit: "%", decimals: 1 },
        why: `as ${reference}`,
        value: ({ text }) => (text?.top1 === undefined ? undefined : 100 * text.top1),
      }),
    ],
  };
}

const SCORES: Readonly<Record<string, readonly [name: string, why: string]>> = {
  exact_match: ["Exactly right", "to the letter"],
  normalized_match: ["Right", "but for case and white space"],
  accuracy: ["Right label", "share of the questions"],
  macro_f1: ["Macro F1", "the mean over labels of how well each is found and hit"],
  function_right: ["Right function", "that is called"],
  precision: ["Precision", "of the name-value pairs that it gives, those that are right"],
  recall: ["Recall", "of the right name-value pairs, those that it gives"],
  f1: ["F1 of pairs", "precision and recall in one"],
  whole_right: ["Whole answer right", "function and all values, and no others"],
  json_valid: ["Valid JSON", "and nothing else"],
  call_right: ["Right call", "function and all arguments, where a call is right"],
  argument_precision: ["Precision of arguments", "of those that it gives, those that are right"],
  argument_recall: ["Recall of arguments", "of the right ones, those that it gives"],
  argument_f1: ["F1 of arguments", "precision and recall in one"],
  question_right: ["Asks back rightly", "where an argument is missing"],
  refusal_recall: ["Refuses", "of what no function fits"],
  refusal_precision: ["Refuses rightly", "of what it refuses, what no function fits"],
  schema_valid: ["As the schema wants it", ""],
  value_right: ["Right values", ""],
  accuracy_sum: ["Right choice", "by the probability of the whole text"],
  accuracy_per_character: ["Right choice, by length", "by the probability a character"],
};

/** The score that stands for a task where there is room for one. */
export const MAIN_SCORE: Readonly<Record<Metric, string>> = {
  exact: "normalized_match",
  label: "accuracy",
  slots: "whole_right",
  calls: "whole_right",
  json: "json_valid",
  choice: "accuracy_sum",
};

export const scoreName = (score: string): string => SCORES[score]?.[0] ?? score;

function taskSection(
  { models }: CompareResult,
  { name, metric, lines }: CompareResult["tasks"][number],
  i: number,
  figures: (row: Figures) => TableRow,
): Section {
  const scores = [...new Set(models.flatMap(({ tasks }) => Object.keys(tasks[i]?.scores ?? {})))];
  return {
    title: `How well they do ${fileName(name)}`,
    why: `${grouped(lines)} questions, measured by "${metric}", each answered once at temperature 0. Below the figures: between what the truth lies, 95 times of 100.`,
    rows: [
      ...scores.map((score) =>
        figures({
          ...{
            name: scoreName(score),
            why: SCORES[score]?.[1] ?? "",
            unit: "%",
            better: "more",
            decimals: 1,
          },
          value: ({ tasks }) => percent(tasks[i]?.scores[score]?.value),
          note: ({ tasks }) => {
            const figure = tasks[i]?.scores[score];
            return figure && `${(100 * figure.low).toFixed(1)} to ${(100 * figure.high).toFixed(1)}`;
          },
          tied: (value, _, __, best) => value >= 100 * (best.tasks[i]?.scores[score]?.low ?? 0),
        }),
      ),
      figures({
        ...{ name: `Right answers beside ${models[0]!.name}`, unit: "points", signed: true, decimals: 1 },
        why: "of 100; on the same questions",
        value: ({ tasks }) => percent(tasks[i]?.beside_first?.value),
        note: ({ tasks }) => {
          const found = tasks[i]?.beside_first;
          return found && `${(100 * found.low).toFixed(1)} to ${(100 * found.high).toFixed(1)}`;
        },
      }),
    ],
  };
}

const percent = (value: number | undefined) => (value === undefined ? undefined : 100 * value);

export const fileName = (path: string): string => path.split(/[\\/]/).at(-1)!;

/** Two that count. */
const digits = (value: number): string => String(Number(value.toPrecision(2)));

function figureRow(models: readonly Compared[], row: Figures): TableRow {
  const values = models.map((model) => finite(row.value(model)));
  const known = values.flatMap((value, i) => (value === undefined ? [] : [{ value, model: models[i]! }]));
  const best = row.better && bestOf(known, row);
  const decimals =
    row.decimals ??
    decimalsOf(
      known.map(({ value }) => value),
      row.digits ?? 3,
    );
  return {
    ...{ name: row.name, unit: row.unit ?? "", why: row.why, numbers: true },
    cells: models.map((model, i) => {
      const value = values[i];
      if (value === undefined) return { text: NOTHING, best: false };
      const note = row.note?.(model);
      return {
        text: `${row.signed && value > 0 ? "+" : ""}${decimal(value, decimals)}`,
        ...(note !== undefined && { note }),
        best: best?.has(model) ?? false,
      };
    }),
  };
}

const finite = (value: number | undefined) =>
  value !== undefined && Number.isFinite(value) ? value : undefined;

/** The best, and those that are as good; none where that is everyone. */
function bestOf(
  known: readonly { value: number; model: Compared }[],
  { better, tied = within(0.01) }: Figures,
): Set<Compared> {
  if (known.length < 2) return new Set();
  const best = known.reduce((a, b) => ((better === "less" ? b.value < a.value : b.value > a.value) ? b : a));
  const good = known.filter(
    ({ value, model }) => model === best.model || tied(value, best.value, model, best.model),
  );
  return good.length === known.length ? new Set() : new Set(good.map(({ model }) => model));
}

/** The same for a whole row, so that its points stand under each other. */
function decimalsOf(values: readonly number[], digits: number): number {
  const sizes = values.map(Math.abs).filter((value) => value > 0);
  if (sizes.length === 0) return 0;
  const smallest = Math.min(...sizes);
  return Math.min(6, Math.max(0, digits - 1 - Math.floor(Math.log10(smallest))));
}

/** 1234.5 -> "1,234.50" */
function decimal(value: number, decimals: number): string {
  const [whole, rest] = Math.abs(value).toFixed(decimals).split(".");
  const sign = value < 0 && Number(value.toFixed(decimals)) !== 0 ? "-" : "";
  return `${sign}${whole!.replace(/\B(?=(\d{3})+$)/g, ",")}${rest === undefined ? "" : `.${rest}`}`;
}
