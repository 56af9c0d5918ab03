// What is measured of a model that is computed in this process: what its files are, memory, speed, short answers, energy.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { withPeak } from "../engine/machine.ts";
import { percentile } from "../evaluate/statistics.ts";
import { bench, median, noEnd, randomIds, readBandwidth } from "../generate/bench.ts";
import { type LoadModelOptions, loadModel, type Model } from "../generate/index.ts";
import { inspect, openModel } from "../models/index.ts";
import { energyCounters, startEnergy } from "./energy.ts";
import { statedLicence } from "./licence.ts";
import { shortPrompt } from "./prompts.ts";
import type { Answers, Compared, Energy, Speed } from "./types.ts";

/** Tokens of a short answer. */
export const ANSWER_TOKENS = 16;
/** Answers before the first that counts. */
export const WARM_UP = 5;
/** So many are timed, however long they take. */
const MIN_ANSWERS = 20;
/** Tokens a second that people find fluent in every use, and what `largest_at_150` is asked for. */
const FLUENT = 150;
const ENERGY_MS = 500;

/** What a model is by its headers. */
export type Described = Required<Pick<Compared, "parameters" | "file_bytes" | "bits_per_weight" | "types">> &
  Pick<Compared, "licence"> & {
    readonly kind: "folder" | "gguf";
    /** Where it lies. */
    readonly path: string;
    readonly context_length: number;
  };

/** @throws {Error} naming what is missing or wrong, before anything is measured */
export async function describe(nameOrPath: string): Promise<Described> {
  const model = await openModel(nameOrPath);
  try {
    if (model.definition.encoder)
      throw new TypeError(
        `Cannot compare ${JSON.stringify(nameOrPath)}: it is an encoder (${model.config.model_type}), wanted a model that writes`,
      );
    const { parameters, bits_per_weight, types, context_length, missing } = await inspect(model);
    if (missing.length > 0)
      throw new TypeError(
        `Cannot compare ${JSON.stringify(nameOrPath)}: tensor ${JSON.stringify(missing[0])} is missing`,
      );
    const licence = await statedLicence(model);
    return {
      kind: model.kind,
      path: model.name,
      parameters,
      file_bytes: await fileBytes(model.name, model.kind),
      bits_per_weight,
      types: types.map(({ type }) => type.toLowerCase()),
      context_length,
      ...(licence !== undefined && { licence }),
    };
  } finally {
    await model.close();
  }
}

/** Of a GGUF file, or of what a folder's model consists of: weights, configs, tokenizer. */
async function fileBytes(path: string, kind: "folder" | "gguf"): Promise<number> {
  if (kind === "gguf") return (await stat(path)).size;
  const names = (await readdir(path)).filter((name) => /\.(safetensors|json|jinja|model|txt)$/.test(name));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(path, name))).size));
  return sizes.reduce((a, b) => a + b, 0);
}

/** Options of all loads: the same room for every model. */
export function loadOptions(ctx: number, given: Pick<LoadModelOptions, "threads" | "backend" | "kv">) {
  return { ...given, ctx, cacheTokens: Math.max(ctx, 8 * 128) };
}

/** How much resident memory grows by loading a model and using it, and the model. */
export async function loadAtWork(
  path: string,
  options: LoadModelOptions,
): Promise<{ model: Model; memory_bytes: number }> {
  collectGarbage();
  const before = process.memoryUsage.rss();
  const { value: model, peak_bytes } = await withPeak(async () => {
    const loaded = await loadModel(path, options);
    try {
      await bench(loaded, { rounds: 1, past: false, ...(options.signal && { signal: options.signal }) });
    } catch (error) {
      await loaded.close();
      throw error;
    }
    return loaded;
  });
  return { model, memory_bytes: Math.max(0, peak_bytes - before) };
}

/** What earlier models have left behind would count for less memory of the next. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

/** Speeds, medians of rounds; memory is read in between, since its speed changes by the minute on shared machines. */
export async function measureSpeed(
  model: Model,
  rounds: number,
  signal: AbortSignal,
  onRound: (done: number) => void,
): Promise<Speed> {
  const reads: number[] = [];
  const found = await bench(model, {
    rounds,
    past: false,
    signal,
    onRound: (round) => {
      const read = model.backend.name === "native" ? readBandwidth(model.backend.threads) : undefined;
      if (read !== undefined) reads.push(read);
      onRound(round + 1);
    },
  });
  return {
    prefill: found.prefill_tokens_per_second,
    prefill_tokens: found.prefill_tokens,
    decode: found.decode_tokens_per_second,
    decode_8: found.decode_8_tokens_per_second,
    decode_bytes: found.decode_bytes_per_second,
    ...(reads.length > 0 && { read_bytes: median(reads) }),
    largest_at_150: found.decode_bytes_per_second / FLUENT / (model.bitsPerWeight / 8),
  };
}

/** Times short answers, one after another. */
export async function measureAnswers(
  model: Model,
  { answers, seconds }: { answers: number; seconds: number },
  signal: AbortSignal,
  onAnswer: (done: number) => void,
): Promise<Answers> {
  const tokens = Math.min(ANSWER_TOKENS, model.ctx >> 1);
  const prompts = (i: number) => fitted(model, i, model.ctx - tokens - 1);
  const logitBias = noEnd(model);
  return timeAnswers(
    async (i) => {
      const { stats } = await model.generate(prompts(i), {
        maxTokens: tokens,
        temperature: 0,
        logitBias,
        signal,
      });
      return stats.firstTokenMs;
    },
    { answers, seconds, tokens },
    onAnswer,
  );
}

function fitted(model: Model, i: number, room: number): ArrayLike<number> {
  return Array.from(model.encodePrompt(shortPrompt(i))).slice(0, Math.max(1, room));
}

/** @param ask gives an answer, and the milliseconds to its first token where they are known */
export async function timeAnswers(
  ask: (i: number) => Promise<number | undefined>,
  { answers, seconds, tokens }: { answers: number; seconds: number; tokens: number },
  onAnswer: (done: number) => void,
): Promise<Answers> {
  const ms: number[] = [];
  const first: number[] = [];
  for (let i = 0; i < WARM_UP; i++) await ask(i);
  const end = performance.now() + 1000 * seconds;
  while (ms.length < answers && (ms.length < MIN_ANSWERS || performance.now() < end)) {
    const start = performance.now();
    const firstToken = await ask(WARM_UP + ms.length);
    ms.push(performance.now() - start);
    if (firstToken !== undefined) first.push(firstToken);
    onAnswer(ms.length);
  }
  ms.sort((a, b) => a - b);
  const count = ms.length;
  return {
    count,
    tokens,
    ...(first.length > 0 && { first_token_p50: median(first) }),
    p50: percentile(ms, 0.5),
    ...(count >= 100 && { p99: percentile(ms, 0.99) }),
    ...(count >= 1000 && { p99_9: percentile(ms, 0.999) }),
    ms: ms.map((value) => Number(value.toFixed(3))),
  };
}

/** Of tokens that one sequence decodes, for half a second or more. */
export async function measureEnergy(model: Model, signal: AbortSignal): Promise<Energy> {
  const tokens = Math.max(2, Math.min(64, (model.ctx - 2) >> 1));
  const end = await startEnergy(await energyCounters());
  const cpu = process.cpuUsage();
  const start = performance.now();
  let written = 0;
  while (performance.now() - start < ENERGY_MS) {
    const { ids } = await model.generate(randomIds(1, model.config.vocab_size), {
      maxTokens: tokens,
      temperature: 0,
      logitBias: noEnd(model),
      signal,
    });
    written += ids.length;
  }
  const { user, system } = process.cpuUsage(cpu);
  const joules = await end?.();
  return {
    ...(joules !== undefined && { joules_per_token: joules / written }),
    cpu_seconds_per_token: (user + system) / 1e6 / written,
  };
}
