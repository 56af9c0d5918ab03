// Optimizer kernels.
#pragma once
#include "reduce.h"

// [], [p (w), g, m (w), v (w), hyper [8]]. hyper: lr, beta1, beta2, eps, weight_decay, 1 - beta1^t, 1 - beta2^t, gradient
// scale. AdamW (Loshchilov and Hutter 2019): g' = g scale; m = b1 m + (1 - b1) g'; v = b2 v + (1 - b2) g'²;
// p = p (1 - lr wd) - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
static void adamw(const Run& run, const Node& node, int thread) {
  float *p = data(node, 0), *m = data(node, 2), *v = data(node, 3);
  const float *g = data(node, 1), *hyper = data(node, 4);
  V lr = splat(hyper[0]), b1 = splat(hyper[1]), b2 = splat(hyper[2]), eps = splat(hyper[3]);
  V keep = splat(1.0f - hyper[0] * hyper[4]), c1 = splat(hyper[5]), c2 = splat(hyper[6]), gs = splat(hyper[7]);
  V rest1 = splat(1.0f - hyper[1]), rest2 = splat(1.0f - hyper[2]);
  int64_t begin, end;
  share(size(node, 0), GRAIN, run.threads, thread, &begin, &end);
  for (int64_t i = begin; i < end; i += 16) {
    int64_t n = end - i;
    V grad = load_upto(g + i, n) * gs;
    V mean = fma(b1, load_upto(m + i, n), rest1 * grad);
    V square = fma(b2, load_upto(v + i, n), rest2 * (grad * grad));
    V step = lr * (mean / c1) / (sqrt(square / c2) + eps);
    store_upto(p + i, fma(load_upto(p + i, n), keep, -step), n);
    store_upto(m + i, mean, n);
    store_upto(v + i, square, n);
  }
}

// [], [x (w)]: x = 0
static void clear_state(const Run& run, const Node& node, int thread) {
  int64_t begin, end;
  share(size(node, 0), GRAIN, run.threads, thread, &begin, &end);
  clear(data(node, 0) + begin, end - begin);
}

// [], [sum (w), x]: sum += x
static void accumulate(const Run& run, const Node& node, int thread) {
  int64_t begin, end;
  share(size(node, 0), GRAIN, run.threads, thread, &begin, &end);
  map(data(node, 0) + begin, data(node, 0) + begin, data(node, 1) + begin, end - begin,
      [](V a, V b) PITH_LAMBDA { return a + b; });
}

// [y [1]], [x]: Σx² in double: for each block of 2^16 elements 16 lanes in ascending order and then their sum, lane by lane;
// blocks in ascending order.
constexpr int64_t SQUARES = 1 << 16;

static void sum_squares(const Run& run, const Node& node, int thread) {
  double* partial = (double*)run.shared;
  const float* x = data(node, 1);
  int64_t n = size(node, 1), blocks = (n + SQUARES - 1) / SQUARES, begin, end;
  share(blocks, 1, run.threads, thread, &begin, &end);
  for (int64_t b = begin; b < end; b++) {
    int64_t i = b * SQUARES, stop = n < i + SQUARES ? n : i + SQUARES;
    double lane[16] = {};
    for (; i + 16 <= stop; i += 16)
      for (int j = 0; j < 16; j++) lane[j] += (double)x[i + j] * (double)x[i + j];
    for (int j = 0; i < stop; i++, j++) lane[j] += (double)x[i] * (double)x[i];
    double total = 0;
    for (int j = 0; j < 16; j++) total += lane[j];
    partial[b] = total;
  }
  if (run.threads > 1) run.meet(run, thread);
  if (thread) return;
  double total = 0;
  for (int64_t b = 0; b < blocks; b++) total += partial[b];
  data(node, 0)[0] = (float)total;
}

static size_t sum_squares_shared(const Node& node, int32_t, int32_t, int32_t) {
  return (size_t)((size(node, 1) + SQUARES - 1) / SQUARES) * 8;
}

#define PITH_OPTIM \
  {"adamw", adamw, nullptr}, {"accumulate", accumulate, nullptr}, {"clear_state", clear_state, nullptr}, {"sum_squares", sum_squares, sum_squares_shared}
