// Rounding to int8 and dot products with WebAssembly's 128-bit vectors. Included by int8.h, inside `namespace
// pith::<isa> {`. The panels are in int8_wasm_panels.h.
#pragma once

PITH_INLINE v128_t vector(const void* p) { return wasm_v128_load(p); }
PITH_INLINE v128_t splat_bytes(const void* p) { return wasm_v128_load32_splat(p); }

// --- Rounding activations ------------------------------------------------------------------------------------------

PITH_INLINE float largest(const float* x) {
  v128_t m = wasm_i32x4_const_splat(0x7fffffff), t = wasm_v128_and(vector(x), m);
  for (int i = 4; i < BLOCK; i += 4) t = wasm_i32x4_max(t, wasm_v128_and(vector(x + i), m));
  t = wasm_i32x4_max(t, wasm_i32x4_shuffle(t, t, 2, 3, 0, 1));
  t = wasm_i32x4_max(t, wasm_i32x4_shuffle(t, t, 1, 0, 3, 2));
  return wasm_f32x4_extract_lane(t, 0);
}
PITH_INLINE int32_t round_block(uint8_t* q, const float* x, float inverse) {
  v128_t s = wasm_f32x4_splat(inverse), sum = wasm_i32x4_const_splat(0);
  for (int h = 0; h < BLOCK; h += 16) {
    v128_t v[4];
    for (int i = 0; i < 4; i++) {
      v[i] = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(wasm_f32x4_mul(vector(x + h + i * 4), s)));
      sum = wasm_i32x4_add(sum, v[i]);
    }
    v128_t a = wasm_i16x8_narrow_i32x4(v[0], v[1]), b = wasm_i16x8_narrow_i32x4(v[2], v[3]);
    wasm_v128_store(q + h, wasm_i8x16_narrow_i16x8(a, b));
  }
  sum = wasm_i32x4_add(sum, wasm_i32x4_shuffle(sum, sum, 2, 3, 0, 1));
  return wasm_i32x4_extract_lane(sum, 0) + wasm_i32x4_extract_lane(sum, 1);
}

// --- Dot products --------------------------------------------------------------------------------------------------

// The 32 values of a token as 16 bits.
PITH_INLINE void widen_x(int16_t* to, const uint8_t* x) {
  for (int h = 0; h < 2; h++) {
    v128_t v = vector(x + h * 16);
    wasm_v128_store(to + h * 16, wasm_i16x8_extend_low_i8x16(v));
    wasm_v128_store(to + h * 16 + 8, wasm_i16x8_extend_high_i8x16(v));
  }
}

constexpr int MOST_TOKENS = 16;

// The tokens of a block as they lie, and where weights need all eight bits or the instruction is missing, as 16 bits.
#if defined(__wasm_relaxed_simd__)
template <class F>
constexpr bool RELAXED = !F::SIGNED;
#else
template <class F>
constexpr bool RELAXED = false;
#endif

template <class F>
struct Activations {
  const uint8_t* x;
  int16_t wide[RELAXED<F> ? 1 : MOST_TOKENS * BLOCK];
  PITH_MEMBER void take(const uint8_t* block, int n) {
    x = block;
    if constexpr (!RELAXED<F>)
#pragma clang loop unroll(disable)
      for (int i = 0; i < n; i++) widen_x(wide + i * BLOCK, x + i * 32);
  }
};

// Four rows. Relaxed: i16 sums of pairs of i8 x i7, F::FOLD groups of them before they are widened. Else i32 sums of pairs
// of 16-bit values.
template <class F>
struct Dots {
  static constexpr int ZERO = F::ZERO;
  v128_t u[RELAXED<F> ? 8 : 16];

  PITH_MEMBER void take(const PI* codes) {
    for (int g = 0; g < 8; g++) {
      v128_t v = (v128_t)codes[g];
      if constexpr (RELAXED<F>) {
        u[g] = v;
      } else {
        u[g * 2] = wasm_i16x8_extend_low_i8x16(v);
        u[g * 2 + 1] = wasm_i16x8_extend_high_i8x16(v);
      }
    }
  }
  PITH_MEMBER PI add(PI s, const Activations<F>& t, int i, int from, int to) const {
#if defined(__wasm_relaxed_simd__)
    if constexpr (RELAXED<F>) {
      const uint8_t* x = t.x + i * 32;
#pragma clang loop unroll(full)
      for (int g = from; g < to; g += F::FOLD) {
        v128_t p = wasm_i16x8_relaxed_dot_i8x16_i7x16(splat_bytes(x + g * 4), u[g]);
        for (int j = g + 1; j < g + F::FOLD && j < to; j++)
          p = wasm_i16x8_add(p, wasm_i16x8_relaxed_dot_i8x16_i7x16(splat_bytes(x + j * 4), u[j]));
        s += (PI)wasm_i32x4_extadd_pairwise_i16x8(p);
      }
      return s;
    }
#endif
    const int16_t* x = t.wide + i * BLOCK;
    v128_t a = wasm_i32x4_const_splat(0), b = a;
#pragma clang loop unroll(full)
    for (int g = from; g < to; g++) {
      v128_t v = wasm_v128_load64_splat(x + g * 4);
      a = wasm_i32x4_add(a, wasm_i32x4_dot_i16x8(u[g * 2], v));
      b = wasm_i32x4_add(b, wasm_i32x4_dot_i16x8(u[g * 2 + 1], v));
    }
    return s + (PI)wasm_i32x4_shuffle(a, b, 0, 2, 4, 6) + (PI)wasm_i32x4_shuffle(a, b, 1, 3, 5, 7);
  }
};
