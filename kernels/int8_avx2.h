// Rounding to int8 and dot products with AVX2. Included by int8.h, inside `namespace pith::<isa> {`.
#pragma once
#include "int8_x86.h"

// --- Rounding activations ------------------------------------------------------------------------------------------

PITH_INLINE float largest(const float* x) {
  __m256i m = _mm256_set1_epi32(0x7fffffff), t = _mm256_setzero_si256();
  for (int i = 0; i < 32; i += 8)
    t = _mm256_max_epi32(t, _mm256_and_si256(_mm256_loadu_si256((const __m256i*)(x + i)), m));
  __m128i h = _mm_max_epi32(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1));
  h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0x4e));
  h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0xb1));
  return __builtin_bit_cast(float, _mm_cvtsi128_si32(h));
}
PITH_INLINE int32_t round_block(uint8_t* q, const float* x, float inverse) {
  __m256 s = _mm256_set1_ps(inverse);
  __m256i v[4];
  for (int i = 0; i < 4; i++) v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i * 8), s));
  // Packing works within 128-bit halves; the permutation puts the fours in order.
  __m256i p = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  p = _mm256_permutevar8x32_epi32(p, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256((__m256i*)q, p);
  __m256i t = _mm256_add_epi32(_mm256_add_epi32(v[0], v[1]), _mm256_add_epi32(v[2], v[3]));
  __m128i h = _mm_add_epi32(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1));
  h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
  h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1));
  return _mm_cvtsi128_si32(h);
}

// --- Dot products --------------------------------------------------------------------------------------------------

constexpr int UNROLL = 4;

// Pairs of products of an unsigned and a signed byte in 16 bits, F::FOLD groups of them before they are widened.
// Signed weights: |w| · (x with the sign of w).
template <class F>
struct Dots {
  static constexpr int ZERO = F::ZERO;
  __m256i u[8], sign[8];

  PITH_MEMBER void take(const PI* codes) {
    for (int g = 0; g < 8; g++) {
      u[g] = F::SIGNED ? _mm256_abs_epi8((__m256i)codes[g]) : (__m256i)codes[g];
      if (F::SIGNED) sign[g] = (__m256i)codes[g];
    }
  }
  PITH_MEMBER __m256i pairs(const uint8_t* x, int g) const {
    int32_t four;
    __builtin_memcpy(&four, x + g * 4, 4);
    __m256i v = _mm256_set1_epi32(four);
    return _mm256_maddubs_epi16(u[g], F::SIGNED ? _mm256_sign_epi8(v, sign[g]) : v);
  }
  template <int N>
  PITH_MEMBER PI add(PI s, const Tokens<N>& t, int i, int from, int to) const {
    const uint8_t* x = t.x + i * 32;
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int g = from; g < to; g += F::FOLD) {
      __m256i p = pairs(x, g);
      for (int j = g + 1; j < g + F::FOLD && j < to; j++) p = _mm256_add_epi16(p, pairs(x, j));
      s += (PI)_mm256_madd_epi16(p, ones);
    }
    return s;
  }
};
