// The products of gemm.h with both operands rounded to bf16 while they are packed and sums in f32: twice as many
// multiplications an instruction, on processors with AVX512-BF16. Elsewhere `bf16_products` is false and nobody calls these.
// Included inside `namespace pith::<isa> {`.
//
// Every element of C is a chain over pairs of k in ascending order, from 0 or what C holds: vdpbf16ps adds a pair's two
// products as the processor defines it (subnormals are 0). Neither the tile, the cut along K nor the thread changes it.
#pragma once
#include "gemm.h"

#if defined(__AVX512F__) && defined(__x86_64__)
#define PITH_BF16 __attribute__((target("avx512bf16")))

static bool bf16_products() { return __builtin_cpu_supports("avx512bf16"); }

constexpr int64_t KP = 256;  // pairs of k packed at a time: whole groups of 16, to which what is packed is filled up with zeros
constexpr int64_t MC_TILES = 128;  // as MC, where rows are in tiles of 16
constexpr int64_t PAIRS_B = KP * NC, PAIRS_A = KP * MC_TILES, PAIRS_T = KP * 2 * 32;
PITH_INLINE int64_t whole_pairs(int64_t kc) { return (kc + 31) / 32 * 16; }
static_assert((PAIRS_B + PAIRS_A + PAIRS_T) * 4 <= int64_t(LOCAL_BYTES));

// Pairs (lo, hi) of 16 columns as words.
PITH_BF16 PITH_INLINE __m512i pair_up(__m512 lo, __m512 hi) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                         20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
}

// C[i][piece j] (+)= Σ over pairs: A(i, k) = a[i * rs + k * cs], B panels `step` words apart, (k, column) at k * 16 + column.
template <int M, int N>
PITH_BF16 static void micro_bf16(float* c, int64_t ldc, const uint32_t* a, int64_t rs, int64_t cs, const uint32_t* b,
                                 int64_t step, int64_t K, bool add) {
  __m512 acc[M][N];
#pragma GCC unroll 8
  for (int i = 0; i < M; i++)
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) acc[i][j] = add ? _mm512_loadu_ps(c + i * ldc + j * 16) : _mm512_setzero_ps();
  for (int64_t k = 0; k < K; k++) {
    __m512bh w[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) w[j] = (__m512bh)_mm512_loadu_si512(b + j * step);
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) {
      __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[i * rs]);
#pragma GCC unroll 8
      for (int j = 0; j < N; j++) acc[i][j] = _mm512_dpbf16_ps(acc[i][j], x, w[j]);
    }
    a += cs;
    b += 16;
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; i++)
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) _mm512_storeu_ps(c + i * ldc + j * 16, acc[i][j]);
}

template <int N>
static void micro_rows_bf16(int64_t m, float* c, int64_t ldc, const uint32_t* a, int64_t rs, int64_t cs, const uint32_t* b,
                            int64_t step, int64_t K, bool add) {
  switch (m) {
    case 1: return micro_bf16<1, N>(c, ldc, a, rs, cs, b, step, K, add);
    case 2: return micro_bf16<2, N>(c, ldc, a, rs, cs, b, step, K, add);
    case 3: return micro_bf16<3, N>(c, ldc, a, rs, cs, b, step, K, add);
    case 4: return micro_bf16<4, N>(c, ldc, a, rs, cs, b, step, K, add);
    case 5: return micro_bf16<5, N>(c, ldc, a, rs, cs, b, step, K, add);
    case 6: return micro_bf16<6, N>(c, ldc, a, rs, cs, b, step, K, add);
  }
}

// M rows with a strip of 1 .. 4 panels.
static void strip_bf16(float* c, int64_t ldc, int64_t M, const uint32_t* a, int64_t tile, int64_t rs, int64_t cs,
                       const uint32_t* b, int64_t step, int64_t panels, int64_t K, bool add) {
  for (int64_t first = 0; first < panels;) {
    int64_t n = panels - first >= 4 ? 4 : panels - first >= 2 ? 2 : 1;
    for (int64_t i = 0; i < M; i += MR) {
      int64_t m = M - i < MR ? M - i : MR;
      float* ci = c + i * ldc + first * 16;
      const uint32_t *ai = a + i / MR * tile, *bi = b + first * step;
      if (n == 4) micro_rows_bf16<4>(m, ci, ldc, ai, rs, cs, bi, step, K, add);
      else if (n == 2) micro_rows_bf16<2>(m, ci, ldc, ai, rs, cs, bi, step, K, add);
      else micro_rows_bf16<1>(m, ci, ldc, ai, rs, cs, bi, step, K, add);
    }
    first += n;
  }
}

// --- Packing: kc columns of K become (kc + 1) / 2 pairs, the last perhaps with a zero --------------------------------------

// n rows of 32 or fewer floats as they lie, pairs of each row together: dst[r * stride + pair].
PITH_BF16 static void pair_rows(uint32_t* dst, int64_t stride, const float* src, int64_t ld, int64_t n, int64_t kc) {
  for (int64_t r = 0; r < n; r++)
    for (int64_t k = 0; k < kc; k += 32) {
      const float* from = src + r * ld + k;
      int64_t left = kc - k;
      if (left >= 32) {
        _mm512_storeu_si512(dst + r * stride + k / 2,
                            (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from)));
        continue;
      }
      __m512 lo = (__m512)load_upto(from, left), hi = left > 16 ? (__m512)load_n(from + 16, left - 16) : _mm512_setzero_ps();
      _mm512_mask_storeu_epi32(dst + r * stride + k / 2, (__mmask16)((1u << (left + 1) / 2) - 1),
                               (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
    }
}

// `cols` columns of kc rows `ld` apart, pairs of rows: dst[pair * 16 + column], 16 columns.
PITH_BF16 static void pair_columns(uint32_t* dst, const float* src, int64_t ld, int64_t cols, int64_t kc) {
  int64_t k = 0;
  if (cols >= 16)
    for (; k + 2 <= kc; k += 2)
      _mm512_storeu_si512(dst + k * 8, pair_up(_mm512_loadu_ps(src + k * ld), _mm512_loadu_ps(src + (k + 1) * ld)));
  for (; k < kc; k += 2) {
    __m512 lo = (__m512)load_upto(src + k * ld, cols);
    __m512 hi = k + 1 < kc ? (__m512)load_upto(src + (k + 1) * ld, cols) : _mm512_setzero_ps();
    _mm512_storeu_si512(dst + k * 8, pair_up(lo, hi));
  }
}

// One panel of wᵀ, w's rows `ld` apart, n of them: dst[pair * 16 + row].
PITH_BF16 static void pair_transposed(uint32_t* dst, const float* src, int64_t ld, int64_t n, int64_t kc) {
  for (int64_t k = 0; k < kc; k += 32) {
    __m512i rows[16];
    int64_t left = kc - k;
    for (int64_t r = 0; r < 16; r++) {
      const float* from = src + r * ld + k;
      __m512 lo = _mm512_setzero_ps(), hi = lo;
      if (r < n) {
        lo = (__m512)load_upto(from, left);
        if (left > 16) hi = (__m512)load_upto(from + 16, left - 16);
      }
      rows[r] = (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
    }
    transpose16(rows);
    int64_t pairs = left >= 32 ? 16 : (left + 1) / 2;
    for (int64_t i = 0; i < pairs; i++) _mm512_storeu_si512(dst + (k / 2 + i) * 16, rows[i]);
  }
}

// B = wᵀ, panels of w's rows p ..., columns k ... k + kc. `temporary`: PAIRS_T floats.
static void pack_nt_bf16(uint32_t* dst, const Tensor& w, int64_t p, int64_t panels, int64_t k, int64_t kc, float* temporary) {
  for (int64_t i = 0; i < panels; i++, dst += whole_pairs(kc) * 16) {
    int64_t row = (p + i) * 16, n = w.rows - row < 16 ? w.rows - row : 16;
    if (w.packed) {
      tile(temporary, w.type, w.data + (p + i) * panel_bytes(w.type, w.cols), k, kc);
      pair_columns(dst, temporary, 16, 16, kc);
    } else {
      pair_transposed(dst, (const float*)w.data + row * w.cols + k, w.cols, n, kc);
    }
  }
}

// B = a dense matrix as it lies: panels of its columns p ..., rows k ... k + kc.
static void pack_nn_bf16(uint32_t* dst, const float* b, int64_t cols, int64_t p, int64_t panels, int64_t k, int64_t kc) {
  int64_t pairs = whole_pairs(kc);
  for (int64_t j = 0; j < kc; j += 16)  // a few rows at a time: whole stretches of memory are read
    for (int64_t i = 0; i < panels; i++) {
      int64_t column = (p + i) * 16;
      pair_columns(dst + i * pairs * 16 + j * 8, b + (k + j) * cols + column, cols, cols - column, kc - j < 16 ? kc - j : 16);
    }
}

// The same of a packed weight.
static void pack_nn_packed_bf16(uint32_t* dst, const Tensor& w, int64_t p, int64_t panels, int64_t k, int64_t kc,
                                float* temporary) {
  int64_t pairs = whole_pairs(kc);
  for (int64_t i = 0; i < panels; i += 2) {
    int64_t n = panels - i < 2 ? panels - i : 2;
    pack_nn_packed(temporary, w, p + i, n, k, kc);
    for (int64_t q = 0; q < n; q++) pair_columns(dst + (i + q) * pairs * 16, temporary + q * kc * 16, 16, 16, kc);
  }
}

// m rows of aᵀ (columns of a, `cs` apart along k) in tiles of MR: dst[tile * MR * pairs + pair * MR + row].
PITH_BF16 static void pair_tiles(uint32_t* dst, const float* a, int64_t cs, int64_t m, int64_t kc) {
  int64_t pairs = (kc + 1) / 2;
  for (int64_t k = 0; k < kc; k += 2) {
    const float *lo = a + k * cs, *hi = lo + cs;
    uint32_t words[MC + 16];
    for (int64_t i = 0; i < m; i += 16) {
      __m512 high = k + 1 < kc ? (__m512)load_upto(hi + i, m - i) : _mm512_setzero_ps();
      _mm512_storeu_si512(words + i, pair_up((__m512)load_upto(lo + i, m - i), high));
    }
    uint32_t* to = dst + k / 2 * MR;
    for (int64_t i = 0; i < m; i += MR, to += MR * pairs) __builtin_memcpy(to, words + i, MR * 4);
  }
}

#include "gemm_tiles.h"

// As `gemm`; `pack(dst, p, panels, k, kc, temporary)`. A lies along k (cs 1) or its rows lie side by side (rs 1).
template <class Pack>
static void gemm_bf16(float* c, int64_t ldc, int64_t N, int64_t M, int64_t K, const float* a, int64_t rs, int64_t cs,
                      int64_t p0, int64_t p1, bool add, bool tiles, uint8_t* local, Pack pack) {
  uint32_t *bp = (uint32_t*)local, *ap = bp + PAIRS_B;
  float* temporary = (float*)(ap + PAIRS_A);
  if (K == 0 && !add) {
    int64_t end = p1 * 16 < N ? p1 * 16 : N;
    for (int64_t i = 0; i < M; i++)
      for (int64_t j = p0 * 16; j < end; j++) c[i * ldc + j] = 0;
  }
  if (tiles) tiles_begin();
  const int64_t most = tiles ? MC_TILES : MC;
  for (int64_t p = p0; p < p1; p += NC / 16) {
    int64_t panels = p1 - p < NC / 16 ? p1 - p : NC / 16;
    for (int64_t k = 0; k < K; k += KP * 2) {
      int64_t kc = K - k < KP * 2 ? K - k : KP * 2, pairs = (kc + 1) / 2, stride = whole_pairs(kc), step = stride * 16;
      bool more = add || k > 0;
      pack(bp, p, panels, k, kc, temporary);
      for (int64_t q = 0; q < panels && pairs < stride; q++)
        __builtin_memset(bp + q * step + pairs * 16, 0, size_t(stride - pairs) * 64);
      for (int64_t i = 0; i < M; i += most) {
        int64_t m = M - i < most ? M - i : most, tile = MR * pairs, trs = pairs, tcs = 1;
        const float* at = a + i * rs + k * cs;
        if (tiles) {
          int64_t column = p * 16, width = N - column < panels * 16 ? N - column : panels * 16;
          if (cs == 1) tile_rows(ap, at, rs, m, kc);
          else tile_columns(ap, at, cs, m, kc);
          block_tiles(c + i * ldc + column, ldc, m, width, ap, bp, step, stride / GROUP, more);
          continue;
        }
        if (cs == 1)
          pair_rows(ap, pairs, at, rs, m, kc);
        else
          pair_tiles(ap, at, cs, m, kc), trs = 1, tcs = MR;
        for (int64_t q = 0; q < panels; q += 4) {
          int64_t n = panels - q < 4 ? panels - q : 4, column = (p + q) * 16;
          const uint32_t* b = bp + q * step;
          float* ct = c + i * ldc + column;
          if (column + n * 16 <= N) {
            strip_bf16(ct, ldc, m, ap, tile, trs, tcs, b, step, n, pairs, more);
            continue;
          }
          float edge[MR * STRIP] = {};
          int64_t width = N - column;
          for (int64_t t = 0; t < m; t += MR) {
            int64_t rows = m - t < MR ? m - t : MR;
            for (int64_t r = 0; r < rows && more; r++)
              for (int64_t j = 0; j < width; j++) edge[r * STRIP + j] = ct[(t + r) * ldc + j];
            strip_bf16(edge, STRIP, rows, ap + t / MR * tile, tile, trs, tcs, b, step, n, pairs, more);
            for (int64_t r = 0; r < rows; r++)
              for (int64_t j = 0; j < width; j++) ct[(t + r) * ldc + j] = edge[r * STRIP + j];
          }
        }
      }
    }
  }
  if (tiles) tiles_end();
}
#else
PITH_INLINE bool bf16_products() { return false; }
#endif

// --- Products as kernels call them, in f32 or, where asked for and possible, in bf16 ---------------------------------------

// This thread's panels p0 .. p1 of C [M, N] (+)= A wᵀ, A's rows `rs` apart; w [N, K] of any type.
static void times_transposed(float* c, int64_t ldc, int64_t M, const float* a, int64_t rs, const Tensor& w, int64_t p0,
                             int64_t p1, bool add, [[maybe_unused]] bool bf16, const Run& run, int thread) {
#if defined(PITH_BF16)
  if (bf16)
    return gemm_bf16(c, ldc, w.rows, M, w.cols, a, rs, 1, p0, p1, add, run.tiles, run.local[thread],
                     [&](uint32_t* dst, int64_t p, int64_t panels, int64_t k, int64_t kc, float* temporary) {
                       pack_nt_bf16(dst, w, p, panels, k, kc, temporary);
                     });
#endif
  gemm(c, ldc, w.rows, M, w.cols, a, rs, 1, p0, p1, add, run.local[thread],
       [&](float* dst, int64_t p, int64_t panels, int64_t k, int64_t kc) { pack_nt(dst, w, p, panels, k, kc); });
}

// C [M, K] (+)= A w, w [N, K] of any type.
static void times_weight(float* c, int64_t ldc, int64_t M, const float* a, int64_t rs, const Tensor& w, int64_t p0, int64_t p1,
                         bool add, [[maybe_unused]] bool bf16, const Run& run, int thread) {
#if defined(PITH_BF16)
  if (bf16)
    return gemm_bf16(c, ldc, w.cols, M, w.rows, a, rs, 1, p0, p1, add, run.tiles, run.local[thread],
                     [&](uint32_t* dst, int64_t p, int64_t panels, int64_t k, int64_t kc, float* temporary) {
                       if (w.packed)
                         pack_nn_packed_bf16(dst, w, p, panels, k, kc, temporary);
                       else
                         pack_nn_bf16(dst, (const float*)w.data, w.cols, p, panels, k, kc);
                     });
#endif
  gemm(c, ldc, w.cols, M, w.rows, a, rs, 1, p0, p1, add, run.local[thread],
       [&](float* dst, int64_t p, int64_t panels, int64_t k, int64_t kc) {
         if (w.packed)
           pack_nn_packed(dst, w, p, panels, k, kc);
         else
           pack_nn(dst, (const float*)w.data, w.cols, p, panels, k, kc);
       });
}

// C [M, K] (+)= aᵀ b, a's rows `lda` apart, T of them; b [T, K] dense.
static void transposed_times(float* c, int64_t ldc, int64_t M, int64_t T, const float* a, int64_t lda, const float* b,
                             int64_t K, int64_t p0, int64_t p1, bool add, [[maybe_unused]] bool bf16, const Run& run, int thread) {
#if defined(PITH_BF16)
  if (bf16)
    return gemm_bf16(c, ldc, K, M, T, a, 1, lda, p0, p1, add, run.tiles, run.local[thread],
                     [&](uint32_t* dst, int64_t p, int64_t panels, int64_t k, int64_t kc, float*) {
                       pack_nn_bf16(dst, b, K, p, panels, k, kc);
                     });
#endif
  gemm(c, ldc, K, M, T, a, 1, lda, p0, p1, add, run.local[thread],
       [&](float* dst, int64_t p, int64_t panels, int64_t k, int64_t kc) { pack_nn(dst, b, K, p, panels, k, kc); });
}

// What y is added to, if anything, comes first: this thread's part of it.
static void begin_with(float* y, const Tensor* added, int64_t N, const Part& s) {
  if (!added) return;
  int64_t column = s.p0 * 16, end = s.p1 * 16 < N ? s.p1 * 16 : N;
  for (int64_t i = s.m0; i < s.m1 && column < end; i++)
    __builtin_memcpy(y + i * N + column, (const float*)added->data + i * N + column, size_t(end - column) * 4);
}

// [y [T, N]], [x [T, K], w [N, K], (added)]: x wᵀ in bf16, or f32 where that is not possible.
static void matmul_nt_bf16(const Run& run, const Node& node, int thread) {
  const Tensor &y = *node.t[0], &x = *node.t[1], &w = *node.t[2];
  const Tensor* added = node.ninputs > 2 ? node.t[3] : nullptr;
  int64_t N = w.rows, K = w.cols, T = N > 0 ? y.rows * y.cols / N : 0;
  Part s = part_of(T, N, run.threads, thread, run.tiles);
  begin_with((float*)y.data, added, N, s);
  times_transposed((float*)y.data + s.m0 * N, N, s.m1 - s.m0, (const float*)x.data + s.m0 * K, K, w, s.p0, s.p1, added,
                   bf16_products(), run, thread);
}

// [y [T, K]], [x [T, N], w [N, K], (added)]; ints: bf16. x w; w of any type, packed or dense.
static void matmul_nn(const Run& run, const Node& node, int thread) {
  const Tensor &y = *node.t[0], &x = *node.t[1], &w = *node.t[2];
  const Tensor* added = node.ninputs > 2 ? node.t[3] : nullptr;
  int64_t N = w.rows, K = w.cols, T = N > 0 ? x.rows * x.cols / N : 0;
  bool bf16 = node.i[0] && bf16_products();
  Part s = part_of(T, K, run.threads, thread, bf16 && run.tiles);
  begin_with((float*)y.data, added, K, s);
  times_weight((float*)y.data + s.m0 * K, K, s.m1 - s.m0, (const float*)x.data + s.m0 * N, N, w, s.p0, s.p1, added,
               bf16, run, thread);
}

// C [N, K] (+)= aᵀ b, a [T, N], b [T, K].
static void product_tn(const Run& run, const Node& node, bool add, int thread) {
  const Tensor &a = *node.t[1], &b = *node.t[2];
  bool bf16 = node.i[0] && bf16_products();
  Part s = part_of(a.cols, b.cols, run.threads, thread, bf16 && run.tiles);
  transposed_times((float*)node.t[0]->data + s.m0 * b.cols, b.cols, s.m1 - s.m0, a.rows, (const float*)a.data + s.m0, a.cols,
                   (const float*)b.data, b.cols, s.p0, s.p1, add, bf16, run, thread);
}
// [y], [a, b]; ints: bf16
static void matmul_tn(const Run& run, const Node& node, int thread) { product_tn(run, node, false, thread); }
// [], [sum (w), a, b]; ints: bf16
static void accumulate_tn(const Run& run, const Node& node, int thread) { product_tn(run, node, true, thread); }

#define PITH_GEMM \
  {"matmul_nn", matmul_nn, nullptr}, {"matmul_tn", matmul_tn, nullptr}, {"accumulate_tn", accumulate_tn, nullptr}
