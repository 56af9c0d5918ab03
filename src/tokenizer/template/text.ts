// A string that knows which of its characters the template's author wrote, and which came with the messages.

/**
 * Text with provenance. `trusted` lists the ranges `[start, end)` that come from the template itself: flat, ascending,
 * never touching. Operations keep it exact, or drop it: what is not certain is not trusted.
 */
export class Text {
  readonly value: string;
  readonly trusted: readonly number[];

  private constructor(value: string, trusted: readonly number[]) {
    this.value = value;
    this.trusted = trusted;
  }

  static readonly empty = new Text("", []);

  /** Text from outside the template. */
  static plain(value: string): Text {
    return value === "" ? Text.empty : new Text(value, []);
  }

  /** Text that the template's author wrote. */
  static own(value: string): Text {
    return value === "" ? Text.empty : new Text(value, [0, value.length]);
  }

  static concat(parts: readonly Text[]): Text {
    if (parts.length === 1) return parts[0]!;
    const trusted: number[] = [];
    let value = "";
    for (const part of parts) {
      for (let i = 0; i < part.trusted.length; i += 2) {
        const start = part.trusted[i]! + value.length;
        const end = part.trusted[i + 1]! + value.length;
        if (trusted.length > 0 && trusted[trusted.length - 1] === start) trusted[trusted.length - 1] = end;
        else trusted.push(start, end);
      }
      value += part.value;
    }
    return new Text(value, trusted);
  }

  get length(): number {
    return this.value.length;
  }

  /** Number of ranges: what copying costs beside the characters. */
  get ranges(): number {
    return this.trusted.length / 2;
  }

  slice(start: number, end: number): Text {
    if (start === 0 && end >= this.value.length) return this;
    if (start >= end) return Text.empty;
    const trusted: number[] = [];
    for (let i = 0; i < this.trusted.length; i += 2) {
      const from = Math.max(this.trusted[i]!, start);
      const to = Math.min(this.trusted[i + 1]!, end);
      if (from < to) trusted.push(from - start, to - start);
    }
    return new Text(this.value.slice(start, end), trusted);
  }

  /** Another spelling of the same text; trust is kept only when every character stays at its place. */
  withValue(value: string): Text {
    return value.length === this.value.length ? new Text(value, this.trusted) : Text.plain(value);
  }

  /** Whether all of `[start, end)`, white space aside, is the template's own. */
  isTrusted(start: number, end: number): boolean {
    let at = start;
    for (let i = 0; i < this.trusted.length && at < end; i += 2) {
      if (this.trusted[i + 1]! <= at) continue;
      const until = Math.min(this.trusted[i]!, end);
      if (this.value.slice(at, until).trim() !== "") return false;
      at = Math.max(at, this.trusted[i + 1]!);
    }
    return at >= end || this.value.slice(at, end).trim() === "";
  }
}
