// One sequence of tokens on its way through the engine: ids, pages and settings. No text and no arithmetic.

import { type LinearChange, PAGE } from "../engine/backend.ts";
import type { SampleHistory, SampleResult, SampleRow } from "../engine/sampler.ts";

/** Why a sequence ended: an end token or a stop string, its length, or somebody's wish. */
export type FinishReason = "stop" | "length" | "abort";

/** What a mask may depend on. The arrays are views: read them, do not keep them. */
export interface MaskState {
  /** The prompt's ids. */
  readonly prompt: Int32Array;
  /** Ids generated so far. */
  readonly ids: Int32Array;
}

/** Bit id % 32 of word id / 32 set = allowed. Undefined: all. */
export type MaskWords = Uint32Array | undefined;

/**
 * Which tokens may come next. Asked while the step runs; what is promised is waited for, and a function is called, when
 * it has run.
 */
export type Mask = (
  state: MaskState,
) => MaskWords | Promise<MaskWords> | (() => MaskWords | Promise<MaskWords>);

/** Who receives what a sequence gives. Called between steps; must not throw. */
export interface Sink {
  /** A token. `end`: it is one of the end tokens. Returns true when the sequence shall end here. */
  token?(id: number, result: SampleResult, end: boolean): boolean;
  /**
   * Logits of `rows.length / vocab_size` tokens from position `from` on (scoring), in a view that is used again. They
   * come again, the same, when the sequence had to give up its pages.
   */
  logits?(from: number, rows: Float32Array): void;
  /** Called once, last. `error` is set when it failed. */
  end(reason: FinishReason, error?: unknown): void;
}

export interface SequenceOptions {
  readonly sink: Sink;
  /** Absent: the sequence is scored (logits of every token), not continued. */
  readonly sample?: SampleRow;
  /** Most tokens to generate. Default: as many as the context has room for. */
  readonly maxTokens?: number;
  /** Ids that end the sequence. */
  readonly eos?: ReadonlySet<number>;
  readonly mask?: Mask;
  /** What it runs with instead of the base alone. */
  readonly adapter?: AdapterUse;
}

/** Adapters with scales, put together: what one slot of the table holds. */
export interface AdapterUse {
  /** The same for the same changes of the same model: digests and scales. */
  readonly key: string;
  /** By the linear's index. Asked for when a slot is to be filled. */
  changes(): ReadonlyMap<number, LinearChange>;
}

export class Sequence {
  readonly sink: Sink;
  readonly sample: SampleRow | undefined;
  readonly maxTokens: number;
  readonly eos: ReadonlySet<number>;
  readonly mask: Mask | undefined;
  readonly adapter: AdapterUse | undefined;
  /** The slot that its adapter is in, for the planned step; -1: it has none. */
  slot = -1;
  /** The prompt, then what was generated; the first `length` are valid. */
  tokens: Int32Array;
  length: number;
  readonly promptLength: number;
  /** Tokens whose keys and values are in pages. */
  past = 0;
  /** Tokens found in pages when it was first admitted. */
  cached = -1;
  /** Tokens of the planned step. */
  count = 0;
  pages: Int32Array;
  npages = 0;
  /** The row of the recurrent state after `past` tokens (-1: none, zeros), and the one after the planned step. */
  stateRow = -1;
  nextStateRow = -1;
  /** Where the prompt parts from a known one: a state kept there will serve others. */
  branch = 0;
  /** The page that this sequence's newest state is kept with and that nobody else is likely to want; -1: none. */
  keptPage = -1;
  /** Order of arrival, given by the scheduler. */
  arrival = -1;
  state: "waiting" | "running" | "done" = "waiting";
  /** The sink has heard its end. It may still hold pages until the running step is over. */
  ended = false;
  #history: TokenCounts | undefined;

  constructor(prompt: ArrayLike<number>, options: SequenceOptions) {
    this.sink = options.sink;
    this.sample = options.sample;
    this.maxTokens = options.maxTokens ?? Infinity;
    this.eos = options.eos ?? NONE;
    this.mask = options.mask;
    this.adapter = options.adapter;
    this.promptLength = this.length = prompt.length;
    this.tokens = new Int32Array(prompt.length + (this.sample ? Math.min(this.maxTokens, 64) : 0));
    this.tokens.set(prompt);
    this.pages = new Int32Array(Math.ceil(this.tokens.length / PAGE));
    if (this.sample && hasPenalty(this.sample)) {
      this.#history = new TokenCounts();
      for (let i = 0; i < prompt.length; i++) this.#history.add(prompt[i]!, 0);
      this.sample.history = this.#history;
    }
  }

  get generated(): number {
    return this.length - this.promptLength;
  }

  append(id: number): void {
    if (this.length === this.tokens.length) this.tokens = grown(this.tokens);
    this.tokens[this.length++] = id;
    this.#history?.add(id, 1);
  }

  addPage(page: number): void {
    if (this.npages === this.pages.length) this.pages = grown(this.pages);
    this.pages[this.npages++] = page;
  }

  get maskState(): MaskState {
    return {
      prompt: this.tokens.subarray(0, this.promptLength),
      ids: this.tokens.subarray(this.promptLength, this.length),
    };
  }
}

const NONE: ReadonlySet<number> = new Set();

function grown(array: Int32Array): Int32Array {
  const larger = new Int32Array(Math.max(16, array.length * 2));
  larger.set(array);
  return larger;
}

function hasPenalty(row: SampleRow): boolean {
  return row.repetition_penalty !== 1 || row.presence_penalty !== 0 || row.frequency_penalty !== 0;
}

/** Ids seen and how often they were generated. */
class TokenCounts implements SampleHistory {
  ids: Int32Array = new Int32Array(64);
  counts: Int32Array = new Int32Array(64);
  length = 0;
  readonly #where = new Map<number, number>();

  add(id: number, times: number): void {
    let at = this.#where.get(id);
    if (at === undefined) {
      at = this.length++;
      if (at === this.ids.length) {
        this.ids = grown(this.ids);
        this.counts = grown(this.counts);
      }
      this.#where.set(id, at);
      this.ids[at] = id;
    }
    this.counts[at]! += times;
  }
}
