// Products of quantized panels with int8 activations: 16 rows x N tokens, one pass over the panel.
// Included inside `namespace pith::<isa> {`. Knows bytes only: no tensors, no threads.
//
// Activations lie in tiles of N tokens. A tile is, for each block of 32 columns: N x 32 int8 q, N x f32 d, N x int32
// -8 · Σq (what takes the offset of unsigned weights out); 40 bytes a token and block.
//
// Every kernel here, whatever N, does per row, token and block the same float operations, in ascending order of blocks:
//   y = fma(float(Σ wq · xq), dw * dx, y)
// The integer is exact in each of them, so a row's bits depend neither on N nor on where the tile starts.
#pragma once
#include "types.h"
#include "vmath.h"

constexpr int64_t X_BYTES = 40;

// Tokens of the tile that starts when `left` of them are left: 16 at a time, then 8 if more than that, then the rest.
PITH_INLINE int64_t tile_tokens(int64_t left) { return left >= 16 ? 16 : left > 8 ? 8 : left; }

// --- Rounding activations ------------------------------------------------------------------------------------------

// The largest |x| of 32 floats. Magnitudes compare as integers, so a NaN is larger than all others and is not lost.
// Then the 32 products with `inverse`, rounded to nearest even, as int8; gives their sum.
#if defined(__AVX512F__)
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
#elif defined(__AVX2__)
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
#else
PITH_INLINE float largest(const float* x) {
  PI t = {};
  for (int i = 0; i < BLOCK; i += PIECE) {
    PI v;
    get(v, (const int32_t*)x + i);
    v &= 0x7fffffff;
    t = v > t ? v : t;
  }
  int32_t top = 0;
  for (int i = 0; i < PIECE; i++) top = t[i] > top ? t[i] : top;
  return __builtin_bit_cast(float, top);
}
PITH_INLINE int32_t round_block(uint8_t* q, const float* x, float inverse) {
  int32_t sum = 0;
  for (int h = 0; h < BLOCK; h += 16) {
    int32_t v[16];
    store_int(v, to_int(round_small(load(x + h) * splat(inverse))));
    for (int i = 0; i < 16; i++) {
      q[h + i] = uint8_t(v[i]);
      sum += v[i];
    }
  }
  return sum;
}
#endif

// Rounds row x [K] to int8, as token i of a tile of n: d = max|x| / 127, q = round(x · (1 / d)).
static void round_row(uint8_t* tile, int64_t n, int64_t i, const float* x, int64_t K) {
  int64_t k = 0;
#if defined(__AVX512F__)
  while (k + BLOCK * 4 <= K) {
    float d[32], inverse[32];
    int64_t blocks = (K - k) / BLOCK & ~int64_t(3);
    if (blocks > 32) blocks = 32;
    for (int64_t b = 0; b < blocks; b += 4) scale_four(d + b, inverse + b, x + k + b * BLOCK);
    for (int64_t b = 0; b < blocks; b += 4, k += BLOCK * 4, tile += n * X_BYTES * 4)
      round_four(tile, n, i, x + k, d + b, inverse + b);
  }
#endif
  for (; k < K; k += BLOCK, tile += n * X_BYTES) {
    float d = largest(x + k) / 127.0f;
    // A scale below the normal numbers has no finite inverse: that block becomes zeros.
    int32_t s = round_block(tile + i * 32, x + k, d >= 0x1p-126f ? 1.0f / d : 0.0f) * -8;
    __builtin_memcpy(tile + n * 32 + i * 4, &d, 4);
    __builtin_memcpy(tile + n * 36 + i * 4, &s, 4);
  }
}

// --- Products: y[i * 16 + r] = row r of the panel times token i of the tile ----------------------------------------
// `ahead` != 0: asks for the memory that lies so many bytes further on.

#if defined(__AVX512VNNI__)
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

#elif defined(__AVX2__)
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

#else
// Plain 16-bit lanes, four rows at a time: a lane is half a row's four bytes, an even lane columns 0 and 1 of the
// group, an odd one columns 2 and 3. (Relaxed SIMD would go here, beside AVX2: i16 products of u8 and i8 in pairs.)
typedef int16_t Half8 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));
typedef float Float4 __attribute__((vector_size(16)));

// The 32 bytes of a token as they meet the lanes: xs[g * 2 + odd] = columns (odd, odd + 2) of group g, four times.
PITH_INLINE void spread(Half8* xs, const uint8_t* x) {
  for (int h = 0; h < 2; h++, xs += 8) {
    Half8 v;
    __builtin_memcpy(&v, x + h * 16, 16);
    Int4 even = (Int4)((v << 8) >> 8), odd = (Int4)(v >> 8);
    xs[0] = (Half8)__builtin_shufflevector(even, even, 0, 0, 0, 0);
    xs[1] = (Half8)__builtin_shufflevector(odd, odd, 0, 0, 0, 0);
    xs[2] = (Half8)__builtin_shufflevector(even, even, 1, 1, 1, 1);
    xs[3] = (Half8)__builtin_shufflevector(odd, odd, 1, 1, 1, 1);
    xs[4] = (Half8)__builtin_shufflevector(even, even, 2, 2, 2, 2);
    xs[5] = (Half8)__builtin_shufflevector(odd, odd, 2, 2, 2, 2);
    xs[6] = (Half8)__builtin_shufflevector(even, even, 3, 3, 3, 3);
    xs[7] = (Half8)__builtin_shufflevector(odd, odd, 3, 3, 3, 3);
  }
}
PITH_INLINE Int4 fold(Half8 s) { return (((Int4)s << 16) >> 16) + ((Int4)s >> 16); }

// The float part, the same for both types.
PITH_INLINE void add_block(float* y, Int4 s, const float* scale, const uint8_t* d) {
  float dx;
  __builtin_memcpy(&dx, d, 4);
  Float4 a, v;
  __builtin_memcpy(&a, y, 16);
  __builtin_memcpy(&v, scale, 16);
  a = __builtin_convertvector(s, Float4) * (v * dx) + a;
  __builtin_memcpy(y, &a, 16);
}

template <int N>
static void q4_panel(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int64_t) {
  for (int i = 0; i < N * 16; i++) y[i] = 0;
  for (int64_t b = 0; b < blocks; b++, w += Q4_BYTES, x += N * X_BYTES) {
    float scale[16];
    store(scale, load_f16((const uint16_t*)w));
    Half8 xs[N][16];
    for (int i = 0; i < N; i++) spread(xs[i], x + i * 32);
    for (int r = 0; r < 16; r += 4) {
      Half8 u[16];
      for (int g = 0; g < 4; g++) {
        Half8 v;
        __builtin_memcpy(&v, w + 32 + g * 64 + r * 4, 16);
        u[g * 2] = v & 15;
        u[g * 2 + 1] = (v >> 8) & 15;
        u[8 + g * 2] = (v >> 4) & 15;
        u[9 + g * 2] = (v >> 12) & 15;
      }
      for (int i = 0; i < N; i++) {
        Half8 s = u[0] * xs[i][0];
        for (int g = 1; g < 16; g++) s += u[g] * xs[i][g];
        int32_t offset;
        __builtin_memcpy(&offset, x + N * 36 + i * 4, 4);
        add_block(y + i * 16 + r, fold(s) + offset, scale + r, x + N * 32 + i * 4);
      }
    }
  }
}

template <int N>
static void q8_panel(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int64_t) {
  for (int i = 0; i < N * 16; i++) y[i] = 0;
  for (int64_t b = 0; b < blocks; b++, w += Q8_BYTES, x += N * X_BYTES) {
    float scale[16];
    store(scale, load_f16((const uint16_t*)w));
    Half8 xs[N][16];
    for (int i = 0; i < N; i++) spread(xs[i], x + i * 32);
    for (int r = 0; r < 16; r += 4) {
      Half8 u[16];
      for (int g = 0; g < 8; g++) {
        Half8 v;
        __builtin_memcpy(&v, w + 32 + g * 64 + r * 4, 16);
        u[g * 2] = (v << 8) >> 8;
        u[g * 2 + 1] = v >> 8;
      }
      for (int i = 0; i < N; i++) {
        Int4 s = {};
        for (int g = 0; g < 16; g += 2) s += fold(u[g] * xs[i][g] + u[g + 1] * xs[i][g + 1]);
        add_block(y + i * 16 + r, s, scale + r, x + N * 32 + i * 4);
      }
    }
  }
}
#endif

// A panel of type Q8_0 or Q4_0 with a tile of n tokens (1 .. 8 or 16).
static void int8_panel(int type, float* y, const uint8_t* w, const uint8_t* x, int64_t n, int64_t blocks,
                       int64_t ahead) {
#define PITH_TOKENS(N) \
  case N:              \
    return type == Q4_0 ? q4_panel<N>(y, w, x, blocks, ahead) : q8_panel<N>(y, w, x, blocks, ahead);
  switch (n) {
    PITH_TOKENS(1)
    PITH_TOKENS(2)
    PITH_TOKENS(3)
    PITH_TOKENS(4)
    PITH_TOKENS(5)
    PITH_TOKENS(6)
    PITH_TOKENS(7)
    PITH_TOKENS(8)
    PITH_TOKENS(16)
  }
#undef PITH_TOKENS
}
