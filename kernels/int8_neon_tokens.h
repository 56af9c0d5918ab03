// Four tokens of a tile at a time with sdot or smmla, for int8.h: the sums and scales of four are one load each, and their
// products are under way together. What is left of a tile goes token by token. Included inside `namespace pith::<isa> {`.
#pragma once

#if defined(__ARM_FEATURE_MATMUL_INT8)

// Eight columns of rows 0 and 1, and of rows 2 and 3, side by side as smmla takes them: octets 2j and 2j + 1.
template <class F>
struct Quad {
  int8x16_t z[8];
  PITH_MEMBER void take(const Dots<F>& dots) {
    for (int j = 0; j < 4; j++) {
      int32x4_t a = (int32x4_t)dots.u[j * 2], b = (int32x4_t)dots.u[j * 2 + 1];
      z[j * 2] = (int8x16_t)vzip1q_s32(a, b);
      z[j * 2 + 1] = (int8x16_t)vzip2q_s32(a, b);
    }
  }
  // s[k] = start[k] + the products of columns 8 from .. 8 to with token i + k.
  template <int N>
  PITH_MEMBER void add(int32x4_t* s, int32x4_t start, const Tokens<N>& t, int i, int from, int to) const {
    int64x2_t both = (int64x2_t)start;
    int32x4_t a = (int32x4_t)vdupq_laneq_s64(both, 0), b = a, c = (int32x4_t)vdupq_laneq_s64(both, 1), d = c;
    for (int j = from; j < to; j++) {
      int8x16_t v = t.pairs[i * 2 + j], w = t.pairs[i * 2 + 4 + j];
      a = vmmlaq_s32(a, z[j * 2], v);
      b = vmmlaq_s32(b, z[j * 2 + 1], v);
      c = vmmlaq_s32(c, z[j * 2], w);
      d = vmmlaq_s32(d, z[j * 2 + 1], w);
    }
    s[0] = vuzp1q_s32(a, b);
    s[1] = vuzp2q_s32(a, b);
    s[2] = vuzp1q_s32(c, d);
    s[3] = vuzp2q_s32(c, d);
  }
};

#else

template <class F>
struct Quad {
  int8x16_t u[8];
  PITH_MEMBER void take(const Dots<F>& dots) {
    for (int g = 0; g < 8; g++) u[g] = dots.u[g];
  }
  template <int N>
  PITH_MEMBER void add(int32x4_t* s, int32x4_t start, const Tokens<N>& t, int i, int from, int to) const {
    const int8_t* x = (const int8_t*)t.x + i * 32;
    s[0] = vdupq_laneq_s32(start, 0);
    s[1] = vdupq_laneq_s32(start, 1);
    s[2] = vdupq_laneq_s32(start, 2);
    s[3] = vdupq_laneq_s32(start, 3);
    for (int h = from / 2; h < to / 2; h++) {
      int8x16_t v[4];
      for (int k = 0; k < 4; k++) v[k] = vld1q_s8(x + k * 32 + h * 16);
      for (int k = 0; k < 4; k++) s[k] = vdotq_laneq_s32(s[k], u[h * 4], v[k], 0);
      for (int k = 0; k < 4; k++) s[k] = vdotq_laneq_s32(s[k], u[h * 4 + 1], v[k], 1);
      for (int k = 0; k < 4; k++) s[k] = vdotq_laneq_s32(s[k], u[h * 4 + 2], v[k], 2);
      for (int k = 0; k < 4; k++) s[k] = vdotq_laneq_s32(s[k], u[h * 4 + 3], v[k], 3);
    }
  }
};

#endif

// Lane k in every lane.
PITH_INLINE P lane_of(float32x4_t v, int k) {
  switch (k) {
    case 0: return (P)vdupq_laneq_f32(v, 0);
    case 1: return (P)vdupq_laneq_f32(v, 1);
    case 2: return (P)vdupq_laneq_f32(v, 2);
    default: return (P)vdupq_laneq_f32(v, 3);
  }
}

template <class F, int N>
PITH_INLINE void add_tokens(P (*acc)[4], int h, const Dots<F>& dots, const Tokens<N>& tokens, const uint8_t* x, const P* a,
                            const P* m) {
  constexpr int ZERO = F::ZERO, FOURS = N / 4 * 4;
  Quad<F> quad;
  if (FOURS > 0) quad.take(dots);
#pragma GCC unroll 1
  for (int i = 0; i < FOURS; i += 4) {
    float32x4_t dx = vld1q_f32((const float*)(x + N * 32 + i * 4)), q[2];
    int32x4_t sum[2] = {vld1q_s32((const int32_t*)(x + N * 36 + i * 4))}, s[2][4];
    if constexpr (F::PARTS == 1) {
      quad.add(s[0], (int32x4_t)offset<ZERO>((PI)sum[0]), tokens, i, 0, 4);
    } else {
      int32x4_t first = vld1q_s32((const int32_t*)(x + N * 40 + i * 4));
      sum[1] = vsubq_s32(sum[0], first);
      sum[0] = first;
      quad.add(s[0], (int32x4_t)offset<ZERO>((PI)sum[0]), tokens, i, 0, 2);
      quad.add(s[1], (int32x4_t)offset<ZERO>((PI)sum[1]), tokens, i, 2, 4);
    }
    for (int j = 0; j < F::PARTS; j++) q[j] = vcvtq_f32_s32(sum[j]);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
      P of[2], qs[2];
      for (int j = 0; j < F::PARTS; j++) {
        of[j] = (P)vcvtq_f32_s32(s[j][k]);
        qs[j] = lane_of(q[j], k);
      }
      acc[i + k][h] = add_sums<F>(acc[i + k][h], of, qs, lane_of(dx, k), a, m);
    }
  }
#pragma GCC unroll 4
  for (int i = FOURS; i < N; i++) acc[i][h] = add_block<F>(acc[i][h], dots, tokens, x, N, i, a, m);
}
