// Products of panels on WebAssembly, for int8.h: written so that V8 keeps what it multiplies in registers.
// Included by int8.h, inside `namespace pith::<isa> {`.
//
// A vector is four rows. Two ways, with the same integers:
//   relaxed   four columns a step: i16 sums of pairs of i8 x i7. The i7 side is a code of at most six bits, so what the
//             instruction leaves to the processor (a top bit that is set) never comes up; F::FOLD steps fit 16 bits, a whole
//             block of nibbles: 16 · 15 · 127
//   wide      two columns a step, both sides as 16 bits: i32 sums of pairs. The plain build; signed weights in both, since
//             they need all eight bits
// Float operations are those of SIMD128 in both: multiply, then add. The relaxed multiply-add would be rounded once on
// one machine and twice on another, and a row would have other bits there.
//
// What V8 wants. It has 15 registers, and older versions move all loads of a basic block to its front and finish one
// chain of sums before they begin the next. So loops over steps stay loops: their phis keep eight sums growing side by
// side, and six loads fit beside them. Written out, the same steps cost a third more. Pointers are made opaque, because
// LLVM otherwise adds to indices what could be offsets; constants too, which V8 would make anew in each turn. Sums are not
// added with saturation, which would stop LLVM from reordering them: half as many of those run at a time.
#pragma once

#define PITH_OPAQUE(p) asm volatile("" : "+r"(p))
#define PITH_WRITTEN_OUT _Pragma("clang loop unroll(full)")
#define PITH_ROLLED _Pragma("clang loop unroll(disable)")

PITH_INLINE v128_t constant(uint32_t bits) {
  PITH_OPAQUE(bits);
  return wasm_i32x4_splat(int32_t(bits));
}

#if defined(__wasm_relaxed_simd__)
template <class F>
constexpr bool RELAXED = !F::SIGNED;
#else
template <class F>
constexpr bool RELAXED = false;
#endif

constexpr int MOST_TOKENS = 16;

// --- Scales of q4_0 and q8_0 ---------------------------------------------------------------------------------------

// 16 halves as floats: their bits in the places of a float's, then scaled by 2^112, which moves the exponent's bias. They
// are finite: wasm_pack_rows saw to that.
struct Halves {
  v128_t bias = constant(0x77800000), mask = constant(0x8fff8fff);

  PITH_MEMBER void floats(v128_t* to, const uint8_t* w) const {
    for (int i = 0; i < 2; i++) {
      v128_t h = vector(w + i * 16);
      v128_t high = wasm_v128_and(wasm_i16x8_shr(h, 3), mask), low = wasm_i16x8_shl(h, 13);
      to[i * 2] = wasm_f32x4_mul(wasm_i16x8_shuffle(low, high, 0, 8, 1, 9, 2, 10, 3, 11), bias);
      to[i * 2 + 1] = wasm_f32x4_mul(wasm_i16x8_shuffle(low, high, 4, 12, 5, 13, 6, 14, 7, 15), bias);
    }
  }
};

// --- Steps ---------------------------------------------------------------------------------------------------------

template <bool RELAX>
PITH_INLINE v128_t pairs(v128_t x, v128_t u) {
#if defined(__wasm_relaxed_simd__)
  if constexpr (RELAX) return wasm_i16x8_relaxed_dot_i8x16_i7x16(x, u);
#endif
  return wasm_i32x4_dot_i16x8(x, u);
}
template <bool RELAX>
PITH_INLINE v128_t plus(v128_t a, v128_t b) {
  return RELAX ? wasm_i16x8_add(a, b) : wasm_i32x4_add(a, b);
}

// Bytes of a token's 32 columns: as they lie, or as 16 bits.
template <class F>
constexpr int TOKEN_BYTES = RELAXED<F> ? 32 : 64;

// A step of 16 rows and T tokens: s[t * 4 + r] += u[r] · x[t].
template <class F, int T, bool FIRST>
PITH_INLINE void step(v128_t* s, const uint8_t* u, const uint8_t* x) {
  v128_t xs[T];
  PITH_WRITTEN_OUT for (int t = 0; t < T; t++) xs[t] = splat_bytes(x + t * TOKEN_BYTES<F>);
  PITH_WRITTEN_OUT for (int r = 0; r < 4; r++) {
    v128_t v = vector(u + r * 16);
    PITH_WRITTEN_OUT for (int t = 0; t < T; t++) {
      v128_t d = pairs<RELAXED<F>>(xs[t], v);
      s[t * 4 + r] = FIRST ? d : plus<RELAXED<F>>(s[t * 4 + r], d);
    }
  }
}
// `steps` of them, as i32 sums of rows; `more`: added to what is there.
template <class F, int T>
PITH_INLINE void steps(PI* sum, const uint8_t* u, const uint8_t* x, int steps, bool more, v128_t ones) {
  v128_t s[4 * T];
  const uint8_t* end = u + steps * 64;
  PITH_OPAQUE(end);
  step<F, T, true>(s, u, x);
  u += 64, x += 4;
  PITH_ROLLED do {
    PITH_OPAQUE(u);
    PITH_OPAQUE(x);
    step<F, T, false>(s, u, x);
    u += 64, x += 4;
  } while (u != end);
  PITH_WRITTEN_OUT for (int i = 0; i < 4 * T; i++) {
    PI v = (PI)(RELAXED<F> ? wasm_i32x4_dot_i16x8(s[i], ones) : s[i]);
    sum[i] = more ? sum[i] + v : v;
  }
}

// T tokens of a block of 32 columns: y[t * 16 + row] += ..., as int8.h states. `a`: scales of 16 rows, of both halves;
// `m`: minima. d, whole, first: where the tokens' scales and sums lie.
template <class F, int T>
PITH_INLINE void some_tokens(float* y, const uint8_t* u, const uint8_t* x, const uint8_t* d, const uint8_t* whole,
                             const uint8_t* first, const float* a, const float* m, v128_t ones) {
  constexpr int STEPS = (RELAXED<F> ? 8 : 16) / F::PARTS;
  constexpr int AT_ONCE = RELAXED<F> && F::FOLD < STEPS ? F::FOLD : STEPS;
  PI sum[F::PARTS][4 * T];
  PITH_WRITTEN_OUT for (int p = 0; p < F::PARTS; p++)
    PITH_WRITTEN_OUT for (int i = p * STEPS; i < (p + 1) * STEPS; i += AT_ONCE)
      steps<F, T>(sum[p], u + i * 64, x + i * 4, AT_ONCE, i > p * STEPS, ones);
  PITH_WRITTEN_OUT for (int t = 0; t < T; t++) {
    PI all = (PI)splat_bytes(whole + t * 4);
    P dx = (P)splat_bytes(d + t * 4);
    PITH_WRITTEN_OUT for (int r = 0; r < 4; r++) {
      P acc, scale, least;
      float* to = y + t * 16 + r * 4;
      get(acc, to);
      get(scale, a + r * 4);
      if (F::MIN) get(least, m + r * 4);
      if constexpr (F::PARTS == 1) {
        P s = to_float(sum[0][t * 4 + r] + offset<F::ZERO>(all));
        acc = F::MIN ? fma(fma(s, scale, to_float(all) * least), dx, acc) : fma(s, scale * dx, acc);
      } else {
        PI early = (PI)splat_bytes(first + t * 4), late = all - early;
        P scale1, least1;
        get(scale1, a + 16 + r * 4);
        P s = to_float(sum[0][t * 4 + r] + offset<F::ZERO>(early)) * scale;
        s = fma(to_float(sum[1][t * 4 + r] + offset<F::ZERO>(late)), scale1, s);
        if (F::MIN) {
          get(least1, m + 16 + r * 4);
          s = fma(to_float(late), least1, fma(to_float(early), least, s));
        }
        acc = fma(s, dx, acc);
      }
      put(to, acc);
    }
  }
}

// --- Panels --------------------------------------------------------------------------------------------------------

// Wide, 32 columns are those that are even, then those that are odd; with two scales first so of 16, then of the others.
// Bytes of a token from 16 columns to the next 16, and from even ones to odd ones.
template <class F>
constexpr int HALF = F::PARTS == 2 ? 32 : 16;
template <class F>
constexpr int ODD = F::PARTS == 2 ? 16 : 32;

// 32 columns of weights as the steps take them. `whole`: four rows' block, if it is unpacked at once.
template <class F>
PITH_INLINE void unpack(uint8_t* to, const uint8_t* w, int h, int s, const PI* whole) {
  PI u[8];
  if constexpr (F::WHOLE)
    __builtin_memcpy(u, whole + s * 8, sizeof u);
  else
    F::codes(u, w, h, s);
  PITH_WRITTEN_OUT for (int g = 0; g < 8; g++) {
    v128_t v = (v128_t)u[g];
    if (RELAXED<F>) {
      wasm_v128_store(to + g * 64 + h * 16, v);
    } else {
      uint8_t* at = to + (g / 4 * HALF<F> / 4 + g % 4) * 64 + h * 16;
      wasm_v128_store(at, wasm_i16x8_shr(wasm_i16x8_shl(v, 8), 8));
      wasm_v128_store(at + ODD<F> * 16, wasm_i16x8_shr(v, 8));
    }
  }
}
// 32 values of each token as 16 bits.
template <class F>
PITH_INLINE void widen_x(uint8_t* to, const uint8_t* x, int n) {
  const uint8_t* end = x + n * 32;
  PITH_ROLLED for (; x != end; x += 32, to += 64) {
    PITH_OPAQUE(x);
    PITH_OPAQUE(to);
    PITH_WRITTEN_OUT for (int i = 0; i < 2; i++) {
      v128_t v = vector(x + i * 16);
      wasm_v128_store(to + i * HALF<F>, wasm_i16x8_shr(wasm_i16x8_shl(v, 8), 8));
      wasm_v128_store(to + i * HALF<F> + ODD<F>, wasm_i16x8_shr(v, 8));
    }
  }
}

template <class F>
__attribute__((noinline)) static void any_panel(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int n) {
  constexpr int BLOCKS = F::COLUMNS / BLOCK;
  constexpr bool SIMPLE = F::TYPE == Q4_0 || F::TYPE == Q8_0;
  uint8_t u[(RELAXED<F> ? 8 : 16) * 64], wide[RELAXED<F> ? 16 : MOST_TOKENS * 64];
  float a[F::PARTS * 16], m[F::PARTS * 16];
  Halves halves;
  v128_t ones = constant(0x00010001);
  PITH_ROLLED for (int i = 0; i < n * 16; i += 4) wasm_v128_store(y + i, wasm_f32x4_const_splat(0));
  PI whole[4][F::WHOLE ? 64 : 1];
  PITH_ROLLED for (int64_t b = 0; b < blocks; b += BLOCKS, w += F::BYTES) {
    typename F::Head head[4];
    if constexpr (F::WHOLE) PITH_ROLLED for (int h = 0; h < 4; h++) F::block(whole[h], w, h);
    if constexpr (SIMPLE)
      halves.floats((v128_t*)a, w);
    else
      for (int h = 0; h < 4; h++) head[h] = F::head(w, h);
    PITH_ROLLED for (int s = 0; s < BLOCKS; s++, x += n * X_BYTES) {
      PITH_ROLLED for (int h = 0; h < 4; h++) {
        unpack<F>(u, w, h, s, whole[h]);
        if constexpr (SIMPLE) continue;
        P scale[2], least[2];
        F::scales(scale, least, head[h], w, h, s);
        for (int p = 0; p < F::PARTS; p++) {
          put(a + p * 16 + h * 4, scale[p]);
          if (F::MIN) put(m + p * 16 + h * 4, least[p] * -0.125f);
        }
      }
      const uint8_t *tokens = x, *d = x + n * 32, *whole = d + n * 4, *first = whole + n * 4, *weights = u;
      if (!RELAXED<F>) widen_x<F>(wide, x, n), tokens = wide;
      const uint8_t* end = tokens + (n & ~1) * TOKEN_BYTES<F>;
      float* to = y;
      PITH_OPAQUE(end);
      PITH_OPAQUE(weights);
      PITH_ROLLED while (tokens != end) {
        PITH_OPAQUE(tokens);
        PITH_OPAQUE(to);
        PITH_OPAQUE(d);
        PITH_OPAQUE(whole);
        if (F::PARTS == 2) PITH_OPAQUE(first);
        some_tokens<F, 2>(to, weights, tokens, d, whole, first, a, m, ones);
        tokens += 2 * TOKEN_BYTES<F>, to += 32, d += 8, whole += 8, first += 8;
      }
      if (n & 1) some_tokens<F, 1>(to, weights, tokens, d, whole, first, a, m, ones);
    }
  }
}

// --- One token of q4_0 and q8_0: no detour through memory ------------------------------------------------------------

// Four columns and the four 16 columns further on.
struct Nibbles {
  static constexpr bool NARROW = RELAXED<Format<Q4_0>>;
  v128_t low = constant(NARROW ? 0x0f0f0f0f : 0x000f000f);

  PITH_MEMBER v128_t products(v128_t v, const v128_t* x) const {
    v128_t high = wasm_u16x8_shr(v, 4);
    v128_t d = plus<NARROW>(pairs<NARROW>(x[0], wasm_v128_and(v, low)), pairs<NARROW>(x[1], wasm_v128_and(high, low)));
    if (NARROW) return d;
    d = plus<NARROW>(d, pairs<NARROW>(x[2], wasm_v128_and(wasm_u16x8_shr(v, 8), low)));
    return plus<NARROW>(d, pairs<NARROW>(x[3], wasm_u16x8_shr(v, 12)));
  }
};
// Four columns.
struct Bytes {
  static constexpr bool NARROW = false;

  PITH_MEMBER v128_t products(v128_t v, const v128_t* x) const {
    return plus<NARROW>(pairs<NARROW>(x[0], wasm_i16x8_shr(wasm_i16x8_shl(v, 8), 8)), pairs<NARROW>(x[2], wasm_i16x8_shr(v, 8)));
  }
};

// s[r] += 64 bytes of weights · x. Wide, x has odd columns too.
template <class Way, bool FIRST>
PITH_INLINE void direct_step(v128_t* s, const Way& way, const uint8_t* w, const uint8_t* x) {
  v128_t xs[4];
  PITH_WRITTEN_OUT for (int i = 0; i < (Way::NARROW ? 2 : 4); i++) xs[i] = splat_bytes(x + i * 16);
  PITH_WRITTEN_OUT for (int r = 0; r < 4; r++) {
    v128_t d = way.products(vector(w + r * 16), xs);
    s[r] = FIRST ? d : plus<Way::NARROW>(s[r], d);
  }
}

template <class F, class Way>
__attribute__((noinline)) static void one_token(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks) {
  v128_t acc[4] = {};
  Halves halves;
  Way way;
  uint8_t wide[64];
  const uint8_t* end = w + blocks * F::BYTES;
  PITH_ROLLED for (; w != end; w += F::BYTES, x += X_BYTES) {
    PITH_OPAQUE(w);
    PITH_OPAQUE(x);
    const uint8_t *p = w + 32, *stop = w + F::BYTES, *q = x;
    if (!Way::NARROW) widen_x<F>(wide, x, 1), q = wide;
    PITH_OPAQUE(stop);
    v128_t s[4], scale[4];
    direct_step<Way, true>(s, way, p, q);
    p += 64, q += 4;
    PITH_ROLLED do {
      PITH_OPAQUE(p);
      PITH_OPAQUE(q);
      direct_step<Way, false>(s, way, p, q);
      p += 64, q += 4;
    } while (p != stop);
    v128_t dx = splat_bytes(x + 32), sum = splat_bytes(x + 36);
    halves.floats(scale, w);
    PITH_WRITTEN_OUT for (int r = 0; r < 4; r++) {
      v128_t v = Way::NARROW ? wasm_i32x4_extadd_pairwise_i16x8(s[r]) : s[r];
      if (F::ZERO) v = wasm_i32x4_add(v, sum);
      acc[r] = wasm_f32x4_add(wasm_f32x4_mul(wasm_f32x4_convert_i32x4(v), wasm_f32x4_mul(scale[r], dx)), acc[r]);
    }
  }
  for (int r = 0; r < 4; r++) wasm_v128_store(y + r * 4, acc[r]);
}

#include "int8_wasm_ternary.h"

template <int TYPE>
PITH_INLINE void panel_tokens(float* y, const uint8_t* w, const uint8_t* x, int64_t n, int64_t blocks, int64_t) {
  typedef Format<TYPE> F;
  if (TYPE == Q4_0 && n == 1) return one_token<F, Nibbles>(y, w, x, blocks);
  if (TYPE == Q8_0 && n == 1) return one_token<F, Bytes>(y, w, x, blocks);
  if constexpr (TYPE == TQ2_0 || TYPE == TQ1_0)
    if (n == 1) return one_token(F(), y, w, x, blocks);
  any_panel<F>(y, w, x, blocks, int(n));
}
