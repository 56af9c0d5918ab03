// Numbers within bounds -> grammar: ranges of whole numbers digit by digit. Pure text.

import { type Pattern, patterns } from "./ranges.ts";
import { byteClass, either } from "./rules.ts";

/** Digits of a whole number: all of them are exact in a double. */
const DIGITS = 15;
const MOST = 10 ** DIGITS - 1;

export const INTEGER = `"-"? ("0" | [1-9] [0-9]{0,${DIGITS - 1}})`;
export const NUMBER = `${INTEGER} ("." [0-9]{1,${DIGITS}})? ([eE] [+\\u002d]? [0-9]{1,2})?`;

export interface Bounds {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
}

/** Whole numbers within the bounds, of at most 15 digits; undefined: there is none. */
export function integerRange(bounds: Bounds): string | undefined {
  const { low, high } = scaled(bounds, 1);
  return signed(low, high, 0);
}

/**
 * Numbers within the bounds: whole ones, and those with as many decimals as the bounds have (at least two). Others
 * between them are left out, as what a grammar can say is a set of texts. Undefined: there is none.
 */
export function numberRange(bounds: Bounds): string | undefined {
  const given = Object.values(bounds).filter((x) => x !== undefined);
  const decimals = Math.max(2, ...given.map(decimalsOf));
  const scale = 10 ** decimals;
  const whole = scaled(bounds, 1);
  const fixed = decimals <= 6 ? scaled(bounds, scale) : { low: 1, high: 0 };
  const parts = [signed(whole.low, whole.high, 0), signed(fixed.low, fixed.high, decimals)];
  const found = parts.filter((part) => part !== undefined);
  return found.length > 0 ? either(found) : undefined;
}

/** The least and the greatest whole number of 1 / scale within the bounds. */
function scaled(bounds: Bounds, scale: number): { low: number; high: number } {
  const { minimum = -Infinity, maximum = Infinity } = bounds;
  const { exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = bounds;
  let low = Math.max(-MOST, Math.ceil(minimum * scale - 1e-6));
  let high = Math.min(MOST, Math.floor(maximum * scale + 1e-6));
  // What is printed is read again: the comparison is between the numbers themselves.
  while (low <= high && !(low / scale >= minimum && low / scale > exclusiveMinimum))
    low = nextAbove(low, exclusiveMinimum, scale);
  while (low <= high && !(high / scale <= maximum && high / scale < exclusiveMaximum))
    high = nextBelow(high, exclusiveMaximum, scale);
  return { low, high };
}

function nextAbove(low: number, bound: number, scale: number): number {
  return Math.max(low + 1, Math.ceil(bound * scale - 1));
}

function nextBelow(high: number, bound: number, scale: number): number {
  return Math.min(high - 1, Math.floor(bound * scale + 1));
}

function decimalsOf(x: number): number {
  for (let d = 0; d < 7; d++) if (Number(x.toFixed(d)) === x) return d;
  return 7;
}

/** Numbers from low to high, the last `decimals` digits behind a point. */
function signed(low: number, high: number, decimals: number): string | undefined {
  const parts: string[] = [];
  if (high >= 0 && low <= high) parts.push(...unsigned(Math.max(0, low), high, decimals));
  if (low < 0 && low <= high)
    parts.push(...unsigned(Math.max(1, -high), -low, decimals).map((part) => `"-" ${part}`));
  return parts.length > 0 ? either(parts) : undefined;
}

function unsigned(low: number, high: number, decimals: number): string[] {
  const parts: string[] = [];
  // Ranges of one number of digits; with decimals at least one before the point.
  for (let n = decimals + 1; n <= String(high).length || n === decimals + 1; n++) {
    const from = Math.max(low, n === decimals + 1 ? 0 : 10 ** (n - 1));
    const to = Math.min(high, 10 ** n - 1);
    if (from <= to)
      parts.push(...patterns(digits(from, n), digits(to, n), 0, 9).map((p) => text(p, n - decimals)));
  }
  return parts;
}

function digits(value: number, n: number): number[] {
  return Array.from(String(value).padStart(n, "0"), Number);
}

function text(pattern: Pattern, point: number): string {
  const places = pattern.map(([lo, hi]) => byteClass([[0x30 + lo, 0x30 + hi]]));
  if (point < places.length) places.splice(point, 0, '"."');
  return places.join(" ");
}
