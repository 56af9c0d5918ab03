// One token with panels of q2_k and q3_k, AVX-512 VNNI. Included by int8_few_avx512.h, inside `namespace pith::<isa> {`;
// the same integers and float operations as `panel`.
#pragma once

template <>
constexpr int FEW_TOKENS<Q2_K> = 1;
template <>
constexpr int FEW_TOKENS<Q3_K> = 1;

// Byte i of each word, unsigned, as a float.
PITH_INLINE P float_byte(__m512i v, int i) {
  const __m512i where = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
  __m512i from = _mm512_or_si512(_mm512_add_epi32(where, _mm512_set1_epi32(i)), _mm512_set1_epi32(int32_t(0x80808000)));
  return to_float((PI)_mm512_shuffle_epi8(v, from));
}

// s[k][j]: the products of two bits at 2k of 16 words with their columns, times 4^k; j: the first or the second 16 columns.
PITH_INLINE void two_bits(__m512i (*s)[2], const uint8_t* w, const uint8_t* x, const __m512i* mask) {
#pragma GCC unroll 8
  for (int g = 0; g < 8; g++) {
    __m512i v = _mm512_loadu_si512(w + g * 64);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) s[k][g / 4] = dot(s[k][g / 4], _mm512_and_si512(v, mask[k]), x + k * X_BYTES + g * 4);
  }
}

template <int N>
static void few_tokens(Format<Q2_K>, float* y, const uint8_t* w, const uint8_t* x, int64_t blocks) {
  P acc = {};
  const __m512i nibble = _mm512_set1_epi8(15);
  __m512i mask[4];
  for (int k = 0; k < 4; k++) mask[k] = _mm512_set1_epi8(char(3 << 2 * k));
  for (int64_t b = 0; b < blocks; b += 8, w += Format<Q2_K>::BYTES) {
    P d = halves(w + 1280, 0), min = halves(w + 1312, 0) * 0.125f;
    for (int half = 0; half < 2; half++, x += 4 * X_BYTES) {
      __m512i s[4][2];
      for (int k = 0; k < 4; k++) s[k][0] = s[k][1] = _mm512_setzero_si512();
      two_bits(s, w + 256 + half * 512, x, mask);
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) {
        __m512i v = _mm512_loadu_si512(w + (half * 2 + k / 2) * 64);
        __m512i low = _mm512_and_si512(v, nibble), high = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
        const uint8_t* at = x + k * X_BYTES;
        PI first = every_int(at + 40), second = every_int(at + 36) - first;
        P s0 = to_float((PI)_mm512_srai_epi32(s[k][0], 2 * k)), s1 = to_float((PI)_mm512_srai_epi32(s[k][1], 2 * k));
        P sum = fma(s1, d * float_byte(low, k % 2 * 2 + 1), s0 * (d * float_byte(low, k % 2 * 2)));
        sum = fma(to_float(first), min * float_byte(high, k % 2 * 2), sum);
        sum = fma(to_float(second), min * float_byte(high, k % 2 * 2 + 1), sum);
        acc = fma(sum, every_float(at + 32), acc);
      }
    }
  }
  put(y, acc);
}

// The third bits are multiplied apart, where they lie.
template <int N>
static void few_tokens(Format<Q3_K>, float* y, const uint8_t* w, const uint8_t* x, int64_t blocks) {
  P acc = {};
  __m512i mask[4];
  for (int k = 0; k < 4; k++) mask[k] = _mm512_set1_epi8(char(3 << 2 * k));
  for (int64_t b = 0; b < blocks; b += 8, w += Format<Q3_K>::BYTES) {
    // Far from read front to back, so the processor does not see the stream: four times as fast with this.
    prefetch(w + 2 * Format<Q3_K>::BYTES, Format<Q3_K>::BYTES);
    Format<Q3_K>::Head head = Format<Q3_K>::head(w, 0);
    P least = head.d * -32.0f;
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++, x += 4 * X_BYTES) {
      __m512i s[4][2], t[4][2];
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) {
        PI first = every_int(x + k * X_BYTES + 40), second = every_int(x + k * X_BYTES + 36) - first;
        s[k][0] = k ? _mm512_slli_epi32((__m512i)first, 2 * k - 1) : _mm512_srai_epi32((__m512i)first, 1);
        s[k][1] = k ? _mm512_slli_epi32((__m512i)second, 2 * k - 1) : _mm512_srai_epi32((__m512i)second, 1);
        t[k][0] = t[k][1] = _mm512_setzero_si512();
      }
      two_bits(s, w + 512 + half * 512, x, mask);
#pragma GCC unroll 8
      for (int g = 0; g < 8; g++) {
        __m512i v = _mm512_loadu_si512(w + g * 64);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
          __m512i bit = _mm512_and_si512(v, _mm512_set1_epi8(char(1 << (half * 4 + k))));
          t[k][g / 4] = dot(t[k][g / 4], bit, x + k * X_BYTES + g * 4);
        }
      }
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) {
        P sum[2];
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
          int up = half * 4 + k - 2;
          __m512i high = up < 0 ? _mm512_slli_epi32(t[k][j], -up) : _mm512_srai_epi32(t[k][j], up);
          sum[j] = to_float((PI)_mm512_add_epi32(_mm512_srai_epi32(s[k][j], 2 * k), high));
        }
        // d (scale - 32): exact, so it does not matter how it is made.
        __m512i scale = (__m512i)head.scale[half * 2 + k / 2];
        P a0 = fma(float_byte(scale, k % 2 * 2), head.d, least), a1 = fma(float_byte(scale, k % 2 * 2 + 1), head.d, least);
        acc = fma(fma(sum[1], a1, sum[0] * a0), every_float(x + k * X_BYTES + 32), acc);
      }
    }
  }
  put(y, acc);
}
