// Memory for weights, planned memory and KV pages: zeroed, 64-byte aligned, on 2 MiB pages where that pays.
// Native only. Failure is a null pointer, never an abort.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace pith {

constexpr size_t HUGE_PAGE = size_t(2) << 20;

struct Slab;

// A piece of memory and where it came from: the heap (small), a slab shared with others, or a mapping of its own.
struct Region {
  uint8_t* data = nullptr;
  size_t bytes = 0;
  void* base = nullptr;     // start of the mapping, for one of its own
  size_t mapped = 0;        // bytes of that mapping
  Slab* slab = nullptr;
};

// Zeros. Pages are touched when they are used. False: not enough memory, `region` is left empty.
bool region_alloc(Region* region, size_t bytes);
void region_free(Region* region);

// Bytes in regions now, over the whole process.
int64_t region_total();

}  // namespace pith
