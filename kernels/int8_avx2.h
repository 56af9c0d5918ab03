// Rounding to int8 and the products of int8.h with AVX2. Included by int8.h, inside `namespace pith::<isa> {`.
#pragma once

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

// --- Products ------------------------------------------------------------------------------------------------------

PITH_INLINE __m256i four(const uint8_t* p) {
  int v;
  __builtin_memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}
PITH_INLINE __m256 one(const uint8_t* p) {
  float v;
  __builtin_memcpy(&v, p, 4);
  return _mm256_set1_ps(v);
}
PITH_INLINE void prefetch(const uint8_t* p, int bytes) {
  for (int i = 0; i < bytes; i += 64) _mm_prefetch((const char*)p + i, _MM_HINT_T1);
}
PITH_INLINE __m256i load32(const uint8_t* p) { return _mm256_loadu_si256((const __m256i*)p); }

// Eight rows at a time. Products are added up in 16 bits over the block: at most 16 · 15 · 127 in magnitude.
template <int N>
static void q4_panel(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int64_t ahead) {
  __m256 acc[N][2];
  for (int i = 0; i < N; i++) acc[i][0] = acc[i][1] = _mm256_setzero_ps();
  const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  for (int64_t b = 0; b < blocks; b++, w += Q4_BYTES, x += N * X_BYTES) {
    if (N >= 4 && ahead) prefetch(w + ahead, Q4_BYTES);
#pragma GCC unroll 1
    for (int h = 0; h < 2; h++) {
      __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(w + h * 16)));
      __m256i u[8];
      for (int g = 0; g < 4; g++) {
        __m256i v = load32(w + 32 + g * 64 + h * 32);
        u[g] = _mm256_and_si256(v, low);
        u[4 + g] = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
      }
#pragma GCC unroll 4
      for (int i = 0; i < N; i++) {
        __m256i s = _mm256_maddubs_epi16(u[0], four(x + i * 32));
        for (int g = 1; g < 8; g++) s = _mm256_add_epi16(s, _mm256_maddubs_epi16(u[g], four(x + i * 32 + g * 4)));
        s = _mm256_add_epi32(_mm256_madd_epi16(s, ones), four(x + N * 36 + i * 4));
        acc[i][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s), _mm256_mul_ps(scale, one(x + N * 32 + i * 4)), acc[i][h]);
      }
    }
  }
  for (int i = 0; i < N; i++) {
    _mm256_storeu_ps(y + i * 16, acc[i][0]);
    _mm256_storeu_ps(y + i * 16 + 8, acc[i][1]);
  }
}

// |w| · (x with the sign of w): pairs stay below 2 · 128 · 127, which 16 bits hold.
template <int N>
static void q8_panel(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int64_t ahead) {
  __m256 acc[N][2];
  for (int i = 0; i < N; i++) acc[i][0] = acc[i][1] = _mm256_setzero_ps();
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t b = 0; b < blocks; b++, w += Q8_BYTES, x += N * X_BYTES) {
    if (N >= 4 && ahead) prefetch(w + ahead, Q8_BYTES);
#pragma GCC unroll 1
    for (int h = 0; h < 2; h++) {
      __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(w + h * 16)));
      __m256i u[8];
      for (int g = 0; g < 8; g++) u[g] = _mm256_abs_epi8(load32(w + 32 + g * 64 + h * 32));
#pragma GCC unroll 4
      for (int i = 0; i < N; i++) {
        __m256i s = _mm256_setzero_si256();
        for (int g = 0; g < 8; g++) {
          __m256i v = _mm256_sign_epi8(four(x + i * 32 + g * 4), load32(w + 32 + g * 64 + h * 32));
          __m256i p = _mm256_maddubs_epi16(u[g], v);
          s = _mm256_add_epi32(s, _mm256_madd_epi16(p, ones));
        }
        acc[i][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s), _mm256_mul_ps(scale, one(x + N * 32 + i * 4)), acc[i][h]);
      }
    }
  }
  for (int i = 0; i < N; i++) {
    _mm256_storeu_ps(y + i * 16, acc[i][0]);
    _mm256_storeu_ps(y + i * 16 + 8, acc[i][1]);
  }
}
