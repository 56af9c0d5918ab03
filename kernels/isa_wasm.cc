// WebAssembly with 128-bit SIMD: sixteen lanes are four registers.
#include <wasm_simd128.h>

#include "cpu.h"
namespace pith {
extern const Isa isa_wasm;
}
#define PITH_ISA wasm
#include "isa.h"
