// A model as a program: recorded for generation (KV pages) or for training (attention within the step).

import { PAGE } from "../engine/backend.ts";
import { cross_entropy } from "../engine/nn.ts";
import { type Program, record } from "../engine/program.ts";
import type { Recorder, Tensor } from "../engine/tensor.ts";
import type { Config } from "./config.ts";
import { type Batch, type Definition, type Module, plainModule } from "./definition.ts";
import { kvPlace, onesName, ropeTableName, rotaryDim } from "./layers.ts";
import { stateSize } from "./memory.ts";

/** Name of the state that recurrent layers keep. */
export const STATE = "state";
/** Name of the state that the table of adapters is bound to. */
export const ADAPTERS = "adapters";

/**
 * Declares the inputs of a step over sequences of up to `ctx` positions; with `paged`, the KV pools too, and for recurrent
 * layers `stateRows` rows of state.
 */
export function declareBatch(g: Recorder, config: Config, ctx: number, paged: boolean, stateRows = 0): Batch {
  const batch: Batch = {
    tokens: g.input("tokens", "i32", ["T"]),
    positions: g.input("positions", "i32", ["T"]),
    segments: g.input("segments", "i32", ["S", 4]),
    rows: g.input("rows", "i32", ["R"]),
    rope_table: (i) => {
      const name = ropeTableName(config, i);
      return name === undefined ? undefined : g.param(name, [ctx, rotaryDim(config, i)]);
    },
    ones: (n) => g.param(onesName(n), [n]),
    kept: new Map(),
  };
  if (!paged)
    return config.type_vocab_size === undefined
      ? batch
      : { ...batch, token_types: g.input("token_types", "i32", ["T"]) };
  const pages = g.input("pages", "i32", ["S", pagesFor(ctx)]);
  const kv = (i: number) => g.state(kvPlace(config, i).pool.name, [0]);
  const cache = { kv, pages };
  const size = stateSize(config);
  if (size === 0) return { ...batch, cache };
  const recurrent = { state: g.state(STATE, [stateRows, size]), slots: g.input("slots", "i32", ["S", 2]) };
  return { ...batch, cache, recurrent };
}

/** KV pages that `tokens` positions take. */
export function pagesFor(tokens: number): number {
  return Math.ceil(tokens / PAGE);
}

/** embed, every block, head: the whole forward pass, logits [R, vocab_size]. A checkpoint stands after each part. */
export function forward(definition: Definition, m: Module, batch: Batch): Tensor {
  let x = definition.embed(m, batch);
  x.recorder.checkpoint(x);
  for (let i = 0; i < m.config.num_hidden_layers; i++) {
    x = definition.block(m, i, x, batch);
    x.recorder.checkpoint(x);
  }
  return definition.head(m, x, batch);
}

/** The program of an encoder's step: inputs as those of training; output `hidden` [R, hidden_size]. */
export function recordEncoder(definition: Definition, config: Config, ctx: number): Program {
  return record((g) => {
    const m = plainModule(g, definition, config);
    return { hidden: forward(definition, m, declareBatch(g, config, ctx, false)) };
  });
}

/**
 * The program of a generation step. Inputs tokens, positions, segments, pages [S, ceil(ctx / 64)], rows; params under
 * their Hugging Face names and those of `modelTables`; states of `kvPools` and `adapters`; output `logits` [R, vocab_size]. For types
 * with recurrent layers also input slots [S, 2] and state `state` [stateRows, columns].
 */
export function recordGeneration(
  definition: Definition,
  config: Config,
  ctx: number,
  stateRows = 0,
): Program {
  return record((g) => {
    const batch = declareBatch(g, config, ctx, true, stateRows);
    const m = plainModule(g, definition, config, { table: g.state(ADAPTERS, [0]), ...batch });
    return { logits: forward(definition, m, batch) };
  });
}

/**
 * The program of a scoring step: as a generation step, with one more input `targets` i32 [R], -1 for none, and one more
 * output `loss` [R, 1] = -log softmax(logits)[target], in nats.
 */
export function recordScoring(definition: Definition, config: Config, ctx: number, stateRows = 0): Program {
  return record((g) => {
    const batch = declareBatch(g, config, ctx, true, stateRows);
    const m = plainModule(g, definition, config, { table: g.state(ADAPTERS, [0]), ...batch });
    const logits = forward(definition, m, batch);
    return { logits, loss: cross_entropy(logits, g.input("targets", "i32", ["R"])) };
  });
}
