// NEON with int8 matrix products beside the dot products (armv8.6: Neoverse V1 and N2, Cortex-A710, Apple M2 and later).
#define PITH_ISA i8mm
#include "isa.h"
