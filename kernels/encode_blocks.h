// The bytes of quantized blocks of 16 rows as a panel: fields of a block 16 times, row after row (README.md, "Packed weights").
// Included inside `namespace pith::<isa> {` by encode.h.
#pragma once

// Four bytes of every row at word g of the fours, which begin at byte `start` of a row's block.
template <class Byte>
PITH_INLINE void put_words(uint8_t* panel, int start, int words, Byte byte) {
  PITH_ROLLED
  for (int g = 0; g < words; g++) {
    I word = byte(4 * g) | byte(4 * g + 1) << 8 | byte(4 * g + 2) << 16 | byte(4 * g + 3) << 24;
    store_int((int32_t*)(panel + 16 * start + 64 * g), word);
  }
}
PITH_INLINE void put_half(uint8_t* panel, int at, V v) { store_f16((uint16_t*)(panel + 16 * at), v); }

// Codes of a block, from 0, and the integers of its groups.
template <class G>
struct Codes {
  const int32_t* l;
  const State<G>& s;
  PITH_LAMBDA I operator[](int i) const { return load_int(l + i * 16) - splat_int(G::LOW); }
  PITH_LAMBDA I sc(int g) const { return to_int(s.sc[g]) - splat_int(G::SCALE_LOW); }
  PITH_LAMBDA I mn(int g) const { return to_int(s.mn[g]); }
};

template <class G>
PITH_INLINE I nibbles(Codes<G> c, int b, int mask = 15) {
  return (c[b] & splat_int(mask)) | (c[16 + b] & splat_int(mask)) << 4;
}
// Bit `bit` of the codes 8b .. 8b + 7.
template <class G>
PITH_INLINE I fifths(Codes<G> c, int b) {
  I v = splat_int(0);
  for (int i = 0; i < 8; i++) v = v | (c[b * 8 + i] >> 4 & splat_int(1)) << i;
  return v;
}
// Two bits, from `bit` on, of four runs of 32 in each of 32 bytes.
template <class G>
PITH_INLINE I two_bits(Codes<G> c, int b, int bit = 0) {
  I v = splat_int(0);
  for (int s = 0; s < 4; s++) v = v | (c[b / 32 * 128 + s * 32 + b % 32] >> bit & splat_int(3)) << 2 * s;
  return v;
}
// Bit `bit` of the eight runs of 32.
template <class G>
PITH_INLINE I one_bit(Codes<G> c, int b, int bit) {
  I v = splat_int(0);
  for (int s = 0; s < 8; s++) v = v | (c[s * 32 + b] >> bit & splat_int(1)) << s;
  return v;
}
template <class G>
PITH_INLINE I four_bits(Codes<G> c, int b) {
  int i = b / 32 * 64 + b % 32;
  return (c[i] & splat_int(15)) | (c[i + 32] & splat_int(15)) << 4;
}
// Byte b of the 12 that hold eight scales and eight minima of six bits.
template <class G>
PITH_INLINE I six_bits(Codes<G> c, int b) {
  I low = splat_int(15);
  if (b < 4) return c.sc(b) | c.sc(b + 4) >> 4 << 6;
  if (b < 8) return c.mn(b - 4) | c.mn(b) >> 4 << 6;
  return (c.sc(b - 4) & low) | (c.mn(b - 4) & low) << 4;
}

// Byte b of 52: five digits to base 3 (the last four bytes: four), the first the most significant, as 256 / 243 of their
// number, rounded up.
template <class G>
PITH_INLINE I trits(Codes<G> c, int b) {
  int first = b < 32 ? b : b < 48 ? 160 + b - 32 : 240 + b - 48, step = b < 32 ? 32 : b < 48 ? 16 : 4;
  I v = splat_int(0);
  for (int n = 0; n < 5; n++) v = v * splat_int(3) + (n < 4 || b < 48 ? c[first + n * step] : splat_int(0));
  // v · 256 / 243, and less than 1 / 243 more, for all v up to 242
  return (v * splat_int(69042) + splat_int(65535)) >> 16;
}

typedef Grid<32, 32, -127, 127, false> GridQ8_0;
typedef Grid<32, 32, -8, 7, false> GridQ4_0;
typedef Grid<32, 32, -16, 15, false> GridQ5_0;
typedef Grid<32, 32, 0, 31, true> GridQ5_1;
typedef Grid<256, 16, 0, 3, true, 0, 15, 15> GridQ2_K;
typedef Grid<256, 16, -4, 3, false, -32, 31> GridQ3_K;
typedef Grid<256, 32, 0, 15, true, 0, 63, 63> GridQ4_K;
typedef Grid<256, 32, 0, 31, true, 0, 63, 63> GridQ5_K;
typedef Grid<256, 16, -32, 31, false, -128, 127> GridQ6_K;
typedef Grid<256, 256, -1, 1, false> GridTernary;

// f(grid, write(panel, codes, state)) of a type.
template <class Fn>
PITH_INLINE void with_grid(int type, Fn f) {
  switch (type) {
    case Q8_0:
      return f(GridQ8_0(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_half(p, 0, c.s.d);
        put_words(p, 2, 8, [&](int b) PITH_LAMBDA { return load_int(c.l + b * 16) & splat_int(255); });
      });
    case Q4_0:
      return f(GridQ4_0(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_half(p, 0, c.s.d);
        put_words(p, 2, 4, [&](int b) PITH_LAMBDA { return nibbles(c, b); });
      });
    case Q5_0:
      return f(GridQ5_0(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_half(p, 0, c.s.d);
        put_words(p, 2, 1, [&](int b) PITH_LAMBDA { return fifths(c, b); });
        put_words(p, 6, 4, [&](int b) PITH_LAMBDA { return nibbles(c, b); });
      });
    case Q5_1:
      return f(GridQ5_1(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_half(p, 0, c.s.d);
        put_half(p, 2, -c.s.dmin);
        put_words(p, 4, 1, [&](int b) PITH_LAMBDA { return fifths(c, b); });
        put_words(p, 8, 4, [&](int b) PITH_LAMBDA { return nibbles(c, b); });
      });
    case Q2_K:
      return f(GridQ2_K(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_words(p, 0, 4, [&](int b) PITH_LAMBDA { return c.sc(b) | c.mn(b) << 4; });
        put_words(p, 16, 16, [&](int b) PITH_LAMBDA { return two_bits(c, b); });
        put_half(p, 80, c.s.d);
        put_half(p, 82, c.s.dmin);
      });
    case Q3_K:
      return f(GridQ3_K(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_words(p, 0, 8, [&](int b) PITH_LAMBDA { return one_bit(c, b, 2); });
        put_words(p, 32, 16, [&](int b) PITH_LAMBDA { return two_bits(c, b); });
        put_words(p, 96, 3, [&](int b) PITH_LAMBDA {
          I low = splat_int(15);
          if (b < 8) return (c.sc(b) & low) | (c.sc(b + 8) & low) << 4;
          return c.sc(b - 8) >> 4 | c.sc(b - 4) >> 4 << 2 | c.sc(b) >> 4 << 4 | c.sc(b + 4) >> 4 << 6;
        });
        put_half(p, 108, c.s.d);
      });
    case Q4_K:
      return f(GridQ4_K(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_half(p, 0, c.s.d);
        put_half(p, 2, c.s.dmin);
        put_words(p, 4, 3, [&](int b) PITH_LAMBDA { return six_bits(c, b); });
        put_words(p, 16, 32, [&](int b) PITH_LAMBDA { return four_bits(c, b); });
      });
    case Q5_K:
      return f(GridQ5_K(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_half(p, 0, c.s.d);
        put_half(p, 2, c.s.dmin);
        put_words(p, 4, 3, [&](int b) PITH_LAMBDA { return six_bits(c, b); });
        put_words(p, 16, 8, [&](int b) PITH_LAMBDA { return one_bit(c, b, 4); });
        put_words(p, 48, 32, [&](int b) PITH_LAMBDA { return four_bits(c, b); });
      });
    case Q6_K:
      return f(GridQ6_K(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_words(p, 0, 32, [&](int b) PITH_LAMBDA {
          int i = b / 64 * 128 + b % 64;
          return (c[i] & splat_int(15)) | (c[i + 64] & splat_int(15)) << 4;
        });
        put_words(p, 128, 16, [&](int b) PITH_LAMBDA { return two_bits(c, b, 4); });
        put_words(p, 192, 4, [&](int b) PITH_LAMBDA { return to_int(c.s.sc[b]) & splat_int(255); });
        put_half(p, 208, c.s.d);
      });
    case TQ2_0:
      return f(GridTernary(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_words(p, 0, 16, [&](int b) PITH_LAMBDA { return two_bits(c, b); });
        put_half(p, 64, c.s.d);
      });
    case TQ1_0:
      return f(GridTernary(), [](uint8_t* p, auto c) PITH_LAMBDA {
        put_words(p, 0, 13, [&](int b) PITH_LAMBDA { return trits(c, b); });
        put_half(p, 52, c.s.d);
      });
  }
}
