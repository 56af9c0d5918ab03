/**
 * A learner: a trainable's parameters, gradient sums and moments on a backend, and the programs that train them. Knows
 * ids, no text and no files; the trainer around it (data, schedules, checkpoints) is a later layer.
 */
import type { Backend, Dims, Executable, Storage } from "../engine/backend.ts";
import type { Program } from "../engine/program.ts";
import { modelTables } from "../models/index.ts";
import {
  type ComputeOptions,
  hyperGroup,
  recordDerived,
  recordGradients,
  recordLoss,
  recordNorm,
  recordUpdate,
  slot,
} from "./programs.ts";
import { Random, STREAM } from "./random.ts";
import type { Trainable } from "./trainable.ts";
import type { AdamW, Learner, StepResult, TrainBatch } from "./types.ts";

const NO_DIMS: Dims = { T: 0, S: 0, R: 0 };

/** A trainable with the state of its optimizer. What the trainable holds is freed with it. */
export class TrainStep implements Learner {
  readonly size: Learner["size"];
  readonly trained: ReadonlyMap<string, readonly number[]>;
  /** Updates so far. */
  steps = 0;
  protected readonly backend: Backend;
  protected readonly trainable: Trainable;
  protected readonly maxima: Dims;
  protected readonly compute: ComputeOptions;
  protected readonly storages: Map<string, Storage>;
  private readonly executables: Executable[] = [];
  private readonly norm: Executable;
  private readonly update: Executable;
  private readonly derive: Executable | undefined;
  private readonly made = new Map<string, Executable>();
  /** Whether derived states follow from the parameters as they are. */
  private derived = false;

  /** @param size `ctx`: longest sequence; `tokens` and `sequences`: largest micro-batch */
  constructor(backend: Backend, trainable: Trainable, size: Learner["size"], compute: ComputeOptions = {}) {
    this.backend = backend;
    this.trainable = trainable;
    this.size = size;
    this.compute = compute;
    this.trained = new Map([...trainable.trained].map(([name, { shape }]) => [name, shape]));
    this.maxima = { T: size.tokens, S: size.sequences, R: size.tokens };
    this.storages = new Map(trainable.storages);
    for (const [name, shape] of this.trained)
      for (const kind of ["grad", "m", "v"] as const)
        this.storages.set(slot(kind, name), backend.dense("f32", shape));
    for (const [name, { shape, data }] of modelTables(trainable.config, size.ctx))
      this.storages.set(name, backend.dense("f32", shape, data));
    this.norm = this.compile(recordNorm(trainable), NO_DIMS);
    this.update = this.compile(recordUpdate(trainable), NO_DIMS);
    const derive = recordDerived(trainable);
    this.derive = derive && this.compile(derive, NO_DIMS);
  }

  protected compile(program: Program, maxima: Dims): Executable {
    const executable = this.backend.compile(program, maxima);
    this.executables.push(executable);
    for (const { name } of [...program.params, ...program.states])
      executable.bind(name!, this.storages.get(name!)!);
    return executable;
  }

  /** A program over batches, compiled when it is first wanted. Derived states are brought up to date. */
  protected async ready(name: string, record: () => Program, maxima = this.maxima): Promise<Executable> {
    if (this.derive && !this.derived) await this.derive.run(NO_DIMS, {});
    this.derived = true;
    const known = this.made.get(name);
    if (known) return known;
    const executable = this.compile(record(), maxima);
    this.made.set(name, executable);
    return executable;
  }

  async step(batches: readonly TrainBatch[], options: AdamW): Promise<StepResult> {
    let [loss, tokens] = [0, 0];
    const sum = new Float32Array(1);
    const grad = await this.ready("grad", () => recordGradients(this.trainable, this.size.ctx, this.compute));
    for (const [i, batch] of batches.entries()) {
      const rows = rowsOf(batch);
      if (rows.length === 0) continue;
      await grad.run(dims(batch, rows), { ...inputs(batch, rows), ...this.masks(i) });
      grad.read("loss", sum);
      loss += sum[0]!;
      tokens += rows.length;
    }
    if (tokens === 0) throw new RangeError("Cannot train on a batch without targets: all are -1");
    const grad_norm = await this.applyGradients(loss / tokens, 1 / tokens, options);
    return { loss: loss / tokens, grad_norm, tokens };
  }

  /** Of micro-batch i of the next step: the same whenever that step is made. */
  protected masks(i: number): Record<string, Int32Array> {
    const seed = this.trainable.dropout_seed;
    if (seed === undefined) return {};
    return { mask_seed: Int32Array.of(new Random(seed, STREAM.dropout, this.steps, i).next() | 0) };
  }

  /**
   * One update by the gradient sums, each times `factor`; they are zero afterwards.
   * @param loss what an error says it was
   * @returns length of the scaled gradient, before clipping
   */
  protected async applyGradients(loss: number, factor: number, options: AdamW): Promise<number> {
    const squares = new Float32Array(1);
    await this.norm.run(NO_DIMS, {});
    this.norm.read("squares", squares);
    const grad_norm = Math.sqrt(squares[0]!) * factor;
    const { max_loss = Number.MAX_VALUE } = options;
    if (!(loss <= max_loss) || !Number.isFinite(grad_norm)) {
      this.clearGradients();
      throw new RangeError(
        `Cannot update at step ${this.steps + 1}: loss is ${loss} and gradient norm ${grad_norm}, wanted ${options.max_loss === undefined ? "finite numbers" : `a loss up to ${max_loss} and a finite norm`}`,
      );
    }
    this.steps++;
    const { lr, beta1 = 0.9, beta2 = 0.999, eps = 1e-8 } = options;
    const { weight_decay = 0, max_grad_norm = Infinity } = options;
    const clipped = Math.min(1, max_grad_norm / grad_norm) * factor;
    const corrections = [1 - beta1 ** this.steps, 1 - beta2 ** this.steps];
    const given: Record<string, Float32Array> = {};
    for (const parameter of this.trainable.trained.values()) {
      const { input, decayed, lr_ratio } = hyperGroup(parameter);
      const decay = decayed ? weight_decay : 0;
      given[input] ??= Float32Array.of(lr * lr_ratio, beta1, beta2, eps, decay, ...corrections, clipped);
    }
    this.derived = false;
    await this.update.run(NO_DIMS, given);
    return grad_norm;
  }

  async evaluate(batch: TrainBatch): Promise<{ loss: number; tokens: number }> {
    const rows = rowsOf(batch);
    if (rows.length === 0) throw new RangeError("Cannot evaluate a batch without targets: all are -1");
    const forward = await this.ready("loss", () => recordLoss(this.trainable, this.size.ctx, this.compute));
    const sum = new Float32Array(1);
    await forward.run(dims(batch, rows), inputs(batch, rows));
    forward.read("loss", sum);
    return { loss: sum[0]! / rows.length, tokens: rows.length };
  }

  /** A parameter's values now, or its first or second moment, row-major. */
  read(name: string, kind?: "m" | "v"): Float32Array {
    const constant = kind === undefined && this.trainable.definition.constant?.(name);
    const storage = (constant && this.storages.get(name)) || this.storage(name, kind);
    const values = new Float32Array(storage.bytes / 4);
    this.backend.read(storage, values);
    return values;
  }

  /** Sets a parameter, or one of its moments. @throws {RangeError} on another number of values */
  write(name: string, values: Float32Array, kind?: "m" | "v"): void {
    const storage = this.storage(name, kind);
    if (values.length * 4 !== storage.bytes)
      throw new RangeError(
        `Cannot set parameter "${name}": got ${values.length} values, wanted ${storage.bytes / 4}`,
      );
    this.derived = false;
    this.backend.write(storage, values);
  }

  private storage(name: string, kind: "m" | "v" | undefined): Storage {
    const storage = this.trained.has(name) && this.storages.get(kind ? slot(kind, name) : name);
    if (!storage) throw new RangeError(`Cannot find parameter "${name}": none of that name is trained`);
    return storage;
  }

  private clearGradients(): void {
    for (const name of this.trained.keys()) {
      const storage = this.storages.get(slot("grad", name))!;
      this.backend.write(storage, new Float32Array(storage.bytes / 4));
    }
  }

  close(): void {
    for (const executable of this.executables) executable.free();
    for (const storage of this.storages.values()) storage.free();
  }
}

/** The tokens that have a target: their logits alone are made. */
export function rowsOf({ targets }: TrainBatch): Int32Array {
  return Int32Array.from(targets.keys()).filter((t) => targets[t]! >= 0);
}

export function dims({ tokens, starts }: TrainBatch, rows: Int32Array): Dims {
  return { T: tokens.length, S: starts.length, R: rows.length };
}

export function inputs(
  { tokens, targets, starts }: TrainBatch,
  rows: Int32Array,
): Record<string, Int32Array> {
  const positions = new Int32Array(tokens.length);
  const segments = new Int32Array(starts.length * 4);
  starts.forEach((start, s) => {
    const end = starts[s + 1] ?? tokens.length;
    if (start >= end || (s === 0 && start !== 0))
      throw new RangeError(`Cannot train on sequence ${s}: it spans tokens ${start}..${end}`);
    segments.set([start, end - start, 0, -1], s * 4);
    for (let i = start; i < end; i++) positions[i] = i - start;
  });
  return { tokens, positions, segments, rows, targets: rows.map((t) => targets[t]!) };
}
