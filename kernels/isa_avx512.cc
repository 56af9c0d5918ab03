// AVX-512 F, BW, VL, DQ and VNNI, beside all of AVX2.
#define PITH_ISA avx512
#include "isa.h"
