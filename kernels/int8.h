// Products of quantized panels with int8 activations: 16 rows x N tokens, one pass over the panel.
// Included inside `namespace pith::<isa> {`. Knows bytes only: no tensors, no threads. What a type's panel holds is in
// codes.h; here is what all types and instruction sets share.
//
// Activations lie in tiles of N tokens. A tile is, for each block of 32 columns: N x 32 int8 q, N x f32 d, N x int32
// -8 · Σq (what takes the offset of unsigned weights out, and multiplies minima), N x int32 the same of the first 16
// columns; 44 bytes a token and block.
//
// Every instruction set, whatever N, does per row, token and block of 32 the same float operations, in ascending order
// of blocks, with exact integers s = Σ (w - zero) · q and S = -8 · Σq; weights are a · w + m, dx the scale of the tokens:
//   one scale                 y = fma(s, a · dx, y)
//   and a minimum             y = fma(fma(s, a, S · (m / -8)), dx, y)
//   two scales, of 16         y = fma(fma(s1, a1, s0 · a0), dx, y)
//   and two minima            y = fma(fma(S1, m1 / -8, fma(S0, m0 / -8, fma(s1, a1, s0 · a0))), dx, y)
// So a row's bits depend neither on N nor on where the tile starts.
#pragma once
#include "codes.h"
#include "types.h"
#include "vmath.h"

constexpr int64_t X_BYTES = 44;

// Tokens of the tile that starts when `left` of them are left: 16 at a time, then 8 if more than that, then the rest.
PITH_INLINE int64_t tile_tokens(int64_t left) { return left >= 16 ? 16 : left > 8 ? 8 : left; }

#define PITH_MEMBER inline __attribute__((always_inline))

// What an instruction set states in a file of its own:
//   largest(x)               the largest |x| of 32 floats. Magnitudes compare as integers, so a NaN is larger than all
//                            others and is not lost
//   round_block(q, x, inv)   the 32 products with `inv`, rounded to nearest even, as int8; gives their sum
//   prefetch(p, bytes)
//   UNROLL                   tokens of a tile whose products are written out one after the other
//   Tokens<N>                take(block): 32 columns of a tile's tokens, as Dots wants them
//   Dots<Format>             take(codes): eight groups of PIECE rows; add(s, tokens, i, from, to): s + their products
//                            with token i, of groups from .. to; ZERO: what is to be taken from each weight
#if defined(__AVX512VNNI__)
#include "int8_avx512.h"
#elif defined(__AVX2__)
#include "int8_avx2.h"
#elif defined(__aarch64__)
#include "int8_neon.h"
#elif defined(__wasm_simd128__)
#include "int8_wasm.h"
#else
#include "int8_plain.h"
#endif

// Rounds row x [K] to int8, as token i of a tile of n: d = max|x| / 127, q = round(x · (1 / d)).
static void round_row(uint8_t* tile, int64_t n, int64_t i, const float* x, int64_t K) {
  int64_t k = 0;
#if defined(__AVX512F__)
  while (k + BLOCK * 4 <= K) {
    float d[32], inverse[32];
    int64_t blocks = (K - k) / BLOCK & ~int64_t(3);
    if (blocks > 32) blocks = 32;
    for (int64_t b = 0; b < blocks; b += 4) scale_four(d + b, inverse + b, x + k + b * BLOCK);
    for (int64_t b = 0; b < blocks; b += 4, k += BLOCK * 4, tile += n * X_BYTES * 4)
      round_four(tile, n, i, x + k, d + b, inverse + b);
  }
#endif
  for (; k < K; k += BLOCK, tile += n * X_BYTES) {
    float d = largest(x + k) / 127.0f;
    // A scale below the normal numbers has no finite inverse: that block becomes zeros.
    int32_t whole = round_block(tile + i * 32, x + k, d >= 0x1p-126f ? 1.0f / d : 0.0f) * -8, first = 0;
    for (int j = 0; j < 16; j++) first += int8_t(tile[i * 32 + j]) * -8;
    __builtin_memcpy(tile + n * 32 + i * 4, &d, 4);
    __builtin_memcpy(tile + n * 36 + i * 4, &whole, 4);
    __builtin_memcpy(tile + n * 40 + i * 4, &first, 4);
  }
}

// The number at p in every lane.
PITH_INLINE PI every_int(const uint8_t* p) {
  int32_t v;
  __builtin_memcpy(&v, p, 4);
  return v - PI{};
}
PITH_INLINE P every_float(const uint8_t* p) {
  float v;
  __builtin_memcpy(&v, p, 4);
  return v - P{};  // minus zero changes nothing, plus zero would
}

// -ZERO · Σq from -8 · Σq.
template <int ZERO>
PITH_INLINE PI offset(PI sum) {
  if constexpr (ZERO == 0) return PI{};
  if constexpr (ZERO == 1) return sum >> 3;
  if constexpr (ZERO == 4) return sum >> 1;
  return sum << (ZERO == 16 ? 1 : ZERO == 32 ? 2 : ZERO == 128 ? 4 : 0);
}

// panel_tokens<TYPE>(y, w, x, n, blocks, ahead): y[i * 16 + r] = row r of the panel times token i of the tile of n
// (1 .. 8 or 16). `ahead` != 0: asks for the memory that lies so many bytes further on.
#if defined(__wasm_simd128__)
#include "int8_wasm_panels.h"
#else
// acc + what a block of 32 columns adds: of a token its scale dx, its sums q (whole, or of 16 columns each), and with them
// its products s; of PIECE rows the scales a and minima m (those times -1/8).
template <class F>
PITH_INLINE P add_sums(P acc, const P* s, const P* q, P dx, const P* a, const P* m) {
  if constexpr (F::PARTS == 1) {
    if constexpr (F::MIN) return fma(fma(s[0], a[0], q[0] * m[0]), dx, acc);
    return fma(s[0], a[0] * dx, acc);
  } else {
    P sum = fma(s[1], a[1], s[0] * a[0]);
    if constexpr (F::MIN) sum = fma(q[1], m[1], fma(q[0], m[0], sum));
    return fma(sum, dx, acc);
  }
}

// acc + 32 columns of PIECE rows times token i of the n at x.
template <class F, class T>
PITH_INLINE P add_block(P acc, const Dots<F>& dots, const T& tokens, const uint8_t* x, int64_t n, int i, const P* a,
                        const P* m) {
  constexpr int ZERO = Dots<F>::ZERO;
  PI whole = every_int(x + n * 36 + i * 4);
  P dx = every_float(x + n * 32 + i * 4), s[2], q[2];
  if constexpr (F::PARTS == 1) {
    s[0] = to_float(dots.add(offset<ZERO>(whole), tokens, i, 0, 8));
    q[0] = to_float(whole);
  } else {
    PI first = every_int(x + n * 40 + i * 4), second = whole - first;
    s[0] = to_float(dots.add(offset<ZERO>(first), tokens, i, 0, 4));
    s[1] = to_float(dots.add(offset<ZERO>(second), tokens, i, 4, 8));
    q[0] = to_float(first), q[1] = to_float(second);
  }
  return add_sums<F>(acc, s, q, dx, a, m);
}

// What add_block takes of the 32 columns s of block w.
template <class F>
PITH_INLINE void take_block(Dots<F>* dots, P* a, P* m, const typename F::Head& head, const uint8_t* w, int h, int s,
                            const PI* whole) {
  PI u[8];
  if (!F::WHOLE) F::codes(u, w, h, s);
  dots->take(F::WHOLE ? whole + s * 8 : u);
  F::scales(a, m, head, w, h, s);
  if (F::MIN)
    for (int j = 0; j < F::PARTS; j++) m[j] = m[j] * -0.125f;
}

// acc[i][h] + 32 columns of piece h times token i, for the N tokens of a tile.
#if defined(__ARM_FEATURE_DOTPROD)
#include "int8_neon_tokens.h"
#else
template <class F, int N>
PITH_INLINE void add_tokens(P (*acc)[16 / PIECE], int h, const Dots<F>& dots, const Tokens<N>& tokens, const uint8_t* x,
                            const P* a, const P* m) {
#pragma GCC unroll UNROLL
  for (int i = 0; i < N; i++) acc[i][h] = add_block<F>(acc[i][h], dots, tokens, x, N, i, a, m);
}
#endif

template <int TYPE, int N>
static void panel(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int64_t ahead) {
  typedef Format<TYPE> F;
  constexpr int PIECES = 16 / PIECE, BLOCKS = F::COLUMNS / BLOCK;
  P acc[N][PIECES];
  for (int i = 0; i < N; i++)
    for (int h = 0; h < PIECES; h++) acc[i][h] = P{};
  for (int64_t b = 0; b < blocks; b += BLOCKS, w += F::BYTES) {
    // Far from read front to back, so the processor does not see the stream: three times as fast with this.
    if (TYPE == Q6_K && N < 4) prefetch(w + 2 * F::BYTES, F::BYTES);
    if (N >= 4 && ahead) prefetch(w + ahead, F::BYTES);
    typename F::Head head[PIECES];
    for (int h = 0; h < PIECES; h++) head[h] = F::head(w, h);
    PI whole[F::WHOLE ? PIECES : 1][F::WHOLE ? 64 : 1];
    if constexpr (F::WHOLE)
      for (int h = 0; h < PIECES; h++) F::block(whole[h], w, h);
#pragma GCC unroll 1
    for (int s = 0; s < BLOCKS; s++, x += N * X_BYTES) {
      Tokens<N> tokens;
      tokens.take(x);
#pragma GCC unroll 1
      for (int h = 0; h < PIECES; h++) {
        P a[2], m[2];
        Dots<F> dots;
        take_block<F>(&dots, a, m, head[h], w, h, s, whole[F::WHOLE ? h : 0]);
        add_tokens<F, N>(acc, h, dots, tokens, x, a, m);
      }
    }
  }
  for (int i = 0; i < N; i++)
    for (int h = 0; h < PIECES; h++) put(y + i * 16 + h * PIECE, acc[i][h]);
}

// Up to FEW_TOKENS tokens an instruction set takes with few_tokens<N>(Format, y, w, x, blocks), to unpack less.
template <int TYPE>
constexpr int FEW_TOKENS = 0;
#if defined(__AVX512VNNI__)
#include "int8_few_avx512.h"
#elif defined(__AVX2__)
#include "int8_few_avx2.h"
#endif

template <int TYPE, int N>
PITH_INLINE void n_tokens(float* y, const uint8_t* w, const uint8_t* x, int64_t blocks, int64_t ahead) {
  if constexpr (N <= FEW_TOKENS<TYPE>)
    few_tokens<N>(Format<TYPE>(), y, w, x, blocks);
  else
    panel<TYPE, N>(y, w, x, blocks, ahead);
}

template <int TYPE>
static void panel_tokens(float* y, const uint8_t* w, const uint8_t* x, int64_t n, int64_t blocks, int64_t ahead) {
  switch (n) {
    case 1: return n_tokens<TYPE, 1>(y, w, x, blocks, ahead);
    case 2: return n_tokens<TYPE, 2>(y, w, x, blocks, ahead);
    case 3: return n_tokens<TYPE, 3>(y, w, x, blocks, ahead);
    case 4: return n_tokens<TYPE, 4>(y, w, x, blocks, ahead);
    case 5: return panel<TYPE, 5>(y, w, x, blocks, ahead);
    case 6: return panel<TYPE, 6>(y, w, x, blocks, ahead);
    case 7: return panel<TYPE, 7>(y, w, x, blocks, ahead);
    case 8: return panel<TYPE, 8>(y, w, x, blocks, ahead);
    case 16: return panel<TYPE, 16>(y, w, x, blocks, ahead);
  }
}
#endif

static void int8_panel(int type, float* y, const uint8_t* w, const uint8_t* x, int64_t n, int64_t blocks,
                       int64_t ahead) {
  with_int8_format(type, [&](auto format) { panel_tokens<decltype(format)::TYPE>(y, w, x, n, blocks, ahead); });
}
