// What one rendering of a template may cost. Counted in steps, so that the answer does not depend on the machine.

/** Characters of the longest string, and of the output. */
export const MAX_TEXT = 8 * 2 ** 20;
/** Elements of the longest list. */
export const MAX_ITEMS = 1_000_000;
/** Macros calling macros. */
export const MAX_CALLS = 64;

const BASE_STEPS = 1_000_000;
/** A backstop for what the steps do not count well. */
const MAX_MILLISECONDS = 2_000;
/** Characters that are copied or searched in the time of one step, roughly. */
const CHARACTERS_PER_STEP = 64;

export class Budget {
  #left: number;
  readonly #deadline: number;
  #check = 1024;

  /** @param input - size of the messages: larger ones may take more steps. */
  constructor(input: number) {
    this.#left = BASE_STEPS + input;
    this.#deadline = performance.now() + MAX_MILLISECONDS;
  }

  /** @throws {RangeError} when the template has used up its steps. */
  spend(steps: number): void {
    this.#left -= steps;
    if (this.#left < 0) {
      throw new RangeError(`it takes more than ${BASE_STEPS} steps, want a template that ends sooner`);
    }
    if (--this.#check === 0) {
      this.#check = 1024;
      if (performance.now() > this.#deadline) {
        throw new RangeError(`it takes more than ${MAX_MILLISECONDS} ms, want a template that ends sooner`);
      }
    }
  }

  /** Pays for reading or writing `length` characters. */
  spendText(length: number): void {
    this.spend(1 + length / CHARACTERS_PER_STEP);
  }

  /** Pays for a string before it is made. @throws {RangeError} when it would be too long. */
  makeText(length: number): void {
    if (!(length <= MAX_TEXT)) {
      throw new RangeError(`it makes a string of ${length} characters, want at most ${MAX_TEXT}`);
    }
    this.spendText(length);
  }

  /** Pays for a list before it is made. @throws {RangeError} when it would be too long. */
  makeItems(length: number): void {
    if (!(length <= MAX_ITEMS)) {
      throw new RangeError(`it makes a list of ${length} elements, want at most ${MAX_ITEMS}`);
    }
    this.spend(1 + length);
  }

  /** Pays for looking for one text in another, which takes their product at worst. */
  search(length: number, wanted: number): void {
    this.spend(1 + length / CHARACTERS_PER_STEP + (length * Math.max(wanted - 16, 0)) / 4096);
  }
}
