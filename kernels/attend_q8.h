// Pages in q8_0: 32 components of a key or value share an f16 scale. A block of the pool (one page, layer and head) of head
// size D, nb = ⌈D / 32⌉: first K as 4 tiles of 16 positions, each of nb panels of 544 bytes (16 f16 scales, then component d
// of the 16 positions at 32 + 16 d); then V: f16 scales [64, nb], then codes [64, 32 nb]. Components D.. are zero codes.
//
// A code times its scale is exact in f32, so these products have the bits of the same numbers in f32 pages (attend.h).
#pragma once
#include "attend.h"
#include "int8.h"

struct Q8 {  // a byte of a block
  uint8_t byte;
};
constexpr int64_t Q8_PANEL = 544;
PITH_INLINE int64_t q8_blocks(int64_t D) { return (D + 31) / 32; }
PITH_INLINE int64_t q8_keys(int64_t D) { return PAGE / 16 * q8_blocks(D) * Q8_PANEL; }
PITH_INLINE int64_t q8_bytes(int64_t D) { return 2 * q8_keys(D); }

// --- Writing ----------------------------------------------------------------------------------------------------------

// Scale and codes of up to 32 components: d = max|x| / 127, code = round(x / d), to nearest even; d is kept in f16.
PITH_INLINE uint16_t q8_round(uint8_t* codes, const float* x, int64_t n) {
  float padded[32] = {};
  copy(padded, x, n);
  float d = largest(padded) / 127.0f;
  if (d > 65504.0f) d = 65504.0f;
  round_block(codes, padded, d >= 0x1p-126f ? 1.0f / d : 0.0f);
  float scales[16] = {d};
  uint16_t halves[16];
  store_f16(halves, load(scales));
  return halves[0];
}
PITH_INLINE void q8_store(uint8_t* block, int64_t slot, const float* k, const float* v, int64_t D) {
  int64_t nb = q8_blocks(D);
  uint8_t codes[32];
  uint8_t* values = block + q8_keys(D);
  for (int64_t b = 0; b < nb; b++) {
    int64_t n = D - b * 32 < 32 ? D - b * 32 : 32;
    uint8_t* panel = block + (slot / 16 * nb + b) * Q8_PANEL;
    ((uint16_t*)panel)[slot % 16] = q8_round(codes, k + b * 32, n);
    for (int i = 0; i < 32; i++) panel[32 + i * 16 + slot % 16] = codes[i];
    ((uint16_t*)values)[slot * nb + b] = q8_round(values + PAGE * nb * 2 + (slot * nb + b) * 32, v + b * 32, n);
  }
}

// --- Reading ----------------------------------------------------------------------------------------------------------

// Rows that share the work of turning codes into floats.
constexpr int Q8_ROWS = ATTEND_VECTORS == 4 ? 4 : 2;
template <int R>
struct Rows_ {
  static constexpr int n = R;
};
template <class F>
PITH_INLINE void q8_rows(int left, F f) {
  if (left >= Q8_ROWS)
    f(Rows_<Q8_ROWS>());
  else if (left == 1)
    f(Rows_<1>());
  else if (left == 2)
    f(Rows_<2>());
  else
    f(Rows_<Q8_ROWS == 4 ? 3 : 2>());
}

template <int R, int N>
static void q8_scores(float* c, const float* q, const uint8_t* k, int64_t D, int64_t tile, int64_t ahead) {
  V sum[R][N];
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) sum[r][n] = zero();
  for (int64_t from = 0; from < D; from += 32, k += Q8_PANEL) {
    V scale[N];
    for (int n = 0; n < N; n++) scale[n] = load_f16((const uint16_t*)(k + n * tile));
    int64_t count = D - from < 32 ? D - from : 32;
    for (int64_t i = 0; i < count; i++) {
      V w[N];
      for (int n = 0; n < N; n++) w[n] = load_i8(k + n * tile + 32 + i * 16) * scale[n];
      if (ahead && i % 4 == 0)
        for (int n = 0; n < N; n++) __builtin_prefetch(k + n * tile + 32 + i * 16 + ahead, 0, 2);
      for (int r = 0; r < R; r++) {
        V x = splat(q[r * D + from + i]);
        for (int n = 0; n < N; n++) sum[r][n] = fma(x, w[n], sum[r][n]);
      }
    }
  }
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) store(c + r * PAGE + n * 16, sum[r][n]);
}

// Scores of `rows` rows with the tiles of a page.
static void score(Block& b, int r0, int rows, int tiles, const Q8* page, int64_t ahead) {
  const uint8_t* k = &page->byte;
  int64_t tile = q8_blocks(b.D) * Q8_PANEL;
  constexpr int N = ATTEND_VECTORS == 4 ? 2 : 1;
  for (int t = 0; t < tiles;) {
    bool wide = N == 2 && tiles - t >= 2;
    for (int r = 0; r < rows; r += Q8_ROWS) {
      float* c = b.scores + (r0 + r) * PAGE + t * 16;
      const float* q = b.q + (r0 + r) * b.D;
      const uint8_t* from = k + t * tile;
      int64_t fetch = r == 0 ? ahead : 0;
      q8_rows(rows - r, [&](auto R) {
        wide ? q8_scores<R.n, N>(c, q, from, b.D, tile, fetch) : q8_scores<R.n, 1>(c, q, from, b.D, tile, fetch);
      });
    }
    t += wide ? 2 : 1;
  }
}

// acc[r][16 n ..] += Σ over positions of weight · value, for two vectors: the 32 components that share a scale.
template <int R, int N>
static void q8_values(float* acc, int64_t Dp, const float* weights, const float* scales, const uint8_t* codes, int64_t nb,
                      int64_t from, int64_t to) {
  V sum[R][N];
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) sum[r][n] = load(acc + r * Dp + n * 16);
  for (int64_t p = from; p < to; p++) {
    V scale = splat(scales[p * nb]), w[N];
    for (int n = 0; n < N; n++) w[n] = load_i8(codes + p * nb * 32 + n * 16) * scale;
    for (int r = 0; r < R; r++) {
      V x = splat(weights[r * PAGE + p]);
      for (int n = 0; n < N; n++) sum[r][n] = fma(x, w[n], sum[r][n]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) store(acc + r * Dp + n * 16, sum[r][n]);
}

// acc of `rows` rows from r += weights x values at positions [from, to) of a page. The page's scales lie in b.v as floats.
static void weigh_values(Block& b, int r, int rows, const Q8* v, int64_t from, int64_t to, int64_t) {
  int64_t nb = q8_blocks(b.D);
  const uint8_t* codes = &v->byte + PAGE * nb * 2;
  if (from >= to) return;
  for (int64_t block = 0; block < nb; block++) {
    bool two = b.Dp - block * 32 >= 32;
    for (int i = 0; i < rows; i += Q8_ROWS) {
      float* acc = b.acc + (r + i) * b.Dp + block * 32;
      const float *weights = b.scores + (r + i) * PAGE, *scales = b.v + block;
      const uint8_t* at = codes + block * 32;
      q8_rows(rows - i, [&](auto R) {
        two ? q8_values<R.n, 2>(acc, b.Dp, weights, scales, at, nb, from, to)
            : q8_values<R.n, 1>(acc, b.Dp, weights, scales, at, nb, from, to);
      });
    }
  }
}

// A block as f32 pages: keys [tiles, Dp, 16], values [tiles · 16, Dp].
static void q8_widen(float* k, float* v, const uint8_t* block, int64_t D, int64_t Dp, int tiles) {
  int64_t nb = q8_blocks(D);
  for (int t = 0; t < tiles; t++)
    for (int64_t b = 0; b < nb; b++) {
      const uint8_t* panel = block + (t * nb + b) * Q8_PANEL;
      V scale = load_f16((const uint16_t*)panel);
      int64_t n = Dp - b * 32 < 32 ? Dp - b * 32 : 32;
      for (int64_t i = 0; i < n; i++) store(k + (t * Dp + b * 32 + i) * 16, load_i8(panel + 32 + i * 16) * scale);
    }
  const uint8_t* values = block + q8_keys(D);
  float scales[16];
  for (int64_t i = 0; i < tiles * 16 * nb; i++) {
    if (i % 16 == 0) store(scales, load_f16((const uint16_t*)values + i));
    V scale = splat(scales[i % 16]);
    const uint8_t* codes = values + PAGE * nb * 2 + i * 32;
    int64_t p = i / nb, d = i % nb * 32;
    store(v + p * Dp + d, load_i8(codes) * scale);
    if (d + 16 < Dp) store(v + p * Dp + d + 16, load_i8(codes + 16) * scale);
  }
}
