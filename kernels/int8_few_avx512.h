// A few tokens with panels of codes of two bits and of trits, AVX-512 VNNI. Included by int8.h, inside
// `namespace pith::<isa> {`.
//
// The same integers and float operations as `panel`, with less unpacking: the products of codes times a power of two are
// summed up and shifted at the end.
#pragma once

template <>
constexpr int FEW_TOKENS<TQ2_0> = 4;
template <>
constexpr int FEW_TOKENS<TQ1_0> = 2;

// s + the products of the bytes u, unsigned, with the four columns at x. As text, because gcc loads the four bytes into a
// register of their own.
PITH_INLINE __m512i dot(__m512i s, __m512i u, const uint8_t* x) {
  typedef int32_t __attribute__((may_alias, aligned(4))) Word;
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(s) : "v"(u), "m"(*(const Word*)x));
  return s;
}
// y + what a token's 32 columns at x add, s being their products with the codes less one.
template <int N>
PITH_INLINE P add_run(P y, __m512i s, P a, const uint8_t* x, int i) {
  return fma(to_float((PI)s), a * every_float(x + N * 32 + i * 4), y);
}
// -8 times the sum of a token's 32 columns.
template <int N>
PITH_INLINE __m512i sum_of(const uint8_t* x, int i) {
  return (__m512i)every_int(x + N * 36 + i * 4);
}

template <int N>
static void few_tokens(Format<TQ2_0>, float* y, const uint8_t* w, const uint8_t* x, int64_t blocks) {
  constexpr int STEP = N * X_BYTES;
  P acc[N] = {};
  const __m512i low = _mm512_set1_epi8(3);
  const __m512i mask[4] = {low, _mm512_slli_epi16(low, 2), _mm512_slli_epi16(low, 4), _mm512_slli_epi16(low, 6)};
  for (int64_t b = 0; b < blocks; b += 8, w += Format<TQ2_0>::BYTES) {
    P a = halves(w + 1024, 0);
    for (int half = 0; half < 2; half++, x += 4 * STEP) {
      // Begins with what takes out the code of zero, in the place of the codes.
      __m512i s[4][N];
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++)
#pragma GCC unroll 4
        for (int i = 0; i < N; i++) {
          __m512i sum = sum_of<N>(x + k * STEP, i);
          s[k][i] = k < 2 ? _mm512_srai_epi32(sum, 3 - 2 * k) : _mm512_slli_epi32(sum, 2 * k - 3);
        }
#pragma GCC unroll 8
      for (int g = 0; g < 8; g++) {
        __m512i v = _mm512_loadu_si512(w + half * 512 + g * 64);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
          __m512i u = _mm512_and_si512(v, mask[k]);
#pragma GCC unroll 4
          for (int i = 0; i < N; i++) s[k][i] = dot(s[k][i], u, x + k * STEP + i * 32 + g * 4);
        }
      }
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++)
#pragma GCC unroll 4
        for (int i = 0; i < N; i++) acc[i] = add_run<N>(acc[i], _mm512_srai_epi32(s[k][i], 2 * k), a, x + k * STEP, i);
    }
  }
  for (int i = 0; i < N; i++) put(y + i * 16, acc[i]);
}

// With q a byte and q' = 3q mod 256, which begins with the next digit, a digit is (3q - q') / 256: products with both are
// summed up, and no digit is ever cut out.
template <int N>
struct TwoSums {
  __m512i q[N], next[N];

  PITH_MEMBER TwoSums() {
    for (int i = 0; i < N; i++) q[i] = next[i] = _mm512_setzero_si512();
  }
  PITH_MEMBER __m512i add(__m512i v, const uint8_t* x) {
#pragma GCC unroll 2
    for (int i = 0; i < N; i++) q[i] = dot(q[i], v, x + i * 32);
    v = _mm512_add_epi8(v, _mm512_add_epi8(v, v));
#pragma GCC unroll 2
    for (int i = 0; i < N; i++) next[i] = dot(next[i], v, x + i * 32);
    return v;
  }
  PITH_MEMBER void finish(P* acc, P a, const uint8_t* x) const {
#pragma GCC unroll 2
    for (int i = 0; i < N; i++) {
      __m512i sum = _mm512_sub_epi32(_mm512_slli_epi32(sum_of<N>(x, i), 5), next[i]);
      sum = _mm512_add_epi32(_mm512_add_epi32(q[i], q[i]), _mm512_add_epi32(q[i], sum));
      acc[i] = add_run<N>(acc[i], _mm512_srai_epi32(sum, 8), a, x, i);
    }
  }
};

template <int N>
static void few_tokens(Format<TQ1_0>, float* y, const uint8_t* w, const uint8_t* x, int64_t blocks) {
  constexpr int STEP = N * X_BYTES;
  P acc[N] = {};
  for (int64_t b = 0; b < blocks; b += 8, w += Format<TQ1_0>::BYTES, x += 3 * STEP) {
    P a = halves(w + 832, 0);
    TwoSums<N> s[5], t[3];
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
      __m512i v = _mm512_loadu_si512(w + g * 64);
#pragma GCC unroll 5
      for (int n = 0; n < 5; n++) v = s[n].add(v, x + n * STEP + g * 4);
    }
#pragma GCC unroll 5
    for (int n = 0; n < 5; n++, x += STEP) s[n].finish(acc, a, x);
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
      __m512i v = _mm512_loadu_si512(w + (8 + g) * 64);
#pragma GCC unroll 5
      for (int n = 0; n < 5; n++) v = t[n / 2].add(v, x + n / 2 * STEP + n % 2 * 16 + g * 4);
    }
    __m512i v = _mm512_loadu_si512(w + 12 * 64);
#pragma GCC unroll 4
    for (int n = 0; n < 4; n++) v = t[2].add(v, x + 2 * STEP + 16 + n * 4);
#pragma GCC unroll 3
    for (int n = 0; n < 3; n++) t[n].finish(acc, a, x + n * STEP);
  }
  for (int i = 0; i < N; i++) put(y + i * 16, acc[i]);
}

#include "int8_few_k_avx512.h"
