// See pool.h. A job is published in one atomic word (epoch and number of threads) that workers watch. A worker that is
// not among the job's threads never touches the job.
//
// Waiting has two sides. With a core for each thread, the others are there within a microsecond, and a system call costs
// as much. But when something else wants the cores, two threads may share one, and then every pause of the one that waits
// is taken from the one that is waited for: on a busy machine a barrier that only spins makes a step 100 times slower.
// So a thread's patience in barriers shrinks when it was in vain, and grows back slowly.
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "memory.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

namespace pith {

namespace {

// How long a worker yields before it sleeps: JavaScript takes 10 to 100 us between two steps. It never waits for a job
// without yielding, because JavaScript, which is about to give the next one, may be waiting for this very core.
constexpr int64_t YIELD_NS = 200'000;
// Pauses in a barrier before yielding the processor, about 20 ns each.
constexpr int LEAST_PATIENCE = 30, MOST_PATIENCE = 1000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

int64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

struct alignas(64) Worker {
  std::atomic<uint32_t> parked{0};
  uint64_t seen = 0;
  int index = 0;
  int patience = MOST_PATIENCE;
  pthread_t thread{};
  Region local;
#if !defined(__linux__)
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
#endif
};

struct Pool {
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   // guards what follows, up to `word`
  int users = 0;
  int size = 0;
  Job* queue = nullptr;
  Job** last = &queue;
  bool stop = false;
  alignas(64) std::atomic<uint64_t> word{0};          // epoch << 8 | threads
  Job* job = nullptr;                                 // null: idle. Written under `lock`
  alignas(64) std::atomic<int> left{0};
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) std::atomic<uint32_t> phase{0};
  Worker workers[MAX_THREADS];
};

// Never destroyed: threads may outlive the statics at exit.
alignas(64) unsigned char storage[sizeof(Pool)];
Pool& pool = *new (storage) Pool;

#if defined(__linux__)
void park(Worker& w) { syscall(SYS_futex, &w.parked, FUTEX_WAIT_PRIVATE, 1, nullptr, nullptr, 0); }
void unpark(Worker& w) {
  w.parked.store(0);
  syscall(SYS_futex, &w.parked, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}
#else
void park(Worker& w) {
  pthread_mutex_lock(&w.mutex);
  while (w.parked.load()) pthread_cond_wait(&w.cond, &w.mutex);
  pthread_mutex_unlock(&w.mutex);
}
void unpark(Worker& w) {
  pthread_mutex_lock(&w.mutex);
  w.parked.store(0);
  pthread_cond_signal(&w.cond);
  pthread_mutex_unlock(&w.mutex);
}
#endif

// With the lock held. The sequentially consistent store and the loads of `parked` pair with those in `wait`.
void publish(Job* job, int threads) {
  pool.job = job;
  pool.left.store(threads, std::memory_order_relaxed);
  uint64_t epoch = (pool.word.load(std::memory_order_relaxed) >> 8) + 1;
  pool.word.store(epoch << 8 | uint64_t(threads));
  for (int i = 0; i < threads; i++)
    if (pool.workers[i].parked.load()) unpark(pool.workers[i]);
}

// The word once it differs from `seen`.
uint64_t wait(Worker& w) {
  uint64_t word;
  int64_t start = now();
  do {
    if ((word = pool.word.load(std::memory_order_acquire)) != w.seen) return word;
    sched_yield();
  } while (now() - start < YIELD_NS);
  for (;;) {
    w.parked.store(1);
    if ((word = pool.word.load()) != w.seen) {
      w.parked.store(0);
      return word;
    }
    park(w);
  }
}

void finish(Job* job) {
  pthread_mutex_lock(&pool.lock);
  Job* next = pool.queue;
  if (next) {
    pool.queue = next->next;
    if (!pool.queue) pool.last = &pool.queue;
    publish(next, next->threads);
  } else {
    pool.job = nullptr;
  }
  pthread_mutex_unlock(&pool.lock);
  job->done(job);
}

void* worker_main(void* arg) {
  Worker& w = *static_cast<Worker*>(arg);
  for (;;) {
    w.seen = wait(w);
    if (w.index >= int(w.seen & 0xff)) continue;
    Job* job = pool.job;
    if (!job) return nullptr;   // published without a job: the end
    job->work(job, w.index);
    if (pool.left.fetch_sub(1, std::memory_order_acq_rel) == 1) finish(job);
  }
}

bool start_worker(int index) {
  Worker& w = pool.workers[index];
  w.index = index;
  w.seen = pool.word.load();
  w.parked.store(0);
  if (!region_alloc(&w.local, LOCAL_BYTES)) return false;
  if (pthread_create(&w.thread, nullptr, worker_main, &w) == 0) return true;
  region_free(&w.local);
  return false;
}

}  // namespace

bool pool_open(int threads) {
  if (threads < 1 || threads > MAX_THREADS) return false;
  pthread_mutex_lock(&pool.lock);
  while (pool.size < threads && start_worker(pool.size)) pool.size++;
  bool good = pool.size >= threads;
  if (good) pool.users++;
  pthread_mutex_unlock(&pool.lock);
  return good;
}

void pool_close() {
  pthread_mutex_lock(&pool.lock);
  if (--pool.users > 0) {
    pthread_mutex_unlock(&pool.lock);
    return;
  }
  while (pool.job) {
    pthread_mutex_unlock(&pool.lock);
    sched_yield();
    pthread_mutex_lock(&pool.lock);
  }
  publish(nullptr, pool.size);
  int size = pool.size;
  pool.size = 0;
  for (int i = 0; i < size; i++) {
    pthread_join(pool.workers[i].thread, nullptr);
    region_free(&pool.workers[i].local);
  }
  pthread_mutex_unlock(&pool.lock);
}

void pool_post(Job* job) {
  job->next = nullptr;
  pthread_mutex_lock(&pool.lock);
  if (pool.job) {
    *pool.last = job;
    pool.last = &job->next;
  } else {
    publish(job, job->threads);
  }
  pthread_mutex_unlock(&pool.lock);
}

void pool_meet(const Run& run, int thread) {
  uint32_t phase = pool.phase.load(std::memory_order_relaxed);
  if (pool.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == uint32_t(run.threads)) {
    pool.arrived.store(0, std::memory_order_relaxed);
    pool.phase.store(phase + 1, std::memory_order_release);
    return;
  }
  Worker& w = pool.workers[thread];
  for (int turn = 0; turn < w.patience; turn++) {
    if (pool.phase.load(std::memory_order_acquire) != phase) {
      if (w.patience < MOST_PATIENCE) w.patience += 1 + w.patience / 32;
      return;
    }
    pause();
  }
  w.patience = w.patience / 4 > LEAST_PATIENCE ? w.patience / 4 : LEAST_PATIENCE;
  while (pool.phase.load(std::memory_order_acquire) == phase) sched_yield();
}

uint8_t* pool_local(int thread) { return pool.workers[thread].local.data; }

}  // namespace pith
