// What a method trains: some parameters, the frozen weights beside them, and how a model is recorded with both.

import type { Storage } from "../engine/backend.ts";
import type { Recorder, Tensor } from "../engine/tensor.ts";
import type { Config, Definition, Module } from "../models/index.ts";

/** A trained parameter: dense, f32. */
export interface TrainedParameter {
  readonly shape: readonly number[];
  /** Its learning rate beside that of the step. Default 1. */
  readonly lr_ratio?: number;
  /**
   * The param that `module` has in its place, of the same shape, which `derive` writes: its gradient counts as this one's
   * (straight through).
   */
  readonly stand_in?: string;
}

export interface Trainable {
  readonly definition: Definition;
  readonly config: Config;
  /** By name, in the order in which their gradients are summed up and saved. */
  readonly trained: ReadonlyMap<string, TrainedParameter>;
  /** Values of every param and state that `module` and `derive` name, trained or frozen. The learner frees them. */
  readonly storages: ReadonlyMap<string, Storage>;
  /**
   * The model's parameters as a program sees them: trained ones are params under their names.
   * @param learning with dropout, if there is one: by the input of `maskSeed`
   */
  module(g: Recorder, learning?: boolean): Module;
  /** With dropout: the seed of its masks. */
  readonly dropout_seed?: number;
  /**
   * Writes states that follow from the trained parameters and that `module` takes as params, so that no gradient goes
   * through them. Recorded into a program of its own, which runs after every change of the parameters.
   */
  readonly derive?: (g: Recorder) => void;
}

/** Input i32 [1]: what the masks of dropout follow from, another in each micro-batch. */
export function maskSeed(g: Recorder): Tensor {
  return g.input("mask_seed", "i32", [1]);
}

/** A trainable that a method made of an opened model. */
export interface MethodTrainable extends Trainable {
  /** Elements that are trained, and elements of the model without them. */
  readonly count: { readonly trained: number; readonly model: number };
  /** The model as it was, for adapters: what preference tuning compares with. */
  readonly reference?: (g: Recorder) => Module;
  /**
   * Writes what was trained: a model folder or GGUF file, or an adapter as a PEFT folder or GGUF file.
   * @param read the values of a trained parameter, as a learner gives them
   */
  save(path: string, read: (name: string) => Float32Array, options?: { signal?: AbortSignal }): Promise<void>;
}

/** Elements of a shape. */
export function count(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Bytes of the weights, trained and frozen. */
export function weightBytes({ storages }: Pick<Trainable, "storages">): number {
  return [...storages.values()].reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Frees what a trainable holds, when no learner has come of it. */
export function freeTrainable({ storages }: Pick<Trainable, "storages">): void {
  for (const storage of storages.values()) storage.free();
}
