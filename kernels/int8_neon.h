// Rounding to int8 and dot products with NEON. Included by int8.h, inside `namespace pith::<isa> {`.
//
// A piece is four rows, a vector of codes four columns of each. Three ways, with the same integers:
//   armv8-a   smull and smlal: columns add up in 16 bits while they fit, then in pairs
//   dotprod   sdot, which takes a token's four columns from any quarter of a register: no broadcast
//   i8mm      smmla: two rows and eight columns with two tokens (`add_tokens`); one token alone goes by sdot
// Codes below 128 are the same bytes signed, so signed products serve all types.
#pragma once

// --- Rounding activations ------------------------------------------------------------------------------------------

PITH_INLINE float largest(const float* x) {
  uint32x4_t t = vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x)));
  for (int i = 4; i < BLOCK; i += 4) t = vmaxq_u32(t, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
  return __builtin_bit_cast(float, vmaxvq_u32(t));
}
PITH_INLINE int32_t round_block(uint8_t* q, const float* x, float inverse) {
  int32_t sum = 0;
  for (int h = 0; h < BLOCK; h += 16) {
    int16x8_t v[2];
    for (int i = 0; i < 2; i++) {
      int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + h + i * 8), inverse));
      int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + h + i * 8 + 4), inverse));
      v[i] = vqmovn_high_s32(vqmovn_s32(a), b);
    }
    int8x16_t bytes = vqmovn_high_s16(vqmovn_s16(v[0]), v[1]);
    vst1q_s8((int8_t*)q + h, bytes);
    sum += vaddlvq_s8(bytes);
  }
  return sum;
}

PITH_INLINE void prefetch(const uint8_t* p, int bytes) {
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 2);
}

// --- Dot products --------------------------------------------------------------------------------------------------

#if defined(__ARM_FEATURE_DOTPROD)

constexpr int UNROLL = 4;

// The tokens as they lie; for smmla also columns 8j .. 8j + 7 of tokens 2p and 2p + 1 side by side, at pairs[4p + j].
template <int N>
struct Tokens {
  const uint8_t* x;
#if defined(__ARM_FEATURE_MATMUL_INT8)
  static constexpr int PAIRS = N / 4 * 2;
  int8x16_t pairs[(PAIRS + !PAIRS) * 4];
  PITH_MEMBER void take(const uint8_t* block) {
    x = block;
    for (int p = 0; p < PAIRS; p++)
      for (int h = 0; h < 2; h++) {
        const int64_t* at = (const int64_t*)(x + p * 64 + h * 16);
        int64x2_t a = vld1q_s64(at), b = vld1q_s64(at + 4);
        pairs[p * 4 + h * 2] = (int8x16_t)vzip1q_s64(a, b);
        pairs[p * 4 + h * 2 + 1] = (int8x16_t)vzip2q_s64(a, b);
      }
  }
#else
  PITH_MEMBER void take(const uint8_t* block) { x = block; }
#endif
};

template <class F>
struct Dots {
  static constexpr int ZERO = F::ZERO;
  int8x16_t u[8];

  PITH_MEMBER void take(const PI* codes) {
    for (int g = 0; g < 8; g++) u[g] = (int8x16_t)codes[g];
  }
  // Groups come in fours: from 0 or 4, to 4 or 8.
  template <int N>
  PITH_MEMBER PI add(PI s, const Tokens<N>& t, int i, int from, int to) const {
    const int8_t* x = (const int8_t*)t.x + i * 32;
    int32x4_t sum = (int32x4_t)s;
    for (int g = from; g < to; g += 4) {
      int8x16_t v = vld1q_s8(x + g * 4);
      sum = vdotq_laneq_s32(sum, u[g], v, 0);
      sum = vdotq_laneq_s32(sum, u[g + 1], v, 1);
      sum = vdotq_laneq_s32(sum, u[g + 2], v, 2);
      sum = vdotq_laneq_s32(sum, u[g + 3], v, 3);
    }
    return (PI)sum;
  }
};

#else

constexpr int UNROLL = 1;

// The four bytes of group g of token i, twice.
template <int N>
struct Tokens {
  int8x8_t v[N][8];
  PITH_MEMBER void take(const uint8_t* x) {
    for (int i = 0; i < N; i++)
      for (int g = 0; g < 8; g++) v[i][g] = vreinterpret_s8_s32(vld1_dup_s32((const int32_t*)(x + i * 32 + g * 4)));
  }
};

// Rows 0 and 1, and rows 2 and 3: as halves of a register gcc 12 would have them twice, and not enough of those.
template <class F>
struct Dots {
  static constexpr int ZERO = F::ZERO;
  int8x8_t low[8], high[8];

  PITH_MEMBER void take(const PI* codes) {
    for (int g = 0; g < 8; g++) {
      low[g] = vget_low_s8((int8x16_t)codes[g]);
      high[g] = vget_high_s8((int8x16_t)codes[g]);
    }
  }
  // A lane of 16 bits has one column of a row: twice as many groups fit as F::FOLD says of pairs of columns.
  template <int N>
  PITH_MEMBER PI add(PI s, const Tokens<N>& t, int i, int from, int to) const {
    constexpr int STEP = F::FOLD >= 4 ? 8 : F::FOLD * 2;
    int32x4_t first = vdupq_n_s32(0), second = first;
#pragma GCC unroll 8
    for (int g = from; g < to; g += STEP) {
      int16x8_t a = vmull_s8(low[g], t.v[i][g]), b = vmull_s8(high[g], t.v[i][g]);
      for (int j = g + 1; j < g + STEP && j < to; j++) {
        a = vmlal_s8(a, low[j], t.v[i][j]);
        b = vmlal_s8(b, high[j], t.v[i][j]);
      }
      first = vpadalq_s16(first, a);
      second = vpadalq_s16(second, b);
    }
    return s + (PI)vpaddq_s32(first, second);
  }
};

#endif
