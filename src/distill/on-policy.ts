// Text of the student's own, to be judged by the teacher: from the prompt of a sample the student writes as it would write
// now, so that it learns where its own mistakes lead (Agarwal et al., arXiv 2306.13649). It generates by continuous batching
// over the very parameters that are trained: nothing is copied, and an update is seen by the next token.

import { type Backend, type Executable, PAGE, type Storage } from "../engine/backend.ts";
import { fuse } from "../engine/fuse.ts";
import { type Program, record } from "../engine/program.ts";
import type { SampleRow } from "../engine/sampler.ts";
import { Engine, type Runner } from "../generate/engine.ts";
import { sampleRow } from "../generate/sampling.ts";
import { Sequence } from "../generate/sequence.ts";
import { type Config, declareBatch, forward, kvBytes, kvPools } from "../models/index.ts";
import { stateRows, stateSize } from "../models/memory.ts";
import { STATE } from "../models/programs.ts";
import { type Learner, packItems, Random, type Sample, STREAM, type Trainable } from "../train/index.ts";
import type { Mix } from "./programs.ts";
import type { Policy, Source, Writing } from "./step.ts";

/** Most sequences that are written at once, and bytes that their keys and values may take. */
const MOST_SEQUENCES = 32;
const KV_BYTES = 2 ** 28;
/** Tokens of a step of generation. */
const STEP_TOKENS = 256;
const KV_TYPE = "f16";

/** How many sequences a student writes at once. */
function sequencesOf(config: Config, ctx: number): number {
  return Math.max(1, Math.min(MOST_SEQUENCES, Math.floor(KV_BYTES / kvBytes(config, ctx, KV_TYPE))));
}

/** Bytes that writing takes, beside the parameters. */
export function writingBytes(config: Config, ctx: number): number {
  const S = sequencesOf(config, ctx);
  const activations = 4 * (STEP_TOKENS * (4 * config.hidden_size + 3 * config.intermediate_size));
  const state = 4 * stateRows(config, S) * stateSize(config);
  return S * kvBytes(config, ctx, KV_TYPE) + state + 8 * S * config.vocab_size + activations;
}

/** What a student lends for generation: its parameters, and a place for what generation keeps. */
export interface Lent {
  readonly backend: Backend;
  readonly trainable: Trainable;
  readonly ctx: number;
  /** Keeps a storage under the name of a state, and frees it in the end. */
  keep(name: string, storage: Storage): void;
  /** Compiles a program once, and binds its params and states by name. */
  ready(record: () => Program, maxima: { T: number; S: number; R: number }): Promise<Executable>;
}

/** A generation program over the parameters of a student that is being trained. */
export async function studentRunner({ backend, trainable, ctx, keep, ready }: Lent): Promise<Runner> {
  const { definition, config } = trainable;
  const S = sequencesOf(config, ctx);
  const pagesPerSequence = Math.ceil(ctx / PAGE);
  const pages = S * pagesPerSequence;
  const rows = stateRows(config, S);
  const maxima = { T: Math.max(S, STEP_TOKENS), S, R: S };
  const executable = await ready(() => {
    for (const { name, ...heads } of kvPools(config))
      keep(name, backend.kv({ ...heads, pages, type: KV_TYPE }));
    if (rows > 0) keep(STATE, backend.dense("f32", [rows, stateSize(config)]));
    const program = record((g) => ({
      logits: forward(definition, trainable.module(g), declareBatch(g, config, ctx, true, rows)),
    }));
    return fuse(program);
  }, maxima);
  const { vocab_size } = config;
  return {
    executable,
    maxima,
    ctx,
    vocab_size,
    pages,
    pagesPerSequence,
    ...(rows > 0 && { states: { rows } }),
  };
}

/** How many of a sample's first tokens are its prompt: up to the last answer; of a text without one, half of it. */
export function promptLength({ ids, learned }: Sample): number {
  const end = learned.lastIndexOf(1);
  let start = end;
  while (start > 1 && learned[start - 1]) start--;
  return start > 1 ? start : Math.max(1, Math.floor(ids.length / 2));
}

export interface OnPolicyOptions {
  /** Share of the samples of a step that the student writes anew. */
  readonly share: number;
  /** The first step that has such samples, from 0. */
  readonly from: number;
  readonly temperature: number;
  /** Most tokens that it writes of a sample. */
  readonly max_tokens: number;
  readonly seed: number;
  /** Tokens that end a text. */
  readonly eos: ReadonlySet<number>;
  /** Tokens that may be written: those that are in the vocabulary. */
  readonly tokens: number;
  /** Who judges, and by what. */
  readonly source: Source;
  readonly mix: Mix;
}

/** What a step learns of the student's own text. The same for the same seed, step and parameters. */
export function onPolicy(options: OnPolicyOptions): Policy {
  const { share, from, seed, source, mix } = options;
  return {
    source,
    mix,
    async write(batches, step, student): Promise<Writing | undefined> {
      if (step < from) return undefined;
      const samples = batches.flatMap((batch) => batch.samples ?? []);
      const random = new Random(seed, STREAM.policy, step);
      const order = random.permutation(samples.length).subarray(0, Math.round(share * samples.length));
      const chosen = new Set(order);
      const prompts = [...order].sort((a, b) => a - b).map((i) => samples[i]!);
      const started = performance.now();
      const own = await writeSamples(await student.runner(), prompts, random, options, student.size);
      const seconds = (performance.now() - started) / 1000;
      return {
        given: packItems(
          samples.filter((_, i) => !chosen.has(i)),
          student.size,
        ),
        own: packItems(own, student.size),
        tokens: own.reduce((sum, sample) => sum + sample.ids.length, 0) - promptTokens(own),
        seconds,
      };
    },
  };
}

const promptTokens = (samples: readonly Sample[]) =>
  samples.reduce((sum, { learned }) => sum + learned.indexOf(1), 0);

/** The samples with what the student writes after their prompts. */
async function writeSamples(
  runner: Runner,
  samples: readonly Sample[],
  random: Random,
  options: OnPolicyOptions,
  { ctx }: Learner["size"],
): Promise<Sample[]> {
  const { temperature, max_tokens, eos, tokens } = options;
  const { vocab_size } = runner;
  // Its own pages: keys and values of the step before are of other weights.
  const engine = new Engine(runner);
  const mask = tokens < vocab_size ? firstIds(tokens, vocab_size) : undefined;
  const write = (sample: Sample): Promise<Sample> =>
    new Promise((resolve, reject) => {
      const start = promptLength(sample);
      const off = { topK: 0, topP: 1, minP: 0 };
      const row: SampleRow = {
        ...sampleRow({ temperature, ...off }, { eos_token_id: [] }, vocab_size),
        seed: [random.next(), random.next()],
        ...(mask && { mask }),
      };
      const sequence: Sequence = new Sequence(sample.ids.subarray(0, start), {
        sample: row,
        eos,
        maxTokens: Math.max(1, Math.min(max_tokens, ctx - start)),
        sink: {
          end(reason, error) {
            if (reason === "abort") return reject(error);
            const ids = sequence.tokens.slice(0, sequence.length);
            const learned = Uint8Array.from(ids, (_, i) => Number(i >= start));
            resolve({ ids, learned, source: sample.source });
          },
        },
      });
      engine.add(sequence);
    });
  try {
    return await Promise.all(samples.map(write));
  } finally {
    await engine.close();
  }
}

/** A mask that allows the ids below `count`. */
function firstIds(count: number, vocab_size: number): Uint32Array {
  const mask = new Uint32Array(Math.ceil(vocab_size / 32));
  for (let id = 0; id < count; id++) mask[id >>> 5]! |= 1 << (id & 31);
  return mask;
}
