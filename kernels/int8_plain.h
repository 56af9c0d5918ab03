// Rounding to int8 and the products of int8.h in plain vectors of 16 bytes. Included by int8.h, inside `namespace pith::<isa> {`.
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

// --- Products ------------------------------------------------------------------------------------------------------

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
