// A program as TypeScript compiled it (src/engine/backends/image.ts), made ready to run. Shared with WebAssembly:
// freestanding, one block of memory that the caller gives. The image is checked here although TypeScript made it:
// a wrong one is refused, never read out of bounds.
//
// Image: int32 words.
//   header   magic, version, tensors, nodes, slots, arena bytes (low, high), input bytes (low, high), T, S, R maxima
//   tensor   space, slot, offset (low, high), type (F32 or I32), sym (0 in a slot), dimensions (0 .. 3), d0, d1, d2
//   node     opcode, barrier, outputs, inputs, ints, floats, then the tensors, the ints and the floats' bits
// Offsets are bytes in the arena or in the input block, multiples of 64; a tensor of space SLOT is what is bound.
#pragma once
#include "pith.h"

namespace pith {

constexpr int32_t IMAGE_MAGIC = 0x68746970;   // "pith"
constexpr int32_t IMAGE_VERSION = 1;
constexpr int64_t MOST_INPUT = int64_t(1) << 30;
constexpr int IMAGE_HEADER = 12, IMAGE_TENSOR = 10, IMAGE_NODE = 6;

enum Space : int32_t { ARENA = 0, SLOT = 1, INPUT = 2 };

// What a slot is bound to.
struct Binding {
  uint8_t* data;
  int32_t type, packed;
  int64_t rows, cols;   // of a weight
  int64_t bytes;
};

// Why something was refused: "Cannot ...: <what> <index> is <found>, wanted <wanted>" (`what` null: all is well).
struct Refusal {
  const char* what;
  int64_t index, found, wanted;
};

struct Program {
  int32_t ntensors, nnodes, nslots;
  int64_t arena_bytes, input_bytes;
  int32_t maxima[3];     // of T, S, R
  int32_t current[3];    // what the tensors are resolved for
  Tensor* tensors;
  int64_t* offset;       // of each tensor in its space
  int32_t* space;
  int32_t* slot;
  int32_t* outermost;    // which of d[] the symbol sets
  Node* nodes;
  ScratchFn* scratch;    // of each node, or null
  // While profiling, else null: seconds that thread 0 spent in each node, and before it waiting for the others.
  double* spent;         // [nnodes, 2]
  double (*clock)();
};

// Bytes of the block that `program_make` fills. 0: refused.
size_t program_bytes(const int32_t* image, size_t words, int nkernels, Refusal* refusal);
// `block` is 64-byte aligned. The image must have passed `program_bytes`. Slots are unbound: their tensors have no data.
Program* program_make(void* block, const int32_t* image, const Kernel* kernels);
void program_place(Program* program, uint8_t* arena, uint8_t* inputs);
// Gives all tensors of the slot their memory.
Refusal program_bind(Program* program, int32_t slot, const Binding& binding);
// Sets the sizes of this run, and says how many bytes `shared` scratch it needs.
Refusal program_resolve(Program* program, int32_t T, int32_t S, int32_t R, size_t* shared);
// Every thread calls it.
void program_run(const Program* program, const Run& run, int thread);

}  // namespace pith
