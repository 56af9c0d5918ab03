// What every kernel sees: tensors, nodes, a run, and the registry of kernels of one instruction set.
// Freestanding: no libc, no C++ library, no exceptions, no allocation. The same sources make the native addon and the
// WebAssembly module. Sizes and offsets that arrive here were checked in TypeScript; kernels check nothing twice.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace pith {

// Order is part of the ABI: TypeScript asks for the names (type_names) and never writes numbers of its own,
// but for the two of dense memory, 0 and 1. Then weights (quantized ones from Q8_0 to TQ1_0, which take int8 activations,
// and NF4, which does not), KV pages, adapters.
enum Type : int32_t {
  F32, I32, F16, BF16,
  Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4, TQ2_0, TQ1_0, NF4,
  KV_F32, KV_F16, KV_Q8_0, ADAPTERS, TYPES
};
extern const char* const TYPE_NAMES[TYPES];
static inline bool is_quantized(int32_t type) { return type >= Q8_0 && type <= TQ1_0; }
// Those that floats are rounded to (encode.h).
static inline bool is_encodable(int32_t type) {
  return type == Q8_0 || type == Q4_0 || type == Q5_0 || type == Q5_1 || (type >= Q2_K && type <= Q6_K) ||
         type == TQ2_0 || type == TQ1_0;
}
static inline bool is_weight(int32_t type) { return type <= NF4 && type != I32; }
static inline bool is_float(int32_t type) { return type <= BF16 && type != I32; }

constexpr int PANEL = 16;      // rows interleaved in a packed weight
constexpr int BLOCK = 32;      // columns that share a scale in int8 activations; what kernels take of a quantized row at a time
constexpr int PAGE = 64;       // tokens in a KV page
constexpr int CHUNK = 8;       // KV pages whose partial attention is merged in order (512 positions)
constexpr int MAX_THREADS = 64;

// A weight is `packed`: 16-row panels (layouts in matmul.h). Everything else is dense and row-major.
// rows x cols: cols is the last dimension, rows the product of the others (resolved for the current run).
struct Tensor {
  uint8_t* data;
  int32_t type;
  int32_t packed;
  int32_t sym;        // 0: fixed, 1: T, 2: S, 3: R (the outermost dimension it has, set per run)
  int32_t d[3];       // dimensions, outermost first, missing ones in front are 1: a [T] is 1, 1, T
  int64_t rows, cols;
};

struct Run;
struct Node;
typedef void (*KernelFn)(const Run& run, const Node& node, int thread);
typedef size_t (*ScratchFn)(const Node& node, int32_t T, int32_t S, int32_t R);

// Tensors: outputs first, then inputs, as in the op table. `i` and `f` are the row's `encode`.
struct Node {
  KernelFn fn;
  int32_t noutputs, ninputs;
  const Tensor* t[32];
  int32_t nints, nfloats;
  int32_t i[32];
  float f[8];
  int32_t barrier;    // all threads meet before this node starts
};

struct Run {
  int32_t T, S, R;
  int32_t threads;
  bool tiles;                                 // products of bf16 may use the processor's matrix tiles
  void (*meet)(const Run& run, int thread);   // barrier inside a kernel; every thread must call it
  void* pool;
  uint8_t* shared;                            // as many bytes as the largest ScratchFn asks for, 64-byte aligned
  uint8_t* local[MAX_THREADS];                // LOCAL_BYTES for each thread, 64-byte aligned
};
constexpr size_t LOCAL_BYTES = 1 << 20;

// `shared` may be null: no shared scratch.
struct Kernel {
  const char* name;
  KernelFn fn;
  ScratchFn shared;
};

// Puts `nrows` rows of a weight, as they lie in a file (row-major blocks), into panels at `dst`. Rows beyond the
// matrix in the last panel are zero (dst is zero-filled before). `row` is the index of the first row.
// heads > 0: undo the interleaving of rotary halves (see WeightSource.interleavedHeads); then head_rows = rows / heads.
void pack_rows(uint8_t* dst, Type type, int64_t rows, int64_t cols, int64_t row, int64_t nrows, const uint8_t* src, int32_t heads);
// Bytes of a packed weight, and of one row in the file.
size_t packed_bytes(Type type, int64_t rows, int64_t cols);
size_t row_bytes(Type type, int64_t cols);
// Columns of a block: a row is a whole number of them.
int64_t block_columns(Type type);

// Each instruction set fills one of these in its own translation unit (isa_*.cc).
const Kernel* kernels_scalar(int* count);
const Kernel* kernels_avx2(int* count);
const Kernel* kernels_avx512(int* count);
const Kernel* kernels_neon(int* count);
const Kernel* kernels_dotprod(int* count);
const Kernel* kernels_i8mm(int* count);

// Splits n units of `grain` over the threads: [begin, end) of this one.
static inline void share(int64_t n, int64_t grain, int threads, int thread, int64_t* begin, int64_t* end) {
  int64_t units = (n + grain - 1) / grain;
  int64_t b = units * thread / threads * grain, e = units * (thread + 1) / threads * grain;
  *begin = b < n ? b : n;
  *end = e < n ? e : n;
}

}  // namespace pith
