// What a constraint may ask for. Whatever is beyond is refused before any work is done, so a schema that would explode
// ends at once.

export const LIMITS = {
  /** Characters and values of a schema, characters of a grammar. */
  text: 200_000,
  /** Characters of a regular expression. */
  pattern: 10_000,
  /** Schemas within schemas, groups within groups. */
  depth: 64,
  /** Schemas in a schema, each `$ref` counted where its target is first used. */
  schemas: 2000,
  /** Values of an enum, and characters of all literals together. */
  enum: 2000,
  literals: 40_000,
  /** Properties of an object. */
  properties: 500,
  /** Items of an array that can be asked for. */
  items: 4096,
  /**
   * Characters that must be counted: the length of bounded strings and repetitions, each different one once. Every one
   * is a state for which the whole vocabulary is looked through: 15 ms for 49,000 tokens where any letter may come.
   */
  counted: 256,
  /** Milliseconds for compiling a grammar, and for a mask. Beyond, the worker is ended. */
  compileMs: 30_000,
  maskMs: 5_000,
} as const;

/** @throws {RangeError} when `value` is beyond the limit */
export function within(what: string, where: string, value: number, limit: number): void {
  if (value > limit)
    throw new RangeError(`Cannot constrain by ${where}: ${what} ${value}, wanted at most ${limit}`);
}
