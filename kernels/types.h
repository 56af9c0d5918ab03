// Packed weight types: `tile` turns a piece of a 16-row panel into f32, `packed_row` one row (an embedding's).
// A type that has these two works everywhere (gather, backward, fallback); fast products are in int8.h and gemm.h.
// Included inside `namespace pith::<isa> {`. Layouts: README.md.
#pragma once
#include "simd.h"

// Bytes of a block of 16 rows, and its columns.
constexpr int64_t Q4_BYTES = 288, Q8_BYTES = 544;

PITH_INLINE bool is_quantized(int type) { return type == Q8_0 || type == Q4_0; }

// Bytes of a panel of 16 rows x cols; also of `cols` columns of one (a multiple of 32 if quantized).
PITH_INLINE int64_t panel_bytes(int type, int64_t cols) {
  switch (type) {
    case F16:
    case BF16:
      return cols * 32;
    case Q8_0:
      return cols / BLOCK * Q8_BYTES;
    case Q4_0:
      return cols / BLOCK * Q4_BYTES;
    default:
      return cols * 64;
  }
}

// out[k * 16 + r] = columns k of rows r, for n columns from the start of `p` (a multiple of 32 if quantized). Exact,
// except that a quantized value is rounded once (scale x integer).
static void tile(float* out, int type, const uint8_t* p, int64_t n) {
  switch (type) {
    case F16:
      for (int64_t k = 0; k < n; k++) store(out + k * 16, load_f16((const uint16_t*)p + k * 16));
      return;
    case BF16:
      for (int64_t k = 0; k < n; k++) store(out + k * 16, load_bf16((const uint16_t*)p + k * 16));
      return;
    case Q8_0:
      for (; n > 0; n -= BLOCK, p += Q8_BYTES) {
        V d = load_f16((const uint16_t*)p);
        for (int g = 0; g < 8; g++, out += 64) {
          I w = load_int((const int32_t*)(p + 32 + g * 64));
          store(out, d * to_float((w << 24) >> 24));
          store(out + 16, d * to_float((w << 16) >> 24));
          store(out + 32, d * to_float((w << 8) >> 24));
          store(out + 48, d * to_float(w >> 24));
        }
      }
      return;
    case Q4_0:
      for (; n > 0; n -= BLOCK, p += Q4_BYTES, out += 512) {
        V d = load_f16((const uint16_t*)p);
        I low = splat_int(15), eight = splat_int(8);
        for (int g = 0; g < 4; g++) {
          I w = load_int((const int32_t*)(p + 32 + g * 64));
          for (int b = 0; b < 4; b++, w = w >> 8) {
            store(out + (g * 4 + b) * 16, d * to_float((w & low) - eight));
            store(out + (16 + g * 4 + b) * 16, d * to_float(((w >> 4) & low) - eight));
          }
        }
      }
      return;
    default:
      __builtin_memcpy(out, p, size_t(n) * 64);
  }
}

PITH_INLINE float half_float(const uint8_t* p) {
  uint16_t h[16] = {};
  __builtin_memcpy(h, p, 2);
  return lane(load_f16(h), 0);
}

// out[0 .. cols) = row r of a packed weight.
static void packed_row(float* out, int type, const uint8_t* data, int64_t cols, int64_t r) {
  const uint8_t* p = data + r / PANEL * panel_bytes(type, cols);
  r %= PANEL;
  switch (type) {
    case F16:
    case BF16:
      for (int64_t k = 0; k < cols; k += 16) {
        uint16_t h[16] = {};
        int64_t n = cols - k < 16 ? cols - k : 16;
        for (int64_t i = 0; i < n; i++) __builtin_memcpy(h + i, p + ((k + i) * 16 + r) * 2, 2);
        store_upto(out + k, type == F16 ? load_f16(h) : load_bf16(h), n);
      }
      return;
    case Q8_0:
      for (int64_t k = 0; k < cols; k += BLOCK, p += Q8_BYTES) {
        int8_t q[BLOCK];
        for (int g = 0; g < 8; g++) __builtin_memcpy(q + g * 4, p + 32 + g * 64 + r * 4, 4);
        float d = half_float(p + r * 2);
        for (int j = 0; j < BLOCK; j++) out[k + j] = d * float(q[j]);
      }
      return;
    case Q4_0:
      for (int64_t k = 0; k < cols; k += BLOCK, p += Q4_BYTES) {
        uint8_t q[16];
        for (int g = 0; g < 4; g++) __builtin_memcpy(q + g * 4, p + 32 + g * 64 + r * 4, 4);
        float d = half_float(p + r * 2);
        for (int j = 0; j < 16; j++) {
          out[k + j] = d * float((q[j] & 15) - 8);
          out[k + 16 + j] = d * float((q[j] >> 4) - 8);
        }
      }
      return;
    default:
      for (int64_t k = 0; k < cols; k++) __builtin_memcpy(out + k, p + (k * 16 + r) * 4, 4);
  }
}

// Row r of a weight, packed or dense (row-major f32).
static void weight_row(float* out, const Tensor& w, int64_t r) {
  if (w.packed)
    packed_row(out, w.type, w.data, w.cols, r);
  else
    __builtin_memcpy(out, w.data + r * w.cols * 4, size_t(w.cols) * 4);
}
