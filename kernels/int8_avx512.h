// Rounding to int8 and dot products with AVX-512 VNNI. Included by int8.h, inside `namespace pith::<isa> {`.
#pragma once
#include "int8_x86.h"

// --- Rounding activations ------------------------------------------------------------------------------------------

PITH_INLINE float largest(const float* x) {
  __m512i m = _mm512_set1_epi32(0x7fffffff);
  __m512i a = _mm512_and_si512(_mm512_loadu_si512(x), m), b = _mm512_and_si512(_mm512_loadu_si512(x + 16), m);
  int top = _mm512_reduce_max_epi32(_mm512_max_epi32(a, b));
  return __builtin_bit_cast(float, top);
}
PITH_INLINE int32_t round_block(uint8_t* q, const float* x, float inverse) {
  __m512 s = _mm512_set1_ps(inverse);
  __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), s));
  __m512i b = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16), s));
  _mm_storeu_si128((__m128i*)q, _mm512_cvtsepi32_epi8(a));
  _mm_storeu_si128((__m128i*)(q + 16), _mm512_cvtsepi32_epi8(b));
  return _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
}

// Four blocks at once, the same bytes: the searches and sums across lanes are shared. Scales of some blocks first, then
// their bytes: in one step the wait for two divisions would fill the processor's queues.
PITH_INLINE __m512i max2(__m512i lo, __m512i hi) { return _mm512_max_epi32(lo, hi); }
PITH_INLINE void scale_four(float* scale, float* inverse, const float* x) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i m[4];
#pragma GCC unroll 4
  for (int b = 0; b < 4; b++, x += BLOCK)
    m[b] = max2(_mm512_and_si512(_mm512_loadu_si512(x), magnitude),
                _mm512_and_si512(_mm512_loadu_si512(x + 16), magnitude));
  __m512i m01 = max2(_mm512_unpacklo_epi32(m[0], m[1]), _mm512_unpackhi_epi32(m[0], m[1]));
  __m512i m23 = max2(_mm512_unpacklo_epi32(m[2], m[3]), _mm512_unpackhi_epi32(m[2], m[3]));
  __m512i t = max2(_mm512_unpacklo_epi64(m01, m23), _mm512_unpackhi_epi64(m01, m23));  // 0 1 2 3 in each quarter
  t = max2(t, _mm512_shuffle_i64x2(t, t, 0x4e));
  t = max2(t, _mm512_shuffle_i64x2(t, t, 0xb1));
  __m128 d = _mm_div_ps((__m128)_mm512_castsi512_si128(t), _mm_set1_ps(127.0f));
  __mmask8 normal = _mm_cmp_ps_mask(d, _mm_set1_ps(0x1p-126f), _CMP_GE_OQ);
  _mm_storeu_ps(scale, d);
  _mm_storeu_ps(inverse, _mm_maskz_div_ps(normal, _mm_set1_ps(1.0f), d));
}
PITH_INLINE void round_four(uint8_t* tile, int64_t n, int64_t i, const float* x, const float* scale,
                            const float* inverse) {
  // Packing works within quarters: dword k of quarter j is four values of q[k]. The permutation puts them in order.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i packed[2], sums[2];
#pragma GCC unroll 2
  for (int h = 0; h < 2; h++, x += BLOCK * 2) {
    __m512 a = _mm512_set1_ps(inverse[h * 2]), b = _mm512_set1_ps(inverse[h * 2 + 1]);
    __m512i q0 = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), a));
    __m512i q1 = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16), a));
    __m512i q2 = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 32), b));
    __m512i q3 = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 48), b));
    __m512i p = _mm512_packs_epi16(_mm512_packs_epi32(q0, q1), _mm512_packs_epi32(q2, q3));
    packed[h] = _mm512_permutexvar_epi32(order, p);
    sums[h] = _mm512_sad_epu8(_mm512_xor_si512(packed[h], _mm512_set1_epi8(-128)), _mm512_setzero_si512());
  }
  // Eight columns in each: of blocks 0 and 2 in the lower half, of 1 and 3 in the upper. First sixteen and sixteen
  // (each 16 · 128 too large), then all of a block.
  __m512i s = _mm512_add_epi64(_mm512_unpacklo_epi64(sums[0], sums[1]), _mm512_unpackhi_epi64(sums[0], sums[1]));
  s = _mm512_slli_epi64(_mm512_sub_epi64(_mm512_set1_epi64(2048), s), 3);
  __m512i both = _mm512_add_epi64(s, _mm512_shuffle_i64x2(s, s, 0xb1));
  int64_t firsts[8], wholes[8];
  _mm512_storeu_si512(firsts, s);
  _mm512_storeu_si512(wholes, both);
#pragma GCC unroll 4
  for (int b = 0; b < 4; b++, tile += n * X_BYTES) {
    __m256i half = b % 2 ? _mm512_extracti64x4_epi64(packed[b / 2], 1) : _mm512_castsi512_si256(packed[b / 2]);
    _mm256_storeu_si256((__m256i*)(tile + i * 32), half);
    __builtin_memcpy(tile + n * 32 + i * 4, scale + b, 4);
    __builtin_memcpy(tile + n * 36 + i * 4, wholes + b % 2 * 4 + b / 2, 4);
    __builtin_memcpy(tile + n * 40 + i * 4, firsts + b % 2 * 4 + b / 2, 4);
  }
}

// --- Dot products --------------------------------------------------------------------------------------------------

constexpr int UNROLL = 16;

// The instruction wants unsigned weights: signed ones + 128, taken out again with the sum of the activations.
template <class F>
struct Dots {
  static constexpr int ZERO = F::SIGNED ? 128 : F::ZERO;
  __m512i u[8];

  PITH_MEMBER void take(const PI* codes) {
    for (int g = 0; g < 8; g++) u[g] = F::SIGNED ? (__m512i)(codes[g] ^ int32_t(0x80808080)) : (__m512i)codes[g];
  }
  // s + groups [from, to) · the same of token i.
  template <int N>
  PITH_MEMBER PI add(PI s, const Tokens<N>& t, int i, int from, int to) const {
    typedef int32_t __attribute__((may_alias, aligned(4))) Word;
    __m512i sum = (__m512i)s;
    // As text, because gcc loads the four bytes into a register of their own.
#pragma GCC unroll 8
    for (int g = from; g < to; g++)
      asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(u[g]), "m"(*(const Word*)(t.x + i * 32 + g * 4)));
    return (PI)sum;
  }
};
