// A mix under a size limit: each group of matrices is tried at several types, alone, and what it costs is measured as the KL
// divergence from the model as it was. Then bits go, step by step, where a byte buys the most.

import { LocalTeacher } from "../distill/index.ts";
import { type Backend, type Dims, type Executable, type Storage, weightOfBytes } from "../engine/backend.ts";
import { fuseLosses } from "../engine/gradients.ts";
import { isQuantType, type QuantType } from "../engine/grids.ts";
import { distillation_loss, sum_rows } from "../engine/nn.ts";
import { record } from "../engine/program.ts";
import { WEIGHT_TYPES } from "../engine/weights.ts";
import {
  declareBatch,
  forward,
  loadWeights,
  modelTables,
  type OpenedModel,
  plainModule,
} from "../models/index.ts";
import { parameterRows } from "../models/rows.ts";
import { type Calibration, dims, inputs, rowsOf, type TrainBatch } from "../train/index.ts";
import type { MixType } from "./mix.ts";
import { type PlanOptions, placesOf, planQuantization, type QuantizePlan } from "./plan.ts";
import { roundedWhole, valueOrder } from "./round.ts";

/** Matrices that get one type. */
export interface Group {
  /** "ffn_down of layers 0 to 3" */
  readonly name: string;
  readonly matrices: readonly string[];
}

/** What a group costs at a type: `kl` in nats a token, of this group alone in it. */
export interface Trial {
  readonly group: string;
  readonly type: QuantType;
  readonly bytes: number;
  readonly kl: number;
}

export interface ChosenMix {
  readonly types: ReadonlyMap<string, MixType>;
  readonly trials: readonly Trial[];
  /** The sum of what the chosen ones cost alone, and what they cost together. */
  readonly predicted_kl: number;
  readonly kl: number;
}

/** Matrices of a role are one group in each of so many runs of layers. */
const SPANS = 4;
/** Types that are tried where nobody says which, by their bits. */
const LADDER: readonly QuantType[] = ["q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "q8_0"];
const TRIED = 4;
/** Tokens of the calibration data that a trial runs over. */
const TRIAL_TOKENS = 4096;

const bitsOf = (type: QuantType) => (8 * WEIGHT_TYPES[type].blockBytes) / WEIGHT_TYPES[type].blockSize;

/** Types to choose among for so many bits a weight: the largest that leaves a bit to give, and those above it. */
export function candidates(bits: number, given: readonly QuantType[]): QuantType[] {
  if (given.length > 1) return given.toSorted((a, b) => bitsOf(a) - bitsOf(b));
  const from = Math.max(
    0,
    LADDER.findLastIndex((type) => bitsOf(type) <= bits - 0.75),
  );
  return LADDER.slice(from, from + TRIED);
}

const ROLES: Readonly<Record<string, string>> = {
  attn_q: "attn_q and attn_k",
  attn_k: "attn_q and attn_k",
  ffn_gate: "ffn_gate and ffn_up",
  ffn_up: "ffn_gate and ffn_up",
};

/** The groups of a plan's matrices. */
export function groupsOf(model: Pick<OpenedModel, "definition" | "config">, plan: QuantizePlan): Group[] {
  const matrices = plan.tensors.filter(({ type }) => isQuantType(type)).map(({ name }) => name);
  const places = placesOf(model, matrices);
  const layers = model.config.num_hidden_layers;
  const groups = new Map<string, string[]>();
  for (const name of matrices) {
    const { role } = places.get(name)!;
    const layer = /\.(\d+)\./.exec(name)?.[1];
    const span =
      layer === undefined ? undefined : Math.floor((Number(layer) * SPANS) / Math.max(SPANS, layers));
    const key = `${ROLES[role] ?? role}${span === undefined ? "" : `, part ${span + 1}`}`;
    groups.set(key, [...(groups.get(key) ?? []), name]);
  }
  return [...groups].map(([name, matrices]) => ({ name, matrices }));
}

export interface MixOptions extends Omit<PlanOptions, "to" | "types"> {
  readonly bits: number;
  readonly types: readonly QuantType[];
  readonly importance: ReadonlyMap<string, Float32Array> | undefined;
  readonly calibration: Calibration;
  readonly signal: AbortSignal;
  readonly onTrial: (done: number, total: number) => void;
}

/**
 * Chooses types of at most `bits` a weight over all tensors.
 * @throws {RangeError} where even the smallest type takes more
 */
export async function chooseMix(
  model: OpenedModel,
  backend: Backend,
  { bits, types, importance, calibration, signal, onTrial, ...planned }: MixOptions,
): Promise<ChosenMix> {
  const lowest = planQuantization(model, { ...planned, to: types[0]!, pure: true });
  const groups = groupsOf(model, lowest);
  const plans = types.map((to) => planQuantization(model, { ...planned, to, pure: true }));
  const measuring = await KlMeasure.load(model, backend, calibration, signal);
  try {
    const trials: Trial[] = [];
    for (const group of groups)
      for (const [i, type] of types.entries()) {
        const chosen = typesOf(plans[i]!, group.matrices);
        const bytes = bytesOf(plans[i]!, group.matrices);
        trials.push({ group: group.name, type, bytes, kl: await measuring.kl(chosen, importance) });
        onTrial(trials.length, groups.length * types.length + 1);
      }
    const limit = (bits * lowest.parameters) / 8;
    const mix = spend(groups, trials, limit - (lowest.bytes.after - sumBytes(groups, lowest)));
    if (!mix)
      throw new RangeError(
        `Cannot quantize ${JSON.stringify(model.name)} to ${bits} bits a weight: in ${types[0]} it takes ${lowest.bits_per_weight.toFixed(2)}, wanted that or more`,
      );
    const chosen = new Map<string, MixType>();
    for (const [{ matrices }, { type }] of mix)
      for (const [name, own] of typesOf(plans[types.indexOf(type)]!, matrices)) chosen.set(name, own);
    const kl = await measuring.kl(chosen, importance);
    onTrial(1, 1);
    const predicted_kl = [...mix.values()].reduce((sum, trial) => sum + trial.kl, 0);
    return { types: chosen, trials, predicted_kl, kl };
  } finally {
    measuring.free();
  }
}

function typesOf({ tensors }: QuantizePlan, names: readonly string[]): Map<string, MixType> {
  const wanted = new Set(names);
  return new Map(
    tensors.flatMap(({ name, type }) => (wanted.has(name) ? [[name, type as MixType] as const] : [])),
  );
}
function bytesOf({ tensors }: QuantizePlan, names: readonly string[]): number {
  const wanted = new Set(names);
  return tensors.reduce((sum, { name, bytes }) => sum + (wanted.has(name) ? bytes : 0), 0);
}
const sumBytes = (groups: readonly Group[], plan: QuantizePlan) =>
  groups.reduce((sum, { matrices }) => sum + bytesOf(plan, matrices), 0);

/**
 * Every group at its smallest type, and then, as long as bytes are left, the step up that saves the most KL a byte.
 * @returns undefined where the smallest types take more than `limit`
 */
export function spend(
  groups: readonly Group[],
  trials: readonly Trial[],
  limit: number,
): Map<Group, Trial> | undefined {
  const of = new Map(groups.map((group) => [group, trials.filter((trial) => trial.group === group.name)]));
  const mix = new Map(
    groups.map((group) => [group, of.get(group)!.reduce((a, b) => (b.bytes < a.bytes ? b : a))]),
  );
  let left = limit - [...mix.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  if (left < 0) return undefined;
  while (true) {
    let best: { group: Group; trial: Trial; gain: number } | undefined;
    for (const [group, now] of mix)
      for (const trial of of.get(group)!) {
        const more = trial.bytes - now.bytes;
        const saved = now.kl - trial.kl;
        if (more > left || saved <= 0 || more < 0) continue;
        const gain = saved / Math.max(1, more);
        if (!best || gain > best.gain) best = { group, trial, gain };
      }
    if (!best) return mix;
    left -= best.trial.bytes - mix.get(best.group)!.bytes;
    mix.set(best.group, best.trial);
  }
}

/** A batch, and the hidden states [R, hidden_size] that the model makes logits of. */
interface Known {
  readonly batch: TrainBatch;
  readonly hidden: Float32Array;
}

/** A loaded model, and how far it is from itself when some of its matrices are rounded. */
export class KlMeasure {
  readonly #model: OpenedModel;
  readonly #backend: Backend;
  readonly #weights: Map<string, Storage>;
  readonly #executable: Executable;
  readonly #batches: readonly Known[];
  readonly #head: ReadonlyMap<string, string>;

  static async load(
    model: OpenedModel,
    backend: Backend,
    { batches: all, limits }: Calibration,
    signal: AbortSignal,
  ): Promise<KlMeasure> {
    let tokens = 0;
    const batches = all.filter((batch, i) => i === 0 || (tokens += batch.tokens.length) <= TRIAL_TOKENS);
    const teacher = await LocalTeacher.load(model, backend, { ctx: limits.ctx, signal });
    const measured: Known[] = [];
    try {
      teacher.resize(limits);
      for (const batch of batches) {
        signal.throwIfAborted();
        measured.push({ batch, hidden: await teacher.hidden(batch) });
      }
      const weights = await loadWeights(model, backend, { signal });
      return new KlMeasure(model, backend, weights, measured, teacher, limits);
    } finally {
      teacher.free();
    }
  }

  private constructor(
    model: OpenedModel,
    backend: Backend,
    weights: Map<string, Storage>,
    batches: readonly Known[],
    teacher: LocalTeacher,
    { ctx, tokens, sequences }: Calibration["limits"],
  ) {
    this.#model = model;
    this.#backend = backend;
    this.#weights = weights;
    this.#batches = batches;
    const { definition, config } = model;
    for (const [name, { shape, data }] of modelTables(config, ctx))
      weights.set(name, backend.dense("f32", shape, data));
    this.#head = new Map([...teacher.head.keys()].map((name) => [name, name.slice(name.indexOf(":") + 1)]));
    const program = record(
      (g) => {
        const logits = forward(
          definition,
          plainModule(g, definition, config),
          declareBatch(g, config, ctx, false),
        );
        const kl = sum_rows(distillation_loss(logits, teacher.logits(g, config.vocab_size)));
        fuseLosses(g, false);
        return { kl };
      },
      { composed: true },
    );
    const maxima: Dims = { T: tokens, S: sequences, R: tokens };
    this.#executable = backend.compile(program, maxima);
    for (const { name } of [...program.params, ...program.states])
      this.#executable.bind(name!, weights.get(this.#head.get(name!) ?? name!)!);
  }

  /** KL(the model || the model with these matrices rounded), nats a token. */
  async kl(
    types: ReadonlyMap<string, MixType>,
    importance: ReadonlyMap<string, Float32Array> | undefined,
  ): Promise<number> {
    const rounded: Storage[] = [];
    try {
      for (const [name, type] of types) {
        const storage = await this.#rounded(name, type, importance?.get(name));
        rounded.push(storage);
        this.#executable.bind(name, storage);
      }
      let [sum, rows] = [0, 0];
      const found = new Float32Array(1);
      for (const { batch, hidden } of this.#batches) {
        const wanted = rowsOf(batch);
        const { targets: _, ...given } = inputs(batch, wanted);
        await this.#executable.run(dims(batch, wanted), { ...given, teacher_hidden: hidden });
        this.#executable.read("kl", found);
        sum += found[0]!;
        rows += wanted.length;
        await new Promise((resolve) => setImmediate(resolve));
      }
      return sum / rows;
    } finally {
      for (const name of types.keys()) this.#executable.bind(name, this.#weights.get(name)!);
      for (const storage of rounded) storage.free();
    }
  }

  async #rounded(name: string, type: MixType, importance: Float32Array | undefined): Promise<Storage> {
    const source = parameterRows(this.#model).find((row) => row.name === name)!;
    const order = valueOrder(source, this.#model);
    const bytes = await roundedWhole(source, order, this.#model, this.#backend, { type, importance });
    return weightOfBytes(this.#backend, name, source.shape, { type, bytes });
  }

  free(): void {
    this.#executable.free();
    for (const storage of this.#weights.values()) storage.free();
  }
}
