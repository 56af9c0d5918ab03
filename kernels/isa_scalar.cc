// The instruction set that every processor has: plain C++, vectorized as far as the compiler's baseline goes.
#define PITH_ISA scalar
#include "isa.h"
