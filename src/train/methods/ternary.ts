// Ternary training (BitNet b1.58): every linear but the output head multiplies d · {-1, 0, 1} with activations rounded to
// int8; what is trained are full weights behind them, whose gradient is that of the rounded ones. Embeddings, norms, biases
// and the head are trained as they are.

import type { Backend, Storage } from "../../engine/backend.ts";
import { accumulate, add, clear_state, matmul_nt, round_activations, ternarize } from "../../engine/nn.ts";
import type { Recorder, Tensor } from "../../engine/tensor.ts";
import { HEAD, linearTargets, type OpenedModel, plainModule, writeModel } from "../../models/index.ts";
import { recordDerived } from "../programs.ts";
import { freeTrainable, type MethodTrainable, type Trainable, type TrainedParameter } from "../trainable.ts";
import { fullTrainable, trainedRows } from "./full.ts";

/** Columns that share a scale where they divide a row: those of a block of tq2_0 and tq1_0. Else all of a matrix does. */
const GROUP = 256;
/** Columns that share a scale of activations. */
const ACTIVATIONS = 32;

/** Name of the state that holds the ternary values of a weight. */
const ternary = (weight: string): string => `ternary:${weight}`;

/** Every parameter of a model, its linears ternary. It is saved with the values that they have in the forward pass. */
export async function ternaryTrainable(
  model: OpenedModel,
  backend: Backend,
  options: { signal?: AbortSignal } = {},
): Promise<MethodTrainable> {
  const full = await fullTrainable(model, backend, options);
  const trainable = withTernary(full, backend);
  return {
    ...trainable,
    count: full.count,
    async save(path, read, { signal } = {}) {
      const values = await ternaryReader(trainable, backend, read);
      await writeModel(model, path, { overwrite: true, ...(signal && { signal }) }, async (rows) => ({
        config: model.config,
        parameters: rows.map((row) => ({
          source: trainable.trained.has(row.name) ? trainedRows(row, values) : row,
          natural: row.type,
        })),
      }));
    },
  };
}

/** The same with ternary linears. On an error, what `full` holds is freed. */
export function withTernary(full: Trainable, backend: Backend): Trainable {
  const { definition, config } = full;
  const trained = new Map<string, TrainedParameter>(full.trained);
  const storages = new Map<string, Storage>(full.storages);
  const shapes = new Map<string, readonly [number, number]>();
  try {
    for (const [path, { weight, N, K }] of linearTargets(definition, config)) {
      if (path === HEAD || shapes.has(weight)) continue;
      shapes.set(weight, [N, K]);
      trained.set(weight, { ...trained.get(weight)!, stand_in: ternary(weight) });
      storages.set(ternary(weight), backend.dense("f32", [N, K]));
    }
  } catch (error) {
    freeTrainable({ storages });
    throw error;
  }
  return {
    ...full,
    trained,
    storages,
    module(g) {
      const plain = plainModule(g, definition, config);
      const rounded = new Map<Tensor, Tensor>(); // q, k and v share their input
      const round = (x: Tensor): Tensor => {
        if ((x.shape.at(-1) as number) % ACTIVATIONS !== 0) return x;
        const known = rounded.get(x);
        if (known) return known;
        const y = round_activations(x);
        rounded.set(x, y);
        return y;
      };
      return {
        ...plain,
        linear(path, x) {
          const weight = `${path}.weight`;
          const shape = shapes.get(weight);
          if (!shape) return plain.linear(path, x);
          const y = matmul_nt(round(x), g.param(ternary(weight), shape), { int8: false });
          return trained.has(`${path}.bias`) ? add(y, plain.param(`${path}.bias`)) : y;
        },
      };
    },
    derive(g: Recorder) {
      for (const [weight, shape] of shapes) {
        const state = g.state(ternary(weight), shape);
        clear_state(state);
        accumulate(state, ternarize(g.param(weight, shape), shape[1] % GROUP === 0 ? GROUP : 0));
      }
    },
  };
}

/** Reads parameters of `withTernary` as the forward pass has them: matrices of linears as their ternary values. */
export async function ternaryReader(
  trainable: Trainable,
  backend: Backend,
  read: (name: string) => Float32Array,
): Promise<(name: string) => Float32Array> {
  const program = recordDerived(trainable)!;
  const executable = backend.compile(program, { T: 0, S: 0, R: 0 });
  try {
    for (const { name } of [...program.params, ...program.states])
      executable.bind(name!, trainable.storages.get(name!)!);
    await executable.run({ T: 0, S: 0, R: 0 }, {});
  } finally {
    executable.free();
  }
  return (name) => {
    const storage = trainable.storages.get(ternary(name));
    if (!storage) return read(name);
    const values = new Float32Array(storage.bytes / 4);
    backend.read(storage, values);
    return values;
  };
}
