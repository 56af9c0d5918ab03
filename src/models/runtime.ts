// A model that can run: its generation program compiled on a backend with weights, rope table and KV pool bound.
// Knows ids, not text, and no sequences: which page belongs to whom is the scheduler's.

import {
  type Backend,
  type Dims,
  type Executable,
  type KvSpec,
  type KvType,
  type LinearChange,
  PAGE,
  type Storage,
} from "../engine/backend.ts";
import { fuse } from "../engine/fuse.ts";
import { availableMemory } from "../engine/machine.ts";
import type { Program } from "../engine/program.ts";
import { isWeightType } from "../engine/weights.ts";
import type { Config } from "./config.ts";
import { kvPools, modelTables } from "./layers.ts";
import { type LoadOptions, loadWeights } from "./load.ts";
import { checkFits, memoryNeeded, stateRows, stateSize } from "./memory.ts";
import { checkTensors, type OpenedModel, weightShapes } from "./open.ts";
import { ADAPTERS, pagesFor, recordGeneration, recordScoring, STATE } from "./programs.ts";
import { type LinearTarget, linearTargets } from "./targets.ts";

export interface RuntimeOptions extends LoadOptions {
  /** Longest sequence in tokens, up to what the model was trained for. Default: the lesser of that and 4096. */
  readonly ctx?: number;
  /** Type of the KV cache. Default "f16". */
  readonly kv?: KvType;
  /** Tokens that all sequences together may hold in the cache. Default: `ctx`. */
  readonly cacheTokens?: number;
  /** Largest step: tokens, segments, rows of logits. Default 512, 8, 8. */
  readonly maxima?: Partial<Dims>;
  /** Bytes that may be taken. Default: what the system and its cgroup have. */
  readonly availableMemory?: number;
}

export interface Runtime {
  readonly config: Config;
  readonly backend: Backend;
  readonly executable: Executable;
  readonly maxima: Dims;
  readonly ctx: number;
  readonly vocab_size: number;
  /** Pages of the KV pool, numbered from 0, of 64 tokens each. */
  readonly pages: number;
  /** Width P of the input `pages` [S, P]. */
  readonly pagesPerSequence: number;
  readonly kvType: KvType;
  /** The pages of each KV pool (`kvPools`), as `Backend.readKv` gives them. A page has the same number in all. */
  readonly kv: readonly KvAccess[];
  /** What recurrent layers keep of sequences; absent: all layers attend. */
  readonly states?: StateAccess;
  /** Bytes of weights, and of the KV pool with the recurrent state. */
  readonly bytes: { readonly weights: number; readonly kv: number };
  /** Slots of changes that sequences may run with, as many as a step has sequences. */
  readonly adapters: AdapterTable;
  /**
   * A program that scores, over the same weights, with a KV pool of its own of `pages` pages and a table of one adapter,
   * slot 0, which holds `changes` or nothing. Made at each call.
   */
  scoring(maxima: Dims, pages: number, changes?: ReadonlyMap<number, LinearChange>): Scoring;
  /** Frees what was loaded; the backend stays. More than once is no error. */
  close(): void;
}

/** What a session saves and loads. */
export interface KvAccess {
  readonly spec: KvSpec;
  read(page: number): Uint8Array;
  /** Not while a sequence uses the page. */
  write(page: number, data: Uint8Array): void;
}

/** Rows of the recurrent state: one holds what all layers keep of a sequence. */
export interface StateAccess {
  readonly rows: number;
  /** Values of a row. */
  readonly columns: number;
  read(row: number): Float32Array;
  /** Not while a sequence uses the row. */
  write(row: number, values: Float32Array): void;
}

/** The table of adapters: a slot holds what one adapter, or several together, change of the linears. */
export interface AdapterTable {
  readonly slots: number;
  readonly targets: ReadonlyMap<string, LinearTarget>;
  /** Fills a slot, or empties it. Not while a step that uses it is running. @throws {RangeError} on a wrong shape */
  set(slot: number, changes: ReadonlyMap<number, LinearChange> | undefined): void;
}

/** A compiled scoring program (see `recordScoring`). */
export interface Scoring {
  readonly executable: Executable;
  readonly maxima: Dims;
  readonly pages: number;
  /** Width P of the input `pages` [S, P]. */
  readonly pagesPerSequence: number;
  free(): void;
}

const DEFAULT_CTX = 4096;

/**
 * Loads a model for generation. Everything that can be refused is refused before a weight is read.
 * @throws {RangeError} on a `ctx` beyond the model's, or when the memory does not suffice.
 */
export async function createRuntime(
  model: OpenedModel,
  backend: Backend,
  options: RuntimeOptions = {},
): Promise<Runtime> {
  const { config, definition } = model;
  if (definition.encoder)
    throw new TypeError(
      `Cannot generate with ${JSON.stringify(model.name)}: ${config.model_type} is an encoder, wanted a decoder; embed makes vectors of texts with it`,
    );
  const longest = config.max_position_embeddings;
  const ctx = options.ctx ?? Math.min(longest, DEFAULT_CTX);
  if (!Number.isInteger(ctx) || ctx < 1 || ctx > longest)
    throw new RangeError(
      `Cannot load ${JSON.stringify(model.name)} with a context of ${ctx}: wanted a whole number from 1 to ${longest}, for which it was trained`,
    );
  const kvType = options.kv ?? "f16";
  const maxima = { T: 512, S: 8, R: 8, ...options.maxima };
  const cacheTokens = options.cacheTokens ?? ctx;
  checkTensors(model);
  const sizes = { ctx, kv: kvType, cacheTokens, T: maxima.T, R: maxima.R, S: maxima.S };
  const needed = memoryNeeded(config, weightShapes(model), sizes);
  checkFits(model.name, config, needed, sizes, options.availableMemory ?? availableMemory());

  const owned: Storage[] = [];
  let executable: Executable | undefined;
  const close = () => {
    executable?.free();
    for (const storage of owned.splice(0)) storage.free();
  };
  try {
    const weights = await loadWeights(model, backend, options);
    owned.push(...weights.values());
    const bound = new Map(weights);
    for (const [name, { shape, data }] of modelTables(config, ctx)) {
      const table = backend.dense("f32", shape, data);
      owned.push(table);
      bound.set(name, table);
    }
    const pages = pagesFor(cacheTokens);
    const pools = (pages: number, own: { push(storage: Storage): void }) =>
      kvPools(config).map(({ name, ...heads }) => {
        const spec: KvSpec = { ...heads, pages, type: kvType };
        const storage = backend.kv(spec);
        own.push(storage);
        return { name, spec, storage };
      });
    const kv = pools(pages, owned);
    const columns = stateSize(config);
    const rows = stateRows(config, maxima.S);
    const state = columns > 0 ? backend.dense("f32", [rows, columns]) : undefined;
    if (state) owned.push(state);
    const compile = (
      recorded: Program,
      maxima: Dims,
      kv: ReturnType<typeof pools>,
      state?: Storage,
    ): Executable => {
      const program = fuse(recorded);
      const executable = backend.compile(program, maxima);
      for (const { name } of program.params) executable.bind(name!, bound.get(name!)!);
      for (const { name, storage } of kv) executable.bind(name, storage);
      if (state) executable.bind(STATE, state);
      return executable;
    };
    const targets = linearTargets(definition, config);
    const linears = [...targets.values()].map(({ N, K, weight }) => {
      const { type } = model.tensors.get(weight)!;
      return { N, K, ...(isWeightType(type) && { type }) };
    });
    const table = backend.adapters(maxima.S, linears);
    owned.push(table);
    executable = compile(recordGeneration(definition, config, ctx, rows), maxima, kv, state);
    executable.bind(ADAPTERS, table);
    const pagesPerSequence = Math.ceil(ctx / PAGE);
    return {
      config,
      backend,
      executable,
      maxima,
      ctx,
      vocab_size: config.vocab_size,
      pages,
      pagesPerSequence,
      kvType,
      kv: kv.map(({ spec, storage }) => ({
        spec,
        read: (page) => backend.readKv(storage, page),
        write: (page, data) => backend.writeKv(storage, page, data),
      })),
      ...(state && {
        states: {
          rows,
          columns,
          read(row) {
            const values = new Float32Array(columns);
            backend.read(state, values, row * columns);
            return values;
          },
          write: (row, values) => backend.write(state, values, row * columns),
        },
      }),
      bytes: {
        weights: [...weights.values()].reduce((sum, w) => sum + w.bytes, 0),
        kv: kv.reduce((sum, { storage }) => sum + storage.bytes, state?.bytes ?? 0),
      },
      adapters: {
        slots: maxima.S,
        targets,
        set: (slot, changes) => backend.setAdapter(table, slot, changes),
      },
      scoring(maxima, pages, changes) {
        const own: (Storage | Executable)[] = [];
        const free = () => {
          for (const thing of own.reverse()) thing.free();
        };
        try {
          const kv = pools(pages, own);
          const table = backend.adapters(1, linears);
          own.push(table);
          if (changes) backend.setAdapter(table, 0, changes);
          // Each sequence has a row of its own.
          const state = columns > 0 ? backend.dense("f32", [maxima.S, columns]) : undefined;
          if (state) own.push(state);
          const executable = compile(recordScoring(definition, config, ctx, maxima.S), maxima, kv, state);
          own.push(executable);
          executable.bind(ADAPTERS, table);
          return { executable, maxima, pages, pagesPerSequence, free };
        } catch (error) {
          free();
          throw error;
        }
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
