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

#define PITH_NORM {"rms_norm", rms_norm, nullptr}, {"layer_norm", layer_norm, nullptr}
