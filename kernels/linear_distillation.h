// A student's head, its teacher's, and both losses in one: logits of some rows at a time lie in `run.shared` and nowhere
// else, the student's first and then the teacher's (or the student's logits of the tokens that the teacher named).
// Included inside `namespace pith::<isa> {`. Chunks, products and their order: loss.h; losses and slopes of a row: distillation.h.
#pragma once
#include "distillation.h"
#include "loss.h"

struct Distillation {
  Loss l;                     // `factor` is not used
  Divergence d;
  const Tensor *a, *b;        // the teacher's x [R, e] and w [W, e], or ids [R, K] and logp [R, K]
  bool named, masked;
  float teacher_scale, teacher_cap;
  float ce, kd;               // what the losses count in the slopes,
  const float *dce, *dkd;     // or of each row, unless null
  float* distance;            // [R], or null: the divergences (l.loss has the cross-entropies)
};

// Tokens that both know: the first ones, if one vocabulary is longer.
static int64_t common(const Distillation& k) {
  int64_t V_ = k.l.w->rows;
  return k.named || V_ < k.b->rows ? V_ : k.b->rows;
}
// Floats of scratch beside a row's logits.
static int64_t beside(const Distillation& k) { return k.named ? (k.a->cols + 15) / 16 * 16 : logits_stride(common(k)); }
static int64_t chunk_rows(const Distillation& k) {
  const Tensor &x = *k.l.x, &w = *k.l.w;
  return loss_rows(logits_stride(w.rows) + beside(k), w.cols > 0 ? x.rows * x.cols / w.cols : 0);
}

// Row r of products, `theirs` being what is beside it: losses, and slopes in place of the products.
static void distillation_row(const Distillation& k, float* row, float* theirs, int64_t r, float* block) {
  const Loss& l = k.l;
  const Divergence& d = k.d;
  int64_t all = l.w->rows, n = common(k);
  int32_t target = l.targets ? l.targets[r] : -1;
  bool slopes = l.dx || l.sum;
  if (target < 0 && l.targets && k.masked) {
    if (l.loss) l.loss[r] = 0;
    if (k.distance) k.distance[r] = 0;
    if (slopes) clear(row, all);
    return;
  }
  if (l.scale != 1 || l.cap > 0) map(row, row, all, [&](V x) PITH_LAMBDA { return logit_of(l, x); });
  float goal = target < 0 ? 0 : row[target];
  Slopes s = {};
  s.out = row;
  s.cap = l.cap;
  s.alpha = (k.dkd ? k.dkd[r] : k.kd) * d.factor * d.inverse * l.scale;
  s.beta = target < 0 ? 0 : (k.dce ? k.dce[r] : k.ce) * l.scale;
  s.same = d.inverse == 1 && n == all;
  if (!s.same && target >= 0) {
    s.top = row_max(row, all);
    s.plain_lse = log1(row_sum_exp(row, all, s.top));
  }
  float distance = 0;
  Row q;
  if (k.named) {
    int64_t K = k.a->cols;
    Named named = named_of((const int32_t*)k.a->data + r * K, (const float*)k.b->data + r * K, K, row, theirs);
    with_divergence(d.kind, [&](auto kind) {
      distance = named_row<decltype(kind)::KIND>(d, &q, row, n, named, slopes ? &s : nullptr, block);
    });
  } else {
    Loss t = {};
    t.scale = k.teacher_scale, t.cap = k.teacher_cap;
    if (t.scale != 1 || t.cap > 0) map(theirs, theirs, n, [&](V x) PITH_LAMBDA { return logit_of(t, x); });
    q = row_of(row, n, d.inverse);
    Row p = row_of(theirs, n, d.inverse);
    s.keep = theirs;
    with_divergence(d.kind, [&](auto kind) {
      distance = dense_row<decltype(kind)::KIND>(d, q, p, n, slopes ? &s : nullptr);
    });
  }
  if (s.same) s.top = q.top, s.plain_lse = q.lse;
  if (k.distance) k.distance[r] = distance;
  if (l.loss) l.loss[r] = target < 0 ? 0 : s.plain_lse - (goal - s.top);
  if (slopes && n < all)
    map(row + n, row + n, all - n, [&](V z) PITH_LAMBDA {
      V slope = s.beta != 0 ? splat(s.beta) * plain_softmax(s, z) : zero();
      return s.cap > 0 ? slope * shape_of(s, z) : slope;
    });
  if (slopes && target >= 0) row[target] -= s.beta * (l.cap > 0 ? 1.0f - (goal / l.cap) * (goal / l.cap) : 1.0f);
}

static void run_distillation(const Run& run, const Distillation& k, int thread) {
  int64_t V_ = k.l.w->rows, most = chunk_rows(k), ld = logits_stride(V_), step = beside(k);
  float* theirs = (float*)run.shared + most * ld;
  run_rows(
      run, k.l, most,
      [&](int64_t r0, int64_t rows) {
        if (k.named) return;
        int64_t e = k.b->cols, begin, end;
        share((common(k) + 15) / 16, 4, run.threads, thread, &begin, &end);
        times_transposed(theirs, step, rows, (const float*)k.a->data + r0 * e, e, *k.b, begin, end, false, k.l.bf16, run, thread);
      },
      [&](float* row, int64_t r0, int64_t r) {
        distillation_row(k, row, theirs + r * step, r0 + r, (float*)run.local[thread]);
      },
      thread);
}

// ints: kind, squared, dx, sum, bf16, masked; floats: temperature, beta, scale, cap, the teacher's scale and cap, weights
static Distillation distillation_of(const Node& node) {
  const Tensor* const* t = node.t + node.noutputs;
  Distillation k = {};
  k.d = divergence_of(node.i[0], node.i[1], node.f[0], node.f[1]);
  k.l.x = t[0], k.l.w = t[1], k.a = t[3], k.b = t[4];
  if (t[2]->type == I32) k.l.targets = (const int32_t*)t[2]->data;  // x again: none
  k.l.bf16 = node.i[4] && bf16_products();
  k.named = k.a->type == I32;
  k.masked = node.i[5];
  k.l.scale = node.f[2], k.l.cap = node.f[3];
  k.teacher_scale = node.f[4], k.teacher_cap = node.f[5];
  k.ce = node.f[6], k.kd = node.f[7];
  return k;
}
static size_t distillation_shared(const Node& node, int32_t, int32_t, int32_t) {
  Distillation k = distillation_of(node);
  return size_t(chunk_rows(k) * (logits_stride(k.l.w->rows) + beside(k)) * 4);
}

// [ce [R, 1], kd [R, 1], (dx [R, d])], [x [R, d], w [V, d], targets [R] or x, a, b, (sum (w) [V, d])]
static void linear_distillation(const Run& run, const Node& node, int thread) {
  Distillation k = distillation_of(node);
  k.l.loss = data(node, 0);
  k.distance = data(node, 1);
  if (node.i[2]) k.l.dx = data(node, 2);
  if (node.i[3]) k.l.sum = (float*)node.t[node.noutputs + 5]->data;
  run_distillation(run, k, thread);
}
// [dx [R, d] or dw [V, d]], [x, w, targets, a, b, dce [R, 1], dkd [R, 1]]
static void linear_distillation_grad(const Run& run, const Node& node, int thread) {
  Distillation k = distillation_of(node);
  if (node.i[2]) k.l.dx = data(node, 0);
  if (node.i[3]) k.l.sum = data(node, 0), k.l.fresh = true;
  k.dce = data(node, 6), k.dkd = data(node, 7);
  run_distillation(run, k, thread);
}

#define PITH_LINEAR_DISTILLATION                                               \
  {"linear_distillation", linear_distillation, distillation_shared},           \
      {"linear_distillation_grad", linear_distillation_grad, distillation_shared}
