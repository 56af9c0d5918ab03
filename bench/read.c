// Raw memory read: how fast this machine's memory can be read right now, the limit that decoding is held to.
// Usage: read <MiB>. Allocates once (2 MiB pages where the kernel gives them), then for each line on stdin, a
// number of threads, reads the buffer three times and prints the median in bytes per second.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_THREADS = 64 };
typedef struct {
  const char *from;
  size_t size;
  uint64_t sum;
} Part;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

// One sequential stream with four independent accumulators of 32 bytes; GCC's vectors keep it portable.
typedef uint64_t V __attribute__((vector_size(64)));
static void *read_part(void *arg) {
  Part *p = arg;
  const V *v = (const V *)p->from;
  V a = {0}, b = {0}, c = {0}, d = {0};
  for (size_t i = 0; i < p->size / sizeof(V); i += 4) {
    a ^= v[i];
    b ^= v[i + 1];
    c ^= v[i + 2];
    d ^= v[i + 3];
  }
  V s = a ^ b ^ c ^ d;
  p->sum = s[0] ^ s[1] ^ s[2] ^ s[3] ^ s[4] ^ s[5] ^ s[6] ^ s[7];
  return NULL;
}

static double pass(const char *buffer, size_t size, int threads) {
  pthread_t ids[MAX_THREADS];
  Part parts[MAX_THREADS];
  size_t each = size / threads / 256 * 256;
  double start = now();
  for (int i = 0; i < threads; i++) {
    parts[i] = (Part){buffer + i * each, each, 0};
    if (i > 0) pthread_create(&ids[i], NULL, read_part, &parts[i]);
  }
  read_part(&parts[0]);
  for (int i = 1; i < threads; i++) pthread_join(ids[i], NULL);
  double seconds = now() - start;
  volatile uint64_t sink = 0;
  for (int i = 0; i < threads; i++) sink ^= parts[i].sum;
  return each * threads / seconds;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  size_t size = (argc > 1 ? strtoull(argv[1], NULL, 10) : 512) << 20;
  char *buffer = aligned_alloc(2 << 20, size);
  if (!buffer) return fprintf(stderr, "Cannot allocate %zu bytes\n", size), 1;
#ifdef MADV_HUGEPAGE
  madvise(buffer, size, MADV_HUGEPAGE);
#endif
  for (size_t i = 0; i < size; i += 8) *(uint64_t *)(buffer + i) = i;
  int threads;
  while (scanf("%d", &threads) == 1) {
    if (threads < 1 || threads > MAX_THREADS) return fprintf(stderr, "Cannot use %d threads\n", threads), 1;
    double speeds[3];
    for (int i = 0; i < 3; i++) speeds[i] = pass(buffer, size, threads);
    qsort(speeds, 3, sizeof *speeds, by_value);
    printf("%.0f\n", speeds[1]);
    fflush(stdout);
  }
}
