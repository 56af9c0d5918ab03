// Weights from a file into packed panels, by threads of its own: read by position, never mapped. Native only.
#pragma once
#include "pith.h"

namespace pith {

struct Load {
  // Given. `path` and `dst` stay valid until `done`.
  const char* path;
  int64_t offset;        // of the first row in the file
  uint8_t* dst;          // packed_bytes of zeros
  Type type;
  int64_t rows, cols;
  int32_t heads;         // see pack_rows
  void (*done)(Load* load);
  // The answer: 0; a system error number; SHORT_READ, and then `end` is where the file ended; or CANCELLED.
  int error;
  int64_t end;

  // Of load.cc.
  int fd;
  int64_t chunk, next;   // rows a thread takes at a time; the first row not taken
  int busy;
  bool cancelled;
  Load* following;
};
constexpr int SHORT_READ = -1, CANCELLED = -2;

// Queues it; at most `threads` threads work on all loads together. `done` is called by one of them, once.
// False: no thread could be started (then `done` is not called).
bool load_start(Load* load, int threads);
// `done` comes soon, with CANCELLED.
void load_cancel(Load* load);

}  // namespace pith
