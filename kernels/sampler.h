// Choosing a token from one row of logits. `src/engine/sampler.ts` is the definition (order of steps, packed layout,
// error ids); this gives the same ids, quickly. Freestanding; no allocation; rows may be sampled by different threads
// at once, each with its own scratch.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace pith::sampler {

constexpr int INTS = 12, FLOATS = 6;   // header of a row in the packed arrays
constexpr int NONE_ALLOWED = -1, NOT_FINITE = -2;
constexpr int SPAN = 1024;             // tokens whose weights are summed together when nothing is cut

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
typedef float F __attribute__((vector_size(LANES * 4)));
typedef int32_t I __attribute__((vector_size(LANES * 4)));
typedef float HalfF __attribute__((vector_size(LANES * 2)));
typedef double D __attribute__((vector_size(LANES * 4)));
typedef uint64_t U __attribute__((vector_size(LANES * 4)));

constexpr float INF = __builtin_inff();
#ifndef PITH_INLINE
#define PITH_INLINE static inline __attribute__((always_inline))
#endif

// A possible token. `a` comes before `b` when its logit is larger, or equal and its id lower.
struct Candidate {
  float value;
  int32_t id;
};
PITH_INLINE bool before(Candidate a, Candidate b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

// exp(y) for y <= 0 to about an ulp, 0 below -708. Of a double (Bits: uint64_t) or a vector of them (Bits: U).
template <class T, class Bits>
PITH_INLINE T exp_nonpositive(T y) {
  const double MAGIC = 6755399441055744.0;   // 1.5 · 2^52: adding it rounds to an integer, kept in the low bits
  T zero = {}, low = zero - 708.0;
  auto tiny = y < low;
  y = tiny ? low : y;
  T t = y * 1.4426950408889634 + MAGIC;
  T n = t - MAGIC;
  T r = y - n * 6.93147180369123816490e-01;
  r = r - n * 1.90821492927058770002e-10;
  T p = zero + 1.0 / 6227020800.0;
  const double c[13] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
                        1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      0.5,         1.0,
                        1.0};
  for (int i = 0; i < 13; i++) p = p * r + c[i];
  Bits bits, scale;
  __builtin_memcpy(&bits, &t, sizeof bits);
  scale = (bits + 1023) << 52;               // what is left of MAGIC's own bits shifts out
  T power;
  __builtin_memcpy(&power, &scale, sizeof power);
  return tiny ? zero : p * power;
}
PITH_INLINE double exp1(double y) { return exp_nonpositive<double, uint64_t>(y); }

// log(x) for finite x >= 1: x = 2^e · m, log m = 2 atanh((m - 1) / (m + 1)).
PITH_INLINE double log1(double x) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, 8);
  int e = (int)(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
  double m;
  __builtin_memcpy(&m, &bits, 8);
  if (m > 1.4142135623730951) m *= 0.5, e++;
  double s = (m - 1) / (m + 1), z = s * s, sum = 0;
  for (int k = 23; k >= 1; k -= 2) sum = sum * z + 1.0 / k;
  return e * 0.6931471805599453 + 2 * s * sum;
}

// A number in [0, 1) with 53 bits: Philox 4x32-10 of (counter, 0, 0, 0) under the seed.
static inline double uniform(uint32_t counter, uint32_t k0, uint32_t k1) {
  uint32_t a = counter, b = 0, c = 0, d = 0;
  for (int round = 0; round < 10; round++, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
    uint64_t p = (uint64_t)0xd2511f53u * a, q = (uint64_t)0xcd9e8d57u * c;
    a = (uint32_t)(q >> 32) ^ b ^ k0;
    b = (uint32_t)q;
    c = (uint32_t)(p >> 32) ^ d ^ k1;
    d = (uint32_t)p;
  }
  return ((double)(a >> 5) * 67108864.0 + (double)(b >> 6)) / 9007199254740992.0;
}

// Logits of one row as the scans see them: what the mask forbids, and what lies beyond the end, is -INF.
struct Row {
  const float* x;
  int32_t n;
  const uint32_t* mask;   // or null
};

PITH_INLINE float at(const Row& row, int32_t i) {
  return !row.mask || (row.mask[i >> 5] >> (i & 31) & 1) ? row.x[i] : -INF;
}

// LANES logits from i, a multiple of LANES.
PITH_INLINE F load(const Row& row, int32_t i) {
  F v;
  if (i + LANES <= row.n) {
    __builtin_memcpy(&v, row.x + i, sizeof v);
  } else {
    v = F{} - INF;
    for (int j = 0; i + j < row.n; j++) v[j] = row.x[i + j];
  }
  if (row.mask) {
    I bit;
    for (int j = 0; j < LANES; j++) bit[j] = 1 << j;
    I word = I{} + (int32_t)(row.mask[i >> 5] >> (i & 31) & 0xffff);
    v = (word & bit) != 0 ? v : F{} - INF;
  }
  return v;
}

PITH_INLINE bool any(I m) {
  U u;
  __builtin_memcpy(&u, &m, sizeof u);
  uint64_t all = 0;
  for (int j = 0; j < LANES / 2; j++) all |= u[j];
  return all != 0;
}

static inline bool all_finite(const float* x, int32_t n) {
  Row row = {x, n, nullptr};
  I bad = {};
  for (int32_t i = 0; i < n; i += LANES) bad |= ~(load(row, i) < F{} + INF);
  return !any(bad);
}

// The first of all candidates; id -1 when there is none.
static inline Candidate first(const Row& row) {
  F best = F{} - INF;
  I where = I{} - 1;
  for (int32_t i = 0; i < row.n; i += LANES) {
    F v = load(row, i);
    I more = v > best;
    best = more ? v : best;
    where = more ? I{} + i : where;
  }
  Candidate c = {-INF, -1};
  for (int j = 0; j < LANES; j++) {
    Candidate lane = {best[j], where[j] + j};
    if (where[j] >= 0 && (c.id < 0 || before(lane, c))) c = lane;
  }
  return c;
}

// Σ exp((x - max) / temperature) over [begin, end), begin a multiple of LANES, end too or the row's.
static inline double sum_exp(const Row& row, int32_t begin, int32_t end, float max, double temperature) {
  D a = {}, b = {};
  for (int32_t i = begin; i < end; i += LANES) {
    F v = load(row, i);
    HalfF lo, hi;
    __builtin_memcpy(&lo, &v, sizeof lo);
    __builtin_memcpy(&hi, (const char*)&v + sizeof lo, sizeof hi);
    a += exp_nonpositive<D, U>((__builtin_convertvector(lo, D) - (double)max) / temperature);
    b += exp_nonpositive<D, U>((__builtin_convertvector(hi, D) - (double)max) / temperature);
  }
  a += b;
  double sum = 0;
  for (int j = 0; j < LANES / 2; j++) sum += a[j];
  return sum;
}

// Puts h[0 .. n) in heap order below i: a parent comes before its children (LAST: after them).
template <bool LAST>
PITH_INLINE void sift(Candidate* h, int32_t n, int32_t i) {
  Candidate c = h[i];
  for (int32_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && before(h[child + 1], h[child]) != LAST) child++;
    if (before(h[child], c) == LAST) break;
    h[i] = h[child];
  }
  h[i] = c;
}

// The first k candidates in order, at `out` (k entries). Returns how many there are.
static inline int32_t select_top(const Row& row, int32_t k, Candidate* out) {
  int32_t n = 0;
  float least = -INF;   // what a newcomer must exceed; ids ascend, so an equal one comes after
  for (int32_t i = 0; i < row.n; i += 64) {
    F limit = F{} + least;
    I m = load(row, i) > limit;
    for (int j = LANES; j < 64 && i + j < row.n; j += LANES) m |= load(row, i + j) > limit;
    if (!any(m)) continue;
    int32_t end = i + 64 < row.n ? i + 64 : row.n;
    for (int32_t id = i; id < end; id++) {
      Candidate c = {at(row, id), id};
      if (!(c.value > least)) continue;
      if (n < k) {
        out[n++] = c;
        if (n < k) continue;
        for (int32_t j = n / 2 - 1; j >= 0; j--) sift<true>(out, n, j);
      } else {
        out[0] = c;
        sift<true>(out, n, 0);
      }
      least = out[0].value;
    }
  }
  if (n < k)
    for (int32_t j = n / 2 - 1; j >= 0; j--) sift<true>(out, n, j);
  for (int32_t left = n - 1; left > 0; left--) {
    Candidate c = out[0];
    out[0] = out[left];
    out[left] = c;
    sift<true>(out, left, 0);
  }
  return n;
}

// The fewest first candidates whose Σ exp(x - max) reaches `enough` (those below min_p left out), in order, at `out`
// (row.n entries). Looks at bands of logits below the maximum, each twice as deep, so that a tail is rarely sorted.
static inline int32_t select_mass(const Row& row, float max, double enough, double min_p, Candidate* out) {
  int32_t n = 0;
  double sum = 0;
  float high = INF, depth = 6;
  while (high > -INF) {
    float low = depth < 3000 ? max - depth : -INF;
    int32_t found = 0;
    Candidate* h = out + n;
    for (int32_t i = 0; i < row.n; i += LANES) {
      F v = load(row, i);
      if (!any((v > F{} + low) & (v <= F{} + high))) continue;
      int32_t end = i + LANES < row.n ? i + LANES : row.n;
      for (int32_t id = i; id < end; id++) {
        float value = at(row, id);
        if (value > low && value <= high) h[found++] = {value, id};
      }
    }
    for (int32_t j = found / 2 - 1; j >= 0; j--) sift<false>(h, found, j);
    // The sorted part grows at the front of `out` while the heap moves up behind it: a popped candidate is swapped
    // to the heap's end, and the band is turned round when it is done.
    int32_t left = found;
    bool done = false;
    while (left > 0 && !done) {
      Candidate c = h[0];
      double p = exp1((double)c.value - max);
      if (p < min_p) {
        done = true;
        break;
      }
      left--;
      h[0] = h[left];
      h[left] = c;
      sift<false>(h, left, 0);
      sum += p;
      done = sum >= enough;
    }
    int32_t popped = found - left;
    for (int32_t a = left, b = found - 1; a < b; a++, b--) {
      Candidate c = h[a];
      h[a] = h[b];
      h[b] = c;
    }
    for (int32_t j = 0; left > 0 && j < popped; j++) h[j] = h[left + j];
    n += popped;
    if (done) break;
    high = low;
    depth *= 2;
  }
  return n;
}

// A draw by weight exp((value - max) / temperature) in the order of the list.
static inline int32_t draw(const Candidate* c, int32_t n, float max, double temperature, double u) {
  double total = 0, sum = 0;
  for (int32_t j = 0; j < n; j++) total += exp1(((double)c[j].value - max) / temperature);
  for (int32_t j = 0; j < n; j++)
    if ((sum += exp1(((double)c[j].value - max) / temperature)) > u * total) return c[j].id;
  return c[n - 1].id;
}

// The same over all candidates in the order of their ids.
static inline int32_t draw_all(const Row& row, float max, double temperature, double u, double* spans) {
  double total = 0, sum = 0;
  for (int32_t i = 0, s = 0; i < row.n; i += SPAN, s++)
    total += spans[s] = sum_exp(row, i, i + SPAN < row.n ? i + SPAN : row.n, max, temperature);
  double target = u * total;
  int32_t i = 0, last = -1;
  for (int32_t s = 0; i + SPAN < row.n && sum + spans[s] <= target; i += SPAN, s++) sum += spans[s];
  for (; i < row.n; i++) {
    float value = at(row, i);
    if (!(value > -INF)) continue;
    last = i;
    if ((sum += exp1(((double)value - max) / temperature)) > target) return i;
  }
  return last;   // rounding: u · total was not reached (a mask may leave the last span empty)
}

static inline int32_t choose(const Row& row, const int32_t* ints, const double* floats, Candidate* list, double* spans) {
  const double temperature = floats[0], top_p = floats[1], min_p = floats[2] < 1 ? floats[2] : 1;
  const int32_t top_k = ints[0] < row.n ? ints[0] : row.n;
  double u = uniform((uint32_t)ints[2], (uint32_t)ints[3], (uint32_t)ints[4]);
  if (top_k > 0 && temperature > 0) {
    int32_t n = select_top(row, top_k, list);
    if (n == 0) return NONE_ALLOWED;
    float max = list[0].value;
    if (max == INF) return list[0].id;
    if (top_p < 1) {
      double total = 0, sum = 0;
      for (int32_t j = 0; j < n; j++) total += exp1((double)list[j].value - max);
      for (int32_t j = 0; j < n; j++)
        if ((sum += exp1((double)list[j].value - max)) >= top_p * total) n = j + 1;
    }
    while (n > 1 && exp1((double)list[n - 1].value - max) < min_p) n--;
    return draw(list, n, max, temperature, u);
  }
  Candidate best = first(row);
  if (best.id < 0) return NONE_ALLOWED;
  if (!(temperature > 0) || best.value == INF) return best.id;
  if (top_p < 1 || min_p > 0) {
    double enough = top_p < 1 ? top_p * sum_exp(row, 0, row.n, best.value, 1) : (double)INF;
    int32_t n = select_mass(row, best.value, enough, min_p, list);
    return draw(list, n, best.value, temperature, u);
  }
  int32_t id = draw_all(row, best.value, temperature, u, spans);
  return id < 0 ? best.id : id;
}

// Bytes of scratch (8-byte aligned) that row `r` needs.
static inline size_t scratch_bytes(const int32_t* ints, int r, int32_t vocab) {
  const int32_t* h = ints + (size_t)r * INTS;
  return (size_t)vocab * sizeof(Candidate) + ((size_t)vocab / SPAN + 1) * 8 + ((size_t)h[5] + (size_t)h[6]) * 4;
}

// Samples row `r` of a packed request from `logits` [vocab], which is changed meanwhile and put back. Writes `stride`
// entries at ids and logprobs: the chosen token, then the likeliest ones (id -1 where there are fewer).
static inline void sample_row(float* logits, int32_t vocab, const int32_t* ints, const double* floats, int r, int stride,
                              int32_t* ids, double* logprobs, uint8_t* scratch) {
  const int32_t* h = ints + (size_t)r * INTS;
  const double* f = floats + (size_t)r * FLOATS;
  Candidate* list = (Candidate*)scratch;
  double* spans = (double*)(list + vocab);
  float* saved = (float*)(spans + vocab / SPAN + 1);
  const double nan = __builtin_nan("");
  for (int j = 0; j < stride; j++) ids[j] = -1, logprobs[j] = nan;
  if (!all_finite(logits, vocab)) {
    ids[0] = NOT_FINITE;
    return;
  }

  Row raw = {logits, vocab, nullptr};
  double log_sum = nan;
  if (h[1] >= 0) {
    float max = first(raw).value;
    if (max > -INF) log_sum = max + log1(sum_exp(raw, 0, vocab, max, 1));
    if (h[1] > 0) {
      int32_t n = select_top(raw, h[1], list);
      for (int32_t j = 0; j < n; j++) ids[1 + j] = list[j].id, logprobs[1 + j] = list[j].value - log_sum;
    }
  }

  const int32_t nhistory = h[5], nbias = h[6];
  const int32_t *history = ints + h[8], *counts = history + nhistory, *bias = ints + h[9];
  for (int32_t j = 0; j < nhistory; j++) {
    saved[j] = logits[history[j]];
    double value = saved[j];
    value = value > 0 ? value / f[3] : value * f[3];
    if (counts[j] > 0) value -= f[4] + counts[j] * f[5];
    logits[history[j]] = (float)value;
  }
  for (int32_t j = 0; j < nbias; j++) {
    saved[nhistory + j] = logits[bias[j]];
    logits[bias[j]] = (float)((double)logits[bias[j]] + floats[h[11] + j]);
  }
  Row row = {logits, vocab, h[7] ? (const uint32_t*)(ints + h[10]) : nullptr};
  ids[0] = choose(row, h, f, list, spans);
  for (int32_t j = nbias - 1; j >= 0; j--) logits[bias[j]] = saved[nhistory + j];
  for (int32_t j = nhistory - 1; j >= 0; j--) logits[history[j]] = saved[j];
  if (ids[0] >= 0) logprobs[0] = logits[ids[0]] - log_sum;
}

}  // namespace pith::sampler
