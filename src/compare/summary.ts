// A comparison in a few sentences and notes, for people who read no table.

import { dataUse, fileName, MAIN_SCORE, scoreName } from "./table.ts";
import type { Compared, CompareResult } from "./types.ts";

/** A sentence for each model but the first: what it has over that, and what it lacks. */
export function summaries({ models, tasks }: CompareResult): string[] {
  const [first, ...others] = models;
  return others.map((model) => {
    const parts = [
      size("files", first!.file_bytes, model.file_bytes),
      size("memory at work", first!.memory_bytes, model.memory_bytes),
      speed(first!.speed?.decode, model.speed?.decode),
      ...(first!.answers && model.answers
        ? [`a short answer takes ${ms(model.answers.p50)} instead of ${ms(first!.answers.p50)}`]
        : []),
      perplexity(first!, model),
      ...tasks.map(({ metric, name }, i) => {
        const [a, b] = [first!, model].map(({ tasks }) => tasks[i]?.scores[MAIN_SCORE[metric]]?.value);
        if (a === undefined || b === undefined) return undefined;
        const label = scoreName(MAIN_SCORE[metric]).toLowerCase();
        return `${label} on ${fileName(name)} ${(100 * b).toFixed(1)} % instead of ${(100 * a).toFixed(1)} %`;
      }),
    ].filter((part) => part !== undefined);
    return `${model.name} beside ${first!.name}: ${parts.length > 0 ? parts.join("; ") : "nothing was measured of both"}.`;
  });
}

function size(what: string, first: number | undefined, own: number | undefined): string | undefined {
  if (!first || !own) return undefined;
  const ratio = first / own;
  if (Math.abs(Math.log(ratio)) < 0.05) return `${what} of the same size`;
  return ratio > 1 ? `${what} ${factor(ratio)} times smaller` : `${what} ${factor(1 / ratio)} times larger`;
}

function speed(first: number | undefined, own: number | undefined): string | undefined {
  return first && own ? `writes ${factor(own / first)} times as many tokens/s` : undefined;
}

const factor = (value: number) => (value >= 9.95 ? value.toFixed(0) : value.toPrecision(2));
const ms = (value: number) => `${Number(value.toPrecision(value < 1000 ? 3 : 4))} ms`;

function perplexity(first: Compared, { text }: Compared): string | undefined {
  if (text?.log_ratio !== undefined) {
    const percent = 100 * Math.expm1(text.log_ratio);
    const error = 100 * Math.exp(text.log_ratio) * text.log_ratio_se!;
    return `perplexity ${percent < 0 ? "" : "+"}${percent.toFixed(2)} % ± ${error.toFixed(2)}`;
  }
  if (!text || !first.text) return undefined;
  return `${text.bits_per_byte.toFixed(3)} bits a byte instead of ${first.text.bits_per_byte.toFixed(3)}`;
}

/** What should be known of the figures. */
export function notesOf(result: CompareResult): string[] {
  const { models, machine } = result;
  const here = models.filter(({ kind }) => kind !== "endpoint");
  const read = here.flatMap(({ speed }) => (speed?.read_bytes === undefined ? [] : [speed.read_bytes]));
  const reads = read.length > 0 && `${giga(Math.min(...read))} to ${giga(Math.max(...read))} GB/s`;
  const counted = models.find(({ energy }) => energy);
  return [
    "Everything was measured one after another, never two models at once, each model twice: in the order of the columns and back. Shaded: the better of a row, and what differs from it by no more than measuring does.",
    ...(here.some(({ speed }) => speed?.largest_at_150 !== undefined)
      ? [
          `Largest model at 150 tokens/s: (bytes of weights that a token reads · tokens/s) / 150 / (bits a weight / 8), all as measured of the model in that column: ${here
            .filter(({ speed }) => speed?.decode_bytes !== undefined)
            .map(({ name, speed }) => `${name} reads ${giga(speed!.decode_bytes!)} GB/s`)
            .join(
              ", ",
            )}.${reads ? ` Plain reading of memory made ${reads} meanwhile.` : ""} A small model spends part of a token's time on other things than reading, or is read from the processor's cache: its figure is only a hint.`,
        ]
      : []),
    ...(counted && counted.energy!.joules_per_token === undefined
      ? [
          "This system does not tell its energy (Linux does in /sys/class/powercap, where it may be read): processor time stands in its place.",
        ]
      : []),
    ...models.flatMap(({ name, text }) =>
      text?.other_tokens === undefined
        ? []
        : [`${name} is not compared token by token with ${result.text!.reference}: ${text.other_tokens}.`],
    ),
    ...models.flatMap(({ name, notes }) => notes.map((note) => `${name}: ${note}.`)),
    ...models.flatMap((model) =>
      model.kind === "endpoint"
        ? [
            `${model.name} was asked over HTTP (${dataUse(model)}): size, memory, energy and probabilities cannot be seen from here. Its first token is timed by answers of one token, its writing by what longer ones take beyond that, where this is more than the way there and back differs by itself.`,
          ]
        : [],
    ),
    ...models.flatMap(({ name, answers }) =>
      answers && answers.p99_9 === undefined
        ? [
            `${name}: ${answers.count} short answers were timed; ${answers.p99 === undefined ? "p99 wants 100, " : ""}p99.9 wants 1,000.`,
          ]
        : [],
    ),
    `Computed by ${machine.backend} ${machine.kernels} on ${machine.threads} threads of ${machine.processor}, a context of ${machine.ctx} tokens.`,
  ];
}

const giga = (bytes: number) => (bytes / 1e9).toFixed(1);
