// What this processor can do, and which instruction sets of ours it may run. Native only.
#pragma once
#include <stddef.h>

#include "encoding.h"
#include "pith.h"

namespace pith {

// One instruction set, from its translation unit: its kernels, sampling (see sampler.h), the read that measures
// memory bandwidth (it adds up all 64-bit words), and the rounding of floats to blocks.
struct Isa {
  const char* name;
  const Kernel* (*kernels)(int* count);
  void (*sample)(float* logits, int32_t vocab, const int32_t* ints, const double* floats, int row, int stride,
                 int32_t* ids, double* logprobs, uint8_t* scratch);
  size_t (*sample_scratch)(const int32_t* ints, int row, int32_t vocab);
  uint64_t (*read)(const uint8_t* data, size_t bytes);
  EncodeFn encode;
  bool tiles;   // Run::tiles of its programs
};
// Matrix tiles: asking Linux for them is all that is written, and compilers have them since then.
#if defined(__x86_64__) && defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define PITH_TILES
#endif
extern const Isa isa_scalar, isa_avx2, isa_avx512, isa_amx, isa_neon, isa_dotprod, isa_i8mm;

// The instruction sets this build holds and this processor runs, best first. `count` is at least 1.
const Isa* const* isas(int* count);

// Names of the processor's features that matter to us, for people to read; null terminated.
const char* const* cpu_features();

}  // namespace pith
