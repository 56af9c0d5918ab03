// Linear attention by the gated delta rule (src/engine/ops/delta-rule.ts). A thread takes whole value heads, their tokens
// in ascending order: the bits do not depend on how a sequence is cut into steps, nor on the number of threads.
// While a thread works on a head, S lies in its scratch in blocks of 16 value columns, [Dp, 16] each, Dp = Dk rounded up
// to 4. Sums over d: four accumulators take d mod 4, by fma in ascending d; then (0, 1), (2, 3), their results.
#pragma once
#include "norm.h"
#include "recurrent.h"

constexpr int DELTA_HEAD = 256;  // equals MAX_HEAD_DIM in src/engine/ops/delta-rule.ts
constexpr int DELTA_TOKENS = 16;

static_assert((DELTA_HEAD * DELTA_HEAD + 4 * DELTA_TOKENS * DELTA_HEAD) * 4 <= (int64_t)LOCAL_BYTES);

struct Heads {
  int64_t Hk, Hv, Dk, Dv;
  bool tiled;
  int64_t padded() const { return (Dk + 3) & ~int64_t(3); }
  int64_t key(int64_t h) const { return tiled ? h % Hk : h / (Hv / Hk); }
  // The i-th value head of a key head.
  int64_t value(int64_t hk, int64_t i) const { return tiled ? i * Hk + hk : hk * (Hv / Hk) + i; }
};

// S of one block after a token, in place. Gives Sᵀ q.
PITH_INLINE V delta_token(float* S, const float* q, const float* k, V v, float decay, float beta, int64_t Dp) {
  V a0 = zero(), a1 = a0, a2 = a0, a3 = a0, gamma = splat(decay);
  for (int64_t d = 0; d < Dp; d += 4) {
    a0 = fma(load(S + d * 16), splat(k[d]), a0);
    a1 = fma(load(S + d * 16 + 16), splat(k[d + 1]), a1);
    a2 = fma(load(S + d * 16 + 32), splat(k[d + 2]), a2);
    a3 = fma(load(S + d * 16 + 48), splat(k[d + 3]), a3);
  }
  V delta = (v - ((a0 + a1) + (a2 + a3)) * gamma) * splat(beta);
  V o[4] = {zero(), zero(), zero(), zero()};
  for (int64_t d = 0; d < Dp; d += 4)
    for (int64_t i = 0; i < 4; i++) {
      V s = fma(splat(k[d + i]), delta, load(S + (d + i) * 16) * gamma);
      store(S + (d + i) * 16, s);
      o[i] = fma(s, splat(q[d + i]), o[i]);
    }
  return (o[0] + o[1]) + (o[2] + o[3]);
}

// Copies S between a row of the state [Dk, Dv] (null: zeros) and blocks.
PITH_INLINE void delta_load(float* S, const float* from, const Heads& p) {
  int64_t Dp = p.padded();
  for (int64_t j = 0; j < p.Dv; j += 16, S += Dp * 16)
    for (int64_t d = 0; d < Dp; d++)
      store(S + d * 16, from && d < p.Dk ? load_upto(from + d * p.Dv + j, p.Dv - j) : zero());
}
PITH_INLINE void delta_store(float* to, const float* S, const Heads& p) {
  for (int64_t j = 0; j < p.Dv; j += 16, S += p.padded() * 16)
    for (int64_t d = 0; d < p.Dk; d++) store_upto(to + d * p.Dv + j, load(S + d * 16), p.Dv - j);
}

// For this thread's heads: keys(q, k, t, hk) fills a token's rows, gates(decay, beta, t, n, h) those of n tokens, value(t,
// h, j) gives 16 columns of v, and finish(t, h, row) takes a token's o, in scratch.
template <class Keys, class Gates, class Value, class Finish>
PITH_INLINE void delta_heads(const Run& run, const Heads& p, const Tensor& segments, const StateRows& rows, int thread,
                             Keys keys, Gates gates, Value value, Finish finish) {
  const int32_t* segment = (const int32_t*)segments.data;
  int64_t Dp = p.padded(), begin, end;
  float* S = (float*)run.local[thread];
  float* q = S + DELTA_HEAD * DELTA_HEAD;
  float* k = q + DELTA_TOKENS * DELTA_HEAD;
  float* o = k + DELTA_TOKENS * DELTA_HEAD;
  float decay[DELTA_TOKENS], beta[DELTA_TOKENS];
  share(p.Hv, 1, run.threads, thread, &begin, &end);
  for (int64_t h = begin; h < end; h++)
    for (int64_t s = 0; s < segments.rows; s++) {
      int64_t first = segment[s * 4], last = first + segment[s * 4 + 1];
      const float* from = rows.from(s);
      delta_load(S, from ? from + h * p.Dk * p.Dv : nullptr, p);
      for (int64_t t = first; t < last; t += DELTA_TOKENS) {
        int64_t n = last - t < DELTA_TOKENS ? last - t : DELTA_TOKENS;
        for (int64_t i = 0; i < n; i++) {
          clear(q + i * Dp + p.Dk, Dp - p.Dk);
          clear(k + i * Dp + p.Dk, Dp - p.Dk);
          keys(q + i * Dp, k + i * Dp, t + i, p.key(h));
        }
        gates(decay, beta, t, n, h);
        float* block = S;
        for (int64_t j = 0; j < p.Dv; j += 16, block += Dp * 16)
          for (int64_t i = 0; i < n; i++)
            store(o + i * DELTA_HEAD + j,
                  delta_token(block, q + i * Dp, k + i * Dp, value(t + i, h, j), decay[i], beta[i], Dp));
        for (int64_t i = 0; i < n; i++) finish(t + i, h, o + i * DELTA_HEAD);
      }
      if (float* to = rows.to(s)) delta_store(to + h * p.Dk * p.Dv, S, p);
    }
}

// n values of a head from [T, Hv], one a lane.
PITH_INLINE V of_tokens(const float* x, int64_t t, int64_t n, int64_t Hv, int64_t h) {
  float at[DELTA_TOKENS] = {};
  for (int64_t i = 0; i < n; i++) at[i] = x[(t + i) * Hv + h];
  return load(at);
}

// [o [T, Hv, Dv]], [q, k [T, Hk, Dk], v [T, Hv, Dv], g, beta [T, Hv], segments, (state, slots)]; ints: offset, tiled
static void delta_rule(const Run& run, const Node& node, int thread) {
  const Heads p = {node.t[1]->d[1], node.t[3]->d[1], node.t[1]->cols, node.t[3]->cols, node.i[1] != 0};
  float *o = data(node, 0), *q = data(node, 1), *k = data(node, 2), *v = data(node, 3), *g = data(node, 4),
        *b = data(node, 5);
  delta_heads(
      run, p, *node.t[6], StateRows::make(node, 7, node.i[0]), thread,
      [=](float* qt, float* kt, int64_t t, int64_t hk) PITH_LAMBDA {
        copy(qt, q + (t * p.Hk + hk) * p.Dk, p.Dk);
        copy(kt, k + (t * p.Hk + hk) * p.Dk, p.Dk);
      },
      [=](float* decay, float* beta, int64_t t, int64_t n, int64_t h) PITH_LAMBDA {
        store(decay, exp(of_tokens(g, t, n, p.Hv, h)));
        store(beta, of_tokens(b, t, n, p.Hv, h));
      },
      [=](int64_t t, int64_t h, int64_t j) PITH_LAMBDA { return load_upto(v + (t * p.Hv + h) * p.Dv + j, p.Dv - j); },
      [=](int64_t t, int64_t h, const float* row) PITH_LAMBDA { copy(o + (t * p.Hv + h) * p.Dv, row, p.Dv); });
}

// y = silu(x) / sqrt(Σ silu(x)² + 1e-6) · factor, Σ in the order of reduce.h.
static void unit_row(float* y, const float* x, int64_t n, float factor) {
  map(y, x, n, [](V a) PITH_LAMBDA { return silu(a); });
  V s = splat(1.0f) / sqrt(splat(row_sum_squares(y, n) + 1e-6f)) * splat(factor);
  map(y, y, n, [=](V a) PITH_LAMBDA { return a * s; });
}

// [y [T, Hv Dv]], [x [T, 2 Hk Dk + Hv Dv], z, a, b, A [Hv], w [Dv], segments, (state, slots)];
// ints: offset, tiled, Hk, Hv, Dk; floats: eps
static void gated_delta_net(const Run& run, const Node& node, int thread) {
  const Heads p = {node.i[2], node.i[3], node.i[4], node.t[6]->cols, node.i[1] != 0};
  int64_t width = node.t[1]->cols, keys = p.Hk * p.Dk;
  float *y = data(node, 0), *x = data(node, 1), *z = data(node, 2), *a = data(node, 3), *b = data(node, 4),
        *A = data(node, 5), *w = data(node, 6);
  float eps = node.f[0], factor = lane(splat(1.0f) / sqrt(splat(float(p.Dk))), 0);
  delta_heads(
      run, p, *node.t[7], StateRows::make(node, 8, node.i[0]), thread,
      [=](float* qt, float* kt, int64_t t, int64_t hk) PITH_LAMBDA {
        const float* row = x + t * width + hk * p.Dk;
        unit_row(qt, row, p.Dk, factor);
        unit_row(kt, row + keys, p.Dk, 1.0f);
      },
      [=](float* decay, float* beta, int64_t t, int64_t n, int64_t h) PITH_LAMBDA {
        V at = of_tokens(a, t, n, p.Hv, h);
        V softplus = max(at, zero()) + log(splat(1.0f) + exp(-max(at, -at)));
        store(decay, exp(-(exp(splat(A[h])) * softplus)));
        store(beta, sigmoid(of_tokens(b, t, n, p.Hv, h)));
      },
      [=](int64_t t, int64_t h, int64_t j) PITH_LAMBDA {
        return silu(load_upto(x + t * width + 2 * keys + h * p.Dv + j, p.Dv - j));
      },
      [=](int64_t t, int64_t h, float* row) PITH_LAMBDA {
        int64_t at = (t * p.Hv + h) * p.Dv;
        norm_row(row, row, w, p.Dv, eps);
        map(y + at, row, z + at, p.Dv, [](V o, V gate) PITH_LAMBDA { return o * silu(gate); });
      });
}

// Tokens between two kept S in delta_rule_grad.
PITH_INLINE int64_t delta_stride(int64_t T) {
  int64_t n = 1;
  while (n * n < T) n++;
  return n;
}
static size_t delta_rule_grad_scratch(const Node& node, int32_t T, int32_t, int32_t) {
  int64_t Hk = node.t[5]->d[1], Dp = (node.t[5]->cols + 3) & ~int64_t(3);
  return size_t(Hk) * size_t(2 * delta_stride(T) + 3) * size_t(Dp) * 64;
}

// [dq, dk, dv, dg, dbeta], [q, k, v, g, beta, do, segments]; ints: tiled. A thread takes key heads; blocks of 16 columns
// and the value heads of a key head add up in ascending order. S of every token is computed again from kept ones.
static void delta_rule_grad(const Run& run, const Node& node, int thread) {
  const Heads p = {node.t[5]->d[1], node.t[7]->d[1], node.t[5]->cols, node.t[7]->cols, node.i[0] != 0};
  float *dq = data(node, 0), *dk = data(node, 1), *dv = data(node, 2), *dg = data(node, 3), *db = data(node, 4);
  float *q = data(node, 5), *k = data(node, 6), *v = data(node, 7), *g = data(node, 8), *b = data(node, 9),
        *d_o = data(node, 10);
  const Tensor& segments = *node.t[11];
  const int32_t* segment = (const int32_t*)segments.data;
  int64_t Dp = p.padded(), T = node.t[5]->d[0], stride = delta_stride(T), one = Dp * 16, begin, end;
  float* rows = (float*)run.local[thread];  // q and k of a token, padded
  share(p.Hk, 1, run.threads, thread, &begin, &end);
  for (int64_t hk = begin; hk < end; hk++) {
    float* kept = (float*)run.shared + hk * (2 * stride + 3) * one;
    float *each = kept + stride * one, *dS = each + (stride + 1) * one;
    auto keys = [&](int64_t t) PITH_LAMBDA {
      clear(rows + p.Dk, Dp - p.Dk);
      clear(rows + Dp + p.Dk, Dp - p.Dk);
      copy(rows, q + (t * p.Hk + hk) * p.Dk, p.Dk);
      copy(rows + Dp, k + (t * p.Hk + hk) * p.Dk, p.Dk);
    };
    for (int64_t t = 0; t < T; t++) {
      clear(dq + (t * p.Hk + hk) * p.Dk, p.Dk);
      clear(dk + (t * p.Hk + hk) * p.Dk, p.Dk);
    }
    for (int64_t i = 0; i < p.Hv / p.Hk; i++) {
      int64_t h = p.value(hk, i);
      for (int64_t t = 0; t < T; t++) dg[t * p.Hv + h] = db[t * p.Hv + h] = 0.0f;
      for (int64_t s = 0; s < segments.rows; s++)
        for (int64_t j = 0; j < p.Dv; j += 16) {
          int64_t first = segment[s * 4], length = segment[s * 4 + 1], n = p.Dv - j;
          auto step = [&](float* S, int64_t t) PITH_LAMBDA {
            keys(t);
            int64_t at = t * p.Hv + h;
            delta_token(S, rows, rows + Dp, load_upto(v + at * p.Dv + j, n), lane(exp(splat(g[at])), 0), b[at], Dp);
          };
          float* S = each;
          clear(S, one);
          for (int64_t u = 0; u < length; u++) {
            if (u % stride == 0) copy(kept + u / stride * one, S, one);
            step(S, first + u);
          }
          clear(dS, one);
          for (int64_t c = (length - 1) / stride; length > 0 && c >= 0; c--) {
            int64_t from = c * stride, tokens = length - from < stride ? length - from : stride;
            copy(each, kept + c * one, one);
            for (int64_t u = 0; u < tokens; u++) {
              copy(each + (u + 1) * one, each + u * one, one);
              step(each + (u + 1) * one, first + from + u);
            }
            for (int64_t u = tokens - 1; u >= 0; u--) {
              int64_t t = first + from + u, at = t * p.Hv + h;
              keys(t);
              const float *qt = rows, *kt = rows + Dp, *before = each + u * one, *after = before + one;
              float *to_q = dq + (t * p.Hk + hk) * p.Dk, *to_k = dk + (t * p.Hk + hk) * p.Dk;
              V gamma = exp(splat(g[at])), beta = splat(b[at]);
              V out = load_upto(d_o + at * p.Dv + j, n), du = zero(), found = zero(), gate = zero();
              for (int64_t d = 0; d < p.Dk; d++) {
                V key = splat(kt[d]), grown = fma(splat(qt[d]), out, load(dS + d * 16));
                store(dS + d * 16, grown);
                to_q[d] += sum(load(after + d * 16) * out);
                du = fma(grown, key, du);
                found = fma(load(before + d * 16), key, found);
              }
              V missing = load_upto(v + at * p.Dv + j, n) - found * gamma, taken = beta * missing, back = beta * du;
              for (int64_t d = 0; d < p.Dk; d++) {
                V grown = load(dS + d * 16), forgotten = load(before + d * 16) * gamma;
                to_k[d] += sum(grown * taken - forgotten * back);
                grown = grown - splat(kt[d]) * back;
                gate = fma(forgotten, grown, gate);
                store(dS + d * 16, grown * gamma);
              }
              store_upto(dv + at * p.Dv + j, back, n);
              dg[at] += sum(gate);
              db[at] += sum(du * missing);
            }
          }
        }
    }
  }
}

#define PITH_DELTA_RULE                                                                        \
  {"delta_rule", delta_rule, nullptr}, {"gated_delta_net", gated_delta_net, nullptr},          \
      {"delta_rule_grad", delta_rule_grad, delta_rule_grad_scratch}
