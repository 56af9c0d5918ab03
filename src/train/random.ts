// Random numbers of training: the same on every machine. A stream is named by numbers (seed, what for, epoch or step), so
// nothing has to be remembered between a stop and a resume.

/** xoshiro128** (Blackman and Vigna, 2018), its state filled by splitmix32 from any count of numbers. */
export class Random {
  private readonly state = new Uint32Array(4);

  /** @param numbers whole numbers from 0; others name another stream */
  constructor(...numbers: number[]) {
    let h = 0;
    const mix = (value: number) => {
      h = (h + 0x9e3779b9 + value) | 0;
      let z = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (h = z ^ (z >>> 15));
    };
    for (const n of numbers) {
      if (!Number.isSafeInteger(n) || n < 0)
        throw new RangeError(`Cannot seed random numbers with ${n}: wanted a whole number from 0`);
      mix(n % 2 ** 32);
      mix(Math.floor(n / 2 ** 32) ^ 0x55555555);
    }
    for (let i = 0; i < 4; i++) this.state[i] = mix(i + 1);
    if (this.state.every((x) => x === 0)) this.state[0] = 1;
  }

  /** A whole number below 2^32. */
  next(): number {
    const s = this.state;
    const rotated = Math.imul(s[1]!, 5);
    const result = Math.imul((rotated << 7) | (rotated >>> 25), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result;
  }

  /** In [0, 1), of 53 bits. */
  uniform(): number {
    return ((this.next() >>> 5) * 2 ** 26 + (this.next() >>> 6)) / 2 ** 53;
  }

  /** A whole number in [0, n). */
  below(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** Of mean 0 and variance 1, by Box and Muller's transform. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** The numbers 0..n-1 in random order. */
  permutation(n: number): Uint32Array {
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }
}

/** What a stream is for: the second number of its name. */
export const STREAM = {
  order: 1,
  windows: 2,
  weights: 3,
  adapter: 4,
  held: 5,
  dropout: 6,
  policy: 7,
} as const;
