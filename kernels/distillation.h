// How far a student's softmax q is from a teacher's p, and the slopes by the student's logits; one row at a time.
// Included inside `namespace pith::<isa> {`.
//
// Everything is said in logarithms: log p and log q are clamped at LEAST_LOG, so that no infinity meets a probability that
// underflowed to 0, and no quotient of probabilities is ever taken but q / m, which is bounded. KL(a|b) is summed as
// a (log a - log b) - a + b: no term is negative beyond its rounding, and what p and q miss of a sum of 1 does not matter.
// Order of these sums: lane l takes columns 16 k + l in ascending k, 1024 columns by themselves and then the thousands; then
// the lanes as in simd.h. Σ e^x is as in reduce.h.
#pragma once
#include "reduce.h"

constexpr float LEAST_LOG = -1e4f, LEAST_TEACHER_TAIL = 0x1p-24f, LEAST_STUDENT_TAIL = 1e-30f, LEAST_MIXTURE = 1e-37f;

enum DivergenceKind { FORWARD_KL, REVERSE_KL, JSD, SKEW_KL, SKEW_REVERSE_KL };

struct Divergence {
  int kind;
  float inverse;   // 1 / temperature
  float wp, wq;    // shares of p and q in the mixture m
  float factor;    // of the loss: 1, or temperature²
};
static Divergence divergence_of(int kind, bool squared, float temperature, float beta) {
  Divergence d = {kind, 1.0f / temperature, beta, 1.0f - beta, squared ? temperature * temperature : 1.0f};
  if (kind == SKEW_REVERSE_KL) d.wp = 1.0f - beta, d.wq = beta;
  return d;
}

// What the slopes of a row are made of: out = shape(z) (alpha q (g - Σ q g) + beta softmax(logits)), g = dloss/dq.
struct Slopes {
  float* out;                // may be the logits themselves
  float* keep;               // n floats that may be overwritten (perhaps the teacher's logits), or null: logits stay as they are
  float alpha, beta;
  float cap;                 // shape(z) = 1 - (z / cap)², or 1 without a cap
  float top, plain_lse;      // softmax(logits) = e^(z - top - plain_lse), at temperature 1
  bool same;                 // that is q
};

// A row's log-softmax: (x - top) inverse - lse.
struct Row {
  const float* x;
  float top, lse;
};
static Row row_of(const float* x, int64_t n, float inverse) {
  Row row = {x, row_max(x, n), 0};
  V m = splat(row.top), s = splat(inverse);
  row.lse = log1(sum(fold(x, n, zero(), [=](V v) PITH_LAMBDA { return exp_negative((v - m) * s); },
                          [](V a, V b) PITH_LAMBDA { return a + b; })));
  return row;
}
PITH_INLINE V log_of(const Row& row, V x, float inverse) {
  return max(splat(LEAST_LOG), (x - splat(row.top)) * splat(inverse) - splat(row.lse));
}

// A bucket's part of the loss, and q g (up to a constant in g, which changes no slope). KIND: MIXTURES are all that have one.
constexpr int MIXTURES = JSD;
template <int KIND>
PITH_INLINE void diverge(const Divergence& d, V lp, V lq, V p, V q, V* part, V* qg) {
  if constexpr (KIND == FORWARD_KL) {
    *part = p * (lp - lq) - p + q;
    *qg = -p;
  } else if constexpr (KIND == REVERSE_KL) {
    *qg = q * (lq - lp);
    *part = *qg - q + p;
  } else {
    V m = max(splat(d.wp) * p + splat(d.wq) * q, splat(LEAST_MIXTURE)), lm = log(m);
    if (d.kind == JSD) {
      *qg = splat(d.wq) * (q * (lq - lm));
      *part = splat(d.wp) * (p * (lp - lm)) + *qg;
    } else if (d.kind == SKEW_KL) {
      *part = p * (lp - lm) - p + m;
      *qg = -p * (splat(d.wq) * q / m);
    } else {
      V toward = q * (lq - lm);
      *part = toward - q + m;
      *qg = toward - q * (splat(d.wq) * q / m);
    }
  }
}
template <int K>
struct Kind {
  static constexpr int KIND = K;
};
template <class F>
PITH_INLINE void with_divergence(int kind, F f) {
  if (kind == FORWARD_KL) return f(Kind<FORWARD_KL>());
  if (kind == REVERSE_KL) return f(Kind<REVERSE_KL>());
  f(Kind<MIXTURES>());
}

// A sum whose terms come in ascending columns.
struct Total {
  V total = zero(), part = zero();
  int64_t taken = 0;
  PITH_LAMBDA void add(V v) {
    part += v;
    if (++taken % 64) return;
    total += part;
    part = zero();
  }
  PITH_LAMBDA float all() { return sum(total + part); }
};
// The lanes that n columns fill.
PITH_INLINE V within(V v, int64_t n) { return n >= 16 ? v : select(lanes() < splat_int((int32_t)n), v, zero()); }

PITH_INLINE V shape_of(const Slopes& s, V z) {
  V part = z * splat(1.0f / s.cap);
  return splat(1.0f) - part * part;
}
PITH_INLINE V plain_softmax(const Slopes& s, V z) { return exp_negative((z - splat(s.top)) - splat(s.plain_lse)); }

// The loss of a row of n logits by a row of the teacher's; with `s` its slopes too.
template <int KIND>
__attribute__((noinline)) static float dense_row(const Divergence& d, const Row& student, const Row& teacher, int64_t n, const Slopes* s) {
  Total loss, mean;
  bool keeps = s && s->keep, shaped = s && s->cap > 0;
  for (int64_t i = 0; i < n; i += 16) {
    V z = load_upto(student.x + i, n - i);
    V lq = log_of(student, z, d.inverse), lp = log_of(teacher, load_upto(teacher.x + i, n - i), d.inverse);
    V q = exp_negative(lq), p = exp_negative(lp), part, qg;
    diverge<KIND>(d, lp, lq, p, q, &part, &qg);
    loss.add(within(part, n - i));
    if (!s) continue;
    V slope = splat(s->alpha) * qg, share = splat(s->alpha) * q;
    if constexpr (KIND == FORWARD_KL)
      slope += share;  // Σ q g is -Σ p
    else
      mean.add(within(qg, n - i));
    if (s->beta != 0) slope += splat(s->beta) * (s->same ? q : plain_softmax(*s, z));
    if (shaped) {
      V f = shape_of(*s, z);
      slope = slope * f, share = share * f;
    }
    store_upto(s->out + i, slope, n - i);
    if (KIND != FORWARD_KL && keeps) store_upto(s->keep + i, share, n - i);
  }
  if constexpr (KIND != FORWARD_KL)
    if (s) {
      V g = splat(mean.all()), a = splat(s->alpha);
      if (keeps)
        map(s->out, s->out, s->keep, n, [=](V slope, V share) PITH_LAMBDA { return slope - g * share; });
      else
        map(s->out, s->out, student.x, n, [&](V slope, V z) PITH_LAMBDA {
          return slope - g * (a * exp_negative(log_of(student, z, d.inverse)));
        });
    }
  return d.factor * loss.all();
}

// --- A few named tokens and the tail ---------------------------------------------------------------------------------------

struct Named {
  const int32_t* ids;   // [K], -1: none
  const float* logp;    // [K]
  const float* z;       // [K], the student's logits of them
  int64_t K, count;     // of those that are not -1
};
PITH_INLINE I named_ids(const Named& a, int64_t k) {
  int32_t id[16];
  for (int64_t j = 0; j < 16; j++) id[j] = k + j < a.K ? a.ids[k + j] : -1;
  return load_int(id);
}
// f(k, mask, log p, z) for 16 named tokens at a time; lanes beyond are of no meaning.
template <class F>
PITH_INLINE void each_named(const Named& a, F f) {
  for (int64_t k = 0; k < a.K; k += 16)
    f(k, named_ids(a, k) >= splat_int(0), max(splat(LEAST_LOG), load_upto(a.logp + k, a.K - k)), load_upto(a.z + k, a.K - k));
}

constexpr int64_t NAMED_BLOCK = 32768;  // columns of a row that are copied at a time

// Σ e^((x - top) inverse) over the tokens that are not named: by itself, since what a difference leaves is mostly rounding.
static float tail_sum(const float* x, int64_t n, const Named& a, float top, float inverse, float* block) {
  V m = splat(top), s = splat(inverse);
  float total = 0;
  for (int64_t from = 0; from < n; from += NAMED_BLOCK) {
    int64_t width = n - from < NAMED_BLOCK ? n - from : NAMED_BLOCK;
    copy(block, x + from, width);
    for (int64_t k = 0; k < a.K; k++)
      if (a.ids[k] >= from && a.ids[k] < from + width) block[a.ids[k] - from] = -__builtin_inff();
    total += sum(fold(block, width, zero(), [=](V v) PITH_LAMBDA { return exp_negative((v - m) * s); },
                      [](V a, V b) PITH_LAMBDA { return a + b; }));
  }
  return total;
}

// As dense_row; says what the student's row is. `block`: NAMED_BLOCK floats of scratch. `s->keep` is not used.
template <int KIND>
__attribute__((noinline)) static float named_row(const Divergence& d, Row* of, const float* x, int64_t n, const Named& a,
                                                 const Slopes* s, float* block) {
  Row student = {x, row_max(x, n), 0};
  bool whole = a.count >= n;
  float rest = whole ? 0 : tail_sum(x, n, a, student.top, d.inverse, block);
  Total chosen;
  each_named(a, [&](int64_t, I mask, V, V z) PITH_LAMBDA {
    chosen.add(select(mask, exp_negative((z - splat(student.top)) * splat(d.inverse)), zero()));
  });
  float all = rest + chosen.all();
  student.lse = log1(all);
  *of = student;

  Total loss, mean;
  double mass = 1;
  each_named(a, [&](int64_t, I mask, V lp, V z) PITH_LAMBDA {
    V lq = log_of(student, z, d.inverse), q = exp_negative(lq), p = exp_negative(lp), part, qg;
    diverge<KIND>(d, lp, lq, p, q, &part, &qg);
    loss.add(select(mask, part, zero()));
    mean.add(select(mask, qg, zero()));
    float each[16];
    store(each, select(mask, p, zero()));
    for (int j = 0; j < 16; j++) mass -= (double)each[j];
  });
  float total = loss.all(), g = mean.all(), ratio = 0;
  if (!whole) {
    float p = (float)mass, q = rest / all;
    p = p > LEAST_TEACHER_TAIL ? p : LEAST_TEACHER_TAIL;
    q = q > LEAST_STUDENT_TAIL ? q : LEAST_STUDENT_TAIL;
    V part, qg;
    diverge<KIND>(d, log(splat(p)), log(splat(q)), splat(p), splat(q), &part, &qg);
    total += lane(part, 0);
    g += lane(qg, 0);
    ratio = lane(qg, 0) / q;
  }
  if (!s) return d.factor * total;

  auto finish = [&](V slope, V q, V z) PITH_LAMBDA {
    slope = splat(s->alpha) * slope;
    if (s->beta != 0) slope += splat(s->beta) * (s->same ? q : plain_softmax(*s, z));
    return s->cap > 0 ? slope * shape_of(*s, z) : slope;
  };
  V tail = splat(ratio - g);
  map(s->out, x, n, [&](V z) PITH_LAMBDA {
    V q = exp_negative(log_of(student, z, d.inverse));
    return finish(q * tail, q, z);
  });
  each_named(a, [&](int64_t k, I, V lp, V z) PITH_LAMBDA {
    V lq = log_of(student, z, d.inverse), q = exp_negative(lq), part, qg;
    diverge<KIND>(d, lp, lq, exp_negative(lp), q, &part, &qg);
    float slope[16];
    store(slope, finish(qg - splat(g) * q, q, z));
    for (int64_t j = 0; j < 16 && k + j < a.K; j++)
      if (a.ids[k + j] >= 0) s->out[a.ids[k + j]] = slope[j];
  });
  return d.factor * total;
}

// --- The core rows ---------------------------------------------------------------------------------------------------------

static Slopes plain_slopes(const Divergence& d, float* out) {
  Slopes s = {};
  s.out = out;
  s.alpha = d.factor * d.inverse;
  return s;
}

// [loss [R, 1] or slopes [R, V]], [logits, teacher]; ints: kind, squared; floats: temperature, beta
template <bool SLOPES>
static void distillation_dense(const Run& run, const Node& node, int thread) {
  Divergence d = divergence_of(node.i[0], node.i[1], node.f[0], node.f[1]);
  int64_t n = node.t[1]->cols;
  float *y = data(node, 0), *logits = data(node, 1), *teacher = data(node, 2);
  each_row(run, node, 1, thread, [&](int64_t r) {
    Row q = row_of(logits + r * n, n, d.inverse), p = row_of(teacher + r * n, n, d.inverse);
    Slopes s = plain_slopes(d, y + r * n);
    float loss = 0;
    with_divergence(d.kind, [&](auto k) { loss = dense_row<decltype(k)::KIND>(d, q, p, n, SLOPES ? &s : nullptr); });
    if (!SLOPES) y[r] = loss;
  });
}

static Named named_of(const int32_t* ids, const float* logp, int64_t K, const float* x, float* z) {
  Named a = {ids, logp, z, K, 0};
  for (int64_t k = 0; k < K; k++) {
    z[k] = ids[k] >= 0 ? x[ids[k]] : 0;
    a.count += ids[k] >= 0;
  }
  return a;
}
// Scratch of one thread: a block, then the logits of MOST_NAMED tokens.
constexpr int64_t MOST_NAMED = 131072;
static_assert((NAMED_BLOCK + MOST_NAMED) * 4 <= int64_t(LOCAL_BYTES));

// [loss or slopes], [logits, ids [R, K], logp [R, K]]; as above
template <bool SLOPES>
static void distillation_named(const Run& run, const Node& node, int thread) {
  Divergence d = divergence_of(node.i[0], node.i[1], node.f[0], node.f[1]);
  int64_t n = node.t[1]->cols, K = node.t[2]->cols;
  float *y = data(node, 0), *logits = data(node, 1), *block = (float*)run.local[thread];
  each_row(run, node, 1, thread, [&](int64_t r) {
    const float* x = logits + r * n;
    Named a = named_of(ids(node, 2) + r * K, data(node, 3) + r * K, K, x, block + NAMED_BLOCK);
    Slopes s = plain_slopes(d, y + r * n);
    Row of;
    float loss = 0;
    with_divergence(d.kind, [&](auto k) { loss = named_row<decltype(k)::KIND>(d, &of, x, n, a, SLOPES ? &s : nullptr, block); });
    if (!SLOPES) y[r] = loss;
  });
}

#define PITH_DISTILLATION                                                        \
  {"distillation_loss", distillation_dense<false>, nullptr},                     \
      {"distillation_slopes", distillation_dense<true>, nullptr},                \
      {"distillation_topk_loss", distillation_named<false>, nullptr},            \
      {"distillation_topk_slopes", distillation_named<true>, nullptr}
