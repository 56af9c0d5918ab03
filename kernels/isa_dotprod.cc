// NEON with the int8 dot products of armv8.2 (Cortex-A55, A76 and later; Apple's from A13 and M1 on).
#define PITH_ISA dotprod
#include "isa.h"
