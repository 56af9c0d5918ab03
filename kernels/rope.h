// Rotary positions. A row of the table is cos of r/2 angles, then their sin; component j pairs with j + r/2.
#pragma once
#include "reduce.h"

// Rotates the first r of d components: (a, b) -> (a cos - b sin, b cos + a sin), with sin negated when `sign` is -1.
// y may be x.
PITH_INLINE void rope_row(float* y, const float* x, const float* table, int64_t r, int64_t d, float sign) {
  int64_t h = r / 2;
  V turn = splat(sign);
  for (int64_t j = 0; j < h; j += 16) {
    int64_t n = h - j;
    V c = load_upto(table + j, n), s = load_upto(table + h + j, n) * turn;
    V a = load_upto(x + j, n), b = load_upto(x + h + j, n);
    store_upto(y + j, fma(a, c, -(b * s)), n);
    store_upto(y + h + j, fma(b, c, a * s), n);
  }
  if (y != x && r < d) copy(y + r, x + r, d - r);
}

// [y], [x [T, H, D], positions [T], table [C, r]]; ints: inverse
static void rope(const Run& run, const Node& node, int thread) {
  int64_t rows = node.t[0]->rows, D = node.t[0]->cols, r = node.t[3]->cols;
  int64_t H = node.t[0]->d[1], begin, end;
  float *y = data(node, 0), *x = data(node, 1), *table = data(node, 3);
  const int32_t* positions = ids(node, 2);
  float sign = node.i[0] ? -1.0f : 1.0f;
  share(rows, 1, run.threads, thread, &begin, &end);
  for (int64_t i = begin; i < end; i++)
    rope_row(y + i * D, x + i * D, table + (int64_t)positions[i / H] * r, r, D, sign);
}

#define PITH_ROPE {"rope", rope, nullptr}
