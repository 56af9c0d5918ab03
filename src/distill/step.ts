// A learner that has a teacher: of every row it learns the next token, and the teacher's distribution over all of them.

import type { Backend } from "../engine/backend.ts";
import type { Runner } from "../generate/engine.ts";
import {
  type AdamW,
  type ComputeOptions,
  dims,
  inputs,
  type Learner,
  rowsOf,
  type StepResult,
  type Trainable,
  type TrainBatch,
  TrainStep,
} from "../train/index.ts";
import { studentRunner } from "./on-policy.ts";
import { type Mix, recordDistillation, type Said } from "./programs.ts";
import { LocalTeacher } from "./teacher.ts";
import type { Teacher } from "./types.ts";

/** A teacher in this process is asked for whole distributions, any other for the `top_k` likeliest tokens. */
export interface Source {
  readonly teacher: LocalTeacher | Teacher;
  readonly top_k: number;
  /** Tokens that they are the likeliest of: the first ones of the student's. */
  readonly vocab_size: number;
}

/** In which form a source speaks. */
export const saidBy = ({ teacher, top_k, vocab_size }: Source): Said =>
  teacher instanceof LocalTeacher ? teacher : { top_k, vocab_size };

export interface DistillStepOptions extends ComputeOptions {
  /** Who is asked about the given text. */
  readonly source: Source;
  readonly mix: Mix;
  /** What the student writes in the place of given text, and what is learned of it. */
  readonly policy?: Policy;
}

/** Given text of which the student writes a part anew. */
export interface Policy {
  readonly source: Source;
  readonly mix: Mix;
  /** The batches of step i (from 0), of which some samples are the student's own; undefined where none are. */
  write(batches: readonly TrainBatch[], step: number, student: DistillStep): Promise<Writing | undefined>;
}

/** Batches of given text and of the student's own; how many tokens it wrote, in how long. */
export interface Writing {
  readonly given: readonly TrainBatch[];
  readonly own: readonly TrainBatch[];
  readonly tokens: number;
  readonly seconds: number;
}

interface Sums {
  ce: number;
  kd: number;
  /** Rows of given text, and all. */
  given: number;
  rows: number;
}

export class DistillStep extends TrainStep {
  private readonly options: DistillStepOptions;
  /** Names of storages that are the teacher's. */
  private readonly borrowed: string[] = [];

  constructor(
    backend: Backend,
    trainable: Trainable,
    size: Learner["size"],
    { source, mix, policy, ...compute }: DistillStepOptions,
  ) {
    super(backend, trainable, size, compute);
    this.options = { source, mix, ...(policy && { policy }), ...compute };
    for (const { teacher } of policy ? [source, policy.source] : [source]) {
      if (!(teacher instanceof LocalTeacher)) continue;
      teacher.resize(size);
      for (const [name, storage] of teacher.head) this.storages.set(name, storage);
      this.borrowed.push(...teacher.head.keys());
    }
  }

  /** The teacher's weights stay. */
  override close(): void {
    for (const name of this.borrowed) this.storages.delete(name);
    super.close();
  }

  /** Generates with the parameters as they are. */
  runner(): Promise<Runner> {
    const { backend, trainable } = this;
    return studentRunner({
      ...{ backend, trainable, ctx: this.size.ctx },
      keep: (name, storage) => this.storages.set(name, storage),
      ready: (record, maxima) => this.ready("generate", record, maxima),
    });
  }

  override async step(batches: readonly TrainBatch[], options: AdamW): Promise<StepResult> {
    const { source, mix, policy } = this.options;
    const sums: Sums = { ce: 0, kd: 0, given: 0, rows: 0 };
    const written = await policy?.write(batches, this.steps, this);
    const given = written?.given ?? batches;
    for (const [i, batch] of given.entries()) await this.learn("given", source, mix, batch, i, sums);
    let loss = mix.ce * sums.ce + mix.kd * sums.kd;
    if (policy && written) {
      const own: Sums = { ce: 0, kd: 0, given: 0, rows: 0 };
      for (const [i, batch] of written.own.entries())
        await this.learn("own", policy.source, policy.mix, batch, given.length + i, own);
      loss += policy.mix.kd * own.kd;
      sums.kd += own.kd;
      sums.rows += own.rows;
    }
    const { rows } = sums;
    if (rows === 0) throw new RangeError("Cannot train on a batch without targets: all are -1");
    const grad_norm = await this.applyGradients(loss / rows, 1 / rows, options);
    return {
      loss: loss / rows,
      grad_norm,
      tokens: rows,
      ...(sums.given > 0 && mix.ce !== 0 && { ce: sums.ce / sums.given }),
      ...(mix.kd !== 0 && { kd: sums.kd / rows }),
      ...(written && { generated: written.tokens, generation_seconds: written.seconds }),
    };
  }

  private async learn(
    name: "given" | "own",
    source: Source,
    mix: Mix,
    batch: TrainBatch,
    i: number,
    sums: Sums,
  ): Promise<void> {
    const rows = rowsOf(batch);
    if (rows.length === 0) return;
    const said = mix.kd === 0 ? {} : await ask(source, batch);
    const { ctx } = this.size;
    const grad = await this.ready(name, () =>
      recordDistillation(this.trainable, ctx, saidBy(source), mix, true, this.compute),
    );
    const given = inputs(batch, rows);
    await grad.run(dims(batch, rows), { ...used(given, mix), ...said, ...this.masks(i) });
    const sum = new Float32Array(1);
    for (const part of ["ce", "kd"] as const) {
      if (mix[part] === 0) continue;
      grad.read(part, sum);
      sums[part] += sum[0]!;
    }
    sums.rows += rows.length;
    if (name === "given") sums.given += rows.length;
  }

  /**
   * The cross-entropy, as of any learner, so that runs compare; and the KL divergence from the teacher: at temperature 1,
   * unless the teacher is a cache or an endpoint, whose temperature it then is.
   */
  override async evaluate(batch: TrainBatch): Promise<{ loss: number; tokens: number; kl: number }> {
    const { source, mix } = this.options;
    const rows = rowsOf(batch);
    if (rows.length === 0) throw new RangeError("Cannot evaluate a batch without targets: all are -1");
    const said = saidBy(source);
    const temperature = "top_k" in said ? mix.distance.temperature : 1;
    const distance = { loss: "forward_kl", beta: 0.5, temperature, scale_temperature: false } as const;
    const program = await this.ready("evaluate", () =>
      recordDistillation(
        this.trainable,
        this.size.ctx,
        said,
        { ce: 1, kd: 1, distance },
        false,
        this.compute,
      ),
    );
    const asked = await ask(source, batch);
    await program.run(dims(batch, rows), { ...inputs(batch, rows), ...asked });
    const [ce, kd] = [new Float32Array(1), new Float32Array(1)];
    program.read("ce", ce);
    program.read("kd", kd);
    return { loss: ce[0]! / rows.length, tokens: rows.length, kl: kd[0]! / rows.length };
  }
}

/** A program has an input for targets where it computes a cross-entropy. */
function used({ targets, ...rest }: Record<string, Int32Array>, { ce }: Mix): Record<string, Int32Array> {
  return ce === 0 ? rest : { ...rest, targets: targets! };
}

/** What the teacher says of the rows of a batch that have a target, as inputs of `recordDistillation`. */
async function ask(
  { teacher, top_k }: Source,
  batch: TrainBatch,
): Promise<Record<string, Int32Array | Float32Array>> {
  if (teacher instanceof LocalTeacher) return { teacher_hidden: await teacher.hidden(batch) };
  if (!batch.samples) throw new TypeError("Cannot ask a teacher about a batch that was not made of samples");
  const all = await teacher.score(batch.samples, top_k);
  const ids = new Int32Array(all.reduce((sum, rows) => sum + rows.ids.length, 0));
  const logp = new Float32Array(ids.length);
  let at = 0;
  for (const rows of all) {
    ids.set(rows.ids, at);
    logp.set(rows.logp, at);
    at += rows.ids.length;
  }
  return { ids, logp };
}
