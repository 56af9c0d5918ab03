// The matrix kernels alone: checks against a slow reference in double, then bandwidth and arithmetic beside a raw read
// of the same memory. One program for each instruction set; needs nothing but a C++ compiler:
//
//   F="-std=c++20 -O3 -fno-exceptions -fno-rtti -ffp-contract=off -w -Ikernels -pthread"
//   V="-mavx2 -mfma -mf16c"; W="$V -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni"
//   g++ $F $W -DPITH_ISA=avx512 bench/kernels.cc kernels/pack.cc -o kernels-avx512     ($V: avx2, neither: scalar)
//
//   ./kernels-avx512 check              every type, odd sizes, the same bits for any T, chunk and number of threads
//   ./kernels-avx512 decode [threads [rounds [type]]]   GB/s of one token, beside the raw read, interleaved
//   ./kernels-avx512 prefill [threads [rounds [type [tokens]]]]   GOPS
//   ./kernels-avx512 gemm [threads [rounds]]     GFLOPS of nt, nn, tn
//   ./kernels-avx512 model [threads [rounds]]    tokens a second of the matrix work of whole decoders
#include "kernels-check.h"
#include "kernels-speed.h"

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "check";
  int threads = argc > 2 ? atoi(argv[2]) : 1, rounds = argc > 3 ? atoi(argv[3]) : 7;
  alone = threads == 1;
  if (argc > 4) only = argv[4];
  if (!strcmp(what, "decode")) decode(threads, rounds);
  else if (!strcmp(what, "prefill")) prefill(threads, rounds, argc > 5 ? atoi(argv[5]) : 512);
  else if (!strcmp(what, "model")) models(threads, rounds);
  else if (!strcmp(what, "gemm")) gemm(threads, rounds);
  else check();
  fflush(stdout);
  _exit(failures != 0);
}
