// Full training: every parameter of a model is trained, in f32.

import type { Backend, Storage } from "../../engine/backend.ts";
import {
  type Config,
  checkTensors,
  type Definition,
  type OpenedModel,
  parameterValues,
  plainModule,
} from "../../models/index.ts";
import { freeTrainable, type Trainable } from "../trainable.ts";

/**
 * Every parameter of a model, from its files.
 * @throws {TypeError} when a matrix is quantized: its codes cannot be trained
 */
export async function fullTrainable(
  model: OpenedModel,
  backend: Backend,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Trainable> {
  checkTensors(model);
  for (const name of model.definition.params(model.config).keys()) {
    const { type } = model.tensors.get(name)!;
    if (type !== "f32" && type !== "f16" && type !== "bf16")
      throw new TypeError(
        `Cannot train all of ${JSON.stringify(model.name)}: tensor ${JSON.stringify(name)} is ${type}, wanted f32, f16 or bf16; an adapter over quantized weights is trained by the method "qlora"`,
      );
  }
  return loadFull(model.definition, model.config, backend, async (name) => {
    signal?.throwIfAborted();
    return parameterValues(model, name);
  });
}

/** Every parameter of a model, from values that `initial` gives by name, row-major. */
export async function loadFull(
  definition: Definition,
  config: Config,
  backend: Backend,
  initial: (name: string, shape: readonly number[]) => Float32Array | Promise<Float32Array>,
): Promise<Trainable> {
  const trained = new Map([...definition.params(config)].map(([name, shape]) => [name, { shape }]));
  const storages = new Map<string, Storage>();
  try {
    for (const [name, { shape }] of trained)
      storages.set(name, backend.dense("f32", shape, await initial(name, shape)));
  } catch (error) {
    freeTrainable({ storages });
    throw error;
  }
  return { definition, config, trained, storages, module: (g) => plainModule(g, definition, config) };
}
