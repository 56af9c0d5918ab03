// Arm's 128-bit vectors, as every 64-bit Arm processor has them (armv8-a).
#define PITH_ISA neon
#include "isa.h"
