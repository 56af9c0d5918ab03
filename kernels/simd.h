// Sixteen lanes, whatever the processor: V is 16 floats, I is 16 int32 (also the result of comparisons: -1 or 0).
// One register on AVX-512, two on AVX2, four on SSE2, NEON and WebAssembly. The pieces are named halves of a struct, so
// that accumulators stay in registers: gcc puts a plain 64-byte vector on the stack where no register is as wide.
//
// Included inside `namespace pith::<isa> {`: pith.h and the intrinsics header come before it, outside the namespace.
// Operators + - * / & | ^ ~ < > <= >= == << >> += *= work on V and I; scalars are made with splat(). Pointers need no
// alignment. Nothing is read or written beyond what a name says. Every order of summation is written down.
#pragma once

#define PITH_INLINE static inline __attribute__((always_inline))
#define PITH_LAMBDA __attribute__((always_inline))

// --- Pieces and operators ---------------------------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr int PIECE = 16;
#elif defined(__AVX__)
constexpr int PIECE = 8;
#else
constexpr int PIECE = 4;
#endif
typedef float P __attribute__((vector_size(PIECE * 4)));
typedef int32_t PI __attribute__((vector_size(PIECE * 4)));
typedef uint32_t PU __attribute__((vector_size(PIECE * 4)));
typedef uint16_t PH __attribute__((vector_size(PIECE * 2)));

template <class H>
struct Pair {
  H lo, hi;
};

#if defined(__AVX512F__)
typedef P V;
typedef PI I;
#elif defined(__AVX__)
typedef Pair<P> V;
typedef Pair<PI> I;
#else
typedef Pair<Pair<P>> V;
typedef Pair<Pair<PI>> I;
#endif

#define PITH_BINARY(op)                                                             \
  template <class H>                                                                \
  PITH_INLINE auto operator op(Pair<H> a, Pair<H> b)->Pair<decltype(a.lo op b.lo)> { \
    return {a.lo op b.lo, a.hi op b.hi};                                            \
  }
PITH_BINARY(+)
PITH_BINARY(-)
PITH_BINARY(*)
PITH_BINARY(/)
PITH_BINARY(&)
PITH_BINARY(|)
PITH_BINARY(^)
#undef PITH_BINARY
template <class T>
struct Mask {
  typedef PI type;
};
template <class H>
struct Mask<Pair<H>> {
  typedef Pair<typename Mask<H>::type> type;
};
// The cast is for clang, whose masks on wasm32 are vectors of long.
#define PITH_COMPARE(op)                                                                 \
  template <class H>                                                                     \
  PITH_INLINE Pair<typename Mask<H>::type> operator op(Pair<H> a, Pair<H> b) {           \
    return {(typename Mask<H>::type)(a.lo op b.lo), (typename Mask<H>::type)(a.hi op b.hi)}; \
  }
PITH_COMPARE(<)
PITH_COMPARE(>)
PITH_COMPARE(<=)
PITH_COMPARE(>=)
PITH_COMPARE(==)
#undef PITH_COMPARE
template <class H>
PITH_INLINE Pair<H> operator~(Pair<H> a) {
  return {~a.lo, ~a.hi};
}
template <class H>
PITH_INLINE Pair<H> operator-(Pair<H> a) {
  return {-a.lo, -a.hi};
}
template <class H>
PITH_INLINE Pair<H> operator<<(Pair<H> a, int n) {
  return {a.lo << n, a.hi << n};
}
template <class H>
PITH_INLINE Pair<H> operator>>(Pair<H> a, int n) {
  return {a.lo >> n, a.hi >> n};
}
template <class H>
PITH_INLINE Pair<H>& operator+=(Pair<H>& a, Pair<H> b) {
  return a = a + b;
}
template <class H>
PITH_INLINE Pair<H>& operator*=(Pair<H>& a, Pair<H> b) {
  return a = a * b;
}

// --- What a piece can do; pairs do it twice ---------------------------------------------------------------------------

// a * b + c, rounded once where the machine can (AVX2, AVX-512, NEON), twice elsewhere.
PITH_INLINE P fma(P a, P b, P c) {
#if defined(__AVX512F__)
  return (P)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (P)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (P)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}
// b where either is NaN, as x86's instruction.
PITH_INLINE P max(P a, P b) {
#if defined(__AVX512F__)
  return (P)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
  return (P)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__wasm_simd128__)
  return (P)wasm_f32x4_pmax((v128_t)b, (v128_t)a);
#else
  return a > b ? a : b;
#endif
}
PITH_INLINE P min(P a, P b) {
#if defined(__AVX512F__)
  return (P)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
  return (P)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__wasm_simd128__)
  return (P)wasm_f32x4_pmin((v128_t)b, (v128_t)a);
#else
  return a < b ? a : b;
#endif
}
// To the nearest whole number, ties to even; |a| < 2^22.
PITH_INLINE P nearest(P a) {
#if defined(__AVX512F__)
  return (P)_mm512_roundscale_ps((__m512)a, 8);
#elif defined(__AVX__)
  return (P)_mm256_round_ps((__m256)a, 8);
#elif defined(__wasm_simd128__)
  return (P)wasm_f32x4_nearest((v128_t)a);
#else
  return (a + 12582912.0f) - 12582912.0f;
#endif
}
PITH_INLINE P sqrt(P a) {
#if defined(__AVX512F__)
  return (P)_mm512_sqrt_ps((__m512)a);
#elif defined(__AVX__)
  return (P)_mm256_sqrt_ps((__m256)a);
#elif defined(__SSE2__)
  return (P)_mm_sqrt_ps((__m128)a);
#elif defined(__wasm_simd128__)
  return (P)wasm_f32x4_sqrt((v128_t)a);
#elif defined(__aarch64__)
  return (P)vsqrtq_f32((float32x4_t)a);
#else
  for (int i = 0; i < PIECE; i++) a[i] = __builtin_sqrtf(a[i]);
  return a;
#endif
}
PITH_INLINE P select(PI mask, P a, P b) { return mask ? a : b; }
PITH_INLINE PI select(PI mask, PI a, PI b) { return mask ? a : b; }
PITH_INLINE PI bits(P a) { return (PI)a; }
PITH_INLINE P floats(PI a) { return (P)a; }
PITH_INLINE P to_float(PI a) { return __builtin_convertvector(a, P); }
PITH_INLINE PI to_int(P a) { return __builtin_convertvector(a, PI); }  // towards zero

template <class H>
PITH_INLINE Pair<H> fma(Pair<H> a, Pair<H> b, Pair<H> c) {
  return {fma(a.lo, b.lo, c.lo), fma(a.hi, b.hi, c.hi)};
}
template <class H>
PITH_INLINE Pair<H> max(Pair<H> a, Pair<H> b) {
  return {max(a.lo, b.lo), max(a.hi, b.hi)};
}
template <class H>
PITH_INLINE Pair<H> min(Pair<H> a, Pair<H> b) {
  return {min(a.lo, b.lo), min(a.hi, b.hi)};
}
template <class H>
PITH_INLINE Pair<H> nearest(Pair<H> a) {
  return {nearest(a.lo), nearest(a.hi)};
}
template <class H>
PITH_INLINE Pair<H> sqrt(Pair<H> a) {
  return {sqrt(a.lo), sqrt(a.hi)};
}
template <class M, class H>
PITH_INLINE Pair<H> select(Pair<M> mask, Pair<H> a, Pair<H> b) {
  return {select(mask.lo, a.lo, b.lo), select(mask.hi, a.hi, b.hi)};
}
// bits, floats: the same 32 bits seen as the other type. to_float, to_int: converted.
#define PITH_CONVERT(name)                                       \
  template <class H>                                             \
  PITH_INLINE auto name(Pair<H> a)->Pair<decltype(name(a.lo))> { \
    return {name(a.lo), name(a.hi)};                             \
  }                                                              \
  template <class H>                                             \
  PITH_INLINE auto name(Pair<Pair<H>> a)->Pair<Pair<decltype(name(a.lo.lo))>> { \
    return {name(a.lo), name(a.hi)};                             \
  }
PITH_CONVERT(bits)
PITH_CONVERT(floats)
PITH_CONVERT(to_float)
PITH_CONVERT(to_int)
#undef PITH_CONVERT

// --- Making, loading, storing -----------------------------------------------------------------------------------------

// Piece by piece: gcc copies a struct through the stack. Structs and vectors alike lie in memory lane after lane.
PITH_INLINE void get(P& v, const float* p) { __builtin_memcpy(&v, p, sizeof v); }
PITH_INLINE void get(PI& v, const int32_t* p) { __builtin_memcpy(&v, p, sizeof v); }
PITH_INLINE void put(float* p, P v) { __builtin_memcpy(p, &v, sizeof v); }
PITH_INLINE void put(int32_t* p, PI v) { __builtin_memcpy(p, &v, sizeof v); }
template <class H, class S>
PITH_INLINE void get(Pair<H>& v, const S* p) {
  get(v.lo, p);
  get(v.hi, p + sizeof(H) / sizeof(S));
}
template <class H, class S>
PITH_INLINE void put(S* p, Pair<H> v) {
  put(p, v.lo);
  put(p + sizeof(H) / sizeof(S), v.hi);
}
PITH_INLINE V load(const float* p) {
  V v;
  get(v, p);
  return v;
}
PITH_INLINE I load_int(const int32_t* p) {
  I v;
  get(v, p);
  return v;
}
PITH_INLINE void store(float* p, V v) { put(p, v); }
PITH_INLINE void store_int(int32_t* p, I v) { put(p, v); }

template <class T, class S>
PITH_INLINE void fill(T& v, S x) {  // a list, which gcc makes a broadcast from memory
  if constexpr (PIECE == 16)
    v = T{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
  else if constexpr (PIECE == 8)
    v = T{x, x, x, x, x, x, x, x};
  else
    v = T{x, x, x, x};
}
template <class H, class S>
PITH_INLINE void fill(Pair<H>& v, S x) {
  fill(v.lo, x);
  v.hi = v.lo;
}
PITH_INLINE V zero() { return V{}; }
// Every lane x.
PITH_INLINE V splat(float x) {
  V v;
  fill(v, x);
  return v;
}
PITH_INLINE I splat_int(int32_t x) {
  I v;
  fill(v, x);
  return v;
}
// 0, 1, .. 15
PITH_INLINE I lanes() {
  static const int32_t first[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return load_int(first);
}

// The first n lanes (0 <= n <= 16): the others are 0 when loading and untouched when storing.
PITH_INLINE V load_n(const float* p, int64_t n) {
#if defined(__AVX512F__)
  return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
  float part[16] = {};
  for (int64_t i = 0; i < n; i++) part[i] = p[i];
  return load(part);
#endif
}
PITH_INLINE void store_n(float* p, V v, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
  float part[16];
  store(part, v);
  for (int64_t i = 0; i < n; i++) p[i] = part[i];
#endif
}
// All 16 lanes, or the n that are left.
PITH_INLINE V load_upto(const float* p, int64_t n) { return n >= 16 ? load(p) : load_n(p, n); }
PITH_INLINE void store_upto(float* p, V v, int64_t n) {
  if (n >= 16)
    store(p, v);
  else
    store_n(p, v, n);
}

// --- Across lanes: a tree, upper half onto lower half, 8 4 2 1 ---------------------------------------------------------

typedef float F4 __attribute__((vector_size(16)));
template <class Op>
PITH_INLINE float across(V v, Op op) {
#if defined(__AVX512F__)
  __m512 a = (__m512)v;
  F4 q0 = (F4)_mm512_castps512_ps128(a), q1 = (F4)_mm512_extractf32x4_ps(a, 1);
  F4 q2 = (F4)_mm512_extractf32x4_ps(a, 2), q3 = (F4)_mm512_extractf32x4_ps(a, 3);
#elif defined(__AVX__)
  F4 q0 = (F4)_mm256_castps256_ps128((__m256)v.lo), q1 = (F4)_mm256_extractf128_ps((__m256)v.lo, 1);
  F4 q2 = (F4)_mm256_castps256_ps128((__m256)v.hi), q3 = (F4)_mm256_extractf128_ps((__m256)v.hi, 1);
#else
  F4 q0 = v.lo.lo, q1 = v.lo.hi, q2 = v.hi.lo, q3 = v.hi.hi;
#endif
  F4 r = op(op(q0, q2), op(q1, q3));
  F4 s = op(r, __builtin_shufflevector(r, r, 2, 3, 0, 1));
  return op(s, __builtin_shufflevector(s, s, 1, 0, 3, 2))[0];
}
PITH_INLINE float sum(V v) {
  return across(v, [](F4 a, F4 b) { return a + b; });
}
// NaN lanes may be dropped, as max() does.
PITH_INLINE float max_lane(V v) {
  return across(v, [](F4 a, F4 b) { return a > b ? a : b; });
}
PITH_INLINE float lane(V v, int i) {
  float a[16];
  store(a, v);
  return a[i];
}

// --- Half precision: exact to f32, nearest-even from it ---------------------------------------------------------------

PITH_INLINE P widen_f16(PH h) {
#if defined(__AVX512F__)
  return (P)_mm512_cvtph_ps((__m256i)h);
#elif defined(__F16C__)
  return (P)_mm256_cvtph_ps((__m128i)h);
#elif defined(__aarch64__)
  return (P)vcvt_f32_f16((float16x4_t)h);
#else
  PI x = __builtin_convertvector(h, PI);
  PI magnitude = (x & 0x7fff) << 13;
  // Scaling by 2^112 moves the exponent's bias, and makes subnormals normal; infinities and NaN keep a full exponent.
  PI y = (PI)((P)magnitude * 0x1p112f);
  y = magnitude >= (0x7c00 << 13) ? (magnitude | 0x7f800000) : y;
  return (P)(y | ((x & 0x8000) << 16));
#endif
}
PITH_INLINE PH narrow_f16(P v) {
#if defined(__AVX512F__)
  return (PH)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__F16C__)
  return (PH)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__aarch64__)
  return (PH)vcvt_f16_f32((float32x4_t)v);
#else
  PI x = (PI)v, a = x & 0x7fffffff;
  // Normal: round at bit 13 and rebias. A carry past the largest half gives infinity.
  PI normal = (a + ((15 - 127) * (1 << 23) + 0xfff) + ((a >> 13) & 1)) >> 13;
  // Below 2^-14: adding 0.5 puts the last place of a half subnormal at the last place of a float.
  PI small = (PI)((P)a + 0.5f) - 0x3f000000;
  PI special = a > 0x7f800000 ? (PI{} + 0x7e00) : (PI{} + 0x7c00);
  PI y = a < 0x38800000 ? small : normal;
  y = a >= 0x47800000 ? special : y;
  y = y | ((x >> 16) & 0x8000);
  return __builtin_convertvector(y, PH);
#endif
}
PITH_INLINE P widen_bf16(PH h) {
#if defined(__aarch64__)
  return (P)vshll_n_u16((uint16x4_t)h, 16);
#else
  return (P)(__builtin_convertvector(h, PI) << 16);
#endif
}
PITH_INLINE PH narrow_bf16(P v) {
  PU x = (PU)v;
  PU y = (x + 0x7fff + ((x >> 16) & 1)) >> 16;
  y = (x & 0x7fffffff) > 0x7f800000 ? ((x >> 16) | 0x40) : y;
  return __builtin_convertvector(y, PH);
}

PITH_INLINE PH load_piece16(const uint16_t* p) {
  PH h;
  __builtin_memcpy(&h, p, sizeof h);
  return h;
}
PITH_INLINE void store_piece16(uint16_t* p, PH h) { __builtin_memcpy(p, &h, sizeof h); }

PITH_INLINE V load_f16(const uint16_t* p) {
#if defined(__AVX512F__)
  return widen_f16(load_piece16(p));
#elif defined(__AVX__)
  return {widen_f16(load_piece16(p)), widen_f16(load_piece16(p + 8))};
#else
  return {{widen_f16(load_piece16(p)), widen_f16(load_piece16(p + 4))},
          {widen_f16(load_piece16(p + 8)), widen_f16(load_piece16(p + 12))}};
#endif
}
PITH_INLINE V load_bf16(const uint16_t* p) {
#if defined(__AVX512F__)
  return widen_bf16(load_piece16(p));
#elif defined(__AVX__)
  return {widen_bf16(load_piece16(p)), widen_bf16(load_piece16(p + 8))};
#else
  return {{widen_bf16(load_piece16(p)), widen_bf16(load_piece16(p + 4))},
          {widen_bf16(load_piece16(p + 8)), widen_bf16(load_piece16(p + 12))}};
#endif
}
// 16 signed bytes as floats.
#if defined(__AVX512F__)
PITH_INLINE V load_i8(const uint8_t* p) {
  return (V)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
}
#elif defined(__AVX2__)
PITH_INLINE P eight(const uint8_t* p) {
  return (P)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
}
PITH_INLINE V load_i8(const uint8_t* p) { return {eight(p), eight(p + 8)}; }
#elif defined(__aarch64__)
PITH_INLINE V load_i8(const uint8_t* p) {
  int8x16_t v = vld1q_s8((const int8_t*)p);
  int16x8_t a = vmovl_s8(vget_low_s8(v)), b = vmovl_high_s8(v);
  return {{(P)vcvtq_f32_s32(vmovl_s16(vget_low_s16(a))), (P)vcvtq_f32_s32(vmovl_high_s16(a))},
          {(P)vcvtq_f32_s32(vmovl_s16(vget_low_s16(b))), (P)vcvtq_f32_s32(vmovl_high_s16(b))}};
}
#else
PITH_INLINE P some(const uint8_t* p) {
  typedef int8_t B __attribute__((vector_size(PIECE)));
  B b;
  __builtin_memcpy(&b, p, sizeof b);
  return to_float(__builtin_convertvector(b, PI));
}
PITH_INLINE V load_i8(const uint8_t* p) { return {{some(p), some(p + 4)}, {some(p + 8), some(p + 12)}}; }
#endif
PITH_INLINE void store_f16(uint16_t* p, V v) {
#if defined(__AVX512F__)
  store_piece16(p, narrow_f16(v));
#elif defined(__AVX__)
  store_piece16(p, narrow_f16(v.lo));
  store_piece16(p + 8, narrow_f16(v.hi));
#else
  store_piece16(p, narrow_f16(v.lo.lo));
  store_piece16(p + 4, narrow_f16(v.lo.hi));
  store_piece16(p + 8, narrow_f16(v.hi.lo));
  store_piece16(p + 12, narrow_f16(v.hi.hi));
#endif
}
PITH_INLINE void store_bf16(uint16_t* p, V v) {
#if defined(__AVX512F__)
  store_piece16(p, narrow_bf16(v));
#elif defined(__AVX__)
  store_piece16(p, narrow_bf16(v.lo));
  store_piece16(p + 8, narrow_bf16(v.hi));
#else
  store_piece16(p, narrow_bf16(v.lo.lo));
  store_piece16(p + 4, narrow_bf16(v.lo.hi));
  store_piece16(p + 8, narrow_bf16(v.hi.lo));
  store_piece16(p + 12, narrow_bf16(v.hi.hi));
#endif
}
