// Stop strings in streamed text. They may lie across the borders of tokens, so text that could be the beginning of one
// is held back until it is certain.

/** Finds the first of several stop strings in text that comes in pieces. */
export class StopMatcher {
  readonly #stops: readonly string[];
  /** Text held back: it ends like the beginning of a stop string. */
  #held = "";
  /** Whether a stop string was found. Nothing is let through after it. */
  stopped = false;

  /** @throws {TypeError} for an empty stop string, which every text has */
  constructor(stops: readonly string[]) {
    for (const stop of stops)
      if (typeof stop !== "string" || stop === "")
        throw new TypeError(`Cannot stop at ${JSON.stringify(stop)}: wanted a string that is not empty`);
    this.#stops = stops;
  }

  /**
   * What may be shown after this piece: text before the stop string that is complete first (however the text is cut
   * into pieces), less what is still uncertain.
   */
  push(piece: string): string {
    if (this.stopped) return "";
    const text = this.#held + piece;
    let first = text.length;
    let end = Infinity;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at < 0 || at + stop.length > end || (at + stop.length === end && at > first)) continue;
      first = at;
      end = at + stop.length;
    }
    if (end < Infinity) {
      this.stopped = true;
      this.#held = "";
      return text.slice(0, first);
    }
    const keep = this.#uncertain(text);
    this.#held = text.slice(text.length - keep);
    return text.slice(0, text.length - keep);
  }

  /** What was held back, when no more text comes. */
  flush(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }

  /** Length of the longest end of `text` that begins a stop string. */
  #uncertain(text: string): number {
    let keep = 0;
    for (const stop of this.#stops)
      for (let n = Math.min(stop.length - 1, text.length); n > keep; n--)
        if (text.endsWith(stop.slice(0, n))) {
          keep = n;
          break;
        }
    return keep;
  }
}
