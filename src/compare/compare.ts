// The one call of this folder: models side by side, measured one after another, never two at once.

import { stat } from "node:fs/promises";
import { cpus } from "node:os";
import { dirname, resolve } from "node:path";
import {
  evaluate,
  parseTask,
  readEvaluationText,
  readText,
  type Task,
  type TaskAnswer,
} from "../evaluate/index.ts";
import { bootstrap } from "../evaluate/statistics.ts";
import { writeFileAtomic } from "../formats/index.ts";
import { loadModel, type Model } from "../generate/index.ts";
import { isEndpoint } from "../remote/index.ts";
import { Job } from "../train/index.ts";
import { Remote } from "./endpoint.ts";
import { type Described, describe, loadOptions, memoryAtWork, residentMemory, visitModel } from "./local.ts";
import { shortNames } from "./names.ts";
import { compareHtml } from "./report.ts";
import { Samples } from "./samples.ts";
import { keepsText, measureText, TEXT_CTX } from "./text.ts";
import type {
  Compared,
  CompareEvent,
  CompareOptions,
  CompareResult,
  CompareStage,
  TaskFigures,
} from "./types.ts";

/** To a server on another continent and back. */
const ROUND_TRIP_MS = 200;
const MAX_CTX = 4096;
const ANSWERS = 1000;
/** Each may cost money. */
const ENDPOINT_ANSWERS = 100;
const ANSWER_SECONDS = 30;
const ROUNDS = 5;
const VISITS = 2;

/** What is being found out about a model. */
type Row = { -readonly [K in keyof Compared]: Compared[K] } & {
  /** Of a model that is computed here. */
  readonly here?: Described;
  readonly remote?: Remote;
  /** For each task, whether each line was answered right. */
  readonly right: boolean[][];
  readonly samples: Samples;
  /** Bytes of weights that a token reads. */
  perToken: number;
};

type Tell = (row: Row, stage: CompareStage, done: number, total: number) => void;

/**
 * Measures two or more models, of which one may be the URL of an OpenAI-compatible endpoint. All files are looked at before
 * anything is measured; each model is loaded alone for its speed, and beside the first one for the text.
 * @throws {RangeError} on fewer than two models. @throws {TypeError} on more than one endpoint, or a task that cannot be read
 * @throws {Error} naming a file that is missing, or a host that is not allowed
 */
export function compare(
  models: readonly string[],
  options: CompareOptions = {},
): Job<CompareEvent, CompareResult> {
  return new Job((report, signal) => run(models, options, report, signal), options.signal);
}

async function run(
  models: readonly string[],
  options: CompareOptions,
  report: (event: CompareEvent) => void,
  signal: AbortSignal,
): Promise<CompareResult> {
  const started = performance.now();
  checkOptions(models, options);
  if (options.out !== undefined) await checkOut(options.out);
  const text = options.text === undefined ? undefined : await readPart(options.text, options.text_bytes);
  const tasks = await Promise.all(
    [options.task ?? []].flat().map(async (file) => parseTask(await readText(file), file)),
  );
  const tell: Tell = ({ name }, stage, done, total) => report({ model: name, stage, done, total });
  const rows = await openAll(models, options, tell, signal);
  try {
    const ctx = contextOf(rows, options.ctx);
    const work = new Work(rows, tasks, ctx, options, tell, signal);
    await work.memory();
    for (const row of rows) await work.tasks(row);
    if (text !== undefined) await work.text(text, options.text!);
    // There and back, so that a machine that grows slower meanwhile is no one's loss.
    for (let visit = 0; visit < VISITS; visit++)
      for (const row of visit % 2 === 0 ? rows : [...rows].reverse()) await work.speed(row, visit);
    const reference = rows.find(({ here }) => here);
    const result: CompareResult = {
      models: rows.map(finished),
      machine: { processor: cpus()[0]?.model.trim() || process.arch, ...work.backend, ctx },
      ...(text !== undefined &&
        reference && {
          text: {
            name: options.text!,
            bytes: Buffer.byteLength(text),
            ctx: Math.min(TEXT_CTX, ctx),
            stride: Math.min(TEXT_CTX, ctx) >> 1,
            reference: reference.name,
          },
        }),
      tasks: tasks.map(({ name, metric, lines }) => ({
        ...{ name, metric },
        lines: Math.min(lines.length, options.task_lines ?? Infinity),
      })),
      round_trip_ms: ROUND_TRIP_MS,
      seconds: (performance.now() - started) / 1000,
      ...(options.out !== undefined && { report: options.out }),
    };
    if (options.out !== undefined) await writeFileAtomic(options.out, compareHtml(result));
    return result;
  } finally {
    for (const { remote } of rows) remote?.close();
  }
}

function finished({ here, remote, right: _, samples, perToken, ...row }: Row): Compared {
  const { bits_per_weight } = here ?? {};
  return {
    ...row,
    ...samples.figures(bits_per_weight === undefined ? undefined : { perToken, bits: bits_per_weight }),
    ...(remote && { data: remote.data }),
  };
}

function checkOptions(models: readonly string[], options: CompareOptions): void {
  if (models.length < 2) throw new RangeError(`Cannot compare ${models.length} models: wanted two or more`);
  if (models.filter(isEndpoint).length > 1)
    throw new TypeError(
      `Cannot compare ${models.filter(isEndpoint).length} endpoints: wanted one at most, beside models that are computed here`,
    );
  if (models.every(isEndpoint)) throw new TypeError("Cannot compare endpoints alone");
  for (const name of ["text_bytes", "task_lines", "answers", "rounds", "ctx"] as const) {
    const value = options[name];
    if (value !== undefined && !(Number.isInteger(value) && value >= 1))
      throw new RangeError(`Cannot compare with ${name} ${value}: wanted a whole number, 1 or more`);
  }
  const { answer_seconds } = options;
  if (answer_seconds !== undefined && !(answer_seconds >= 0))
    throw new RangeError(`Cannot compare with answer_seconds ${answer_seconds}: wanted 0 or more`);
}

/** Told before minutes of measuring rather than after. */
async function checkOut(path: string): Promise<void> {
  const [file, folder] = await Promise.all(
    [path, dirname(resolve(path))].map((name) => stat(name).catch(() => undefined)),
  );
  const cannot = `Cannot write ${JSON.stringify(path)}: `;
  if (file && !file.isFile()) throw new Error(`${cannot}found a folder there, wanted a file or nothing`);
  if (!folder?.isDirectory())
    throw new Error(`${cannot}found no folder ${JSON.stringify(dirname(path))}, wanted one to write into`);
}

/** The text, or the part of it that was asked for, cut where a character ends. */
async function readPart(path: string, bytes: number | undefined): Promise<string> {
  const text = await readEvaluationText(path);
  if (bytes === undefined || Buffer.byteLength(text) <= bytes) return text;
  const part = new TextDecoder().decode(Buffer.from(text).subarray(0, bytes), { stream: true });
  if (part.trim() === "")
    throw new RangeError(`Cannot compare on ${bytes} bytes of ${JSON.stringify(path)}: they have no text`);
  return part;
}

/** Headers of files, and an endpoint that answers: what is wrong is known before anything is measured. */
async function openAll(
  models: readonly string[],
  options: CompareOptions,
  tell: Tell,
  signal: AbortSignal,
): Promise<Row[]> {
  const names = shortNames(models);
  const rows: Row[] = [];
  try {
    for (const [i, model] of models.entries()) {
      signal.throwIfAborted();
      const samples = new Samples();
      const common = {
        name: names[i]!,
        model,
        tasks: [],
        data: {},
        notes: [],
        right: [],
        samples,
        perToken: 0,
      };
      if (isEndpoint(model)) {
        const remote = await Remote.open(model, options.endpoint, signal);
        const name = `${remote.model} at ${remote.host}`;
        const notes = remote.chatOnly
          ? ["texts were asked for as answers to a message: it has no completions"]
          : [];
        rows.push({ ...common, name, kind: "endpoint", remote, notes });
      } else {
        const here = await describe(model);
        const { path: _, context_length: __, ...known } = here;
        rows.push({ ...common, ...known, here });
      }
      tell(rows.at(-1)!, "opening", i + 1, models.length);
    }
    return rows;
  } catch (error) {
    for (const { remote } of rows) remote?.close();
    throw error;
  }
}

/** Room for a model's tokens: the same for all. */
function contextOf(rows: readonly Row[], asked: number | undefined): number {
  const lengths = rows.flatMap(({ here }) => (here ? [here.context_length] : []));
  const shortest = Math.min(...lengths);
  if (asked !== undefined && asked > shortest)
    throw new RangeError(
      `Cannot compare with a ctx of ${asked}: the shortest context of the models is ${shortest}`,
    );
  return asked ?? Math.min(MAX_CTX, shortest);
}

/** Measures rows, one at a time. */
class Work {
  backend = { backend: "none", kernels: "", threads: 0 };
  readonly #rows: readonly Row[];
  readonly #tasks: readonly Task[];
  readonly #ctx: number;
  readonly #options: CompareOptions;
  readonly #tell: Tell;
  readonly #signal: AbortSignal;

  constructor(
    rows: readonly Row[],
    tasks: readonly Task[],
    ctx: number,
    options: CompareOptions,
    tell: Tell,
    signal: AbortSignal,
  ) {
    this.#rows = rows;
    this.#tasks = tasks;
    this.#ctx = ctx;
    this.#options = options;
    this.#tell = tell;
    this.#signal = signal;
  }

  #load() {
    const { threads, backend, kv } = this.#options;
    return {
      ...loadOptions(this.#ctx, {
        ...(threads && { threads }),
        ...(backend && { backend }),
        ...(kv && { kv }),
      }),
      signal: this.#signal,
    };
  }

  /**
   * How much the process grows with each model, the smallest first: what one leaves behind in the heap would hide the growth
   * of a smaller one. These loads also bring the files into the system's cache.
   */
  async memory(): Promise<void> {
    const here = this.#rows.filter((row) => row.here).sort((a, b) => a.file_bytes! - b.file_bytes!);
    const before = residentMemory();
    for (const row of here) {
      this.#signal.throwIfAborted();
      this.#tell(row, "loading", 0, 1);
      row.memory_bytes = await memoryAtWork(row.here!.path, this.#load(), before);
      residentMemory();
    }
  }

  async tasks(row: Row): Promise<void> {
    this.#signal.throwIfAborted();
    if (this.#tasks.length === 0) return;
    if (!row.here) {
      for (const task of this.#tasks) await this.#remoteTask(row, row.remote!, task);
      return;
    }
    await using model = await loadModel(row.here.path, this.#load());
    for (const task of this.#tasks) await this.#task(row, model, task);
  }

  async #task(row: Row, model: Model, task: Task): Promise<void> {
    const right: boolean[] = [];
    const { lines, scores } = await evaluate(model, {
      task,
      ...(this.#options.task_lines !== undefined && { limit: this.#options.task_lines }),
      signal: this.#signal,
      onProgress: ({ done, total }) => this.#tell(row, "task", done, total),
      onAnswer: (answer: TaskAnswer) => right.push(answer.right),
    });
    this.#addTask(row, lines, scores, right);
  }

  async #remoteTask(row: Row, remote: Remote, task: Task): Promise<void> {
    const right: boolean[] = [];
    const graded = await remote.answerTask(
      task,
      task.lines.slice(0, this.#options.task_lines ?? Infinity),
      this.#signal,
      (done, total) => this.#tell(row, "task", done, total),
      (answer) => right.push(answer.right),
    );
    this.#addTask(row, graded?.lines ?? 0, graded?.scores ?? {}, right);
  }

  #addTask(row: Row, lines: number, scores: TaskFigures["scores"], right: boolean[]): void {
    const first = this.#rows[0]!;
    const base = first.right[row.tasks.length];
    row.right.push(right);
    const compared = row !== first && base !== undefined && base.length === right.length && right.length > 0;
    row.tasks = [...row.tasks, { lines, scores, ...(compared && { beside_first: difference(right, base) }) }];
  }

  /** All models on one text; the first that is computed here stays loaded beside the others. */
  async text(text: string, file: string): Promise<void> {
    const here = this.#rows.filter((row) => row.here);
    const ctx = Math.min(TEXT_CTX, this.#ctx);
    const measure = async (row: Row, model: Model, reference: Model | undefined) => {
      row.text = await measureText(
        model,
        { text, name: JSON.stringify(file), ctx, reference },
        this.#signal,
        (done, total) => this.#tell(row, "text", done, total),
      );
      if (!keepsText(model, text))
        row.notes = [
          ...row.notes,
          "its tokenizer does not give the text back as it is: what it drops costs it no bits",
        ];
    };
    await using reference = await loadModel(here[0]!.here!.path, this.#load());
    await measure(here[0]!, reference, undefined);
    for (const row of here.slice(1)) {
      this.#signal.throwIfAborted();
      await using model = await loadModel(row.here!.path, this.#load());
      await measure(row, model, reference);
    }
  }

  /** Times of a visit, with no other model in memory. */
  async speed(row: Row, visit: number): Promise<void> {
    const signal = this.#signal;
    signal.throwIfAborted();
    const { rounds = ROUNDS, answer_seconds = ANSWER_SECONDS } = this.#options;
    const answers = this.#options.answers ?? (row.here ? ANSWERS : ENDPOINT_ANSWERS);
    const part = (n: number) => Math.floor((n + VISITS - 1 - visit) / VISITS);
    const limits = { rounds: part(rounds), count: part(answers), seconds: answer_seconds / VISITS };
    const tell = (stage: "speed" | "answers", done: number) =>
      this.#tell(row, stage, done, stage === "speed" ? rounds : answers);
    if (!row.here) return row.remote!.visit(row.samples, limits, signal, tell);
    const found = await visitModel(row.here.path, this.#load(), row.samples, limits, signal, tell);
    const { name: backend, kernels, threads } = found.backend;
    this.backend = { backend, kernels, threads };
    row.perToken = found.perToken;
  }
}

/** Share of right answers less that of the first model, on the same lines. */
function difference(right: readonly boolean[], first: readonly boolean[]) {
  const pairs = right.map((one, i) => Number(one) - Number(first[i]));
  const mean = (items: ArrayLike<number>) => {
    let sum = 0;
    for (let i = 0; i < items.length; i++) sum += pairs[items[i]!]!;
    return sum / items.length;
  };
  const [low, high] = bootstrap(pairs.length, mean);
  return { value: mean(pairs.map((_, i) => i)), low, high };
}
