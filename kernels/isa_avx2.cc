// AVX2, FMA and F16C.
#define PITH_ISA avx2
#include "isa.h"
