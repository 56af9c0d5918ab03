// Weights from a file's rows into 16-row panels, and back (tests). Pure moves of bytes: nothing is converted or rounded.
// Layouts: kernels/README.md, "Packed weights". Freestanding; one copy for all instruction sets.
#include "pack.h"

namespace pith {

const char* const TYPE_NAMES[TYPES] = {"f32",  "i32",  "f16",  "bf16", "q8_0", "q4_0",   "q4_1",   "q5_0",  "q5_1",   "q2_k",
                                       "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4", "tq2_0", "tq1_0", "nf4", "kv_f32", "kv_f16", "kv_q8_0",
                                       "adapters"};

// A row's block in the file: BEFORE words of UNIT bytes, GROUPS of four bytes, AFTER words. In the panel each word or
// group lies beside those of the other rows.
template <int COLUMNS, int UNIT, int BEFORE, int GROUPS, int AFTER>
struct Layout {
  static constexpr int columns = COLUMNS, unit = UNIT, before = BEFORE, groups = GROUPS, after = AFTER;
  static constexpr int64_t bytes = (BEFORE + AFTER) * UNIT + GROUPS * 4;
};

template <class Fn>
static inline void with_layout(Type type, Fn f) {
  switch (type) {
    case F16:
    case BF16: return f(Layout<1, 2, 1, 0, 0>());
    case Q8_0: return f(Layout<32, 2, 1, 8, 0>());
    case Q4_0:
    case IQ4_NL: return f(Layout<32, 2, 1, 4, 0>());
    case Q4_1: return f(Layout<32, 2, 2, 4, 0>());
    case Q5_0: return f(Layout<32, 2, 1, 5, 0>());
    case Q5_1: return f(Layout<32, 2, 2, 5, 0>());
    case MXFP4: return f(Layout<32, 1, 1, 4, 0>());
    case NF4: return f(Layout<64, 2, 1, 8, 0>());
    case Q2_K: return f(Layout<256, 2, 0, 20, 2>());
    case Q3_K: return f(Layout<256, 2, 0, 27, 1>());
    case Q4_K: return f(Layout<256, 2, 2, 35, 0>());
    case Q5_K: return f(Layout<256, 2, 2, 43, 0>());
    case Q6_K: return f(Layout<256, 2, 0, 52, 1>());
    case IQ4_XS: return f(Layout<256, 2, 2, 33, 0>());
    case TQ2_0: return f(Layout<256, 2, 0, 16, 1>());
    case TQ1_0: return f(Layout<256, 2, 0, 13, 1>());
    default: return f(Layout<1, 4, 1, 0, 0>());
  }
}

int64_t block_columns(Type type) {
  int64_t columns = 1;
  with_layout(type, [&](auto l) { columns = l.columns; });
  return columns;
}

size_t row_bytes(Type type, int64_t cols) {
  size_t bytes = 0;
  with_layout(type, [&](auto l) { bytes = size_t(cols / l.columns * l.bytes); });
  return bytes;
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

// Blocks [from, to) of one row, to or from row r of the panel.
template <bool PACK, class L>
static void move_blocks(uint8_t* panel, int64_t r, uint8_t* row, int64_t from, int64_t to) {
  constexpr int64_t START = L::before * L::unit, END = START + L::groups * 4;
  for (int64_t b = from; b < to; b++) {
    uint8_t *p = panel + b * PANEL * L::bytes, *q = row + b * L::bytes;
    for (int i = 0; i < L::before; i++) move<PACK>(p + (i * PANEL + r) * L::unit, q + i * L::unit, L::unit);
    for (int g = 0; g < L::groups; g++) move<PACK>(p + START * PANEL + g * 64 + r * 4, q + START + g * 4, 4);
    for (int i = 0; i < L::after; i++)
      move<PACK>(p + END * PANEL + (i * PANEL + r) * L::unit, q + END + i * L::unit, L::unit);
  }
}

template <bool PACK>
static void move_rows(uint8_t* packed, Type type, int64_t rows, int64_t cols, int64_t row, int64_t nrows,
                      uint8_t* dense, int32_t heads) {
  with_layout(type, [&](auto layout) {
    typedef decltype(layout) L;
    int64_t blocks = cols / L::columns, bytes = blocks * L::bytes, head_rows = heads > 0 ? rows / heads : 0;
    // 16 rows at a time, and few columns of them, so that the lines they share stay in the first-level cache.
    constexpr int64_t panel = PANEL * L::bytes, step = panel < 8192 ? 8192 / panel : 1;
    for (int64_t first = 0; first < nrows; first += PANEL) {
      int64_t end = first + PANEL < nrows ? first + PANEL : nrows;
      for (int64_t from = 0; from < blocks; from += step) {
        int64_t to = from + step < blocks ? from + step : blocks;
        for (int64_t i = first; i < end; i++) {
          int64_t at = place(row + i, head_rows);
          move_blocks<PACK, L>(packed + at / PANEL * PANEL * bytes, at % PANEL, dense + i * bytes, from, to);
        }
      }
    }
  });
}

void pack_rows(uint8_t* dst, Type type, int64_t rows, int64_t cols, int64_t row, int64_t nrows, const uint8_t* src,
               int32_t heads) {
  move_rows<true>(dst, type, rows, cols, row, nrows, const_cast<uint8_t*>(src), heads);
}

void unpack_rows(uint8_t* dst, Type type, int64_t rows, int64_t cols, int64_t row, int64_t nrows, const uint8_t* src,
                 int32_t heads) {
  move_rows<false>(const_cast<uint8_t*>(src), type, rows, cols, row, nrows, dst, heads);
}

void unpack_panel(uint8_t* dst, int64_t stride, Type type, int64_t cols, int64_t nrows, const uint8_t* panel) {
  with_layout(type, [&](auto layout) {
    typedef decltype(layout) L;
    for (int64_t r = 0; r < nrows; r++)
      move_blocks<false, L>(const_cast<uint8_t*>(panel), r, dst + r * stride, 0, cols / L::columns);
  });
}

}  // namespace pith
