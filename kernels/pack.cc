// Weights from a file's rows into 16-row panels, and back (tests). Pure moves of bytes: nothing is converted or rounded.
// Layouts: kernels/README.md, "Packed weights". Freestanding; one copy for all instruction sets.
#include "pack.h"

namespace pith {

// One unit is the smallest run of columns that stays together: a column, or a block of 32.
struct Unit {
  int64_t columns, bytes;
};

static Unit unit_of(Type type) {
  switch (type) {
    case F16:
    case BF16:
      return {1, 2};
    case Q8_0:
      return {BLOCK, 34};
    case Q4_0:
      return {BLOCK, 18};
    default:
      return {1, 4};
  }
}

size_t row_bytes(Type type, int64_t cols) {
  Unit u = unit_of(type);
  return size_t(cols / u.columns * u.bytes);
}

size_t packed_bytes(Type type, int64_t rows, int64_t cols) {
  return size_t((rows + PANEL - 1) / PANEL * PANEL) * row_bytes(type, cols);
}

// Where row `row` of the file goes. With heads, a head's rows alternate between the two halves that rotate together.
static int64_t place(int64_t row, int64_t head_rows) {
  if (head_rows == 0) return row;
  int64_t head = row / head_rows, i = row % head_rows;
  return head * head_rows + (i & 1) * (head_rows / 2) + i / 2;
}

// PACK: from the row to the panel, else back.
template <bool PACK>
static inline void move(uint8_t* packed, uint8_t* row, int64_t n) {
  if (PACK)
    __builtin_memcpy(packed, row, size_t(n));
  else
    __builtin_memcpy(row, packed, size_t(n));
}

// Units [from, to) of one row, to or from row r of the panel.
template <bool PACK, int BYTES>
static void move_elements(uint8_t* panel, int64_t r, uint8_t* row, int64_t from, int64_t to) {
  uint8_t* p = panel + (from * PANEL + r) * BYTES;
  for (int64_t k = from; k < to; k++, p += PANEL * BYTES) move<PACK>(p, row + k * BYTES, BYTES);
}

// Scale, then GROUPS runs of four bytes.
template <bool PACK, int GROUPS>
static void move_blocks(uint8_t* panel, int64_t r, uint8_t* row, int64_t from, int64_t to) {
  constexpr int64_t BYTES = 2 + GROUPS * 4;
  for (int64_t b = from; b < to; b++) {
    uint8_t* p = panel + b * PANEL * BYTES;
    uint8_t* q = row + b * BYTES;
    move<PACK>(p + r * 2, q, 2);
    for (int g = 0; g < GROUPS; g++) move<PACK>(p + PANEL * 2 + g * 64 + r * 4, q + 2 + g * 4, 4);
  }
}

template <bool PACK>
static void move_units(Type type, uint8_t* panel, int64_t r, uint8_t* row, int64_t from, int64_t to) {
  switch (type) {
    case F16:
    case BF16:
      return move_elements<PACK, 2>(panel, r, row, from, to);
    case Q8_0:
      return move_blocks<PACK, 8>(panel, r, row, from, to);
    case Q4_0:
      return move_blocks<PACK, 4>(panel, r, row, from, to);
    default:
      return move_elements<PACK, 4>(panel, r, row, from, to);
  }
}

template <bool PACK>
static void move_rows(uint8_t* packed, Type type, int64_t rows, int64_t cols, int64_t row, int64_t nrows,
                      uint8_t* dense, int32_t heads) {
  Unit u = unit_of(type);
  int64_t units = cols / u.columns, bytes = units * u.bytes, head_rows = heads > 0 ? rows / heads : 0;
  // 16 rows at a time, and few columns of them, so that the lines they share stay in the first-level cache.
  int64_t step = 8192 / (PANEL * u.bytes);
  for (int64_t first = 0; first < nrows; first += PANEL) {
    int64_t end = first + PANEL < nrows ? first + PANEL : nrows;
    for (int64_t from = 0; from < units; from += step) {
      int64_t to = from + step < units ? from + step : units;
      for (int64_t i = first; i < end; i++) {
        int64_t at = place(row + i, head_rows);
        move_units<PACK>(type, packed + at / PANEL * PANEL * bytes, at % PANEL, dense + i * bytes, from, to);
      }
    }
  }
}

void pack_rows(uint8_t* dst, Type type, int64_t rows, int64_t cols, int64_t row, int64_t nrows, const uint8_t* src,
               int32_t heads) {
  move_rows<true>(dst, type, rows, cols, row, nrows, const_cast<uint8_t*>(src), heads);
}

void unpack_rows(uint8_t* dst, Type type, int64_t rows, int64_t cols, int64_t row, int64_t nrows, const uint8_t* src,
                 int32_t heads) {
  move_rows<false>(const_cast<uint8_t*>(src), type, rows, cols, row, nrows, dst, heads);
}

}  // namespace pith
