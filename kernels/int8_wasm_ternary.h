// One token with panels of codes of two bits and of trits, on WebAssembly: every load of weights serves all its columns.
// Included by int8_wasm_panels.h, inside `namespace pith::<isa> {`; the same integers and float operations as there.
#pragma once

// Bytes from 32 columns of the token to the next: as tiles have them, or as 16 bits.
template <class F>
constexpr int RUN_BYTES = RELAXED<F> ? X_BYTES : 64;

// A block's 256 columns of the token as the products take them.
template <class F>
PITH_INLINE const uint8_t* block_x(uint8_t* wide, const uint8_t* x) {
  if (RELAXED<F>) return x;
  const uint8_t* end = x + 8 * X_BYTES;
  uint8_t* to = wide;
  PITH_ROLLED for (; x != end; x += X_BYTES, to += 64) {
    PITH_OPAQUE(x);
    PITH_OPAQUE(to);
    widen_x<F>(to, x, 1);
  }
  return wide;
}

// acc + four rows of 32 columns, whose products with the codes are the pairs in s, times 2^shift. x: the tile's block.
template <class F, int SHIFT>
PITH_INLINE v128_t add_run(v128_t acc, v128_t s, v128_t scale, const uint8_t* x) {
  v128_t sum = RELAXED<F> ? wasm_i32x4_extadd_pairwise_i16x8(s) : s;
  if (SHIFT) sum = wasm_i32x4_shr(sum, SHIFT);
  sum = wasm_i32x4_add(sum, wasm_i32x4_shr(splat_bytes(x + 36), 3));
  return wasm_f32x4_add(wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sum), wasm_f32x4_mul(scale, splat_bytes(x + 32))), acc);
}

// --- Two bits --------------------------------------------------------------------------------------------------------

// s[k * 4 + r]: the products of two runs of 32 columns, the codes of the second times 4; w: 32 columns' words, of which
// these runs have the bits from SHIFT on.
template <class F, int SHIFT>
PITH_INLINE void two_runs(v128_t* s, const uint8_t* w, const uint8_t* x, const v128_t* mask) {
  constexpr bool NARROW = RELAXED<F>;
  PITH_WRITTEN_OUT for (int i = 0; i < 8; i++) s[i] = wasm_i32x4_const_splat(0);
  const uint8_t* end = w + 512;
  PITH_OPAQUE(end);
  PITH_ROLLED do {
    PITH_OPAQUE(w);
    PITH_OPAQUE(x);
    PITH_WRITTEN_OUT for (int k = 0; k < 2; k++) {
      v128_t even = splat_bytes(x + k * RUN_BYTES<F>), odd = even;
      if (!NARROW) odd = splat_bytes(x + k * RUN_BYTES<F> + 32);
      PITH_WRITTEN_OUT for (int r = 0; r < 4; r++) {
        v128_t v = vector(w + r * 16), low = SHIFT ? wasm_u16x8_shr(v, SHIFT) : v;
        v128_t d = pairs<NARROW>(even, wasm_v128_and(low, mask[k]));
        if (!NARROW) d = plus<NARROW>(d, pairs<NARROW>(odd, wasm_v128_and(wasm_u16x8_shr(v, SHIFT + 8), mask[k])));
        s[k * 4 + r] = plus<NARROW>(s[k * 4 + r], d);
      }
    }
    w += 64, x += 4;
  } while (w != end);
}

__attribute__((noinline)) static void one_token(Format<TQ2_0>, float* y, const uint8_t* w, const uint8_t* x,
                                                int64_t blocks) {
  typedef Format<TQ2_0> F;
  constexpr uint32_t ALL = RELAXED<F> ? 0x01010101 : 0x00010001;
  uint8_t wide[RELAXED<F> ? 16 : 512];
  v128_t acc[4] = {}, mask[2] = {constant(3 * ALL), constant(12 * ALL)};
  PITH_ROLLED for (int64_t b = 0; b < blocks; b += 8, w += F::BYTES) {
    const uint8_t* columns = block_x<F>(wide, x);
    v128_t scale[4];
    PITH_WRITTEN_OUT for (int r = 0; r < 4; r++) scale[r] = (v128_t)halves(w + 1024, r);
    PITH_ROLLED for (int half = 0; half < 2; half++, x += 4 * X_BYTES, columns += 4 * RUN_BYTES<F>) {
      v128_t s[8];
      two_runs<F, 0>(s, w + half * 512, columns, mask);
      PITH_WRITTEN_OUT for (int r = 0; r < 4; r++) {
        acc[r] = add_run<F, 0>(acc[r], s[r], scale[r], x);
        acc[r] = add_run<F, 2>(acc[r], s[4 + r], scale[r], x + X_BYTES);
      }
      two_runs<F, 4>(s, w + half * 512, columns + 2 * RUN_BYTES<F>, mask);
      PITH_WRITTEN_OUT for (int r = 0; r < 4; r++) {
        acc[r] = add_run<F, 0>(acc[r], s[r], scale[r], x + 2 * X_BYTES);
        acc[r] = add_run<F, 2>(acc[r], s[4 + r], scale[r], x + 3 * X_BYTES);
      }
    }
  }
  for (int r = 0; r < 4; r++) wasm_v128_store(y + r * 4, acc[r]);
}

// --- Trits -----------------------------------------------------------------------------------------------------------

// The digits of four rows' word, one after the other: those of even columns and of odd ones in 16 bits, where three times
// the byte has the digit above it.
template <bool NARROW>
struct Digits {
  v128_t low = constant(0x00ff00ff), high = constant(0xff00ff00), even, odd;

  PITH_MEMBER void take(const uint8_t* w) {
    v128_t v = vector(w);
    even = wasm_v128_and(v, low), odd = wasm_u16x8_shr(v, 8);
  }
  // The products of the next ones with the columns at x.
  PITH_MEMBER v128_t products(const uint8_t* x) {
    v128_t three = wasm_i16x8_const_splat(3), a = wasm_i16x8_mul(even, three), b = wasm_i16x8_mul(odd, three);
    even = wasm_v128_and(a, low), odd = wasm_v128_and(b, low);
    a = wasm_u16x8_shr(a, 8);
    if (NARROW) return pairs<NARROW>(splat_bytes(x), wasm_v128_or(a, wasm_v128_and(b, high)));
    return plus<NARROW>(pairs<NARROW>(splat_bytes(x), a), pairs<NARROW>(splat_bytes(x + 32), wasm_u16x8_shr(b, 8)));
  }
};

__attribute__((noinline)) static void one_token(Format<TQ1_0>, float* y, const uint8_t* w, const uint8_t* x,
                                                int64_t blocks) {
  typedef Format<TQ1_0> F;
  constexpr bool NARROW = RELAXED<F>;
  constexpr int RUN = RUN_BYTES<F>;
  uint8_t wide[NARROW ? 16 : 512];
  Digits<NARROW> digits;
  PITH_ROLLED for (int i = 0; i < 16; i += 4) wasm_v128_store(y + i, wasm_f32x4_const_splat(0));
  PITH_ROLLED for (int64_t b = 0; b < blocks; b += 8, w += F::BYTES, x += 8 * X_BYTES) {
    const uint8_t* columns = block_x<F>(wide, x);
    PITH_ROLLED for (int r = 0; r < 4; r++) {
      const uint8_t *p = w + r * 16, *q = columns, *end = p + 512;
      v128_t s[5], t[3];
      PITH_WRITTEN_OUT for (int n = 0; n < 5; n++) s[n] = wasm_i32x4_const_splat(0);
      PITH_OPAQUE(end);
      PITH_ROLLED do {
        PITH_OPAQUE(p);
        PITH_OPAQUE(q);
        digits.take(p);
        PITH_WRITTEN_OUT for (int n = 0; n < 5; n++) s[n] = plus<NARROW>(s[n], digits.products(q + n * RUN));
        p += 64, q += 4;
      } while (p != end);
      v128_t acc = vector(y + r * 4), scale = (v128_t)halves(w + 832, r);
      PITH_WRITTEN_OUT for (int n = 0; n < 5; n++) acc = add_run<F, 0>(acc, s[n], scale, x + n * X_BYTES);
      PITH_WRITTEN_OUT for (int n = 0; n < 3; n++) t[n] = wasm_i32x4_const_splat(0);
      q = columns + 5 * RUN, end = p + 256;
      PITH_OPAQUE(end);
      PITH_ROLLED do {
        PITH_OPAQUE(p);
        PITH_OPAQUE(q);
        digits.take(p);
        PITH_WRITTEN_OUT for (int n = 0; n < 5; n++)
          t[n / 2] = plus<NARROW>(t[n / 2], digits.products(q + n / 2 * RUN + n % 2 * 16));
        p += 64, q += 4;
      } while (p != end);
      digits.take(p);
      PITH_WRITTEN_OUT for (int n = 0; n < 4; n++)
        t[2] = plus<NARROW>(t[2], digits.products(columns + 7 * RUN + 16 + n * 4));
      PITH_WRITTEN_OUT for (int n = 0; n < 3; n++) acc = add_run<F, 0>(acc, t[n], scale, x + (5 + n) * X_BYTES);
      wasm_v128_store(y + r * 4, acc);
    }
  }
}
