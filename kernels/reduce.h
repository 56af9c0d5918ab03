// Reductions over the last dimension or over rows, broadcasts, and moves of columns.
// Order of a reduction over n columns: accumulator a of 0 .. 3 takes columns 64 k + 16 a + lane in ascending k, whatever is
// left of the last 16 goes to accumulator 3; then (a0, a1), (a2, a3), their results, and the lanes as in simd.h.
#pragma once
#include "elementwise.h"

// op over f(x[i]), i < n; lanes beyond n are `identity`.
template <class F, class Op>
PITH_INLINE V fold(const float* x, int64_t n, V identity, F f, Op op) {
  V a0 = identity, a1 = identity, a2 = identity, a3 = identity;
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    a0 = op(a0, f(load(x + i)));
    a1 = op(a1, f(load(x + i + 16)));
    a2 = op(a2, f(load(x + i + 32)));
    a3 = op(a3, f(load(x + i + 48)));
  }
  int64_t whole = (n - i) & ~int64_t(15), left = (n - i) & 15;
  if (whole >= 16) a0 = op(a0, f(load(x + i)));
  if (whole >= 32) a1 = op(a1, f(load(x + i + 16)));
  if (whole >= 48) a2 = op(a2, f(load(x + i + 32)));
  if (left) a3 = op(a3, select(lanes() < splat_int((int32_t)left), f(load_n(x + i + whole, left)), identity));
  return op(op(a0, a1), op(a2, a3));
}

static float row_sum(const float* x, int64_t n) {
  return sum(fold(x, n, zero(), [](V v) PITH_LAMBDA { return v; }, [](V a, V b) PITH_LAMBDA { return a + b; }));
}
static float row_max(const float* x, int64_t n) {
  V least = splat(-__builtin_inff());
  return max_lane(fold(x, n, least, [](V v) PITH_LAMBDA { return v; }, [](V a, V b) PITH_LAMBDA { return max(a, b); }));
}
static float row_sum_squares(const float* x, int64_t n) {
  // a + x x with one rounding: fma, so the order is written out here and not through fold's op.
  V a0 = zero(), a1 = a0, a2 = a0, a3 = a0;
  int64_t i = 0;
  auto square = [](V v, V a) PITH_LAMBDA { return fma(v, v, a); };
  for (; i + 64 <= n; i += 64) {
    a0 = square(load(x + i), a0);
    a1 = square(load(x + i + 16), a1);
    a2 = square(load(x + i + 32), a2);
    a3 = square(load(x + i + 48), a3);
  }
  int64_t whole = (n - i) & ~int64_t(15), left = (n - i) & 15;
  if (whole >= 16) a0 = square(load(x + i), a0);
  if (whole >= 32) a1 = square(load(x + i + 16), a1);
  if (whole >= 48) a2 = square(load(x + i + 32), a2);
  if (left) a3 = square(load_n(x + i + whole, left), a3);
  return sum((a0 + a1) + (a2 + a3));
}
// Σ e^(x - top)
static float row_sum_exp(const float* x, int64_t n, float top) {
  V m = splat(top);
  return sum(fold(x, n, zero(), [=](V v) PITH_LAMBDA { return exp_negative(v - m); },
                  [](V a, V b) PITH_LAMBDA { return a + b; }));
}

PITH_INLINE void copy(float* to, const float* from, int64_t n) { __builtin_memcpy(to, from, (size_t)n * 4); }
PITH_INLINE void clear(float* to, int64_t n) { __builtin_memset(to, 0, (size_t)n * 4); }

// f(row) for this thread's share of the rows of tensor i.
template <class F>
PITH_INLINE void each_row(const Run& run, const Node& node, int i, int thread, F f) {
  int64_t begin, end;
  share(node.t[i]->rows, 1, run.threads, thread, &begin, &end);
  for (int64_t r = begin; r < end; r++) f(r);
}

// [y [.., 1]], [x [.., n]]
static void sum_last(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[1]->cols;
  float *y = data(node, 0), *x = data(node, 1);
  each_row(run, node, 1, thread, [=](int64_t r) { y[r] = row_sum(x + r * n, n); });
}
static void max_last(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[1]->cols;
  float *y = data(node, 0), *x = data(node, 1);
  each_row(run, node, 1, thread, [=](int64_t r) { y[r] = row_max(x + r * n, n); });
}

// [y [n]], [x [rows, n]]: columns are split, each adds its rows in ascending order, from 0.
static void sum_rows(const Run& run, const Node& node, int thread) {
  int64_t rows = node.t[1]->rows, n = node.t[1]->cols, begin, end;
  float *y = data(node, 0), *x = data(node, 1);
  share(n, 16, run.threads, thread, &begin, &end);
  for (int64_t c = begin; c < end; c += 64) {
    int64_t width = end - c < 64 ? end - c : 64;
    if (width == 64) {
      V a0 = zero(), a1 = a0, a2 = a0, a3 = a0;
      for (int64_t r = 0; r < rows; r++) {
        const float* p = x + r * n + c;
        a0 += load(p);
        a1 += load(p + 16);
        a2 += load(p + 32);
        a3 += load(p + 48);
      }
      store(y + c, a0);
      store(y + c + 16, a1);
      store(y + c + 32, a2);
      store(y + c + 48, a3);
      continue;
    }
    for (int64_t j = 0; j < width; j += 16) {
      V a = zero();
      for (int64_t r = 0; r < rows; r++) a += load_upto(x + r * n + c + j, width - j);
      store_upto(y + c + j, a, width - j);
    }
  }
}

// [y [.., n]], [x [.., 1]]
static void broadcast_last(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols;
  float *y = data(node, 0), *x = data(node, 1);
  each_row(run, node, 0, thread, [=](int64_t r) {
    V v = splat(x[r]);
    for (int64_t i = 0; i < n; i += 16) store_upto(y + r * n + i, v, n - i);
  });
}
// [y [rows, n]], [x [n]]
static void broadcast_rows(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols;
  float *y = data(node, 0), *x = data(node, 1);
  each_row(run, node, 0, thread, [=](int64_t r) { copy(y + r * n, x, n); });
}
// [y [.., len]], [x [.., n]]; ints: start
static void slice_last(const Run& run, const Node& node, int thread) {
  int64_t len = node.t[0]->cols, n = node.t[1]->cols, start = node.i[0];
  float *y = data(node, 0), *x = data(node, 1);
  each_row(run, node, 0, thread, [=](int64_t r) { copy(y + r * len, x + r * n + start, len); });
}
// [y [.., n]], [x [.., len]]; ints: start
static void pad_last(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols, len = node.t[1]->cols, start = node.i[0];
  float *y = data(node, 0), *x = data(node, 1);
  each_row(run, node, 0, thread, [=](int64_t r) {
    float* row = y + r * n;
    clear(row, start);
    copy(row + start, x + r * len, len);
    clear(row + start + len, n - start - len);
  });
}
// [y], [x0, x1, ..]
static void concat_last(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols;
  float* y = data(node, 0);
  each_row(run, node, 0, thread, [&](int64_t r) {
    float* to = y + r * n;
    for (int j = 1; j <= node.ninputs; j++) {
      int64_t len = node.t[j]->cols;
      copy(to, data(node, j) + r * len, len);
      to += len;
    }
  });
}

// [y], [x]: e^(x - max) / Σ
static void softmax_last(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols;
  float *y = data(node, 0), *x = data(node, 1);
  each_row(run, node, 0, thread, [=](int64_t r) {
    float* row = y + r * n;
    V m = splat(row_max(x + r * n, n));
    map(row, x + r * n, n, [=](V v) PITH_LAMBDA { return exp_negative(v - m); });
    V inverse = splat(1.0f / row_sum(row, n));
    map(row, row, n, [=](V v) PITH_LAMBDA { return v * inverse; });
  });
}

static float log1(float x) { return lane(log(splat(x)), 0); }

// [loss [R, 1]], [logits [R, V], targets [R]]: log Σ e^logit - logit of the target; 0 where the target is negative
static void cross_entropy(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[1]->cols;
  float *y = data(node, 0), *x = data(node, 1);
  const int32_t* targets = ids(node, 2);
  each_row(run, node, 1, thread, [=](int64_t r) {
    const float* row = x + r * n;
    if (targets[r] < 0) {
      y[r] = 0.0f;
      return;
    }
    float top = row_max(row, n);
    y[r] = log1(row_sum_exp(row, n, top)) - (row[targets[r]] - top);
  });
}

#define PITH_REDUCE                                                                                                  \
  {"sum_last", sum_last, nullptr}, {"max_last", max_last, nullptr}, {"sum_rows", sum_rows, nullptr},                 \
      {"broadcast_last", broadcast_last, nullptr}, {"broadcast_rows", broadcast_rows, nullptr},                      \
      {"slice_last", slice_last, nullptr}, {"pad_last", pad_last, nullptr}, {"concat_last", concat_last, nullptr},   \
      {"softmax_last", softmax_last, nullptr}, {"cross_entropy", cross_entropy, nullptr}
