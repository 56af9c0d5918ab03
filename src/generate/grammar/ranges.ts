// Ranges of numbers as patterns of their digits, and of characters as patterns of their bytes. Pure arithmetic.

/** For every place the lowest and the highest digit. */
export type Pattern = readonly (readonly [number, number])[];

/**
 * Patterns that together are the sequences from a to b, which have the same length.
 * @param low the least digit of a place after the first; `high` the greatest
 */
export function patterns(a: readonly number[], b: readonly number[], low: number, high: number): Pattern[] {
  const [first, last] = [a[0]!, b[0]!];
  if (a.length === 1) return [[[first, last]]];
  const [restA, restB] = [a.slice(1), b.slice(1)];
  const all: Pattern = restA.map(() => [low, high] as const);
  const under = (digit: number, from: readonly number[], to: readonly number[]) =>
    patterns(from, to, low, high).map((rest): Pattern => [[digit, digit], ...rest]);
  const wholeA = restA.every((d) => d === low);
  const wholeB = restB.every((d) => d === high);
  if (wholeA && wholeB) return [[[first, last], ...all]];
  if (first === last) return under(first, restA, restB);
  const from = wholeA ? first : first + 1;
  const to = wholeB ? last : last - 1;
  return [
    ...(wholeA
      ? []
      : under(
          first,
          restA,
          all.map(() => high),
        )),
    ...(from <= to ? [[[from, to] as const, ...all]] : []),
    ...(wholeB
      ? []
      : under(
          last,
          all.map(() => low),
          restB,
        )),
  ];
}

/** UTF-8 of the characters from lo to hi, without surrogates, as patterns of bytes. */
export function utf8Patterns(lo: number, hi: number): Pattern[] {
  const out: Pattern[] = [];
  for (const [from, to] of [
    [0, 0x7f],
    [0x80, 0x7ff],
    [0x800, 0xd7ff],
    [0xe000, 0xffff],
    [0x10000, 0x10ffff],
  ] as const) {
    // biome-ignore format: a table
    const [a, b] = [Math.max(lo, from), Math.min(hi, to)];
    if (a <= b) out.push(...patterns(utf8(a), utf8(b), 0x80, 0xbf));
  }
  return out;
}

function utf8(code: number): number[] {
  if (code < 0x80) return [code];
  const tail = (shift: number) => 0x80 | ((code >> shift) & 0x3f);
  if (code < 0x800) return [0xc0 | (code >> 6), tail(0)];
  if (code < 0x10000) return [0xe0 | (code >> 12), tail(6), tail(0)];
  return [0xf0 | (code >> 18), tail(12), tail(6), tail(0)];
}
