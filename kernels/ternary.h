// Training with ternary weights and int8 activations: the rounding forward. (Backward it is not there.)
#pragma once
#include "int8.h"
#include "reduce.h"

// Elements that are summed up together: in 16 lanes of double, as sum_squares.
constexpr int64_t MAGNITUDES = 1 << 12;

// The nearest bf16, ties to even, and at least 2^-16. NaN stays NaN.
static float ternary_scale(double mean) {
  float d = (float)mean;
  if (!(d > 0x1p-16f)) return d <= 0x1p-16f ? 0x1p-16f : d;
  uint32_t u = __builtin_bit_cast(uint32_t, d);
  u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
  return __builtin_bit_cast(float, u);
}

// [y], [w]; ints: n, elements that share a scale. Of each n: d = ternary_scale(mean |w|), y = d sign(w) where |w| > d / 2.
// Sums in double: blocks of 2^12 (the last of a group shorter), then the blocks in ascending order.
static void ternarize(const Run& run, const Node& node, int thread) {
  double* partial = (double*)run.shared;
  float* y = data(node, 0);
  const float* w = data(node, 1);
  int64_t all = size(node, 1), n = node.i[0], each = (n + MAGNITUDES - 1) / MAGNITUDES, begin, end;
  if (run.threads > 1) run.meet(run, thread);
  share(all / n * each, 1, run.threads, thread, &begin, &end);
  for (int64_t b = begin; b < end; b++) {
    int64_t group = b / each, i = group * n + (b - group * each) * MAGNITUDES;
    int64_t stop = (group + 1) * n < i + MAGNITUDES ? (group + 1) * n : i + MAGNITUDES;
    double lane[16] = {}, total = 0;
    for (; i + 16 <= stop; i += 16)
      for (int j = 0; j < 16; j++) lane[j] += (double)__builtin_fabsf(w[i + j]);
    for (int j = 0; i < stop; i++, j++) lane[j] += (double)__builtin_fabsf(w[i]);
    for (int j = 0; j < 16; j++) total += lane[j];
    partial[b] = total;
  }
  if (run.threads > 1) run.meet(run, thread);
  share(all, GRAIN, run.threads, thread, &begin, &end);
  for (int64_t i = begin; i < end;) {
    int64_t group = i / n, stop = (group + 1) * n < end ? (group + 1) * n : end;
    double total = 0;
    for (int64_t b = group * each; b < (group + 1) * each; b++) total += partial[b];
    float scale = ternary_scale(total / (double)n);
    V half = splat(scale * 0.5f), none = splat(scale - scale);  // NaN where the scale is
    I d = bits(splat(scale)), sign = splat_int(INT32_MIN);
    map(y + i, w + i, stop - i, [=](V x) PITH_LAMBDA {
      return select(floats(bits(x) & ~sign) > half, floats((bits(x) & sign) | d), none);
    });
    i = stop;
  }
}

static size_t ternarize_shared(const Node& node, int32_t, int32_t, int32_t) {
  int64_t n = node.i[0];
  return (size_t)(size(node, 1) / n * ((n + MAGNITUDES - 1) / MAGNITUDES)) * 8;
}

// [y], [x]; rows of a multiple of 32 columns. As round_row: d = max|x| / 127, q = round(x · (1 / d)); y = q d.
static void round_activations(const Run& run, const Node& node, int thread) {
  float* y = data(node, 0);
  const float* x = data(node, 1);
  int64_t begin, end;
  share(size(node, 0) / BLOCK, GRAIN / BLOCK, run.threads, thread, &begin, &end);
  for (int64_t b = begin; b < end; b++) {
    uint8_t q[BLOCK];
    float d = largest(x + b * BLOCK) / 127.0f;
    round_block(q, x + b * BLOCK, d >= 0x1p-126f ? 1.0f / d : 0.0f);
    for (int i = 0; i < BLOCK; i++) y[b * BLOCK + i] = (float)(int8_t)q[i] * d;
  }
}

#define PITH_TERNARY {"ternarize", ternarize, ternarize_shared}, {"round_activations", round_activations, nullptr}
