// Products of quantized panels with int8 activations: 16 rows x N tokens, one pass over the panel.
// Included inside `namespace pith::<isa> {`. Knows bytes only: no tensors, no threads.
//
// Activations lie in tiles of N tokens. A tile is, for each block of 32 columns: N x 32 int8 q, N x f32 d, N x int32
// -8 · Σq (what takes the offset of unsigned weights out); 40 bytes a token and block.
//
// Every kernel here, whatever N, does per row, token and block the same float operations, in ascending order of blocks:
//   y = fma(float(Σ wq · xq), dw * dx, y)
// The integer is exact in each of them, so a row's bits depend neither on N nor on where the tile starts.
#pragma once
#include "types.h"
#include "vmath.h"

constexpr int64_t X_BYTES = 40;

// Tokens of the tile that starts when `left` of them are left: 16 at a time, then 8 if more than that, then the rest.
PITH_INLINE int64_t tile_tokens(int64_t left) { return left >= 16 ? 16 : left > 8 ? 8 : left; }

// What an instruction set states in a file of its own:
//   largest(x)               the largest |x| of 32 floats. Magnitudes compare as integers, so a NaN is larger than all
//                            others and is not lost
//   round_block(q, x, inv)   the 32 products with `inv`, rounded to nearest even, as int8; gives their sum
//   <type>_panel<N>(y, w, x, blocks, ahead)   y[i * 16 + r] = row r of the panel times token i of the tile;
//                            ahead != 0: asks for the memory that lies so many bytes further on
#if defined(__AVX512VNNI__)
#include "int8_avx512.h"
#elif defined(__AVX2__)
#include "int8_avx2.h"
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
    int32_t s = round_block(tile + i * 32, x + k, d >= 0x1p-126f ? 1.0f / d : 0.0f) * -8;
    __builtin_memcpy(tile + n * 32 + i * 4, &d, 4);
    __builtin_memcpy(tile + n * 36 + i * 4, &s, 4);
  }
}

// A panel of type Q8_0 or Q4_0 with a tile of n tokens (1 .. 8 or 16).
static void int8_panel(int type, float* y, const uint8_t* w, const uint8_t* x, int64_t n, int64_t blocks,
                       int64_t ahead) {
#define PITH_TOKENS(N) \
  case N:              \
    return type == Q4_0 ? q4_panel<N>(y, w, x, blocks, ahead) : q8_panel<N>(y, w, x, blocks, ahead);
  switch (n) {
    PITH_TOKENS(1)
    PITH_TOKENS(2)
    PITH_TOKENS(3)
    PITH_TOKENS(4)
    PITH_TOKENS(5)
    PITH_TOKENS(6)
    PITH_TOKENS(7)
    PITH_TOKENS(8)
    PITH_TOKENS(16)
  }
#undef PITH_TOKENS
}
