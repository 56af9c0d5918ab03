// Rows of q6_k, which has no kernels, as q8_0: what `quantize(dequantize(...))` of src/engine/weights.ts gives, byte for
// byte. Freestanding.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace pith {

constexpr int64_t Q6K_COLS = 256, Q6K_BYTES = 210, Q6K_AS_Q8_BYTES = 8 * 34;

// `blocks` blocks of 256 elements. False: a scale that is NaN, infinite, or too large for f16.
bool requantize_q6k(uint8_t* q8, const uint8_t* q6k, int64_t blocks);

}  // namespace pith
