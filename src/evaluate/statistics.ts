// Means with standard errors, percentiles, confidence intervals, and a seeded bootstrap. Plain numbers.

/** [low, high] */
export type Interval = readonly [number, number];

/** Mean, and its standard error √(Σ(x - mean)² / n / (n - 1)); the error is 0 for one value. */
export function meanAndError(values: ArrayLike<number>): { mean: number; error: number } {
  const n = values.length;
  let sum = 0;
  for (let i = 0; i < n; i++) sum += values[i]!;
  const mean = sum / n;
  let squares = 0;
  for (let i = 0; i < n; i++) squares += (values[i]! - mean) ** 2;
  return { mean, error: n > 1 ? Math.sqrt(squares / n / (n - 1)) : 0 };
}

/** The value below which `fraction` of the sorted values lie, linear between neighbours. */
export function percentile(sorted: ArrayLike<number>, fraction: number): number {
  const at = fraction * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (at - low) * (sorted[high]! - sorted[low]!);
}

/** 97.5 % quantile of the normal distribution: 95 % lie within so many standard deviations. */
const Z = 1.959963984540054;

/** Wilson's 95 % interval of a proportion. Source: E. B. Wilson, JASA 22 (1927). Of 0 in 0: all of [0, 1]. */
export function wilson(successes: number, n: number): Interval {
  if (n === 0) return [0, 1];
  const p = successes / n;
  const z2 = Z * Z;
  const middle = (p + z2 / (2 * n)) / (1 + z2 / n);
  const half = (Z / (1 + z2 / n)) * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n));
  // Exact at the ends, where rounding would leave a hair.
  return [successes === 0 ? 0 : Math.max(0, middle - half), successes === n ? 1 : Math.min(1, middle + half)];
}

/**
 * The 95 % interval of a statistic of n items, by drawing n of them with replacement many times: the 2.5 % and 97.5 %
 * percentiles of what the draws give. The same seed gives the same interval.
 * @param statistic of the items with these numbers, each as often as it is listed
 */
export function bootstrap(
  n: number,
  statistic: (items: Int32Array) => number,
  { seed = 1, draws = 1000 } = {},
): Interval {
  if (n === 0) return [0, 1];
  const random = mulberry32(seed);
  const items = new Int32Array(n);
  const values = new Float64Array(draws);
  for (let d = 0; d < draws; d++) {
    for (let i = 0; i < n; i++) items[i] = Math.floor(random() * n);
    values[d] = statistic(items);
  }
  values.sort();
  return [percentile(values, 0.025), percentile(values, 0.975)];
}

/** Numbers in [0, 1): the generator mulberry32. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
