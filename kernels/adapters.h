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
// B of type Q8_0 has panels of its own, as it is multiplied with h one column after the other, and a rank need not be a
// multiple of 32: of each 32 columns, of which the last may have fewer, 16 f16 scales, and then each column's 16 codes.
static inline bool by_columns(int32_t part, Type type) { return part == PART_B && type == Q8_0; }
static inline int64_t column_panel_bytes(int64_t cols) { return (cols + BLOCK - 1) / BLOCK * 32 + cols * 16; }
// Bytes of a part as it would lie in a file, where rows of Q8_0 are padded to whole blocks, and in the slot's memory.
static inline size_t adapter_part_file_bytes(int32_t part, Type type, int64_t rows, int64_t cols) {
  if (part == PART_G) return size_t(rows) * 4;
  return size_t(rows) * row_bytes(type, by_columns(part, type) ? (cols + BLOCK - 1) / BLOCK * BLOCK : cols);
}
static inline size_t adapter_part_bytes(int32_t part, Type type, int64_t rows, int64_t cols) {
  if (part == PART_G) return size_t(rows) * 4;
  if (!by_columns(part, type)) return packed_bytes(type, rows, cols);
  return size_t((rows + PANEL - 1) / PANEL * column_panel_bytes(cols));
}
static inline void adapter_part_pack(uint8_t* to, int32_t part, Type type, int64_t rows, int64_t cols,
                                     const uint8_t* from) {
  if (part == PART_G) {
    __builtin_memcpy(to, from, size_t(rows) * 4);
  } else if (!by_columns(part, type)) {
    pack_rows(to, type, rows, cols, 0, rows, from, 0);
  } else {
    __builtin_memset(to, 0, adapter_part_bytes(part, type, rows, cols));
    for (int64_t row = 0; row < rows; row++) {
      uint8_t* panel = to + row / PANEL * column_panel_bytes(cols);
      int64_t r = row % PANEL;
      for (int64_t k = 0; k < cols; k += BLOCK, from += 2 + BLOCK, panel += 32 + BLOCK * 16) {
        __builtin_memcpy(panel + r * 2, from, 2);
        for (int64_t i = 0; i < BLOCK && k + i < cols; i++) panel[32 + i * 16 + r] = from[2 + i];
      }
    }
  }
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
