// The block products of gemm_bf16.h on the matrix tiles of newer Xeons (AMX): 16 rows and 16 columns an instruction, thirty
// times vdpbf16ps there. Included by gemm_bf16.h; run only where the program was made for the kernels "amx".
//
// Every element of C is a chain over groups of 16 pairs of k in ascending order; a group's even products and its odd ones are
// summed apart, as the processor defines it. Groups lie where they lie in K: neither the cut nor the thread changes them.
#pragma once

constexpr int64_t GROUP = 16;  // rows of a tile, and pairs of k in one: 64 bytes a row
constexpr int64_t TILE = GROUP * 16;

#if defined(PITH_TILES)
#define PITH_AMX __attribute__((target("amx-tile,amx-bf16")))

struct TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// Compilers do not know that tiles read and write memory.
PITH_INLINE void tiles_touch_memory() { __asm__ volatile("" ::: "memory"); }

// Eight tiles of 16 rows of 64 bytes, for this thread until tiles_end.
PITH_AMX static void tiles_begin() {
  TileConfig config;
  for (int i = 0; i < 8; i++) config.row_bytes[i] = 64, config.rows[i] = 16;
  __asm__ volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}
PITH_AMX static void tiles_end() { _tile_release(); }

// C [16 TALL, 16 WIDE] (+)= A's tiles times B's panels (`step` words apart), over `groups` groups. A lies in tiles, those of
// the same rows behind each other.
template <int TALL, int WIDE>
PITH_AMX static void micro_tiles(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b, int64_t step,
                                 int64_t groups, bool add) {
  constexpr bool R = TALL == 2, Q = WIDE == 2;
  tiles_touch_memory();
  if (add) {
    _tile_loadd(0, c, ldc * 4);
    if (Q) _tile_loadd(1, c + 16, ldc * 4);
    if (R) _tile_loadd(2, c + 16 * ldc, ldc * 4);
    if (R && Q) _tile_loadd(3, c + 16 * ldc + 16, ldc * 4);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t g = 0; g < groups; g++, a += TILE, b += TILE) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (Q) _tile_loadd(7, b + step, 64);
    if (Q) _tile_dpbf16ps(1, 4, 7);
    if (R) _tile_loadd(5, a + groups * TILE, 64);
    if (R) _tile_dpbf16ps(2, 5, 6);
    if (R && Q) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, ldc * 4);
  if (Q) _tile_stored(1, c + 16, ldc * 4);
  if (R) _tile_stored(2, c + 16 * ldc, ldc * 4);
  if (R && Q) _tile_stored(3, c + 16 * ldc + 16, ldc * 4);
  tiles_touch_memory();
}

// `m` rows of up to 32 and `n` columns of up to 32: what does not fill its tiles goes through `edge`.
static void corner_tiles(float* c, int64_t ldc, int64_t m, int64_t n, const uint32_t* a, const uint32_t* b,
                         int64_t step, int64_t groups, bool add) {
  bool tall = m > 16, wide = n > 16;
  alignas(64) float edge[32 * 32];
  bool whole = (m & 15) == 0 && (n & 15) == 0;
  float* to = whole ? c : edge;
  int64_t ld = whole ? ldc : 32;
  if (!whole && add)
    for (int64_t i = 0; i < m; i++) __builtin_memcpy(edge + i * 32, c + i * ldc, size_t(n) * 4);
  if (tall && wide) micro_tiles<2, 2>(to, ld, a, b, step, groups, add);
  else if (tall) micro_tiles<2, 1>(to, ld, a, b, step, groups, add);
  else if (wide) micro_tiles<1, 2>(to, ld, a, b, step, groups, add);
  else micro_tiles<1, 1>(to, ld, a, b, step, groups, add);
  for (int64_t i = 0; i < m && !whole; i++) __builtin_memcpy(c + i * ldc, edge + i * 32, size_t(n) * 4);
}

// M rows, N columns. Groups are filled up with zeros.
static void block_tiles(float* c, int64_t ldc, int64_t M, int64_t N, const uint32_t* a, const uint32_t* b,
                        int64_t step, int64_t groups, bool add) {
  for (int64_t j = 0; j < N; j += 32)
    for (int64_t i = 0; i < M; i += 32)
      corner_tiles(c + i * ldc + j, ldc, M - i < 32 ? M - i : 32, N - j < 32 ? N - j : 32,
                   a + i * groups * GROUP, b + j / 16 * step, step, groups, add);
}

// m rows of a, `ld` apart, as tiles of pairs.
PITH_BF16 static void tile_rows(uint32_t* dst, const float* a, int64_t ld, int64_t m, int64_t kc) {
  const int64_t groups = (kc + 31) / 32;
  for (int64_t r = 0; r < m; r++) {
    const float* from = a + r * ld;
    uint32_t* to = dst + r / 16 * groups * TILE + r % 16 * GROUP;
    for (int64_t k = 0; k < kc; k += 32, to += TILE) {
      __m512 lo = (__m512)load_upto(from + k, kc - k), hi = _mm512_setzero_ps();
      if (kc - k > 16) hi = (__m512)load_upto(from + k + 16, kc - k - 16);
      _mm512_store_si512(to, (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
    }
  }
}

// m rows of aᵀ (columns of a, `cs` apart along k) as tiles of pairs.
PITH_BF16 static void tile_columns(uint32_t* dst, const float* a, int64_t cs, int64_t m, int64_t kc) {
  const int64_t groups = (kc + 31) / 32;
  for (int64_t g = 0; g < groups; g++)
    for (int64_t i = 0; i < m; i += 16) {
      __m512i pairs[16];
      for (int64_t q = 0; q < 16; q++) {
        __m512 lo = _mm512_setzero_ps(), hi = lo;
        int64_t at = g * 32 + q * 2;
        if (at < kc) lo = (__m512)load_upto(a + at * cs + i, m - i);
        if (at + 1 < kc) hi = (__m512)load_upto(a + (at + 1) * cs + i, m - i);
        pairs[q] = pair_up(lo, hi);
      }
      transpose16(pairs);
      uint32_t* to = dst + i / 16 * groups * TILE + g * TILE;
      for (int64_t r = 0; r < 16; r++) _mm512_store_si512(to + r * 16, pairs[r]);
    }
}
#else
static void tiles_begin() {}
static void tiles_end() {}
static void block_tiles(float*, int64_t, int64_t, int64_t, const uint32_t*, const uint32_t*, int64_t, int64_t, bool) {}
static void tile_rows(uint32_t*, const float*, int64_t, int64_t, int64_t) {}
static void tile_columns(uint32_t*, const float*, int64_t, int64_t, int64_t) {}
#endif
