// The first weights of a model made from nothing, as GPT-2 and Llama begin.

import type { Config } from "../models/index.ts";
import { Random, STREAM } from "./random.ts";

/** What is added to the residual stream: scaled down, so that its size does not grow with the layers. */
const RESIDUAL = /\.(o_proj|down_proj|c_proj)\.weight$/;
const DEFAULT_DEVIATION = 0.02;

/**
 * Values of one parameter: matrices normal with the deviation (less by √(2 layers) where they feed the residual stream),
 * weights of norms 1, biases 0. Each parameter has its own random stream.
 */
export function initialValues(
  config: Config,
  seed: number,
  deviation = DEFAULT_DEVIATION,
): (name: string, shape: readonly number[]) => Float32Array {
  let index = 0;
  return (name, shape) => initialParameter(config, seed, index++, name, shape, deviation);
}

/** Values of the parameter that is at `index` in the definition's order: see `initialValues`. */
export function initialParameter(
  config: Config,
  seed: number,
  index: number,
  name: string,
  shape: readonly number[],
  deviation = DEFAULT_DEVIATION,
): Float32Array {
  const random = new Random(seed, STREAM.weights, index);
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  if (shape.length === 1) return values.fill(name.endsWith(".bias") ? 0 : 1);
  const scale = deviation / (RESIDUAL.test(name) ? Math.sqrt(2 * config.num_hidden_layers) : 1);
  return values.map(() => scale * random.normal());
}

/** A model by its measures, where there is no config.json. */
export interface ModelShape {
  /** "llama" (the default), or any other model type whose config these fields complete. */
  readonly model_type?: string;
  readonly layers: number;
  readonly heads: number;
  /** Default: as many as heads. */
  readonly kv_heads?: number;
  readonly width: number;
  /** Longest sequence, in tokens. */
  readonly ctx: number;
}

/** The fields of a config.json for a shape. The inner width of llama's MLP is 8/3 of the width, in steps of 32. */
export function configOfShape(shape: ModelShape): Record<string, unknown> {
  const { model_type = "llama", layers, heads, kv_heads = heads, width, ctx } = shape;
  if (model_type === "gpt2")
    return { model_type, n_layer: layers, n_head: heads, n_embd: width, n_positions: ctx };
  return {
    model_type,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kv_heads,
    hidden_size: width,
    intermediate_size: Math.ceil((8 * width) / 3 / 32) * 32,
    max_position_embeddings: ctx,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: "silu",
    tie_word_embeddings: true,
  };
}
