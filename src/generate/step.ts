// The input tensors of a step, filled from what the scheduler planned. Nothing is allocated per token.

import type { Dims } from "../engine/backend.ts";
import { rowsOf } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** Arrays as large as the largest step, and views of them for the current one. */
export class Step {
  /** Sequences that a token is sampled for: row i of the logits belongs to the i-th. */
  readonly sampled: Sequence[] = [];
  /** Sequences that are scored; their rows follow. */
  readonly scored: Sequence[] = [];
  dims: Dims = { T: 0, S: 0, R: 0 };
  inputs: Record<string, Int32Array> = {};
  readonly #tokens: Int32Array;
  readonly #positions: Int32Array;
  readonly #segments: Int32Array;
  readonly #pages: Int32Array;
  readonly #slots: Int32Array;
  readonly #rows: Int32Array;
  readonly #width: number;

  /** @param width pages of a sequence: P of the input `pages` [S, P] */
  constructor(maxima: Dims, width: number) {
    this.#tokens = new Int32Array(maxima.T);
    this.#positions = new Int32Array(maxima.T);
    this.#segments = new Int32Array(maxima.S * 4);
    this.#pages = new Int32Array(maxima.S * width);
    this.#slots = new Int32Array(maxima.S * 2);
    this.#rows = new Int32Array(maxima.R);
    this.#width = width;
  }

  fill(sequences: readonly Sequence[]): void {
    const { sampled, scored } = this;
    sampled.length = scored.length = 0;
    let T = 0;
    for (let s = 0; s < sequences.length; s++) {
      const sequence = sequences[s]!;
      const { past, count, tokens } = sequence;
      const row = s * 4;
      this.#segments[row] = T;
      this.#segments[row + 1] = count;
      this.#segments[row + 2] = past;
      this.#segments[row + 3] = sequence.slot;
      this.#slots[s * 2] = sequence.stateRow;
      this.#slots[s * 2 + 1] = sequence.nextStateRow;
      for (let i = 0; i < sequence.npages; i++) this.#pages[s * this.#width + i] = sequence.pages[i]!;
      for (let i = 0; i < count; i++, T++) {
        this.#tokens[T] = tokens[past + i]!;
        this.#positions[T] = past + i;
      }
      if (!sequence.sample) scored.push(sequence);
      else if (rowsOf(sequence) === 1) this.#rows[sampled.push(sequence) - 1] = T - 1;
    }
    let R = sampled.length;
    if (scored.length > 0)
      for (let s = 0; s < sequences.length; s++)
        if (!sequences[s]!.sample)
          for (let i = 0; i < sequences[s]!.count; i++) this.#rows[R++] = this.#segments[s * 4]! + i;
    this.#view(T, sequences.length, R);
  }

  #view(T: number, S: number, R: number): void {
    const { dims } = this;
    if (dims.T === T && dims.S === S && dims.R === R) return;
    this.dims = { T, S, R };
    this.inputs = {
      tokens: this.#tokens.subarray(0, T),
      positions: this.#positions.subarray(0, T),
      segments: this.#segments.subarray(0, S * 4),
      pages: this.#pages.subarray(0, S * this.#width),
      slots: this.#slots.subarray(0, S * 2),
      rows: this.#rows.subarray(0, R),
    };
  }
}
