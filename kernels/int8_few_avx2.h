// A few tokens with panels of codes of two bits and of trits, AVX2. Included by int8.h, inside `namespace pith::<isa> {`.
//
// The same integers and float operations as `panel`, with less unpacking: every load of weights serves all its columns, and
// codes times 4 are summed up (12 · 127 · 2 · 8 is below 2^15) and shifted at the end.
#pragma once

template <>
constexpr int FEW_TOKENS<TQ2_0> = 2;
template <>
constexpr int FEW_TOKENS<TQ1_0> = 2;

// s + the products of the bytes u with the four columns of each token, in pairs.
template <int N>
PITH_INLINE void add_pairs(__m256i* s, __m256i u, const uint8_t* x) {
#pragma GCC unroll 2
  for (int i = 0; i < N; i++) {
    int32_t four;
    __builtin_memcpy(&four, x + i * 32, 4);
    s[i] = _mm256_add_epi16(s[i], _mm256_maddubs_epi16(u, _mm256_set1_epi32(four)));
  }
}
// acc + what the 32 columns at x add, s being their products with the codes, `shift` bits too far up.
template <int N>
PITH_INLINE void add_run(P* acc, const __m256i* s, int shift, P a, const uint8_t* x) {
#pragma GCC unroll 2
  for (int i = 0; i < N; i++) {
    PI sum = (PI)_mm256_srai_epi32(_mm256_madd_epi16(s[i], _mm256_set1_epi16(1)), shift);
    sum += every_int(x + N * 36 + i * 4) >> 3;
    acc[i] = fma(to_float(sum), a * every_float(x + N * 32 + i * 4), acc[i]);
  }
}
// For the second eight rows gcc would keep what the first loaded, in memory.
PITH_INLINE const uint8_t* again(const uint8_t* x) {
  asm("" : "+r"(x));
  return x;
}
template <int N>
PITH_INLINE void put_tokens(float* y, const P (*acc)[N]) {
  for (int h = 0; h < 2; h++)
    for (int i = 0; i < N; i++) put(y + i * 16 + h * 8, acc[h][i]);
}

template <int N>
static void few_tokens(Format<TQ2_0>, float* y, const uint8_t* w, const uint8_t* x, int64_t blocks) {
  constexpr int STEP = N * X_BYTES;
  P acc[2][N] = {};
  const __m256i low = _mm256_set1_epi8(3), high = _mm256_set1_epi8(12);
  for (int64_t b = 0; b < blocks; b += 8, w += Format<TQ2_0>::BYTES)
    for (int half = 0; half < 2; half++, x += 4 * STEP)
      for (int h = 0; h < 2; h++) {
        x = again(x);
        __m256i s[4][N] = {};
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
          __m256i v = _mm256_loadu_si256((const __m256i*)(w + half * 512 + g * 64 + h * 32));
          __m256i upper = _mm256_srli_epi16(v, 4);
          add_pairs<N>(s[0], _mm256_and_si256(v, low), x + g * 4);
          add_pairs<N>(s[1], _mm256_and_si256(v, high), x + STEP + g * 4);
          add_pairs<N>(s[2], _mm256_and_si256(upper, low), x + 2 * STEP + g * 4);
          add_pairs<N>(s[3], _mm256_and_si256(upper, high), x + 3 * STEP + g * 4);
        }
        P a = halves(w + 1024, h);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) add_run<N>(acc[h], s[k], k % 2 * 2, a, x + k * STEP);
      }
  put_tokens<N>(y, acc);
}

// s + the products of the first digits of v; v becomes what begins with the next ones.
template <int N>
PITH_INLINE void add_trits(__m256i* s, PI* v, const uint8_t* x) {
  add_pairs<N>(s, (__m256i)first_trits(*v), x);
  *v = next_trits(*v);
}

template <int N>
static void few_tokens(Format<TQ1_0>, float* y, const uint8_t* w, const uint8_t* x, int64_t blocks) {
  constexpr int STEP = N * X_BYTES;
  P acc[2][N] = {};
  for (int64_t b = 0; b < blocks; b += 8, w += Format<TQ1_0>::BYTES, x += 8 * STEP)
    for (int h = 0; h < 2; h++) {
      x = again(x);
      P a = halves(w + 832, h);
      __m256i s[5][N] = {}, t[3][N] = {};
#pragma GCC unroll 8
      for (int g = 0; g < 8; g++) {
        PI v = trits(words(w + g * 64, h));
#pragma GCC unroll 5
        for (int n = 0; n < 5; n++) add_trits<N>(s[n], &v, x + n * STEP + g * 4);
      }
#pragma GCC unroll 5
      for (int n = 0; n < 5; n++) add_run<N>(acc[h], s[n], 0, a, x + n * STEP);
      const uint8_t* rest = x + 5 * STEP;
#pragma GCC unroll 4
      for (int g = 0; g < 4; g++) {
        PI v = trits(words(w + (8 + g) * 64, h));
#pragma GCC unroll 5
        for (int n = 0; n < 5; n++) add_trits<N>(t[n / 2], &v, rest + n / 2 * STEP + n % 2 * 16 + g * 4);
      }
      PI v = trits(words(w + 12 * 64, h));
#pragma GCC unroll 4
      for (int n = 0; n < 4; n++) add_trits<N>(t[2], &v, rest + 2 * STEP + 16 + n * 4);
#pragma GCC unroll 3
      for (int n = 0; n < 3; n++) add_run<N>(acc[h], t[n], 0, a, rest + n * STEP);
    }
  put_tokens<N>(y, acc);
}
