// y = x wᵀ with weights of every type: what `linear` is made of. `product` does one thread's panels of one weight.
// Included inside `namespace pith::<isa> {`. int8.h multiplies quantized panels, gemm.h all others.
#pragma once
#include "gemm.h"
#include "int8.h"
#include "vmath.h"

enum Activation { NONE, SILU, GELU, GELU_ERF };

// What becomes of a sum: + bias[row], · scale + add[token, row], then act(y[token, row]) · it with `gate`, else act(it); stored
// to y [tokens, N]. The same float operations as the rows add, gelu, swiglu, .. do one after the other.
struct Finish {
  float* y;
  int64_t N;
  const float* bias;  // or null
  const float* add;   // or null
  float scale;        // with `add`
  Activation act;
  bool gate;
  const struct Adapted* adapted;  // or null: what adapters do to the sum first (lora.h), as weight `index` of the node
  int index;
};

PITH_INLINE V activate(Activation act, V x) {
  return act == SILU ? silu(x) : act == GELU ? gelu(x) : gelu_erf(x);
}

// 16 rows from `row` of token t; v[0 .. 16).
PITH_INLINE void finish(const Finish& f, int64_t t, int64_t row, const float* v) {
  int64_t n = f.N - row;
  float* y = f.y + t * f.N + row;
  V s = load(v);
  if (f.bias) s = s + load_upto(f.bias + row, n);
  if (f.add) s = load_upto(f.add + t * f.N + row, n) + s * splat(f.scale);
  if (f.gate) s = activate(f.act, load_upto(y, n)) * s;
  else if (f.act != NONE) s = activate(f.act, s);
  store_upto(y, s, n);
}

// Columns k .. k + kc of x times a strip of n panels from p, to y [m, STRIP]: floats straight from the packed weight,
// anything else as f32 through `b`; many tokens too, for which widening f16 and bf16 once pays.
constexpr int64_t DIRECT = 64;
static void strip_of(float* y, const Tensor& w, int64_t p, int64_t n, const float* x, int64_t m, int64_t k, int64_t kc,
                     float* b) {
  int64_t K = w.cols, bytes = panel_bytes(w.type, K);
  const uint8_t* from = w.data + p * bytes + (w.packed ? panel_bytes(w.type, k) : 0);
  bool direct = w.packed && m <= DIRECT;
  if (direct && w.type == F32) return strip<F32>(y, STRIP, m, x + k, MR * K, K, 1, from, bytes, n, kc, k > 0);
  if (direct && w.type == F16) return strip<F16>(y, STRIP, m, x + k, MR * K, K, 1, from, bytes, n, kc, k > 0);
  if (direct && w.type == BF16) return strip<BF16>(y, STRIP, m, x + k, MR * K, K, 1, from, bytes, n, kc, k > 0);
  pack_nt(b, w, p, n, k, kc);
  strip<F32>(y, STRIP, m, x + k, MR * K, K, 1, (const uint8_t*)b, kc * 64, n, kc, k > 0);
}

// Of `local` in run.local: a strip of B, then the sums of ROWS tokens.
constexpr int64_t ROWS = 512;
constexpr int64_t PRODUCT_LOCAL = (KC + ROWS) * STRIP * 4;
constexpr int64_t ROW_BYTES = 256 << 10;  // scratch beside it: one row of x, or a few rounded ones

#include "lora.h"

// Panels p0 .. p1 with T tokens, rounded to int8 at `x` in tiles.
static void product_int8(const Tensor& w, const uint8_t* x, int64_t T, int64_t p0, int64_t p1, const Finish& f) {
  int64_t blocks = w.cols / BLOCK, bytes = panel_bytes(w.type, w.cols);
  alignas(64) float y[16 * 16];
  for (int64_t p = p0; p < p1; p++) {
    const uint8_t* panel = w.data + p * bytes;
    for (int64_t t = 0, n; t < T; t += n) {
      n = tile_tokens(T - t);
      int8_panel(w.type, y, panel, x + t * blocks * X_BYTES, n, blocks, t == 0 ? bytes : 0);
      if (f.adapted) adapt(*f.adapted, f.index, {y, 16, 0}, t, n, p, 1, f.N);
      for (int64_t i = 0; i < n; i++) finish(f, t + i, p * 16, y + i * 16);
    }
  }
}

// The same for one tile of tokens with adapters. Many panels at a time, so that B is read in long stretches: in short ones
// between the weights each would wait for memory. The sums lie behind what rows_f32 takes of the scratch for a tile.
static void product_adapted(const Tensor& w, const uint8_t* x, int64_t T, int64_t p0, int64_t p1, const Finish& f) {
  constexpr int64_t MOST = 64, TAKEN = KC * STRIP + 16 * STRIP;
  static_assert(TAKEN + MOST * 16 * 16 <= PRODUCT_LOCAL / 4);
  int64_t bytes = panel_bytes(w.type, w.cols);
  float* y = (float*)f.adapted->local + TAKEN;
  for (int64_t p = p0; p < p1; p += MOST) {
    int64_t n = p1 - p < MOST ? p1 - p : MOST;
    for (int64_t q = 0; q < n; q++)
      int8_panel(w.type, y + q * T * 16, w.data + (p + q) * bytes, x, T, w.cols / BLOCK, bytes);
    adapt(*f.adapted, f.index, {y, 16, T * 16}, 0, T, p, n, f.N);
    for (int64_t q = 0; q < n; q++)
      for (int64_t i = 0; i < T; i++) finish(f, i, (p + q) * 16, y + (q * T + i) * 16);
  }
}

// Panels p0 .. p1 with T tokens, x [T, K] f32. `local`: PRODUCT_LOCAL bytes.
static void product_f32(const Tensor& w, const float* x, int64_t T, int64_t p0, int64_t p1, const Finish& f,
                        uint8_t* local) {
  float *b = (float*)local, *y = b + KC * STRIP;
  int64_t K = w.cols;
  // One tile of tokens reads a packed strip once, in one go; more of them cut it along K, to find it in the cache.
  bool once = T <= MR && w.packed && is_float(w.type);
  for (int64_t t = 0; t < T; t += ROWS) {
    int64_t m = T - t < ROWS ? T - t : ROWS;
    for (int64_t p = p0; p < p1; p += STRIP / 16) {
      int64_t n = p1 - p < STRIP / 16 ? p1 - p : STRIP / 16, part = once ? K : KC;
      for (int64_t k = 0; k < K; k += part) strip_of(y, w, p, n, x + t * K, m, k, K - k < part ? K - k : part, b);
      if (f.adapted) adapt(*f.adapted, f.index, {y, STRIP, 16}, t, m, p, n, f.N);
      for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) finish(f, t + i, (p + j) * 16, y + i * STRIP + j * 16);
    }
  }
}

// Panels p0 .. p1 of sums [T, f.N] that are there already: only what adapters and `f` do to them.
static void product_none(const float* sums, int64_t T, int64_t p0, int64_t p1, const Finish& f) {
  alignas(64) float y[16 * 16];
  for (int64_t p = p0; p < p1; p++)
    for (int64_t t = 0, m; t < T; t += m) {
      m = T - t < 16 ? T - t : 16;
      for (int64_t i = 0; i < m; i++) store(y + i * 16, load_upto(sums + (t + i) * f.N + p * 16, f.N - p * 16));
      if (f.adapted) adapt(*f.adapted, f.index, {y, 16, 0}, t, m, p, 1, f.N);
      for (int64_t i = 0; i < m; i++) finish(f, t + i, p * 16, y + i * 16);
    }
}
