// 16 x 16 words from rows to columns.
// Included inside `namespace pith::<isa> {`.
#pragma once
#include "simd.h"

#if defined(__AVX512F__)
// In place, in four rounds: pairs of rows by words and by double words, then quarters of registers twice.
PITH_INLINE void transpose16(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; j++) {
      r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + 2 + j]);
      r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + 2 + j]);
    }
  for (int j = 0; j < 4; j++) {
    t[j] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0x88);
    t[j + 4] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0xdd);
    t[j + 8] = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0x88);
    t[j + 12] = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0xdd);
  }
  for (int j = 0; j < 4; j++) {
    r[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
    r[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xdd);
    r[j + 4] = _mm512_shuffle_i32x4(t[j + 4], t[j + 12], 0x88);
    r[j + 12] = _mm512_shuffle_i32x4(t[j + 4], t[j + 12], 0xdd);
  }
}
#endif

// dst[k * 16 + r] = src[r * stride + k] for k columns (at most 16) of n rows; 0 for the rows from n to 16.
static void transpose(float* dst, const float* src, int64_t stride, int64_t n, int64_t k) {
#if defined(__AVX512F__)
  if (k == 16) {
    __m512i rows[16];
    for (int64_t r = 0; r < 16; r++) rows[r] = r < n ? _mm512_loadu_si512(src + r * stride) : _mm512_setzero_si512();
    transpose16(rows);
    for (int64_t i = 0; i < 16; i++) _mm512_storeu_si512(dst + i * 16, rows[i]);
    return;
  }
#endif
  for (int64_t r = 0; r < 16; r++)
    for (int64_t i = 0; i < k; i++) dst[i * 16 + r] = r < n ? src[r * stride + i] : 0;
}
