// The way back from panels, for tests and for writing a packed weight to a file. The way in is in pith.h.
#pragma once
#include "pith.h"

namespace pith {

// Rows row .. row + nrows of the file's order, as they would lie in a file, from the packed weight at `src`.
void unpack_rows(uint8_t* dst, Type type, int64_t rows, int64_t cols, int64_t row, int64_t nrows, const uint8_t* src,
                 int32_t heads);

// The same of a whole panel of `cols` columns: its first `nrows` rows, each `stride` bytes after the one before.
void unpack_panel(uint8_t* dst, int64_t stride, Type type, int64_t cols, int64_t nrows, const uint8_t* panel);

}  // namespace pith
