// y = x wᵀ with weights of every type: what `linear` is made of. `product` does one thread's panels of one weight.
// Included inside `namespace pith::<isa> {`. int8.h multiplies quantized panels, gemm.h all others.
#pragma once
#include "gemm.h"
#include "int8.h"
#include "vmath.h"

// What becomes of a sum: + bias[row], + add[token, row], then silu(y[token, row]) · it; stored to y [tokens, N].
// The same float operations as the rows add and swiglu do one after the other.
struct Finish {
  float* y;
  int64_t N;
  const float* bias;  // or null
  const float* add;   // or null
  bool gate;
};

// 16 rows from `row` of token t; v[0 .. 16).
PITH_INLINE void finish(const Finish& f, int64_t t, int64_t row, const float* v) {
  int64_t n = f.N - row;
  float* y = f.y + t * f.N + row;
  V s = load(v);
  if (f.bias) s = s + load_upto(f.bias + row, n);
  if (f.add) s = load_upto(f.add + t * f.N + row, n) + s;
  if (f.gate) s = silu(load_upto(y, n)) * s;
  store_upto(y, s, n);
}

// Panels p0 .. p1 with T tokens, rounded to int8 at `x` in tiles.
static void product_int8(const Tensor& w, const uint8_t* x, int64_t T, int64_t p0, int64_t p1, const Finish& f) {
  int64_t blocks = w.cols / BLOCK, bytes = panel_bytes(w.type, w.cols);
  alignas(64) float y[16 * 16];
  for (int64_t p = p0; p < p1; p++) {
    const uint8_t* panel = w.data + p * bytes;
    for (int64_t t = 0, n; t < T; t += n) {
      n = tile_tokens(T - t);
      int8_panel(w.type, y, panel, x + t * blocks * X_BYTES, n, blocks, t == 0 ? bytes : 0);
      for (int64_t i = 0; i < n; i++) finish(f, t + i, p * 16, y + i * 16);
    }
  }
}

// Few tokens: straight from the packed floats, a strip of four panels at a time.
template <int TYPE>
static void product_few(const Tensor& w, const float* x, int64_t T, int64_t p0, int64_t p1, const Finish& f) {
  int64_t bytes = panel_bytes(w.type, w.cols);
  alignas(64) float y[MR * STRIP];
  for (int64_t p = p0; p < p1; p += STRIP / 16) {
    int64_t n = p1 - p < STRIP / 16 ? p1 - p : STRIP / 16;
    strip<TYPE>(y, STRIP, T, x, MR * w.cols, w.cols, 1, w.data + p * bytes, bytes, n, w.cols, false);
    for (int64_t i = 0; i < T; i++)
      for (int64_t j = 0; j < n; j++) finish(f, i, (p + j) * 16, y + i * STRIP + j * 16);
  }
}

// Any number of tokens, x [T, K] f32: each strip of B is packed once for ROWS of them. In `local`: B, then the sums.
constexpr int64_t ROWS = 512;
constexpr int64_t PRODUCT_LOCAL = (KC + ROWS) * STRIP * 4;
static void product_f32(const Tensor& w, const float* x, int64_t T, int64_t p0, int64_t p1, const Finish& f, uint8_t* local) {
  if (w.packed && T <= MR) {
    if (w.type == F32) return product_few<F32>(w, x, T, p0, p1, f);
    if (w.type == F16) return product_few<F16>(w, x, T, p0, p1, f);
    if (w.type == BF16) return product_few<BF16>(w, x, T, p0, p1, f);
  }
  float *b = (float*)local, *y = b + KC * STRIP;
  int64_t K = w.cols;
  for (int64_t t = 0; t < T; t += ROWS) {
    int64_t m = T - t < ROWS ? T - t : ROWS;
    for (int64_t p = p0; p < p1; p += STRIP / 16) {
      int64_t n = p1 - p < STRIP / 16 ? p1 - p : STRIP / 16;
      for (int64_t k = 0; k < K; k += KC) {
        int64_t kc = K - k < KC ? K - k : KC;
        pack_nt(b, w, p, n, k, kc);
        strip<F32>(y, STRIP, m, x + t * K + k, MR * K, K, 1, (const uint8_t*)b, kc * 64, n, kc, k > 0);
      }
      for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) finish(f, t + i, (p + j) * 16, y + i * STRIP + j * 16);
    }
  }
}
