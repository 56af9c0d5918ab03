// rms_norm. norm_row is also what `linear` calls, so that both give the same bits.
#pragma once
#include "reduce.h"

// y = x / sqrt(mean x² + eps) · w for one row of n. y may be x. Σx² in the order of reduce.h; (x · scale) · w.
static void norm_row(float* y, const float* x, const float* w, int64_t n, float eps) {
  float mean = row_sum_squares(x, n) / (float)n;
  V s = splat(1.0f) / sqrt(splat(mean + eps));
  map(y, x, w, n, [=](V a, V b) PITH_LAMBDA { return a * s * b; });
}

// [y], [x [.., n], w [n]]; floats: eps
static void rms_norm(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols;
  float *y = data(node, 0), *x = data(node, 1), *w = data(node, 2);
  float eps = node.f[0];
  each_row(run, node, 0, thread, [=](int64_t r) { norm_row(y + r * n, x + r * n, w, n, eps); });
}

#define PITH_NORM {"rms_norm", rms_norm, nullptr}
