// What adapters do to the sums of a product, before anything else is added to them: y' = g (y + (x Aᵀ) Bᵀ), or x W'ᵀ.
// Included inside `namespace pith::<isa> {`. `linear` and `lora` (linear.h) call it for the rows of a chunk of x.
//
// x Aᵀ of all rows is there before the first panel of y. Rows that follow each other with the same slot are a stretch,
// and go through one product together. A row's bits depend on its slot's matrices and on itself alone: h = x Aᵀ is summed
// as every product (int8.h, gemm.h), and y' = fma(h_k, b_k, y) in ascending k. With codes of B, each 32 columns have such
// a sum of their own, s, from zero, and y' = fma(scale, s, y).
#pragma once

constexpr int64_t CHUNK_TOKENS = 512;

// Rows begin .. end of a chunk.
struct Stretch {
  int32_t begin, end, slot;
};

// What a node knows of adapters. Not `active`: no row of this run has one that changes its weights.
struct Adapting {
  const Adapters* table;
  const int32_t *segments, *rows;   // rows: the token of each row of x, null: rows are tokens
  int64_t S;
  bool int8;                        // quantized parts take x rounded
  int linear[16];                   // of each weight, -1: none
  bool again[16];                   // the same linear as an earlier weight's: other rows of one matrix
  int64_t panel[16];                // the first of those rows, in panels
  bool active, round, floats;       // what some part takes: x as int8, x as f32
  int64_t at[16], stride;           // x Aᵀ of weight j is at h[row * stride + at[j]]
  int64_t work;                     // bytes of all A
};

// One chunk of n rows: its stretches, x Aᵀ, and x in both forms (null where nothing takes it).
struct Adapted {
  const Adapting* of;
  const Stretch* stretch;
  int count;
  const float *h, *x;
  const uint8_t* q;
  int64_t n;
  uint8_t *row, *local;             // scratch: ROW_BYTES, PRODUCT_LOCAL
};

PITH_INLINE bool takes_int8(const Adapting& a, const Tensor& t) { return a.int8 && is_quantized(t.type); }

// Looks up what the slots of this run's segments do to the node's n weights.
static void look_up(Adapting* a, int n) {
  int64_t rank[16] = {};
  for (int j = 1; j < n; j++)
    for (int i = 0; i < j; i++) a->again[j] |= a->linear[j] == a->linear[i];
  for (int64_t s = 0; s < a->S; s++) {
    int32_t length = a->segments[s * 4 + 1], slot = a->segments[s * 4 + 3];
    if (slot < 0 || length <= 0) continue;
    for (int j = 0; j < n; j++) {
      if (a->linear[j] < 0 || a->again[j]) continue;
      const Change& c = change_of(a->table, slot, a->linear[j]);
      if (!c.a.data && !c.w.data && !c.g) continue;
      a->active = true;
      int64_t r = (c.a.rows + 15) / 16 * 16;
      if (r > rank[j]) rank[j] = r;
      const Tensor* takes[] = {&c.a, &c.w};
      for (const Tensor* t : takes) {
        if (!t->data) continue;
        if (takes_int8(*a, *t))
          a->round = true;
        else
          a->floats = true;
      }
      if (c.a.data) a->work += panel_bytes(c.a.type, c.a.cols) * (r / 16);
    }
  }
  for (int j = 0; j < n; j++) {
    a->at[j] = a->stride;
    a->stride += rank[j];
    for (int i = 0; i < j; i++)
      if (a->linear[j] == a->linear[i]) a->at[j] = a->at[i];
  }
}

static int32_t slot_of(const Adapting& a, int32_t token) {
  for (int64_t s = 0; s < a.S; s++) {
    const int32_t* segment = a.segments + s * 4;
    if (token >= segment[0] && token - segment[0] < segment[1]) return segment[3];
  }
  return -1;
}

// The stretches of rows t0 .. t0 + n, at most n.
static int stretches(const Adapting& a, int64_t t0, int64_t n, Stretch* out) {
  int count = 0;
  auto add = [&](int64_t begin, int64_t end, int32_t slot) {
    if (begin < 0) begin = 0;
    if (end > n) end = n;
    if (slot < 0 || begin >= end) return;
    if (count > 0 && out[count - 1].end == begin && out[count - 1].slot == slot)
      out[count - 1].end = int32_t(end);
    else if (count < n)
      out[count++] = {int32_t(begin), int32_t(end), slot};
  };
  if (a.rows) {
    for (int64_t i = 0; i < n; i++) add(i, i + 1, slot_of(a, a.rows[t0 + i]));
  } else {
    for (int64_t s = 0; s < a.S; s++) {
      const int32_t* segment = a.segments + s * 4;
      add(segment[0] - t0, int64_t(segment[0]) + segment[1] - t0, segment[3]);
    }
  }
  return count;
}

// Tokens first .. first + m of a tile of n, as a tile of m.
static void cut_tile(uint8_t* to, const uint8_t* tile, int64_t n, int64_t first, int64_t m, int64_t blocks) {
  for (int64_t b = 0; b < blocks; b++, to += m * X_BYTES, tile += n * X_BYTES) {
    __builtin_memcpy(to, tile + first * 32, size_t(m) * 32);
    __builtin_memcpy(to + m * 32, tile + n * 32 + first * 4, size_t(m) * 4);
    __builtin_memcpy(to + m * 36, tile + n * 36 + first * 4, size_t(m) * 4);
    __builtin_memcpy(to + m * 40, tile + n * 40 + first * 4, size_t(m) * 4);
  }
}

// out(row, 16 sums) for rows begin .. end of the chunk with one panel of a quantized weight. `row`: ROW_BYTES of scratch.
template <class Out>
static void rows_int8(const Tensor& w, const uint8_t* panel, const uint8_t* q, int64_t n, int64_t begin, int64_t end,
                      uint8_t* row, Out out) {
  int64_t blocks = w.cols / BLOCK;
  alignas(64) float y[16 * 16];
  for (int64_t t = begin / 16 * 16, width; t < end; t += width) {
    width = tile_tokens(n - t);
    const uint8_t* tile = q + t * blocks * X_BYTES;
    int64_t b = begin > t ? begin : t, e = end < t + width ? end : t + width;
    if (b == t && e == t + width) {
      int8_panel(w.type, y, panel, tile, width, blocks, 0);
      for (int64_t i = 0; i < width; i++) out(t + i, y + i * 16);
      continue;
    }
    int64_t most = ROW_BYTES / (blocks * X_BYTES);
    if (most > 8) most = 8;
    for (int64_t m; b < e; b += m) {
      m = e - b < most ? e - b : most;
      cut_tile(row, tile, width, b - t, m, blocks);
      int8_panel(w.type, y, panel, row, m, blocks, 0);
      for (int64_t i = 0; i < m; i++) out(b + i, y + i * 16);
    }
  }
}

// The same for `panels` (at most 4) panels from p of a weight of any type, with x as f32.
template <class Out>
static void rows_f32(const Tensor& w, int64_t p, int64_t panels, const float* x, int64_t begin, int64_t end,
                     uint8_t* local, Out out) {
  float *b = (float*)local, *y = b + KC * STRIP;
  for (int64_t t = begin; t < end; t += ROWS) {
    int64_t m = end - t < ROWS ? end - t : ROWS;
    for (int64_t k = 0; k < w.cols; k += KC)
      strip_of(y, w, p, panels, x + t * w.cols, m, k, w.cols - k < KC ? w.cols - k : KC, b);
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < panels; j++) out(t + i, p + j, y + i * STRIP + j * 16);
  }
}

// h = scale x Aᵀ of all rows with an adapter. The work falls into units; this does each `turns`th, from `turn` on.
static void low_rank(const Adapted& d, int weights, float* h, int64_t turns, int64_t turn) {
  const Adapting& a = *d.of;
  int64_t unit = 0;
  for (int i = 0; i < d.count; i++) {
    const Stretch& s = d.stretch[i];
    for (int j = 0; j < weights; j++) {
      if (a.linear[j] < 0 || a.again[j]) continue;
      const Change& c = change_of(a.table, s.slot, a.linear[j]);
      if (!c.a.data) continue;
      int64_t panels = (c.a.rows + 15) / 16;
      V scale = splat(c.scale);
      float* to = h + a.at[j];
      bool int8 = takes_int8(a, c.a);
      for (int64_t t = s.begin; t < s.end;) {
        int64_t piece = (t / 64 + 1) * 64, end = piece < s.end ? piece : s.end;
        for (int64_t p = 0, step = int8 ? 1 : 4; p < panels; p += step) {
          if (unit++ % turns != turn) continue;
          if (int8) {
            rows_int8(c.a, c.a.data + p * panel_bytes(c.a.type, c.a.cols), d.q, d.n, t, end, d.row,
                      [&](int64_t r, const float* y) { store(to + r * a.stride + p * 16, load(y) * scale); });
          } else {
            rows_f32(c.a, p, panels - p < step ? panels - p : step, d.x, t, end, d.local,
                     [&](int64_t r, int64_t q, const float* y) { store(to + r * a.stride + q * 16, load(y) * scale); });
          }
        }
        t = end;
      }
    }
  }
}

// --- The second product: y += h Bᵀ for M rows and P panels; see above for the order ------------------------------------

// Sums of rows and panels: row i's with panel q are the 16 at y[i * row + q * panel].
struct Sums {
  float* y;
  int64_t row, panel;
};

template <int TYPE>
PITH_INLINE V load_b(const uint8_t* p) {
  if constexpr (TYPE == F16) return load_f16((const uint16_t*)p);
  if constexpr (TYPE == Q8_0) return load_i8(p);
  return load((const float*)p);
}
template <int TYPE, int M, int P>
static void add_low_rank(Sums s, const float* h, int64_t stride, const uint8_t* b, int64_t bytes, int64_t rank) {
  constexpr int SIZE = TYPE == Q8_0 ? 16 : TYPE == F16 ? 32 : 64;
  for (int64_t k = 0; k < rank;) {
    constexpr int64_t MOST = TYPE == Q8_0 ? BLOCK : INT64_MAX / 2;
    int64_t end = rank - k < MOST ? rank : k + MOST;
    V scale[P], acc[M][P];
#pragma GCC unroll 8
    for (int q = 0; q < P && TYPE == Q8_0; q++) scale[q] = load_f16((const uint16_t*)(b + q * bytes));
    if (TYPE == Q8_0) b += 32;
#pragma GCC unroll 8
    for (int i = 0; i < M; i++)
#pragma GCC unroll 8
      for (int q = 0; q < P; q++) acc[i][q] = TYPE == Q8_0 ? splat(0) : load(s.y + i * s.row + q * s.panel);
    for (; k < end; k++, b += SIZE) {
      V w[P];
#pragma GCC unroll 8
      for (int q = 0; q < P; q++) w[q] = load_b<TYPE>(b + q * bytes);
#pragma GCC unroll 8
      for (int i = 0; i < M; i++) {
        V x = splat(h[i * stride + k]);
#pragma GCC unroll 8
        for (int q = 0; q < P; q++) acc[i][q] = fma(x, w[q], acc[i][q]);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < M; i++)
#pragma GCC unroll 8
      for (int q = 0; q < P; q++) {
        float* y = s.y + i * s.row + q * s.panel;
        store(y, TYPE == Q8_0 ? fma(scale[q], acc[i][q], load(y)) : acc[i][q]);
      }
  }
}
// Enough sums at once to hide the latency of one: few rows take several panels together.
#if defined(__AVX512F__)
constexpr int SUMS = 8;
#else
constexpr int SUMS = 4;
#endif
template <int TYPE, int M>
static void add_rows(Sums s, const float* h, int64_t stride, const uint8_t* b, int64_t bytes, int64_t rank,
                     int64_t panels) {
  constexpr int P = SUMS / M;
  int64_t q = 0;
  for (; q + P <= panels; q += P)
    add_low_rank<TYPE, M, P>({s.y + q * s.panel, s.row, s.panel}, h, stride, b + q * bytes, bytes, rank);
  for (; q < panels; q++)
    add_low_rank<TYPE, M, 1>({s.y + q * s.panel, s.row, s.panel}, h, stride, b + q * bytes, bytes, rank);
}
template <int TYPE>
static void add_product(Sums s, const float* h, int64_t stride, const uint8_t* b, int64_t bytes, int64_t rank,
                        int64_t rows, int64_t panels) {
  while (rows > 0) {
    int m = rows >= SUMS ? SUMS : rows >= 4 ? 4 : rows >= 2 ? 2 : 1;
    switch (m) {
      case 8: add_rows<TYPE, SUMS>(s, h, stride, b, bytes, rank, panels); break;
      case 4: add_rows<TYPE, 4>(s, h, stride, b, bytes, rank, panels); break;
      case 2: add_rows<TYPE, 2>(s, h, stride, b, bytes, rank, panels); break;
      case 1: add_rows<TYPE, 1>(s, h, stride, b, bytes, rank, panels); break;
    }
    rows -= m;
    s.y += m * s.row;
    h += m * stride;
  }
}

// Sums of rows t .. t + m of the chunk with `panels` panels of weight j from p on.
static void adapt(const Adapted& d, int j, Sums sums, int64_t t, int64_t m, int64_t p, int64_t panels, int64_t N) {
  const Adapting& a = *d.of;
  if (a.linear[j] < 0) return;
  p += a.panel[j];
  N += a.panel[j] * 16;
  for (int i = 0; i < d.count; i++) {
    const Stretch& s = d.stretch[i];
    int64_t b = s.begin > t ? s.begin : t, e = s.end < t + m ? s.end : t + m;
    if (b >= e) continue;
    const Change& c = change_of(a.table, s.slot, a.linear[j]);
    float* y = sums.y + (b - t) * sums.row;
    if (c.w.data && takes_int8(a, c.w)) {
      for (int64_t q = 0; q < panels; q++)
        rows_int8(c.w, c.w.data + (p + q) * panel_bytes(c.w.type, c.w.cols), d.q, d.n, b, e, d.row,
                  [&](int64_t r, const float* v) { store(y + (r - b) * sums.row + q * sums.panel, load(v)); });
    } else if (c.w.data && sums.row == STRIP) {  // the caller's sums are where rows_f32 would have its own
      int64_t K = c.w.cols;
      for (int64_t k = 0; k < K; k += KC)
        strip_of(y, c.w, p, panels, d.x + b * K, e - b, k, K - k < KC ? K - k : KC, (float*)d.local);
    } else if (c.w.data) {
      for (int64_t i = 0; i < panels; i += 4)
        rows_f32(c.w, p + i, panels - i < 4 ? panels - i : 4, d.x, b, e, d.local,
                 [&](int64_t r, int64_t q, const float* v) {
                   store(y + (r - b) * sums.row + (q - p) * sums.panel, load(v));
                 });
    }
    if (c.a.data) {
      int64_t r = c.b.cols, bytes = c.b.type == Q8_0 ? column_panel_bytes(r) : panel_bytes(c.b.type, r);
      const float* h = d.h + b * a.stride + a.at[j];
      const uint8_t* from = c.b.data + p * bytes;
      Sums to = {y, sums.row, sums.panel};
      switch (c.b.type) {
        case Q8_0: add_product<Q8_0>(to, h, a.stride, from, bytes, r, e - b, panels); break;
        case F16: add_product<F16>(to, h, a.stride, from, bytes, r, e - b, panels); break;
        default: add_product<F32>(to, h, a.stride, from, bytes, r, e - b, panels);
      }
    }
    if (c.g) {
      for (int64_t r = b; r < e; r++)
        for (int64_t q = 0; q < panels; q++) {
          float* v = y + (r - b) * sums.row + q * sums.panel;
          int64_t first = (p + q) * 16;
          store(v, load_upto(c.g + first, N - first) * load(v));
        }
    }
  }
}
