// See cpu.h. On x86 a feature counts only when the operating system saves its registers (XGETBV); on 64-bit Arm the
// system is asked, since a program cannot read the processor's registers that tell.
#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace pith {

namespace {

struct Found {
  const char* names[32];
  const Isa* sets[5];
  int nsets;
};

#if defined(__x86_64__)

struct Leaf {
  unsigned a, b, c, d;
};

Leaf leaf(unsigned n, unsigned sub) {
  Leaf l = {0, 0, 0, 0};
  __get_cpuid_count(n, sub, &l.a, &l.b, &l.c, &l.d);
  return l;
}

uint64_t saved_registers(const Leaf& one) {
  if (!(one.c >> 27 & 1)) return 0;   // OSXSAVE
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

// Linux keeps the tiles' registers (8 KiB a thread) only for processes that ask.
bool tiles_granted() {
#if defined(PITH_TILES)
  constexpr int ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
  return false;
#endif
}

Found find() {
  Found f = {};
  Leaf one = leaf(1, 0), seven = leaf(7, 0), more = leaf(7, 1);
  uint64_t saved = saved_registers(one);
  bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6;
  int n = 0;
  auto has = [&](const char* name, bool there) {
    if (there) f.names[n++] = name;
    return there;
  };
  bool avx2 = has("avx2", ymm && (seven.b >> 5 & 1));
  avx2 &= has("fma", ymm && (one.c >> 12 & 1));
  avx2 &= has("f16c", ymm && (one.c >> 29 & 1));
  bool avx512 = has("avx512f", zmm && (seven.b >> 16 & 1));
  avx512 &= has("avx512dq", zmm && (seven.b >> 17 & 1));
  avx512 &= has("avx512bw", zmm && (seven.b >> 30 & 1));
  avx512 &= has("avx512vl", zmm && (seven.b >> 31 & 1));
  avx512 &= has("avx512vnni", zmm && (seven.c >> 11 & 1));
  bool bf16 = has("avx512bf16", zmm && (more.a >> 5 & 1));
  bool amx = (saved >> 17 & 3) == 3 && (seven.d >> 24 & 1) && (seven.d >> 22 & 1);   // amx-tile, amx-bf16
  [[maybe_unused]] bool tiles = has("amx", avx2 && avx512 && bf16 && amx && tiles_granted());
  has("avxvnni", ymm && (more.a >> 4 & 1));
#if defined(PITH_HAVE_AVX512) && defined(PITH_TILES)
  if (tiles) f.sets[f.nsets++] = &isa_amx;
#endif
#if defined(PITH_HAVE_AVX512)
  if (avx2 && avx512) f.sets[f.nsets++] = &isa_avx512;
#endif
#if defined(PITH_HAVE_AVX2)
  if (avx2) f.sets[f.nsets++] = &isa_avx2;
#endif
  f.sets[f.nsets++] = &isa_scalar;
  return f;
}

#elif defined(__aarch64__)

// Bit of getauxval(AT_HWCAP) or, from 64 on, AT_HWCAP2; and the name after "hw.optional.arm." on macOS.
bool has(int bit, const char* name) {
#if defined(__linux__)
  (void)name;
  return getauxval(bit < 64 ? AT_HWCAP : AT_HWCAP2) >> (bit & 63) & 1;
#elif defined(__APPLE__)
  (void)bit;
  int there = 0;
  size_t size = sizeof there;
  return sysctlbyname(name, &there, &size, nullptr, 0) == 0 && there;
#else
  return false;
#endif
}

Found find() {
  Found f = {};
  int n = 0;
  f.names[n++] = "neon";
  auto feature = [&](const char* name, int bit, const char* apple) {
    bool there = has(bit, apple);
    if (there) f.names[n++] = name;
    return there;
  };
  bool dotprod = feature("dotprod", 20, "hw.optional.arm.FEAT_DotProd");
  bool i8mm = feature("i8mm", 64 + 13, "hw.optional.arm.FEAT_I8MM");
  feature("fp16", 10, "hw.optional.arm.FEAT_FP16");
  feature("bf16", 64 + 14, "hw.optional.arm.FEAT_BF16");
#if defined(PITH_HAVE_I8MM)
  if (dotprod && i8mm) f.sets[f.nsets++] = &isa_i8mm;
#endif
#if defined(PITH_HAVE_DOTPROD)
  if (dotprod) f.sets[f.nsets++] = &isa_dotprod;
#endif
  f.sets[f.nsets++] = &isa_neon;
  return f;
}

#else

Found find() {
  Found f = {};
  f.sets[f.nsets++] = &isa_scalar;
  return f;
}

#endif

const Found& found() {
  static const Found f = find();
  return f;
}

}  // namespace

const Isa* const* isas(int* count) {
  *count = found().nsets;
  return found().sets;
}

const char* const* cpu_features() { return found().names; }

}  // namespace pith
