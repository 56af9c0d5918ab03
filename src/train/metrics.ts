// metrics.jsonl: a line for every step, as it happens.

import { type FileHandle, open, readFile } from "node:fs/promises";
import { fail } from "../formats/source.ts";

/** A step as it is recorded. Step 0 is the model before training: it has an evaluation alone. */
export interface StepRecord {
  readonly step: number;
  readonly epoch?: number;
  /** Mean over the step's targets, in nats. */
  readonly loss?: number;
  readonly lr?: number;
  /** Before clipping. */
  readonly grad_norm?: number;
  /** Positions computed, and those of them with a target. */
  readonly tokens?: number;
  readonly targets?: number;
  /** Of pairs, see `StepResult`. */
  readonly margin?: number;
  readonly accuracy?: number;
  /** Of distillation, see `StepResult`. */
  readonly ce?: number;
  readonly kd?: number;
  readonly generated?: number;
  readonly generation_seconds?: number;
  /** Of the step, evaluation not counted. */
  readonly seconds?: number;
  readonly eval_loss?: number;
  /** Mean KL divergence from the teacher on the evaluation data. */
  readonly eval_kl?: number;
}

/** The file of a run, which only grows, and is cut back when a run resumes. */
export class MetricsFile {
  private readonly path: string;
  private readonly handle: FileHandle;
  private bytes: number;

  private constructor(path: string, handle: FileHandle, bytes: number) {
    this.path = path;
    this.handle = handle;
    this.bytes = bytes;
  }

  /**
   * @param bytes of the file that are kept: those a checkpoint has seen
   * @throws {Error} when the file is shorter
   */
  static async open(path: string, bytes: number): Promise<MetricsFile> {
    const handle = await open(path, bytes > 0 ? "r+" : "w").catch((cause) => fail("write", path, cause));
    const { size } = await handle.stat();
    if (size < bytes) {
      await handle.close();
      throw new Error(
        `Cannot resume: ${JSON.stringify(path)} has ${size} bytes, wanted at least ${bytes}, as the checkpoint left it`,
      );
    }
    if (size > bytes) await handle.truncate(bytes);
    return new MetricsFile(path, handle, bytes);
  }

  async append(record: StepRecord): Promise<void> {
    const line = new TextEncoder().encode(`${JSON.stringify(record)}\n`);
    for (let at = 0; at < line.length; ) {
      const rest = line.length - at;
      const { bytesWritten } = await this.handle
        .write(line, at, rest, this.bytes)
        .catch((cause) => fail("write", this.path, cause));
      at += bytesWritten;
      this.bytes += bytesWritten;
    }
  }

  /** Makes what was written last through a power cut. @returns the file's bytes */
  async sync(): Promise<number> {
    await this.handle.sync().catch((cause) => {
      // A device, which keeps nothing.
      if ((cause as NodeJS.ErrnoException).code !== "EINVAL") fail("write", this.path, cause);
    });
    return this.bytes;
  }

  /** What the file holds. */
  async records(): Promise<StepRecord[]> {
    return this.bytes > 0 ? readMetrics(this.path) : [];
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/** The records of a metrics.jsonl. */
export async function readMetrics(path: string): Promise<StepRecord[]> {
  const text = await readFile(path, "utf8").catch((cause) => fail("read", path, cause));
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line, i) => {
      try {
        return JSON.parse(line) as StepRecord;
      } catch (cause) {
        throw new SyntaxError(`Cannot read ${JSON.stringify(path)}: line ${i + 1} is no JSON`, { cause });
      }
    });
}
