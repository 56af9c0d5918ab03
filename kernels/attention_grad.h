// Training: attention within the step's segments, forward and backward. Rows are (token, q head of the group) of one kv
// head, 64 a block; keys are 64 a page, packed from [T, Hkv, D] when a block meets them. The backward pass computes the
// weights again, once for dq (by rows) and once for dk and dv (by pages): each sum has one owner and one order, whatever
// the number of threads. Heads of at most ROOMY components: pages have to fit local memory.
#pragma once
#include "attend.h"
#include "transpose.h"

static_assert((6 * BLOCK_ROWS * ROOMY + 2 * BLOCK_ROWS * PAGE) * 4 <= (int64_t)LOCAL_BYTES);

struct Step {
  int64_t Hq, Hkv, D, Dp, group, S, T, window;
  bool causal;
  float scale;
  const int32_t* segments;

  PITH_INLINE Step make(const Node& node) {
    Step p;
    p.Hq = node.i[0], p.Hkv = node.i[1], p.D = node.i[2], p.causal = node.i[3] != 0, p.window = node.i[4];
    p.Dp = (p.D + 15) / 16 * 16;
    p.group = p.Hq / p.Hkv;
    p.scale = node.f[0];
    const Tensor& table = *node.t[node.noutputs + node.ninputs - 1];
    p.segments = (const int32_t*)table.data;
    p.S = table.rows;
    p.T = node.t[0]->d[0];
    return p;
  }
  // Row of [T, Hq] of row r of a segment and kv head; row of [T, Hkv] of its position.
  int64_t query(int64_t s, int64_t head, int64_t r) const {
    return (segments[s * 4] + r / group) * Hq + head * group + r % group;
  }
  int64_t key(int64_t s, int64_t head, int64_t position) const { return (segments[s * 4] + position) * Hkv + head; }
  // Positions that a position of a segment of `length` sees: first .. end - 1. Both rise with it.
  int64_t first(int64_t position) const { return window > 0 && position >= window ? position - window + 1 : 0; }
  int64_t end(int64_t position, int64_t length) const {
    if (causal) return position + 1;
    return window > 0 && position + window < length ? position + window : length;
  }
  // And those that see it.
  int64_t first_seer(int64_t position) const { return causal ? position : first(position); }
  int64_t end_seer(int64_t position, int64_t length) const {
    return window > 0 && position + window < length ? position + window : length;
  }
};

// f(s, head, block of 64 rows) for this thread's part: blocks cost what they see.
template <class F>
PITH_INLINE void each_row_block(const Run& run, const Step& p, int thread, F f) {
  auto visit = [&](auto g) {
    for (int64_t s = 0; s < p.S; s++) {
      int64_t length = p.segments[s * 4 + 1], rows = length * p.group;
      for (int64_t head = 0; head < p.Hkv; head++)
        for (int64_t row = 0; row < rows; row += BLOCK_ROWS)
          g(s, head, row, 1 + (p.end(row / p.group, length) - p.first(row / p.group)) / PAGE);
    }
  };
  Shares shares = {0, run.threads, 0};
  visit([&](int64_t, int64_t, int64_t, int64_t cost) { shares.total += cost; });
  visit([&](int64_t s, int64_t head, int64_t row, int64_t cost) {
    if (shares.owner(cost) == thread) f(s, head, row);
  });
}
// f(s, head, page): a page costs the rows that see it.
template <class F>
PITH_INLINE void each_page(const Run& run, const Step& p, int thread, F f) {
  auto visit = [&](auto g) {
    for (int64_t s = 0; s < p.S; s++) {
      int64_t length = p.segments[s * 4 + 1], pages = (length + PAGE - 1) / PAGE;
      for (int64_t head = 0; head < p.Hkv; head++)
        for (int64_t page = 0; page < pages; page++)
          g(s, head, page, 1 + (p.end_seer(page * PAGE, length) - p.first_seer(page * PAGE)) / PAGE);
    }
  };
  Shares shares = {0, run.threads, 0};
  visit([&](int64_t, int64_t, int64_t, int64_t cost) { shares.total += cost; });
  visit([&](int64_t s, int64_t head, int64_t page, int64_t cost) {
    if (shares.owner(cost) == thread) f(s, head, page);
  });
}

// A page of x [T, Hkv, D] as tiles [4, Dp, 16] (lane = position) or as rows [64, Dp]; zeros beyond the segment and D.
PITH_INLINE void pack_tiles(float* to, const Step& p, const float* x, int64_t s, int64_t head, int64_t page) {
  int64_t left = p.segments[s * 4 + 1] - page * PAGE, n = left < PAGE ? left : PAGE;
  if (n < PAGE || p.D < p.Dp) clear(to, PAGE * p.Dp);
  for (int64_t u = 0; u < n; u += 16)
    for (int64_t d = 0; d < p.D; d += 16)
      transpose(to + u * p.Dp + d * 16, x + p.key(s, head, page * PAGE + u) * p.D + d, p.Hkv * p.D, n - u < 16 ? n - u : 16,
                p.D - d < 16 ? p.D - d : 16);
}
PITH_INLINE void pack_rows_of(float* to, const Step& p, const float* x, int64_t s, int64_t head, int64_t page) {
  int64_t left = p.segments[s * 4 + 1] - page * PAGE, n = left < PAGE ? left : PAGE;
  if (n < PAGE || p.D < p.Dp) clear(to, PAGE * p.Dp);
  for (int64_t u = 0; u < n; u++) copy(to + u * p.Dp, x + p.key(s, head, page * PAGE + u) * p.D, p.D);
}

struct Packed {
  typedef float Element;
  const Step& p;
  const Block& b;
  const float *k_from, *v_from;
  int64_t s, head;
  int64_t load(int64_t page, int, const float** k, const float** v) {
    pack_tiles(b.k, p, k_from, s, head, page);
    pack_rows_of(b.v, p, v_from, s, head, page);
    *k = b.k;
    *v = b.v;
    return 0;
  }
};

// [o [T, Hq, D], lse [T, Hq]], [q [T, Hq, D], k, v [T, Hkv, D], segments]; ints: Hq, Hkv, D, causal, window; floats: scale
static void attention(const Run& run, const Node& node, int thread) {
  Step p = Step::make(node);
  float *o = data(node, 0), *lse = data(node, 1);
  const float* q = data(node, 2);
  Block b;
  block_layout(b, (float*)run.local[thread], p.D, p.scale);
  clear_uncovered(run, o, p.segments, p.S, p.T, p.Hq * p.D, thread);
  clear_uncovered(run, lse, p.segments, p.S, p.T, p.Hq, thread);
  each_row_block(run, p, thread, [&](int64_t s, int64_t head, int64_t row) {
    int64_t length = p.segments[s * 4 + 1], left = length * p.group - row;
    b.n = (int)(left < BLOCK_ROWS ? left : BLOCK_ROWS);
    for (int r = 0; r < b.n; r++) {
      b.first[r] = (int32_t)p.first((row + r) / p.group);
      b.end[r] = (int32_t)p.end((row + r) / p.group, length);
      copy(b.q + r * p.D, q + p.query(s, head, row + r) * p.D, p.D);
    }
    Packed pages = {p, b, data(node, 3), data(node, 4), s, head};
    attend(b, pages);
    for (int r = 0; r < b.n; r++) {
      int64_t to = p.query(s, head, row + r);
      finish_row(o + to * p.D, b.all_acc + r * b.Dp, b.all_sum[r], p.D);
      lse[to] = b.all_top[r] + log1(b.all_sum[r]);
    }
  });
}

// --- Backward ---------------------------------------------------------------------------------------------------------

// What both passes need of 64 rows and 64 keys, in local memory.
struct Backward {
  int n;                 // rows
  float *q, *dout;       // [n, Dp], zeros beyond D
  float *kt, *vt;        // a page as tiles
  float *p, *ds;         // [n, 64]
  float *x, *y;          // [64, Dp] twice: k by rows and dq, or dk and dv
  float lse[BLOCK_ROWS], delta[BLOCK_ROWS];
  int64_t first[BLOCK_ROWS], end[BLOCK_ROWS];
};

PITH_INLINE void backward_layout(Backward& b, float* at, int64_t Dp) {
  int64_t each = BLOCK_ROWS * Dp;
  b.q = at, b.dout = at + each, b.kt = at + 2 * each, b.vt = at + 3 * each, b.x = at + 4 * each, b.y = at + 5 * each;
  b.p = at + 6 * each, b.ds = b.p + BLOCK_ROWS * PAGE;
}

// Rows row .. row + 64 of a segment and kv head: q, do, lse and δ = do · o.
PITH_INLINE void backward_rows(Backward& b, const Step& p, const Node& node, int64_t s, int64_t head, int64_t row) {
  const float *q = data(node, 3), *o = data(node, 6), *lse = data(node, 7), *dout = data(node, 8);
  int64_t length = p.segments[s * 4 + 1], left = length * p.group - row;
  b.n = (int)(left < BLOCK_ROWS ? left : BLOCK_ROWS);
  clear(b.q, b.n * p.Dp);
  clear(b.dout, b.n * p.Dp);
  for (int r = 0; r < b.n; r++) {
    int64_t at = p.query(s, head, row + r);
    copy(b.q + r * p.Dp, q + at * p.D, p.D);
    copy(b.dout + r * p.Dp, dout + at * p.D, p.D);
    V delta = zero();
    for (int64_t d = 0; d < p.D; d += 16)
      delta = fma(load(b.dout + r * p.Dp + d), load_upto(o + at * p.D + d, p.D - d), delta);
    b.delta[r] = sum(delta);
    b.lse[r] = lse[at];
    b.first[r] = p.first((row + r) / p.group);
    b.end[r] = p.end((row + r) / p.group, length);
  }
}

// p = e^(scale q·k - lse) and ds = scale p (do·v - δ) of the rows and a page whose tiles are packed. Answers how many of the
// page's tiles any of the rows sees; of the others nothing is written.
PITH_INLINE int backward_weights(Backward& b, const Step& p, int64_t page) {
  int64_t seen_by_last = b.end[b.n - 1] - page * PAGE;
  int tiles = seen_by_last >= PAGE ? PAGE / 16 : int((seen_by_last + 15) / 16);
  multiply<true>(b.p, PAGE, b.n, tiles, b.q, p.Dp, 1, b.kt, 16, p.Dp * 16, p.D);
  multiply<true>(b.ds, PAGE, b.n, tiles, b.dout, p.Dp, 1, b.vt, 16, p.Dp * 16, p.D);
  V scale = splat(p.scale);
  for (int r = 0; r < b.n; r++) {
    V lse = splat(b.lse[r]), delta = splat(b.delta[r]);
    int64_t seen = b.end[r] - page * PAGE, from = b.first[r] - page * PAGE;
    I end = splat_int((int32_t)(seen > PAGE ? PAGE : seen)), first = splat_int((int32_t)(from > 0 ? from : 0));
    for (int t = 0; t < tiles * 16; t += 16) {
      float *w = b.p + r * PAGE + t, *ds = b.ds + r * PAGE + t;
      I at = lanes() + splat_int(t), visible = (at >= first) & (at < end);
      V e = exp(load(w) * scale - lse);
      store(w, select(visible, e, zero()));
      store(ds, select(visible, scale * e * (load(ds) - delta), zero()));
    }
  }
  return tiles;
}

// [dq, dk, dv], [q, k, v, o, lse, do, segments]; ints and floats as above
static void attention_grad(const Run& run, const Node& node, int thread) {
  Step p = Step::make(node);
  float *dq = data(node, 0), *dk = data(node, 1), *dv = data(node, 2);
  const float *k = data(node, 4), *v = data(node, 5);
  Backward b;
  backward_layout(b, (float*)run.local[thread], p.Dp);
  clear_uncovered(run, dq, p.segments, p.S, p.T, p.Hq * p.D, thread);
  clear_uncovered(run, dk, p.segments, p.S, p.T, p.Hkv * p.D, thread);
  clear_uncovered(run, dv, p.segments, p.S, p.T, p.Hkv * p.D, thread);
  int vectors = (int)(p.Dp / 16);

  // dq = Σ ds k, pages ascending
  each_row_block(run, p, thread, [&](int64_t s, int64_t head, int64_t row) {
    backward_rows(b, p, node, s, head, row);
    clear(b.y, b.n * p.Dp);
    for (int64_t page = b.first[0] / PAGE; page * PAGE < b.end[b.n - 1]; page++) {
      pack_tiles(b.kt, p, k, s, head, page);
      pack_tiles(b.vt, p, v, s, head, page);
      pack_rows_of(b.x, p, k, s, head, page);
      int tiles = backward_weights(b, p, page);
      multiply<false>(b.y, p.Dp, b.n, vectors, b.ds, PAGE, 1, b.x, p.Dp, 16, tiles * 16);
    }
    for (int r = 0; r < b.n; r++) copy(dq + p.query(s, head, row + r) * p.D, b.y + r * p.Dp, p.D);
  });

  // dk = Σ ds q and dv = Σ p do, rows ascending: token by token, in it the q heads of the group
  each_page(run, p, thread, [&](int64_t s, int64_t head, int64_t page) {
    int64_t length = p.segments[s * 4 + 1], left = length - page * PAGE;
    int64_t final = (left < PAGE ? length : page * PAGE + PAGE) - 1, rows = p.end_seer(final, length) * p.group;
    pack_tiles(b.kt, p, k, s, head, page);
    pack_tiles(b.vt, p, v, s, head, page);
    clear(b.x, PAGE * p.Dp);
    clear(b.y, PAGE * p.Dp);
    int64_t row = p.first_seer(page * PAGE) * p.group / BLOCK_ROWS * BLOCK_ROWS;
    for (; row < rows; row += BLOCK_ROWS) {
      backward_rows(b, p, node, s, head, row);
      int seen = backward_weights(b, p, page) * 16;
      multiply<false>(b.x, p.Dp, seen, vectors, b.ds, 1, PAGE, b.q, p.Dp, 16, b.n);
      multiply<false>(b.y, p.Dp, seen, vectors, b.p, 1, PAGE, b.dout, p.Dp, 16, b.n);
    }
    for (int64_t u = 0; u < left && u < PAGE; u++) {
      int64_t to = p.key(s, head, page * PAGE + u) * p.D;
      copy(dk + to, b.x + u * p.Dp, p.D);
      copy(dv + to, b.y + u * p.Dp, p.D);
    }
  });
}

#define PITH_ATTENTION_GRAD {"attention", attention, nullptr}, {"attention_grad", attention_grad, nullptr}
