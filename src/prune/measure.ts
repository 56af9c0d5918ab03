// What is measured of a model on calibration batches: its loss, also without some of its layers, neurons, heads or hidden
// channels, and how large what flows through them is. Taps are reductions in the program itself: sums of squares of
// columns, added to states, so that no activation leaves the engine.

import type { Backend, Dims, Executable, Storage } from "../engine/backend.ts";
import { fuseLosses } from "../engine/gradients.ts";
import { accumulate, cross_entropy, div, mul, shift, sum_last, sum_rows } from "../engine/nn.ts";
import { type Program, record } from "../engine/program.ts";
import type { Recorder, Tensor } from "../engine/tensor.ts";
import {
  declareBatch,
  loadWeights,
  type Module,
  modelTables,
  type OpenedModel,
  parameterValues,
  plainModule,
} from "../models/index.ts";
import type { Calibration, TrainBatch } from "../train/index.ts";
import { dims, inputs, rowsOf } from "../train/step.ts";
import type { Layout } from "./layout.ts";

type Limits = Calibration["limits"];

/** Mean squares over the tokens of all calibration batches. */
export interface Taps {
  /** Weight of a down_proj or o_proj -> of each of its inputs. */
  readonly inputs: ReadonlyMap<string, Float32Array>;
  /** Weight of a norm -> of each channel that it reads: its share of the sum over all channels, before the weight. */
  readonly shares: ReadonlyMap<string, Float32Array>;
}

/** Layers and parts that a loss is measured with. */
export interface Part {
  /** Layers that run, ascending. */
  readonly layers: readonly number[];
  /** Path of a down_proj or o_proj -> 1 for each input that stays, 0 for the others. */
  readonly masks?: ReadonlyMap<string, Float32Array>;
  /** Hidden channels that the norms still read: 1, or 0. */
  readonly hidden?: Float32Array;
}

/** Linears whose inputs are what is cut: neurons, and heads. */
const CUT = /\.(down_proj|o_proj)$/;
const mask = (path: string) => `mask:${path}`;
const squares = (weight: string) => `squares:${weight}`;
/** Added to a sum of squares before dividing by it: where a token's embedding is all zeros. */
const TINY = 1e-30;

/** A loaded model that is measured. Free it when done; model and backend stay. */
export class Measured {
  readonly model: OpenedModel;
  readonly #backend: Backend;
  readonly #layout: Layout;
  readonly #limits: Limits;
  readonly #storages: Map<string, Storage>;
  readonly #norms = new Map<string, Float32Array>();
  /** The program of the layers that ran last: removals of one after another share nothing. */
  #loss: { readonly key: string; readonly executable: Executable } | undefined;

  static async load(
    model: OpenedModel,
    backend: Backend,
    layout: Layout,
    limits: Limits,
    signal: AbortSignal,
  ): Promise<Measured> {
    return new Measured(model, backend, layout, limits, await loadWeights(model, backend, { signal }));
  }

  private constructor(
    model: OpenedModel,
    backend: Backend,
    layout: Layout,
    limits: Limits,
    weights: Map<string, Storage>,
  ) {
    this.model = model;
    this.#backend = backend;
    this.#layout = layout;
    this.#limits = limits;
    this.#storages = weights;
    for (const [name, { shape, data }] of modelTables(model.config, limits.ctx))
      this.#storages.set(name, backend.dense("f32", shape, data));
  }

  /** Mean negative log-likelihood of the batches' targets, in nats. */
  async loss(batches: readonly TrainBatch[], part: Part, signal: AbortSignal): Promise<number> {
    const { masks, hidden } = part;
    const key = `${part.layers.join()}${masks ? " masked" : ""}`;
    if (this.#loss?.key !== key) {
      this.#loss?.executable.free();
      this.#loss = undefined;
      const program = record((g) => {
        const loss = sum_rows(this.#rowLosses(g, part.layers, masks !== undefined));
        fuseLosses(g, false);
        return { loss };
      });
      if (masks) for (const [path, values] of masks) this.#ready(mask(path), [values.length]);
      this.#loss = { key, executable: this.#compile(program) };
    }
    if (masks)
      for (const [path, values] of masks) this.#backend.write(this.#storages.get(mask(path))!, values);
    await this.#maskNorms(hidden);
    let [sum, tokens] = [0, 0];
    const found = new Float32Array(1);
    for (const batch of batches) {
      signal.throwIfAborted();
      const rows = rowsOf(batch);
      if (rows.length === 0) continue;
      await this.#loss.executable.run(dims(batch, rows), inputs(batch, rows));
      this.#loss.executable.read("loss", found);
      sum += found[0]!;
      tokens += rows.length;
      // A backend that computes on this thread leaves the event loop no other turn, and a signal comes by it.
      await new Promise((resolve) => setImmediate(resolve));
    }
    const loss = sum / tokens;
    if (!Number.isFinite(loss))
      throw new Error(
        `Cannot prune ${JSON.stringify(this.model.name)}: its loss on the calibration data is ${loss}, wanted a finite number`,
      );
    return loss;
  }

  /** What flows through the layers that stay. @param onBatch called after each batch */
  async taps(
    batches: readonly TrainBatch[],
    layers: readonly number[],
    signal: AbortSignal,
    onBatch: (done: number) => void = () => {},
  ): Promise<Taps> {
    await this.#maskNorms(undefined);
    const tapped = new Map<string, number>();
    const program = record((g) => {
      this.#tap(g, layers, tapped);
      return {};
    });
    for (const [name, n] of tapped) {
      this.#ready(name, [n]);
      this.#backend.write(this.#storages.get(name)!, new Float32Array(n));
    }
    const executable = this.#compile(program);
    try {
      let [tokens, rows] = [0, 0];
      for (const [i, batch] of batches.entries()) {
        signal.throwIfAborted();
        const wanted = rowsOf(batch);
        await executable.run(dims(batch, wanted), inputs(batch, wanted));
        tokens += batch.tokens.length;
        rows += wanted.length;
        onBatch(i + 1);
        await new Promise((resolve) => setImmediate(resolve));
      }
      const read = (weight: string) => {
        const name = squares(weight);
        const values = new Float32Array(tapped.get(name)!);
        this.#backend.read(this.#storages.get(name)!, values);
        const count = weight === "model.norm.weight" ? rows : tokens;
        return values.map((x) => x / count);
      };
      const names = [...tapped.keys()].map((name) => name.slice(squares("").length));
      const isNorm = (name: string) => this.#layout.norms.includes(name);
      return {
        inputs: new Map(names.filter((name) => !isNorm(name)).map((name) => [name, read(name)])),
        shares: new Map(names.filter(isNorm).map((name) => [name, read(name)])),
      };
    } finally {
      executable.free();
    }
  }

  free(): void {
    this.#loss?.executable.free();
    for (const storage of this.#storages.values()) storage.free();
  }

  /** embed, the layers that stay, head and the loss of each row: [R, 1]. */
  #rowLosses(g: Recorder, layers: readonly number[], masked: boolean): Tensor {
    const { definition, config } = this.model;
    const plain = plainModule(g, definition, config);
    const m: Module = {
      ...plain,
      linear: (path, x) =>
        plain.linear(path, masked && CUT.test(path) ? mul(x, g.param(mask(path), [Number(x.shape[1])])) : x),
    };
    const batch = declareBatch(g, config, this.#limits.ctx, false);
    let x = definition.embed(m, batch);
    for (const i of layers) x = definition.block(m, i, x, batch);
    return cross_entropy(definition.head(m, x, batch), g.input("targets", "i32", ["R"]));
  }

  /** The same up to the last norm, with sums of squares of what is cut; fills `tapped` with states and their sizes. */
  #tap(g: Recorder, layers: readonly number[], tapped: Map<string, number>): void {
    const { definition, config } = this.model;
    const m = plainModule(g, definition, config);
    const batch = declareBatch(g, config, this.#limits.ctx, false);
    let seen = 0;
    const sum = (weight: string, x: Tensor) => {
      const n = Number(x.shape.at(-1));
      tapped.set(squares(weight), n);
      accumulate(g.state(squares(weight), [n]), sum_rows(x));
    };
    const tap = () => {
      // What follows a part that was just recorded: its activations are then still near.
      const nodes = g.nodes.slice(seen);
      for (const { op, inputs } of nodes) {
        const [x, weight] = inputs;
        const name = weight?.name ?? "";
        if (op === "rms_norm" && this.#layout.norms.includes(name)) {
          const square = mul(x!, x!);
          sum(name, div(square, shift(sum_last(square), TINY)));
        } else if (op === "matmul_nt" && CUT.test(name.replace(/\.weight$/, ""))) sum(name, mul(x!, x!));
      }
      seen = g.nodes.length;
    };
    let x = definition.embed(m, batch);
    for (const i of layers) {
      x = definition.block(m, i, x, batch);
      tap();
    }
    definition.head(m, x, batch);
    tap();
  }

  /** Norms read only the channels that stay; undefined: all, as they were. */
  async #maskNorms(hidden: Float32Array | undefined): Promise<void> {
    if (!hidden && this.#norms.size === 0) return;
    for (const name of this.#layout.norms) {
      let own = this.#norms.get(name);
      if (!own) {
        own = await parameterValues(this.model, name);
        this.#norms.set(name, own);
      }
      const values = hidden ? own.map((w, c) => w * hidden[c]!) : own;
      this.#backend.write(this.#storages.get(name)!, values);
    }
    if (!hidden) this.#norms.clear();
  }

  #ready(name: string, shape: readonly number[]): void {
    if (!this.#storages.has(name)) this.#storages.set(name, this.#backend.dense("f32", shape));
  }

  #compile(program: Program): Executable {
    const { tokens, sequences } = this.#limits;
    const maxima: Dims = { T: tokens, S: sequences, R: tokens };
    const executable = this.#backend.compile(program, maxima);
    for (const { name } of [...program.params, ...program.states])
      executable.bind(name!, this.#storages.get(name!)!);
    return executable;
  }
}
