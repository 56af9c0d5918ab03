// rms_norm and layer_norm. Their rows are also what `linear` calls, so that both give the same bits.
#pragma once
#include "reduce.h"

// y = x / sqrt(mean x² + eps) · w for one row of n. y may be x. Σx² in the order of reduce.h; (x · scale) · w.
static void norm_row(float* y, const float* x, const float* w, int64_t n, float eps) {
  float mean = row_sum_squares(x, n) / (float)n;
  V s = splat(1.0f) / sqrt(splat(mean + eps));
  map(y, x, w, n, [=](V a, V b) PITH_LAMBDA { return a * s * b; });
}

// y = (x - mean x) / sqrt(mean (x - mean x)² + eps) · w + b for one row of n. y may be x. Sums in the order of reduce.h;
// the rest as fma((x - mean) · scale, w, b).
static void layer_norm_row(float* y, const float* x, const float* w, const float* b, int64_t n, float eps) {
  V mean = splat(row_sum(x, n) / (float)n);
  map(y, x, n, [=](V a) PITH_LAMBDA { return a - mean; });
  V s = splat(1.0f) / sqrt(splat(row_sum_squares(y, n) / (float)n + eps));
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(y + i, fma(load(y + i) * s, load(w + i), load(b + i)));
  if (i < n) store_n(y + i, fma(load_n(y + i, n - i) * s, load_n(w + i, n - i), load_n(b + i, n - i)), n - i);
}

// [y], [x [.., n], w [n]]; floats: eps
static void rms_norm(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols;
  float *y = data(node, 0), *x = data(node, 1), *w = data(node, 2);
  float eps = node.f[0];
  each_row(run, node, 0, thread, [=](int64_t r) { norm_row(y + r * n, x + r * n, w, n, eps); });
}

// [y], [x [.., n], w [n], b [n]]; floats: eps
static void layer_norm(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols;
  float *y = data(node, 0), *x = data(node, 1), *w = data(node, 2), *b = data(node, 3);
  float eps = node.f[0];
  each_row(run, node, 0, thread, [=](int64_t r) { layer_norm_row(y + r * n, x + r * n, w, b, n, eps); });
}

// --- Gradients of rms_norm --------------------------------------------------------------------------------------------

PITH_INLINE float inverse_root(const float* x, int64_t n, float eps) {
  return lane(splat(1.0f) / sqrt(splat(row_sum_squares(x, n) / (float)n + eps)), 0);
}

// Σ a b c over a row, in the order of row_sum_squares: fma(a b, c, sum).
static float row_sum_products(const float* a, const float* b, const float* c, int64_t n) {
  V sums[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 64 <= n; i += 64)
    for (int j = 0; j < 4; j++)
      sums[j] = fma(load(a + i + j * 16) * load(b + i + j * 16), load(c + i + j * 16), sums[j]);
  int j = 0;
  for (; i + 16 <= n; i += 16, j++) sums[j] = fma(load(a + i) * load(b + i), load(c + i), sums[j]);
  if (i < n) sums[3] = fma(load_n(a + i, n - i) * load_n(b + i, n - i), load_n(c + i, n - i), sums[3]);
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// [dx], [x [.., n], w [n], dy]; floats: eps. s (w dy - x s² mean(w dy x))
static void rms_norm_grad(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols;
  float *dx = data(node, 0), *x = data(node, 1), *w = data(node, 2), *dy = data(node, 3);
  float eps = node.f[0];
  each_row(run, node, 0, thread, [=](int64_t r) {
    const float *xr = x + r * n, *dr = dy + r * n;
    float s = inverse_root(xr, n, eps), mean = row_sum_products(w, dr, xr, n) / (float)n;
    V scale = splat(s), back = splat(-(s * s * mean));
    for (int64_t i = 0; i < n; i += 16) {
      int64_t m = n - i;
      V g = load_upto(w + i, m) * load_upto(dr + i, m);
      store_upto(dx + r * n + i, scale * fma(load_upto(xr + i, m), back, g), m);
    }
  });
}

// [dw [n]], [x [.., n], dy]; floats: eps. Columns are split, each adds its rows in ascending order.
static void rms_norm_weight_grad(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols, rows = node.t[1]->rows, begin, end;
  float *dw = data(node, 0), *x = data(node, 1), *dy = data(node, 2), *s = (float*)run.shared;
  float eps = node.f[0];
  each_row(run, node, 1, thread, [=](int64_t r) { s[r] = inverse_root(x + r * n, n, eps); });
  if (run.threads > 1) run.meet(run, thread);
  share(n, 16, run.threads, thread, &begin, &end);
  for (int64_t c = begin; c < end; c += 64) {
    int64_t width = end - c < 64 ? end - c : 64;
    V sums[4] = {zero(), zero(), zero(), zero()};
    for (int64_t r = 0; r < rows; r++) {
      V scale = splat(s[r]);
      const float *xr = x + r * n + c, *dr = dy + r * n + c;
      if (width == 64) {
        for (int j = 0; j < 4; j++) sums[j] = fma(load(dr + j * 16), load(xr + j * 16) * scale, sums[j]);
      } else {
        for (int64_t i = 0; i < width; i += 16)
          sums[i / 16] = fma(load_upto(dr + i, width - i), load_upto(xr + i, width - i) * scale, sums[i / 16]);
      }
    }
    for (int64_t i = 0; i < width; i += 16) store_upto(dw + c + i, sums[i / 16], width - i);
  }
}
static size_t rms_norm_weight_grad_shared(const Node& node, int32_t, int32_t, int32_t) {
  return (size_t)node.t[1]->rows * 4;
}

#define PITH_NORM                                                                                  \
  {"rms_norm", rms_norm, nullptr}, {"layer_norm", layer_norm, nullptr},                            \
      {"rms_norm_grad", rms_norm_grad, nullptr},                                                   \
      {"rms_norm_weight_grad", rms_norm_weight_grad, rms_norm_weight_grad_shared}
