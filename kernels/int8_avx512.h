// Rounding to int8 and the products of int8.h with AVX-512 VNNI. Included by int8.h, inside `namespace pith::<isa> {`.
#pragma once

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
  // Blocks 0 and 2 in the lower half, 1 and 3 in the upper; each sum is 32 · 128 too large.
  __m512i s = _mm512_add_epi64(_mm512_unpacklo_epi64(sums[0], sums[1]), _mm512_unpackhi_epi64(sums[0], sums[1]));
  s = _mm512_add_epi64(s, _mm512_shuffle_i64x2(s, s, 0xb1));
  s = _mm512_slli_epi64(_mm512_sub_epi64(_mm512_set1_epi64(4096), s), 3);
  __m128i even = _mm512_castsi512_si128(s), odd = _mm512_extracti32x4_epi32(s, 2);
  __m128i offsets = _mm_unpacklo_epi64(_mm_unpacklo_epi32(even, odd), _mm_unpackhi_epi32(even, odd));
  int32_t os[4];
  _mm_storeu_si128((__m128i*)os, offsets);
#pragma GCC unroll 4
  for (int b = 0; b < 4; b++, tile += n * X_BYTES) {
    __m256i half = b % 2 ? _mm512_extracti64x4_epi64(packed[b / 2], 1) : _mm512_castsi512_si256(packed[b / 2]);
    _mm256_storeu_si256((__m256i*)(tile + i * 32), half);
    __builtin_memcpy(tile + n * 32 + i * 4, scale + b, 4);
    __builtin_memcpy(tile + n * 36 + i * 4, os + b, 4);
  }
}

// --- Products ------------------------------------------------------------------------------------------------------

PITH_INLINE __m512i four(const uint8_t* p) {
  int v;
  __builtin_memcpy(&v, p, 4);
  return _mm512_set1_epi32(v);
}
PITH_INLINE __m512 one(const uint8_t* p) {
  float v;
  __builtin_memcpy(&v, p, 4);
  return _mm512_set1_ps(v);
}
PITH_INLINE void prefetch(const uint8_t* p, int bytes) {
  for (int i = 0; i < bytes; i += 64) _mm_prefetch((const char*)p + i, _MM_HINT_T1);
}

// s + u · the four bytes at p, in every lane. As text, because gcc loads the bytes into a register of their own.
PITH_INLINE __m512i dot(__m512i s, __m512i u, const uint8_t* p) {
  typedef int32_t __attribute__((may_alias, aligned(4))) Word;
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(s) : "v"(u), "m"(*(const Word*)p));
  return s;
}

template <int N>
static void q4_panel(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int64_t ahead) {
  __m512 acc[N];
  for (int i = 0; i < N; i++) acc[i] = _mm512_setzero_ps();
  const __m512i low = _mm512_set1_epi8(15);
  for (int64_t b = 0; b < blocks; b++, w += Q4_BYTES, x += N * X_BYTES) {
    __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)w));
    if (N >= 4 && ahead) prefetch(w + ahead, Q4_BYTES);
    if constexpr (N == 1) {
      // The high nibbles stay where they are; their sum is shifted once.
      __m512i s = four(x + 36), h = _mm512_setzero_si512();
      for (int g = 0; g < 4; g++) {
        __m512i v = _mm512_loadu_si512(w + 32 + g * 64);
        s = dot(s, _mm512_and_si512(v, low), x + g * 4);
        h = dot(h, _mm512_andnot_si512(low, v), x + 16 + g * 4);
      }
      s = _mm512_add_epi32(s, _mm512_srai_epi32(h, 4));
      acc[0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), _mm512_mul_ps(scale, one(x + 32)), acc[0]);
    } else {
      __m512i u[8];
      for (int g = 0; g < 4; g++) {
        __m512i v = _mm512_loadu_si512(w + 32 + g * 64);
        u[g] = _mm512_and_si512(v, low);
        u[4 + g] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
      }
#pragma GCC unroll 16
      for (int i = 0; i < N; i++) {
        __m512i s = four(x + N * 36 + i * 4);
        for (int g = 0; g < 8; g++) s = dot(s, u[g], x + i * 32 + g * 4);
        acc[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), _mm512_mul_ps(scale, one(x + N * 32 + i * 4)), acc[i]);
      }
    }
  }
  for (int i = 0; i < N; i++) _mm512_storeu_ps(y + i * 16, acc[i]);
}

template <int N>
static void q8_panel(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int64_t ahead) {
  __m512 acc[N];
  for (int i = 0; i < N; i++) acc[i] = _mm512_setzero_ps();
  const __m512i sign = _mm512_set1_epi8(-128);  // weights + 128, taken out again by 16 · (-8 · Σq)
  for (int64_t b = 0; b < blocks; b++, w += Q8_BYTES, x += N * X_BYTES) {
    __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)w));
    if (N >= 4 && ahead) prefetch(w + ahead, Q8_BYTES);
    __m512i u[8];
    for (int g = 0; g < 8; g++) u[g] = _mm512_xor_si512(_mm512_loadu_si512(w + 32 + g * 64), sign);
#pragma GCC unroll 16
    for (int i = 0; i < N; i++) {
      __m512i s = _mm512_slli_epi32(four(x + N * 36 + i * 4), 4);
      for (int g = 0; g < 8; g++) s = dot(s, u[g], x + i * 32 + g * 4);
      acc[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), _mm512_mul_ps(scale, one(x + N * 32 + i * 4)), acc[i]);
    }
  }
  for (int i = 0; i < N; i++) _mm512_storeu_ps(y + i * 16, acc[i]);
}
