// Training with ternary weights and int8 activations: the rounding forward. (Backward it is not there.)
#pragma once
#include "int8.h"
#include "reduce.h"

// Elements that are summed up together, in 16 lanes of double.
constexpr int64_t MAGNITUDES = 1 << 12;

// The nearest bf16, ties to even, and at least 2^-16. NaN stays NaN.
static float ternary_scale(double mean) {
  float d = (float)mean;
  if (!(d > 0x1p-16f)) return d <= 0x1p-16f ? 0x1p-16f : d;
  uint32_t u = __builtin_bit_cast(uint32_t, d);
  u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
  return __builtin_bit_cast(float, u);
}

// What is known of a block of MAGNITUDES: Σ |w|, and of those above the threshold Σ |w| and how many they are.
struct Magnitudes {
  double all, large, count;
};

// Sums of |w| for those of w[0 .. n) above `least`, in 16 lanes.
static void sum_above(const float* w, int64_t n, float least, double* sum, double* count) {
  double lane[16] = {}, many[16] = {};
  for (int64_t i = 0; i < n; i += 16)
    for (int64_t j = 0; j < 16 && i + j < n; j++) {
      float x = __builtin_fabsf(w[i + j]);
      lane[j] += x > least ? (double)x : 0.0;
      many[j] += x > least ? 1.0 : 0.0;
    }
  *sum = *count = 0;
  for (int j = 0; j < 16; j++) *sum += lane[j], *count += many[j];
}

// [y], [w]; ints: n, elements that share a scale. Of each n: t = ternary_scale(mean |w|) / 2, d = ternary_scale(mean |w| of
// those above t), y = d sign(w) where |w| > t. Sums in double: blocks of 2^12 (the last of a group shorter), then the blocks
// in ascending order.
static void ternarize(const Run& run, const Node& node, int thread) {
  Magnitudes* parts = (Magnitudes*)run.shared;
  float* y = data(node, 0);
  const float* w = data(node, 1);
  int64_t all = size(node, 1), n = node.i[0], each = (n + MAGNITUDES - 1) / MAGNITUDES, begin, end;
  auto threshold = [&](int64_t group) {
    double total = 0;
    for (int64_t b = group * each; b < (group + 1) * each; b++) total += parts[b].all;
    return ternary_scale(total / (double)n) * 0.5f;
  };
  auto blocks = [&](auto visit) {
    share(all / n * each, 1, run.threads, thread, &begin, &end);
    for (int64_t b = begin; b < end; b++) {
      int64_t group = b / each, i = group * n + (b - group * each) * MAGNITUDES, stop = (group + 1) * n;
      visit(parts[b], w + i, stop - i < MAGNITUDES ? stop - i : MAGNITUDES, group);
    }
  };
  if (run.threads > 1) run.meet(run, thread);
  // NaN is above no threshold, so the first sum takes it as it is.
  blocks([&](Magnitudes& part, const float* x, int64_t count, int64_t) {
    double lane[16] = {};
    for (int64_t i = 0; i < count; i += 16)
      for (int64_t j = 0; j < 16 && i + j < count; j++) lane[j] += (double)__builtin_fabsf(x[i + j]);
    part.all = 0;
    for (int j = 0; j < 16; j++) part.all += lane[j];
  });
  if (run.threads > 1) run.meet(run, thread);
  blocks([&](Magnitudes& part, const float* x, int64_t count, int64_t group) {
    sum_above(x, count, threshold(group), &part.large, &part.count);
  });
  if (run.threads > 1) run.meet(run, thread);
  share(all, GRAIN, run.threads, thread, &begin, &end);
  for (int64_t i = begin; i < end;) {
    int64_t group = i / n, stop = (group + 1) * n < end ? (group + 1) * n : end;
    double total = 0, count = 0;
    for (int64_t b = group * each; b < (group + 1) * each; b++) total += parts[b].large, count += parts[b].count;
    float least = threshold(group), scale = ternary_scale(count > 0 ? total / count : 0);
    V half = splat(least), none = splat(least - least);  // NaN where the mean is
    I d = bits(splat(scale)), sign = splat_int(INT32_MIN);
    map(y + i, w + i, stop - i, [=](V x) PITH_LAMBDA {
      return select(floats(bits(x) & ~sign) > half, floats((bits(x) & sign) | d), none);
    });
    i = stop;
  }
}

static size_t ternarize_shared(const Node& node, int32_t, int32_t, int32_t) {
  int64_t n = node.i[0];
  return (size_t)(size(node, 1) / n * ((n + MAGNITUDES - 1) / MAGNITUDES)) * sizeof(Magnitudes);
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
