// Products of panels on WebAssembly, for int8.h: any type, and q4_0 and q8_0 in a way of their own that V8 makes more of.
// Included by int8.h, inside `namespace pith::<isa> {`.
//
// Four rows at a time: a vector is 4 rows x 4 columns of a group. Two ways, with the same integers:
//   relaxed SIMD   i16 sums of pairs of i8 x i7. The i7 side is a code of at most six bits, so what the instruction
//                  leaves to the processor (a top bit that is set) never comes up; a whole block of nibbles fits 16
//                  bits: 16 · 15 · 127
//   plain          both sides widened to 16 bits, i32 sums of pairs; signed weights go this way in both builds, since
//                  they need all eight bits
// Float operations are those of SIMD128 in both: multiply, then add. The relaxed multiply-add would be rounded once on
// one machine and twice on another, and a row would have other bits there.
//
// Loops over tokens stay loops: unrolled, they need more registers than there are, and V8 keeps the rest on the stack.
#pragma once

// --- What both ways share ------------------------------------------------------------------------------------------

// 16 halves as floats: their bits in the places of a float's, then scaled by 2^112, which moves the exponent's bias. They
// are finite: wasm_pack_rows saw to that.
PITH_INLINE void scales_of(v128_t* scale, const uint8_t* w) {
  for (int i = 0; i < 2; i++) {
    v128_t h = vector(w + i * 16);
    v128_t high = wasm_v128_and(wasm_i16x8_shr(h, 3), wasm_i16x8_const_splat(int16_t(0x8fff))), low = wasm_i16x8_shl(h, 13);
    v128_t a = wasm_i16x8_shuffle(low, high, 0, 8, 1, 9, 2, 10, 3, 11);
    v128_t b = wasm_i16x8_shuffle(low, high, 4, 12, 5, 13, 6, 14, 7, 15);
    scale[i * 2] = wasm_f32x4_mul(a, wasm_f32x4_const_splat(0x1p112f));
    scale[i * 2 + 1] = wasm_f32x4_mul(b, wasm_f32x4_const_splat(0x1p112f));
  }
}
// acc + s · (scale · dx)
PITH_INLINE v128_t add_scaled(v128_t acc, v128_t s, v128_t scale, v128_t dx) {
  return wasm_f32x4_add(wasm_f32x4_mul(wasm_f32x4_convert_i32x4(s), wasm_f32x4_mul(scale, dx)), acc);
}
// u of four groups, each as rows 0, 1 and rows 2, 3 in 16 bits, times 16 columns of a token. a: rows 0, 1; b: rows 2, 3.
PITH_INLINE void dot16(v128_t* a, v128_t* b, const v128_t* u, const int16_t* x) {
  for (int g = 0; g < 4; g++) {
    v128_t v = wasm_v128_load64_splat(x + g * 4);
    v128_t l = wasm_i32x4_dot_i16x8(u[g * 2], v), h = wasm_i32x4_dot_i16x8(u[g * 2 + 1], v);
    *a = g ? wasm_i32x4_add(*a, l) : l;
    *b = g ? wasm_i32x4_add(*b, h) : h;
  }
}
// Sums of the two lanes of each row: rows 0 .. 3.
PITH_INLINE v128_t rows_of(v128_t a, v128_t b) {
  return wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
}

// A panel whose weights widen to 16 bits; `split(u, w, r, half)` gives those of 16 of a block's columns, for rows r ..
// r + 3. `offset`: - 8 · Σq is added.
template <bool offset, class Split>
PITH_INLINE void wide_panel(float* y, const uint8_t* w, int64_t step, const uint8_t* x, int64_t blocks, int n, Split split) {
  for (int i = 0; i < n * 16; i += 4) wasm_v128_store(y + i, wasm_f32x4_const_splat(0));
  for (int64_t b = 0; b < blocks; b++, w += step, x += n * X_BYTES) {
    v128_t scale[4], part[MOST_TOKENS];
    int16_t xs[MOST_TOKENS * BLOCK];
    scales_of(scale, w);
#pragma clang loop unroll(disable)
    for (int i = 0; i < n; i++) widen_x(xs + i * BLOCK, x + i * 32);
#pragma clang loop unroll(disable)
    for (int r = 0; r < 4; r++) {
      v128_t u[8], d = scale[r];
      split(u, w + 32 + r * 16, 0);
#pragma clang loop unroll(disable)
      for (int i = 0; i < n; i++) {
        v128_t l, h;
        dot16(&l, &h, u, xs + i * BLOCK);
        part[i] = rows_of(l, h);
      }
      split(u, w + 32 + r * 16, 1);
#pragma clang loop unroll(disable)
      for (int i = 0; i < n; i++) {
        v128_t l, h;
        dot16(&l, &h, u, xs + i * BLOCK + 16);
        v128_t s = wasm_i32x4_add(part[i], rows_of(l, h));
        if (offset) s = wasm_i32x4_add(s, splat_bytes(x + n * 36 + i * 4));
        float* to = y + i * 16 + r * 4;
        wasm_v128_store(to, add_scaled(vector(to), s, d, splat_bytes(x + n * 32 + i * 4)));
      }
    }
  }
}

// --- q8_0 ----------------------------------------------------------------------------------------------------------

__attribute__((noinline)) static void q8_tokens(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int n) {
  wide_panel<false>(y, w, Format<Q8_0>::BYTES, x, blocks, n, [](v128_t* u, const uint8_t* p, int half) PITH_LAMBDA {
    for (int g = 0; g < 4; g++) {
      v128_t v = vector(p + (half * 4 + g) * 64);
      u[g * 2] = wasm_i16x8_extend_low_i8x16(v);
      u[g * 2 + 1] = wasm_i16x8_extend_high_i8x16(v);
    }
  });
}

// --- q4_0 ----------------------------------------------------------------------------------------------------------

#if defined(__wasm_relaxed_simd__)

// Σ over the eight groups of a block, from the nibbles u and the 32 bytes of a token.
PITH_INLINE v128_t dot8(const v128_t* u, const uint8_t* x) {
  v128_t s = wasm_i16x8_relaxed_dot_i8x16_i7x16(splat_bytes(x), u[0]);
  for (int g = 1; g < 8; g++)
    s = wasm_i16x8_add(s, wasm_i16x8_relaxed_dot_i8x16_i7x16(splat_bytes(x + g * 4), u[g]));
  return wasm_i32x4_extadd_pairwise_i16x8(s);
}
PITH_INLINE void nibbles(v128_t* u, const uint8_t* p) {
  const v128_t low = wasm_i8x16_const_splat(15);
  for (int g = 0; g < 4; g++) {
    v128_t v = vector(p + g * 64);
    u[g] = wasm_v128_and(v, low);
    u[4 + g] = wasm_v128_and(wasm_u16x8_shr(v, 4), low);
  }
}
__attribute__((noinline)) static void q4_one(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks) {
  v128_t acc[4] = {};
#pragma clang loop unroll(disable)
  for (int64_t b = 0; b < blocks; b++, w += Format<Q4_0>::BYTES, x += X_BYTES) {
    v128_t scale[4], dx = splat_bytes(x + 32), offset = splat_bytes(x + 36);
    scales_of(scale, w);
    for (int r = 0; r < 4; r++) {
      v128_t u[8];
      nibbles(u, w + 32 + r * 16);
      acc[r] = add_scaled(acc[r], wasm_i32x4_add(dot8(u, x), offset), scale[r], dx);
    }
  }
  for (int r = 0; r < 4; r++) wasm_v128_store(y + r * 4, acc[r]);
}
__attribute__((noinline)) static void q4_tokens(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int n) {
  for (int i = 0; i < n * 16; i += 4) wasm_v128_store(y + i, wasm_f32x4_const_splat(0));
  for (int64_t b = 0; b < blocks; b++, w += Format<Q4_0>::BYTES, x += n * X_BYTES) {
    v128_t scale[4];
    scales_of(scale, w);
#pragma clang loop unroll(disable)
    for (int r = 0; r < 4; r++) {
      v128_t u[8], d = scale[r];
      nibbles(u, w + 32 + r * 16);
#pragma clang loop unroll(disable)
      for (int i = 0; i < n; i++) {
        v128_t s = wasm_i32x4_add(dot8(u, x + i * 32), splat_bytes(x + n * 36 + i * 4));
        float* to = y + i * 16 + r * 4;
        wasm_v128_store(to, add_scaled(vector(to), s, d, splat_bytes(x + n * 32 + i * 4)));
      }
    }
  }
}

#else

__attribute__((noinline)) static void q4_tokens(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int n) {
  wide_panel<true>(y, w, Format<Q4_0>::BYTES, x, blocks, n, [](v128_t* u, const uint8_t* p, int half) PITH_LAMBDA {
    const v128_t low = wasm_i8x16_const_splat(15);
    for (int g = 0; g < 4; g++) {
      v128_t v = vector(p + g * 64);
      v = wasm_v128_and(half ? wasm_u16x8_shr(v, 4) : v, low);
      u[g * 2] = wasm_i16x8_extend_low_i8x16(v);
      u[g * 2 + 1] = wasm_i16x8_extend_high_i8x16(v);
    }
  });
}
PITH_INLINE void q4_one(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks) { q4_tokens(y, w, x, blocks, 1); }

#endif

// --- All types -----------------------------------------------------------------------------------------------------

template <int TYPE>
__attribute__((noinline)) static void panel_tokens(float* y, const uint8_t* w, const uint8_t* x, int64_t count, int64_t blocks, int64_t) {
  int n = int(count);
  if constexpr (TYPE == Q8_0) return q8_tokens(y, w, x, blocks, n);
  if constexpr (TYPE == Q4_0) return n == 1 ? q4_one(y, w, x, blocks) : q4_tokens(y, w, x, blocks, n);
  typedef Format<TYPE> F;
  constexpr int BLOCKS = F::COLUMNS / BLOCK;
  for (int i = 0; i < n * 16; i += 4) put(y + i, P{});
  for (int64_t b = 0; b < blocks; b += BLOCKS, w += F::BYTES) {
    typename F::Head head[4];
    for (int h = 0; h < 4; h++) head[h] = F::head(w, h);
#pragma clang loop unroll(disable)
    for (int s = 0; s < BLOCKS; s++, x += n * X_BYTES) {
      Activations<F> tokens;
      tokens.take(x, n);
#pragma clang loop unroll(disable)
      for (int h = 0; h < 4; h++) {
        P a[2], m[2];
        Dots<F> dots;
        take_block<F>(&dots, a, m, head[h], w, h, s);
#pragma clang loop unroll(disable)
        for (int i = 0; i < n; i++) {
          P acc;
          float* to = y + i * 16 + h * 4;
          get(acc, to);
          put(to, add_block<F>(acc, dots, tokens, x, n, i, a, m));
        }
      }
    }
  }
}
