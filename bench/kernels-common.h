// Threads, memory and random weights for kernels.cc; includes the kernels of one instruction set.
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <vector>

#include "pack.h"
#include "pith.h"
#include "adapters.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace pith {
namespace PITH_ISA {
#include "linear.h"
}
}  // namespace pith
using namespace pith;
namespace isa = pith::PITH_ISA;

// --- Threads: a spinning pool of our own -------------------------------------------------------------------------------

static volatile int generation = 0;
static volatile int arrived = 0, barrier_round = 0, finished = 0;
static const std::function<void(int)>* job;
static int pool_threads = 1;

// Spins for a while, then gives the processor away.
struct Wait {
  int spins = 0;
  void operator()() {
    if (++spins > 2000) sched_yield();
#if defined(__x86_64__)
    _mm_pause();
#endif
  }
};
// `p`: the worker's number, and the generation that it was born in.
static void* worker(void* p) {
  int id = int(intptr_t(p) & 63), seen = int(intptr_t(p) >> 6);
  for (;;) {
    Wait relax;
    while (__atomic_load_n(&generation, __ATOMIC_ACQUIRE) == seen) relax();
    seen++;
    if (id < pool_threads) (*job)(id);
    __atomic_add_fetch(&finished, 1, __ATOMIC_ACQ_REL);
  }
}
static int workers = 1;
static void parallel(int threads, const std::function<void(int)>& f) {
  for (; workers < threads; workers++) {
    pthread_t t;
    pthread_create(&t, nullptr, worker, (void*)(intptr_t(generation) << 6 | workers));
  }
  if (workers == 1) return f(0);
  pool_threads = threads, job = &f;
  __atomic_store_n(&finished, 0, __ATOMIC_RELEASE);
  __atomic_add_fetch(&generation, 1, __ATOMIC_ACQ_REL);
  f(0);
  Wait relax;
  while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) < workers - 1) relax();
}
static void meet(const Run& run, int) {
  int now = __atomic_load_n(&barrier_round, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == run.threads) {
    __atomic_store_n(&arrived, 0, __ATOMIC_RELAXED);
    __atomic_add_fetch(&barrier_round, 1, __ATOMIC_RELEASE);
  } else {
    Wait relax;
    while (__atomic_load_n(&barrier_round, __ATOMIC_ACQUIRE) == now) relax();
  }
}

// --- Memory, random data -----------------------------------------------------------------------------------------------

static uint8_t* pages(size_t bytes) {
  size_t huge = size_t(2) << 20;
  uint8_t* p = (uint8_t*)aligned_alloc(huge, (bytes + huge - 1) / huge * huge + huge);
  madvise(p, bytes + huge, MADV_HUGEPAGE);
  memset(p, 0, bytes);
  return p;
}
static uint64_t state = 88172645463325252ull;
static uint32_t random_bits() {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return uint32_t(state >> 32);
}
static float uniform() { return float(random_bits() >> 8) / float(1 << 23) - 1; }

static const char* const* names = TYPE_NAMES;

static double half_value(uint16_t h) {
  int e = h >> 10 & 31, m = h & 1023;
  double v = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
  return h >> 15 ? -v : v;
}

// A weight as it lies in a file, its values in double, and packed.
struct Weight {
  Type type;
  int64_t rows, cols;
  std::vector<uint8_t> file;
  std::vector<double> value;
  uint8_t* packed;
  Tensor tensor;
  Weight(Type t, int64_t n, int64_t k, bool dense = false) : type(t), rows(n), cols(k) {
    file.resize(n * row_bytes(t, k));
    value.resize(n * k);
    for (auto& b : file) b = uint8_t(random_bits());
    for (int64_t r = 0; r < n; r++) {
      uint8_t* p = file.data() + r * row_bytes(t, k);
      double* v = value.data() + r * k;
      for (int64_t c = 0; c < k; c++) {
        if (t == F32) {
          float x = uniform();
          memcpy(p + c * 4, &x, 4), v[c] = x;
        } else if (t == BF16) {
          uint32_t x = std::bit_cast<uint32_t>(uniform()) & 0xffff0000;
          uint16_t h = uint16_t(x >> 16);
          memcpy(p + c * 2, &h, 2), v[c] = std::bit_cast<float>(x);
        } else if (t == F16) {
          uint16_t h = uint16_t((random_bits() & 0x83ff) | ((random_bits() % 16) << 10));
          memcpy(p + c * 2, &h, 2), v[c] = half_value(h);
        } else {
          uint8_t* b = p + c / 32 * (t == Q8_0 ? 34 : 18);
          if (c % 32 == 0) {
            uint16_t h = uint16_t((random_bits() & 0x83ff) | ((random_bits() % 4 + 8) << 10));
            memcpy(b, &h, 2);
          }
          uint16_t h;
          memcpy(&h, b, 2);
          int q = t == Q8_0 ? int8_t(b[2 + c % 32]) : (c % 32 < 16 ? b[2 + c % 32] & 15 : b[2 + c % 16] >> 4) - 8;
          v[c] = half_value(h) * q;
        }
      }
    }
    packed = pages(packed_bytes(t, n, k) + 4096);
    pack_rows(packed, t, n, k, 0, n, file.data(), 0);
    tensor = {};
    tensor.data = dense ? file.data() : packed;
    tensor.type = t, tensor.packed = !dense;
    tensor.rows = n, tensor.cols = k;
  }
  ~Weight() { free(packed); }
  Weight(const Weight&) = delete;
};
static Tensor matrix(float* p, int64_t rows, int64_t cols) {
  Tensor t = {};
  t.data = (uint8_t*)p, t.rows = rows, t.cols = cols;
  return t;
}

static Run new_run(int threads) {
  Run r = {};
  r.threads = threads;
  r.meet = meet;
  for (int i = 0; i < 4; i++) {
    static uint8_t* local[4];
    if (!local[i]) local[i] = pages(LOCAL_BYTES);
    r.local[i] = local[i];
  }
  return r;
}
static void run_node(KernelFn fn, ScratchFn shared, Node& node, int threads) {
  static size_t have = 0;
  static uint8_t* mem = nullptr;
  Run run = new_run(threads);
  size_t want = shared ? shared(node, 0, 0, 0) : 0;
  if (want > have) free(mem), mem = pages(have = want);
  run.shared = mem;
  parallel(threads, [&](int t) { fn(run, node, t); });
}
