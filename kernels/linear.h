// linear, matmul_nt and lora: optional norm of x, products with n weights, adapters, epilogue. See README.md.
// Included inside `namespace pith::<isa> {`.
//
// Few tokens: every thread redoes the norm and the rounding of x into its own cache, and no thread waits. Many: the
// threads share that work, in `run.shared`, a chunk of tokens at a time, and meet before and after it. Both ways give
// the same bytes. Weights are split by panels: one contiguous stream for each thread and matrix.
#pragma once
#include "gemm_bf16.h"
#include "matmul.h"
#include "norm.h"

// Layout of `run.local` here: prepared x, one normed row, what product_f32 uses, stretches, x Aᵀ.
constexpr int64_t OWN_BYTES = 512 << 10, STRETCH_BYTES = CHUNK_TOKENS * sizeof(Stretch), OWN_RANKS = 56 << 10;
static_assert(OWN_BYTES + ROW_BYTES + PRODUCT_LOCAL + STRETCH_BYTES + OWN_RANKS <= int64_t(LOCAL_BYTES));
constexpr int64_t OWN_WORK = 16384;  // elements of x from which sharing the work pays
constexpr int64_t OWN_ADAPTERS = 160 << 10;  // bytes of their A from which sharing that work pays

struct Linear {
  const float *x, *norm, *shift;  // shift: layer_norm's bias; null: rms_norm
  float eps;
  int64_t T, K;
  int n;
  const Tensor* w[16];
  int64_t skip[16];  // bytes of w[j] before its first row
  Finish f[16];
  bool round, floats;  // some product takes x as int8; some takes normed x as f32
  bool int8;
  Adapting a;
  const float* sums;   // x wᵀ, when it is there already (`lora`)
};

PITH_INLINE int64_t prepared_bytes(const Linear& l, int64_t tokens) {
  int64_t f = l.floats ? tokens * l.K * 4 : 0, q = l.round ? tokens * (l.K / BLOCK) * X_BYTES : 0;
  return (f + 63) / 64 * 64 + q;
}
PITH_INLINE int64_t chunk_tokens(const Linear& l) { return l.T < CHUNK_TOKENS ? l.T : CHUNK_TOKENS; }
PITH_INLINE bool own(const Linear& l) {
  if (l.a.active && (l.a.work > OWN_ADAPTERS || l.T > CHUNK_TOKENS || l.T * l.a.stride * 4 > OWN_RANKS)) return false;
  return l.T * l.K <= OWN_WORK && prepared_bytes(l, l.T) <= OWN_BYTES;
}

static void needs(Linear* l, bool int8) {
  l->int8 = int8;
  l->round = l->a.active && l->a.round;
  l->floats = l->norm && l->a.active && l->a.floats;
  for (int j = 0; j < l->n && !l->sums; j++) {
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
static void products(const Run& run, const Linear& l, const uint8_t* at, int64_t t0, int64_t n, const Adapted* adapted,
                     int thread) {
  const float* x = l.floats ? (const float*)at : l.x + t0 * l.K;
  const uint8_t* q = at + (l.floats ? (n * l.K * 4 + 63) / 64 * 64 : 0);
  for (int j = 0; j < l.n; j++) {
    Tensor w = *l.w[j];
    Finish f = l.f[j];
    w.data += l.skip[j];
    w.rows = f.N;
    f.y += t0 * f.N;
    if (f.add) f.add += t0 * f.N;
    f.adapted = adapted;
    f.index = j;
    int64_t p0, p1;
    share((f.N + 15) / 16, 1, run.threads, thread, &p0, &p1);
    if (l.sums)
      product_none(l.sums + t0 * f.N, n, p0, p1, f);
    else if (l.round && w.packed && is_quantized(w.type) && l.int8)
      (adapted && n == tile_tokens(n) ? product_adapted : product_int8)(w, q, n, p0, p1, f);
    else
      product_f32(w, x, n, p0, p1, f, run.local[thread] + OWN_BYTES + ROW_BYTES);
  }
}

// The n rows from t0 on, whose prepared x lies at `at`; `h` is where x Aᵀ goes, if anything adapts them.
static Adapted adapted_of(const Linear& l, const uint8_t* at, int64_t t0, int64_t n, const float* h, uint8_t* local) {
  Adapted d = {};
  d.of = &l.a;
  d.row = local + OWN_BYTES;
  d.local = d.row + ROW_BYTES;
  Stretch* stretch = (Stretch*)(d.local + PRODUCT_LOCAL);
  d.count = stretches(l.a, t0, n, stretch);
  d.stretch = stretch;
  d.h = h;
  d.n = n;
  d.x = l.floats ? (const float*)at : l.x + t0 * l.K;
  d.q = l.round ? at + (l.floats ? (n * l.K * 4 + 63) / 64 * 64 : 0) : nullptr;
  return d;
}

static void run_linear(const Run& run, const Linear& l, int thread) {
  uint8_t* local = run.local[thread];
  float* row = (float*)(local + OWN_BYTES);
  bool prepares = l.round || l.floats;
  if (!prepares && !l.a.active) return products(run, l, nullptr, 0, l.T, nullptr, thread);
  if (own(l)) {
    if (prepares) prepare(l, local, l.x, l.T, 0, l.T, row);
    if (!l.a.active) return products(run, l, local, 0, l.T, nullptr, thread);
    float* h = (float*)(local + OWN_BYTES + ROW_BYTES + PRODUCT_LOCAL + STRETCH_BYTES);
    Adapted d = adapted_of(l, local, 0, l.T, h, local);
    low_rank(d, l.n, h, 1, 0);
    return products(run, l, local, 0, l.T, &d, thread);
  }
  for (int64_t t = 0; t < l.T; t += CHUNK_TOKENS) {
    int64_t n = l.T - t < CHUNK_TOKENS ? l.T - t : CHUNK_TOKENS, from, to;
    share(n, 1, run.threads, thread, &from, &to);
    if (run.threads > 1) run.meet(run, thread);  // nobody reads the chunk before, or another kernel's scratch
    prepare(l, run.shared, l.x + t * l.K, n, from, to, row);
    if (prepares && run.threads > 1) run.meet(run, thread);
    if (!l.a.active) {
      products(run, l, run.shared, t, n, nullptr, thread);
      continue;
    }
    float* h = (float*)(run.shared + prepared_bytes(l, chunk_tokens(l)));
    Adapted d = adapted_of(l, run.shared, t, n, h, local);
    low_rank(d, l.n, h, run.threads, thread);
    if (run.threads > 1) run.meet(run, thread);
    products(run, l, run.shared, t, n, &d, thread);
  }
}

// The operands of adapters from `t` on: the table, segments and, with ints[0] = 2, the token of each row; ints[1 ..] are
// the numbers of the linears in the table.
static void adapting(Linear* l, const Tensor* const* t, const int32_t* ints, bool int8) {
  if (ints[0] == 0) return;
  l->a.table = (const Adapters*)(*t++)->data;
  l->a.S = (*t)->rows;
  l->a.segments = (const int32_t*)(*t++)->data;
  if (ints[0] == 2) l->a.rows = (const int32_t*)(*t)->data;
  l->a.int8 = int8;
  for (int j = 0; j < l->n; j++) l->a.linear[j] = ints[1 + j];
  look_up(&l->a, l->n);
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
  if (node.i[3] == 1) l.f[0].add = (const float*)(*t++)->data, l.f[0].scale = node.f[1];
  if (node.i[3] == 2 || node.i[3] == 3) l.f[1].gate = true, l.f[1].act = node.i[3] == 2 ? SILU : GELU;
  if (node.i[3] == 4 || node.i[3] == 5) l.f[0].act = node.i[3] == 4 ? GELU : GELU_ERF;
  adapting(&l, t, node.i + 5, node.i[4]);
  const int32_t* range = node.i + 6 + (node.i[5] ? l.n : 0);
  if (range < node.i + node.nints)  // rows of each weight: the first, a multiple of 16, and their number
    for (int j = 0; j < l.n; j++) {
      const Tensor& w = *l.w[j];
      int64_t first = range[2 * j];
      l.f[j].N = range[2 * j + 1];
      if (l.f[j].bias) l.f[j].bias += first;
      l.skip[j] = w.packed ? first / PANEL * panel_bytes(w.type, w.cols) : first * w.cols * 4;
      l.a.panel[j] = first / PANEL;
    }
  needs(&l, node.i[4]);
  return l;
}

// [y'], [y [T, N], x [T, K], adapters, segments, (rows)]; ints: int8, N, K, then as `adapting`.
static Linear lora_of(const Node& node) {
  Linear l = {};
  const Tensor &y = *node.t[1], &x = *node.t[2];
  l.x = (const float*)x.data;
  l.sums = (const float*)y.data;
  l.n = 1;
  l.w[0] = &y;
  l.K = node.i[2];
  l.f[0].N = node.i[1];
  l.f[0].y = (float*)node.t[0]->data;
  l.T = l.f[0].N > 0 ? y.rows * y.cols / l.f[0].N : 0;
  adapting(&l, node.t + 3, node.i + 3, node.i[0]);
  needs(&l, node.i[0]);
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
  if (node.ninputs > 2) l.f[0].add = (const float*)node.t[3]->data, l.f[0].scale = 1;
  needs(&l, node.i[0]);
  return l;
}

static size_t shared_bytes(const Linear& l) {
  if ((!l.round && !l.floats && !l.a.active) || own(l)) return 0;
  int64_t ranks = l.a.active ? chunk_tokens(l) * l.a.stride * 4 : 0;
  return size_t(prepared_bytes(l, chunk_tokens(l)) + ranks);
}

static void linear(const Run& run, const Node& node, int thread) { run_linear(run, linear_of(node), thread); }
static size_t linear_shared(const Node& node, int32_t, int32_t, int32_t) { return shared_bytes(linear_of(node)); }

// [y [T, N]], [x [T, K], w [N, K], (added)]; ints: int8, bf16. Where x is rounded to int8, it is not rounded to bf16.
PITH_INLINE bool takes_bf16(const Node& node) {
  return node.i[1] && bf16_products() && !(node.i[0] && node.t[2]->packed && is_quantized(node.t[2]->type));
}
static void matmul_nt(const Run& run, const Node& node, int thread) {
  if (takes_bf16(node)) return matmul_nt_bf16(run, node, thread);
  run_linear(run, matmul_nt_of(node), thread);
}
static size_t matmul_nt_shared(const Node& node, int32_t, int32_t, int32_t) {
  return takes_bf16(node) ? 0 : shared_bytes(matmul_nt_of(node));
}

static void lora(const Run& run, const Node& node, int thread) { run_linear(run, lora_of(node), thread); }
static size_t lora_shared(const Node& node, int32_t, int32_t, int32_t) { return shared_bytes(lora_of(node)); }

#define PITH_LINEAR \
  {"linear", linear, linear_shared}, {"matmul_nt", matmul_nt, matmul_nt_shared}, {"lora", lora, lora_shared}
