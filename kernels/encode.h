// Rounding of rows of floats to quantized blocks with the least weighted squared error: codes, steps and minima are searched
// together. Sixteen rows are the lanes, so every decision is a select and nothing is summed across lanes. The bytes are
// made as a panel (encode_blocks.h) and moved to rows by pack.cc.
//
// A type is a Grid: x = a · l - m with codes l from LOW to HIGH, where a and m belong to GROUP columns and are, in types with
// SCALES, integers times d and dmin of COLUMNS columns. An error counts importance · sqrt(1 + x² / mean x² of the block). Steps:
//   fit     of each group the real a and m of least error: for some steps, and two beside the best of them, the a and m that
//           are best for the codes rounded at that step; the best once more by rounding and least squares
//   choose  d and dmin, and integers, by the quadratic forms of those fits
//   refine  in turn: integers near the ones chosen, with codes rounded anew; d and dmin by least squares, as f16
// The best state of all, with its codes rounded, is written. float64 form: src/engine/encode.ts.
// Included inside `namespace pith::<isa> {`.
#pragma once
#include "simd.h"
#include "transpose.h"

constexpr float HUGE_ERROR = 3.0e38f;

// SCALE_LOW..SCALE_HIGH, 0..MIN_HIGH: the integers; SCALE_HIGH 0: there are none, and GROUP is COLUMNS.
template <int COLUMNS_, int GROUP_, int LOW_, int HIGH_, bool MIN_, int SCALE_LOW_ = 0, int SCALE_HIGH_ = 0, int MIN_HIGH_ = 0>
struct Grid {
  static constexpr int COLUMNS = COLUMNS_, GROUP = GROUP_, GROUPS = COLUMNS_ / GROUP_, LOW = LOW_, HIGH = HIGH_;
  static constexpr int SCALE_LOW = SCALE_LOW_, SCALE_HIGH = SCALE_HIGH_, MIN_HIGH = MIN_HIGH_;
  static constexpr bool MIN = MIN_, SCALES = SCALE_HIGH_ > 0, ONE_SIGN = MIN_ || LOW_ == -HIGH_;
  // Levels between zero, or the minimum, and the end that reaches further; a start has this many + delta of them.
  static constexpr int REACH = MIN_ ? HIGH_ : -LOW_;
  static constexpr float FIRST = REACH == 1 ? 0 : REACH == 3 ? -0.75f : -1.75f;
  static constexpr float LAST = REACH == 1 ? 2.5f : REACH == 3 ? 1.25f : 1.75f;
  // With a minimum, starts count codes from the middle, where their sums are smallest and least is rounded away; and errors
  // turn faster with the step.
  static constexpr int MIDDLE = MIN_ ? (HIGH_ + 1) / 2 : 0;
  static constexpr int STARTS = MIN_ && REACH > 3 ? 10 : 8;
  // How far integers are looked for around the last ones, at first and then: steps of one byte are so fine that it takes
  // more of them, those of four bits so coarse that it pays twice.
  static constexpr int AROUND = SCALE_HIGH_ == 127 ? 4 : 2, AGAIN = SCALE_HIGH_ == 15 ? AROUND : AROUND / 2;
  // Of larger numbers the scale, an integer times d, is not in f16: every state would leave more than zeros do.
  static constexpr float MOST = SCALES ? 65504 * 0.95f * float(MIN_ ? MIN_HIGH_ : SCALE_HIGH_ * -LOW_) : HUGE_ERROR;
};
// What takes the time, compiled once for each type: it is called from several places.
#define PITH_CALLED __attribute__((noinline))
// In the module, loops over a group stay loops: unrolled for every type they took 180 KB.
#if defined(__wasm__)
#define PITH_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define PITH_ROLLED
#endif
constexpr int PASSES = 2;

// A group's a and m, and over its columns the weighted sums of r², r l, r, l², l for the error r = x - a l + m.
struct Fit {
  V a, m, rr, rl, r, ll, l;
};

PITH_INLINE V clamp(V v, float low, float high) { return min(max(v, splat(low)), splat(high)); }
PITH_INLINE V quotient(V a, V b) { return select(b == zero(), zero(), a / b); }
PITH_INLINE V inverse(V a) { return quotient(splat(1), a); }
PITH_INLINE V magnitude(V v) { return max(v, -v); }
PITH_INLINE V as_f16(V v) {
  uint16_t h[16];
  store_f16(h, v);
  return load_f16(h);
}

// The code of x at step a and minimum m: inv = 1 / a, shift = m / a.
template <class G>
PITH_INLINE V code(V x, V inv, V shift) {
  return nearest(clamp(G::MIN ? fma(x, inv, shift) : x * inv, G::LOW, G::HIGH));
}

// Error and sums of a group with codes rounded at (a, m).
template <class G>
static PITH_CALLED void measure(Fit& out, const float* x, const float* w, V a, V m) {
  V inv = inverse(a), shift = m * inv, minus = -a;
  Fit f = {a, m, zero(), zero(), zero(), zero(), zero()};
  PITH_ROLLED
  for (int j = 0; j < G::GROUP; j++) {
    V v = load(x + j * 16), wj = load(w + j * 16), l = code<G>(v, inv, shift);
    V r = fma(minus, l, G::MIN ? v + m : v), wr = wj * r, wl = wj * l;
    f.rr = fma(wr, r, f.rr);
    f.rl = fma(wr, l, f.rl);
    f.ll = fma(wl, l, f.ll);
    if (G::MIN) {
      f.r += wr;
      f.l += wl;
    }
  }
  out = f;
}

// The same, only the error.
template <class G>
static PITH_CALLED V error_at(const float* x, const float* w, V a, V m) {
  V inv = inverse(a), shift = m * inv, minus = -a, rr = zero();
  PITH_ROLLED
  for (int j = 0; j < G::GROUP; j++) {
    V v = load(x + j * 16);
    V r = fma(minus, code<G>(v, inv, shift), G::MIN ? v + m : v);
    rr = fma(load(w + j * 16) * r, r, rr);
  }
  return rr;
}

// Least squares with the codes held: the a and m that leave least, and what they leave. `total`: the sum of the weights.
// With integers for minima, m is not below 0.
template <class G>
PITH_INLINE Fit solved(Fit f, V total) {
  if (!G::MIN) {
    V da = quotient(f.rl, f.ll);
    f.a += da;
    f.rr = fma(-da, f.rl, f.rr);
    return f;
  }
  V mean = f.l / total, spread = fma(-mean, f.l, f.ll);
  V da = select(spread > splat(1e-6f) * f.ll, fma(-mean, f.r, f.rl) / spread, zero());
  V dm = (da * f.l - f.r) / total;
  if (G::SCALES) {
    I below = f.m + dm < zero();
    dm = select(below, -f.m, dm);
    da = select(below, quotient(fma(dm, f.l, f.rl), f.ll), da);
  }
  f.a += da;
  f.m += dm;
  f.rr = f.rr + da * (da * f.ll - splat(2) * f.rl) + dm * (dm * total + splat(2) * f.r) - splat(2) * da * dm * f.l;
  return f;
}

// Of codes l rounded at step 1 / inv, less MIDDLE: Σ w x l, Σ w l² and Σ w l. CUT: some may lie beyond the ends.
template <class G, bool CUT>
static PITH_CALLED void scan(V& xl, V& ll, V& l1, const float* x, const float* w, V inv, V shift) {
  xl = ll = l1 = zero();
  V sx = xl, sl = xl, s1 = xl;
  PITH_ROLLED
  for (int j = 0; j < G::GROUP; j++) {
    V v = load(x + j * 16), l = G::MIN ? fma(v, inv, shift) : v * inv;
    if (CUT) l = min(l, splat(G::HIGH - G::MIDDLE));
    if (CUT && !G::MIN) l = max(l, splat(G::LOW));
    l = nearest(l);
    V wl = load(w + j * 16) * l;
    sx = fma(wl, v, sx);
    sl = fma(wl, l, sl);
    if (G::MIN) s1 += wl;
  }
  xl = sx;
  ll = sl;
  l1 = s1;
}

// The best start so far: what it explains of Σ w x², the a and m it ends with, and where it began.
struct Start {
  V most, a, m, unit, delta;
};

// Rounds at `delta` more levels than the step 1 / unit has, and keeps the a and m that are best for those codes.
template <class G>
PITH_INLINE void attempt(Start& best, const float* x, const float* w, V total, V wx, V low, V unit, V delta, bool cut) {
  V inv = unit * fma(delta, splat(1.0f / G::REACH), splat(1)), shift = G::MIN ? -low * inv - splat(G::MIDDLE) : zero();
  V xl, ll, l1, a, m = zero(), explained;
  if (cut) scan<G, true>(xl, ll, l1, x, w, inv, shift);
  else scan<G, false>(xl, ll, l1, x, w, inv, shift);
  if (!G::MIN) {
    a = quotient(xl, ll);
    explained = a * xl;
  } else {
    V mean = l1 / total, spread = fma(-mean, l1, ll), slope = fma(-mean, wx, xl);
    a = select(spread > splat(1e-6f) * ll, slope / spread, zero());
    m = fma(a, splat(G::MIDDLE), fma(a, l1, -wx) / total);
    explained = a * slope;
    if (G::SCALES) {
      I below = m < zero();
      xl = fma(splat(G::MIDDLE), wx, xl);
      ll = fma(splat(G::MIDDLE), fma(splat(G::MIDDLE), total, l1 + l1), ll);
      V alone = quotient(xl, ll);
      explained = select(below, fma(alone, xl, -wx * wx / total), explained);
      a = select(below, alone, a);
      m = select(below, zero(), m);
    }
  }
  I better = explained > best.most;
  best = {select(better, explained, best.most), select(better, a, best.a), select(better, m, best.m),
          select(better, unit, best.unit), select(better, delta, best.delta)};
}

template <class G>
static void fit(Fit& f, const float* x, const float* w, V total) {
  V low = load(x), high = low, wx = zero();
  PITH_ROLLED
  for (int j = 1; j < G::GROUP; j++) {
    V v = load(x + j * 16);
    low = min(v, low);
    high = max(v, high);
  }
  if (G::SCALES) low = min(low, zero());
  if (G::MIN) {
    PITH_ROLLED
    for (int j = 0; j < G::GROUP; j++) wx = fma(load(w + j * 16), load(x + j * 16), wx);
  }
  // The step at which codes just reach from end to end; of signed codes, whose ends differ, with either sign.
  V up = max(low * splat(1.0f / G::LOW), high * splat(1.0f / G::HIGH));
  V down = min(low * splat(1.0f / G::HIGH), high * splat(1.0f / G::LOW));
  constexpr float between = (G::LAST - G::FIRST) / (G::STARTS - 1);
  Start best = {splat(-1), zero(), zero(), zero(), zero()};
  PITH_ROLLED
  for (int sign = 0; sign < (G::ONE_SIGN ? 1 : 2); sign++) {
    V unit = inverse(G::MIN ? (high - low) * splat(1.0f / G::HIGH) : sign ? down : up);
    PITH_ROLLED
    for (int i = 0; i < G::STARTS; i++) {
      float delta = G::FIRST + between * float(i);
      attempt<G>(best, x, w, total, wx, low, unit, splat(delta), delta > 0);
    }
  }
  V unit = best.unit, delta = best.delta;
  PITH_ROLLED
  for (float beside = -0.5f; beside < 1; beside++) attempt<G>(best, x, w, total, wx, low, unit, delta + splat(between * beside), true);
  measure<G>(f, x, w, best.a, best.m);
  f = solved<G>(f, total);
}

// d, dmin and the integers of each group; 1 where the type has none.
template <class G>
struct State {
  V error, d, dmin, sc[G::GROUPS], mn[G::GROUPS];
};

// Of 17 f16 numbers about top / end, that for which the integers nearest to wanted / number leave least.
static PITH_CALLED V choose_unit(V top, float low, float high, int groups, const V* wanted, const V* curve) {
  const float end = low < 0 ? low : high, span = high > 15 ? 0.025f : 0.125f;
  V best = zero(), least = splat(HUGE_ERROR);
  PITH_ROLLED
  for (int i = -8; i <= 8; i++) {
    V unit = as_f16(top * splat(1.0f / (end * (1.0f + span / 8 * float(i))))), inv = inverse(unit), cost = zero();
    PITH_ROLLED
    for (int g = 0; g < groups; g++) {
      V off = fma(nearest(clamp(wanted[g] * inv, low, high)), unit, -wanted[g]);
      cost = fma(off * off, curve[g], cost);
    }
    I better = cost < least;
    least = select(better, cost, least);
    best = select(better, unit, best);
  }
  return best;
}

template <class G>
static void choose(State<G>& s, const Fit* f, const V* total) {
  if (!G::SCALES) {
    s.d = as_f16(f[0].a);
    s.dmin = as_f16(f[0].m);
    s.sc[0] = s.mn[0] = splat(1);
    return;
  }
  V wanted[G::GROUPS], curve[G::GROUPS], top = zero();
  PITH_ROLLED
  for (int g = 0; g < G::GROUPS; g++) {
    wanted[g] = f[g].a;
    curve[g] = G::MIN ? fma(-f[g].l, f[g].l / total[g], f[g].ll) : f[g].ll;  // with m following a
    top = select(magnitude(wanted[g]) > magnitude(top), wanted[g], top);
  }
  s.d = choose_unit(top, G::SCALE_LOW, G::SCALE_HIGH, G::GROUPS, wanted, curve);
  V inv = inverse(s.d);
  top = zero();
  PITH_ROLLED
  for (int g = 0; g < G::GROUPS; g++) {
    s.sc[g] = nearest(clamp(wanted[g] * inv, G::SCALE_LOW, G::SCALE_HIGH));
    if (!G::MIN) continue;
    wanted[g] = max(fma(fma(s.sc[g], s.d, -f[g].a), f[g].l / total[g], f[g].m), zero());
    top = max(wanted[g], top);
  }
  s.dmin = zero();
  if (!G::MIN) return;
  s.dmin = choose_unit(top, 0, G::MIN_HIGH, G::GROUPS, wanted, total);
  inv = inverse(s.dmin);
  PITH_ROLLED
  for (int g = 0; g < G::GROUPS; g++) s.mn[g] = nearest(clamp(wanted[g] * inv, 0, G::MIN_HIGH));
}

// The integers at most `around` from sc and mn that leave least, where that is less than f leaves, which is measured at sc and mn.
template <class G>
PITH_INLINE void step(V& sc, V& mn, Fit& f, const State<G>& s, const float* x, const float* w, V total, int around) {
  V inv = inverse(s.dmin), least = f.rr, sc0 = sc, mn0 = mn;
  PITH_ROLLED
  for (int k = -around; k <= around; k++) {
    V trial = clamp(sc0 + splat(float(k)), G::SCALE_LOW, G::SCALE_HIGH), a = s.d * trial, best_mn = mn0;
    // The minimum of least error at this step, were the codes to stay.
    if (G::MIN) best_mn = nearest(clamp(fma((a - f.a) * f.l - f.r, inv / total, mn0), 0, G::MIN_HIGH));
    V error = error_at<G>(x, w, a, s.dmin * best_mn);
    I better = error < least;
    least = select(better, error, least);
    sc = select(better, trial, sc);
    mn = select(better, best_mn, mn);
  }
  measure<G>(f, x, w, s.d * sc, s.dmin * mn);
}

template <class G>
static void refine(State<G>& best, const float* x, const float* w, const V* total) {
  State<G> s = best;
  best.error = splat(HUGE_ERROR);
  PITH_ROLLED
  for (int pass = 0;; pass++) {
    V error = zero();
    // Of least squares for d and dmin: x = d u - dmin v with u = sc l, v = mn.
    V uu = zero(), uv = zero(), vv = zero(), ru = zero(), rv = zero();
    PITH_ROLLED
    for (int g = 0; g < G::GROUPS; g++) {
      const float *xg = x + g * G::GROUP * 16, *wg = w + g * G::GROUP * 16;
      V sc = s.sc[g], mn = s.mn[g];
      Fit f;
      measure<G>(f, xg, wg, s.d * sc, s.dmin * mn);
      if (G::SCALES && pass < PASSES) step<G>(sc, mn, f, s, xg, wg, total[g], pass ? G::AGAIN : G::AROUND);
      s.sc[g] = sc;
      s.mn[g] = mn;
      error += f.rr;
      uu = fma(sc * sc, f.ll, uu);
      ru = fma(sc, f.rl, ru);
      if (!G::MIN) continue;
      uv = fma(sc * mn, f.l, uv);
      vv = fma(mn * mn, total[g], vv);
      rv = fma(mn, f.r, rv);
    }
    I better = error < best.error;
    best.error = select(better, error, best.error);
    best.d = select(better, s.d, best.d);
    best.dmin = select(better, s.dmin, best.dmin);
    PITH_ROLLED
    for (int g = 0; g < G::GROUPS; g++) {
      best.sc[g] = select(better, s.sc[g], best.sc[g]);
      best.mn[g] = select(better, s.mn[g], best.mn[g]);
    }
    if (pass == PASSES) return;
    V dd = quotient(ru, uu), dm = zero();
    if (G::MIN) {
      V det = uu * vv - uv * uv;
      I both = det > splat(1e-6f) * uu * vv;
      dd = select(both, (ru * vv - rv * uv) / det, dd);
      dm = select(both, (ru * uv - rv * uu) / det, zero());
    }
    s.d = as_f16(s.d + dd);
    s.dmin = as_f16(s.dmin + dm);
  }
}

// Weights of the errors of a block, and their sums. False: a number is too large.
template <class G>
PITH_INLINE bool weigh(float* w, V* total, const float* x, const float* importance) {
  V squares = zero(), most = zero();
  PITH_ROLLED
  for (int j = 0; j < G::COLUMNS; j++) {
    V v = load(x + j * 16);
    squares = fma(v, v, squares);
    most = max(most, magnitude(v));
  }
  V inv = select(squares > splat(1e-36f), splat(float(G::COLUMNS)) / squares, zero());
  PITH_ROLLED
  for (int g = 0; g < G::GROUPS; g++) {
    total[g] = zero();
    PITH_ROLLED
    for (int j = g * G::GROUP; j < (g + 1) * G::GROUP; j++) {
      V v = load(x + j * 16), wj = sqrt(fma(v * v, inv, splat(1)));
      if (importance) wj = wj * splat(importance[j]);
      store(w + j * 16, wj);
      total[g] += wj;
    }
  }
  return !(max_lane(most) > G::MOST);
}

// Codes of the block, from LOW.
template <class G>
PITH_INLINE void round_codes(int32_t* codes, const State<G>& s, const float* x) {
  PITH_ROLLED
  for (int g = 0; g < G::GROUPS; g++) {
    V a = s.d * s.sc[g], inv = inverse(a), shift = s.dmin * s.mn[g] * inv;
    PITH_ROLLED
    for (int i = g * G::GROUP * 16; i < (g + 1) * G::GROUP * 16; i += 16)
      store_int(codes + i, to_int(code<G>(load(x + i), inv, shift)));
  }
}

#include "encode_blocks.h"

// x[k * 16 + r]: 16 columns of the rows of a piece, as f32, from column c.
PITH_INLINE void load_columns(float* x, const EncodePiece& p, int64_t c) {
  if (p.from == F32) return transpose(x, (const float*)p.values + c, p.stride, p.rows, 16);
  const uint16_t* from = (const uint16_t*)p.values + c;
  float tile[256];
  for (int64_t r = 0; r < p.rows; r++, from += p.stride) store(tile + r * 16, p.from == F16 ? load_f16(from) : load_bf16(from));
  transpose(x, tile, 16, p.rows, 16);
}

template <class G, class Write>
static int64_t encode_blocks(const EncodePiece& p, uint8_t* scratch, Write write) {
  float *x = (float*)scratch, *w = x + 256 * 16;
  int32_t* codes = (int32_t*)(w + 256 * 16);
  uint8_t* panel = (uint8_t*)(codes + 256 * 16);
  int64_t bytes = int64_t(row_bytes(p.type, G::COLUMNS));
  for (int64_t c = 0; c < p.cols; c += G::COLUMNS) {
    PITH_ROLLED
    for (int k = 0; k < G::COLUMNS; k += 16) load_columns(x + k * 16, p, c + k);
    V total[G::GROUPS];
    Fit fits[G::GROUPS];
    State<G> s;
    if (!weigh<G>(w, total, x, p.importance ? p.importance + c : nullptr)) return c;
    PITH_ROLLED
    for (int g = 0; g < G::GROUPS; g++) fit<G>(fits[g], x + g * G::GROUP * 16, w + g * G::GROUP * 16, total[g]);
    choose<G>(s, fits, total);
    refine<G>(s, x, w, total);
    // No state was better than none: something was not finite, or so large that d is not.
    if (!(max_lane(select(s.error < splat(HUGE_ERROR), zero(), splat(1))) == 0)) return c;
    round_codes<G>(codes, s, x);
    write(panel, Codes<G>{codes, s});
    unpack_panel(p.out + c / G::COLUMNS * bytes, p.out_stride, p.type, G::COLUMNS, p.rows, panel);
  }
  return -1;
}

static int64_t encode(const EncodePiece& p, uint8_t* scratch) {
  int64_t bad = -1;
  with_grid(p.type, [&](auto grid, auto write) { bad = encode_blocks<decltype(grid)>(p, scratch, write); });
  return bad;
}
