// Checkpoints: everything that a run needs to go on as if nothing had happened. One safetensors file each, so that it
// is there whole or not at all: trained weights, their moments (`m:name`, `v:name`), and the rest as JSON in the header.
//
//   <folder>/step-000120.safetensors   the last one
//   <folder>/best-000080.safetensors   the weights with the lowest evaluation loss

import { createHash } from "node:crypto";
import { mkdir, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { openFile, readSafetensors, readTensorValues, writeSafetensors } from "../formats/index.ts";
import { fail } from "../formats/source.ts";
import type { Learner } from "./types.ts";

/** What is remembered beside tensors. */
export interface RunState {
  /** Updates done. */
  readonly step: number;
  /** Nothing is left to do: all steps are done, or patience ended. */
  readonly finished: boolean;
  /** Evaluation before the first step. */
  readonly first_eval?: number;
  /** Lowest evaluation loss so far. */
  readonly best?: { readonly step: number; readonly loss: number };
  /** Evaluations since then. */
  readonly waited: number;
  /** Bytes of metrics.jsonl that belong to these steps. */
  readonly metrics_bytes: number;
  readonly tokens: number;
  readonly seconds: number;
  /** What the run was started with: a resumed one must have the same. */
  readonly settings: Settings;
}

/** Plain data. */
export interface Settings {
  readonly [name: string]: unknown;
}

const FORMAT = "pith training checkpoint 1";
type Kind = "m" | "v" | undefined;
const KINDS: readonly Kind[] = [undefined, "m", "v"];
const tensorName = (name: string, kind: Kind) => (kind ? `${kind}:${name}` : name);
const stepFile = (step: number) => `step-${String(step).padStart(6, "0")}.safetensors`;
const bestFile = (step: number) => `best-${String(step).padStart(6, "0")}.safetensors`;

/** Where a run's checkpoints are. */
export const checkpointFolder = (folder: string) => join(folder, "checkpoints");

/**
 * Writes the checkpoint of a step, and only then removes the older ones and what killed runs left behind.
 * @throws {Error} when the disk refuses; then the one before is still there.
 * @throws {RangeError} when a value is not finite: such a state is not worth keeping.
 */
export async function saveCheckpoint(folder: string, learner: Learner, state: RunState): Promise<string> {
  const file = join(folder, stepFile(state.step));
  await writeState(file, learner, KINDS, JSON.stringify(state));
  const keep = [stepFile(state.step), ...(state.best ? [bestFile(state.best.step)] : [])];
  for (const name of await readdir(folder))
    if (OURS.test(name) && !keep.includes(name)) await unlink(join(folder, name)).catch(() => {});
  return file;
}

/** Checkpoints, and temporary files of writes that were killed. */
const OURS = /^\.?(step|best)-\d{6,}\.safetensors(\.[0-9a-f]+\.tmp)?$/;

/** Writes the weights alone. They are removed when a checkpoint knows of better ones. Errors as `saveCheckpoint`. */
export async function saveBest(folder: string, learner: Learner, step: number): Promise<void> {
  await writeState(join(folder, bestFile(step)), learner, [undefined], JSON.stringify({ step }));
}

async function writeState(
  file: string,
  learner: Learner,
  kinds: readonly Kind[],
  state: string,
): Promise<void> {
  await mkdir(join(file, ".."), { recursive: true }).catch((cause) => fail("write", file, cause));
  const hash = createHash("sha256").update(state);
  const tensors = [...learner.trained].flatMap(([name, shape]) =>
    kinds.map((kind) => {
      const bytes = () => {
        const values = learner.read(name, kind);
        return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      };
      hash.update(checked(file, tensorName(name, kind), bytes()));
      return { name: tensorName(name, kind), type: "f32" as const, shape, data: async () => bytes() };
    }),
  );
  const metadata = new Map([
    ["format", FORMAT],
    ["steps", String(learner.steps)],
    ["state", state],
    ["sha256", hash.digest("hex")],
  ]);
  await writeSafetensors(file, tensors, { metadata });
}

/** @throws {RangeError} when a number is not finite: all bits of its exponent are ones. */
function checked(file: string, name: string, bytes: Uint8Array): Uint8Array {
  const bits = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  for (let i = 0; i < bits.length; i++)
    if ((bits[i]! & 0x7f800000) === 0x7f800000)
      throw new RangeError(
        `Cannot write ${JSON.stringify(file)}: element ${i} of ${JSON.stringify(name)} is not finite, wanted numbers that training can go on with`,
      );
  return bytes;
}

/** The step of the last checkpoint in a folder, if there is one. */
export async function lastCheckpoint(folder: string): Promise<number | undefined> {
  const names = await readdir(folder).catch(() => []);
  const steps = names.flatMap((name) => /^step-(\d{6,})\.safetensors$/.exec(name)?.[1] ?? []);
  return steps.length > 0 ? Math.max(...steps.map(Number)) : undefined;
}

/** The settings that the run in a folder was started with; undefined where there is no checkpoint. */
export async function startedWith(folder: string): Promise<Settings | undefined> {
  const step = await lastCheckpoint(checkpointFolder(folder));
  if (step === undefined) return undefined;
  const file = join(checkpointFolder(folder), stepFile(step));
  const source = await openFile(file);
  try {
    return parseJson(file, (await readSafetensors(source)).metadata.get("state") ?? "").settings;
  } finally {
    await source.close();
  }
}

/**
 * Sets a learner to the checkpoint of a step.
 * @param settings what the run is to go on with
 * @returns what was remembered
 * @throws {Error} naming the first setting that differs, or when the file is damaged or of other parameters; then the
 * learner is as it was.
 */
export async function resume(
  folder: string,
  step: number,
  learner: Learner,
  settings: Settings,
): Promise<RunState> {
  const { state, apply } = await readState(join(folder, stepFile(step)), learner, KINDS, (state) => {
    const difference = firstDifference(state.settings, JSON.parse(JSON.stringify(settings)));
    if (difference) throw new Error(`Cannot resume ${JSON.stringify(join(folder, ".."))}: ${difference}`);
  });
  apply();
  return state;
}

/** Sets a learner's weights to the best ones. Errors as `resume`. */
export async function restoreBest(folder: string, learner: Learner, step: number): Promise<void> {
  const { steps } = learner;
  (await readState(join(folder, bestFile(step)), learner, [undefined])).apply();
  learner.steps = steps;
}

async function readState(
  file: string,
  learner: Learner,
  kinds: readonly Kind[],
  check: (state: RunState) => void = () => {},
): Promise<{ state: RunState; apply(): void }> {
  const source = await openFile(file);
  try {
    const { tensors, metadata } = await readSafetensors(source);
    const wrong = (found: string, wanted: string): never => {
      throw new Error(`Cannot resume from ${JSON.stringify(file)}: it has ${found}, wanted ${wanted}`);
    };
    const format = metadata.get("format");
    if (format !== FORMAT) wrong(`format ${JSON.stringify(format)}`, JSON.stringify(FORMAT));
    const text = metadata.get("state") ?? "";
    const state = parseJson(file, text);
    check(state);
    const hash = createHash("sha256").update(text);
    const values: [string, Kind, Float32Array][] = [];
    for (const [name, shape] of learner.trained)
      for (const kind of kinds) {
        const tensor = tensors.get(tensorName(name, kind));
        if (tensor?.type !== "f32" || tensor.shape.join() !== shape.join())
          return wrong(
            tensor
              ? `${JSON.stringify(tensor.name)} as ${tensor.type} [${tensor.shape}]`
              : `no ${JSON.stringify(tensorName(name, kind))}`,
            `f32 [${shape}], as the model to be trained`,
          );
        const data = await readTensorValues(tensor);
        hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
        values.push([name, kind, data]);
      }
    const count = learner.trained.size * kinds.length;
    if (tensors.size !== count) wrong(`${tensors.size} tensors`, String(count));
    const digest = hash.digest("hex");
    const stated = metadata.get("sha256");
    if (digest !== stated) wrong(`SHA-256 ${digest}`, `${stated}, as it was written: the file is damaged`);
    return {
      state,
      apply() {
        for (const [name, kind, data] of values) learner.write(name, data, kind);
        learner.steps = Number(metadata.get("steps"));
      },
    };
  } finally {
    await source.close();
  }
}

function parseJson(file: string, text: string): RunState {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(
      `Cannot resume from ${JSON.stringify(file)}: its state is no JSON, so the file is damaged`,
      { cause },
    );
  }
}

/** Where two plain values differ first, as "lr was 0.001 and is 0.002". */
export function firstDifference(was: unknown, is: unknown, name = ""): string | undefined {
  const both = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null;
  if (both(was) && both(is)) {
    for (const key of new Set([...Object.keys(was), ...Object.keys(is)])) {
      const found = firstDifference(was[key], is[key], name === "" ? key : `${name}.${key}`);
      if (found) return found;
    }
    return undefined;
  }
  if (was === is) return undefined;
  const shown = (value: unknown) => (value === undefined ? "not set" : JSON.stringify(value));
  return `${name} was ${shown(was)} when the run began, and is ${shown(is)} now; wanted the same`;
}
