// Generation: K and V go to pages in the cache's type, attention reads everything from there. Layout of a page: README.md.
#pragma once
#include "attend_q8.h"
#include "norm.h"
#include "rope.h"

// What kv_write, rope_write and attention_paged share: their ints, and where a block of the pool lies.
struct Pool {
  int64_t layer, layers, Hq, Hkv, D, window, P, Dp, group;
  int32_t type;           // KV_F32, KV_F16 or KV_Q8_0
  int64_t block;          // bytes of one (page, layer, head)
  uint8_t* data;
  const int32_t* segments;
  const int32_t* pages;
  int64_t S;

  PITH_INLINE Pool make(const Node& node, int kv) {
    Pool p;
    p.layer = node.i[0], p.layers = node.i[1], p.Hq = node.i[2], p.Hkv = node.i[3], p.D = node.i[4];
    p.window = node.i[5], p.P = node.i[6];
    p.Dp = (p.D + 15) / 16 * 16;
    p.group = p.Hq / p.Hkv;
    p.type = node.t[kv]->type;
    p.block = p.type == KV_Q8_0 ? q8_bytes(p.D) : (p.type == KV_F16 ? 2 : 4) * PAGE * 2 * p.Dp;
    p.data = node.t[kv]->data;
    p.segments = ids(node, kv + 1);
    p.pages = ids(node, kv + 2);
    p.S = node.t[kv + 1]->rows;
    return p;
  }
  uint8_t* at(int64_t s, int64_t page, int64_t head) const {
    return data + (((int64_t)pages[s * P + page] * layers + layer) * Hkv + head) * block;
  }
};

// --- Writing ----------------------------------------------------------------------------------------------------------

// k: components go to lane `position % 16` of the tile; v: a row, with zeros up to Dp.
PITH_INLINE void store_key(const Pool& p, uint8_t* block, int64_t slot, const float* k) {
  int64_t at = slot / 16 * p.Dp * 16 + slot % 16;
  for (int64_t d = 0; d < p.D; d += 16) {
    int64_t n = p.D - d < 16 ? p.D - d : 16;
    if (p.type == KV_F16) {
      uint16_t h[16];
      store_f16(h, load_upto(k + d, n));
      for (int64_t j = 0; j < n; j++) ((uint16_t*)block)[at + (d + j) * 16] = h[j];
    } else {
      for (int64_t j = 0; j < n; j++) ((float*)block)[at + (d + j) * 16] = k[d + j];
    }
  }
}
PITH_INLINE void store_value(const Pool& p, uint8_t* block, int64_t slot, const float* v) {
  int64_t at = PAGE * p.Dp + slot * p.Dp;
  for (int64_t d = 0; d < p.Dp; d += 16) {
    V x = load_upto(v + d, p.D - d);
    if (p.type == KV_F16)
      store_f16((uint16_t*)block + at + d, x);
    else
      store((float*)block + at + d, x);
  }
}

PITH_INLINE void store_both(const Pool& p, uint8_t* block, int64_t slot, const float* k, const float* v) {
  if (p.type == KV_Q8_0) return q8_store(block, slot, k, v, p.D);
  store_key(p, block, slot, k);
  store_value(p, block, slot, v);
}

// f(token, segment, position, head) for this thread's share of (token, head < heads) pairs, token after token.
template <class F>
PITH_INLINE void each_token(const Run& run, const Pool& p, int64_t T, int64_t heads, int thread, F f) {
  int64_t begin, end;
  share(T * heads, 1, run.threads, thread, &begin, &end);
  for (int64_t s = 0; s < p.S; s++) {
    const int32_t* seg = p.segments + s * 4;
    int64_t from = seg[0] * heads, to = (seg[0] + seg[1]) * heads;
    if (from < begin) from = begin;
    if (to > end) to = end;
    for (int64_t i = from; i < to; i++) f(i / heads, s, seg[2] + i / heads - seg[0], i % heads);
  }
}

// [], [k, v [T, Hkv, D], kv (w), segments, pages]
static void kv_write(const Run& run, const Node& node, int thread) {
  Pool p = Pool::make(node, 2);
  const float *k = data(node, 0), *v = data(node, 1);
  each_token(run, p, node.t[0]->d[0], p.Hkv, thread, [&](int64_t t, int64_t s, int64_t position, int64_t head) {
    int64_t at = (t * p.Hkv + head) * p.D;
    store_both(p, p.at(s, position / PAGE, head), position % PAGE, k + at, v + at);
  });
}

// [q'], [q, k, v, positions, table, kv (w), segments, pages, (q_norm, k_norm)]; ints[7]: with norms; floats: scale, eps
static void rope_write(const Run& run, const Node& node, int thread) {
  Pool p = Pool::make(node, 6);
  float *y = data(node, 0), *turned = (float*)run.local[thread];
  const float *q = data(node, 1), *k = data(node, 2), *v = data(node, 3), *table = data(node, 5);
  const int32_t* positions = ids(node, 4);
  int64_t r = node.t[5]->cols;
  const float *q_norm = node.i[7] ? data(node, 9) : nullptr, *k_norm = node.i[7] ? data(node, 10) : nullptr;
  float eps = node.f[1];
  each_row(run, node, 0, thread, [&](int64_t i) {
    const float* x = q + i * p.D;
    if (q_norm) norm_row(y + i * p.D, x, q_norm, p.D, eps), x = y + i * p.D;
    rope_row(y + i * p.D, x, table + positions[i / p.Hq] * r, r, p.D, 1.0f);
  });
  each_token(run, p, node.t[0]->d[0], p.Hkv, thread, [&](int64_t t, int64_t s, int64_t position, int64_t head) {
    int64_t at = (t * p.Hkv + head) * p.D;
    const float* x = k + at;
    if (k_norm) norm_row(turned, x, k_norm, p.D, eps), x = turned;
    rope_row(turned, x, table + positions[t] * r, r, p.D, 1.0f);
    store_both(p, p.at(s, position / PAGE, head), position % PAGE, turned, v + at);
  });
}

// --- Reading ----------------------------------------------------------------------------------------------------------

// Pages of one segment and kv head as they lie.
template <class E>
struct Direct {
  typedef E Element;
  const Pool& p;
  const Block& b;
  int64_t s, head;
  int64_t load(int64_t page, int, const E** k, const E** v) {
    *k = (const E*)p.at(s, page, head);
    *v = (const E*)((const uint8_t*)*k + p.block / 2);
    if (p.type == KV_Q8_0)
      for (int64_t i = 0; i < PAGE * q8_blocks(p.D); i += 16) store(b.v + i, load_f16((const uint16_t*)*v + i));
    const uint8_t* next = (const uint8_t*)*k;  // the next page; after the last one, most likely, the next head
    if ((page + 1) * PAGE < b.end[b.n - 1])
      next = p.at(s, page + 1, head);
    else if (head + 1 < p.Hkv)
      next = p.at(s, b.first[0] / PAGE, head + 1);
    return next - (const uint8_t*)*k;
  }
};
// f16 and q8_0 pages turned into f32 once for many rows: the same numbers.
struct Widened {
  typedef float Element;
  const Pool& p;
  const Block& b;
  int64_t s, head;
  int64_t load(int64_t page, int tiles, const float** k, const float** v) {
    *k = b.k;
    *v = b.v;
    if (p.type == KV_Q8_0) {
      q8_widen(b.k, b.v, p.at(s, page, head), p.D, p.Dp, tiles);
      return 0;
    }
    const uint16_t* from = (const uint16_t*)p.at(s, page, head);
    int64_t n = tiles * 16 * p.Dp;
    for (int64_t i = 0; i < n; i += 16) store(b.k + i, load_f16(from + i));
    for (int64_t i = 0; i < n; i += 16) store(b.v + i, load_f16(from + PAGE * p.Dp + i));
    return 0;
  }
};

// A piece of work: a block of rows (token, head of the group) of a segment and kv head, over a range of chunks.
struct Unit {
  int64_t s, head, row, rows, chunk, chunk_end;
};

// f(unit, cost) for all units in a fixed order; `split`: a unit is one chunk.
template <class F>
PITH_INLINE void each_unit(const Pool& p, bool split, F f) {
  int64_t block = rows_of_block(p.D);
  for (int64_t s = 0; s < p.S; s++) {
    const int32_t* seg = p.segments + s * 4;
    int64_t rows = seg[1] * p.group;
    for (int64_t head = 0; head < p.Hkv; head++)
      for (int64_t row = 0; row < rows; row += block) {
        int64_t n = rows - row < block ? rows - row : block;
        int64_t first = seg[2] + row / p.group + 1 - p.window, end = seg[2] + (row + n - 1) / p.group + 1;
        if (p.window <= 0 || first < 0) first = 0;
        int64_t page = first / PAGE, page_end = (end + PAGE - 1) / PAGE;
        int64_t chunk = page / CHUNK, chunk_end = (page_end + CHUNK - 1) / CHUNK;
        if (!split) {
          f(Unit{s, head, row, n, chunk, chunk_end}, (page_end - page) * (n + 2));
          continue;
        }
        for (int64_t c = chunk; c < chunk_end; c++) {
          int64_t from = page > c * CHUNK ? page : c * CHUNK, to = page_end < c * CHUNK + CHUNK ? page_end : c * CHUNK + CHUNK;
          f(Unit{s, head, row, n, c, c + 1}, (to - from) * (n + 2));
        }
      }
  }
}

// The cost of the thread with the most, and the sum over all.
PITH_INLINE int64_t heaviest(const Pool& p, int threads, bool split, int64_t* total) {
  int64_t sum = 0, load[MAX_THREADS] = {}, most = 0;
  each_unit(p, split, [&](const Unit&, int64_t cost) { sum += cost; });
  Shares shares = {sum, threads, 0};
  each_unit(p, split, [&](const Unit&, int64_t cost) { load[shares.owner(cost)] += cost; });
  for (int i = 0; i < threads; i++) most = load[i] > most ? load[i] : most;
  *total = sum;
  return most;
}

// Partial results when chunks are split over threads: for each (row of q, chunk) acc [Dp], top, sum, 14 unused.
// Only for short steps: the room is for the longest past that the page table holds.
static size_t attention_paged_shared(const Node& node, int32_t, int32_t, int32_t) {
  int64_t Dp = (node.i[4] + 15) / 16 * 16, chunks = (node.i[6] + CHUNK - 1) / CHUNK;
  int64_t bytes = node.t[0]->rows * chunks * (Dp + 16) * 4;
  return chunks > 1 && node.t[0]->rows <= 512 && bytes <= (64 << 20) ? (size_t)bytes : 0;
}

// Rows of a unit: their q, and what they see.
PITH_INLINE void block_rows(Block& b, const Pool& p, const Unit& u, const float* q) {
  const int32_t* seg = p.segments + u.s * 4;
  b.n = (int)u.rows;
  for (int r = 0; r < b.n; r++) {
    int64_t i = (u.row + r) / p.group, g = (u.row + r) % p.group, end = seg[2] + i + 1;
    b.end[r] = (int32_t)end;
    b.first[r] = p.window > 0 && end > p.window ? (int32_t)(end - p.window) : 0;
    copy(b.q + r * p.D, q + ((seg[0] + i) * p.Hq + u.head * p.group + g) * p.D, p.D);
  }
}

// f(pages): reads f16 directly for few rows, and widens it once for many. Where an instruction converts, doing it again for
// every four rows costs less than a pass of its own, which would wait for memory with nothing to compute.
#if defined(__F16C__) || defined(__AVX512F__) || defined(__aarch64__)
constexpr int FEW = 16;
#else
constexpr int FEW = ATTEND_ROWS;
#endif
constexpr int Q8_FEW = 8;  // a code takes three instructions to become a float
template <class F>
PITH_INLINE void with_pages(const Pool& p, const Block& b, const Unit& u, F f) {
  if (p.type == KV_F32) {
    Direct<float> pages = {p, b, u.s, u.head};
    f(pages);
  } else if (p.type == KV_Q8_0 && b.n <= Q8_FEW) {
    Direct<Q8> pages = {p, b, u.s, u.head};
    f(pages);
  } else if (p.type == KV_F16 && (b.n <= FEW || p.D > ROOMY)) {
    Direct<uint16_t> pages = {p, b, u.s, u.head};
    f(pages);
  } else {
    Widened pages = {p, b, u.s, u.head};
    f(pages);
  }
}

// [o [T, Hq, D]], [q [T, Hq, D], kv, segments, pages]
static void attention_paged(const Run& run, const Node& node, int thread) {
  Pool p = Pool::make(node, 2);
  float *o = data(node, 0), *partial = (float*)run.shared;
  const float* q = data(node, 1);
  int64_t total, chunks = (p.P + CHUNK - 1) / CHUNK, stride = p.Dp + 16;
  Block b;
  block_layout(b, (float*)run.local[thread], p.D, node.f[0]);

  clear_uncovered(run, o, p.segments, p.S, node.t[0]->d[0], p.Hq * p.D, thread);
  // A chunk a unit if that shares the work better; every thread comes to the same answer.
  int64_t most = heaviest(p, run.threads, false, &total);
  bool split = false;
  if (most * run.threads > total + total / 8 && attention_paged_shared(node, 0, 0, 0))
    split = heaviest(p, run.threads, true, &total) < most;

  Shares shares = {total, run.threads, 0};
  each_unit(p, split, [&](const Unit& u, int64_t cost) {
    if (shares.owner(cost) != thread) return;
    block_rows(b, p, u, q);
    const int32_t* seg = p.segments + u.s * 4;
    auto row_of = [&](int r) {
      return (seg[0] + (u.row + r) / p.group) * p.Hq + u.head * p.group + (u.row + r) % p.group;
    };
    with_pages(p, b, u, [&](auto& pages) {
      if (!split) {
        attend(b, pages);
        for (int r = 0; r < b.n; r++) finish_row(o + row_of(r) * p.D, b.all_acc + r * b.Dp, b.all_sum[r], p.D);
        return;
      }
      attend_chunk(b, pages, u.chunk);
      for (int r = 0; r < b.n; r++) {
        float* to = partial + (row_of(r) * chunks + u.chunk) * stride;
        copy(to, b.acc + r * b.Dp, b.Dp);
        to[b.Dp] = b.top[r];
        to[b.Dp + 1] = b.sum[r];
      }
    });
  });
  if (!split) return;

  run.meet(run, thread);
  each_token(run, p, node.t[0]->d[0], p.Hq, thread, [&](int64_t t, int64_t, int64_t position, int64_t head) {
    int64_t row = t * p.Hq + head, end = position + 1, first = p.window > 0 && end > p.window ? end - p.window : 0;
    int64_t from = first / CHUNK_POSITIONS, to = (end - 1) / CHUNK_POSITIONS + 1;
    float top = 0, sum = 0;
    for (int64_t c = from; c < to; c++) {
      const float* part = partial + (row * chunks + c) * stride;
      merge(b.all_acc, &top, &sum, part, part[p.Dp], part[p.Dp + 1], p.Dp, c == from);
    }
    finish_row(o + row * p.D, b.all_acc, sum, p.D);
  });
}

#define PITH_ATTENTION                                                    \
  {"kv_write", kv_write, nullptr}, {"rope_write", rope_write, nullptr},   \
      {"attention_paged", attention_paged, attention_paged_shared}
