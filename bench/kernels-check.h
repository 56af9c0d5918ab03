// Checks of the matrix kernels against sums in double, and of their bits over tokens and threads (kernels.cc).
#pragma once
#include "kernels-common.h"

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
  node.f[0] = 1e-5f, node.f[1] = 1;
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
    auto& xs = c.int8 && w.tensor.packed && is_quantized(w.type) ? q : exact;
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
    isa::tile(panel.data(), type, packed.data() + at / 16 * isa::panel_bytes(type, cols), 0, cols);
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
