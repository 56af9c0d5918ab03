// Log-likelihoods of given tokens under a loaded model: the loss comes out of the program, so that no logits are copied
// unless somebody asks for them. Ids only, no text.

import { type Dims, PAGE } from "../engine/backend.ts";
import type { AdapterChoice } from "../generate/adapters.ts";
import type { Model } from "../generate/model.ts";
import type { Scoring } from "../models/runtime.ts";
import { type Scored, type ScoreStep, scoreSteps } from "./steps.ts";

/** Bytes of logits of a step: what one holds of a vocabulary of 150,000 is then 55 rows. */
const LOGITS_BYTES = 2 ** 25;
const MIN_ROWS = 16;
const TOKENS = 512;
/** Tokens that the sequences under way may hold together, where one alone does not need more. */
const CACHE_TOKENS = 4096;
const MAX_SEQUENCES = 16;

/** Sizes of scoring sequences of up to `longest` tokens. */
export function scoringSizes(vocab_size: number, longest: number): { maxima: Dims; pages: number } {
  const own = Math.max(1, Math.ceil((longest - 1) / PAGE));
  const S = Math.max(1, Math.min(MAX_SEQUENCES, Math.floor(CACHE_TOKENS / (own * PAGE))));
  const fit = Math.floor(LOGITS_BYTES / (4 * vocab_size));
  return { maxima: { T: TOKENS, S, R: Math.max(MIN_ROWS, Math.min(TOKENS, fit)) }, pages: S * own };
}

/** Scores sequences of up to `longest` tokens on a model. Free it when done; the model stays. */
export class Scorer implements Disposable {
  readonly model: Model;
  readonly vocab_size: number;
  readonly maxima: Dims;
  readonly #scoring: Scoring;
  readonly #losses: Float32Array;

  /** @throws {RangeError} when the context has no room for `longest` */
  constructor(model: Model, longest: number, adapter?: AdapterChoice) {
    if (longest > model.ctx)
      throw new RangeError(
        `Cannot score sequences of ${longest} tokens with ${JSON.stringify(model.name)}: its context is ${model.ctx}`,
      );
    this.model = model;
    this.vocab_size = model.config.vocab_size;
    const { maxima, pages } = scoringSizes(this.vocab_size, longest);
    this.maxima = maxima;
    this.#scoring = model.scoring(maxima, pages, adapter);
    this.#losses = new Float32Array(maxima.R);
  }

  /** The steps that score `sequences`; a scorer of another model of the same sizes may run them too. */
  steps(sequences: Iterable<Scored>): Generator<ScoreStep, void, undefined> {
    return scoreSteps(sequences, this.maxima, this.#scoring);
  }

  /**
   * -log p of the step's targets, in nats, in a view that is used again.
   * @throws {Error} when a loss is not a finite number
   */
  async run({ dims, inputs, sequence, token }: ScoreStep): Promise<Float32Array> {
    await this.#scoring.executable.run(dims, inputs);
    const losses = this.#losses.subarray(0, dims.R);
    if (dims.R > 0) this.#scoring.executable.read("loss", losses);
    const bad = losses.findIndex((loss) => !Number.isFinite(loss));
    if (bad >= 0)
      throw new Error(
        `Cannot score with ${JSON.stringify(this.model.name)}: the loss of token ${token[bad]} of sequence ${sequence[bad]} is ${losses[bad]}, wanted a finite number`,
      );
    return losses;
  }

  /** Logits of the last step's first `rows` rows: fills `into` [rows · vocab_size]. */
  logits(into: Float32Array): void {
    if (into.length > 0) this.#scoring.executable.read("logits", into);
  }

  free(): void {
    this.#scoring.free();
  }

  [Symbol.dispose](): void {
    this.free();
  }
}
