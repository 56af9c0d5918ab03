// What is measured of a model that is computed in this process: what its files are, memory, speed, short answers, energy.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { withPeak } from "../engine/machine.ts";
import { bench, noEnd, randomIds, readBandwidth } from "../generate/bench.ts";
import { type LoadModelOptions, loadModel, type Model } from "../generate/index.ts";
import { inspect, openModel } from "../models/index.ts";
import { energyCounters, startEnergy } from "./energy.ts";
import { statedLicence } from "./licence.ts";
import { shortPrompt } from "./prompts.ts";
import { ANSWER_TOKENS, type Samples } from "./samples.ts";
import type { Compared } from "./types.ts";

/** A round of a small model is over at once, and differs more from the next: there are more of them, up to so long for each. */
const ROUND_MS = 150;

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

/**
 * Largest resident memory of the process while a model is loaded and used: a prompt, an answer, eight answers at once.
 * Bytes, less `before`; at least those of its weights, which what the process gave back meanwhile could hide.
 */
export async function memoryAtWork(path: string, options: LoadModelOptions, before: number): Promise<number> {
  const { value: weights, peak_bytes } = await withPeak(async () => {
    await using model = await loadModel(path, options);
    await bench(model, { rounds: 1, past: false, ...(options.signal && { signal: options.signal }) });
    return model.bytes.weights;
  });
  return Math.max(weights, peak_bytes - before);
}

/** Resident memory of this process, without garbage. */
export function residentMemory(): number {
  collectGarbage();
  return process.memoryUsage.rss();
}

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

/** What a visit takes. */
export interface Limits {
  readonly rounds: number;
  readonly count: number;
  readonly seconds: number;
}

/** Loads a model, with nothing else in memory, and takes its times. @returns what computed, and bytes that a token reads */
export async function visitModel(
  path: string,
  options: LoadModelOptions,
  samples: Samples,
  { rounds, ...limits }: Limits,
  signal: AbortSignal,
  tell: (stage: "speed" | "answers", done: number) => void,
): Promise<{ backend: Model["backend"]; perToken: number }> {
  const start = performance.now();
  await using model = await loadModel(path, options);
  samples.loads.push(performance.now() - start);
  const end = performance.now() + ROUND_MS * rounds;
  for (let round = 0; round < rounds || performance.now() < end; round++) {
    const found = await bench(model, { rounds: 1, past: false, signal });
    samples.prefill.push(found.prefill_tokens_per_second);
    samples.prefillTokens = found.prefill_tokens;
    samples.decode.push(found.decode_tokens_per_second);
    samples.decode8.push(found.decode_8_tokens_per_second);
    // The speed of memory changes by the minute on shared machines.
    const wanted = round < rounds && model.backend.name === "native";
    const read = wanted ? readBandwidth(model.backend.threads) : undefined;
    if (read !== undefined) samples.reads.push(read);
    if (round < rounds) tell("speed", ++samples.rounds);
  }
  const maxTokens = Math.min(ANSWER_TOKENS, model.ctx >> 1);
  samples.answerTokens = maxTokens;
  const settings = { maxTokens, temperature: 0, logitBias: noEnd(model), signal };
  const ask = async (i: number) => {
    const prompt = Array.from(model.encodePrompt(shortPrompt(i)));
    const { stats } = await model.generate(prompt.slice(0, model.ctx - maxTokens - 1), settings);
    return stats.firstTokenMs;
  };
  await samples.time(ask, limits, (done) => tell("answers", done));
  await addEnergy(model, samples, ROUND_MS * rounds, signal);
  return { backend: model.backend, perToken: model.bytes.perToken };
}

/** What tokens cost that one sequence decodes, for `ms` or longer. */
async function addEnergy(model: Model, { energy }: Samples, ms: number, signal: AbortSignal): Promise<void> {
  if (ms === 0) return;
  const maxTokens = Math.max(2, Math.min(64, (model.ctx - 2) >> 1));
  const settings = { maxTokens, temperature: 0, logitBias: noEnd(model), signal };
  const end = await startEnergy(await energyCounters());
  const cpu = process.cpuUsage();
  const start = performance.now();
  while (performance.now() - start < ms) {
    const { ids } = await model.generate(randomIds(1, model.config.vocab_size), settings);
    energy.tokens += ids.length;
  }
  const { user, system } = process.cpuUsage(cpu);
  energy.cpu_seconds += (user + system) / 1e6;
  const joules = await end?.();
  if (joules === undefined) energy.told = false;
  else energy.joules += joules;
}
