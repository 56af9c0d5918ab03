// The file of samples that grows, and the state beside it: a run that was killed anywhere goes on after the last sample
// that the state knows of. Lines are made durable before the state names them; what it does not name is cut off.

import { constants } from "node:fs";
import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { fail } from "../formats/source.ts";
import { writeFileAtomic } from "../formats/write.ts";
import type { EndpointUsage } from "../remote/index.ts";
import type { Reason } from "./synthesize-answers.ts";

export interface SynthesizeState {
  readonly version: 1;
  /** What the samples depend on: another run with other settings does not go on with them. */
  readonly settings: { readonly [name: string]: unknown };
  /** Attempts that were decided, in their order, and what became of them. */
  readonly attempts: number;
  readonly accepted: number;
  readonly rejected: { readonly [reason in Reason]?: number };
  /** Of the file of samples. */
  readonly bytes: number;
  readonly usage: readonly EndpointUsage[];
  readonly seconds: number;
}

/** Where the state of a file lies. */
export const statePath = (out: string): string => `${out}.state.json`;

export class SampleFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  #bytes: number;

  private constructor(path: string, handle: FileHandle, bytes: number) {
    this.#path = path;
    this.#handle = handle;
    this.#bytes = bytes;
  }

  /**
   * Opens the file as the state left it; without a state there must be no file.
   * @throws {Error} when another run's file is there, or one with other settings
   */
  static async open(
    path: string,
    settings: SynthesizeState["settings"],
  ): Promise<{ file: SampleFile; state: SynthesizeState; lines: string[] }> {
    const state = await readState(path);
    const found = await stat(path).catch(() => undefined);
    const same = `use another file, or remove it and ${JSON.stringify(statePath(path))}`;
    if (!state && found)
      throw new Error(
        `Cannot write ${JSON.stringify(path)}: a file is there, wanted a new one, or one with its state beside it`,
      );
    if (state) {
      const other = differing(state.settings, settings);
      if (other !== undefined)
        throw new Error(
          `Cannot go on with ${JSON.stringify(path)}: it was begun with ${other} ${short(state.settings[other])}, now ${short(settings[other])}; ${same}`,
        );
      if ((found?.size ?? 0) < state.bytes)
        throw new Error(
          `Cannot go on with ${JSON.stringify(path)}: it has ${found?.size ?? 0} bytes, wanted at least ${state.bytes}, as it was left; ${same}`,
        );
    }
    // First, so that a file without a state is somebody else's.
    if (!state) await writeState(path, { ...NOTHING, settings });
    const flags = constants.O_RDWR | constants.O_CREAT;
    const handle = await open(path, flags, 0o644).catch((cause) => fail("write", path, cause));
    try {
      const bytes = state?.bytes ?? 0;
      await handle.truncate(bytes);
      const text = await readFile(path, "utf8");
      const lines = text.split("\n").slice(0, -1);
      if (state && lines.length !== state.accepted)
        throw new Error(
          `Cannot go on with ${JSON.stringify(path)}: it has ${lines.length} lines, wanted ${state.accepted}, as it was left; ${same}`,
        );
      return { file: new SampleFile(path, handle, bytes), state: state ?? { ...NOTHING, settings }, lines };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Makes lines durable, then the state that knows them. */
  async commit(lines: readonly object[], state: Omit<SynthesizeState, "bytes" | "version">): Promise<void> {
    if (lines.length > 0) {
      const { size } = await this.#handle.stat();
      if (size !== this.#bytes)
        throw new Error(
          `Cannot write ${JSON.stringify(this.#path)}: it has ${size} bytes, wanted ${this.#bytes}; is another process writing it?`,
        );
      const data = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
      for (let at = 0; at < data.length; ) {
        const { bytesWritten } = await this.#handle
          .write(data, at, data.length - at, this.#bytes + at)
          .catch((cause) => fail("write", this.#path, cause));
        at += bytesWritten;
      }
      await this.#handle.sync().catch((cause) => fail("write", this.#path, cause));
      this.#bytes += data.length;
    }
    await writeState(this.#path, { version: 1, ...state, bytes: this.#bytes });
  }

  /** Cuts off what a failed write may have left. */
  async close(): Promise<void> {
    await this.#handle.truncate(this.#bytes).catch(() => {});
    await this.#handle.close();
  }
}

const NOTHING = {
  version: 1,
  attempts: 0,
  accepted: 0,
  rejected: {},
  bytes: 0,
  usage: [],
  seconds: 0,
} as const;

/** Syncs the folder too, and with it the name of the file of samples. */
const writeState = (out: string, state: SynthesizeState): Promise<void> =>
  writeFileAtomic(statePath(out), `${JSON.stringify(state, null, 1)}\n`);

async function readState(out: string): Promise<SynthesizeState | undefined> {
  const path = statePath(out);
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined;
    return fail("read", path, cause);
  });
  if (text === undefined) return undefined;
  let state: Partial<SynthesizeState> | null;
  try {
    state = JSON.parse(text) as Partial<SynthesizeState> | null;
  } catch {
    state = null;
  }
  const counts = [state?.attempts, state?.accepted, state?.bytes];
  if (
    state?.version !== 1 ||
    !counts.every((n) => Number.isSafeInteger(n) && n! >= 0) ||
    typeof state.settings !== "object" ||
    typeof state.rejected !== "object" ||
    !Array.isArray(state.usage)
  )
    throw new SyntaxError(`Cannot read ${JSON.stringify(path)}: it is no state of pith synthesize`);
  return state as SynthesizeState;
}

function differing(a: SynthesizeState["settings"], b: SynthesizeState["settings"]): string | undefined {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].find((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
}

const short = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
};
