// Which sequences take part in the next step, with how many tokens each, and who gets the pages. Pure bookkeeping: it
// runs nothing, so every property of it can be tested without a model.

import { type Dims, PAGE } from "../engine/backend.ts";
import type { PagePool } from "./pages.ts";
import type { Sequence } from "./sequence.ts";
import type { StateRows } from "./states.ts";

/**
 * Continuous batching, first come first served. A step takes one token of every sequence that is being continued, then
 * chunks of prompts while tokens are left. A waiting sequence is admitted when pages for all its tokens are available.
 * When a running one needs a page and there is none, the youngest gives up its pages and waits in its old place; its
 * tokens are computed again later, to the same bits. So the oldest always moves on, and everybody becomes the oldest.
 */
export class Scheduler {
  /** The planned step, in order of arrival; each sequence's `count` says how many tokens. */
  readonly step: Sequence[] = [];
  /** Both in order of arrival. */
  readonly running: Sequence[] = [];
  readonly waiting: Sequence[] = [];
  readonly pool: PagePool;
  readonly maxima: Dims;
  #arrivals = 0;

  /** @param maxima of the program: tokens, segments and rows of a step */
  constructor(pool: PagePool, maxima: Dims) {
    if (maxima.T < maxima.S || maxima.R < maxima.S || maxima.S < 1)
      throw new RangeError(
        `Cannot schedule steps of at most T = ${maxima.T} tokens, S = ${maxima.S} sequences, R = ${maxima.R} rows: wanted T and R of at least S, S of at least 1`,
      );
    this.pool = pool;
    this.maxima = maxima;
  }

  get size(): number {
    return this.running.length + this.waiting.length;
  }

  add(sequence: Sequence): void {
    sequence.arrival = this.#arrivals++;
    this.waiting.push(sequence);
  }

  /** Takes a sequence out and frees its pages. Not while a step that it takes part in is running. */
  remove(sequence: Sequence): void {
    const list = sequence.state === "running" ? this.running : this.waiting;
    const at = list.indexOf(sequence);
    if (at < 0) return;
    list.splice(at, 1);
    this.#releasePages(sequence);
    sequence.state = "done";
  }

  /** Fills `step`. 0: there is nothing to do. */
  plan(): number {
    const { step, running, waiting, maxima } = this;
    step.length = 0;
    let rows = maxima.R;
    let tokens = maxima.T;
    for (let i = 0; i < running.length; i++) {
      const sequence = running[i]!;
      sequence.count = 0;
      if (!isContinued(sequence) || !this.#grow(sequence)) continue;
      sequence.count = 1;
      tokens--;
      rows--;
    }
    for (let i = 0; i < running.length && tokens > 0; i++) {
      const sequence = running[i]!;
      if (sequence.count > 0 || isContinued(sequence)) continue;
      sequence.count = this.#chunk(sequence, tokens, rows);
      tokens -= sequence.count;
      rows -= rowsOf(sequence);
    }
    while (waiting.length > 0 && running.length < maxima.S && tokens > 0) {
      const sequence = waiting[0]!;
      if (!this.#admit(sequence)) break;
      waiting.shift();
      running.push(sequence);
      sequence.count = this.#chunk(sequence, tokens, rows);
      tokens -= sequence.count;
      rows -= rowsOf(sequence);
    }
    for (const sequence of running) if (sequence.count > 0) step.push(sequence);
    const { states } = this.pool;
    if (states)
      for (const sequence of step) {
        const { stateRow } = sequence;
        // Zeros, or what others may go on from, is not overwritten.
        sequence.nextStateRow = stateRow < 0 || states.isShared(stateRow) ? states.take() : stateRow;
      }
    return step.length;
  }

  /** After the planned step has run. */
  advance(): void {
    for (const sequence of this.step) {
      sequence.past += sequence.count;
      if (this.pool.states) this.#keepState(sequence, this.pool.states);
    }
  }

  /** The state is kept with the last page wherever a step ends with a page. */
  #keepState(sequence: Sequence, states: StateRows): void {
    const { stateRow, nextStateRow, past } = sequence;
    if (stateRow >= 0 && stateRow !== nextStateRow) states.release(stateRow);
    sequence.stateRow = nextStateRow;
    sequence.nextStateRow = -1;
    if (!sequence.sample || past % PAGE !== 0) return;
    const known = this.pool.remember(sequence.tokens, past, sequence.pages, sequence.adapter?.key);
    if (known.length * PAGE < past) return;
    const page = known.at(-1)!;
    const kept = states.keep(page, sequence.stateRow);
    if (sequence.keptPage >= 0) states.drop(sequence.keptPage);
    // One within the answer is of use until there is a later one: nobody else has begun alike.
    sequence.keptPage = kept && past > sequence.promptLength ? page : -1;
  }

  /** Tokens of a prompt for this step; with states, up to where one is to be kept. */
  #chunk(sequence: Sequence, tokens: number, rows: number): number {
    const count = chunk(sequence, tokens, rows);
    if (!this.pool.states || !sequence.sample) return count;
    const { past, length, branch } = sequence;
    const end = past < branch ? branch : Math.floor((length - 1) / PAGE) * PAGE;
    return past < end ? Math.min(count, end - past) : count;
  }

  #admit(sequence: Sequence): boolean {
    const { pool } = this;
    // The last token is always computed: its logits are wanted. Scoring wants those of all.
    const matched = sequence.sample
      ? pool.match(sequence.tokens, sequence.length - 1, sequence.adapter?.key)
      : [];
    if (pool.states && sequence.sample)
      sequence.branch = PAGE * pool.find(sequence.tokens, sequence.length - 1, sequence.adapter?.key).length;
    const missing = Math.ceil(sequence.length / PAGE) - matched.length;
    if (missing > pool.available) {
      for (const page of matched) pool.release(page);
      if (this.running.length === 0)
        throw new RangeError(
          `Cannot schedule a sequence of ${sequence.length} tokens: it needs ${Math.ceil(sequence.length / PAGE)} pages, but the pool has ${pool.total}`,
        );
      return false;
    }
    for (const page of matched) sequence.addPage(page);
    for (let i = 0; i < missing; i++) sequence.addPage(pool.take());
    sequence.past = matched.length * PAGE;
    if (pool.states && matched.length > 0) {
      sequence.stateRow = pool.states.at(matched.at(-1)!)!;
      pool.states.retain(sequence.stateRow);
    }
    if (sequence.cached < 0) sequence.cached = sequence.past;
    sequence.state = "running";
    return true;
  }

  /** Makes room for the token at `past`, at the cost of the youngest if need be. False: it was the youngest itself. */
  #grow(sequence: Sequence): boolean {
    while (sequence.npages * PAGE <= sequence.past) {
      const page = this.pool.take();
      if (page >= 0) {
        sequence.addPage(page);
        continue;
      }
      const youngest = this.running.pop()!;
      this.#releasePages(youngest);
      youngest.past = youngest.count = 0;
      youngest.state = "waiting";
      this.waiting.unshift(youngest); // all that wait arrived later than all that run
      if (youngest === sequence) return false;
    }
    return true;
  }

  #releasePages(sequence: Sequence): void {
    this.pool.remember(sequence.tokens, sequence.past, sequence.pages, sequence.adapter?.key);
    for (let i = 0; i < sequence.npages; i++) this.pool.release(sequence.pages[i]!);
    sequence.npages = 0;
    const { stateRow, nextStateRow } = sequence;
    if (stateRow >= 0) this.pool.states!.release(stateRow);
    if (nextStateRow >= 0 && nextStateRow !== stateRow) this.pool.states!.release(nextStateRow);
    sequence.stateRow = sequence.nextStateRow = sequence.keptPage = -1;
  }
}

/** Whether only its newest token is to be computed, for the next. */
function isContinued(sequence: Sequence): boolean {
  return sequence.sample !== undefined && sequence.length - sequence.past === 1 && sequence.past > 0;
}

/** Tokens of a prompt for this step: a row is needed for its last one, or for each when it is scored. */
function chunk(sequence: Sequence, tokens: number, rows: number): number {
  const left = sequence.length - sequence.past;
  if (!sequence.sample) return Math.min(left, tokens, rows);
  return Math.min(tokens, rows > 0 ? left : left - 1);
}

/** Rows of logits that a sequence of the planned step wants. */
export function rowsOf(sequence: Sequence): number {
  if (!sequence.sample) return sequence.count;
  return sequence.count > 0 && sequence.past + sequence.count === sequence.length ? 1 : 0;
}
