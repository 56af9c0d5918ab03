// Rows of floats on their way to blocks (encode.h), in pieces that threads take from the front. Freestanding.
#pragma once
#include "pith.h"

namespace pith {

// Up to 16 rows and whole blocks of columns.
struct EncodePiece {
  Type type, from;           // from: F32, F16 or BF16
  const uint8_t* values;     // of the first row and column, anywhere; the next row is `stride` values further
  int64_t stride, rows, cols;
  const float* importance;   // of the first column; null: all errors count alike
  uint8_t* out;              // the first row's first block; the next row's is `out_stride` bytes further
  int64_t out_stride;
};
// Encodes it. Returns the column of the first block that has a value or needs a scale that is not finite, else -1.
// Scratch: LOCAL_BYTES.
typedef int64_t (*EncodeFn)(const EncodePiece& piece, uint8_t* scratch);

struct Encoding {
  Type type, from;
  int64_t rows, cols;
  const uint8_t* values;
  const float* importance;
  uint8_t* out;
  int64_t next;              // first piece that no thread has taken
  int64_t bad;               // least row · cols + column of a block that could not be encoded; rows · cols: none
};

// Columns of a piece: a multiple of every block's.
constexpr int64_t ENCODE_COLUMNS = 2048;

static inline void encoding_work(Encoding& e, EncodeFn encode, uint8_t* scratch) {
  int64_t across = (e.cols + ENCODE_COLUMNS - 1) / ENCODE_COLUMNS, pieces = (e.rows + PANEL - 1) / PANEL * across;
  int64_t row_size = int64_t(row_bytes(e.type, e.cols)), value = e.from == F32 ? 4 : 2;
  for (;;) {
    int64_t piece = __atomic_fetch_add(&e.next, 1, __ATOMIC_RELAXED);
    if (piece >= pieces) return;
    int64_t row = piece / across * PANEL, col = piece % across * ENCODE_COLUMNS;
    EncodePiece p = {e.type, e.from, e.values + (row * e.cols + col) * value, e.cols, e.rows - row, e.cols - col,
                     e.importance ? e.importance + col : nullptr,
                     e.out + row * row_size + int64_t(row_bytes(e.type, col)), row_size};
    if (p.rows > PANEL) p.rows = PANEL;
    if (p.cols > ENCODE_COLUMNS) p.cols = ENCODE_COLUMNS;
    int64_t found = encode(p, scratch);
    if (found < 0) continue;
    int64_t at = row * e.cols + col + found, least = __atomic_load_n(&e.bad, __ATOMIC_RELAXED);
    while (at < least && !__atomic_compare_exchange_n(&e.bad, &least, at, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
  }
}

}  // namespace pith
