// Attention of a block of rows over pages of 64 positions: what generation (attention.h) and training (attention_grad.h)
// share. A row is one (token, q head) of one kv head; it sees positions first .. end - 1.
//
// Order, the same for every row however it is blocked: q·k adds its components in ascending order, one chain of fma; a
// page's weights e^(s - m) add as (t0 + t1) + (t2 + t3) over tiles of 16 and then lanes (simd.h); values add in ascending
// position, one chain; pages of a chunk (8) in ascending order by online softmax; chunks are merged in ascending order.
// Positions a row does not see are never multiplied: what lies there may be NaN.
#pragma once
#include "reduce.h"

// --- c[r][v] = (c or 0) + Σ_k a[r·ar + k·ak] b[k·bk + v·bv + lane], k ascending ------------------------------------------
// `ahead` (bytes from b, or 0): what is read next; it is fetched into the second-level cache meanwhile. Pages are pieces of
// a few KB, too short for the processor to see that they are read in order: without this decoding waits for memory
// (1.9 times as long at 69 MB of f16; fetching into the first level instead gains nothing).

#if defined(__AVX512F__)
constexpr int ATTEND_ROWS = 4, ATTEND_VECTORS = 4;  // rows and vectors that fit the registers
#elif defined(__AVX__) || defined(__aarch64__)
constexpr int ATTEND_ROWS = 4, ATTEND_VECTORS = 1;
#else
constexpr int ATTEND_ROWS = 2, ATTEND_VECTORS = 1;
#endif

PITH_INLINE V value(const float* p) { return load(p); }
PITH_INLINE V value(const uint16_t* p) { return load_f16(p); }

template <int R, int N, bool fresh, class B>
static void product(float* c, int64_t cs, const float* a, int64_t ar, int64_t ak, const B* b, int64_t bk, int64_t bv,
                    int64_t K, int64_t ahead) {
  V sum[R][N];
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) sum[r][n] = fresh ? zero() : load(c + r * cs + n * 16);
  for (int64_t k = 0; k < K; k++, a += ak, b += bk) {
    V w[N];
    for (int n = 0; n < N; n++) w[n] = value(b + n * bv);
    if (ahead)
      for (int n = 0; n < N; n++) __builtin_prefetch((const char*)(b + n * bv) + ahead, 0, 2);
    for (int r = 0; r < R; r++) {
      V x = splat(a[r * ar]);
      for (int n = 0; n < N; n++) sum[r][n] = fma(x, w[n], sum[r][n]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) store(c + r * cs + n * 16, sum[r][n]);
}

template <int R, bool fresh, class B>
PITH_INLINE void product_wide(int n, float* c, int64_t cs, const float* a, int64_t ar, int64_t ak, const B* b, int64_t bk,
                              int64_t bv, int64_t K, int64_t ahead) {
  if (n == 4) return product<R, ATTEND_VECTORS == 4 ? 4 : 1, fresh>(c, cs, a, ar, ak, b, bk, bv, K, ahead);
  if (n == 2) return product<R, ATTEND_VECTORS == 4 ? 2 : 1, fresh>(c, cs, a, ar, ak, b, bk, bv, K, ahead);
  return product<R, 1, fresh>(c, cs, a, ar, ak, b, bk, bv, K, ahead);
}

// rows x vectors of 16; `fresh`: what c held is not added.
template <bool fresh, class B>
static void multiply(float* c, int64_t cs, int rows, int vectors, const float* a, int64_t ar, int64_t ak, const B* b,
                     int64_t bk, int64_t bv, int64_t K, int64_t ahead = 0) {
  if (K <= 0 && !fresh) return;
  for (int v = 0; v < vectors;) {
    int left = vectors - v, n = ATTEND_VECTORS == 1 ? 1 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    for (int r = 0; r < rows; r += ATTEND_ROWS) {
      float* to = c + r * cs + v * 16;
      const float* from = a + r * ar;
      const B* with = b + v * bv;
      int height = rows - r;
      if (height >= ATTEND_ROWS)
        product_wide<ATTEND_ROWS, fresh>(n, to, cs, from, ar, ak, with, bk, bv, K, ahead);
      else if (height == 1)
        product_wide<1, fresh>(n, to, cs, from, ar, ak, with, bk, bv, K, ahead);
      else if (height == 2)
        product_wide<2, fresh>(n, to, cs, from, ar, ak, with, bk, bv, K, ahead);
      else
        product_wide<ATTEND_ROWS >= 3 ? 3 : 1, fresh>(n, to, cs, from, ar, ak, with, bk, bv, K, ahead);
    }
    v += n;
  }
}

// --- Rows -------------------------------------------------------------------------------------------------------------

constexpr int BLOCK_ROWS = 64;
constexpr int64_t CHUNK_POSITIONS = (int64_t)CHUNK * PAGE;

struct Block {
  int n;                                             // rows, in ascending order of `first` and of `end`
  int64_t D, Dp;                                     // head size, and rounded up to 16
  float scale;
  int32_t first[BLOCK_ROWS], end[BLOCK_ROWS];        // positions each row sees
  float top[BLOCK_ROWS], sum[BLOCK_ROWS];            // of the chunk: largest score, Σ e^(s - top)
  float all_top[BLOCK_ROWS], all_sum[BLOCK_ROWS];    // of the chunks merged so far
  float* q;        // [n, D]
  float* acc;      // [n, Dp]: Σ e^(s - top) v of the chunk
  float* all_acc;  // [n, Dp]
  float* scores;   // [n, 64]
  float* k;        // [4, Dp, 16] and v [64, Dp]: room for a page as f32, up to D = ROOMY
  float* v;
};

// Heads larger than this have smaller blocks, and no room for pages as f32: LOCAL_BYTES is what there is.
constexpr int64_t ROOMY = 512, LARGEST = 4096;
PITH_INLINE int64_t rows_of_block(int64_t D) { return D <= ROOMY ? BLOCK_ROWS : BLOCK_ROWS / 4; }
static_assert((BLOCK_ROWS * (3 * ROOMY + PAGE) + 2 * PAGE * ROOMY) * 4 <= (int64_t)LOCAL_BYTES);
static_assert(BLOCK_ROWS / 4 * (3 * LARGEST + PAGE) * 4 <= (int64_t)LOCAL_BYTES);

// Places a block in local memory.
PITH_INLINE void block_layout(Block& b, float* at, int64_t D, float scale) {
  b.D = D;
  b.Dp = (D + 15) / 16 * 16;
  b.scale = scale;
  int64_t each = rows_of_block(D) * b.Dp;
  b.q = at;
  b.acc = at + each;
  b.all_acc = at + 2 * each;
  b.scores = at + 3 * each;
  b.k = b.scores + BLOCK_ROWS * PAGE;
  b.v = b.k + PAGE * b.Dp;
}

// Scores of row r for a page at `base` become weights; its sums so far are scaled to the new maximum.
PITH_INLINE void weigh(Block& b, int r, int tiles, int64_t base) {
  float* s = b.scores + r * PAGE;
  V scale = splat(b.scale), least = splat(-__builtin_inff()), most = least, x[4];
  I first = splat_int((int32_t)(b.first[r] - base)), end = splat_int((int32_t)(b.end[r] - base));
  bool whole = b.first[r] <= base && b.end[r] >= base + tiles * 16;
  for (int t = 0; t < 4; t++) {
    if (t >= tiles) {
      x[t] = least;
      continue;
    }
    x[t] = load(s + t * 16) * scale;
    if (!whole) {
      I at = lanes() + splat_int(t * 16);
      x[t] = select((at >= first) & (at < end), x[t], least);
    }
    most = max(most, x[t]);
  }
  float page_top = max_lane(most), before = b.top[r], top = page_top > before ? page_top : before;
  V m = splat(top);
  for (int t = 0; t < 4; t++) {
    if (t >= tiles) {
      x[t] = zero();
      continue;
    }
    x[t] = exp_negative(x[t] - m);
    store(s + t * 16, x[t]);
  }
  float page_sum = sum((x[0] + x[1]) + (x[2] + x[3]));
  b.top[r] = top;
  if (before == top || before == -__builtin_inff()) {  // a factor of 1, or nothing before
    b.sum[r] += page_sum;
    return;
  }
  V c = exp_negative(splat(before - top));
  b.sum[r] = b.sum[r] * lane(c, 0) + page_sum;
  float* acc = b.acc + r * b.Dp;
  for (int64_t d = 0; d < b.Dp; d += 16) store(acc + d, load(acc + d) * c);
}

// Scores of rows r0 .. with the tiles of a page's keys, and acc += weights x values at positions [from, to): floats.
template <class B>
PITH_INLINE void score(Block& b, int r0, int rows, int tiles, const B* k, int64_t ahead) {
  multiply<true>(b.scores + r0 * PAGE, PAGE, rows, tiles, b.q + r0 * b.D, b.D, 1, k, 16, b.Dp * 16, b.D, ahead);
}
template <class B>
PITH_INLINE void weigh_values(Block& b, int r, int rows, const B* v, int64_t from, int64_t to, int64_t ahead) {
  multiply<false>(b.acc + r * b.Dp, b.Dp, rows, (int)(b.Dp / 16), b.scores + r * PAGE + from, PAGE, 1, v + from * b.Dp,
                  b.Dp, 16, to - from, ahead);
}
struct Q8;  // attend_q8.h
static void score(Block& b, int r0, int rows, int tiles, const Q8* page, int64_t ahead);
static void weigh_values(Block& b, int r, int rows, const Q8* v, int64_t from, int64_t to, int64_t ahead);

// acc of rows r0 .. r1 += weights x values, each row only over the positions it sees.
template <class B>
PITH_INLINE void add_values(Block& b, int r0, int r1, const B* v, int64_t base, int64_t ahead) {
  auto low = [&](int r) -> int64_t { return b.first[r] > base ? b.first[r] - base : 0; };
  auto high = [&](int r) -> int64_t { return b.end[r] < base + PAGE ? b.end[r] - base : PAGE; };
  auto add = [&](int r, int rows, int64_t from, int64_t to) { weigh_values(b, r, rows, v, from, to, ahead); };
  int step = low(r0) == low(r1 - 1) && high(r0) == high(r1 - 1) ? r1 - r0 : ATTEND_ROWS;
  for (int r = r0; r < r1; r += step) {
    int stop = r + step < r1 ? r + step : r1;
    int64_t from = low(stop - 1), to = high(r);  // what all of them see
    if (from >= to) {
      for (int i = r; i < stop; i++) add(i, 1, low(i), high(i));
      continue;
    }
    for (int i = r; i < stop; i++) add(i, 1, low(i), from);
    add(r, stop - r, from, to);
    for (int i = r; i < stop; i++) add(i, 1, to, high(i));
  }
}

// One chunk for all rows of the block, from nothing. Pages::load(page, tiles, k, v) gives a page's K tiles and V, and
// returns `ahead`.
template <class Pages>
static void attend_chunk(Block& b, Pages& pages, int64_t chunk) {
  for (int r = 0; r < b.n; r++) {
    b.top[r] = -__builtin_inff();
    b.sum[r] = 0;
  }
  clear(b.acc, b.n * b.Dp);
  int64_t page = chunk * CHUNK, last = page + CHUNK;
  if (page < b.first[0] / PAGE) page = b.first[0] / PAGE;
  if (last > (b.end[b.n - 1] + PAGE - 1) / PAGE) last = (b.end[b.n - 1] + PAGE - 1) / PAGE;
  for (; page < last; page++) {
    int64_t base = page * PAGE;
    int r0 = 0, r1 = b.n;
    while (r0 < r1 && b.end[r0] <= base) r0++;
    while (r1 > r0 && b.first[r1 - 1] >= base + PAGE) r1--;
    if (r0 == r1) continue;
    int64_t seen = b.end[r1 - 1] - base;
    int tiles = seen >= PAGE ? PAGE / 16 : (int)((seen + 15) / 16);
    const typename Pages::Element *k, *v;
    int64_t ahead = pages.load(page, tiles, &k, &v);
    score(b, r0, r1 - r0, tiles, k, ahead);
    for (int r = r0; r < r1; r++) weigh(b, r, tiles, base);
    add_values(b, r0, r1, v, base, ahead);
  }
}

PITH_INLINE int64_t first_chunk(const Block& b, int r) { return b.first[r] / CHUNK_POSITIONS; }
PITH_INLINE int64_t end_chunk(const Block& b, int r) { return (b.end[r] - 1) / CHUNK_POSITIONS + 1; }

// (all_acc, all_top, all_sum) of the chunks so far, and the next one's. `first`: there are none so far.
PITH_INLINE void merge(float* all_acc, float* all_top, float* all_sum, const float* acc, float top, float sum, int64_t Dp,
                       bool first) {
  if (first) {
    copy(all_acc, acc, Dp);
    *all_top = top;
    *all_sum = sum;
    return;
  }
  float m = top > *all_top ? top : *all_top;
  V a = exp_negative(splat(*all_top - m)), c = exp_negative(splat(top - m));
  *all_sum = *all_sum * lane(a, 0) + sum * lane(c, 0);
  *all_top = m;
  for (int64_t d = 0; d < Dp; d += 16) store(all_acc + d, fma(load(all_acc + d), a, load(acc + d) * c));
}

PITH_INLINE void finish_row(float* o, const float* all_acc, float all_sum, int64_t D) {
  V inverse = splat(1.0f / all_sum);
  map(o, all_acc, D, [=](V x) PITH_LAMBDA { return x * inverse; });
}

// All chunks, merged.
template <class Pages>
static void attend(Block& b, Pages& pages) {
  int64_t last = end_chunk(b, b.n - 1);
  for (int64_t chunk = first_chunk(b, 0); chunk < last; chunk++) {
    attend_chunk(b, pages, chunk);
    for (int r = 0; r < b.n; r++)
      if (chunk >= first_chunk(b, r) && chunk < end_chunk(b, r))
        merge(b.all_acc + r * b.Dp, &b.all_top[r], &b.all_sum[r], b.acc + r * b.Dp, b.top[r], b.sum[r], b.Dp,
              chunk == first_chunk(b, r));
  }
}

// --- Sharing ----------------------------------------------------------------------------------------------------------

// Units in order, so that each thread gets about the same cost: the middle of a unit decides.
struct Shares {
  int64_t total, threads, passed;
  int64_t owner(int64_t cost) {
    int64_t middle = passed + cost / 2;
    passed += cost;
    return total > 0 ? middle * threads / total : 0;
  }
};

// Zeros for tokens that belong to no segment.
PITH_INLINE void clear_uncovered(const Run& run, float* y, const int32_t* segments, int64_t S, int64_t T, int64_t cols,
                                 int thread) {
  int64_t covered = 0, begin, end;
  for (int64_t s = 0; s < S; s++) covered += segments[s * 4 + 1];
  if (covered == T) return;
  share(T, 1, run.threads, thread, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    bool found = false;
    for (int64_t s = 0; s < S; s++) found |= t >= segments[s * 4] && t < segments[s * 4] + segments[s * 4 + 1];
    if (!found) clear(y + t * cols, cols);
  }
}
