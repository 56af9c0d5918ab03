// Rounding to int8 and dot products in plain vectors of 16 bytes. Included by int8.h, inside `namespace pith::<isa> {`.
#pragma once

// --- Rounding activations ------------------------------------------------------------------------------------------

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

// --- Dot products --------------------------------------------------------------------------------------------------
// 16-bit lanes, four rows at a time: a lane is half a row's four bytes, an even lane columns 0 and 1 of the group, an
// odd one columns 2 and 3.
constexpr int UNROLL = 1;

typedef int16_t Half8 __attribute__((vector_size(16)));

PITH_INLINE void prefetch(const uint8_t*, int) {}

// The 32 bytes of a token as they meet the lanes: xs[g * 2 + odd] = columns (odd, odd + 2) of group g, four times.
PITH_INLINE void spread(Half8* xs, const uint8_t* x) {
  for (int h = 0; h < 2; h++, xs += 8) {
    Half8 v;
    __builtin_memcpy(&v, x + h * 16, 16);
    PI even = (PI)((v << 8) >> 8), odd = (PI)(v >> 8);
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

template <int N>
struct Tokens {
  Half8 x[N][16];
  PITH_MEMBER void take(const uint8_t* block) {
    for (int i = 0; i < N; i++) spread(x[i], block + i * 32);
  }
};

template <class F>
struct Dots {
  static constexpr int ZERO = F::ZERO;
  Half8 u[16];

  PITH_MEMBER void take(const PI* codes) {
    for (int g = 0; g < 8; g++) {
      Half8 v = (Half8)codes[g];
      u[g * 2] = (v << 8) >> 8;
      u[g * 2 + 1] = v >> 8;
    }
  }
  // F::FOLD groups are added up in 16 bits before they are widened.
  template <int N>
  PITH_MEMBER PI add(PI s, const Tokens<N>& t, int i, int from, int to) const {
    const Half8* x = t.x[i];
    for (int g = from; g < to; g += F::FOLD) {
      int end = g + F::FOLD < to ? g + F::FOLD : to;
      Half8 p = u[g * 2] * x[g * 2] + u[g * 2 + 1] * x[g * 2 + 1];
      for (int j = g * 2 + 2; j < end * 2; j++) p += u[j] * x[j];
      s += (((PI)p << 16) >> 16) + ((PI)p >> 16);
    }
    return s;
  }
};
