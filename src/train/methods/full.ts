// Full training: every parameter of a model is trained, in f32.

import type { Backend, Storage } from "../../engine/backend.ts";
import {
  type Config,
  checkTensors,
  type Definition,
  type OpenedModel,
  parameterValues,
  plainModule,
  type RowSource,
  writeModel,
} from "../../models/index.ts";
import { count, freeTrainable, type MethodTrainable, type Trainable } from "../trainable.ts";

/**
 * Every parameter of a model, from its files. It is saved in the types that these have.
 * @throws {TypeError} when a matrix is quantized: its codes cannot be trained
 */
export async function fullTrainable(
  model: OpenedModel,
  backend: Backend,
  { signal }: { signal?: AbortSignal } = {},
): Promise<MethodTrainable> {
  checkTensors(model);
  for (const name of model.definition.params(model.config).keys()) {
    const { type } = model.tensors.get(name)!;
    if (type !== "f32" && type !== "f16" && type !== "bf16")
      throw new TypeError(
        `Cannot train all of ${JSON.stringify(model.name)}: tensor ${JSON.stringify(name)} is ${type}, wanted f32, f16 or bf16; an adapter over quantized weights is trained by the method "qlora"`,
      );
  }
  const trainable = await loadFull(model.definition, model.config, backend, async (name) => {
    signal?.throwIfAborted();
    return parameterValues(model, name);
  });
  const elements = [...trainable.trained.values()].reduce((sum, { shape }) => sum + count(shape), 0);
  return {
    ...trainable,
    count: { trained: elements, model: elements },
    async save(path, read, { signal } = {}) {
      await writeModel(model, path, { overwrite: true, ...(signal && { signal }) }, async (rows) => ({
        config: model.config,
        parameters: rows.map((row) => ({
          source: trainable.trained.has(row.name) ? trainedRows(row, read) : row,
          natural: row.type,
        })),
      }));
    },
  };
}

/** A trained parameter as it is written. */
export function trainedRows(
  { name, shape }: Pick<RowSource, "name" | "shape">,
  read: (name: string) => Float32Array,
): RowSource {
  const cols = shape.length > 1 ? shape.at(-1)! : 1;
  let values: Float32Array | undefined;
  return {
    name,
    shape,
    type: "f32",
    order: "hf",
    async read(first, rows) {
      values ??= read(name);
      const part = values.slice(first * cols, (first + rows) * cols);
      if ((first + rows) * cols === values.length) values = undefined; // read in order: the next is another parameter
      return new Uint8Array(part.buffer);
    },
  };
}

/** Every parameter of a model, from values that `initial` gives by name, row-major. */
export async function loadFull(
  definition: Definition,
  config: Config,
  backend: Backend,
  initial: (name: string, shape: readonly number[]) => Float32Array | Promise<Float32Array>,
): Promise<Trainable> {
  const params = definition.params(config);
  const trained = new Map(
    [...params].flatMap(([name, shape]) => (definition.constant?.(name) ? [] : [[name, { shape }] as const])),
  );
  const storages = new Map<string, Storage>();
  try {
    for (const [name, shape] of params)
      storages.set(name, backend.dense("f32", shape, await initial(name, shape)));
  } catch (error) {
    freeTrainable({ storages });
    throw error;
  }
  return { definition, config, trained, storages, module: (g) => plainModule(g, definition, config) };
}
