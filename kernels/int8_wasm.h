// Rounding to int8 with WebAssembly's 128-bit vectors. Included by int8.h, inside `namespace pith::<isa> {`. Products of
// panels are in int8_wasm_panels.h.
#pragma once

PITH_INLINE v128_t vector(const void* p) { return wasm_v128_load(p); }
PITH_INLINE v128_t splat_bytes(const void* p) { return wasm_v128_load32_splat(p); }

// --- Rounding activations ------------------------------------------------------------------------------------------

PITH_INLINE float largest(const float* x) {
  v128_t m = wasm_i32x4_const_splat(0x7fffffff), t = wasm_v128_and(vector(x), m);
  for (int i = 4; i < BLOCK; i += 4) t = wasm_i32x4_max(t, wasm_v128_and(vector(x + i), m));
  t = wasm_i32x4_max(t, wasm_i32x4_shuffle(t, t, 2, 3, 0, 1));
  t = wasm_i32x4_max(t, wasm_i32x4_shuffle(t, t, 1, 0, 3, 2));
  return wasm_f32x4_extract_lane(t, 0);
}
PITH_INLINE int32_t round_block(uint8_t* q, const float* x, float inverse) {
  v128_t s = wasm_f32x4_splat(inverse), sum = wasm_i32x4_const_splat(0);
  for (int h = 0; h < BLOCK; h += 16) {
    v128_t v[4];
    for (int i = 0; i < 4; i++) {
      v[i] = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(wasm_f32x4_mul(vector(x + h + i * 4), s)));
      sum = wasm_i32x4_add(sum, v[i]);
    }
    v128_t a = wasm_i16x8_narrow_i32x4(v[0], v[1]), b = wasm_i16x8_narrow_i32x4(v[2], v[3]);
    wasm_v128_store(q + h, wasm_i8x16_narrow_i16x8(a, b));
  }
  sum = wasm_i32x4_add(sum, wasm_i32x4_shuffle(sum, sum, 2, 3, 0, 1));
  return wasm_i32x4_extract_lane(sum, 0) + wasm_i32x4_extract_lane(sum, 1);
}
