// Elementwise kernels: one or two inputs, every element on its own. Work is split by elements, in whole vectors.
#pragma once
#include "vmath.h"

PITH_INLINE float* data(const Node& node, int i) { return (float*)node.t[i]->data; }
PITH_INLINE const int32_t* ids(const Node& node, int i) { return (const int32_t*)node.t[i]->data; }
PITH_INLINE int64_t size(const Node& node, int i) { return node.t[i]->rows * node.t[i]->cols; }

// y[i] = f(x[i]) for n elements.
template <class F>
PITH_INLINE void map(float* y, const float* x, int64_t n, F f) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(y + i, f(load(x + i)));
  if (i < n) store_n(y + i, f(load_n(x + i, n - i)), n - i);
}
// y[i] = f(a[i], b[i])
template <class F>
PITH_INLINE void map(float* y, const float* a, const float* b, int64_t n, F f) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(y + i, f(load(a + i), load(b + i)));
  if (i < n) store_n(y + i, f(load_n(a + i, n - i), load_n(b + i, n - i)), n - i);
}

constexpr int64_t GRAIN = 256;  // elements: below this a second thread is not worth its cache line

// [y], [x]
template <class F>
PITH_INLINE void unary(const Run& run, const Node& node, int thread, F f) {
  int64_t begin, end;
  share(size(node, 0), GRAIN, run.threads, thread, &begin, &end);
  map(data(node, 0) + begin, data(node, 1) + begin, end - begin, f);
}

// [y], [a, b]; ints: broadcast. 0: b is like a; 1: b is a row [cols]; 2: b is a column [rows, 1].
template <class F>
PITH_INLINE void binary(const Run& run, const Node& node, int thread, F f) {
  float* y = data(node, 0);
  const float *a = data(node, 1), *b = data(node, 2);
  int64_t cols = node.t[0]->cols, begin, end;
  share(size(node, 0), GRAIN, run.threads, thread, &begin, &end);
  int broadcast = node.i[0];
  if (broadcast == 0) return map(y + begin, a + begin, b + begin, end - begin, f);
  for (int64_t i = begin; i < end;) {
    int64_t row = i / cols, col = i - row * cols;
    int64_t n = cols - col < end - i ? cols - col : end - i;
    if (broadcast == 1) {
      map(y + i, a + i, b + col, n, f);
    } else {
      V s = splat(b[row]);
      map(y + i, a + i, n, [=](V x) PITH_LAMBDA { return f(x, s); });
    }
    i += n;
  }
}

#define PITH_UNARY(name, expression)                              \
  static void name(const Run& run, const Node& node, int thread) { \
    unary(run, node, thread, [](V x) PITH_LAMBDA { return expression; }); \
  }
PITH_UNARY(neg, -x)
PITH_UNARY(exp, exp(x))
PITH_UNARY(log, log(x))
PITH_UNARY(sqrt, sqrt(x))
PITH_UNARY(rsqrt, splat(1.0f) / sqrt(x))
PITH_UNARY(tanh, tanh(x))
PITH_UNARY(sigmoid, sigmoid(x))
PITH_UNARY(abs, floats(bits(x) & splat_int(INT32_MAX)))
PITH_UNARY(step, floats((x > zero()) & bits(splat(1.0f))))
PITH_UNARY(silu, silu(x))
PITH_UNARY(gelu, gelu(x))
PITH_UNARY(erf, erf(x))
PITH_UNARY(gelu_erf, gelu_erf(x))
#undef PITH_UNARY

// floats: c
static void scale(const Run& run, const Node& node, int thread) {
  V c = splat(node.f[0]);
  unary(run, node, thread, [=](V x) PITH_LAMBDA { return x * c; });
}
static void shift(const Run& run, const Node& node, int thread) {
  V c = splat(node.f[0]);
  unary(run, node, thread, [=](V x) PITH_LAMBDA { return x + c; });
}

// Wellons' lowbias32.
PITH_INLINE uint32_t mix(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}
// [y], [x, seed [1]]; ints: p · 2^32, number of the mask; floats: 1 / (1 - p). An element is 0 if its random number is less.
static void dropout(const Run& run, const Node& node, int thread) {
  float* y = data(node, 0);
  const float* x = data(node, 1);
  uint32_t least = uint32_t(node.i[0]), key = mix(uint32_t(ids(node, 2)[0]) ^ uint32_t(node.i[1] + 1) * 0x9e3779b9u);
  float c = node.f[0];
  int64_t begin, end;
  share(size(node, 0), GRAIN, run.threads, thread, &begin, &end);
  for (int64_t i = begin; i < end; i++) y[i] = mix(uint32_t(i) * 0x9e3779b1u + key) < least ? 0 : x[i] * c;
}

#define PITH_BINARY(name, expression)                             \
  static void name(const Run& run, const Node& node, int thread) { \
    binary(run, node, thread, [](V a, V b) PITH_LAMBDA { return expression; }); \
  }
PITH_BINARY(add, a + b)
PITH_BINARY(sub, a - b)
PITH_BINARY(mul, a * b)
PITH_BINARY(div, a / b)
// NaN if either is: a NaN compares false both ways and a + b keeps it.
PITH_BINARY(maximum, select(a > b, a, select(b >= a, b, a + b)))
#undef PITH_BINARY

// [y], [gate, up]: silu(gate) * up
static void swiglu(const Run& run, const Node& node, int thread) {
  int64_t begin, end;
  share(size(node, 0), GRAIN, run.threads, thread, &begin, &end);
  map(data(node, 0) + begin, data(node, 1) + begin, data(node, 2) + begin, end - begin,
      [](V gate, V up) PITH_LAMBDA { return silu(gate) * up; });
}

// [y], [gate, up]: gelu(gate) * up
static void geglu(const Run& run, const Node& node, int thread) {
  int64_t begin, end;
  share(size(node, 0), GRAIN, run.threads, thread, &begin, &end);
  map(data(node, 0) + begin, data(node, 1) + begin, data(node, 2) + begin, end - begin,
      [](V gate, V up) PITH_LAMBDA { return gelu(gate) * up; });
}

// [dgate, dup], [gate, up, dy]: f(x, &slope) is act(x) and its derivative.
template <class F>
PITH_INLINE void gated_grad(const Run& run, const Node& node, int thread, F f) {
  float *dgate = data(node, 0), *dup = data(node, 1);
  const float *gate = data(node, 2), *up = data(node, 3), *dy = data(node, 4);
  int64_t begin, end;
  share(size(node, 0), GRAIN, run.threads, thread, &begin, &end);
  for (int64_t i = begin; i < end; i += 16) {
    int64_t n = end - i;
    V slope, d = load_upto(dy + i, n), act = f(load_upto(gate + i, n), &slope);
    store_upto(dgate + i, d * load_upto(up + i, n) * slope, n);
    store_upto(dup + i, d * act, n);
  }
}
static void swiglu_grad(const Run& run, const Node& node, int thread) {
  gated_grad(run, node, thread, [](V x, V* slope) PITH_LAMBDA {
    V s = sigmoid(x), act = x * s;
    *slope = fma(act, splat(1.0f) - s, s);
    return act;
  });
}
static void geglu_grad(const Run& run, const Node& node, int thread) {
  gated_grad(run, node, thread, [](V x, V* slope) PITH_LAMBDA {
    constexpr float two = 1.5957691216057308f, cube = two * 0.044715f;  // as in gelu
    V square = x * x, s = sigmoid(x * fma(square, splat(cube), splat(two))), act = x * s;
    *slope = fma(act * (splat(1.0f) - s), fma(square, splat(3 * cube), splat(two)), s);
    return act;
  });
}

#define PITH_ELEMENTWISE                                                                                             \
  {"neg", neg, nullptr}, {"exp", exp, nullptr}, {"log", log, nullptr}, {"sqrt", sqrt, nullptr},                      \
      {"rsqrt", rsqrt, nullptr}, {"tanh", tanh, nullptr}, {"sigmoid", sigmoid, nullptr}, {"abs", abs, nullptr},      \
      {"step", step, nullptr}, {"silu", silu, nullptr}, {"gelu", gelu, nullptr}, {"scale", scale, nullptr},          \
      {"shift", shift, nullptr}, {"dropout", dropout, nullptr}, {"add", add, nullptr}, {"sub", sub, nullptr}, {"mul", mul, nullptr},                \
      {"div", div, nullptr}, {"maximum", maximum, nullptr}, {"swiglu", swiglu, nullptr},                \
      {"geglu", geglu, nullptr}, {"erf", erf, nullptr}, {"gelu_erf", gelu_erf, nullptr},       \
      {"swiglu_grad", swiglu_grad, nullptr}, {"geglu_grad", geglu_grad, nullptr}
