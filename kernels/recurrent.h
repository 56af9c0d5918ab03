// Layers with a state of fixed size for each sequence: short causal convolutions. Threads split the channels; each takes
// the tokens of every segment in ascending order, so that the bits do not depend on how a sequence was cut into steps.
#pragma once
#include "reduce.h"
#include "types.h"

constexpr int MOST_TAPS = 8;  // equals MAX_KERNEL in src/engine/ops/recurrent.ts

// The rows of `state` [slots, columns] that a segment reads (null: zeros) and writes, at a layer's first column.
struct StateRows {
  float* state;
  const int32_t* slots;
  int64_t columns, offset;

  // Tensors state and slots are the inputs from `i` on, if the node has them.
  PITH_INLINE StateRows make(const Node& node, int i, int64_t offset) {
    if (node.noutputs + node.ninputs <= i) return {nullptr, nullptr, 0, 0};
    return {data(node, i), ids(node, i + 1), node.t[i]->cols, offset};
  }
  const float* from(int64_t s) const {
    return slots && slots[s * 2] >= 0 ? state + slots[s * 2] * columns + offset : nullptr;
  }
  float* to(int64_t s) const { return slots ? state + slots[s * 2 + 1] * columns + offset : nullptr; }
};

// out[j] = tap j of 16 channels from c on, of a weight [C, K], packed or dense; 0 beyond the last channel.
PITH_INLINE void taps_of(V* out, const Tensor& w, int64_t c) {
  int64_t K = w.cols, n = w.rows - c < 16 ? w.rows - c : 16;
  float at[MOST_TAPS * 16] = {};
  if (w.packed) {
    tile(at, w.type, w.data + c / PANEL * panel_bytes(w.type, K), 0, K);
  } else {
    const float* from = (const float*)w.data + c * K;
    for (int64_t r = 0; r < n; r++)
      for (int64_t j = 0; j < K; j++) at[j * 16 + r] = from[r * K + j];
  }
  for (int64_t j = 0; j < K; j++) out[j] = load(at + j * 16);
}

// y[t, c] = out(Σ_j w[c, j] x(t - (K - 1) + j, c), t, c), the sum as fma in ascending j from 0; `in(p, n)` gives x of 16
// channels at element p of [T, C].
template <class In, class Out>
PITH_INLINE void convolve(const Run& run, const Tensor& w, const Tensor& segments, const StateRows& rows, int64_t C,
                          int thread, In in, Out out) {
  const int32_t* segment = (const int32_t*)segments.data;
  int64_t begin, end;
  share(C, 16, run.threads, thread, &begin, &end);
  const int K = int(w.cols);
  for (int64_t c = begin; c < end; c += 16) {
    int64_t n = C - c < 16 ? C - c : 16;
    V tap[MOST_TAPS], x[MOST_TAPS];
    taps_of(tap, w, c);
    for (int64_t s = 0; s < segments.rows; s++) {
      int64_t first = segment[s * 4], length = segment[s * 4 + 1];
      const float* from = rows.from(s);
      for (int j = 0; j < K - 1; j++) x[j] = from ? load_upto(from + j * C + c, n) : zero();
      for (int64_t t = first; t < first + length; t++) {
        x[K - 1] = in(t * C + c, n);
        V sum = zero();
        for (int j = 0; j < K; j++) sum = fma(tap[j], x[j], sum);
        out(t * C + c, n, sum);
        for (int j = 0; j < K - 1; j++) x[j] = x[j + 1];
      }
      if (float* to = rows.to(s))
        for (int j = 0; j < K - 1; j++) store_upto(to + j * C + c, x[j], n);
    }
  }
}

// [y [T, C]], [x [T, C], w [C, K], segments, (state, slots)]; ints: offset
static void causal_conv(const Run& run, const Node& node, int thread) {
  float *y = data(node, 0), *x = data(node, 1);
  convolve(run, *node.t[2], *node.t[3], StateRows::make(node, 4, node.i[0]), node.t[0]->cols, thread,
           [=](int64_t p, int64_t n) PITH_LAMBDA { return load_upto(x + p, n); },
           [=](int64_t p, int64_t n, V sum) PITH_LAMBDA { store_upto(y + p, sum, n); });
}

// [y], [b, c, x [T, C], w [C, K], segments, (state, slots)]; ints: offset: c · causal_conv(b · x)
static void short_conv(const Run& run, const Node& node, int thread) {
  float *y = data(node, 0), *b = data(node, 1), *c = data(node, 2), *x = data(node, 3);
  convolve(run, *node.t[4], *node.t[5], StateRows::make(node, 6, node.i[0]), node.t[0]->cols, thread,
           [=](int64_t p, int64_t n) PITH_LAMBDA { return load_upto(b + p, n) * load_upto(x + p, n); },
           [=](int64_t p, int64_t n, V sum) PITH_LAMBDA { store_upto(y + p, load_upto(c + p, n) * sum, n); });
}

// [dx [T, C], dw [C, K]], [dy, x [T, C], w [C, K], segments]: dx as fma in ascending t from 0; dw over all t in order.
static void causal_conv_grad(const Run& run, const Node& node, int thread) {
  float *dx = data(node, 0), *dw = data(node, 1), *dy = data(node, 2), *x = data(node, 3);
  const Tensor &w = *node.t[4], &segments = *node.t[5];
  const int32_t* segment = (const int32_t*)segments.data;
  int64_t C = node.t[0]->cols, begin, end;
  share(C, 16, run.threads, thread, &begin, &end);
  const int K = int(w.cols);
  for (int64_t c = begin; c < end; c += 16) {
    int64_t n = C - c < 16 ? C - c : 16;
    V tap[MOST_TAPS], sum[MOST_TAPS];
    taps_of(tap, w, c);
    for (int j = 0; j < K; j++) sum[j] = zero();
    for (int64_t s = 0; s < segments.rows; s++) {
      int64_t first = segment[s * 4], last = first + segment[s * 4 + 1];
      for (int64_t u = first; u < last; u++) {
        V at = load_upto(x + u * C + c, n), d = zero();
        for (int j = K - 1; j >= 0 && u + K - 1 - j < last; j--) {
          V up = load_upto(dy + (u + K - 1 - j) * C + c, n);
          d = fma(tap[j], up, d);
          sum[j] = fma(up, at, sum[j]);
        }
        store_upto(dx + u * C + c, d, n);
      }
    }
    float out[MOST_TAPS * 16];
    for (int j = 0; j < K; j++) store(out + j * 16, sum[j]);
    for (int64_t r = 0; r < n; r++)
      for (int j = 0; j < K; j++) dw[(c + r) * K + j] = out[j * 16 + r];
  }
}

#define PITH_RECURRENT                                                                    \
  {"causal_conv", causal_conv, nullptr}, {"causal_conv_grad", causal_conv_grad, nullptr}, \
      {"short_conv", short_conv, nullptr}
