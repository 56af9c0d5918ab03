// What a model type supplies, and what it is recorded with. One file per model type implements `Definition`;
// registry.ts lists them.

import { add, lora, matmul_nt } from "../engine/nn.ts";
import type { Recorder, Tensor } from "../engine/tensor.ts";
import type { GgufFile, GgufValue } from "../formats/index.ts";
import type { Config } from "./config.ts";
import type { Fields } from "./fields.ts";
import type { StoredForm } from "./stored.ts";

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
  /** f32 [ctx, components rotated] of layer i, see `ropeTable`; undefined where the layer does not rotate */
  readonly rope_table: (i: number) => Tensor | undefined;
  /** i32 [T], for models with `type_vocab_size` */
  readonly token_types?: Tensor;
  /** f32 [n], all 1 */
  readonly ones: (n: number) => Tensor;
  /** What a part of the recording leaves for later ones, by a name of its own. */
  readonly kept: Map<string, Tensor>;
  /** Generation: the pool of KV pages of layer i, and i32 [S, P] their numbers. Absent: attention within the step. */
  readonly cache?: { readonly kv: (i: number) => Tensor; readonly pages: Tensor };
  /**
   * Generation, for types with a `stateSize`: state [rows, stateSize], and i32 [S, 2] which rows a segment reads and
   * writes (see ops/recurrent.ts). Absent: it is zero before a segment's first token.
   */
  readonly recurrent?: { readonly state: Tensor; readonly slots: Tensor };
}

/** The parameters of a model being recorded. An adapter or a method replaces parts of one. */
export interface Module {
  readonly config: Config;
  /** A parameter by its name, e.g. `model.norm.weight`. */
  param(name: string): Tensor;
  /** x [rows, K] -> [rows, N]: `path.weight` [N, K], and `path.bias` [N] where the model has one. */
  linear(path: string, x: Tensor): Tensor;
}

/** How a model type stands in GGUF files. */
export interface GgufForm {
  /** `general.architecture`. */
  readonly architecture: string;
  /** Stems of Hugging Face's tensor names, `*` for the layer -> GGUF's. `.weight` and `.bias` stay. */
  readonly names: Readonly<Record<string, string>>;
  /** Norms are layer_norm: the key of their eps is another. */
  readonly layer_norm?: boolean;
  /** The divisors of `rope`'s frequencies are always a tensor. */
  readonly rope_freqs?: boolean;
  /** Rows of q and k lie with the halves of each head interleaved. */
  readonly interleaved?: boolean;
  /**
   * Which row and column of Hugging Face's a parameter's row and column in the file are, where heads lie in another order
   * there: `columns` of a matrix, or else its rows (elements of a vector).
   */
  moved?(name: string, config: Config): { readonly from: Int32Array; readonly columns: boolean } | undefined;
  /** How a parameter lies in the file, where not as it is computed with. */
  stored?(name: string): StoredForm | undefined;
  /** This type's metadata under the common keys, where they are its own or of another form. */
  commonFields?(own: Fields): Fields;
  /**
   * What this type's metadata has beyond the common keys. `fields` are named without the architecture.
   * @throws {TypeError | RangeError} naming the key, the value found and the value wanted.
   */
  readConfig?(fields: Fields, common: Config, file: GgufFile): Partial<Config>;
  /** The same, for writing: keys without the architecture. */
  writeConfig?(config: Config): Iterable<readonly [string, GgufValue]>;
}

/** A model type: its parameters under Hugging Face's names, and its forward pass in three parts. */
export interface Definition {
  /** As in config.json. */
  readonly model_type: string;
  /** The class that transformers opens it with. */
  readonly architecture: string;
  /** How GGUF writes it. */
  readonly gguf: GgufForm;
  /** Attention sees what follows too, and `head` gives hidden states [R, hidden_size]: for `embed`, not to generate. */
  readonly encoder?: boolean;
  /** Positions are embedded, nothing rotates: the config has no `rope`. */
  readonly learned_positions?: boolean;
  /** config.json's fields under the common names, and this type's defaults, where they are its own. */
  commonFields?(own: Fields): Fields;
  /** The parameter that a tensor of safetensors is, by its name there; absent: the same name. */
  parameterName?(name: string): string;
  /** How safetensors hold a parameter, where not as it is computed with. */
  stored?(name: string): StoredForm | undefined;
  /** Values of config.json's `hidden_act` that its blocks compute; the first is the default. Absent: silu alone. */
  readonly hidden_act?: readonly string[];
  /** f32 values that the layers which do not attend keep of a sequence, all together. Absent: all layers attend. */
  stateSize?(config: Config): number;
  /** `partial_rotary_factor` may be less than 1. */
  readonly partial_rotary?: boolean;
  /** Layers may differ in what they see: `readConfig` gives `layer_types`. */
  readonly sliding?: boolean;
  /**
   * Fields of config.json that this type has beyond the common ones, which are read already, or reads in another way.
   * @throws {TypeError | RangeError} naming the field, the value found and the value wanted.
   */
  readConfig?(fields: Fields, common: Config): Partial<Config>;
  /** The same, for writing: what replaces or follows the common ones. `undefined` leaves a field out. */
  writeConfig?(config: Config): Record<string, unknown>;
  /** Name -> shape of every parameter, in the order of use. */
  params(config: Config): Map<string, readonly number[]>;
  /** Parameters that training leaves as they are. Absent: none. */
  constant?(name: string): boolean;
  /** tokens -> x [T, hidden_size] */
  embed(m: Module, batch: Batch): Tensor;
  /** Layer i: x -> x [T, hidden_size] */
  block(m: Module, i: number, x: Tensor, batch: Batch): Tensor;
  /** x -> logits [R, vocab_size] of the wanted rows */
  head(m: Module, x: Tensor, batch: Batch): Tensor;
}

/** What adapters need of a step: the table of slots, and whose rows are whose. */
export interface BatchAdapters {
  /** State: slot -> changes of linears. */
  readonly table: Tensor;
  /** i32 [S, 4], column 3 the slot or -1 */
  readonly segments: Tensor;
  /** i32 [R] */
  readonly rows: Tensor;
}

/**
 * The plain parameters of a model: every one a `param` of the program, under its own name. With `adapters`, every linear
 * takes the changes of the table, as number of its order of use (see `linearTargets`).
 */
export function plainModule(
  g: Recorder,
  definition: Definition,
  config: Config,
  adapters?: BatchAdapters,
): Module {
  const indices = new Map<string, number>();
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
      let y = matmul_nt(x, param(`${path}.weight`));
      if (adapters) {
        const { table, segments, rows } = adapters;
        const linear = indices.get(path) ?? indices.size;
        indices.set(path, linear);
        y = lora(y, x, table, segments, { linear, ...(x.shape[0] === "R" && { rows }) });
      }
      return shapes.has(`${path}.bias`) ? add(y, param(`${path}.bias`)) : y;
    },
  };
}

/**
 * The model's own parameters, with activations never rounded; `change` makes of a product y = x Wᵀ what it becomes
 * before its bias.
 */
export function frozenModule(
  g: Recorder,
  definition: Definition,
  config: Config,
  change: (path: string, y: Tensor, x: Tensor) => Tensor = (_path, y) => y,
): Module {
  const { param } = plainModule(g, definition, config);
  const shapes = definition.params(config);
  return {
    config,
    param,
    linear(path, x) {
      const y = change(path, matmul_nt(x, param(`${path}.weight`), { int8: false }), x);
      return shapes.has(`${path}.bias`) ? add(y, param(`${path}.bias`)) : y;
    },
  };
}
