// linear and matmul_nt: optional norm of x, products with n weights, epilogue. See README.md.
// Included inside `namespace pith::<isa> {`.
//
// Few tokens: every thread redoes the norm and the rounding of x into its own cache, and no thread waits. Many: the
// threads share that work, in `run.shared`, a chunk of tokens at a time, and meet before and after it. Both ways give
// the same bytes. Weights are split by panels: one contiguous stream for each thread and matrix.
#pragma once
#include "matmul.h"
#include "norm.h"

// Layout of `run.local` here: prepared x, one normed row, then what product_f32 uses.
constexpr int64_t OWN_BYTES = 512 << 10, ROW_BYTES = 256 << 10;
static_assert(OWN_BYTES + ROW_BYTES + PRODUCT_LOCAL <= int64_t(LOCAL_BYTES));
constexpr int64_t OWN_WORK = 16384;  // elements of x from which sharing the work pays
constexpr int64_t CHUNK_TOKENS = 512;

struct Linear {
  const float *x, *norm, *shift;  // shift: layer_norm's bias; null: rms_norm
  float eps;
  int64_t T, K;
  int n;
  const Tensor* w[16];
  Finish f[16];
  bool round, floats;  // some product takes x as int8; some takes normed x as f32
};

PITH_INLINE int64_t prepared_bytes(const Linear& l, int64_t tokens) {
  int64_t f = l.floats ? tokens * l.K * 4 : 0, q = l.round ? tokens * (l.K / BLOCK) * X_BYTES : 0;
  return (f + 63) / 64 * 64 + q;
}
PITH_INLINE int64_t chunk_tokens(const Linear& l) { return l.T < CHUNK_TOKENS ? l.T : CHUNK_TOKENS; }
PITH_INLINE bool own(const Linear& l) { return l.T * l.K <= OWN_WORK && prepared_bytes(l, l.T) <= OWN_BYTES; }

static void needs(Linear* l, bool int8) {
  l->round = l->floats = false;
  for (int j = 0; j < l->n; j++) {
    bool q = int8 && l->w[j]->packed && is_quantized(l->w[j]->type);
    l->round |= q;
    l->floats |= !q && l->norm;
  }
  if (l->norm && l->K * 4 > ROW_BYTES) l->floats = true;
}

// Tokens [from, to) of the n whose prepared rows start at `at`; x and `at` count from the first of the n.
static void prepare(const Linear& l, uint8_t* at, const float* x, int64_t n, int64_t from, int64_t to, float* row) {
  int64_t blocks = l.K / BLOCK;
  uint8_t* q = at + (l.floats ? (n * l.K * 4 + 63) / 64 * 64 : 0);
  for (int64_t t = from; t < to; t++) {
    const float* v = x + t * l.K;
    if (l.norm) {
      float* h = l.floats ? (float*)at + t * l.K : row;
      if (l.shift)
        layer_norm_row(h, v, l.norm, l.shift, l.K, l.eps);
      else
        norm_row(h, v, l.norm, l.K, l.eps);
      v = h;
    }
    if (!l.round) continue;
    // The tile of token t: sixteens, then what tile_tokens makes of the rest.
    int64_t start = t / 16 * 16, tokens = tile_tokens(n - start);
    if (t - start >= tokens) start += tokens, tokens = tile_tokens(n - start);
    round_row(q + start * blocks * X_BYTES, tokens, t - start, v, l.K);
  }
}

// All products with the n tokens from t0 on.
static void products(const Run& run, const Linear& l, const uint8_t* at, int64_t t0, int64_t n, int thread) {
  const float* x = l.floats ? (const float*)at : l.x + t0 * l.K;
  const uint8_t* q = at + (l.floats ? (n * l.K * 4 + 63) / 64 * 64 : 0);
  for (int j = 0; j < l.n; j++) {
    const Tensor& w = *l.w[j];
    Finish f = l.f[j];
    f.y += t0 * f.N;
    if (f.add) f.add += t0 * f.N;
    int64_t p0, p1;
    share((w.rows + 15) / 16, 1, run.threads, thread, &p0, &p1);
    if (l.round && w.packed && is_quantized(w.type))
      product_int8(w, q, n, p0, p1, f);
    else
      product_f32(w, x, n, p0, p1, f, run.local[thread] + OWN_BYTES + ROW_BYTES);
  }
}

static void run_linear(const Run& run, const Linear& l, int thread) {
  uint8_t* local = run.local[thread];
  float* row = (float*)(local + OWN_BYTES);
  if (!l.round && !l.floats) return products(run, l, nullptr, 0, l.T, thread);
  if (own(l)) {
    prepare(l, local, l.x, l.T, 0, l.T, row);
    return products(run, l, local, 0, l.T, thread);
  }
  for (int64_t t = 0; t < l.T; t += CHUNK_TOKENS) {
    int64_t n = l.T - t < CHUNK_TOKENS ? l.T - t : CHUNK_TOKENS, from, to;
    share(n, 1, run.threads, thread, &from, &to);
    if (run.threads > 1) run.meet(run, thread);  // nobody reads the chunk before, or another kernel's scratch
    prepare(l, run.shared, l.x + t * l.K, n, from, to, row);
    if (run.threads > 1) run.meet(run, thread);
    products(run, l, run.shared, t, n, thread);
  }
}

static Linear linear_of(const Node& node) {
  const Tensor* const* t = node.t + node.noutputs;
  Linear l = {};
  const Tensor& x = **t++;
  l.n = node.i[0];
  l.x = (const float*)x.data;
  if (node.i[1]) l.norm = (const float*)(*t++)->data;
  if (node.i[1] == 2) l.shift = (const float*)(*t++)->data;
  l.eps = node.f[0];
  for (int j = 0; j < l.n; j++) l.w[j] = *t++;
  l.K = l.w[0]->cols;
  l.T = l.K > 0 ? x.rows * x.cols / l.K : 0;
  for (int j = 0; j < l.n; j++) {
    l.f[j].N = l.w[j]->rows;
    l.f[j].y = (float*)node.t[j < node.noutputs ? j : 0]->data;
    if (node.i[2] >> j & 1) l.f[j].bias = (const float*)(*t++)->data;
  }
  if (node.i[3] == 1) l.f[0].add = (const float*)(*t)->data;
  if (node.i[3] == 2 || node.i[3] == 3) l.f[1].gate = true, l.f[1].act = node.i[3] == 2 ? SILU : GELU;
  if (node.i[3] == 4 || node.i[3] == 5) l.f[0].act = node.i[3] == 4 ? GELU : GELU_ERF;
  needs(&l, node.i[4]);
  return l;
}

static Linear matmul_nt_of(const Node& node) {
  Linear l = {};
  const Tensor &y = *node.t[0], &x = *node.t[1], &w = *node.t[2];
  l.x = (const float*)x.data;
  l.n = 1;
  l.w[0] = &w;
  l.K = w.cols;
  l.T = l.K > 0 ? x.rows * x.cols / l.K : 0;
  l.f[0].y = (float*)y.data;
  l.f[0].N = w.rows;
  needs(&l, node.i[0]);
  return l;
}

static size_t shared_bytes(const Linear& l) {
  if ((!l.round && !l.floats) || own(l)) return 0;
  return size_t(prepared_bytes(l, chunk_tokens(l)));
}

static void linear(const Run& run, const Node& node, int thread) { run_linear(run, linear_of(node), thread); }
static size_t linear_shared(const Node& node, int32_t, int32_t, int32_t) { return shared_bytes(linear_of(node)); }

static void matmul_nt(const Run& run, const Node& node, int thread) { run_linear(run, matmul_nt_of(node), thread); }
static size_t matmul_nt_shared(const Node& node, int32_t, int32_t, int32_t) { return shared_bytes(matmul_nt_of(node)); }

#define PITH_LINEAR {"linear", linear, linear_shared}, {"matmul_nt", matmul_nt, matmul_nt_shared}
