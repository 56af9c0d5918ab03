// The table of adapters: what each slot does to each linear of a program. `lora` and `linear` read it, storage.cc and
// wasm.cc fill it; what its entries point to is theirs. Freestanding.
#pragma once
#include "pith.h"

namespace pith {

// y' = g * (x wᵀ or y, + scale * (x aᵀ) bᵀ). Without data a part is absent; nothing at all: the linear stays as it is.
struct Change {
  Tensor a, b;       // packed: A [r, K] and B [N, r]
  Tensor w;          // packed: takes the place of the linear's weight [N, K]
  const float* g;    // [N]
  float scale;       // of x aᵀ; a power of two
};

struct Adapters {
  int32_t slots, linears;
  Change change[1];  // slots x linears
};

enum AdapterPart : int32_t { PART_A = 0, PART_B = 1, PART_W = 2, PART_G = 3 };

static inline size_t adapters_bytes(int64_t slots, int64_t linears) {
  return sizeof(Adapters) + size_t(slots) * size_t(linears) * sizeof(Change);
}
// In zeroed memory.
static inline void adapters_make(Adapters* table, int32_t slots, int32_t linears) {
  table->slots = slots;
  table->linears = linears;
}
static inline Change& change_of(Adapters* table, int64_t slot, int64_t linear) {
  return table->change[slot * table->linears + linear];
}
static inline const Change& change_of(const Adapters* table, int64_t slot, int64_t linear) {
  return table->change[slot * table->linears + linear];
}
static inline void adapters_empty(Adapters* table, int32_t slot) {
  for (int32_t i = 0; i < table->linears; i++) change_of(table, slot, i) = Change();
}
static inline void adapters_part(Adapters* table, int32_t slot, int32_t linear, AdapterPart part, uint8_t* data, Type type,
                                 int32_t rows, int32_t cols, float scale) {
  Change& c = change_of(table, slot, linear);
  if (part == PART_G) {
    c.g = reinterpret_cast<const float*>(data);
    return;
  }
  Tensor& t = part == PART_A ? c.a : part == PART_B ? c.b : c.w;
  t = Tensor();
  t.data = data;
  t.type = type;
  t.packed = 1;
  t.d[0] = 1, t.d[1] = rows, t.d[2] = cols;
  t.rows = rows;
  t.cols = cols;
  if (part == PART_A) c.scale = scale;
}

}  // namespace pith
