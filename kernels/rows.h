// Kernels that move rows or single elements by index.
#pragma once
#include "reduce.h"
#include "types.h"

// [y [T, n]], [table [V, n], ids [T]]: rows of a weight of any type.
static void gather_rows(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols;
  float* y = data(node, 0);
  const int32_t* id = ids(node, 2);
  each_row(run, node, 0, thread, [&](int64_t t) { weight_row(y + t * n, *node.t[1], id[t]); });
}

// [y [V, n]], [dy [T, n], ids [T]]: y = 0, then y[ids[t]] += dy[t] in ascending t. Each thread owns a range of rows of y.
static void scatter_add_rows(const Run& run, const Node& node, int thread) {
  int64_t V_ = node.t[0]->rows, n = node.t[0]->cols, T = node.t[2]->rows * node.t[2]->cols, begin, end;
  float *y = data(node, 0), *dy = data(node, 1);
  const int32_t* id = ids(node, 2);
  share(V_, 1, run.threads, thread, &begin, &end);
  clear(y + begin * n, (end - begin) * n);
  for (int64_t t = 0; t < T; t++)
    if (id[t] >= begin && id[t] < end)
      map(y + id[t] * n, y + id[t] * n, dy + t * n, n, [](V a, V b) PITH_LAMBDA { return a + b; });
}

// [], [sum (w) [V, n], x [T, n], ids [T]]: sum[ids[t]] += x[t] in ascending t. Each thread owns some of the columns.
static void accumulate_rows(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[1]->cols, T = node.t[1]->rows, begin, end;
  float *y = data(node, 0), *x = data(node, 1);
  const int32_t* id = ids(node, 2);
  share(n, 16, run.threads, thread, &begin, &end);
  for (int64_t t = 0; t < T; t++) {
    float* to = y + id[t] * n + begin;
    map(to, to, x + t * n + begin, end - begin, [](V a, V b) PITH_LAMBDA { return a + b; });
  }
}

// [y [R, 1]], [x [R, n], ids [R]]: y[r] = x[r, ids[r]], 0 where the id is negative.
static void pick_last(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[1]->cols;
  float *y = data(node, 0), *x = data(node, 1);
  const int32_t* id = ids(node, 2);
  each_row(run, node, 0, thread, [=](int64_t r) { y[r] = id[r] < 0 ? 0.0f : x[r * n + id[r]]; });
}

// [y [R, n]], [x [R, 1], ids [R]]: zeros, but y[r, ids[r]] = x[r] where the id is not negative.
static void place_last(const Run& run, const Node& node, int thread) {
  int64_t n = node.t[0]->cols;
  float *y = data(node, 0), *x = data(node, 1);
  const int32_t* id = ids(node, 2);
  each_row(run, node, 0, thread, [=](int64_t r) {
    clear(y + r * n, n);
    if (id[r] >= 0) y[r * n + id[r]] = x[r];
  });
}

#define PITH_ROWS                                                                                  \
  {"gather_rows", gather_rows, nullptr}, {"scatter_add_rows", scatter_add_rows, nullptr},          \
      {"pick_last", pick_last, nullptr}, {"place_last", place_last, nullptr},      \
      {"accumulate_rows", accumulate_rows, nullptr}
