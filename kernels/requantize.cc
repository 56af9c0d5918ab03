// See requantize.h. Rounding is that of llama.cpp's `quantize_row_q8_0_ref`: every step in f32, halves away from zero.
#include "requantize.h"

namespace pith {

namespace {

float bits_float(uint32_t u) {
  float f;
  __builtin_memcpy(&f, &u, 4);
  return f;
}

uint32_t float_bits(float f) {
  uint32_t u;
  __builtin_memcpy(&u, &f, 4);
  return u;
}

float from_half(uint32_t h) {
  uint32_t sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
  if (exponent == 31) return bits_float(sign | 0x7f800000 | fraction << 13);
  if (exponent) return bits_float(sign | (exponent + 112) << 23 | fraction << 13);
  float f = float(fraction) * 0x1p-24f;
  return sign ? -f : f;
}

// Nearest, ties to even, of a finite f >= 0; above 0x7bff when it does not fit.
uint32_t to_half(float f) {
  uint32_t u = float_bits(f);
  if (f < 0x1p-14f) return float_bits(f + 0.5f) - float_bits(0.5f);   // the sum rounds at 2^-24, f16's least step
  u += 0xfff + (u >> 13 & 1);
  return (u >> 13) - (112 << 10);
}

void dequantize_block(float* out, const uint8_t* b) {
  float d = from_half(uint32_t(b[208]) | uint32_t(b[209]) << 8);
  for (int half = 0; half < 2; half++) {
    const uint8_t *low = b + half * 64, *high = b + 128 + half * 32, *scales = b + 192 + half * 8;
    for (int run = 0; run < 4; run++) {
      const uint8_t* q = low + (run & 1) * 32;
      int shift = run < 2 ? 0 : 4;
      for (int part = 0; part < 2; part++) {
        float scale = d * float(int8_t(scales[run * 2 + part]));
        for (int l = part * 16; l < part * 16 + 16; l++)
          *out++ = scale * float(((q[l] >> shift & 15) | (high[l] >> (run * 2) & 3) << 4) - 32);
      }
    }
  }
}

bool quantize_block(uint8_t* to, const float* x) {
  float most = 0;
  for (int j = 0; j < 32; j++) {
    float a = __builtin_fabsf(x[j]);
    most = a > most ? a : most;
    if (!(a <= 0x1.fffffep127f)) return false;
  }
  float d = most / 127, inverse = d == 0 ? 0 : 1 / d;
  uint32_t h = to_half(d);
  if (h > 0x7bff) return false;
  to[0] = uint8_t(h);
  to[1] = uint8_t(h >> 8);
  for (int j = 0; j < 32; j++) {
    float v = x[j] * inverse;
    int32_t whole = int32_t(v);
    float rest = v - float(whole);   // exact
    to[2 + j] = uint8_t(whole + (rest >= 0.5f) - (rest <= -0.5f));
  }
  return true;
}

}  // namespace

bool requantize_q6k(uint8_t* q8, const uint8_t* q6k, int64_t blocks) {
  float x[Q6K_COLS];
  for (; blocks > 0; blocks--, q6k += Q6K_BYTES) {
    dequantize_block(x, q6k);
    for (int j = 0; j < 8; j++, q8 += 34)
      if (!quantize_block(q8, x + j * 32)) return false;
  }
  return true;
}

}  // namespace pith
