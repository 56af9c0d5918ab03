// Dense f32 products, C [M, N] = A [M, K] · B [K, N]: one register tile, B packed on the fly into 16-column panels.
// Rows of y = x wᵀ (nt), y = x w (nn) and y = aᵀ b (tn) are all C; only the packing of B and the strides of A differ.
// Included inside `namespace pith::<isa> {`.
//
// Every element of C is one chain fma(a, b, c) over k in ascending order, from 0 or what it is added to, whatever the tile,
// the cut along K (C is stored and loaded again) or the thread. So its bits depend on its row of A and column of B alone.
#pragma once
#include "transpose.h"
#include "types.h"

// --- The register tile ---------------------------------------------------------------------------------------------

// MR rows x NV pieces. One row alone takes GEMM_WIDE pieces, so that enough sums are under way.
#if defined(__AVX512F__)
constexpr int MR = 6, NV = 4, GEMM_WIDE = 4;
#elif defined(__AVX__)
constexpr int MR = 6, NV = 2, GEMM_WIDE = 8;
#elif defined(__aarch64__)
constexpr int MR = 5, NV = 4, GEMM_WIDE = 8;
#else
constexpr int MR = 4, NV = 2, GEMM_WIDE = 4;
#endif
constexpr int64_t KC = 256;      // rows of B packed at a time
constexpr int64_t STRIP = 64;    // columns that share a pass over A

template <int TYPE>
PITH_INLINE P load_weights(const uint8_t* p) {
  if constexpr (TYPE == F16) return widen_f16(load_piece16((const uint16_t*)p));
  if constexpr (TYPE == BF16) return widen_bf16(load_piece16((const uint16_t*)p));
  P v;
  get(v, (const float*)p);
  return v;
}

// C[i][piece j] (+)= Σ A(i, k) · B(k, piece j). A(i, k) = a[i * rs + k * cs]. B: panels `step` bytes apart, in which
// element (k, column) is at k * 16 + column; the first piece is number `first`.
template <int TYPE, int M, int N>
static void micro(float* c, int64_t ldc, const float* a, int64_t rs, int64_t cs, const uint8_t* b, int64_t step,
                  int first, int64_t K, bool add) {
  constexpr int SIZE = TYPE == F32 ? 4 : 2, PER = 16 / PIECE;
  P acc[M][N];
  const uint8_t* bp[(N + PER - 1) / PER];
  b += first / PER * step + first % PER * PIECE * SIZE;
#pragma GCC unroll 8
  for (int j = 0; j < (N + PER - 1) / PER; j++) bp[j] = b + j * step;
#pragma GCC unroll 8
  for (int i = 0; i < M; i++)
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) {
      if (add)
        get(acc[i][j], c + i * ldc + j * PIECE);
      else
        acc[i][j] = P{};
    }
  for (int64_t k = 0; k < K; k++) {
    P w[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) w[j] = load_weights<TYPE>(bp[j / PER] + j % PER * PIECE * SIZE);
#pragma GCC unroll 8
    for (int j = 0; j < (N + PER - 1) / PER; j++) bp[j] += 16 * SIZE;
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) {
      P x = a[i * rs] - P{};  // a broadcast: minus zero changes nothing, plus zero would
#pragma GCC unroll 8
      for (int j = 0; j < N; j++) acc[i][j] = fma(x, w[j], acc[i][j]);
    }
    a += cs;
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; i++)
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) put(c + i * ldc + j * PIECE, acc[i][j]);
}

// m rows (1 .. MR) with N pieces.
template <int TYPE, int N>
static void micro_rows(int64_t m, float* c, int64_t ldc, const float* a, int64_t rs, int64_t cs, const uint8_t* b,
                       int64_t step, int first, int64_t K, bool add) {
  switch (m) {
    case 1: return micro<TYPE, 1, N>(c, ldc, a, rs, cs, b, step, first, K, add);
    case 2: return micro<TYPE, 2, N>(c, ldc, a, rs, cs, b, step, first, K, add);
    case 3: return micro<TYPE, 3, N>(c, ldc, a, rs, cs, b, step, first, K, add);
    case 4: return micro<TYPE, 4, N>(c, ldc, a, rs, cs, b, step, first, K, add);
    case 5: return micro<TYPE, MR < 5 ? 1 : 5, N>(c, ldc, a, rs, cs, b, step, first, K, add);
    case 6: return micro<TYPE, MR < 6 ? 1 : 6, N>(c, ldc, a, rs, cs, b, step, first, K, add);
  }
}

// M rows of A with `panels` panels of B. Tiles of A's rows are `tile` floats apart (MR * rs if A is not packed).
template <int TYPE>
static void strip(float* c, int64_t ldc, int64_t M, const float* a, int64_t tile, int64_t rs, int64_t cs,
                  const uint8_t* b, int64_t step, int64_t panels, int64_t K, bool add) {
  int pieces = int(panels * (16 / PIECE));
  for (int first = 0; first < pieces;) {
    int left = pieces - first, n = M == 1 && left >= GEMM_WIDE ? GEMM_WIDE : left >= NV ? NV : 1;
    for (int64_t i = 0; i < M; i += MR) {
      int64_t m = M - i < MR ? M - i : MR;
      float* ci = c + i * ldc + first * PIECE;
      const float* ai = a + i / MR * tile;
      if (GEMM_WIDE != NV && n == GEMM_WIDE)
        micro<TYPE, 1, GEMM_WIDE>(ci, ldc, ai, rs, cs, b, step, first, K, add);
      else if (n == NV)
        micro_rows<TYPE, NV>(m, ci, ldc, ai, rs, cs, b, step, first, K, add);
      else
        micro_rows<TYPE, 1>(m, ci, ldc, ai, rs, cs, b, step, first, K, add);
    }
    first += n;
  }
}

// --- Packing B: dst[(panel * kc + k) * 16 + column], columns beyond the matrix are zeros ---------------------------

// B = wᵀ of a weight [N, K], packed or dense: panels of its rows p ..., columns k ... k + kc.
static void pack_nt(float* dst, const Tensor& w, int64_t p, int64_t panels, int64_t k, int64_t kc) {
  for (int64_t i = 0; i < panels; i++, dst += kc * 16) {
    if (w.packed) {
      tile(dst, w.type, w.data + (p + i) * panel_bytes(w.type, w.cols), k, kc);
    } else {
      int64_t row = (p + i) * 16, n = w.rows - row < 16 ? w.rows - row : 16;
      for (int64_t j = 0; j < kc; j += 16)
        transpose(dst + j * 16, (const float*)w.data + row * w.cols + k + j, w.cols, n, kc - j < 16 ? kc - j : 16);
    }
  }
}

// B = a dense matrix with `cols` columns, as it lies: panels of its columns p ..., rows k ... k + kc.
static void pack_nn(float* dst, const float* b, int64_t cols, int64_t p, int64_t panels, int64_t k, int64_t kc) {
  // Four panels side by side: whole stretches of memory are read, and what is written does not crowd one cache set.
  for (int64_t i = 0; i < panels; i += 4, dst += 4 * kc * 16) {
    int64_t column = (p + i) * 16, n = panels - i < 4 ? panels - i : 4;
    const float* row = b + k * cols + column;
    for (int64_t j = 0; j < kc; j++, row += cols)
      for (int64_t q = 0; q < n; q++) store(dst + (q * kc + j) * 16, load_upto(row + q * 16, cols - column - q * 16));
  }
}

// B = a packed weight [N, K] as it lies: panels of its columns p ..., rows k ... k + kc (k a multiple of 16; p even and
// `panels` whole blocks if quantized).
static void pack_nn_packed(float* dst, const Tensor& w, int64_t p, int64_t panels, int64_t k, int64_t kc) {
  float piece[BLOCK * 16];
  int64_t end = (p + panels) * 16;
  for (int64_t j = 0; j < kc; j += 16) {
    int64_t rows = kc - j < 16 ? kc - j : 16;
    const uint8_t* panel = w.data + (k + j) / 16 * panel_bytes(w.type, w.cols);
    for (int64_t c = p * 16; c < end; c += BLOCK) {
      int64_t n = w.cols - c < BLOCK ? w.cols - c : BLOCK;
      n = end - c < n ? end - c : n;
      tile(piece, w.type, panel, c, n);
      for (int64_t i = n; i < BLOCK; i++) store(piece + i * 16, zero());
      for (int64_t h = 0; h < BLOCK && c + h < end; h += 16) {
        float* to = dst + ((c + h - p * 16) / 16 * kc + j) * 16;
        transpose(to, piece + h * 16, 16, 16, rows);
      }
    }
  }
}

// --- C = A · B over the panels p0 .. p1 of C's columns -------------------------------------------------------------

// Scratch of one thread, in floats: B, then A.
constexpr int64_t NC = 512, MC = 120;
constexpr int64_t GEMM_B = KC * NC, GEMM_A = KC * MC;
static_assert((GEMM_A + GEMM_B) * 4 <= int64_t(LOCAL_BYTES));

// `pack(dst, p, panels, k, kc)` packs B. A is packed too where its rows do not lie along k (cs != 1). C has N columns, its rows
// are `ldc` apart. `add`: the product is added to what C holds.
template <class Pack>
static void gemm(float* c, int64_t ldc, int64_t N, int64_t M, int64_t K, const float* a, int64_t rs, int64_t cs, int64_t p0,
                 int64_t p1, bool add, uint8_t* local, Pack pack) {
  float *bp = (float*)local, *ap = bp + GEMM_B;
  if (K == 0 && !add) {
    int64_t end = p1 * 16 < N ? p1 * 16 : N;
    for (int64_t i = 0; i < M; i++)
      for (int64_t j = p0 * 16; j < end; j++) c[i * ldc + j] = 0;
  }
  for (int64_t p = p0; p < p1; p += NC / 16) {
    int64_t panels = p1 - p < NC / 16 ? p1 - p : NC / 16;
    for (int64_t k = 0; k < K; k += KC) {
      int64_t kc = K - k < KC ? K - k : KC;
      pack(bp, p, panels, k, kc);
      for (int64_t i = 0; i < M; i += MC) {
        int64_t m = M - i < MC ? M - i : MC, trs = rs, tcs = cs, tile = MR * rs;
        const float* at = a + i * rs + k * cs;
        if (cs != 1) {
          for (int64_t j = 0; j < kc; j++) {
            const float* from = at + j * cs;
            int64_t t = 0;
            for (; t + MR <= m && rs == 1; t += MR) __builtin_memcpy(ap + t * kc + j * MR, from + t, MR * 4);
            for (; t < m; t++) ap[(t - t % MR) * kc + j * MR + t % MR] = from[t * rs];
          }
          at = ap, trs = 1, tcs = MR, tile = MR * kc;
        }
        for (int64_t q = 0; q < panels; q += STRIP / 16) {
          int64_t n = panels - q < STRIP / 16 ? panels - q : STRIP / 16, column = (p + q) * 16;
          const uint8_t* b = (const uint8_t*)(bp + q * kc * 16);
          float* ct = c + i * ldc + column;
          if (column + n * 16 <= N) {
            strip<F32>(ct, ldc, m, at, tile, trs, tcs, b, kc * 64, n, kc, add || k > 0);
            continue;
          }
          // The last columns, which do not fill a panel: through a tile of their own.
          float edge[MR * STRIP] = {};
          int64_t width = N - column;
          for (int64_t t = 0; t < m; t += MR) {
            int64_t rows = m - t < MR ? m - t : MR;
            for (int64_t r = 0; r < rows && (add || k > 0); r++)
              for (int64_t j = 0; j < width; j++) edge[r * STRIP + j] = ct[(t + r) * ldc + j];
            strip<F32>(edge, STRIP, rows, at + t / MR * tile, tile, trs, tcs, b, kc * 64, n, kc, add || k > 0);
            for (int64_t r = 0; r < rows; r++)
              for (int64_t j = 0; j < width; j++) ct[(t + r) * ldc + j] = edge[r * STRIP + j];
          }
        }
      }
    }
  }
}

// This thread's part of an M x N result: panels of columns, or rows where there are few columns.
struct Part {
  int64_t m0, m1, p0, p1;
};
// `tiles`: multiplying costs little beside the packing of A, which each thread does for its rows.
static Part part_of(int64_t M, int64_t N, int threads, int thread, bool tiles = false) {
  int64_t panels = (N + 15) / 16;
  Part s = {0, M, 0, panels};
  if (tiles && M >= N)
    share(M, 32, threads, thread, &s.m0, &s.m1);
  else if (panels >= threads * 4 || panels * 16 > M)
    share(panels, panels >= threads * 8 ? 4 : 2, threads, thread, &s.p0, &s.p1);
  else
    share(M, MR, threads, thread, &s.m0, &s.m1);
  return s;
}
