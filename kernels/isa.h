// The table of one instruction set. An isa_*.cc defines PITH_ISA and includes this once, compiled with its flags: all
// that is here is in a namespace of its own or static, so that nothing compiled for one processor is run on another.
#include "adapters.h"
#include "cpu.h"
#include "pack.h"
#include "pith.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#include "sampler.h"

#define PITH_PASTE_(a, b) a##b
#define PITH_PASTE(a, b) PITH_PASTE_(a, b)
#define PITH_QUOTE_(a) #a
#define PITH_QUOTE(a) PITH_QUOTE_(a)

namespace pith {
namespace PITH_ISA {

// clang-format off: simd.h comes first
#include "simd.h"
#include "vmath.h"
#include "elementwise.h"
#include "reduce.h"
#include "norm.h"
#include "rows.h"
#include "rope.h"
#include "attention.h"
#include "attention_grad.h"
#include "recurrent.h"
#include "delta_rule.h"
#include "optim.h"
#include "gemm.h"
#include "gemm_bf16.h"
#include "matmul.h"
#include "linear.h"
#include "loss.h"
#include "distillation.h"
#include "linear_distillation.h"
#include "quantization.h"
#include "gptq.h"
#include "ternary.h"
#include "encode.h"
// clang-format on

// A kernel's number in this table is its opcode in program images.
const Kernel TABLE[] = {
    PITH_ELEMENTWISE, PITH_REDUCE, PITH_NORM, PITH_ROWS, PITH_ROPE, PITH_ATTENTION, PITH_ATTENTION_GRAD,
    PITH_RECURRENT,   PITH_DELTA_RULE, PITH_OPTIM, PITH_GEMM, PITH_LINEAR, PITH_LOSS,
    PITH_DISTILLATION, PITH_LINEAR_DISTILLATION, PITH_QUANTIZATION, PITH_GPTQ, PITH_TERNARY,
};

// Four streams of 64-byte vectors: enough loads under way to be bound by memory, not by their latency.
uint64_t read(const uint8_t* data, size_t bytes) {
  typedef uint64_t W __attribute__((vector_size(64)));
  W a = {}, b = {}, c = {}, d = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    a += *reinterpret_cast<const W*>(data + i);
    b += *reinterpret_cast<const W*>(data + i + 64);
    c += *reinterpret_cast<const W*>(data + i + 128);
    d += *reinterpret_cast<const W*>(data + i + 192);
  }
  W sum = (a + b) + (c + d);
  uint64_t total = 0;
  for (int i = 0; i < 8; i++) total += sum[i];
  return total;
}

}  // namespace PITH_ISA

const Kernel* PITH_PASTE(kernels_, PITH_ISA)(int* count) {
  *count = int(sizeof(PITH_ISA::TABLE) / sizeof(Kernel));
  return PITH_ISA::TABLE;
}

const Isa PITH_PASTE(isa_, PITH_ISA) = {PITH_QUOTE(PITH_ISA), PITH_PASTE(kernels_, PITH_ISA), sampler::sample_row,
                                        sampler::scratch_bytes, PITH_ISA::read, PITH_ISA::encode, false};
#if defined(__AVX512F__) && defined(PITH_TILES)
// The same kernels; products of bf16 are on tiles.
const Isa isa_amx = {"amx", kernels_avx512, sampler::sample_row, sampler::scratch_bytes, avx512::read, avx512::encode, true};
#endif

}  // namespace pith
