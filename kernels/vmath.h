// exp, log, tanh, sigmoid, erf on sixteen lanes: own polynomials, no libm, within 1-2 units of the last place.
// NaN stays NaN. A lane's result depends on that lane alone.
// Method: reduce to a small interval, evaluate a polynomial (minimax, or Taylor where that is as good), scale back.
#pragma once
#include "simd.h"

// Nearest integer, ties to even, for |x| < 2^22.
PITH_INLINE V round_small(V x) {
  V magic = splat(0x1.8p23f);
  return (x + magic) - magic;
}

// 2^n as a float for integers n in -126 .. 127.
PITH_INLINE V pow2(I n) { return floats((n + splat_int(127)) << 23); }

// e^r for |r| <= ln2 / 2: Taylor to degree 7 (the rest is below 2^-27).
PITH_INLINE V exp_reduced(V r) {
  V p = splat(0x1.a01a02p-13f);        // 1/5040
  p = fma(p, r, splat(0x1.6c16c2p-10f));  // 1/720
  p = fma(p, r, splat(0x1.111112p-7f));   // 1/120
  p = fma(p, r, splat(0x1.555556p-5f));   // 1/24
  p = fma(p, r, splat(0x1.555556p-3f));   // 1/6
  p = fma(p, r, splat(0.5f));
  p = fma(p, r * r, r);
  return p + splat(1.0f);
}

// x = n ln2 + r. ln2 is cut so that n * hi is exact: 15 bits, and |n| < 256.
PITH_INLINE V exp_split(V x, V n) {
  V r = fma(n, splat(-0x1.62e4p-1f), x);
  return fma(n, splat(-0x1.7f7d1cp-20f), r);
}

// e^x. Below -104: 0. Above 88.73: infinity. Scaled in two steps, so subnormal results are right too.
PITH_INLINE V exp(V x) {
  V c = min(max(x, splat(-104.0f)), splat(89.0f));  // a NaN is replaced here and put back below
  V n = round_small(c * splat(0x1.715476p0f));
  V p = exp_reduced(exp_split(c, n));
  I i = to_int(n), half = i >> 1;
  V y = p * pow2(half) * pow2(i - half);
  return select(x == x, y, x);
}

// e^x for x <= 0, as softmax and sigmoid need it: cheaper. Below -88: 0 (or, on AVX-512, the subnormal). NaN stays.
PITH_INLINE V exp_negative(V x) {
#if defined(__AVX512F__)
  V c = max(splat(-104.0f), x);  // in this order a NaN passes
  V n = round_small(c * splat(0x1.715476p0f));
  return (V)_mm512_scalef_ps((__m512)exp_reduced(exp_split(c, n)), (__m512)n);
#else
  V c = max(splat(-88.0f), x);
  V n = round_small(c * splat(0x1.715476p0f));
  return exp_reduced(exp_split(c, n)) * pow2(to_int(n));  // n >= -127, where pow2 is 0
#endif
}

// Natural logarithm. log(0) = -inf, of less: NaN.
// x = 2^e m with sqrt(1/2) <= m < sqrt(2); f = m - 1, s = f / (2 + f):
// log m = 2 atanh s = f - (f²/2 - s (f²/2 + R)), R = 2/3 s² + 2/5 s⁴ + 2/7 s⁶ + 2/9 s⁸.
PITH_INLINE V log(V x) {
  I small = x < splat(0x1p-126f);
  V y = select(small, x * splat(0x1p23f), x);
  I ix = bits(y) - splat_int(0x3f3504f3);  // so that the exponent changes at sqrt(1/2)
  V e = to_float((ix >> 23) - (small & splat_int(23)));
  V m = floats((ix & splat_int(0x007fffff)) + splat_int(0x3f3504f3));
  V f = m - splat(1.0f);
  V s = f / (splat(2.0f) + f), z = s * s;
  V p = fma(splat(0x1.c71c72p-3f), z, splat(0x1.24924ap-2f));
  p = fma(p, z, splat(0x1.99999ap-2f));
  p = fma(p, z, splat(0x1.555556p-1f));
  V half = splat(0.5f) * f * f;
  V low = s * fma(p, z, half) + e * splat(0x1.7f7d1cp-20f);
  V r = e * splat(0x1.62e4p-1f) - ((half - low) - f);
  r = select(x == zero(), splat(-__builtin_inff()), r);
  r = select(x < zero(), splat(__builtin_nanf("")), r);
  return select(x < splat(__builtin_inff()), r, x);  // infinity and NaN are their own
}

// 1 / (1 + e^-x), from e^-|x| so that nothing overflows.
PITH_INLINE V sigmoid(V x) {
  I negative = x < zero();
  V e = exp_negative(select(negative, x, -x));
  return select(negative, e, splat(1.0f)) / (splat(1.0f) + e);
}

// Near zero an odd polynomial (interpolated at Chebyshev nodes of x² in 0 .. 0.625², relative error 2^-25.8), else
// 1 - 2 / (e^2|x| + 1), in terms of e^-2|x|.
PITH_INLINE V tanh(V x) {
  I sign = bits(x) & splat_int(INT32_MIN);
  V a = floats(bits(x) ^ sign), z = x * x;
  V p = splat(-0x1.8f8de4p-8f);
  p = fma(p, z, splat(0x1.58048ep-6f));
  p = fma(p, z, splat(-0x1.b9258ap-5f));
  p = fma(p, z, splat(0x1.110e1cp-3f));
  p = fma(p, z, splat(-0x1.555552p-2f));
  V near = fma(p * z, x, x);
  V e = exp_negative(splat(-2.0f) * a);
  V far = splat(1.0f) - (e + e) / (splat(1.0f) + e);
  return select(a < splat(0.625f), near, floats(bits(far) | sign));
}

PITH_INLINE V silu(V x) { return x * sigmoid(x); }

// x/2 (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x³)
PITH_INLINE V gelu(V x) {
  V u2 = x * fma(x * x, splat(1.5957691216057308f * 0.044715f), splat(1.5957691216057308f));
  return x * sigmoid(u2);
}

// Below 1 an odd polynomial (interpolated at Chebyshev nodes of x²), else 1 - e^-p(x) with p that of -log erfc x up to 4,
// where erf rounds to 1. Largest error 1.2e-7, or 2.2 units of the last place.
PITH_INLINE V erf(V x) {
  I sign = bits(x) & splat_int(INT32_MIN);
  V a = floats(bits(x) ^ sign), z = x * x;
  V p = splat(0x1.4a5690p-14f);
  p = fma(p, z, splat(-0x1.a45088p-11f));
  p = fma(p, z, splat(0x1.541270p-8f));
  p = fma(p, z, splat(-0x1.b7fabap-6f));
  p = fma(p, z, splat(0x1.ce2d10p-4f));
  p = fma(p, z, splat(-0x1.81273ep-2f));
  p = fma(p, z, splat(0x1.20dd74p+0f));
  V near = x * p, c = min(a, splat(4.0f));
  V q = splat(-0x1.b77830p-20f);
  q = fma(q, c, splat(0x1.825ce4p-15f));
  q = fma(q, c, splat(-0x1.38e5e6p-11f));
  q = fma(q, c, splat(0x1.37ecc6p-8f));
  q = fma(q, c, splat(-0x1.b0e246p-6f));
  q = fma(q, c, splat(0x1.c2e356p-4f));
  q = fma(q, c, splat(0x1.437eb4p-1f));
  q = fma(q, c, splat(0x1.2156fap+0f));
  q = fma(q, c, splat(-0x1.4fb068p-12f));
  V far = splat(1.0f) - exp_negative(-q);
  V y = select(a < splat(1.0f), near, floats(bits(far) | sign));
  return select(x == x, y, x);
}

// x/2 (1 + erf(x / sqrt(2)))
PITH_INLINE V gelu_erf(V x) { return splat(0.5f) * x * (splat(1.0f) + erf(x * splat(0x1.6a09e6p-1f))); }
