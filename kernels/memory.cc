// See memory.h. Three sizes of request: below HEAP_BELOW the heap; below SLAB_BELOW a piece of a slab, so that the many
// middle-sized matrices of a small model share 2 MiB pages; else a mapping of its own.
#include "memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <atomic>

namespace pith {

namespace {

constexpr size_t HEAP_BELOW = size_t(64) << 10;
constexpr size_t SLAB_BELOW = size_t(16) << 20;
constexpr size_t SLAB_BYTES = size_t(64) << 20;
constexpr size_t ALIGN = 64;

std::atomic<int64_t> total{0};
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// `bytes` (a multiple of HUGE_PAGE) at a 2 MiB boundary, or null.
uint8_t* map_aligned(size_t bytes) {
  if (bytes > SIZE_MAX - HUGE_PAGE) return nullptr;
  void* raw = mmap(nullptr, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  uint8_t* start = reinterpret_cast<uint8_t*>(round_up(reinterpret_cast<uintptr_t>(raw), HUGE_PAGE));
  size_t before = size_t(start - static_cast<uint8_t*>(raw));
  if (before) munmap(raw, before);
  if (HUGE_PAGE - before) munmap(start + bytes, HUGE_PAGE - before);
#ifdef MADV_HUGEPAGE
  madvise(start, bytes, MADV_HUGEPAGE);
#endif
  return start;
}

}  // namespace

// Pieces are cut from the front and never used twice (so they are zeros); the slab goes with its last piece.
struct Slab {
  uint8_t* data;
  size_t used;
  int pieces;
};

namespace {

Slab* current = nullptr;

bool slab_alloc(Region* region, size_t bytes) {
  size_t want = round_up(bytes, ALIGN);
  pthread_mutex_lock(&lock);
  if (!current || current->used + want > SLAB_BYTES) {
    Slab* slab = static_cast<Slab*>(malloc(sizeof(Slab)));
    uint8_t* data = slab ? map_aligned(SLAB_BYTES) : nullptr;
    if (!data) {
      free(slab);
      pthread_mutex_unlock(&lock);
      return false;
    }
    *slab = {data, 0, 0};
    current = slab;
  }
  region->data = current->data + current->used;
  region->slab = current;
  current->used += want;
  current->pieces++;
  pthread_mutex_unlock(&lock);
  return true;
}

void slab_free(Region* region) {
  Slab* slab = region->slab;
  pthread_mutex_lock(&lock);
  bool last = --slab->pieces == 0;
  if (last && current == slab) current = nullptr;
  pthread_mutex_unlock(&lock);
  if (last) {
    munmap(slab->data, SLAB_BYTES);
    free(slab);
    return;
  }
  // Gives back the whole pages of the piece: no one else's bytes are in them, and the piece is not cut again.
  uintptr_t begin = round_up(reinterpret_cast<uintptr_t>(region->data), HUGE_PAGE);
  uintptr_t end = (reinterpret_cast<uintptr_t>(region->data) + region->bytes) / HUGE_PAGE * HUGE_PAGE;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace

bool region_alloc(Region* region, size_t bytes) {
  *region = Region();
  if (bytes == 0) bytes = 1;
  if (bytes > SIZE_MAX / 2) return false;
  if (bytes < HEAP_BELOW) {
    void* data = nullptr;
    if (posix_memalign(&data, ALIGN, round_up(bytes, ALIGN)) != 0) return false;
    memset(data, 0, round_up(bytes, ALIGN));
    region->data = static_cast<uint8_t*>(data);
  } else if (bytes < SLAB_BELOW) {
    if (!slab_alloc(region, bytes)) return false;
  } else {
    size_t mapped = round_up(bytes, HUGE_PAGE);
    uint8_t* data = map_aligned(mapped);
    if (!data) return false;
    region->data = data;
    region->base = data;
    region->mapped = mapped;
  }
  region->bytes = bytes;
  total += int64_t(bytes);
  return true;
}

void region_free(Region* region) {
  if (!region->data) return;
  total -= int64_t(region->bytes);
  if (region->slab)
    slab_free(region);
  else if (region->base)
    munmap(region->base, region->mapped);
  else
    free(region->data);
  *region = Region();
}

int64_t region_total() { return total; }

}  // namespace pith
