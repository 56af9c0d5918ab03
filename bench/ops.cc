// Kernels other than matmul, alone: against double references at odd sizes, the same bits for any number of threads, step
// length and chunking, and how fast attention is beside a raw read of its KV.
// Build (AVX-512; leave out flags for AVX2: -mavx2 -mfma -mf16c, or the plain processor: none), then run; `speed` measures:
//   g++ -std=c++20 -O3 -ffp-contract=off -Wno-uninitialized -Ikernels -mavx512f -mavx512bw -mavx512vl -mavx512dq
//     -mfma -mf16c -pthread -o .cache/ops-bench bench/ops.cc && .cache/ops-bench [speed [shape]]
#include "pith.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
namespace pith::bench {
#include "attention.h"
#include "attention_grad.h"
#include "elementwise.h"
#include "norm.h"
#include "optim.h"
#include "reduce.h"
#include "rope.h"
#include "rows.h"
#include "simd.h"
#include "vmath.h"
static const Kernel table[] = {PITH_ELEMENTWISE, PITH_REDUCE,    PITH_NORM,          PITH_ROPE,
                               PITH_ROWS,        PITH_ATTENTION, PITH_ATTENTION_GRAD, PITH_OPTIM};
}  // namespace pith::bench

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <atomic>
#include <functional>
#include <random>
#include <thread>
#include <vector>

using namespace pith;
using std::vector;

// --- Running one kernel -----------------------------------------------------------------------------------------------

static std::atomic<int> arrived{0}, round_{0};
static void meet(const Run& run, int) {
  int now = round_.load();
  if (arrived.fetch_add(1) + 1 == run.threads) {
    arrived = 0;
    round_ = now + 1;
  } else {
    while (round_.load() == now) std::this_thread::yield();
  }
}

struct Value {
  vector<float> f;
  vector<int32_t> i;
  Tensor t = {};
  Value() {}
  Value(vector<int32_t> shape, int sym = 0) {
    int64_t n = 1;
    for (int k = 0; k < 3; k++) t.d[k] = 1;
    for (size_t k = 0; k < shape.size(); k++) n *= t.d[3 - shape.size() + k] = shape[k];
    f.assign(n + 16, -77.5f);  // a guard behind the end
    t.type = F32;
    t.sym = sym;
    t.cols = t.d[2];
    t.rows = (int64_t)t.d[0] * t.d[1];
  }
  int64_t n() const { return t.rows * t.cols; }
};
static std::mt19937 rng(7);
static float normal() { return std::normal_distribution<float>(0, 1)(rng); }
static Value random(vector<int32_t> shape, float by = 1) {
  Value v(shape);
  for (int64_t k = 0; k < v.n(); k++) v.f[k] = normal() * by;
  return v;
}
static Value integers(vector<int32_t> shape, vector<int32_t> x) {
  Value v(shape);
  v.i = x;
  v.t.type = I32;
  return v;
}

alignas(64) static uint8_t local[MAX_THREADS][LOCAL_BYTES];

static const Kernel& find(const char* name) {
  for (const Kernel& k : bench::table)
    if (!strcmp(k.name, name)) return k;
  printf("no kernel %s\n", name);
  exit(1);
}

struct Call {
  const Kernel* kernel;
  Node node = {};
  Run run = {};
  vector<uint8_t> shared;
  Call(const char* name, vector<Value*> out, vector<Value*> in, vector<int32_t> ints = {}, vector<float> floats = {}) {
    kernel = &find(name);
    node.noutputs = (int)out.size();
    node.ninputs = (int)in.size();
    int n = 0;
    for (auto& list : {out, in})
      for (Value* v : list) {
        if (!v->t.data || v->t.type <= I32) v->t.data = v->t.type == I32 ? (uint8_t*)v->i.data() : (uint8_t*)v->f.data();
        node.t[n++] = &v->t;
      }
    for (int32_t x : ints) node.i[node.nints++] = x;
    for (float x : floats) node.f[node.nfloats++] = x;
  }
  void operator()(int threads) {
    run.threads = threads;
    run.meet = meet;
    if (kernel->shared) shared.assign(kernel->shared(node, 0, 0, 0) + 64, 0xff);
    run.shared = (uint8_t*)(((uintptr_t)shared.data() + 63) & ~(uintptr_t)63);
    for (int i = 0; i < threads; i++) run.local[i] = local[i];
    vector<std::thread> pool;
    for (int i = 1; i < threads; i++) pool.emplace_back([&, i] { kernel->fn(run, node, i); });
    kernel->fn(run, node, 0);
    for (auto& t : pool) t.join();
  }
};

static int failures = 0, checks = 0;
static void fail(const char* what, double got, double want) {
  if (failures++ < 20) printf("FAILED %s: got %.9g, wanted %.9g\n", what, got, want);
}
// Every element within `tolerance` of the largest magnitude around (at least `size`), and the guard whole.
static void near(const char* what, const Value& got, const vector<double>& want, double tolerance = 2e-6,
                 double size = 1e-30) {
  checks++;
  for (double x : want)
    if (fabs(x) > size && !isinf(x)) size = fabs(x);
  for (size_t k = 0; k < want.size(); k++) {
    double e = fabs(got.f[k] - want[k]);
    if (isnan(want[k]) ? !isnan(got.f[k]) : isinf(want[k]) ? got.f[k] != want[k] : !(e <= tolerance * size))
      return fail(what, got.f[k], want[k]);
  }
  for (size_t k = want.size(); k < got.f.size(); k++)
    if (got.f[k] != -77.5f) return fail(what, got.f[k], -77.5);
}
static void same(const char* what, const float* a, const float* b, int64_t n) {
  checks++;
  for (int64_t k = 0; k < n; k++)
    if (memcmp(a + k, b + k, 4)) return fail(what, a[k], b[k]);
}

// Runs with 1, 2 and 3 threads: right, and the same bits.
static void check(const char* name, vector<Value*> out, vector<Value*> in, vector<vector<double>> want,
                  vector<int32_t> ints = {}, vector<float> floats = {}, double tolerance = 2e-6, double size = 1e-30) {
  vector<vector<float>> first;
  for (int threads = 1; threads <= 3; threads++) {
    for (Value* v : out) std::fill(v->f.begin(), v->f.end(), -77.5f);
    Call call(name, out, in, ints, floats);
    call(threads);
    for (size_t k = 0; k < out.size(); k++) {
      if (threads == 1) {
        near(name, *out[k], want[k], tolerance, size);
        first.push_back(out[k]->f);
      } else {
        same(name, out[k]->f.data(), first[k].data(), out[k]->n());
      }
    }
  }
}

// --- Elementwise, reductions, rows ------------------------------------------------------------------------------------

static double silu(double x) { return x / (1 + exp(-x)); }
static void test_elementwise() {
  struct Unary {
    const char* name;
    double (*f)(double);
    bool positive;
  };
  const Unary list[] = {{"neg", [](double x) { return -x; }, false},
                        {"exp", [](double x) { return exp(x); }, false},
                        {"log", [](double x) { return log(x); }, true},
                        {"sqrt", [](double x) { return sqrt(x); }, true},
                        {"rsqrt", [](double x) { return 1 / sqrt(x); }, true},
                        {"tanh", [](double x) { return tanh(x); }, false},
                        {"sigmoid", [](double x) { return 1 / (1 + exp(-x)); }, false},
                        {"abs", [](double x) { return fabs(x); }, false},
                        {"step", [](double x) { return x > 0 ? 1.0 : 0.0; }, false},
                        {"silu", silu, false},
                        {"gelu", [](double x) { return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }, false}};
  for (int rows : {0, 1, 3, 17})
    for (int n : {1, 8, 15, 16, 33, 300}) {
      for (const Unary& u : list) {
        Value x = random({rows, n}, 3), y({rows, n});
        vector<double> want;
        for (int64_t k = 0; k < x.n(); k++) {
          if (u.positive) x.f[k] = fabsf(x.f[k]) + 1e-3f;
          want.push_back(u.f(x.f[k]));
        }
        check(u.name, {&y}, {&x}, {want});
      }
      Value x = random({rows, n}), y({rows, n}), b = random({rows, n}), row = random({n}), col = random({rows, 1});
      vector<double> scaled, shifted, gated;
      for (int64_t k = 0; k < x.n(); k++) {
        scaled.push_back(x.f[k] * 2.5);
        shifted.push_back(x.f[k] + 2.5);
        gated.push_back(silu(x.f[k]) * b.f[k]);
      }
      check("scale", {&y}, {&x}, {scaled}, {}, {2.5f});
      check("shift", {&y}, {&x}, {shifted}, {}, {2.5f});
      check("swiglu", {&y}, {&x, &b}, {gated});
      for (int broadcast = 0; broadcast < 3; broadcast++) {
        Value* other = broadcast == 0 ? &b : broadcast == 1 ? &row : &col;
        for (const char* name : {"add", "sub", "mul", "div", "maximum"}) {
          vector<double> want;
          for (int64_t k = 0; k < x.n(); k++) {
            double p = x.f[k], q = other->f[broadcast == 0 ? k : broadcast == 1 ? k % n : k / n];
            want.push_back(name[0] == 'a' ? p + q : name[0] == 's' ? p - q : name[0] == 'd' ? p / q : name[1] == 'u' ? p * q : fmax(p, q));
          }
          check(name, {&y}, {&x, other}, {want}, {broadcast});
        }
      }
    }
}

static void test_reduce() {
  for (int rows : {0, 1, 3, 17, 130})
    for (int n : {1, 5, 16, 63, 64, 100, 577}) {
      Value x = random({rows, n}), y1({rows, 1}), yn({n}), yr({rows, n}), w = random({n});
      vector<double> sums, maxima, columns(n, 0.0), softmax, normed, ce, picked, placed, padded, sliced, joined, wide, tall;
      vector<int32_t> targets;
      int start = n / 3, len = n - start;
      for (int r = 0; r < rows; r++) {
        double s = 0, m = -INFINITY, sq = 0, e = 0;
        for (int c = 0; c < n; c++) {
          double v = x.f[r * n + c];
          s += v, sq += v * v, m = fmax(m, v), columns[c] += v;
        }
        for (int c = 0; c < n; c++) e += exp(x.f[r * n + c] - m);
        targets.push_back(r % 4 == 2 ? -1 : (r * 7) % n);
        for (int c = 0; c < n; c++) {
          double v = x.f[r * n + c];
          softmax.push_back(exp(v - m) / e);
          normed.push_back(v / sqrt(sq / n + 1e-5) * w.f[c]);
          padded.push_back(c < start ? 0 : x.f[r * n + c]);
          if (c >= start) sliced.push_back(v);
          tall.push_back(w.f[c]);
          placed.push_back(c == targets[r] ? (float)s : 0);
          wide.push_back((float)s);
        }
        for (int c = 0; c < n; c++) joined.push_back(x.f[r * n + c]);
        for (int c = start; c < n; c++) joined.push_back(x.f[r * n + c]);
        sums.push_back(s), maxima.push_back(m);
        ce.push_back(targets[r] < 0 ? 0 : log(e) + m - x.f[r * n + targets[r]]);
        picked.push_back(targets[r] < 0 ? 0 : x.f[r * n + targets[r]]);
      }
      Value id = integers({rows}, targets), ylen({rows, len}), yjoin({rows, n + len}), part({rows, len}), column({rows, 1});
      for (int64_t k = 0; k < part.n(); k++) part.f[k] = sliced[k];
      for (int r = 0; r < rows; r++) column.f[r] = (float)sums[r];
      check("sum_last", {&y1}, {&x}, {sums});
      check("max_last", {&y1}, {&x}, {maxima});
      check("sum_rows", {&yn}, {&x}, {columns});
      check("softmax_last", {&yr}, {&x}, {softmax});
      check("rms_norm", {&yr}, {&x, &w}, {normed}, {}, {1e-5f});
      check("cross_entropy", {&y1}, {&x, &id}, {ce});
      check("pick_last", {&y1}, {&x, &id}, {picked});
      check("place_last", {&yr}, {&column, &id}, {placed});
      check("slice_last", {&ylen}, {&x}, {sliced}, {start});
      check("pad_last", {&yr}, {&part}, {padded}, {start});
      check("concat_last", {&yjoin}, {&x, &part}, {joined});
      check("broadcast_last", {&yr}, {&column}, {wide});
      check("broadcast_rows", {&yr}, {&w}, {tall});

      vector<int32_t> rowids;
      vector<double> gathered, scattered(40 * n, 0.0);
      Value table = random({40, n}), full({40, n});
      for (int r = 0; r < rows; r++) rowids.push_back(r * 11 % 40);
      Value rid = integers({rows}, rowids);
      for (int r = 0; r < rows; r++)
        for (int c = 0; c < n; c++) gathered.push_back(table.f[rowids[r] * n + c]), scattered[rowids[r] * n + c] += x.f[r * n + c];
      check("gather_rows", {&yr}, {&table, &rid}, {gathered});
      check("scatter_add_rows", {&full}, {&x, &rid}, {scattered});
    }
}

static void test_optim() {
  for (int n : {1, 17, 1000, 70000, 200001}) {
    Value p = random({n}), g = random({n}), m = random({n}, 0.1f), v = random({n}), sum({1}), hyper({8});
    vector<float> h = {1e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.271f, 0.003f, 0.5f};
    std::copy(h.begin(), h.end(), hyper.f.begin());
    double squares = 0;
    vector<double> wp, wm, wv, wa;
    for (int k = 0; k < n; k++) {
      v.f[k] = fabsf(v.f[k]) * 0.01f;
      double grad = g.f[k] * (double)h[7], a = h[1] * (double)m.f[k] + (1 - (double)h[1]) * grad;
      double b = h[2] * (double)v.f[k] + (1 - (double)h[2]) * grad * grad;
      wm.push_back(a), wv.push_back(b), wa.push_back((double)p.f[k] + g.f[k]);
      wp.push_back(p.f[k] - h[0] * (double)h[4] * p.f[k] - h[0] * (a / h[5]) / (sqrt(b / h[6]) + h[3]));
      squares += (double)g.f[k] * g.f[k];
    }
    check("sum_squares", {&sum}, {&g}, {{squares}}, {}, {}, 1e-7);
    for (int threads = 1; threads <= 3; threads++) {
      Value p2 = p, m2 = m, v2 = v, a2 = p;
      for (Value* x : {&p2, &m2, &v2, &a2}) x->t.data = nullptr;
      Call(("adamw"), {}, {&p2, &g, &m2, &v2, &hyper})(threads);
      Call(("accumulate"), {}, {&a2, &g})(threads);
      near("adamw p", p2, wp), near("adamw m", m2, wm), near("adamw v", v2, wv), near("accumulate", a2, wa);
    }
  }
}

#include "ops_attention.h"

int main(int argc, char** argv) {
  if (argc > 1 && !strcmp(argv[1], "speed")) return speed_attention(argc - 2, argv + 2);
  test_elementwise();
  test_reduce();
  test_optim();
  test_rope();
  test_attention_paged();
  test_attention();
  printf("%d checks, %d failed\n", checks, failures);
  return failures ? 1 : 0;
}
