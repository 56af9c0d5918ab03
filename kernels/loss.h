// The head and the loss in one: x wᵀ of some rows at a time lies in `run.shared` and nowhere else.
// Included inside `namespace pith::<isa> {`.
//
// A chunk of rows: logits by columns, then each row's softmax in place, then gradients, with a meeting of all threads between.
// Products are the chains of gemm.h over ascending k (columns for dx, rows for the weight's gradient), so neither the size of a
// chunk nor the number of threads changes a bit.
#pragma once
#include "gemm_bf16.h"
#include "reduce.h"

constexpr int64_t LOGITS_BYTES = 100 << 20;  // of a chunk's logits
constexpr int64_t LEAST_ROWS = 32, MOST_ROWS = 512;

// Floats between rows of logits: an odd number of cache lines, so that rows do not share their sets.
PITH_INLINE int64_t logits_stride(int64_t V_) { return ((V_ + 15) / 16 | 1) * 16; }
// Rows of a chunk that has `floats` floats of scratch for each.
PITH_INLINE int64_t loss_rows(int64_t floats, int64_t R) {
  int64_t rows = LOGITS_BYTES / (floats * 4) / 6 * 6;
  rows = rows < LEAST_ROWS ? LEAST_ROWS : rows > MOST_ROWS ? MOST_ROWS : rows;
  if (R <= rows) return R;
  int64_t chunks = (R + rows - 1) / rows, even = (R + chunks - 1) / chunks;  // alike, so that none packs weights for a few
  return even < rows ? (even + 5) / 6 * 6 : rows;
}

struct Loss {
  const Tensor *x, *w;
  const int32_t* targets;
  float *loss, *dx;     // each may be null
  float* sum;           // [V, d], or null: gets the gradient by w
  bool fresh;           // sum begins at 0
  const float* factor;  // [R] of each row's part in sum, or null: 1
  float scale, cap;
  bool bf16;
};

// z = scale · x, then cap · tanh(z / cap)
PITH_INLINE V logit_of(const Loss& l, V x) {
  V z = x * splat(l.scale);
  return l.cap > 0 ? splat(l.cap) * tanh(z / splat(l.cap)) : z;
}

// One row of products becomes its loss and, if wanted, the loss's slopes by those products.
static void loss_row(const Loss& l, float* row, int64_t V_, int64_t r) {
  int32_t target = l.targets[r];
  if (target < 0) {
    if (l.loss) l.loss[r] = 0;
    if (l.dx || l.sum) clear(row, V_);
    return;
  }
  if (l.scale != 1 || l.cap > 0) map(row, row, V_, [&](V x) PITH_LAMBDA { return logit_of(l, x); });
  float top = row_max(row, V_), total = row_sum_exp(row, V_, top), goal = row[target];
  if (l.loss) l.loss[r] = log1(total) - (goal - top);
  if (!l.dx && !l.sum) return;
  float factor = l.scale * (l.factor ? l.factor[r] : 1.0f);
  V m = splat(top), inverse = splat(factor / total);
  if (l.cap > 0)
    map(row, row, V_, [&](V z) PITH_LAMBDA {
      V part = z * splat(1.0f / l.cap);
      return exp_negative(z - m) * inverse * (splat(1.0f) - part * part);
    });
  else
    map(row, row, V_, [&](V z) PITH_LAMBDA { return exp_negative(z - m) * inverse; });
  float slope = l.cap > 0 ? 1.0f - (goal / l.cap) * (goal / l.cap) : 1.0f;
  row[target] -= factor * slope;
}

// x wᵀ of `most` rows at a time. While products are made, fill(first row, rows) does this thread's part of what else a row
// needs; then of_row(products, first row of the chunk, row in it) puts slopes in their place, if they are wanted.
template <class Fill, class OfRow>
static void run_rows(const Run& run, const Loss& l, int64_t most, Fill fill, OfRow of_row, int thread) {
  const Tensor &x = *l.x, &w = *l.w;
  int64_t V_ = w.rows, d = w.cols, R = d > 0 ? x.rows * x.cols / d : 0;
  int64_t ld = logits_stride(V_), begin, end;
  float *logits = (float*)run.shared, *xs = (float*)x.data;
  uint8_t* local = run.local[thread];
  auto meet = [&] {
    if (run.threads > 1) run.meet(run, thread);
  };
  if (l.sum && l.fresh) {
    share(V_, 1, run.threads, thread, &begin, &end);
    clear(l.sum + begin * d, (end - begin) * d);
  }
  for (int64_t r0 = 0; r0 < R; r0 += most) {
    int64_t rows = R - r0 < most ? R - r0 : most;
    const float* a = xs + r0 * d;
    meet();
    share((V_ + 15) / 16, 4, run.threads, thread, &begin, &end);
    times_transposed(logits, ld, rows, a, d, w, begin, end, false, l.bf16, run, thread);
    fill(r0, rows);
    meet();
    share(rows, 1, run.threads, thread, &begin, &end);
    for (int64_t r = begin; r < end; r++) of_row(logits + r * ld, r0, r);
    if (!l.dx && !l.sum) continue;
    meet();
    if (l.dx) {
      Part s = part_of(rows, d, run.threads, thread, l.bf16 && run.tiles);
      times_weight(l.dx + (r0 + s.m0) * d, d, s.m1 - s.m0, logits + s.m0 * ld, ld, w, s.p0, s.p1, false, l.bf16, run, thread);
    }
    if (l.sum) {
      share(V_, MR, run.threads, thread, &begin, &end);
      transposed_times(l.sum + begin * d, d, end - begin, rows, logits + begin, ld, a, d, 0, (d + 15) / 16, true, l.bf16, run, thread);
    }
  }
}

static void run_loss(const Run& run, const Loss& l, int thread) {
  int64_t V_ = l.w->rows, R = l.w->cols > 0 ? l.x->rows * l.x->cols / l.w->cols : 0;
  run_rows(
      run, l, loss_rows(logits_stride(V_), R), [](int64_t, int64_t) {},
      [&](float* row, int64_t r0, int64_t r) { loss_row(l, row, V_, r0 + r); }, thread);
}

static size_t loss_shared(const Tensor& x, const Tensor& w) {
  int64_t R = w.cols > 0 ? x.rows * x.cols / w.cols : 0;
  return size_t(loss_rows(logits_stride(w.rows), R) * logits_stride(w.rows) * 4);
}

// [loss [R, 1], (dx [R, d])], [x [R, d], w [V, d], targets [R], (sum (w) [V, d])]; ints: dx, sum, bf16; floats: scale, cap
static void linear_cross_entropy(const Run& run, const Node& node, int thread) {
  const Tensor* const* t = node.t + node.noutputs;
  Loss l = {};
  l.x = t[0], l.w = t[1], l.targets = (const int32_t*)t[2]->data;
  l.loss = data(node, 0);
  if (node.i[0]) l.dx = data(node, 1);
  if (node.i[1]) l.sum = (float*)t[3]->data;
  l.scale = node.f[0], l.cap = node.f[1], l.bf16 = node.i[2] && bf16_products();
  run_loss(run, l, thread);
}
static size_t linear_cross_entropy_shared(const Node& node, int32_t, int32_t, int32_t) {
  return loss_shared(*node.t[node.noutputs], *node.t[node.noutputs + 1]);
}

// [dw [V, d]], [x, w, targets, factor [R, 1]]; ints and floats as above
static void linear_cross_entropy_weight_grad(const Run& run, const Node& node, int thread) {
  Loss l = {};
  l.x = node.t[1], l.w = node.t[2], l.targets = ids(node, 3), l.factor = data(node, 4);
  l.sum = data(node, 0), l.fresh = true;
  l.scale = node.f[0], l.cap = node.f[1], l.bf16 = node.i[2] && bf16_products();
  run_loss(run, l, thread);
}
static size_t linear_cross_entropy_weight_grad_shared(const Node& node, int32_t, int32_t, int32_t) {
  return loss_shared(*node.t[1], *node.t[2]);
}

#define PITH_LOSS                                                                       \
  {"linear_cross_entropy", linear_cross_entropy, linear_cross_entropy_shared},          \
      {"linear_cross_entropy_weight_grad", linear_cross_entropy_weight_grad, linear_cross_entropy_weight_grad_shared}
