// The table of one instruction set. An isa_*.cc defines PITH_ISA and includes this once, compiled with its flags: all
// that is here is in a namespace of its own or static, so that nothing compiled for one processor is run on another.
#include "cpu.h"
#include "pith.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include "sampler.h"

#define PITH_PASTE_(a, b) a##b
#define PITH_PASTE(a, b) PITH_PASTE_(a, b)
#define PITH_QUOTE_(a) #a
#define PITH_QUOTE(a) PITH_QUOTE_(a)

namespace pith {
namespace PITH_ISA {

#include "simd.h"
#include "vmath.h"
//
#include "elementwise.h"
#include "norm.h"
#include "optim.h"
#include "reduce.h"
#include "rope.h"
#include "rows.h"
#define WIDE ATTEND_WIDE
#include "attention.h"
#include "attention_grad.h"
#undef WIDE
#include "gemm.h"
#if __has_include("matmul.h")
#include "matmul.h"
#endif
#if __has_include("linear.h")
#include "linear.h"
#endif

const Kernel TABLE[] = {
    PITH_ELEMENTWISE, PITH_NORM, PITH_OPTIM, PITH_REDUCE, PITH_ROPE, PITH_ROWS,
#ifdef PITH_ATTENTION
    PITH_ATTENTION,
#endif
#ifdef PITH_ATTENTION_GRAD
    PITH_ATTENTION_GRAD,
#endif
#ifdef PITH_GEMM
    PITH_GEMM,
#endif
#ifdef PITH_MATMUL
    PITH_MATMUL,
#endif
#ifdef PITH_LINEAR
    PITH_LINEAR,
#endif
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
                                        sampler::scratch_bytes, PITH_ISA::read};

}  // namespace pith
