// The matrix kernels alone: checks against a slow reference in double, then bandwidth and arithmetic beside a raw read
// of the same memory. One program for each instruction set; needs nothing but a C++ compiler:
//
//   F="-std=c++20 -O3 -fno-exceptions -fno-rtti -ffp-contract=off -Wall -Wno-unused-function -Ikernels bench/kernels.cc kernels/pack.cc -pthread"
//   V="-mavx2 -mfma -mf16c"; W="$V -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni"
//   g++ $F $W -DPITH_ISA=avx512 -o kernels-avx512       (or $V and avx2, or neither and scalar)
//
//   ./kernels-avx512 check              every type, odd sizes, the same bits for any T, chunk and number of threads
//   ./kernels-avx512 decode [threads [rounds [type]]]   GB/s of one token, beside the raw read, interleaved
//   ./kernels-avx512 prefill [threads [rounds [type [tokens]]]]   GOPS;   gemm [threads [rounds]]   GFLOPS of nt, nn, tn
//   ./kernels-avx512 model [threads [rounds]]    tokens a second of the matrix work of whole decoders
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
#if defined(__x86_64__)
#include <immintrin.h>
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
static void* worker(void* p) {
  int id = int(intptr_t(p)), seen = 0;
  for (;;) {
    Wait relax;
    while (__atomic_load_n(&generation, __ATOMIC_ACQUIRE) == seen) relax();
    seen++;
    if (id < pool_threads) (*job)(id);
    __atomic_add_fetch(&finished, 1, __ATOMIC_ACQ_REL);
  }
}
static int spawned = 1;
static void parallel(int threads, const std::function<void(int)>& f) {
  pool_threads = threads;
  for (; spawned < threads; spawned++) {
    // A new worker must not take part in what was before it.
    pthread_t t;
    static int base;
    base = generation;
    if (base) abort();
    pthread_create(&t, nullptr, worker, (void*)intptr_t(spawned));
  }
  if (threads == 1 && spawned == 1) return f(0);
  job = &f;
  __atomic_store_n(&finished, 0, __ATOMIC_RELEASE);
  __atomic_add_fetch(&generation, 1, __ATOMIC_ACQ_REL);
  f(0);
  Wait relax;
  while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) < spawned - 1) relax();
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

static const char* names[] = {"f32", "f16", "bf16", "q8_0", "q4_0"};

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

// --- Checks ------------------------------------------------------------------------------------------------------------

static int failures = 0;
static void expect(bool good, const char* what, const char* type, int64_t T, int64_t N, int64_t K, double error) {
  if (good) return;
  failures++;
  printf("FAILED %s %s T=%ld N=%ld K=%ld error %g\n", what, type, long(T), long(N), long(K), error);
}

// x as the int8 path sees it.
static std::vector<double> rounded(const std::vector<float>& x) {
  std::vector<double> y(x.size());
  for (size_t i = 0; i < x.size(); i += 32) {
    float top = 0;
    for (int j = 0; j < 32; j++) top = std::max(top, fabsf(x[i + j]));
    float d = top / 127, inverse = d > 0 ? 1 / d : 0;
    for (int j = 0; j < 32; j++) y[i + j] = double(nearbyintf(x[i + j] * inverse)) * d;
  }
  return y;
}

// What linear computes, in double; norm and epilogue included.
struct Case {
  int64_t T, K;
  std::vector<Weight*> w;
  bool norm;
  int mask, epilogue;
  bool int8;
};
static double silu(double x) { return x / (1 + exp(-x)); }

static std::vector<std::vector<float>> run_case(const Case& c, const std::vector<float>& x, const std::vector<float>& nw,
                                                const std::vector<std::vector<float>>& bias, const std::vector<float>& residual,
                                                int threads) {
  Node node = {};
  int outputs = c.epilogue == 2 ? 1 : int(c.w.size()), at = 0;
  std::vector<std::vector<float>> y(outputs);
  std::vector<Tensor> t;
  t.reserve(64);
  for (int j = 0; j < outputs; j++) {
    y[j].assign(c.T * c.w[j]->rows + 64, 12345.0f);
    t.push_back(matrix(y[j].data(), c.T, c.w[j]->rows));
  }
  t.push_back(matrix((float*)x.data(), c.T, c.K));
  if (c.norm) t.push_back(matrix((float*)nw.data(), 1, c.K));
  for (auto* w : c.w) t.push_back(w->tensor);
  for (size_t j = 0; j < c.w.size(); j++)
    if (c.mask >> j & 1) t.push_back(matrix((float*)bias[j].data(), 1, c.w[j]->rows));
  if (c.epilogue == 1) t.push_back(matrix((float*)residual.data(), c.T, c.w[0]->rows));
  for (auto& v : t) node.t[at++] = &v;
  node.noutputs = outputs, node.ninputs = at - outputs;
  node.i[0] = int(c.w.size()), node.i[1] = c.norm, node.i[2] = c.mask, node.i[3] = c.epilogue, node.i[4] = c.int8;
  node.f[0] = 1e-5f;
  run_node(isa::linear, isa::linear_shared, node, threads);
  for (int j = 0; j < outputs; j++)
    for (int i = 0; i < 64; i++) expect(y[j][c.T * c.w[j]->rows + i] == 12345.0f, "beyond the end", "", c.T, 0, c.K, 0);
  return y;
}

static void check_case(const Case& c, const char* what) {
  std::vector<float> x(c.T * c.K), nw(c.K);
  for (auto& v : x) v = uniform() * uniform() * 3;
  for (auto& v : nw) v = 1 + uniform() * 0.5f;
  std::vector<std::vector<float>> bias(c.w.size());
  for (size_t j = 0; j < c.w.size(); j++) {
    bias[j].resize(c.w[j]->rows);
    for (auto& v : bias[j]) v = uniform();
  }
  std::vector<float> residual(c.T * c.w[0]->rows);
  for (auto& v : residual) v = uniform();

  auto y = run_case(c, x, nw, bias, residual, 1);
  // Reference.
  std::vector<float> h = x;
  for (int64_t t = 0; t < c.T && c.norm; t++) {
    double ss = 0;
    for (int64_t k = 0; k < c.K; k++) ss += double(x[t * c.K + k]) * x[t * c.K + k];
    isa::norm_row(h.data() + t * c.K, x.data() + t * c.K, nw.data(), c.K, 1e-5f);
    for (int64_t k = 0; k < c.K; k++) {
      double v = x[t * c.K + k] / sqrt(ss / c.K + 1e-5) * nw[k];
      expect(fabs(v - h[t * c.K + k]) < 1e-5 * (1 + fabs(v)), "norm_row", "", c.T, 0, c.K, v - h[t * c.K + k]);
    }
  }
  std::vector<double> exact(h.begin(), h.end()), q = c.K % 32 == 0 ? rounded(h) : exact;
  std::vector<std::vector<double>> r(c.w.size());
  std::vector<std::vector<double>> scale(c.w.size());
  for (size_t j = 0; j < c.w.size(); j++) {
    const Weight& w = *c.w[j];
    auto& xs = c.int8 && w.tensor.packed && isa::is_quantized(w.type) ? q : exact;
    for (int64_t t = 0; t < c.T; t++)
      for (int64_t i = 0; i < w.rows; i++) {
        double s = 0, m = 0;
        for (int64_t k = 0; k < c.K; k++) s += xs[t * c.K + k] * w.value[i * c.K + k], m += fabs(xs[t * c.K + k] * w.value[i * c.K + k]);
        if (c.mask >> j & 1) s += bias[j][i];
        if (c.epilogue == 1) s += residual[t * w.rows + i];
        r[j].push_back(s), scale[j].push_back(m + 1);
      }
  }
  if (c.epilogue == 2) {
    for (size_t i = 0; i < r[0].size(); i++) {
      scale[0][i] = scale[0][i] * (1 + fabs(r[1][i])) + scale[1][i] * (1 + fabs(r[0][i]));
      r[0][i] = silu(r[0][i]) * r[1][i];
    }
  }
  for (size_t j = 0; j < y.size(); j++) {
    double worst = 0;
    for (size_t i = 0; i < r[j].size(); i++) worst = std::max(worst, fabs(y[j][i] - r[j][i]) / scale[j][i]);
    if (!(worst < 2e-6)) expect(false, what, names[c.w[j]->type], c.T, c.w[j]->rows, c.K, worst);
  }
  // The same bits with any number of threads, and for each row alone.
  for (int threads : {2, 4}) {
    auto z = run_case(c, x, nw, bias, residual, threads);
    expect(z == y, "bits over threads", what, c.T, c.w[0]->rows, c.K, threads);
  }
  for (int64_t n : {1, 3, 5, 11}) {
    Case one = c;
    for (int64_t t = 0; t < c.T; t += std::max<int64_t>(n, c.T / 5)) {
      one.T = std::min(n, c.T - t);
      std::vector<float> xt(x.begin() + t * c.K, x.begin() + (t + one.T) * c.K);
      std::vector<float> rt(residual.begin() + t * c.w[0]->rows, residual.begin() + (t + one.T) * c.w[0]->rows);
      auto z = run_case(one, xt, nw, bias, rt, 1);
      for (size_t j = 0; j < y.size(); j++)
        expect(!memcmp(z[j].data(), y[j].data() + t * c.w[j]->rows, one.T * c.w[j]->rows * 4), "bits over T", what, c.T,
               c.w[j]->rows, c.K, double(t));
    }
  }
}

static void check_pack(Type type, int64_t rows, int64_t cols, int heads) {
  Weight w(type, rows, cols);
  std::vector<uint8_t> packed(packed_bytes(type, rows, cols)), back(w.file.size());
  for (int64_t r = 0; r < rows; r += 7)
    pack_rows(packed.data(), type, rows, cols, r, std::min<int64_t>(7, rows - r), w.file.data() + r * row_bytes(type, cols), heads);
  unpack_rows(back.data(), type, rows, cols, 0, rows, packed.data(), heads);
  expect(back == w.file, "pack and back", names[type], 0, rows, cols, 0);
  std::vector<float> row(cols), panel(cols * 16);
  int64_t hd = heads ? rows / heads : 0;
  for (int64_t r = 0; r < rows; r++) {
    int64_t at = heads ? r / hd * hd + r % hd % 2 * (hd / 2) + r % hd / 2 : r;
    isa::packed_row(row.data(), type, packed.data(), cols, at);
    isa::tile(panel.data(), type, packed.data() + at / 16 * isa::panel_bytes(type, cols), cols);
    for (int64_t k = 0; k < cols; k++) {
      expect(row[k] == float(w.value[r * cols + k]), "row", names[type], r, rows, cols, row[k]);
      expect(panel[k * 16 + at % 16] == row[k], "tile", names[type], r, rows, cols, k);
    }
  }
}

static void check_gemm(Type type, bool packed, int64_t T, int64_t N, int64_t K) {
  Weight w(type, N, K, !packed);
  std::vector<float> x(T * N), y(T * K), a(T * K), z(N * K), y2, z2;
  for (auto& v : x) v = uniform();
  for (auto& v : a) v = uniform();
  Tensor tx = matrix(x.data(), T, N), ty = matrix(y.data(), T, K), ta = matrix(a.data(), T, K), tz = matrix(z.data(), N, K);
  Node nn = {}, tn = {};
  nn.t[0] = &ty, nn.t[1] = &tx, nn.t[2] = &w.tensor;
  tn.t[0] = &tz, tn.t[1] = &tx, tn.t[2] = &ta;
  for (int threads : {1, 2, 4}) {
    std::fill(y.begin(), y.end(), 9), std::fill(z.begin(), z.end(), 9);
    run_node(isa::matmul_nn, nullptr, nn, threads);
    run_node(isa::matmul_tn, nullptr, tn, threads);
    if (threads == 1) y2 = y, z2 = z;
    expect(y == y2, "nn threads", names[type], T, N, K, threads);
    expect(z == z2, "tn threads", names[type], T, N, K, threads);
  }
  double worst = 0;
  for (int64_t t = 0; t < T; t++)
    for (int64_t k = 0; k < K; k++) {
      double s = 0, m = 1;
      for (int64_t i = 0; i < N; i++) s += x[t * N + i] * w.value[i * K + k], m += fabs(x[t * N + i] * w.value[i * K + k]);
      worst = std::max(worst, fabs(s - y[t * K + k]) / m);
    }
  expect(worst < 2e-6, "nn", names[type], T, N, K, worst);
  if (type != F32) return;
  worst = 0;
  for (int64_t i = 0; i < N; i++)
    for (int64_t k = 0; k < K; k++) {
      double s = 0, m = 1;
      for (int64_t t = 0; t < T; t++) s += double(x[t * N + i]) * a[t * K + k], m += fabs(x[t * N + i] * a[t * K + k]);
      worst = std::max(worst, fabs(s - z[i * K + k]) / m);
    }
  expect(worst < 2e-6, "tn", names[type], T, N, K, worst);
}

static void check() {
  parallel(4, [](int) {});
  for (Type type : {F32, F16, BF16, Q8_0, Q4_0}) {
    check_pack(type, 50, 96, 0);
    check_pack(type, 64, 32, 4);
    check_pack(type, 48, 32, 2);
  }
  for (Type type : {F32, F16, BF16, Q8_0, Q4_0})
    for (int64_t T : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 33, 513})
      for (auto [N, K] : {std::pair<int64_t, int64_t>{16, 32}, {37, 96}, {200, 288}, {65, 1024}}) {
        if (T > 100 && N * K > 60000) continue;
        Weight a(type, N, K), b(type, N, K);
        check_case({T, K, {&a}, false, 0, 0, true}, "int8");
        if (K < 1000) check_case({T, K, {&a}, false, 0, 0, false}, "float");
        check_case({T, K, {&a}, false, 1, 1, true}, "residual");
        check_case({T, K, {&a, &b}, true, 2, 2, true}, "norm swiglu");
      }
  for (int64_t T : {1, 7, 40}) {
    Weight a(Q4_0, 48, 64), b(F16, 17, 64), c(Q8_0, 33, 64), d(F32, 20, 64, true);
    check_case({T, 64, {&a, &b, &c, &d}, true, 5, 0, true}, "mixed types");
    check_case({T, 64, {&a, &b, &c, &d}, false, 2, 0, true}, "mixed types");
    Weight e(F32, 21, 50), f(F32, 100, 7, true), g(BF16, 40, 33);
    check_case({T, 50, {&e}, true, 0, 0, true}, "odd columns");
    check_case({T, 7, {&f}, false, 0, 1, true}, "dense");
    check_case({T, 33, {&g}, false, 1, 0, false}, "odd columns");
  }
  for (Type type : {F32, F16, BF16, Q8_0, Q4_0})
    for (int64_t T : {1, 5, 33, 130, 513}) {
      check_gemm(type, true, T, 37, 96);
      check_gemm(type, true, T, 300, 64);
      if (type == F32) check_gemm(type, false, T, 37, 51), check_gemm(type, false, T, 270, 600), check_gemm(type, false, T, 3, 5);
    }
  printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
}

// --- Speed -------------------------------------------------------------------------------------------------------------

// One thread: the time it had the processor, so that other work on the machine disturbs less.
static bool alone = false;
static double now() {
  timespec t;
  clock_gettime(alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}
static double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}
static double best(const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); }

static uint64_t sink;
static void read_all(const uint8_t* p, size_t bytes, int threads) {
  parallel(threads, [&](int t) {
    int64_t b, e;
    share(int64_t(bytes / 4096), 1, threads, t, &b, &e);
    isa::PI s[8] = {};
    constexpr int STEP = sizeof s[0];
    for (const uint8_t* q = p + b * 4096; q < p + e * 4096; q += STEP * 8)
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) {
        isa::PI v;
        isa::get(v, (const int32_t*)(q + i * STEP));
        s[i] += v;
      }
    for (auto v : s) sink += uint64_t(v[0] + v[1] + v[2] + v[3]);
  });
}

// Several matrices, together beyond any cache, as the layers of a model.
struct Layers {
  Type type;
  int64_t N, K, count;
  size_t bytes;
  uint8_t* data;
  Layers(Type t, int64_t n, int64_t k, size_t total) : type(t), N(n), K(k) {
    bytes = packed_bytes(t, n, k);
    count = std::max<int64_t>(1, int64_t(total / bytes));
    data = pages(count * bytes + (1 << 20));
    std::vector<uint8_t> row(row_bytes(t, k) * 16);
    for (auto& b : row) b = uint8_t(random_bits());
    for (int64_t i = 0; i < k && !isa::is_quantized(t); i++)
      for (int r = 0; r < 16; r++) row[r * row_bytes(t, k) + i * (t == F32 ? 4 : 2) + (t == F32 ? 3 : 1)] = 0x30;
    for (int64_t b = 0; b < k / 32 && isa::is_quantized(t); b++)
      for (int r = 0; r < 16; r++) row[r * row_bytes(t, k) + b * (t == Q8_0 ? 34 : 18) + 1] = 0x20;
    for (int64_t r = 0; r < n * count; r += 16) pack_rows(data, t, n * count, k, r, 16, row.data(), 0);
  }
  ~Layers() { free(data); }
};
static double time_layers(const Layers& l, int64_t T, int threads, bool int8, float* x, float* y) {
  Tensor tx = matrix(x, T, l.K), ty = matrix(y, T, l.N), w = {};
  w.type = l.type, w.packed = 1, w.rows = l.N, w.cols = l.K;
  Node node = {};
  node.t[0] = &ty, node.t[1] = &tx, node.t[2] = &w, node.noutputs = 1, node.ninputs = 2, node.i[0] = int8;
  double start = now();
  for (int64_t i = 0; i < l.count; i++) {
    w.data = l.data + i * l.bytes;
    run_node(isa::matmul_nt, isa::matmul_nt_shared, node, threads);
  }
  return now() - start;
}
static float* floats(size_t n) {
  float* p = (float*)pages(n * 4);
  for (size_t i = 0; i < n; i++) p[i] = uniform();
  return p;
}

// "" or the one type to measure.
static const char* only = "";

static void decode(int threads, int rounds) {
  printf("decode, %d thread%s: GB/s (median of %d) and share of the raw read of the same memory\n", threads, threads > 1 ? "s" : "", rounds);
  float *x = floats(8 * 8192), *y = floats(8 * 32768);
  for (Type type : {Q4_0, Q8_0, F16, BF16, F32})
    for (auto [N, K] : {std::pair<int64_t, int64_t>{2048, 2048}, {8192, 2048}, {2048, 8192}, {576, 576}}) {
      if ((*only && strcmp(only, names[type])) || (!isa::is_quantized(type) && K != 2048)) continue;
      Layers l(type, N, K, size_t(192) << 20);
      double bytes = double(l.count * l.bytes);
      std::vector<double> raw, t1, r1, t[9];
      for (int i = 0; i < rounds; i++) {
        double start = now();
        read_all(l.data, l.count * l.bytes, threads);
        raw.push_back(now() - start);
        for (int T : {1, 2, 4, 8}) t[T].push_back(time_layers(l, T, threads, true, x, y));
        r1.push_back(raw.back() / t[1].back());
      }
      printf("%5s %5ldx%-5ld raw %5.1f  T=1 %5.1f (%3.0f %%, best/best %3.0f %%)  time of T=2 %.2f, 4 %.2f, 8 %.2f times that of 1\n",
             names[type], long(N), long(K), bytes / median(raw) / 1e9, bytes / median(t[1]) / 1e9, 100 * median(r1),
             100 * best(raw) / best(t[1]), median(t[2]) / median(t[1]), median(t[4]) / median(t[1]), median(t[8]) / median(t[1]));
      fflush(stdout);
    }
}

static void prefill(int threads, int rounds, int64_t T) {
  printf("prefill of %ld tokens, %d thread%s: GOPS (best, median of %d)\n", long(T), threads, threads > 1 ? "s" : "", rounds);
  float *x = floats(T * 8192), *y = floats(T * 8192);
  for (Type type : {Q4_0, Q8_0, F16, BF16, F32})
    for (auto [N, K] : {std::pair<int64_t, int64_t>{2048, 2048}, {8192, 2048}, {2048, 8192}, {896, 4864}, {1536, 576}}) {
      if ((*only && strcmp(only, names[type])) || (!isa::is_quantized(type) && N != 2048)) continue;
      Layers l(type, N, K, size_t(4) << 20);
      std::vector<double> t;
      for (int i = 0; i < rounds; i++) t.push_back(time_layers(l, T, threads, true, x, y));
      double ops = 2.0 * double(l.count * N * K * T);
      printf("%5s %5ldx%-5ld %6.0f %6.0f\n", names[type], long(N), long(K), ops / best(t) / 1e9, ops / median(t) / 1e9);
      fflush(stdout);
    }
}

static void gemm(int threads, int rounds) {
  printf("dense f32, %d thread%s: GFLOPS (best, median of %d)\n", threads, threads > 1 ? "s" : "", rounds);
  for (auto [T, N, K] : {std::array<int64_t, 3>{512, 2048, 2048}, {512, 576, 1536}, {1024, 1024, 1024}, {2048, 64, 64}}) {
    float *x = floats(T * N), *y = floats(T * K), *z = floats(N * K), *v = floats(N * K);
    Tensor tx = matrix(x, T, N), ty = matrix(y, T, K), tw = matrix(v, N, K), tz = matrix(z, N, K);
    Node nt = {}, nn = {}, tn = {};
    nt.t[0] = &tx, nt.t[1] = &ty, nt.t[2] = &tw;
    nn.t[0] = &ty, nn.t[1] = &tx, nn.t[2] = &tw;
    tn.t[0] = &tz, tn.t[1] = &tx, tn.t[2] = &ty;
    std::vector<double> a, b, c;
    for (int i = 0; i < rounds; i++) {
      double t0 = now();
      run_node(isa::matmul_nt, isa::matmul_nt_shared, nt, threads);
      double t1 = now();
      run_node(isa::matmul_nn, nullptr, nn, threads);
      double t2 = now();
      run_node(isa::matmul_tn, nullptr, tn, threads);
      double t3 = now();
      a.push_back(t1 - t0), b.push_back(t2 - t1), c.push_back(t3 - t2);
      memset(x, 0, T * N * 4), memset(y, 0, T * K * 4);
    }
    double ops = 2.0 * double(T * N * K) / 1e9;
    // Frozen quantized weights, as in training of adapters: forward with float activations, and backward.
    Layers l(Q4_0, N, K, 1);
    Tensor tq = tw;
    tq.type = Q4_0, tq.packed = 1, tq.data = l.data;
    nt.t[2] = nn.t[2] = &tq;
    std::vector<double> d, e;
    for (int i = 0; i < rounds; i++) {
      double t0 = now();
      run_node(isa::matmul_nt, isa::matmul_nt_shared, nt, threads);
      double t1 = now();
      run_node(isa::matmul_nn, nullptr, nn, threads);
      d.push_back(t1 - t0), e.push_back(now() - t1);
    }
    printf("q4_0 nt %4.0f nn %4.0f  ", ops / best(d), ops / best(e));
    printf("T=%4ld N=%4ld K=%4ld  nt %4.0f %4.0f   nn %4.0f %4.0f   tn %4.0f %4.0f\n", long(T), long(N), long(K), ops / best(a), ops / median(a),
           ops / best(b), ops / median(b), ops / best(c), ops / median(c));
    free(x), free(y), free(z), free(v);
  }
}

// The matrix work of whole decoders (norms, rounding, products, epilogues, a barrier before each; no attention), q4_0.
struct Shape {
  const char* name;
  int64_t layers, hidden, q, kv, inner, vocab;
};
static void model(const Shape& m, int threads, int rounds, int64_t T) {
  Layers qw(Q4_0, m.q, m.hidden, m.layers * packed_bytes(Q4_0, m.q, m.hidden));
  Layers kw(Q4_0, m.kv, m.hidden, m.layers * packed_bytes(Q4_0, m.kv, m.hidden));
  Layers vw(Q4_0, m.kv, m.hidden, m.layers * packed_bytes(Q4_0, m.kv, m.hidden));
  Layers ow(Q4_0, m.hidden, m.q, m.layers * packed_bytes(Q4_0, m.hidden, m.q));
  Layers gw(Q4_0, m.inner, m.hidden, m.layers * packed_bytes(Q4_0, m.inner, m.hidden));
  Layers uw(Q4_0, m.inner, m.hidden, m.layers * packed_bytes(Q4_0, m.inner, m.hidden));
  Layers dw(Q4_0, m.hidden, m.inner, m.layers * packed_bytes(Q4_0, m.hidden, m.inner));
  Layers hw(Q4_0, m.vocab, m.hidden, packed_bytes(Q4_0, m.vocab, m.hidden));
  double bytes = 0;
  for (auto* l : {&qw, &kw, &vw, &ow, &gw, &uw, &dw, &hw}) bytes += double(l->bytes * l->count);
  Tensor x = matrix(floats(T * m.hidden), T, m.hidden), norm = matrix(floats(m.hidden), 1, m.hidden);
  Tensor q = matrix(floats(T * m.q), T, m.q), k = matrix(floats(T * m.kv), T, m.kv), v = matrix(floats(T * m.kv), T, m.kv);
  Tensor inner = matrix(floats(T * m.inner), T, m.inner), logits = matrix(floats(m.vocab), 1, m.vocab), last = x;
  last.rows = 1;
  std::vector<Tensor> w;
  std::vector<Node> nodes;
  w.reserve(m.layers * 7 + 1);
  auto weight = [&](const Layers& l, int64_t i) {
    Tensor t = {};
    t.type = l.type, t.packed = 1, t.rows = l.N, t.cols = l.K, t.data = l.data + i * l.bytes;
    w.push_back(t);
    return &w.back();
  };
  auto node = [&](std::initializer_list<const Tensor*> t, int outputs, int n, int normed, int epilogue) {
    Node d = {};
    std::copy(t.begin(), t.end(), d.t);
    d.noutputs = outputs, d.ninputs = int(t.size()) - outputs;
    d.i[0] = n, d.i[1] = normed, d.i[3] = epilogue, d.i[4] = 1, d.f[0] = 1e-5f;
    nodes.push_back(d);
  };
  for (int64_t i = 0; i < m.layers; i++) {
    node({&q, &k, &v, &x, &norm, weight(qw, i), weight(kw, i), weight(vw, i)}, 3, 3, 1, 0);
    node({&x, &q, weight(ow, i), &x}, 1, 1, 0, 1);
    node({&inner, &x, &norm, weight(gw, i), weight(uw, i)}, 1, 2, 1, 2);
    node({&x, &inner, weight(dw, i), &x}, 1, 1, 0, 1);
  }
  node({&logits, &last, &norm, weight(hw, 0)}, 1, 1, 1, 0);
  Run run = new_run(threads);
  size_t want = 0;
  for (auto& n : nodes) want = std::max(want, isa::linear_shared(n, 0, 0, 0));
  run.shared = pages(want + 64);
  std::vector<double> t, raw;
  for (int i = 0; i < rounds; i++) {
    double t0 = now();
    parallel(threads, [&](int thread) {
      for (auto& n : nodes) {
        if (threads > 1) meet(run, thread);
        isa::linear(run, n, thread);
      }
    });
    double t1 = now();
    for (auto* l : {&gw, &uw, &dw}) read_all(l->data, l->bytes * l->count, threads);
    double t2 = now();
    t.push_back(t1 - t0), raw.push_back(t2 - t1);
  }
  double part = double(gw.bytes * gw.count + uw.bytes * uw.count + dw.bytes * dw.count);
  printf("%-12s T=%-3ld %7.1f tok/s (best %7.1f)", m.name, long(T), double(T) / median(t), double(T) / best(t));
  if (T == 1)
    printf("  %4.1f GB/s, %3.0f %% of a raw read", bytes / median(t) / 1e9, 100 * bytes / median(t) / (part / median(raw)));
  else
    printf("  %4.0f GOPS", double(T) * 2 * (bytes - double(hw.bytes)) / 0.5625 / median(t) / 1e9);
  printf("\n");
  fflush(stdout);
  for (auto& p : {x, norm, q, k, v, inner, logits}) free(p.data);
  free(run.shared);
}
static void models(int threads, int rounds) {
  for (const Shape& m : {Shape{"SmolLM 135M", 30, 576, 576, 192, 1536, 49152}, Shape{"Qwen 0.5B", 24, 896, 896, 128, 4864, 151936},
                         Shape{"Llama 1B", 16, 2048, 2048, 512, 8192, 128256}}) {
    model(m, threads, rounds * 3, 1);
    model(m, threads, (rounds + 2) / 3, 512);
  }
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "check";
  int threads = argc > 2 ? atoi(argv[2]) : 1, rounds = argc > 3 ? atoi(argv[3]) : 7;
  alone = threads == 1;
  if (argc > 4) only = argv[4];
  if (!strcmp(what, "decode")) decode(threads, rounds);
  else if (!strcmp(what, "prefill")) prefill(threads, rounds, argc > 5 ? atoi(argv[5]) : 512);
  else if (!strcmp(what, "model")) models(threads, rounds);
  else if (!strcmp(what, "gemm")) gemm(threads, rounds);
  else check();
  fflush(stdout);
  _exit(failures != 0);
}
