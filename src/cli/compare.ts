// pith compare: models side by side, as a table in the terminal, a page, Markdown or JSON.

import {
  type CompareEvent,
  type CompareOptions,
  type CompareResult,
  compareMarkdown,
  compare as compareModels,
  notesOf,
  summaries,
  tableOf,
} from "../compare/index.ts";
import { isEndpoint } from "../remote/index.ts";
import { type EndpointCliOptions, endpointOptions } from "./endpoints.ts";
import { interruptible } from "./interrupt.ts";
import { note, oneLine, printJson } from "./output.ts";
import { progressBar } from "./progress.ts";
import { set } from "./train.ts";

export interface CompareCliOptions
  extends Omit<CompareOptions, "text_bytes" | "task_lines" | "answer_seconds" | "endpoint" | "signal">,
    Omit<EndpointCliOptions, "concurrency"> {
  textBytes?: number;
  taskLines?: number;
  answerSeconds?: number;
  json?: boolean;
  md?: boolean;
}

const STAGES: Readonly<Record<CompareEvent["stage"], string>> = {
  opening: "opening",
  loading: "loading",
  text: "reading the text",
  task: "answering the task",
  speed: "timing",
  answers: "timing short answers",
};

export async function compare(models: readonly string[], options: CompareCliOptions): Promise<void> {
  const { text, task, out, answers, rounds, ctx, kv, threads, backend, json, md } = options;
  const { textBytes: text_bytes, taskLines: task_lines, answerSeconds: answer_seconds } = options;
  const url = models.find(isEndpoint);
  const sent = task === undefined ? "made-up questions" : "the questions of the task, and made-up ones";
  const endpoint = url === undefined ? undefined : await endpointOptions(url, sent, options);
  const bar = progressBar("comparing");
  try {
    const result = await interruptible("Interrupted: nothing was written", async (signal) => {
      const job = compareModels(models, {
        ...set({ text, text_bytes, task, task_lines, answers, answer_seconds, rounds }),
        ...set({ ctx, kv, threads, backend, out, endpoint }),
        signal,
      });
      for await (const { model, stage, done, total } of job)
        bar.update(done, Math.max(1, total), ` ${oneLine(model)}: ${STAGES[stage]}`);
      return job.result;
    });
    bar.stop();
    if (json) printJson(result);
    else if (md) process.stdout.write(compareMarkdown(result));
    else printComparison(result);
    if (out !== undefined) note(`report: ${out}`);
  } finally {
    bar.stop();
  }
}

function printComparison(result: CompareResult): void {
  const sections = tableOf(result);
  const rows = sections.flatMap(({ title, rows }) => [
    [title.toUpperCase()],
    ...rows.map(({ name, unit, cells }) => [
      unit === "" ? name : `${name}, ${unit}`,
      ...cells.map(
        ({ text, note, best }) => `${text}${note === undefined ? "" : ` (${note})`}${best ? " *" : "  "}`,
      ),
    ]),
  ]);
  const lines = [["", ...result.models.map(({ name }) => `${name}  `)], ...rows].map((row) =>
    row.map(oneLine),
  );
  const widths = lines[0]!.map((_, i) =>
    Math.max(...lines.map((row) => (row.length > 1 ? row[i]!.length : 0))),
  );
  for (const [name, ...cells] of lines) {
    const values = cells.map((cell, i) => cell.padStart(widths[i + 1]!)).join("  ");
    process.stdout.write(`${`${name!.padEnd(widths[0]!)}  ${values}`.trimEnd()}\n`);
  }
  note("* the better of a row");
  for (const text of [...summaries(result), ...notesOf(result).slice(1)]) note(text);
}
