// Packed weights: `tile` turns a piece of a 16-row panel into f32, `packed_row` one row (an embedding's). With these two
// a type works everywhere (gather, backward, fallback); fast products are in int8.h and gemm.h.
// Included inside `namespace pith::<isa> {`. Layouts: README.md.
#pragma once
#include "codes.h"

// Bytes of a panel of 16 rows x cols; also of `cols` columns of one. Whole blocks.
PITH_INLINE int64_t panel_bytes(int type, int64_t cols) {
  int64_t bytes = cols * (type == F32 ? 64 : 32);
  with_format(type, [&](auto f) PITH_LAMBDA { bytes = cols / f.COLUMNS * f.BYTES; });
  return bytes;
}

// out[j * 16 + r] = column 32s + j of row r, for the 32 columns and PIECE rows of piece h.
template <class F>
PITH_INLINE void tile_piece(float* out, const uint8_t* w, int h, int s) {
  PI u[8];
  P a[2], m[2];
  F::codes(u, w, h, s);
  F::scales(a, m, F::head(w, h), w, h, s);
  for (int g = 0; g < 8; g++)
    for (int b = 0; b < 4; b++) {
      P v = F::value(signed_byte(u[g], b)) * a[F::PARTS == 2 ? g / 4 : 0];
      if (F::MIN) v = v + m[F::PARTS == 2 ? g / 4 : 0];
      put(out + (g * 4 + b) * 16 + h * PIECE, v);
    }
}

// out[j * 16 + r] = column k + j of row r of the panel at p, for n columns (k and n multiples of 32 if quantized). Exact,
// except that a quantized value is rounded once.
static void tile(float* out, int type, const uint8_t* p, int64_t k, int64_t n) {
  switch (type) {
    case F32:
      __builtin_memcpy(out, p + k * 64, size_t(n) * 64);
      return;
    case F16:
      for (int64_t j = 0; j < n; j++) store(out + j * 16, load_f16((const uint16_t*)p + (k + j) * 16));
      return;
    case BF16:
      for (int64_t j = 0; j < n; j++) store(out + j * 16, load_bf16((const uint16_t*)p + (k + j) * 16));
      return;
  }
  with_format(type, [&](auto f) {
    typedef decltype(f) F;
    for (int64_t j = k; j < k + n; j += BLOCK, out += BLOCK * 16)
      for (int h = 0; h < 16 / PIECE; h++)
        tile_piece<F>(out, p + j / F::COLUMNS * F::BYTES, h, int(j % F::COLUMNS / BLOCK));
  });
}

// out[0 .. cols) = row r of a packed weight.
static void packed_row(float* out, int type, const uint8_t* data, int64_t cols, int64_t r) {
  const uint8_t* p = data + r / PANEL * panel_bytes(type, cols);
  r %= PANEL;
  switch (type) {
    case F32:
      for (int64_t k = 0; k < cols; k++) __builtin_memcpy(out + k, p + (k * 16 + r) * 4, 4);
      return;
    case F16:
    case BF16:
      for (int64_t k = 0; k < cols; k += 16) {
        uint16_t h[16] = {};
        int64_t n = cols - k < 16 ? cols - k : 16;
        for (int64_t i = 0; i < n; i++) __builtin_memcpy(h + i, p + ((k + i) * 16 + r) * 2, 2);
        store_upto(out + k, type == F16 ? load_f16(h) : load_bf16(h), n);
      }
      return;
  }
  // The piece that the row is in: with its neighbours, which costs little beside finding the memory.
  with_format(type, [&](auto f) {
    typedef decltype(f) F;
    float piece[BLOCK * 16];
    for (int64_t k = 0; k < cols; k += BLOCK) {
      tile_piece<F>(piece, p + k / F::COLUMNS * F::BYTES, int(r / PIECE), int(k % F::COLUMNS / BLOCK));
      for (int j = 0; j < BLOCK; j++) out[k + j] = piece[j * 16 + r];
    }
  });
}

// Row r of a weight, packed or dense (row-major f32).
static void weight_row(float* out, const Tensor& w, int64_t r) {
  if (w.packed)
    packed_row(out, w.type, w.data, w.cols, r);
  else
    __builtin_memcpy(out, w.data + r * w.cols * 4, size_t(w.cols) * 4);
}
