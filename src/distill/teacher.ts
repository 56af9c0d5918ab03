// A teacher in this process: a model's weights as they are loaded for generation, of any type, never dequantized. It gives
// hidden states of whole sequences, and its head to whoever computes logits from them, so that no program holds a batch's.
// R: rows · d: its hidden size · V: tokens that teacher and student share

import type { Backend, Executable, Storage } from "../engine/backend.ts";
import { fuse } from "../engine/fuse.ts";
import { add, matmul_nt, scale, slice_last } from "../engine/nn.ts";
import { type Program, record } from "../engine/program.ts";
import { type SampleRow, sampleError } from "../engine/sampler.ts";
import type { Recorder, Tensor } from "../engine/tensor.ts";
import {
  type Config,
  type Definition,
  declareBatch,
  forward,
  HEAD,
  type LoadProgress,
  loadWeights,
  type Module,
  modelTables,
  type OpenedModel,
  plainModule,
  targetOf,
} from "../models/index.ts";
import {
  type ComputeOptions,
  computed,
  dims,
  inputs,
  packItems,
  rowsOf,
  type Sample,
  type TrainBatch,
} from "../train/index.ts";
import { learnedRows, type Teacher, type TeacherRows } from "./types.ts";

/** Bytes of logits that are scored at a time. */
const SCORED_BYTES = 2 ** 25;
/** Tokens of a step where it scores by itself. */
const STEP_TOKENS = 1024;

export interface LocalTeacherOptions {
  /** Tokens of the longest sequence. */
  readonly ctx: number;
  /** Tokens that are shared with the student: the first ones. Default: all of its own. */
  readonly vocab_size?: number;
  /** Of what `score` gives. Default 1. */
  readonly temperature?: number;
  /** Of its hidden states' products. Default "f32"; "bf16" where the processor has them. */
  readonly compute?: ComputeOptions["compute"];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
}

export class LocalTeacher implements Teacher {
  readonly name: string;
  readonly config: Config;
  /** Bytes of its weights. */
  readonly bytes: number;
  readonly temperature: number;
  private readonly vocab_size: number;
  private readonly definition: Definition;
  private readonly backend: Backend;
  private readonly weights: ReadonlyMap<string, Storage>;
  private readonly ctx: number;
  private readonly compute: ComputeOptions;
  private size: { tokens: number; sequences: number };
  private forward: Executable | undefined;
  private scorer: { executable: Executable; rows: number } | undefined;

  private constructor(
    model: OpenedModel,
    backend: Backend,
    weights: Map<string, Storage>,
    { ctx, vocab_size = model.config.vocab_size, temperature = 1, compute = "f32" }: LocalTeacherOptions,
  ) {
    this.name = model.name;
    this.config = model.config;
    this.definition = model.definition;
    this.backend = backend;
    this.ctx = ctx;
    this.compute = { compute };
    this.temperature = temperature;
    this.vocab_size = vocab_size;
    this.bytes = [...weights.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    for (const [name, { shape, data }] of modelTables(model.config, ctx))
      weights.set(name, backend.dense("f32", shape, data));
    this.weights = weights;
    this.size = { tokens: Math.max(STEP_TOKENS, ctx), sequences: 64 };
  }

  /**
   * Loads a model as a teacher on a backend that others use, too.
   * @throws {TypeError} for an encoder. @throws {RangeError} for sequences beyond its context; on tensors as `loadWeights`
   */
  static async load(
    model: OpenedModel,
    backend: Backend,
    options: LocalTeacherOptions,
  ): Promise<LocalTeacher> {
    const what = `Cannot learn from ${JSON.stringify(model.name)}`;
    if (model.definition.encoder)
      throw new TypeError(`${what}: ${model.config.model_type} is an encoder, wanted a model that generates`);
    const longest = model.config.max_position_embeddings;
    if (options.ctx > longest)
      throw new RangeError(
        `${what}: the longest sample has ${options.ctx} tokens, but its context is ${longest}; shorter samples are wanted (--ctx ${longest})`,
      );
    const { signal, onProgress } = options;
    const weights = await loadWeights(model, backend, {
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
    });
    return new LocalTeacher(model, backend, weights, options);
  }

  /** The largest batch that it will be asked for: that of the student. Before the first one. */
  resize({ tokens, sequences }: { tokens: number; sequences: number }): void {
    this.size = { tokens: Math.max(tokens, this.ctx), sequences };
  }

  /** Hidden states [R, d] of the rows that have a target, normed as the head wants them. */
  async hidden(batch: TrainBatch): Promise<Float32Array> {
    this.forward ??= this.compile(recordHidden(this.definition, this.config, this.ctx, this.compute), {
      T: this.size.tokens,
      S: this.size.sequences,
      R: this.size.tokens,
    });
    const rows = rowsOf(batch);
    const { targets: _, ...given } = inputs(batch, rows);
    await this.forward.run(dims(batch, rows), given);
    const hidden = new Float32Array(rows.length * this.config.hidden_size);
    this.forward.read("hidden", hidden);
    return hidden;
  }

  /** Storages of the params that `logits` names. */
  get head(): ReadonlyMap<string, Storage> {
    const found = new Map<string, Storage>();
    const { params } = record((g) => ({ logits: this.logits(g, this.config.vocab_size) }));
    for (const { name } of params) found.set(name!, this.weights.get(name!.slice(PREFIX.length))!);
    return found;
  }

  /** Its logits [R, V] of the input `teacher_hidden` f32 [R, d], over params that no student has. */
  logits(g: Recorder, V: number): Tensor {
    const { definition, config } = this;
    const hidden = g.input("teacher_hidden", "f32", ["R", config.hidden_size]);
    const shapes = definition.params(config);
    const param = (name: string) => g.param(`${PREFIX}${name}`, shapes.get(name)!);
    const head: Module = {
      config,
      param,
      linear(path) {
        const y = matmul_nt(hidden, param(`${path}.weight`), { int8: false });
        return shapes.has(`${path}.bias`) ? add(y, param(`${path}.bias`)) : y;
      },
    };
    // What the head does before its product leads to nothing here, and is left out of the program.
    const before = g.input("teacher_before", "f32", ["T", config.hidden_size]);
    const batch = declareBatch(g, config, this.ctx, false);
    const logits = definition.head(head, before, batch);
    return V === config.vocab_size ? logits : slice_last(logits, 0, V);
  }

  async score(samples: readonly Sample[], k: number, signal?: AbortSignal): Promise<TeacherRows[]> {
    const { vocab_size } = this;
    const { hidden_size } = this.config;
    const width = Math.min(k, vocab_size);
    const all = samples.map((sample) => {
      const n = learnedRows(sample);
      return {
        k,
        ids: new Int32Array(n * k).fill(-1),
        logp: new Float32Array(n * k).fill(-Infinity),
      };
    });
    const numbers = new Map(samples.map((sample, i) => [sample, i]));
    const { executable, rows: most } = this.scoring();
    for (const batch of packItems(samples, { ctx: this.ctx, ...this.size })) {
      signal?.throwIfAborted();
      const hidden = await this.hidden(batch);
      const rows = hidden.length / hidden_size;
      const places = batch.samples!.flatMap((sample) => {
        const i = numbers.get(sample)!;
        return Array.from({ length: learnedRows(sample) }, (_, row) => ({ into: all[i]!, row }));
      });
      for (let from = 0; from < rows; from += most) {
        const n = Math.min(most, rows - from);
        const given = { teacher_hidden: hidden.subarray(from * hidden_size, (from + n) * hidden_size) };
        const asked = Array.from({ length: n }, () => likeliest(width));
        const results = await executable.run({ T: 0, S: 0, R: n }, given, asked);
        results.forEach((result, r) => {
          const error = sampleError(result);
          if (error) throw error;
          const { into, row } = places[from + r]!;
          result.top!.forEach(({ id, logprob }, j) => {
            into.ids[row * k + j] = id;
            into.logp[row * k + j] = logprob;
          });
        });
      }
    }
    return all;
  }

  /** The head alone, at the temperature asked for. */
  private scoring() {
    if (this.scorer) return this.scorer;
    const { vocab_size } = this;
    const rows = Math.max(16, Math.min(512, Math.floor(SCORED_BYTES / (4 * vocab_size))));
    const program = record((g) => ({ logits: scale(this.logits(g, vocab_size), 1 / this.temperature) }));
    const executable = this.backend.compile(program, { T: 0, S: 0, R: rows });
    for (const [name, storage] of this.head) executable.bind(name, storage);
    this.scorer = { executable, rows };
    return this.scorer;
  }

  private compile(program: Program, maxima: { T: number; S: number; R: number }): Executable {
    const executable = this.backend.compile(program, maxima);
    for (const { name } of program.params) executable.bind(name!, this.weights.get(name!)!);
    return executable;
  }

  /** Frees its weights. */
  async close(): Promise<void> {
    this.free();
  }

  free(): void {
    this.forward?.free();
    this.scorer?.executable.free();
    this.forward = this.scorer = undefined;
    for (const storage of this.weights.values()) storage.free();
  }
}

/** Before the names of its parameters, in programs that have a student's, too. */
const PREFIX = "teacher:";

/** The likeliest tokens of a row of logits, and nothing chosen at random. */
function likeliest(k: number): SampleRow {
  return {
    ...{ temperature: 0, top_k: 0, top_p: 1, min_p: 0 },
    ...{ repetition_penalty: 1, presence_penalty: 0, frequency_penalty: 0 },
    ...{ seed: [0, 0], counter: 0, logprobs: k },
  };
}

/**
 * Output `hidden` [R, d]: what the head multiplies with. Inputs as those of training. Fused but for bf16, which products of
 * their own have.
 */
function recordHidden(definition: Definition, config: Config, ctx: number, options: ComputeOptions): Program {
  const program = record((g) => {
    const plain = plainModule(g, definition, config);
    let hidden: Tensor | undefined;
    const linear: Module["linear"] = (path, x) => {
      if (targetOf(path) === HEAD) hidden = x;
      return plain.linear(path, x);
    };
    forward(definition, { ...plain, linear }, declareBatch(g, config, ctx, false));
    return { hidden: hidden! };
  });
  return options.compute === "bf16" ? computed(program, options) : fuse(program);
}
