// What a calibrated run keeps beside its output until that is written: the finished parts of the model, and what to go on
// with. A part's blocks are written, then the state that follows it; so a run that was cut off goes on behind the last part.

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { WeightType } from "../engine/weights.ts";
import {
  openFile,
  readSafetensors,
  readTensor,
  readTensorValues,
  type TensorInfo,
  type TensorToWrite,
  writeFileAtomic,
  writeSafetensors,
} from "../formats/index.ts";
import { firstDifference } from "../train/index.ts";
import type { Blocks, MatrixError } from "./calibrated.ts";
import type { StreamState } from "./stream.ts";

/** Everything that the finished parts depend on. JSON-able. */
export type StoreSettings = Readonly<Record<string, unknown>>;

/** What is kept of a part beside the state. */
export interface StoredPart {
  readonly blocks: ReadonlyMap<string, Blocks>;
  readonly vectors: ReadonlyMap<string, Float32Array>;
  readonly errors: ReadonlyMap<string, MatrixError>;
  /** Of AWQ: matrices that no scale could be folded before. */
  readonly unfolded?: readonly string[];
}

const SETTINGS = "settings.json";
const STATE = "state.safetensors";
const partFile = (index: number) => `part-${String(index).padStart(5, "0")}.safetensors`;

export class Store {
  readonly folder: string;

  /**
   * @param resume whether to go on with what is there; else there must be nothing
   * @throws {Error} naming the first setting that differs from those that the run began with
   */
  static async open(folder: string, settings: StoreSettings, resume: boolean): Promise<Store> {
    const plain = JSON.parse(JSON.stringify(settings)) as unknown;
    const text = resume ? await readFile(join(folder, SETTINGS), "utf8").catch(() => undefined) : undefined;
    if (text !== undefined) {
      const difference = firstDifference(JSON.parse(text), plain);
      if (difference) throw new Error(`Cannot resume ${JSON.stringify(folder)}: ${difference}`);
    } else {
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder);
      await writeFileAtomic(join(folder, SETTINGS), `${JSON.stringify(plain)}\n`);
    }
    return new Store(folder);
  }

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Keeps a part, and then what follows it in place of what followed the one before. */
  async put(
    index: number,
    { blocks, vectors, errors, unfolded = [] }: StoredPart,
    state?: StreamState,
  ): Promise<void> {
    const tensors: TensorToWrite[] = [];
    const types: Record<string, WeightType> = {};
    for (const [name, { type, bytes }] of blocks) {
      types[name] = type;
      tensors.push({ name, type: "u8", shape: [bytes.length], data: async () => bytes });
    }
    for (const [name, values] of vectors) tensors.push(floats(name, values));
    const metadata = new Map([
      ["types", JSON.stringify(types)],
      ["errors", JSON.stringify([...errors])],
      ["unfolded", JSON.stringify(unfolded)],
    ]);
    await writeSafetensors(join(this.folder, partFile(index)), tensors, { metadata });
    if (!state) return;
    const kept = [...state.kept].flatMap(([name, list]) =>
      list.map((values, batch) => floats(`${batch}:${name}`, values)),
    );
    const hidden = state.hidden.map((values, batch) => floats(`${batch}`, values));
    await writeSafetensors(join(this.folder, STATE), [...hidden, ...kept], {
      metadata: new Map([["next", String(state.next)]]),
    });
  }

  /** What to go on with; undefined where no part is finished. */
  async state(): Promise<StreamState | undefined> {
    const source = await openFile(join(this.folder, STATE)).catch(() => undefined);
    if (!source) return undefined;
    try {
      const { tensors, metadata } = await readSafetensors(source);
      const hidden: Float32Array[] = [];
      const kept = new Map<string, Float32Array[]>();
      for (const [key, tensor] of tensors) {
        const [, batch, name] = /^(\d+)(?::(.*))?$/.exec(key) ?? [];
        const list = name === undefined ? hidden : (kept.get(name) ?? []);
        list[Number(batch)] = await readTensorValues(tensor);
        if (name !== undefined) kept.set(name, list);
      }
      return { next: Number(metadata.get("next")), hidden, kept };
    } finally {
      await source.close();
    }
  }

  /** All parts, blocks still in their files; call `close` when they are read. */
  async finished(): Promise<Finished> {
    const names = (await readdir(this.folder)).filter((name) => /^part-\d+\.safetensors$/.test(name)).sort();
    const finished = new Finished();
    try {
      for (const name of names) await finished.add(join(this.folder, name));
      return finished;
    } catch (error) {
      await finished.close();
      throw error;
    }
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Blocks and vectors of finished parts, read when they are asked for. */
export class Finished {
  readonly errors = new Map<string, MatrixError>();
  readonly unfolded: string[] = [];
  readonly #tensors = new Map<string, TensorInfo>();
  readonly #types = new Map<string, WeightType>();
  readonly #close: (() => Promise<void>)[] = [];

  async add(path: string): Promise<void> {
    const source = await openFile(path);
    this.#close.push(() => source.close());
    const { tensors, metadata } = await readSafetensors(source);
    for (const [name, tensor] of tensors) this.#tensors.set(name, tensor);
    for (const [name, type] of Object.entries(JSON.parse(metadata.get("types") ?? "{}")))
      this.#types.set(name, type as WeightType);
    for (const [name, error] of JSON.parse(metadata.get("errors") ?? "[]")) this.errors.set(name, error);
    this.unfolded.push(...JSON.parse(metadata.get("unfolded") ?? "[]"));
  }

  /** The block type of a matrix, "f32" of a vector, or undefined for what did not change. */
  type(name: string): WeightType | undefined {
    return this.#tensors.has(name) ? (this.#types.get(name) ?? "f32") : undefined;
  }

  /** Bytes of a parameter, from byte `offset`. */
  read(name: string, offset: number, length: number): Promise<Uint8Array> {
    const tensor = this.#tensors.get(name)!;
    return tensor.source.read(tensor.offset + offset, length);
  }

  /** All bytes of a parameter. */
  whole(name: string): Promise<Uint8Array> {
    return readTensor(this.#tensors.get(name)!);
  }

  async close(): Promise<void> {
    for (const close of this.#close.splice(0)) await close();
  }
}

function floats(name: string, values: Float32Array): TensorToWrite {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { name, type: "f32", shape: [values.length], data: async () => bytes };
}
