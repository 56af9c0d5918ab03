// The loop that runs steps while there is work: ids in, ids out, many sequences at once. Knows no text.

import { type Dims, type Executable, PAGE } from "../engine/backend.ts";
import { type SampleResult, type SampleRow, sampleError } from "../engine/sampler.ts";
import type { AdapterTable } from "../models/runtime.ts";
import { PagePool } from "./pages.ts";
import { Scheduler } from "./scheduler.ts";
import type { FinishReason, MaskWords, Sequence } from "./sequence.ts";
import { AdapterSlots } from "./slots.ts";
import { StateRows } from "./states.ts";
import { Step } from "./step.ts";

/** What the engine runs: a generation program, compiled and bound (the models layer's `Runtime`). */
export interface Runner {
  readonly executable: Executable;
  readonly maxima: Dims;
  readonly ctx: number;
  readonly vocab_size: number;
  readonly pages: number;
  readonly pagesPerSequence: number;
  /** Rows of the recurrent state; absent: all layers attend. */
  readonly states?: { readonly rows: number };
  /** Absent: sequences with adapters are refused. */
  readonly adapters?: AdapterTable;
}

/** Longest time without a turn of the event loop, in milliseconds, where a backend computes on this thread. */
const BREATH_MS = 8;

export class Engine {
  readonly scheduler: Scheduler;
  /** Tokens that a prompt and what follows it may have together. */
  readonly ctx: number;
  readonly vocab_size: number;
  readonly #executable: Executable;
  readonly #step: Step;
  readonly #slots: AdapterSlots | undefined;
  readonly #rows: SampleRow[] = [];
  #logits = new Float32Array(0);
  /** Ended by others while a step may be running: taken out before the next. */
  readonly #leaving: Sequence[] = [];
  /** Digests of adapters whose slots are to be emptied. */
  readonly #forgetting: string[] = [];
  #loop: Promise<void> | undefined;
  #closed = false;
  #lastBreath = 0;

  constructor(runner: Runner) {
    this.#executable = runner.executable;
    this.ctx = Math.min(runner.ctx, runner.pages * PAGE);
    this.vocab_size = runner.vocab_size;
    const { pages, states, maxima } = runner;
    this.scheduler = new Scheduler(new PagePool(pages, states && new StateRows(states.rows)), maxima);
    this.#slots = runner.adapters && new AdapterSlots(runner.adapters);
    this.#step = new Step(runner.maxima, runner.pagesPerSequence);
  }

  /**
   * Takes a sequence in; its sink hears of everything else.
   * @throws {RangeError} for an empty prompt, one beyond the context, or an id outside the vocabulary
   */
  add(sequence: Sequence): void {
    if (this.#closed) throw new Error("Cannot generate: the model is closed");
    this.#check(sequence);
    if (sequence.adapter && !this.#slots)
      throw new TypeError("Cannot generate with an adapter: wanted a table");
    if (sequence.sample && sequence.maxTokens <= 0) {
      sequence.state = "done";
      queueMicrotask(() => this.#finish(sequence, "length"));
      return;
    }
    this.scheduler.add(sequence);
    // What is asked for in the same turn shares the first step.
    this.#loop ??= Promise.resolve().then(() => this.#run());
  }

  #check(sequence: Sequence): void {
    const { length, tokens } = sequence;
    if (length === 0) throw new RangeError("Cannot generate: the prompt has 0 tokens, wanted at least 1");
    if (sequence.sample && sequence.maxTokens > 0 && length >= this.ctx)
      throw Object.assign(
        new RangeError(
          `Cannot generate: the prompt has ${length} tokens, but a context of ${this.ctx} has room for ${this.ctx - 1} and an answer`,
        ),
        { code: "context_length_exceeded" },
      );
    if (length > this.ctx)
      throw new RangeError(`Cannot compute logits of ${length} tokens: the context is ${this.ctx}`);
    for (let i = 0; i < length; i++)
      if (tokens[i]! < 0 || tokens[i]! >= this.vocab_size)
        throw new RangeError(
          `Cannot generate: token ${i} of the prompt is ${tokens[i]}, wanted 0 to ${this.vocab_size - 1}`,
        );
  }

  /** Ends a sequence at once; its pages are free before the next step. More than once is no error. */
  end(sequence: Sequence, reason: FinishReason = "abort", error?: unknown): void {
    if (sequence.ended) return;
    sequence.ended = true;
    this.#leaving.push(sequence);
    if (!this.#loop) this.#leave();
    sequence.sink.end(reason, error);
  }

  /** Ends all sequences with an error; resolves when no step is running any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#endAll(new Error("Cannot go on generating: the model was closed"));
    await this.#loop;
  }

  #endAll(error: unknown): void {
    const { running, waiting } = this.scheduler;
    for (const sequence of [...running, ...waiting]) this.end(sequence, "abort", error);
  }

  #leave(): void {
    for (const sequence of this.#leaving) this.scheduler.remove(sequence);
    this.#leaving.length = 0;
    for (const digest of this.#forgetting) this.#slots?.forget(digest);
    this.#forgetting.length = 0;
  }

  async #run(): Promise<void> {
    const { scheduler } = this;
    this.#lastBreath = performance.now();
    for (;;) {
      this.#leave();
      if (scheduler.plan() === 0) break;
      try {
        this.#seat();
        await this.#runStep();
      } catch (error) {
        for (const sequence of [...scheduler.step]) this.#finish(sequence, "abort", error);
      }
      if (performance.now() - this.#lastBreath > BREATH_MS) {
        await new Promise((resolve) => setImmediate(resolve));
        this.#lastBreath = performance.now();
      }
    }
    // Not later: a sequence added from now on must start a loop of its own.
    this.#loop = undefined;
  }

  /** Gives the step's sequences the slots of their adapters and sorts by them: rows of one adapter lie together. */
  #seat(): void {
    const { step } = this.scheduler;
    const used = step.filter(({ adapter }) => adapter !== undefined);
    if (used.length === 0) return;
    this.#slots!.begin(used.map(({ adapter }) => adapter!.key));
    for (const sequence of used) {
      sequence.slot = -1;
      try {
        sequence.slot = this.#slots!.slotOf(sequence.adapter!);
      } catch (error) {
        // It stays in this step, of which it gets nothing.
        this.end(sequence, "abort", error);
      }
    }
    step.sort((a, b) => a.slot - b.slot);
  }

  /** Empties the slots of an adapter that nobody will run with any more: before the next step, if one is running. */
  forget(digest: string): void {
    if (this.#closed) return;
    this.#forgetting.push(digest);
    if (!this.#loop) this.#leave();
  }

  async #runStep(): Promise<void> {
    const executable = this.#executable;
    const step = this.#step;
    step.fill(this.scheduler.step);
    const rows = this.#rows;
    rows.length = 0;
    let masked = false;
    for (const sequence of step.sampled) {
      const row = sequence.sample!;
      row.counter = sequence.generated;
      if (sequence.mask) masked = true;
      rows.push(row);
    }
    let results: SampleResult[];
    if (masked) {
      const running = executable.run(step.dims, step.inputs);
      const made = step.sampled.map((sequence) => sequence.mask && this.#askMask(sequence));
      await running;
      for (const set of made) {
        const promised = set?.();
        if (promised) await promised;
      }
      results = executable.sample(rows);
    } else {
      results = await executable.run(step.dims, step.inputs, rows);
    }
    const scoredFrom = step.scored.map((sequence) => sequence.past);
    this.scheduler.advance();
    for (let i = 0; i < step.sampled.length; i++) this.#deliver(step.sampled[i]!, results[i]!);
    let row = step.sampled.length;
    step.scored.forEach((sequence, i) => {
      this.#deliverLogits(sequence, row, scoredFrom[i]!);
      row += sequence.count;
    });
  }

  /**
   * Asks for a mask while the step runs. What it gives sets it when the step has run. What goes wrong concerns its own
   * sequence alone: neither throws.
   */
  #askMask(sequence: Sequence): (() => void | Promise<void>) | undefined {
    const row = sequence.sample!;
    row.mask = undefined;
    if (sequence.ended) return undefined;
    const fail = (error: unknown) => this.end(sequence, "abort", error);
    const set = (mask: MaskWords) => {
      const wanted = Math.ceil(this.vocab_size / 32);
      if (mask && (!(mask instanceof Uint32Array) || mask.length < wanted))
        throw new TypeError(
          `Cannot mask: the mask is ${mask instanceof Uint32Array ? `${mask.length} words` : typeof mask}, wanted a Uint32Array of ${wanted}`,
        );
      row.mask = mask;
    };
    const guarded = <T>(action: () => T): T | undefined => {
      try {
        return action();
      } catch (error) {
        fail(error);
        return undefined;
      }
    };
    const take = (mask: MaskWords | Promise<MaskWords>) =>
      mask instanceof Promise ? mask.then(set).catch(fail) : set(mask);
    return guarded(() => {
      const asked = sequence.mask!(sequence.maskState);
      if (typeof asked === "function") return () => guarded(() => take(asked()));
      const taken = take(asked);
      return () => taken;
    });
  }

  #deliver(sequence: Sequence, result: SampleResult): void {
    if (sequence.ended) return;
    const { id } = result;
    if (id < 0) {
      this.#finish(sequence, "abort", sampleError(result));
      return;
    }
    sequence.append(id);
    const end = sequence.eos.has(id);
    let stop = false;
    try {
      stop = sequence.sink.token?.(id, result, end) ?? false;
    } catch (error) {
      this.#finish(sequence, "abort", error);
      return;
    }
    if (end || stop) this.#finish(sequence, "stop");
    else if (sequence.generated >= sequence.maxTokens || sequence.length >= this.ctx)
      this.#finish(sequence, "length");
  }

  #deliverLogits(sequence: Sequence, row: number, from: number): void {
    if (sequence.ended) return;
    const { vocab_size } = this;
    const n = sequence.count * vocab_size;
    if (this.#logits.length < n) this.#logits = new Float32Array(n);
    const into = this.#logits.subarray(0, n);
    this.#executable.read("logits", into, row * vocab_size);
    sequence.sink.logits?.(from, into);
    if (sequence.past === sequence.length) this.#finish(sequence, "length");
  }

  #finish(sequence: Sequence, reason: FinishReason, error?: unknown): void {
    if (sequence.ended) return;
    sequence.ended = true;
    this.scheduler.remove(sequence);
    sequence.sink.end(reason, error);
  }
}
