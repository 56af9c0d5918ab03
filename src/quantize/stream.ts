// A model run over calibration tokens part by part (embedding, blocks, head): hidden states are kept between parts, and only
// one part's weights are loaded. What flows into each linear is measured by reductions in the program itself.

import { type Backend, type Executable, type Storage, weightOfBytes } from "../engine/backend.ts";
import { accumulate, accumulate_tn, mul, sum_rows } from "../engine/nn.ts";
import { type Program, record } from "../engine/program.ts";
import type { Node, Recorder, Shape, Tensor } from "../engine/tensor.ts";
import type { WeightType } from "../engine/weights.ts";
import {
  type Batch,
  checkTensors,
  declareBatch,
  frozenModule,
  loadWeight,
  modelTables,
  type OpenedModel,
} from "../models/index.ts";
import { type Calibration, dims, inputs, rowsOf, type TrainBatch } from "../train/index.ts";

/** Embedding, a block by its number, or what makes logits of the last hidden states. */
export type Part = "embed" | number | "head";

/** What flows into linears that read the same values, over all calibration tokens. */
export interface LinearInput {
  /** Weights of those linears: `q_proj`, `k_proj` and `v_proj` of a layer, for example. */
  readonly weights: readonly string[];
  readonly columns: number;
  readonly tokens: number;
  /** Mean of x² of each column. */
  readonly squares: Float32Array;
  /** Σ x xᵀ [columns, columns] in the backend's memory, until the next part; with `moments` "products" alone. */
  readonly products?: Storage;
}

/** What takes a parameter's place: a matrix as blocks of a type, a vector as values. */
export type Replacement = { readonly type: WeightType; readonly bytes: Uint8Array } | Float32Array;

/** What the stream goes on with: everything that a resumed one needs. */
export interface StreamState {
  /** Index of the part that comes next. */
  readonly next: number;
  /** Hidden states [tokens, hidden_size] of each batch. */
  readonly hidden: readonly Float32Array[];
  /** What earlier parts leave for later ones, by name, of each batch. */
  readonly kept: ReadonlyMap<string, readonly Float32Array[]>;
}

/** A part of the model, measured. */
export interface PartVisit {
  readonly part: Part;
  /** Its number among `parts`. */
  readonly index: number;
  readonly parts: number;
  /** Parameters that it reads and no part before it does: a tied head has no matrix of its own. */
  readonly parameters: readonly string[];
  /** What it is recorded as. */
  readonly nodes: readonly Node[];
  /** Weight of a linear -> its input. Linears that read the same share one. */
  readonly inputs: ReadonlyMap<string, LinearInput>;
  /** Sets what a parameter is from here on, for hidden states that go "through" the quantized weights. */
  replace(name: string, value: Replacement): void;
  /** Makes the hidden states that the next part reads. Called by the stream itself where nobody did. */
  finish(): Promise<StreamState>;
}

export interface StreamOptions {
  /** "squares": Σx² alone; "products": Σ x xᵀ too. */
  readonly moments: "squares" | "products";
  /** Which weights hidden states are made with: those of the model, or what replaced them. Default "original". */
  readonly through?: "original" | "quantized";
  /** Goes on behind a part that was finished. */
  readonly resume?: StreamState;
  readonly signal?: AbortSignal;
  /** Told after each batch. */
  readonly onBatch?: (part: Part, index: number, done: number, total: number) => void;
}

const squaresName = (path: string) => `squares:${path}`;
const productsName = (path: string) => `products:${path}`;
const keptName = (name: string) => `kept:${name}`;
const HIDDEN = "hidden";

/** The parts of a model in their order. */
export function partsOf({ config }: OpenedModel): Part[] {
  return ["embed", ...Array.from({ length: config.num_hidden_layers }, (_, i) => i), "head"];
}

/** Linears of a part with one input. */
interface Tap {
  readonly path: string;
  readonly weights: string[];
  readonly columns: number;
  /** Rows of the step that flow: all tokens, or those whose logits are wanted. */
  readonly rows: "T" | "R";
}

interface Recorded {
  readonly program: Program;
  readonly taps: readonly Tap[];
  /** What it leaves for later parts. */
  readonly kept: ReadonlyMap<string, Shape>;
}

/**
 * Runs a model over calibration data part by part, and gives each part with what flowed into its linears.
 * @throws {TypeError} on an encoder
 */
export async function* streamParts(
  model: OpenedModel,
  backend: Backend,
  calibration: Pick<Calibration, "batches" | "limits">,
  options: StreamOptions,
): AsyncGenerator<PartVisit, void, undefined> {
  const { through = "original", signal } = options;
  if (model.definition.encoder)
    throw new TypeError(
      `Cannot calibrate ${JSON.stringify(model.name)}: ${model.config.model_type} is an encoder, wanted a decoder`,
    );
  checkTensors(model);
  const { batches, limits } = calibration;
  const parts = partsOf(model);
  const { wanted, last, owners, nodes } = survey(model, limits.ctx);
  const replaced = new Map<string, Replacement>();
  const first = options.resume?.next ?? 0;
  let hidden: Float32Array[] = [...(options.resume?.hidden ?? [])];
  const kept = new Map<string, Float32Array[]>();
  for (const [name, values] of options.resume?.kept ?? []) kept.set(name, [...values]);
  const tables = new Map<string, Storage>();
  try {
    for (const [name, { shape, data }] of modelTables(model.config, limits.ctx))
      tables.set(name, backend.dense("f32", shape, data));
    for (let index = first; index < parts.length; index++) {
      const part = parts[index]!;
      signal?.throwIfAborted();
      const own = new Map<string, Storage>();
      try {
        const measured = recordPart(model, part, limits.ctx, wanted, options.moments);
        for (const tap of measured.taps) {
          own.set(squaresName(tap.path), backend.dense("f32", [tap.columns]));
          if (options.moments === "products")
            own.set(productsName(tap.path), backend.dense("f32", [tap.columns, tap.columns]));
        }
        const run = (recorded: Recorded, keep = true) =>
          runPart(model, backend, recorded, calibration, {
            keep,
            part,
            index,
            hidden,
            kept,
            replaced: through === "quantized" ? replaced : new Map(),
            bound: new Map([...tables, ...own]),
            signal,
            onBatch: options.onBatch,
          });
        // Made again below, with what replaces the weights.
        const found = await run(measured, through === "original");
        const inputs = inputsOf(backend, measured.taps, own, batches);
        let state: StreamState | undefined;
        const finish = async () => {
          if (state) return state;
          const again = through === "quantized" && part !== "head";
          const made = again ? await run(recordPart(model, part, limits.ctx, wanted)) : found;
          hidden = made.hidden;
          for (const [name, values] of made.kept) kept.set(name, values);
          for (const name of [...kept.keys()]) if (last.get(name)! <= index) kept.delete(name);
          state = { next: index + 1, hidden, kept: new Map(kept) };
          return state;
        };
        const parameters = [...owners].filter(([, owner]) => owner === index).map(([name]) => name);
        const visit = { part, index, parts: parts.length, parameters, nodes: nodes[index]!, inputs, finish };
        yield {
          ...visit,
          replace: (name, value) => {
            replaced.set(name, value);
          },
        };
        await finish();
      } finally {
        for (const storage of own.values()) storage.free();
      }
    }
  } finally {
    for (const storage of tables.values()) storage.free();
  }
}

/**
 * What parts leave in `batch.kept` and later ones read: names with their shapes, and the index of the last reader. Of each
 * parameter the index of the part that reads it first; and what parts are recorded as.
 */
function survey(model: OpenedModel, ctx: number) {
  const shapes = new Map<string, Shape>();
  const last = new Map<string, number>();
  const owners = new Map<string, number>();
  const nodes: (readonly Node[])[] = [];
  const names = model.definition.params(model.config);
  for (const [index, part] of partsOf(model).entries()) {
    const { program, kept } = recordPart(model, part, ctx, shapes, undefined, true);
    nodes.push(program.nodes);
    for (const { name } of program.inputs)
      if (name!.startsWith(keptName(""))) last.set(name!.slice(keptName("").length), index);
    for (const [name, shape] of kept) shapes.set(name, shape);
    for (const { name } of program.params)
      if (names.has(name!) && !owners.has(name!)) owners.set(name!, index);
  }
  const wanted = new Map([...shapes].filter(([name]) => last.has(name)));
  return { wanted, last, owners, nodes };
}

/**
 * The program of one part. Outputs `hidden` [T, C] (the head has none) and what of `wanted` it leaves for later parts, under
 * `kept:name`, or with `all` everything; inputs the same of earlier ones. With `moments` it adds to states `squares:path` [K] and `products:path` [K, K].
 */
function recordPart(
  model: OpenedModel,
  part: Part,
  ctx: number,
  wanted: ReadonlyMap<string, Shape>,
  moments?: "squares" | "products",
  all = false,
): Recorded {
  const { config } = model;
  const taps = new Map<Tensor, Tap>();
  const left = new Map<string, Shape>();
  const program = record((g) => {
    const batch = declareBatch(g, config, ctx, false);
    const before = new Map<string, Tensor>();
    for (const [name, shape] of wanted) {
      before.set(name, g.input(keptName(name), "f32", shape));
      batch.kept.set(name, before.get(name)!);
    }
    const x = part === "embed" ? undefined : g.input(HIDDEN, "f32", ["T", config.hidden_size]);
    const y = apply(model, part, tapped(g, model, taps), x, batch);
    const outputs: Record<string, Tensor> = {};
    if (part !== "head") outputs[HIDDEN] = y;
    for (const [name, tensor] of batch.kept) {
      if (tensor === before.get(name)) continue;
      left.set(name, tensor.shape);
      if (all || wanted.has(name)) outputs[keptName(name)] = tensor;
    }
    if (moments)
      for (const [input, { path, columns }] of taps) {
        accumulate(g.state(squaresName(path), [columns]), sum_rows(mul(input, input)));
        if (moments === "products")
          accumulate_tn(g.state(productsName(path), [columns, columns]), input, input);
      }
    // Without an output or a state the head would be an empty program; its logits are not wanted, only who makes them.
    if (part === "head" && !moments) outputs.logits = y;
    return outputs;
  });
  return { program, taps: [...taps.values()], kept: left };
}

function apply(
  { definition }: OpenedModel,
  part: Part,
  m: ReturnType<typeof frozenModule>,
  x: Tensor | undefined,
  batch: Batch,
): Tensor {
  if (part === "embed") return definition.embed(m, batch);
  return part === "head" ? definition.head(m, x!, batch) : definition.block(m, part, x!, batch);
}

/** The model's parameters, where each linear says what it reads. */
function tapped(g: Recorder, { definition, config }: OpenedModel, taps: Map<Tensor, Tap>) {
  return frozenModule(g, definition, config, (path, y, x) => {
    const tap = taps.get(x);
    if (tap) tap.weights.push(`${path}.weight`);
    else
      taps.set(x, {
        path,
        weights: [`${path}.weight`],
        columns: Number(x.shape.at(-1)),
        rows: x.shape[0] === "R" ? "R" : "T",
      });
    return y;
  });
}

function inputsOf(
  backend: Backend,
  taps: readonly Tap[],
  own: ReadonlyMap<string, Storage>,
  batches: readonly TrainBatch[],
): Map<string, LinearInput> {
  const count = {
    T: batches.reduce((sum, { tokens }) => sum + tokens.length, 0),
    R: batches.reduce((sum, batch) => sum + rowsOf(batch).length, 0),
  };
  const found = new Map<string, LinearInput>();
  for (const { path, weights, columns, rows } of taps) {
    const sums = new Float32Array(columns);
    backend.read(own.get(squaresName(path))!, sums);
    const tokens = count[rows];
    const products = own.get(productsName(path));
    const squares = sums.map((x) => x / tokens);
    const input = { weights, columns, tokens, squares, ...(products && { products }) };
    for (const weight of weights) found.set(weight, input);
  }
  return found;
}

interface PartRun {
  /** Whether outputs are wanted. */
  readonly keep: boolean;
  readonly part: Part;
  readonly index: number;
  readonly hidden: readonly Float32Array[];
  readonly kept: ReadonlyMap<string, readonly Float32Array[]>;
  readonly replaced: ReadonlyMap<string, Replacement>;
  /** Tables and states. */
  readonly bound: ReadonlyMap<string, Storage>;
  readonly signal: AbortSignal | undefined;
  readonly onBatch: StreamOptions["onBatch"];
}

/** One part over all batches: its weights are loaded for as long as it runs. */
async function runPart(
  model: OpenedModel,
  backend: Backend,
  { program }: Recorded,
  { batches, limits }: Pick<Calibration, "batches" | "limits">,
  { keep, part, index, hidden, kept, replaced, bound, signal, onBatch }: PartRun,
): Promise<{ hidden: Float32Array[]; kept: Map<string, Float32Array[]> }> {
  const weights: Storage[] = [];
  let executable: Executable | undefined;
  const made = { hidden: [] as Float32Array[], kept: new Map<string, Float32Array[]>() };
  try {
    executable = backend.compile(program, { T: limits.tokens, S: limits.sequences, R: limits.tokens });
    for (const { name } of [...program.params, ...program.states]) {
      let storage = bound.get(name!);
      if (!storage) {
        signal?.throwIfAborted();
        const other = replaced.get(name!);
        storage = other
          ? await storageOf(model, backend, name!, other)
          : await loadWeight(model, backend, name!, signal);
        weights.push(storage);
      }
      executable.bind(name!, storage);
    }
    const given = program.inputs.map(({ name }) => name!).filter((name) => name.startsWith(keptName("")));
    for (const [b, batch] of batches.entries()) {
      signal?.throwIfAborted();
      const rows = rowsOf(batch);
      const fed: Record<string, Int32Array | Float32Array> = inputs(batch, rows);
      if (part !== "embed") fed[HIDDEN] = hidden[b]!;
      for (const name of given) fed[name] = kept.get(name.slice(keptName("").length))![b]!;
      await executable.run(dims(batch, rows), fed);
      for (const [name, { shape }] of program.outputs) {
        if (name === "logits" || !keep) continue;
        const width = shape.slice(1).reduce<number>((n, d) => n * Number(d), 1);
        const values = new Float32Array(batch.tokens.length * width);
        executable.read(name, values);
        if (name === HIDDEN) made.hidden.push(values);
        else {
          const key = name.slice(keptName("").length);
          const list = made.kept.get(key) ?? [];
          list.push(values);
          made.kept.set(key, list);
        }
      }
      onBatch?.(part, index, b + 1, batches.length);
      // A backend that computes on this thread leaves the event loop no other turn, and a signal comes by it.
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    executable?.free();
    for (const storage of weights) storage.free();
  }
  return made;
}

async function storageOf(
  { config, definition }: OpenedModel,
  backend: Backend,
  name: string,
  value: Replacement,
): Promise<Storage> {
  const shape = definition.params(config).get(name)!;
  if (value instanceof Float32Array) return backend.dense("f32", shape, value);
  return weightOfBytes(backend, name, shape, value);
}

/**
 * Mean of x² of each column of what every linear reads, by the linear's weight: the importance of columns that rounding is
 * weighted by. Of a tied head the key is the embedding's weight. One pass; memory: the hidden states and one part.
 */
export async function measureImportance(
  model: OpenedModel,
  backend: Backend,
  calibration: Pick<Calibration, "batches" | "limits">,
  options: Omit<StreamOptions, "moments" | "through" | "resume"> = {},
): Promise<Map<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for await (const { inputs } of streamParts(model, backend, calibration, { ...options, moments: "squares" }))
    for (const [weight, { squares }] of inputs) found.set(weight, squares);
  return found;
}
