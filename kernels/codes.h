// Quantized panels: for each type, what 32 columns of PIECE rows hold. Everything else about a type follows from this:
// `tile` in types.h, the products in int8.h. Layouts: README.md, "Packed weights"; formulas: src/engine/weights.ts.
// Included inside `namespace pith::<isa> {`.
//
// Format<TYPE> states
//   COLUMNS, BYTES   of a block of 16 rows
//   PARTS            scales in 32 columns: 1, or 2 (of 16 columns each)
//   MIN              x = a · q + m, else x = a · (q - ZERO)
//   ZERO             the code of zero; codes are unsigned bytes. SIGNED: codes are int8, ZERO is 0
//   value(code)      what `a` multiplies: code - ZERO, where codes are numbers
//   FOLD             of the 8 groups, how many products with int8 can be added up, in pairs of columns, in 16 bits
//   Head, head(w, h)           what is read once for a block
//   codes(u, w, h, s)          u[g], row r, byte b: the code of column 32s + 4g + b
//   scales(a, m, head, w, h, s)
//   WHOLE, block(u, w, h)      whether a block is best unpacked at once: u[s * 8 + g]
// where w is the block, h the piece of its rows, s which 32 of its columns.
#pragma once
#include "simd.h"

// Row r of four bytes at r * 4; two bytes, as f16, at r * 2.
PITH_INLINE PI words(const uint8_t* p, int h) {
  PI v;
  get(v, (const int32_t*)p + h * PIECE);
  return v;
}
PITH_INLINE P halves(const uint8_t* p, int h) { return widen_f16(load_piece16((const uint16_t*)p + h * PIECE)); }

// The upper nibble of each byte.
PITH_INLINE PI high_nibbles(PI v) {
#if defined(__aarch64__)
  return (PI)vshrq_n_u8((uint8x16_t)v, 4);
#else
  return (v >> 4) & 0x0f0f0f0f;
#endif
}

// 32 nibbles of a row in 16 bytes: columns 0 .. 15 low, 16 .. 31 high.
PITH_INLINE void nibbles(PI* u, const uint8_t* p, int h) {
  for (int g = 0; g < 4; g++) {
    PI v = words(p + g * 64, h);
    u[g] = v & 0x0f0f0f0f;
    u[4 + g] = high_nibbles(v);
  }
}

// table[code] for each byte, codes below 16.
PITH_INLINE PI lookup(PI codes, const int8_t* table) {
#if defined(__AVX512BW__)
  return (PI)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)table)), (__m512i)codes);
#elif defined(__AVX2__)
  return (PI)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table)), (__m256i)codes);
#elif defined(__wasm_simd128__)
  return (PI)wasm_i8x16_swizzle(wasm_v128_load(table), (v128_t)codes);
#elif defined(__aarch64__)
  return (PI)vqtbl1q_s8(vld1q_s8(table), (uint8x16_t)codes);
#else
  int8_t v[PIECE * 4];
  __builtin_memcpy(v, &codes, sizeof v);
  for (int i = 0; i < PIECE * 4; i++) v[i] = table[v[i]];
  __builtin_memcpy(&codes, v, sizeof v);
  return codes;
#endif
}

// Byte i of each word, unsigned and signed.
PITH_INLINE PI byte_of(PI v, int i) { return (v >> (8 * i)) & 255; }
PITH_INLINE PI signed_byte(PI v, int i) { return (v << (24 - 8 * i)) >> 24; }

template <int TYPE_, int COLUMNS_, int ROW_BYTES, int PARTS_, bool MIN_, int ZERO_, int FOLD_, bool SIGNED_ = false>
struct Shape {
  static constexpr int TYPE = TYPE_, COLUMNS = COLUMNS_, BYTES = ROW_BYTES * 16, PARTS = PARTS_, ZERO = ZERO_, FOLD = FOLD_;
  static constexpr bool MIN = MIN_, SIGNED = SIGNED_, WHOLE = false;
  PITH_INLINE P value(PI code) { return to_float(code - ZERO); }
};

template <int TYPE>
struct Format;

// --- Blocks of 32 columns ------------------------------------------------------------------------------------------

// One f16 scale in front.
struct Scale {
  struct Head {
    P d;
  };
  PITH_INLINE Head head(const uint8_t* w, int h) { return {halves(w, h)}; }
  PITH_INLINE void scales(P* a, P*, const Head& head, const uint8_t*, int, int) { a[0] = head.d; }
};

// A scale and a minimum.
struct ScaleMin {
  struct Head {
    P d, m;
  };
  PITH_INLINE Head head(const uint8_t* w, int h) { return {halves(w, h), halves(w + 32, h)}; }
  PITH_INLINE void scales(P* a, P* m, const Head& head, const uint8_t*, int, int) {
    a[0] = head.d;
    m[0] = head.m;
  }
};

template <>
struct Format<Q8_0> : Shape<Q8_0, 32, 34, 1, false, 0, 1, true>, Scale {
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int) {
    for (int g = 0; g < 8; g++) u[g] = words(w + 32 + g * 64, h);
  }
};

template <>
struct Format<Q4_0> : Shape<Q4_0, 32, 18, 1, false, 8, 8>, Scale {
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int) { nibbles(u, w + 32, h); }
};

template <>
struct Format<Q4_1> : Shape<Q4_1, 32, 20, 1, true, 0, 8>, ScaleMin {
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int) { nibbles(u, w + 64, h); }
};

// Nibbles with a fifth bit: bit i of the word before them belongs to column i.
PITH_INLINE void fives(PI* u, const uint8_t* p, int h) {
  nibbles(u, p + 64, h);
  PI high = words(p, h);
  // Four bits to the fifth bit of four bytes: the product has copies of them, 7 apart.
  for (int g = 0; g < 8; g++) u[g] |= ((((high >> (4 * g)) & 15) * 0x00204081) & 0x01010101) << 4;
}

template <>
struct Format<Q5_0> : Shape<Q5_0, 32, 22, 1, false, 16, 4>, Scale {
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int) { fives(u, w + 32, h); }
};

template <>
struct Format<Q5_1> : Shape<Q5_1, 32, 24, 1, true, 0, 4>, ScaleMin {
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int) { fives(u, w + 64, h); }
};

alignas(16) constexpr int8_t IQ4_VALUES[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

template <>
struct Format<IQ4_NL> : Shape<IQ4_NL, 32, 18, 1, false, 0, 1, true>, Scale {
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int) {
    nibbles(u, w + 32, h);
    for (int g = 0; g < 8; g++) u[g] = lookup(u[g], IQ4_VALUES);
  }
};

// Twice the values of a float of 1 sign, 2 exponent and 1 fraction bits.
alignas(16) constexpr int8_t FP4_VALUES[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

template <>
struct Format<MXFP4> : Shape<MXFP4, 32, 17, 1, false, 0, 8, true>, Scale {
  // Half of 2^(e - 127), the last two of which are subnormal.
  PITH_INLINE Head head(const uint8_t* w, int h) {
    typedef uint8_t Bytes __attribute__((vector_size(PIECE)));
    Bytes b;
    __builtin_memcpy(&b, w + h * PIECE, sizeof b);
    PI e = __builtin_convertvector(b, PI);
    return {floats(select(e < 2, (e + 1) << 21, (e - 1) << 23))};
  }
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int) {
    nibbles(u, w + 16, h);
    for (int g = 0; g < 8; g++) u[g] = lookup(u[g], FP4_VALUES);
  }
};

// --- Blocks of 256 columns -----------------------------------------------------------------------------------------

// d, dmin, and eight scales and eight minima of six bits in 12 bytes.
struct SixBits {
  struct Head {
    P d, min;
    PI scale[2], least[2];
  };
  PITH_INLINE Head head(const uint8_t* w, int h) {
    PI a = words(w + 64, h), b = words(w + 128, h), c = words(w + 192, h);
    return {halves(w, h),
            halves(w + 32, h),
            {a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | ((a >> 2) & 0x30303030)},
            {b & 0x3f3f3f3f, ((c >> 4) & 0x0f0f0f0f) | ((b >> 2) & 0x30303030)}};
  }
  PITH_INLINE void scales(P* a, P* m, const Head& head, const uint8_t*, int, int s) {
    a[0] = head.d * to_float(byte_of(head.scale[s / 4], s % 4));
    m[0] = -(head.min * to_float(byte_of(head.least[s / 4], s % 4)));
  }
};

// Nibbles of 256 columns in 128 bytes: of each 32 bytes, the low ones are 32 columns, the high ones the next 32.
PITH_INLINE void nibbles_of(PI* u, const uint8_t* p, int h, int s) {
  for (int g = 0; g < 8; g++) u[g] = (words(p + (s / 2 * 8 + g) * 64, h) >> (s % 2 * 4)) & 0x0f0f0f0f;
}

template <>
struct Format<Q4_K> : Shape<Q4_K, 256, 144, 1, true, 0, 8>, SixBits {
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int s) { nibbles_of(u, w + 256, h, s); }
};

template <>
struct Format<Q5_K> : Shape<Q5_K, 256, 176, 1, true, 0, 4>, SixBits {
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int s) {
    nibbles_of(u, w + 768, h, s);
    for (int g = 0; g < 8; g++) u[g] |= ((words(w + 256 + g * 64, h) >> s) & 0x01010101) << 4;
  }
};

// Two bits of 256 columns in 64 bytes: of each 32 bytes, the lowest two bits are 32 columns, and so on.
PITH_INLINE void pairs_of(PI* u, const uint8_t* p, int h, int s) {
  for (int g = 0; g < 8; g++) u[g] = (words(p + (s / 4 * 8 + g) * 64, h) >> (s % 4 * 2)) & 0x03030303;
}

template <>
struct Format<Q2_K> : Shape<Q2_K, 256, 84, 2, true, 0, 8> {
  struct Head {
    P d, min;
  };
  PITH_INLINE Head head(const uint8_t* w, int h) { return {halves(w + 1280, h), halves(w + 1312, h)}; }
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int s) { pairs_of(u, w + 256, h, s); }
  PITH_INLINE void scales(P* a, P* m, const Head& head, const uint8_t* w, int h, int s) {
    PI v = words(w + s / 2 * 64, h) >> (s % 2 * 16);
    for (int i = 0; i < 2; i++) {
      a[i] = head.d * to_float((v >> (8 * i)) & 15);
      m[i] = -(head.min * to_float((v >> (8 * i + 4)) & 15));
    }
  }
};

// Sixteen scales of six bits in 12 bytes, 32 too large; a third bit of each column in 32 bytes.
template <>
struct Format<Q3_K> : Shape<Q3_K, 256, 110, 2, false, 4, 8> {
  struct Head {
    P d;
    PI scale[4];
  };
  PITH_INLINE Head head(const uint8_t* w, int h) {
    PI a = words(w + 1536, h), b = words(w + 1600, h), c = words(w + 1664, h);
    return {halves(w + 1728, h),
            {(a & 0x0f0f0f0f) | ((c << 4) & 0x30303030), (b & 0x0f0f0f0f) | ((c << 2) & 0x30303030),
             ((a >> 4) & 0x0f0f0f0f) | (c & 0x30303030), ((b >> 4) & 0x0f0f0f0f) | ((c >> 2) & 0x30303030)}};
  }
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int s) {
    pairs_of(u, w + 512, h, s);
    for (int g = 0; g < 8; g++) u[g] |= ((words(w + g * 64, h) >> s) & 0x01010101) << 2;
  }
  PITH_INLINE void scales(P* a, P*, const Head& head, const uint8_t*, int, int s) {
    for (int i = 0; i < 2; i++) a[i] = head.d * to_float(byte_of(head.scale[s / 2], s % 2 * 2 + i) - 32);
  }
};

// Four bits of each column as in nibbles, but by halves of 128 columns; two more in 64 bytes.
template <>
struct Format<Q6_K> : Shape<Q6_K, 256, 210, 2, false, 32, 2> {
  struct Head {
    P d;
  };
  PITH_INLINE Head head(const uint8_t* w, int h) { return {halves(w + 3328, h)}; }
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int s) {
    const uint8_t *low = w + (s / 4 * 16 + s % 2 * 8) * 64, *high = w + (32 + s / 4 * 8) * 64;
    int shift = s % 4 / 2 * 4, pair = s % 4 * 2;
    for (int g = 0; g < 8; g++)
      u[g] = ((words(low + g * 64, h) >> shift) & 0x0f0f0f0f) | (((words(high + g * 64, h) >> pair) & 0x03030303) << 4);
  }
  PITH_INLINE void scales(P* a, P*, const Head& head, const uint8_t* w, int h, int s) {
    PI v = words(w + 3072 + s / 2 * 64, h) >> (s % 2 * 16);
    for (int i = 0; i < 2; i++) a[i] = head.d * to_float(signed_byte(v, i));
  }
};

// Scales of six bits, 32 too large: four bits of each in a word, two more in 16 bits.
template <>
struct Format<IQ4_XS> : Shape<IQ4_XS, 256, 136, 1, false, 0, 1, true> {
  struct Head {
    P d;
    PI high;
  };
  PITH_INLINE Head head(const uint8_t* w, int h) {
    return {halves(w, h), __builtin_convertvector(load_piece16((const uint16_t*)(w + 32) + h * PIECE), PI)};
  }
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int s) {
    nibbles(u, w + 128 + s * 256, h);
    for (int g = 0; g < 8; g++) u[g] = lookup(u[g], IQ4_VALUES);
  }
  PITH_INLINE void scales(P* a, P*, const Head& head, const uint8_t* w, int h, int s) {
    PI scale = ((words(w + 64, h) >> (4 * s)) & 15) | (((head.high >> (2 * s)) & 3) << 4);
    a[0] = head.d * to_float(scale - 32);
  }
};

// Ternary: codes 0, 1, 2 (two bits hold 3 too), and one scale behind them.
template <int AT>
struct ScaleBehind {
  struct Head {
    P d;
  };
  PITH_INLINE Head head(const uint8_t* w, int h) { return {halves(w + AT, h)}; }
  PITH_INLINE void scales(P* a, P*, const Head& head, const uint8_t*, int, int) { a[0] = head.d; }
};

template <>
struct Format<TQ2_0> : Shape<TQ2_0, 256, 66, 1, false, 1, 8>, ScaleBehind<1024> {
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int s) { pairs_of(u, w, h, s); }
};

// A byte is a fraction of 256, written with five digits to base 3 (four in the last word of a row): the first digit is how
// many thirds it has, and three times the rest is a byte that begins with the next. `trits` gives what the other two take.
typedef int8_t Trits __attribute__((vector_size(PIECE * 4)));
PITH_INLINE PI next_trits(PI v) {
  // Clang would multiply by 3, and then by 9: there is no such instruction for bytes, and it takes them one by one.
#if defined(__wasm_simd128__)
  int32_t zero = 0;
  asm("" : "+r"(zero));
  Trits twice = (Trits)v + (Trits)(v ^ zero);
#else
  Trits twice = (Trits)v + (Trits)v;
#if defined(__x86_64__) && defined(__clang__)
  asm("" : "+x"(twice));
#endif
#endif
  return (PI)((Trits)v + twice);
}

#if defined(__AVX512BW__)
PITH_INLINE PI trits(PI v) { return v; }
// floor(3 q / 4), whose upper two bits are the digit. Averages are rounded up, which one less undoes.
PITH_INLINE PI first_trits(PI v) {
  __m512i q = _mm512_subs_epu8((__m512i)v, _mm512_set1_epi8(1));
  __m512i t = _mm512_avg_epu8(q, _mm512_avg_epu8(q, _mm512_setzero_si512()));
  return (PI)_mm512_and_si512(_mm512_srli_epi16(t, 6), _mm512_set1_epi8(3));
}
#elif defined(__aarch64__)
PITH_INLINE PI trits(PI v) { return v; }
PITH_INLINE PI first_trits(PI v) {
  uint8x16_t q = (uint8x16_t)v;
  return (PI)vshrq_n_u8(vhaddq_u8(q, vshrq_n_u8(q, 1)), 6);
}
#else
// Less 128, which three times leaves as it is: only signed bytes are compared at once.
PITH_INLINE PI trits(PI v) { return v ^ int32_t(0x80808080); }
PITH_INLINE PI first_trits(PI v) {
#if defined(__AVX2__)
  __m256i one = _mm256_set1_epi8(-43), two = _mm256_set1_epi8(42);
  asm("" : "+x"(one), "+x"(two));  // gcc would compare with one more as "not less", which is two instructions
  return (PI)_mm256_abs_epi8(_mm256_add_epi8(_mm256_cmpgt_epi8((__m256i)v, one), _mm256_cmpgt_epi8((__m256i)v, two)));
#else
  return (PI)(-(Trits)((Trits)v > -43) - (Trits)((Trits)v > 42));
#endif
}
#endif

template <>
struct Format<TQ1_0> : Shape<TQ1_0, 256, 54, 1, false, 1, 8>, ScaleBehind<832> {
  static constexpr bool WHOLE = true;
  // Digit n of word i of each row.
  PITH_INLINE PI digit(const uint8_t* w, int h, int i, int n) {
    PI v = trits(words(w + i * 64, h));
    while (n-- > 0) v = next_trits(v);
    return first_trits(v);
  }
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int s) {
    for (int g = 0; g < 8; g++)
      if (s < 5)
        u[g] = digit(w, h, g, s);
      else if (s < 7 || g < 4)
        u[g] = digit(w, h, 8 + g % 4, (s - 5) * 2 + g / 4);
      else
        u[g] = digit(w, h, 12, g - 4);
  }
  // The first n digits of word i of each row, at u[0], u[step], ...
  PITH_INLINE void digits(PI* u, int step, int n, const uint8_t* w, int h, int i) {
    PI v = trits(words(w + i * 64, h));
    for (int j = 0; j < n; j++, u += step, v = next_trits(v)) *u = first_trits(v);
  }
  PITH_INLINE void block(PI* u, const uint8_t* w, int h) {
    for (int g = 0; g < 8; g++) digits(u + g, 8, 5, w, h, g);
    for (int g = 0; g < 4; g++) digits(u + 40 + g, 4, 5, w, h, 8 + g);
    digits(u + 60, 1, 4, w, h, 12);
  }
};

// --- Blocks of 64 columns ------------------------------------------------------------------------------------------

// Quantiles of the normal distribution, the largest 1 (QLoRA, arXiv 2305.14314, appendix E).
alignas(64) constexpr float NF4_VALUES[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
    -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};

// Codes of values that are no integers: such a weight is multiplied as floats only.
template <>
struct Format<NF4> : Shape<NF4, 64, 34, 1, false, 0, 1>, Scale {
  PITH_INLINE void codes(PI* u, const uint8_t* w, int h, int s) { nibbles(u, w + 32 + s * 256, h); }
  PITH_INLINE P value(PI code) {
#if defined(__AVX512F__)
    return (P)_mm512_permutexvar_ps((__m512i)code, _mm512_load_ps(NF4_VALUES));
#elif defined(__AVX2__)
    __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(NF4_VALUES), (__m256i)code);
    __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(NF4_VALUES + 8), (__m256i)code);
    return (P)_mm256_blendv_ps(low, high, (__m256)(code << 28));
#elif defined(__aarch64__)
    PI bytes = (code & 15) * 0x04040404 + 0x03020100;  // where the four bytes of each value lie
    return (P)vqtbl4q_u8(vld1q_u8_x4((const uint8_t*)NF4_VALUES), (uint8x16_t)bytes);
#else
    P v;
    for (int i = 0; i < PIECE; i++) v[i] = NF4_VALUES[code[i] & 15];
    return v;
#endif
  }
};

// f(Format<type>) for a type whose products take int8 activations.
template <class Fn>
PITH_INLINE void with_int8_format(int type, Fn f) {
  switch (type) {
    case Q8_0: return f(Format<Q8_0>());
    case Q4_0: return f(Format<Q4_0>());
    case Q4_1: return f(Format<Q4_1>());
    case Q5_0: return f(Format<Q5_0>());
    case Q5_1: return f(Format<Q5_1>());
    case Q2_K: return f(Format<Q2_K>());
    case Q3_K: return f(Format<Q3_K>());
    case Q4_K: return f(Format<Q4_K>());
    case Q5_K: return f(Format<Q5_K>());
    case Q6_K: return f(Format<Q6_K>());
    case IQ4_NL: return f(Format<IQ4_NL>());
    case IQ4_XS: return f(Format<IQ4_XS>());
    case MXFP4: return f(Format<MXFP4>());
    case TQ2_0: return f(Format<TQ2_0>());
    case TQ1_0: return f(Format<TQ1_0>());
  }
}

// The same for every type in blocks.
template <class Fn>
PITH_INLINE void with_format(int type, Fn f) {
  if (type == NF4) return f(Format<NF4>());
  with_int8_format(type, f);
}
