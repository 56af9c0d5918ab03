/**
 * Rows of floats to quantized blocks with the least weighted squared error, in float64: what Backend.encode computes, said
 * plainly. kernels/encode.h has the same steps in f32 with 16 rows at a time, so that where two states leave nearly the same
 * it may keep the other one.
 *
 * x ≈ a · l - m with codes l from `low` to `high`; a = d · sc and m = dmin · mn of a group. An error counts importance ·
 * sqrt(1 + x² / mean x² of the block).
 */
import { emptyParts, GRIDS, type Grid, type Parts, packParts, type QuantType } from "./grids.ts";
import { f16ToF32, f32ToF16, roundEven } from "./half.ts";

const PASSES = 2;

/** The grid with codes as they count: from low to high. */
interface Search extends Grid {
  readonly low: number;
  readonly high: number;
  /** Levels between zero, or the minimum, and the end that reaches further; starts have from `first` to `last` more of them. */
  readonly reach: number;
  readonly first: number;
  readonly last: number;
  readonly starts: number;
  /** How far integers are looked for around the last ones: at first, and then. */
  readonly around: readonly [number, number];
}

function searchOf(type: QuantType): Search {
  const g = GRIDS[type];
  const low = type === "q8_0" ? -127 : -g.zero;
  const high = g.levels - 1 - g.zero;
  const reach = g.min ? high : -low;
  const [first, last] = reach === 1 ? [0, 2.5] : reach === 3 ? [-0.75, 1.25] : [-1.75, 1.75];
  const around = g.scales?.[1] === 127 ? 4 : 2;
  return {
    ...g,
    low,
    high,
    reach,
    first,
    last,
    starts: g.min && reach > 3 ? 10 : 8,
    around: [around, g.scales?.[1] === 15 ? around : around / 2],
  };
}

/** A group's a and m, and over its columns the weighted sums of r², r l, r, l², l for the error r = x - a l + m. */
interface Fit {
  readonly a: number;
  readonly m: number;
  readonly rr: number;
  readonly rl: number;
  readonly r: number;
  readonly ll: number;
  readonly l: number;
}

/** A group's values, their weights, and the sum of these. */
interface Group {
  readonly x: Float64Array;
  readonly w: Float64Array;
  readonly total: number;
}

const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);
const quotient = (a: number, b: number) => (b === 0 ? 0 : a / b);
const asF16 = (x: number) => f16ToF32(f32ToF16(x));

function code(s: Search, x: number, a: number, m: number): number {
  return roundEven(clamp(a === 0 ? 0 : (x + m) / a, s.low, s.high));
}

/** Error and sums of a group with codes rounded at (a, m). */
function measure(s: Search, { x, w }: Group, a: number, m: number): Fit {
  let [rr, rl, r, ll, l] = [0, 0, 0, 0, 0];
  for (let j = 0; j < x.length; j++) {
    const q = code(s, x[j]!, a, m);
    const e = x[j]! - a * q + m;
    rr += w[j]! * e * e;
    rl += w[j]! * e * q;
    r += w[j]! * e;
    ll += w[j]! * q * q;
    l += w[j]! * q;
  }
  return { a, m, rr, rl, r, ll, l };
}

/** Least squares with the codes held: the a and m that leave least, and what they leave. */
function solved(s: Search, f: Fit, total: number): Fit {
  if (!s.min) {
    const da = quotient(f.rl, f.ll);
    return { ...f, a: f.a + da, rr: f.rr - da * f.rl };
  }
  const mean = f.l / total;
  const spread = f.ll - mean * f.l;
  let da = spread > 1e-6 * f.ll ? (f.rl - mean * f.r) / spread : 0;
  let dm = (da * f.l - f.r) / total;
  if (s.mins && f.m + dm < 0) {
    dm = -f.m;
    da = quotient(f.rl + dm * f.l, f.ll);
  }
  const rr = f.rr + da * (da * f.ll - 2 * f.rl) + dm * (dm * total + 2 * f.r) - 2 * da * dm * f.l;
  return { ...f, a: f.a + da, m: f.m + dm, rr };
}

/**
 * The real a and m of least error that were found: those that are best for the codes rounded at some steps, and at two beside
 * the best of them; then once more by rounding and least squares.
 */
function fit(s: Search, group: Group): Fit {
  const high = group.x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const least = group.x.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const low = s.mins ? Math.min(least, 0) : least;
  let best = { rr: Number.POSITIVE_INFINITY, a: 0, m: 0, full: 0, delta: 0 };
  const attempt = (full: number, delta: number) => {
    const f = solved(
      s,
      measure(s, group, (full * s.reach) / (s.reach + delta), s.min ? -low : 0),
      group.total,
    );
    if (f.rr < best.rr) best = { rr: f.rr, a: f.a, m: f.m, full, delta };
  };
  const steps = s.min
    ? [(high - low) / s.high]
    : [Math.max(low / s.low, high / s.high), Math.min(low / s.high, high / s.low)];
  const between = (s.last - s.first) / (s.starts - 1);
  for (const full of s.low === -s.high ? steps.slice(0, 1) : steps)
    for (let i = 0; i < s.starts; i++) attempt(full, s.first + between * i);
  const { full, delta } = best;
  for (const beside of [-0.5, 0.5]) attempt(full, delta + between * beside);
  return solved(s, measure(s, group, best.a, best.m), group.total);
}

interface State {
  error: number;
  d: number;
  dmin: number;
  sc: number[];
  mn: number[];
}

/** Of 17 f16 numbers about top / end, that for which the integers nearest to wanted / number leave least. */
function chooseUnit(
  top: number,
  [low, high]: readonly [number, number],
  wanted: readonly number[],
  curve: readonly number[],
): number {
  const end = low < 0 ? low : high;
  const span = high > 15 ? 0.025 : 0.125;
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let i = -8; i <= 8; i++) {
    const unit = asF16(top / (end * (1 + (span / 8) * i)));
    const cost = wanted.reduce((sum, x, g) => {
      const off = roundEven(clamp(quotient(x, unit), low, high)) * unit - x;
      return sum + off * off * curve[g]!;
    }, 0);
    if (cost < least) [least, best] = [cost, unit];
  }
  return best;
}

function choose(s: Search, fits: readonly Fit[], groups: readonly Group[]): State {
  const ones = fits.map(() => 1);
  if (!s.scales) return { error: 0, d: asF16(fits[0]!.a), dmin: asF16(fits[0]!.m), sc: ones, mn: ones };
  const [low, high] = s.scales;
  const steps = fits.map((f) => f.a);
  const curve = fits.map((f, g) => (s.min ? f.ll - (f.l * f.l) / groups[g]!.total : f.ll));
  const top = steps.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
  const d = chooseUnit(top, s.scales, steps, curve);
  const sc = steps.map((a) => roundEven(clamp(quotient(a, d), low, high)));
  if (!s.mins) return { error: 0, d, dmin: 0, sc, mn: ones };
  const { mins } = s;
  const totals = groups.map((group) => group.total);
  const wanted = fits.map((f, g) => Math.max(f.m + ((sc[g]! * d - f.a) * f.l) / totals[g]!, 0));
  const dmin = chooseUnit(Math.max(...wanted), mins, wanted, totals);
  return { error: 0, d, dmin, sc, mn: wanted.map((m) => roundEven(clamp(quotient(m, dmin), ...mins))) };
}

/** The integers near those of the state that leave least, and what they leave. */
function near(
  s: Search,
  state: State,
  g: number,
  group: Group,
  around: number,
): { sc: number; mn: number; f: Fit } {
  const [sc0, mn0] = [state.sc[g]!, state.mn[g]!];
  const f = measure(s, group, state.d * sc0, state.dmin * mn0);
  if (!s.scales) return { sc: sc0, mn: mn0, f };
  let best = { sc: sc0, mn: mn0, f };
  for (let k = -around; k <= around; k++) {
    const sc = clamp(sc0 + k, ...s.scales);
    const a = state.d * sc;
    // The minimum of least error at this step, were the codes to stay.
    const moved = quotient(((a - f.a) * f.l - f.r) / group.total, state.dmin);
    const mn = s.mins ? roundEven(clamp(mn0 + moved, ...s.mins)) : mn0;
    const trial = measure(s, group, a, state.dmin * mn);
    if (trial.rr < best.f.rr) best = { sc, mn, f: trial };
  }
  return best;
}

function refine(s: Search, from: State, groups: readonly Group[]): State | undefined {
  const state = { ...from };
  let best: State | undefined;
  for (let pass = 0; ; pass++) {
    let error = 0;
    let [uu, uv, vv, ru, rv] = [0, 0, 0, 0, 0]; // of x = d u - dmin v with u = sc l, v = mn
    const found = groups.map((group, g) =>
      pass < PASSES
        ? near(s, state, g, group, s.around[pass === 0 ? 0 : 1])
        : {
            sc: state.sc[g]!,
            mn: state.mn[g]!,
            f: measure(s, group, state.d * state.sc[g]!, state.dmin * state.mn[g]!),
          },
    );
    found.forEach(({ sc, mn, f }, g) => {
      error += f.rr;
      uu += sc * sc * f.ll;
      ru += sc * f.rl;
      uv += sc * mn * f.l;
      vv += mn * mn * groups[g]!.total;
      rv += mn * f.r;
    });
    state.sc = found.map(({ sc }) => sc);
    state.mn = found.map(({ mn }) => mn);
    if (Number.isFinite(error) && (!best || error < best.error)) best = { ...state, error };
    if (pass === PASSES) return best;
    const det = uu * vv - uv * uv;
    const both = s.min && det > 1e-6 * uu * vv;
    state.d = asF16(state.d + (both ? (ru * vv - rv * uv) / det : quotient(ru, uu)));
    if (both) state.dmin = asF16(state.dmin + (ru * uv - rv * uu) / det);
  }
}

/** Weights of the errors of a block's values. */
function weigh(x: Float64Array, importance: Float32Array | undefined, column: number): Float64Array {
  const squares = x.reduce((sum, v) => sum + v * v, 0);
  const inverse = squares > 1e-36 ? x.length / squares : 0;
  return x.map((v, j) => Math.sqrt(1 + v * v * inverse) * (importance ? importance[column + j]! : 1));
}

/** Fills the parts of block n. False: a value is not finite, or `d` is not in f16. */
function encodeBlock(s: Search, parts: Parts, n: number, x: Float64Array, w: Float64Array): boolean {
  // Of larger numbers the scale, an integer times d, is not in f16: every state would leave more than zeros do.
  const most = s.scales ? 65504 * 0.95 * (s.mins ? s.mins[1] : s.scales[1] * -s.low) : Number.MAX_VALUE;
  if (!x.every((v) => Math.abs(v) <= most)) return false;
  const groups: Group[] = [];
  for (let j = 0; j < s.block; j += s.group) {
    const weights = w.subarray(j, j + s.group);
    groups.push({ x: x.subarray(j, j + s.group), w: weights, total: weights.reduce((a, b) => a + b, 0) });
  }
  const first = choose(
    s,
    groups.map((group) => fit(s, group)),
    groups,
  );
  const state = refine(s, first, groups);
  if (!state) return false;
  parts.d[n] = state.d;
  if (parts.dmin) parts.dmin[n] = state.dmin;
  parts.scales?.set(state.sc, n * groups.length);
  parts.mins?.set(state.mn, n * groups.length);
  groups.forEach((group, g) => {
    const [a, m] = [state.d * state.sc[g]!, state.dmin * state.mn[g]!];
    group.x.forEach((v, j) => {
      parts.codes[n * s.block + g * s.group + j] = code(s, v, a, m) + s.zero;
    });
  });
  return true;
}

/**
 * The bytes of rows of `cols` values; a number, the index of a block's first value, when that block has a value that is not
 * finite, or needs a scale that is not in f16.
 * @param importance [cols], above 0
 */
export function encodeRows(
  type: QuantType,
  values: Float32Array,
  cols: number,
  importance?: Float32Array,
): Uint8Array | number {
  const s = searchOf(type);
  const parts = emptyParts(type, values.length);
  for (let i = 0, n = 0; i < values.length; i += s.block, n++) {
    const x = Float64Array.from(values.subarray(i, i + s.block));
    if (!encodeBlock(s, parts, n, x, weigh(x, importance, i % cols))) return i;
  }
  return packParts(type, parts);
}
