// Times of the matrix kernels beside a raw read of the same memory (kernels.cc).
#pragma once
#include "kernels-common.h"

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
    for (int64_t i = 0; i < k && !is_quantized(t); i++)
      for (int r = 0; r < 16; r++) row[r * row_bytes(t, k) + i * (t == F32 ? 4 : 2) + (t == F32 ? 3 : 1)] = 0x30;
    // Scales that overflow nothing: no byte of a half's exponent above 2^-7.
    for (auto& b : row)
      if (is_quantized(t)) b &= 0x9f;
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
  for (Type type : {Q4_0, Q8_0, Q4_K, Q5_K, Q6_K, Q2_K, IQ4_NL, Q4_1, Q5_0, Q5_1, Q3_K, IQ4_XS, MXFP4, TQ2_0, TQ1_0, F16, BF16, F32})
    for (auto [N, K] : {std::pair<int64_t, int64_t>{2048, 2048}, {8192, 2048}, {2048, 8192}, {576, 576}}) {
      if (K % block_columns(type)) continue;
      if ((*only && strcmp(only, names[type])) || (!is_quantized(type) && K != 2048)) continue;
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
  for (Type type : {Q4_0, Q8_0, Q4_K, Q5_K, Q6_K, Q2_K, IQ4_NL, Q4_1, Q5_0, Q5_1, Q3_K, IQ4_XS, MXFP4, TQ2_0, TQ1_0, F16, BF16, F32})
    for (auto [N, K] : {std::pair<int64_t, int64_t>{2048, 2048}, {8192, 2048}, {2048, 8192}, {896, 4864}, {1536, 576}}) {
      if (K % block_columns(type)) continue;
      if ((*only && strcmp(only, names[type])) || (!is_quantized(type) && N != 2048)) continue;
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
    std::vector<double> h[3];
    for (int i = 0; i < rounds; i++) {
      nt.i[1] = nn.i[0] = tn.i[0] = 1;
      double t0 = now();
      run_node(isa::matmul_nt, isa::matmul_nt_shared, nt, threads);
      double t1 = now();
      run_node(isa::matmul_nn, nullptr, nn, threads);
      double t2 = now();
      run_node(isa::matmul_tn, nullptr, tn, threads);
      h[0].push_back(t1 - t0), h[1].push_back(t2 - t1), h[2].push_back(now() - t2);
      nt.i[1] = nn.i[0] = tn.i[0] = 0;
    }
    if (isa::bf16_products())
      printf("bf16 nt %4.0f nn %4.0f tn %4.0f  ", ops / best(h[0]), ops / best(h[1]), ops / best(h[2]));
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
