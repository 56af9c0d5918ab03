// Weights as codes times scales, minus minima, each of a group of columns, and the gradients of all of them.
// Included inside `namespace pith::<isa> {`. A sum over a group takes 16 columns at a time in ascending order, then the
// lanes as in simd.h.
#pragma once
#include "rows.h"

// What a code stands for: itself, or (ints 1) rounded to nearest even between low and high.
struct Rounding {
  bool on;
  V low, high;
};
PITH_INLINE V code_of(const Rounding& r, V c) { return r.on ? round_small(min(max(c, r.low), r.high)) : c; }
PITH_INLINE Rounding rounding(const Node& node) {
  return {node.i[1] != 0, splat(node.f[0]), splat(node.f[1])};
}

// Row r of codes of any weight type: where they are, or at `room`.
PITH_INLINE const float* code_row(float* room, const Tensor& codes, int64_t r) {
  if (!codes.packed) return (const float*)codes.data + r * codes.cols;
  packed_row(room, codes.type, codes.data, codes.cols, r);
  return room;
}

// [y [N, K]], [codes [N, K], scale [N, K / group], (min)]; ints: group, rounded; floats: low, high.
static void scale_groups(const Run& run, const Node& node, int thread) {
  int64_t K = node.t[0]->cols, group = node.i[0], G = K / group;
  const float *scale = data(node, 2), *least = node.ninputs > 2 ? data(node, 3) : nullptr;
  float *y = data(node, 0), *room = (float*)run.local[thread];
  Rounding rounded = rounding(node);
  each_row(run, node, 0, thread, [&](int64_t r) {
    const float* c = code_row(room, *node.t[1], r);
    for (int64_t g = 0; g < G; g++) {
      V s = splat(scale[r * G + g]), m = least ? splat(least[r * G + g]) : zero();
      for (int64_t i = 0; i < group; i += 16) {
        int64_t k = g * group + i, n = group - i;
        store_upto(y + r * K + k, s * code_of(rounded, load_upto(c + k, n)) - m, n);
      }
    }
  });
}

// [dscale, (dmin), (dcodes [N, K])], [codes, scale, (min), dy [N, K]]; ints: group, rounded, with min; floats: low, high.
static void scale_groups_grad(const Run& run, const Node& node, int thread) {
  bool with_min = node.i[2] != 0;
  int64_t group = node.i[0];
  const Tensor& codes = *node.t[node.noutputs];
  int64_t K = codes.cols, G = K / group;
  const float *scale = data(node, node.noutputs + 1), *dy = data(node, node.noutputs + node.ninputs - 1);
  float *dscale = data(node, 0), *dmin = with_min ? data(node, 1) : nullptr, *room = (float*)run.local[thread];
  Rounding rounded = rounding(node);
  float* dcodes = rounded.on ? data(node, node.noutputs - 1) : nullptr;
  V above = rounded.high + splat(0.5f), below = rounded.low - splat(0.5f);
  each_row(run, node, node.noutputs, thread, [&](int64_t r) {
    const float* c = code_row(room, codes, r);
    for (int64_t g = 0; g < G; g++) {
      V s = splat(scale[r * G + g]), by_scale = zero(), by_min = zero();
      for (int64_t i = 0; i < group; i += 16) {
        int64_t k = g * group + i, n = group - i;
        V code = load_upto(c + k, n), d = load_upto(dy + r * K + k, n);
        by_scale = fma(d, code_of(rounded, code), by_scale);
        by_min = by_min - d;
        if (!dcodes) continue;
        V slope = d * s;
        I outwards = ((code > above) & (slope < zero())) | ((code < below) & (slope > zero()));
        store_upto(dcodes + r * K + k, select(outwards, zero(), slope), n);
      }
      dscale[r * G + g] = sum(by_scale);
      if (dmin) dmin[r * G + g] = sum(by_min);
    }
  });
}

// [y], [x]: the nearest f16
static void round_half(const Run& run, const Node& node, int thread) {
  unary(run, node, thread, [](V x) PITH_LAMBDA {
    uint16_t half[16];
    store_f16(half, x);
    return load_f16(half);
  });
}

#define PITH_QUANTIZATION                                                                          \
  {"scale_groups", scale_groups, nullptr}, {"scale_groups_grad", scale_groups_grad, nullptr},      \
      {"round_half", round_half, nullptr}
