// The steps that score many sequences: which tokens of which sequence run together, and whose losses come out. Numbers
// only; nothing runs here, so two models of one vocabulary may run the same steps.

import { type Dims, PAGE } from "../engine/backend.ts";

/** A sequence of which the tokens `from` .. end are scored, each given all before it; `from` is 1 or more. */
export interface Scored {
  readonly ids: Int32Array;
  readonly from: number;
}

/** One step: the inputs of a scoring program, in arrays that are used again, and what its rows stand for. */
export interface ScoreStep {
  readonly dims: Dims;
  readonly inputs: Record<string, Int32Array>;
  /** Row r is token `token[r]` of sequence `sequence[r]`, counted from 0 in the order that they were given. */
  readonly sequence: Int32Array;
  readonly token: Int32Array;
  /** Sequences that end with this step. */
  readonly ended: readonly number[];
}

interface Running extends Scored {
  readonly index: number;
  readonly slot: number;
  past: number;
}

/**
 * Plans the steps for sequences, in order. A step is filled with what is left of the running ones, then with new ones.
 * @param maxima tokens, segments and rows of a step
 * @param size pages of the pool, and the width of the page table; each running sequence has an equal part of the pool
 */
export function* scoreSteps(
  sequences: Iterable<Scored>,
  maxima: Dims,
  size: { pages: number; pagesPerSequence: number },
): Generator<ScoreStep, void, undefined> {
  const width = size.pagesPerSequence;
  const own = Math.floor(size.pages / maxima.S);
  const arrays = {
    tokens: new Int32Array(maxima.T),
    positions: new Int32Array(maxima.T),
    segments: new Int32Array(maxima.S * 4),
    pages: new Int32Array(maxima.S * width),
    slots: new Int32Array(maxima.S * 2),
    rows: new Int32Array(maxima.R),
    targets: new Int32Array(maxima.R),
  };
  const sequence = new Int32Array(maxima.R);
  const token = new Int32Array(maxima.R);
  const running: Running[] = [];
  const slots = Array.from({ length: maxima.S }, (_, i) => maxima.S - 1 - i);
  const source = sequences[Symbol.iterator]();
  let given = 0;
  for (;;) {
    let [T, S, R] = [0, 0, 0];
    const ended: number[] = [];
    for (let i = 0; T < maxima.T; i++) {
      if (i === running.length) {
        if (slots.length === 0) break;
        const next = source.next();
        if (next.done) break;
        const { ids, from } = check(next.value, given, own * PAGE);
        running.push({ ids, from, index: given++, slot: slots.pop()!, past: 0 });
      }
      const { ids, from, index, slot, past } = running[i]!;
      const plain = Math.max(0, from - 1 - past);
      // The last token is a target only: nothing after it is asked for.
      const count = Math.min(ids.length - 1 - past, maxima.T - T, plain + maxima.R - R);
      if (count === 0) continue;
      arrays.segments.set([T, count, past, 0], S * 4); // slot 0 of adapters: see `Runtime.scoring`
      arrays.slots.set([past > 0 ? slot : -1, slot], S * 2);
      for (let p = 0; p < own && p < width; p++) arrays.pages[S * width + p] = slot * own + p;
      for (let p = past; p < past + count; p++, T++) {
        arrays.tokens[T] = ids[p]!;
        arrays.positions[T] = p;
        if (p + 1 < from) continue;
        arrays.rows[R] = T;
        arrays.targets[R] = ids[p + 1]!;
        sequence[R] = index;
        token[R++] = p + 1;
      }
      S++;
      running[i]!.past += count;
      if (past + count === ids.length - 1) ended.push(index);
    }
    if (T === 0) return;
    yield {
      dims: { T, S, R },
      inputs: {
        tokens: arrays.tokens.subarray(0, T),
        positions: arrays.positions.subarray(0, T),
        segments: arrays.segments.subarray(0, S * 4),
        pages: arrays.pages.subarray(0, S * width),
        slots: arrays.slots.subarray(0, S * 2),
        rows: arrays.rows.subarray(0, R),
        targets: arrays.targets.subarray(0, R),
      },
      sequence: sequence.subarray(0, R),
      token: token.subarray(0, R),
      ended,
    };
    for (let i = running.length - 1; i >= 0; i--)
      if (running[i]!.past === running[i]!.ids.length - 1)
        slots.push(...running.splice(i, 1).map((r) => r.slot));
  }
}

function check(scored: Scored, index: number, room: number): Scored {
  const { ids, from } = scored;
  if (!(from >= 1 && from < ids.length))
    throw new RangeError(
      `Cannot score sequence ${index} of ${ids.length} tokens from token ${from}: wanted 1 to ${ids.length - 1}`,
    );
  if (ids.length - 1 > room)
    throw new RangeError(
      `Cannot score sequence ${index} of ${ids.length} tokens: there is room for ${room + 1}`,
    );
  return scored;
}
