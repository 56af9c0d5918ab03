// The attention part of ops.cc: references, properties, speed.

static void test_rope() {
  for (int T : {0, 1, 3, 17})
    for (int D : {8, 12, 48, 64, 130})
      for (int inverse : {0, 1}) {
        int H = 3, r = D == 12 ? 8 : D, C = 50;
        Value x = random({T, H, D}), y({T, H, D}), table = random({C, r});
        vector<int32_t> positions;
        vector<double> want;
        for (int t = 0; t < T; t++) positions.push_back(t * 5 % C);
        for (int t = 0; t < T; t++)
          for (int h = 0; h < H; h++)
            for (int j = 0; j < D; j++) {
              const float *row = &table.f[positions[t] * r], *v = &x.f[(t * H + h) * D];
              double s = inverse ? -1 : 1;
              if (j >= r)
                want.push_back(v[j]);
              else if (j < r / 2)
                want.push_back((double)v[j] * row[j] - s * v[j + r / 2] * row[r / 2 + j]);
              else
                want.push_back((double)v[j] * row[j - r / 2] + s * v[j - r / 2] * row[j]);
            }
        Value id = integers({T}, positions);
        check("rope", {&y}, {&x, &id, &table}, {want}, {inverse});
      }
}

struct Shape {
  int Hq, Hkv, D, window;
};

// A pool with pages dealt in a scrambled order; all bytes are NaN until written.
struct Cache {
  Shape shape;
  bool half;
  int layers = 2, layer = 1, P, sequences;
  int64_t Dp, block;
  vector<uint8_t> bytes;
  vector<int32_t> table;
  Value kv;
  Cache(Shape s, bool half, int P, int sequences) : shape(s), half(half), P(P), sequences(sequences) {
    Dp = (s.D + 15) / 16 * 16;
    block = (half ? 2 : 4) * 64 * 2 * Dp;
    bytes.assign((size_t)(P * sequences * layers * s.Hkv) * block, 0xff);
    int n = P * sequences;
    for (int i = 0; i < n; i++) table.push_back(i);
    std::shuffle(table.begin(), table.end(), rng);
    kv.t.type = half ? KV_F16 : KV_F32;
    kv.t.data = bytes.data();
    kv.t.d[0] = kv.t.d[1] = 1;
  }
  vector<int32_t> ints() const { return {layer, layers, shape.Hq, shape.Hkv, shape.D, shape.window, P}; }
};

struct Segment {
  int sequence, past, length;
};

// What one sequence holds: q, k, v of all its positions.
struct Sequence {
  vector<float> q, k, v;
};

static float to_half(float x, bool half) {
  if (!half) return x;
  uint16_t h[16];
  float out[16];
  bench::store_f16(h, bench::splat(x));
  bench::store(out, bench::load_f16(h));
  return out[0];
}

// One step: writes k and v of the segments, then attends. Returns o rows in the segments' order.
static vector<float> step(Cache& c, const vector<Sequence>& all, const vector<Segment>& segments, int threads) {
  Shape s = c.shape;
  int T = 0;
  vector<int32_t> seg, pages;
  for (const Segment& g : segments) {
    for (int32_t x : {T, g.length, g.past, -1}) seg.push_back(x);
    for (int p = 0; p < c.P; p++) pages.push_back(c.table[g.sequence * c.P + p]);
    T += g.length;
  }
  Value q({T, s.Hq, s.D}), k({T, s.Hkv, s.D}), v({T, s.Hkv, s.D}), o({T, s.Hq, s.D});
  int at = 0;
  for (const Segment& g : segments)
    for (int i = 0; i < g.length; i++, at++) {
      const Sequence& x = all[g.sequence];
      std::copy_n(&x.q[(g.past + i) * s.Hq * s.D], s.Hq * s.D, &q.f[at * s.Hq * s.D]);
      std::copy_n(&x.k[(g.past + i) * s.Hkv * s.D], s.Hkv * s.D, &k.f[at * s.Hkv * s.D]);
      std::copy_n(&x.v[(g.past + i) * s.Hkv * s.D], s.Hkv * s.D, &v.f[at * s.Hkv * s.D]);
    }
  int S = (int)segments.size();
  Value sv = integers({S, 4}, seg), pv = integers({S, c.P}, pages);
  float scale = 1 / sqrtf((float)s.D);
  Call(("kv_write"), {}, {&k, &v, &c.kv, &sv, &pv}, c.ints(), {scale})(threads);
  Call(("attention_paged"), {&o}, {&q, &c.kv, &sv, &pv}, c.ints(), {scale})(threads);
  for (int i = 0; i < 16; i++)
    if (o.f[o.n() + i] != -77.5f) fail("attention_paged guard", o.f[o.n() + i], -77.5);
  return vector<float>(o.f.begin(), o.f.begin() + o.n());
}

static vector<double> reference(const Cache& c, const Sequence& x, int n, bool causal = true) {
  Shape s = c.shape;
  vector<double> o(n * s.Hq * s.D, 0.0);
  for (int t = 0; t < n; t++)
    for (int h = 0; h < s.Hq; h++) {
      int hk = h * s.Hkv / s.Hq, end = causal ? t + 1 : n, first = s.window > 0 && end > s.window ? end - s.window : 0;
      vector<double> e;
      double top = -INFINITY, sum = 0;
      for (int u = first; u < end; u++) {
        double d = 0;
        for (int j = 0; j < s.D; j++)
          d += (double)x.q[(t * s.Hq + h) * s.D + j] * to_half(x.k[(u * s.Hkv + hk) * s.D + j], c.half);
        e.push_back(d / sqrt(s.D));
        top = fmax(top, e.back());
      }
      for (double& d : e) sum += d = exp(d - top);
      for (int u = first; u < end; u++)
        for (int j = 0; j < s.D; j++)
          o[(t * s.Hq + h) * s.D + j] += e[u - first] / sum * to_half(x.v[(u * s.Hkv + hk) * s.D + j], c.half);
    }
  return o;
}

static void test_attention_paged() {
  for (Shape s : {Shape{4, 2, 8, 0}, {9, 3, 64, 0}, {4, 1, 20, 100}, {3, 3, 80, 0}, {14, 2, 64, 0}, {8, 2, 128, 70}, {2, 1, 600, 0}})
    for (bool half : {true, false}) {
      const int n = 700, other = 150;
      vector<Sequence> all(2);
      for (int i = 0; i < 2; i++) {
        int len = i ? other : n;
        for (int64_t k = 0; k < (int64_t)len * s.Hq * s.D; k++) all[i].q.push_back(normal() * 2);
        for (int64_t k = 0; k < (int64_t)len * s.Hkv * s.D; k++) all[i].k.push_back(normal()), all[i].v.push_back(normal());
      }
      int P = 24;  // room beyond what is used, so that chunks can be split
      Cache whole(s, half, P, 2);
      vector<float> o = step(whole, all, {{0, 0, n}}, 1);
      vector<double> want = reference(whole, all[0], n);
      Value got({n, s.Hq, s.D});
      std::copy(o.begin(), o.end(), got.f.begin());
      near("attention_paged", got, want, 2e-6 * fmax(1, s.D / 128.0));

      // The same rows in other steps, with other threads, beside another sequence.
      int64_t row = s.Hq * s.D;
      for (int threads : {1, 2, 3}) {
        Cache c(s, half, P, 2);
        int past = 0, past2 = 0;
        for (int length : {1, 3, 17, 64, 8, 200, 1, 31, 129, 100, 1, 1, 143, 1}) {
          if (past + length > n) length = n - past;
          int second = past2 + 13 <= other ? 13 : 0;
          bool before = length % 2;
          vector<Segment> segments = {{0, past, length}};
          segments.insert(before ? segments.begin() : segments.end(), Segment{1, past2, second});
          vector<float> part = step(c, all, segments, threads);
          same("attention_paged in steps", &part[before ? second * row : 0], &o[past * row], length * row);
          past += length;
          past2 += second;
        }
        if (past != n) fail("test covers all rows", past, n);
      }
    }
}

// Forward and backward within the step: against double, segments apart from each other, the same bits for any threads.
static void test_attention() {
  for (Shape s : {Shape{4, 2, 8, 0}, {9, 3, 64, 0}, {4, 1, 20, 0}, {3, 3, 80, 0}, {4, 2, 24, 3}, {6, 2, 16, 100}})
    for (int causal : {0, 1})
      for (vector<int32_t> lengths : {vector<int32_t>{}, {1}, {3, 0, 17}, {130, 5}, {600}}) {
        int T = 0, S = (int)lengths.size();
        vector<int32_t> seg;
        for (int32_t n : lengths) {
          for (int32_t x : {T, n, 0, -1}) seg.push_back(x);
          T += n;
        }
        bool gap = S == 2;  // tokens of no segment
        T += gap ? 2 : 0;
        Value q = random({T, s.Hq, s.D}), k = random({T, s.Hkv, s.D}), v = random({T, s.Hkv, s.D}), dO = random({T, s.Hq, s.D});
        Value o({T, s.Hq, s.D}), lse({T, s.Hq}), dq({T, s.Hq, s.D}), dk({T, s.Hkv, s.D}), dv({T, s.Hkv, s.D}), table = integers({S, 4}, seg);
        float scale = 1 / sqrtf((float)s.D);
        vector<double> wo(o.n()), wl(lse.n()), wq(dq.n()), wk(dk.n()), wv(dv.n());
        for (int g = 0; g < S; g++) {
          int start = seg[g * 4], n = lengths[g];
          for (int t = 0; t < n; t++)
            for (int h = 0; h < s.Hq; h++) {
              int w = s.window > 0 ? s.window : n, first = t + 1 > w ? t + 1 - w : 0, hk = h * s.Hkv / s.Hq;
              int end = causal ? t + 1 : t + w < n ? t + w : n;
              int64_t at = ((int64_t)(start + t) * s.Hq + h) * s.D;
              vector<double> p, dp;
              double top = -INFINITY, total = 0, delta = 0;
              auto key = [&](int u) { return ((int64_t)(start + u) * s.Hkv + hk) * s.D; };
              for (int u = first; u < end; u++) {
                double d = 0, e = 0;
                for (int j = 0; j < s.D; j++) d += (double)q.f[at + j] * k.f[key(u) + j], e += (double)dO.f[at + j] * v.f[key(u) + j];
                p.push_back(d * scale), dp.push_back(e);
                top = fmax(top, d * scale);
              }
              for (double& d : p) total += d = exp(d - top);
              for (int u = 0; u < end - first; u++) p[u] /= total, delta += p[u] * dp[u];
              wl[(start + t) * s.Hq + h] = top + log(total);
              for (int u = first; u < end; u++)
                for (int j = 0; j < s.D; j++) {
                  double ds = p[u - first] * (dp[u - first] - delta) * scale;
                  wo[at + j] += p[u - first] * v.f[key(u) + j];
                  wq[at + j] += ds * k.f[key(u) + j];
                  wk[key(u) + j] += ds * q.f[at + j];
                  wv[key(u) + j] += p[u - first] * dO.f[at + j];
                }
            }
        }
        vector<int32_t> ints = {s.Hq, s.Hkv, s.D, causal, s.window};
        check("attention", {&o, &lse}, {&q, &k, &v, &table}, {wo, wl}, ints, {scale});
        check("attention_grad", {&dq, &dk, &dv}, {&q, &k, &v, &o, &lse, &dO, &table}, {wq, wk, wv}, ints, {scale}, 4e-6, 1.0);
      }
}

// --- Speed ------------------------------------------------------------------------------------------------------------

// Time of this thread alone, so that a busy machine disturbs less.
static double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
static uint8_t* huge(size_t bytes) {
  size_t size = (bytes + (4 << 20)) & ~(size_t)((2 << 20) - 1);
  uint8_t* p = (uint8_t*)mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  p = (uint8_t*)(((uintptr_t)p + (2 << 20) - 1) & ~(uintptr_t)((2 << 20) - 1));
  madvise(p, bytes, MADV_HUGEPAGE);
  return p;
}

// Threads that stay, so that their start is not measured.
struct Team {
  int threads;
  std::atomic<int> go{0}, left{0};
  std::function<void(int)> job;
  vector<std::thread> pool;
  Team(int n) : threads(n) {
    for (int i = 1; i < n; i++)
      pool.emplace_back([this, i] {
        for (int seen = 0;;) {
          while (go.load(std::memory_order_acquire) == seen) _mm_pause();
          seen++;
          if (!job) return;
          job(i);
          left--;
        }
      });
  }
  void operator()(std::function<void(int)> f) {
    job = f;
    left = threads - 1;
    go++;
    job(0);
    while (left.load()) _mm_pause();
  }
  ~Team() {
    job = nullptr;
    go++;
    for (auto& t : pool) t.join();
  }
};
static void spin_meet(const Run& run, int) {
  int at = round_.load();
  if (arrived.fetch_add(1) + 1 == run.threads) {
    arrived = 0;
    round_ = at + 1;
  } else {
    while (round_.load() == at) _mm_pause();
  }
}

static void speed_case(const char* name, Shape s, int layers, int past, int T, int threads) {
  int P = (past + T + 63) / 64;
  int64_t Dp = (s.D + 15) / 16 * 16, block = 2 * 64 * 2 * Dp, bytes = (int64_t)P * layers * s.Hkv * block;
  uint8_t* kv = huge(bytes);
  for (int64_t i = 0; i < bytes / 2; i++) ((uint16_t*)kv)[i] = 0x3000 + (i * 7 % 0x800);
  vector<int32_t> pages(P);
  for (int i = 0; i < P; i++) pages[i] = i;
  Value q = random({T, s.Hq, s.D}), o({T, s.Hq, s.D}), sv = integers({1, 4}, {0, T, past, -1}), pv = integers({1, P}, pages), pool;
  pool.t.type = KV_F16;
  pool.t.data = kv;
  vector<Call> calls;
  for (int l = 0; l < layers; l++) {
    calls.emplace_back("attention_paged", vector<Value*>{&o}, vector<Value*>{&q, &pool, &sv, &pv},
                       vector<int32_t>{l, layers, s.Hq, s.Hkv, s.D, s.window, P}, vector<float>{0.125f});
    Call& c = calls.back();
    c.run.threads = threads;
    c.run.meet = spin_meet;
    c.shared.resize(c.kernel->shared(c.node, 0, 0, 0) + 64);
    c.run.shared = (uint8_t*)(((uintptr_t)c.shared.data() + 63) & ~(uintptr_t)63);
    for (int i = 0; i < threads; i++) c.run.local[i] = local[i];
  }
  Team team(threads);
  volatile float sink = 0;
  vector<double> reads, attends;
  for (int round = 0; round < 15; round++) {
    double read[MAX_THREADS] = {}, attend[MAX_THREADS] = {};
    team([&](int i) {
      double t0 = now();
      int64_t from, to;
      share(bytes, 4096, threads, i, &from, &to);
      bench::V a = bench::zero(), b = a, c = a, d = a;
      for (int64_t k = from; k + 256 <= to; k += 256) {
        const float* x = (const float*)(kv + k);
        a += bench::load(x), b += bench::load(x + 16), c += bench::load(x + 32), d += bench::load(x + 48);
      }
      sink = sink + bench::sum((a + b) + (c + d));
      read[i] = now() - t0;
    });
    team([&](int i) {
      double t0 = now();
      for (Call& c : calls) c.kernel->fn(c.run, c.node, i);
      attend[i] = now() - t0;
    });
    reads.push_back(*std::max_element(read, read + threads));
    attends.push_back(*std::max_element(attend, attend + threads));
  }
  std::sort(reads.begin(), reads.end()), std::sort(attends.begin(), attends.end());
  double r = reads[0], a = attends[0], macs = 0;
  for (int i = 0; i < T; i++) macs += 2.0 * (past + i + 1) * s.Hq * s.D * layers;
  printf("%-22s past %5d T %4d threads %d: KV %6.1f MB, read %7.3f ms (%4.1f GB/s), attention %8.3f ms = %5.2f x, %5.1f GFLOPS\n",
         name, past, T, threads, bytes / 1e6, r * 1e3, bytes / r / 1e9, a * 1e3, a / r, macs * 2 / a / 1e9);
  munmap(kv, bytes);
}

// Figures of the usual shapes, or of one: Hq Hkv D layers past T threads.
static int speed_attention(int argc, char** argv) {
  if (argc == 7) {
    int x[7];
    for (int i = 0; i < 7; i++) x[i] = atoi(argv[i]);
    speed_case("", {x[0], x[1], x[2], 0}, x[3], x[4], x[5], x[6]);
    return 0;
  }
  for (int threads : {1, 2}) {
    speed_case("1B", {32, 8, 64, 0}, 16, 2048, 1, threads);
    speed_case("0.5B", {14, 2, 64, 0}, 24, 2048, 1, threads);
    speed_case("135M", {9, 3, 64, 0}, 30, 2048, 1, threads);
    speed_case("8B", {32, 8, 128, 0}, 8, 2048, 1, threads);
    speed_case("135M", {9, 3, 64, 0}, 30, 200, 1, threads);
    speed_case("1B", {32, 8, 64, 0}, 16, 0, 512, threads);
    speed_case("0.5B", {14, 2, 64, 0}, 24, 0, 512, threads);
  }
  return 0;
}
