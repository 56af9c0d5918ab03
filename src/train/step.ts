/**
 * A training step as three programs over the same recorded model: `grad` adds a micro-batch's gradients to sums, `norm`
 * measures them, `update` is AdamW. Full parameters in f32. Knows ids, no text and no files; the trainer around it
 * (data, schedules, checkpoints) is a later layer.
 */
import type { Backend, Dims, Executable, Storage } from "../engine/backend.ts";
import { gradients } from "../engine/gradients.ts";
import { accumulate, adamw, add, cross_entropy, neg, sum_rows, sum_squares } from "../engine/nn.ts";
import { type Program, record } from "../engine/program.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { Config, Definition } from "../models/index.ts";
import { declareBatch, forward, plainModule, ropeTables } from "../models/index.ts";
import type { AdamW, Learner, StepResult, TrainBatch } from "./types.ts";

/** Name of the state that holds a parameter's gradient sum, first or second moment. */
const slot = (kind: "grad" | "m" | "v", name: string) => `${kind}:${name}`;

/** The gradient program: output `loss` [1] = Σ over targets; adds gradients to the states `grad:*`. */
export function recordGradients(definition: Definition, config: Config, ctx: number): Program {
  return record(
    (g) => {
      const m = plainModule(g, definition, config);
      const batch = declareBatch(g, config, ctx, false);
      const losses = cross_entropy(forward(definition, m, batch), g.input("targets", "i32", ["R"])); // [R, 1]
      const params = parameters(definition, config).map(([name]) => m.param(name));
      const loss = sum_rows(losses); // [1]
      for (const [i, d] of gradients(loss, params).entries()) {
        const p = params[i]!;
        accumulate(g.state(slot("grad", p.name!), p.shape), d);
      }
      return { loss };
    },
    { composed: true },
  );
}

/** Output `loss` [1] = Σ over targets, without gradients. */
function recordLoss(definition: Definition, config: Config, ctx: number): Program {
  return record((g) => {
    const m = plainModule(g, definition, config);
    const logits = forward(definition, m, declareBatch(g, config, ctx, false));
    return { loss: sum_rows(cross_entropy(logits, g.input("targets", "i32", ["R"]))) };
  });
}

function recordNorm(shapes: readonly Parameter[]): Program {
  return record((g) => {
    let total: Tensor | undefined;
    for (const [name, shape] of shapes) {
      const squares = sum_squares(g.state(slot("grad", name), shape));
      total = total ? add(total, squares) : squares;
    }
    return { squares: total! };
  });
}

/** AdamW on every parameter, then its gradient sum back to zero. */
function recordUpdate(shapes: readonly Parameter[]): Program {
  return record((g) => {
    for (const [name, shape] of shapes) {
      const grad = g.state(slot("grad", name), shape);
      const hyper = g.input(shape.length > 1 ? "decayed" : "plain", "f32", [8]);
      adamw(
        g.state(name, shape),
        grad,
        g.state(slot("m", name), shape),
        g.state(slot("v", name), shape),
        hyper,
      );
      accumulate(grad, neg(grad));
    }
    return {};
  });
}

type Parameter = readonly [name: string, shape: readonly number[]];

function parameters(definition: Definition, config: Config): Parameter[] {
  return [...definition.params(config)];
}

/** A model's parameters, gradients and moments on a backend, and the programs that train them. */
export class TrainStep implements Learner {
  readonly maxima: Dims;
  readonly size: Learner["size"];
  readonly trained: ReadonlyMap<string, readonly number[]>;
  /** Updates so far. */
  steps = 0;
  private readonly backend: Backend;
  private readonly shapes: readonly Parameter[];
  private readonly storages = new Map<string, Storage>();
  private readonly grad: Executable;
  private readonly norm: Executable;
  private readonly update: Executable;
  private readonly definition: Definition;
  private readonly config: Config;
  private readonly ctx: number;
  private forward: Executable | undefined;

  /**
   * @param initial every parameter by its Hugging Face name, row-major
   * @param size `ctx`: longest sequence; `tokens` and `sequences`: largest micro-batch
   */
  constructor(
    backend: Backend,
    definition: Definition,
    config: Config,
    initial: ReadonlyMap<string, Float32Array>,
    size: { ctx: number; tokens: number; sequences: number },
  ) {
    this.backend = backend;
    this.definition = definition;
    this.config = config;
    this.ctx = size.ctx;
    this.size = size;
    this.shapes = parameters(definition, config);
    this.trained = new Map(this.shapes);
    this.maxima = { T: size.tokens, S: size.sequences, R: size.tokens };
    for (const [name, shape] of this.shapes) {
      const values = initial.get(name);
      if (!values) throw new TypeError(`Cannot train: parameter "${name}" has no initial values`);
      this.storages.set(name, backend.dense("f32", shape, values));
      for (const kind of ["grad", "m", "v"] as const)
        this.storages.set(slot(kind, name), backend.dense("f32", shape));
    }
    for (const [name, { shape, data }] of ropeTables(config, size.ctx))
      this.storages.set(name, backend.dense("f32", shape, data));
    const none = { T: 1, S: 1, R: 1 };
    this.grad = this.ready(recordGradients(definition, config, size.ctx), this.maxima);
    this.norm = this.ready(recordNorm(this.shapes), none);
    this.update = this.ready(recordUpdate(this.shapes), none);
  }

  private ready(program: Program, maxima: Dims): Executable {
    const executable = this.backend.compile(program, maxima);
    for (const t of [...program.params, ...program.states])
      executable.bind(t.name!, this.storages.get(t.name!)!);
    return executable;
  }

  /** Gradient of all micro-batches together, then one update. A loss or gradient that is not finite changes nothing. */
  async step(batches: readonly TrainBatch[], options: AdamW): Promise<StepResult> {
    let [loss, tokens] = [0, 0];
    const sum = new Float32Array(1);
    for (const batch of batches) {
      await this.grad.run(dims(batch), inputs(batch));
      this.grad.read("loss", sum);
      loss += sum[0]!;
      for (const target of batch.targets) if (target >= 0) tokens++;
    }
    if (tokens === 0) throw new RangeError("Cannot train on a batch without targets: all are -1");
    await this.norm.run({ T: 0, S: 0, R: 0 }, {});
    this.norm.read("squares", sum);
    const grad_norm = Math.sqrt(sum[0]!) / tokens;
    if (!Number.isFinite(loss) || !Number.isFinite(grad_norm)) {
      this.clearGradients();
      throw new RangeError(
        `Cannot update at step ${this.steps + 1}: loss is ${loss / tokens} and gradient norm ${grad_norm}, wanted finite numbers`,
      );
    }
    this.steps++;
    const {
      lr,
      beta1 = 0.9,
      beta2 = 0.999,
      eps = 1e-8,
      weight_decay = 0,
      max_grad_norm = Infinity,
    } = options;
    const factor = Math.min(1, max_grad_norm / grad_norm) / tokens;
    const hyper = (decay: number) =>
      Float32Array.of(lr, beta1, beta2, eps, decay, 1 - beta1 ** this.steps, 1 - beta2 ** this.steps, factor);
    const given: Record<string, Float32Array> = { decayed: hyper(weight_decay) };
    if (this.shapes.some(([, shape]) => shape.length === 1)) given.plain = hyper(0);
    await this.update.run({ T: 0, S: 0, R: 0 }, given);
    return { loss: loss / tokens, grad_norm, tokens };
  }

  /** Loss of a batch, without learning from it. */
  async evaluate(batch: TrainBatch): Promise<Omit<StepResult, "grad_norm">> {
    this.forward ??= this.ready(recordLoss(this.definition, this.config, this.ctx), this.maxima);
    const sum = new Float32Array(1);
    await this.forward.run(dims(batch), inputs(batch));
    this.forward.read("loss", sum);
    const tokens = batch.targets.filter((target) => target >= 0).length;
    return { loss: sum[0]! / tokens, tokens };
  }

  /** A parameter's values now, or its first or second moment, row-major. */
  read(name: string, kind?: "m" | "v"): Float32Array {
    const storage = this.storage(name, kind);
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
    this.backend.write(storage, values);
  }

  private storage(name: string, kind: "m" | "v" | undefined): Storage {
    const storage = this.trained.has(name) && this.storages.get(kind ? slot(kind, name) : name);
    if (!storage) throw new RangeError(`Cannot find parameter "${name}": the model has none of that name`);
    return storage;
  }

  private clearGradients(): void {
    for (const [name] of this.shapes) {
      const storage = this.storages.get(slot("grad", name))!;
      this.backend.write(storage, new Float32Array(storage.bytes / 4));
    }
  }

  close(): void {
    for (const executable of [this.grad, this.norm, this.update, this.forward]) executable?.free();
    for (const storage of this.storages.values()) storage.free();
  }
}

function dims(batch: TrainBatch): Dims {
  return { T: batch.tokens.length, S: batch.starts.length, R: batch.tokens.length };
}

function inputs({ tokens, targets, starts }: TrainBatch): Record<string, Int32Array> {
  const positions = new Int32Array(tokens.length);
  const segments = new Int32Array(starts.length * 4);
  starts.forEach((start, s) => {
    const end = starts[s + 1] ?? tokens.length;
    if (start >= end || (s === 0 && start !== 0))
      throw new RangeError(`Cannot train on sequence ${s}: it spans tokens ${start}..${end}`);
    segments.set([start, end - start, 0, -1], s * 4);
    for (let i = start; i < end; i++) positions[i] = i - start;
  });
  return { tokens, positions, segments, rows: Int32Array.from(tokens, (_, i) => i), targets };
}
