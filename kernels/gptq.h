// GPTQ: the triangle of a matrix of moments, and codes with what each column errs by made up for by those that follow.
// Included inside `namespace pith::<isa> {`.
#pragma once
#include "gemm.h"

// Columns that are factored at a time.
constexpr int64_t TRIANGLE = 64;

// The diagonal block of l at j0, n columns: in place, in ascending columns. What the block holds is minus the matrix.
static bool factor_diagonal(float* l, int64_t K, int64_t j0, int64_t n, float* failed) {
  for (int64_t j = 0; j < n; j++) {
    float* row = l + (j0 + j) * K + j0;
    for (int64_t c = 0; c < j; c++) {
      const float* other = l + (j0 + c) * K + j0;
      float sum = -row[c];
      for (int64_t k = 0; k < c; k++) sum -= row[k] * other[k];
      row[c] = sum / other[c];
    }
    float sum = -row[j];
    for (int64_t k = 0; k < j; k++) sum -= row[k] * row[k];
    bool good = sum > 0.0f;
    if (!good && *failed == 0.0f) *failed = float(j0 + j + 1);
    row[j] = good ? __builtin_sqrtf(sum) : 1.0f;
    for (int64_t c = j + 1; c < n; c++) row[c] = 0.0f;
  }
  return true;
}

// 16 rows (or n) below the diagonal block: x = -c · inverse of the block's transpose. Lanes are rows.
static void solve_rows(float* l, int64_t K, int64_t row, int64_t n, int64_t j0, int64_t width, float* x) {
  for (int64_t j = 0; j < width; j += 16)
    transpose(x + j * 16, l + row * K + j0 + j, K, n, width - j < 16 ? width - j : 16);
  for (int64_t j = 0; j < width; j++) {
    const float* other = l + (j0 + j) * K + j0;
    V sum = -load(x + j * 16);
    for (int64_t k = 0; k < j; k++) sum = fma(-load(x + k * 16), splat(other[k]), sum);
    store(x + j * 16, sum / splat(other[j]));
  }
  for (int64_t r = 0; r < n; r++)
    for (int64_t j = 0; j < width; j++) l[(row + r) * K + j0 + j] = x[j * 16 + r];
}

// [failed [1]], [l (w) [K, K], h [K, K], order [K], damping [1]]: a block of columns after the other. Threads split rows: first
// minus the matrix plus the product of what is done, one chain for each element in ascending columns; then thread 0 factors
// the block on the diagonal, and threads solve for the rows below.
static void cholesky(const Run& run, const Node& node, int thread) {
  int64_t K = node.t[1]->cols;
  float *failed = data(node, 0), *l = data(node, 1);
  const float *h = data(node, 2), damping = data(node, 4)[0];
  const int32_t* order = ids(node, 3);
  uint8_t* local = run.local[thread];
  if (thread == 0) *failed = 0.0f;
  for (int64_t j0 = 0; j0 < K; j0 += TRIANGLE) {
    int64_t n = K - j0 < TRIANGLE ? K - j0 : TRIANGLE, begin, end;
    share(K - j0, MR, run.threads, thread, &begin, &end);
    for (int64_t i = j0 + begin; i < j0 + end; i++) {
      const float* from = h + order[i] * K;
      float* row = l + i * K + j0;
      for (int64_t j = 0; j < n; j++) row[j] = -from[order[j0 + j]];
      if (i < j0 + n) row[i - j0] -= damping;
    }
    // Rows of the block are the transposed second operand.
    Tensor done = *node.t[1];
    done.packed = 0;
    done.rows = n;
    done.data = (uint8_t*)(l + j0 * K);
    if (end > begin && j0 > 0)
      gemm(l + (j0 + begin) * K + j0, K, n, end - begin, j0, l + (j0 + begin) * K, K, 1, 0, (n + 15) / 16, true, local,
           [&](float* dst, int64_t p, int64_t panels, int64_t k, int64_t kc) { pack_nt(dst, done, p, panels, k, kc); });
    if (run.threads > 1) run.meet(run, thread);
    if (thread == 0) factor_diagonal(l, K, j0, n, failed);
    if (run.threads > 1) run.meet(run, thread);
    share(K - j0 - n, 16, run.threads, thread, &begin, &end);
    for (int64_t i = begin; i < end; i += 16)
      solve_rows(l, K, j0 + n + i, end - i < 16 ? end - i : 16, j0, n, (float*)local);
    begin = 0;
    share(n, 1, run.threads, thread, &begin, &end);
    for (int64_t i = j0 + begin; i < j0 + end; i++)
      for (int64_t j = j0 + n; j < K; j++) l[i * K + j] = 0.0f;
    if (run.threads > 1) run.meet(run, thread);
  }
}

// Rows of the triangle that lie in the cache while groups of 16 rows of w pass by.
constexpr int64_t ERRORS = 256;

// sums [16 columns][16 lanes] += errors [n][16 lanes] times the triangle's panel [n][16 columns], in ascending rows.
static void add_errors(float* sums, const float* errors, const float* panel, int64_t n) {
  constexpr int COLUMNS = PIECE == 16 ? 16 : PIECE == 8 ? 8 : 4;
  for (int first = 0; first < 16; first += COLUMNS)
    for (int lane = 0; lane < 16; lane += PIECE) {
      P acc[COLUMNS];
#pragma GCC unroll 16
      for (int c = 0; c < COLUMNS; c++) get(acc[c], sums + (first + c) * 16 + lane);
      for (int64_t i = 0; i < n; i++) {
        P e;
        get(e, errors + i * 16 + lane);
        const float* x = panel + i * 16 + first;
#pragma GCC unroll 16
        for (int c = 0; c < COLUMNS; c++) acc[c] = fma(x[c] - P{}, e, acc[c]);
      }
#pragma GCC unroll 16
      for (int c = 0; c < COLUMNS; c++) put(sums + (first + c) * 16 + lane, acc[c]);
    }
}

// [codes [T, K], error [T, 1]], [w [T, K], a, m [T, K / group], l [K, K], order [K]]; ints: levels. Lanes are rows of w.
// Columns go from the last in the order to the first, in tiles that end at multiples of 16; what the columns behind a tile erred
// by is added in ascending columns, and then what those within it did, in descending ones.
static void gptq_round(const Run& run, const Node& node, int thread) {
  int64_t K = node.t[0]->cols, T = node.t[0]->rows, groups = node.t[3]->cols, group = K / groups;
  float *codes = data(node, 0), *loss = data(node, 1);
  const float *w = data(node, 2), *a = data(node, 3), *m = data(node, 4), *l = data(node, 5);
  const int32_t* order = ids(node, 6);
  V top = splat(float(node.i[0] - 1));
  int64_t begin, end;
  share(T, 16, run.threads, thread, &begin, &end);
  // Of the scratch: a piece of the triangle, then of each group of 16 rows its sums, its losses and its errors.
  float* panel = (float*)run.local[thread];
  int64_t each = 16 * 16 + 16 + K * 16, room = int64_t(LOCAL_BYTES) / 4 - ERRORS * 16, most = room / each;
  if (most > 8) most = 8;
  for (int64_t t = begin; t < end; t += most * 16) {
    int64_t units = (end - t + 15) / 16;
    if (units > most) units = most;
    float* first = panel + ERRORS * 16;
    for (int64_t u = 0; u < units; u++) clear(first + u * each + 16 * 16, 16);
    for (int64_t j0 = (K - 1) / 16 * 16; j0 >= 0; j0 -= 16) {
      int64_t n = K - j0 < 16 ? K - j0 : 16;
      for (int64_t u = 0; u < units; u++) clear(first + u * each, 16 * 16);
      for (int64_t i = j0 + n; i < K; i += ERRORS) {
        int64_t rows = K - i < ERRORS ? K - i : ERRORS;
        for (int64_t r = 0; r < rows; r++) store(panel + r * 16, load_upto(l + (i + r) * K + j0, n));
        for (int64_t u = 0; u < units; u++) {
          float* own = first + u * each;
          add_errors(own, own + 16 * 17 + i * 16, panel, rows);
        }
      }
      for (int64_t u = 0; u < units; u++) {
        float *sums = first + u * each, *errors = sums + 16 * 17;
        int64_t row = t + u * 16, count = end - row < 16 ? end - row : 16;
        for (int64_t j = j0 + n - 1; j >= j0; j--) {
          int64_t column = order[j], g = column / group;
          alignas(64) float value[16] = {}, steps[16] = {}, minima[16] = {}, code[16];
          for (int64_t r = 0; r < count; r++) {
            value[r] = w[(row + r) * K + column];
            steps[r] = a[(row + r) * groups + g];
            minima[r] = m[(row + r) * groups + g];
          }
          V x = load(value), step = load(steps), minimum = load(minima), pivot = splat(l[j * K + j]);
          V wanted = x + load(sums + (j - j0) * 16) / pivot;
          V q = (wanted + minimum) / step;
          q = select(step == zero(), zero(), q);
          q = to_float(to_int(min(max(q, zero()), top) + splat(0.5f)));
          V rounded = step * q - minimum, e = x - rounded, away = (wanted - rounded) * pivot;
          store(errors + j * 16, e);
          store(sums + 16 * 16, fma(away, away, load(sums + 16 * 16)));
          for (int64_t c = j0; c < j; c++)
            store(sums + (c - j0) * 16, fma(splat(l[j * K + c]), e, load(sums + (c - j0) * 16)));
          store(code, q);
          for (int64_t r = 0; r < count; r++) codes[(row + r) * K + column] = code[r];
        }
      }
    }
    for (int64_t u = 0; u < units; u++) store_upto(loss + t + u * 16, load(first + u * each + 16 * 16), end - t - u * 16);
  }
}

#define PITH_GPTQ {"cholesky", cholesky, nullptr}, {"gptq_round", gptq_round, nullptr}
