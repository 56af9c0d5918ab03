// Files with a few bytes changed, the same on every machine.

/** Whole numbers below what is asked for, by a seed. */
export function random(seed: number): (below: number) => number {
  let state = seed * 2654435761 + 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const EVIL = [0, 1, 0x7f, 0x80, 0xff, 0x22, 0x7b, 0x2d, 0x39];

/** One to four edits within the first `header` bytes: cut, overwritten, moved, or a bit turned. */
export function mutate(
  seed: Uint8Array,
  next: (below: number) => number,
  header: number = seed.length,
): Uint8Array {
  const bytes = new Uint8Array(seed); // a copy, which a Buffer's slice is not
  const end = Math.min(header, bytes.length);
  for (let edits = 1 + next(4); edits > 0; edits--) {
    const at = next(end);
    const kind = next(6);
    if (kind === 0) return bytes.slice(0, at);
    if (kind === 1) bytes.fill(EVIL[next(EVIL.length)]!, at, at + 1 + next(8));
    else if (kind === 2) bytes.copyWithin(at, next(end), next(end));
    else bytes[at] = kind === 3 ? EVIL[next(EVIL.length)]! : bytes[at]! ^ (1 << next(8));
  }
  return bytes;
}
