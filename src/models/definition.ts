// What a model type supplies, and what it is recorded with. One file per model type implements `Definition`;
// registry.ts lists them.

import { add, matmul_nt } from "../engine/nn.ts";
import type { Recorder, Tensor } from "../engine/tensor.ts";
import type { Config } from "./config.ts";

/** The inputs of a step. T tokens of all sequences end to end, S segments, R rows whose logits are wanted. */
export interface Batch {
  /** i32 [T] */
  readonly tokens: Tensor;
  /** i32 [T], absolute, below the table's length */
  readonly positions: Tensor;
  /** i32 [S, 4]: start, length, past, adapter */
  readonly segments: Tensor;
  /** i32 [R]: rows of the step */
  readonly rows: Tensor;
  /** f32 [ctx, head_dim]: see `ropeTable` */
  readonly rope_table: Tensor;
  /** Generation: the pool of KV pages, and i32 [S, P] their numbers. Absent: attention within the step. */
  readonly cache?: { readonly kv: Tensor; readonly pages: Tensor };
}

/** The parameters of a model being recorded. An adapter or a method replaces parts of one. */
export interface Module {
  readonly config: Config;
  /** A parameter by its name, e.g. `model.norm.weight`. */
  param(name: string): Tensor;
  /** x [rows, K] -> [rows, N]: `path.weight` [N, K], and `path.bias` [N] where the model has one. */
  linear(path: string, x: Tensor): Tensor;
}

/** A model type: its parameters under Hugging Face's names, and its forward pass in three parts. */
export interface Definition {
  /** As in config.json. */
  readonly model_type: string;
  /** The class that transformers opens it with. */
  readonly architecture: string;
  /** Name -> shape of every parameter, in the order of use. */
  params(config: Config): Map<string, readonly number[]>;
  /** tokens -> x [T, hidden_size] */
  embed(m: Module, batch: Batch): Tensor;
  /** Layer i: x -> x [T, hidden_size] */
  block(m: Module, i: number, x: Tensor, batch: Batch): Tensor;
  /** x -> logits [R, vocab_size] of the wanted rows */
  head(m: Module, x: Tensor, batch: Batch): Tensor;
}

/** The plain parameters of a model: every one a `param` of the program, under its own name. */
export function plainModule(g: Recorder, definition: Definition, config: Config): Module {
  const shapes = definition.params(config);
  const param = (name: string): Tensor => {
    const shape = shapes.get(name);
    if (!shape)
      throw new RangeError(
        `Cannot use parameter ${JSON.stringify(name)}: ${config.model_type} has none of that name`,
      );
    return g.param(name, shape);
  };
  return {
    config,
    param,
    linear(path, x) {
      const y = matmul_nt(x, param(`${path}.weight`));
      return shapes.has(`${path}.bias`) ? add(y, param(`${path}.bias`)) : y;
    },
  };
}
