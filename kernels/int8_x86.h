// What the int8 products of AVX2 and AVX-512 share. Included by int8_avx2.h and int8_avx512.h, inside
// `namespace pith::<isa> {`.
#pragma once

PITH_INLINE void prefetch(const uint8_t* p, int bytes) {
  for (int i = 0; i < bytes; i += 64) _mm_prefetch((const char*)p + i, _MM_HINT_T1);
}

// The 32 columns of a tile's tokens as they lie are what the dots take.
template <int N>
struct Tokens {
  const uint8_t* x;
  PITH_MEMBER void take(const uint8_t* block) { x = block; }
};
