// The Node-API addon: its functions (storage.cc, executable.cc and the few here), promises that threads settle, and the
// state of a JavaScript environment. Sizes are checked; what a program means was checked in TypeScript.
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include <atomic>

#include "args.h"
#include "cpu.h"
#include "pool.h"

namespace pith {

napi_value promise_open(Env* env, Settle* settle, void (*fn)(Settle*, napi_env)) {
  napi_value promise = nullptr;
  settle->env = env;
  settle->settle = fn;
  napi_create_promise(env->env, &settle->deferred, &promise);
  __atomic_add_fetch(&env->working, 1, __ATOMIC_RELAXED);
  if (env->active++ == 0) napi_ref_threadsafe_function(env->env, env->done);
  return promise;
}

void promise_finished(Settle* settle) {
  Env* env = settle->env;
  napi_call_threadsafe_function(env->done, settle, napi_tsfn_nonblocking);
  __atomic_sub_fetch(&env->working, 1, __ATOMIC_RELEASE);
}

namespace {

void on_done(napi_env js, napi_value, void*, void* data) {
  Settle* settle = static_cast<Settle*>(data);
  Env* env = settle->env;
  if (--env->active == 0 && js) napi_unref_threadsafe_function(js, env->done);
  settle->settle(settle, js);
}

napi_value strings(napi_env env, const char* const* list, int n) {
  napi_value array = nullptr;
  napi_create_array(env, &array);
  for (int i = 0; i < n; i++) napi_set_element(env, array, uint32_t(i), string(env, list[i]));
  return array;
}

// info(): { isas, features, types }
napi_value js_info(napi_env env, napi_callback_info) {
  napi_value answer = nullptr;
  napi_create_object(env, &answer);
  int n, features = 0;
  const Isa* const* all = isas(&n);
  const char* names[8];
  for (int i = 0; i < n; i++) names[i] = all[i]->name;
  while (cpu_features()[features]) features++;
  set(env, answer, "isas", strings(env, names, n));
  set(env, answer, "features", strings(env, cpu_features(), features));
  set(env, answer, "types", strings(env, TYPE_NAMES, TYPES));
  return answer;
}

// kernels(index in isas): names, by opcode.
napi_value js_kernels(napi_env env, napi_callback_info info) {
  Args a(env, info, 1);
  int n, count;
  const Isa* const* all = isas(&n);
  int64_t i = a.integer(0, 0, n - 1);
  if (!a.good) return nullptr;
  const Kernel* kernels = all[i]->kernels(&count);
  napi_value array = nullptr;
  napi_create_array(env, &array);
  for (int k = 0; k < count; k++) napi_set_element(env, array, uint32_t(k), string(env, kernels[k].name));
  return array;
}

// open(threads)
napi_value js_open(napi_env env, napi_callback_info info) {
  Args a(env, info, 1);
  int threads = int(a.integer(0, 1, MAX_THREADS));
  if (!a.good) return nullptr;
  if (!pool_open(threads)) return fail(env, "Cannot start %d threads: the system gives no more", threads);
  a.data()->opened++;
  return nullptr;
}

// close(): once for each `open`.
napi_value js_close(napi_env env, napi_callback_info info) {
  Args a(env, info, 0);
  Env* own = a.data();
  if (own->opened == 0) return fail(env, "Cannot close the thread pool: it is not open");
  own->opened--;
  pool_close();
  return nullptr;
}

// memory(): bytes of storage and planned memory in the process.
napi_value js_memory(napi_env env, napi_callback_info) { return number(env, double(region_total())); }

// One thread of a bandwidth measurement: its share of the region, which it touches first.
struct Probe {
  pthread_t thread;
  uint8_t* data;
  size_t bytes;
  int rounds, threads;
  std::atomic<int>* met;
  uint64_t sum;
  int64_t* best;   // ns of the fastest round, kept by the first thread
  bool first;
};

int64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

void meet(Probe& p, int round) {
  p.met->fetch_add(1);
  while (p.met->load() < round * p.threads) sched_yield();
}

void* probe_main(void* arg) {
  Probe& p = *static_cast<Probe*>(arg);
  int n;
  auto read = isas(&n)[0]->read;
  for (size_t i = 0; i < p.bytes; i += 4096) p.data[i] = 1;
  int round = 0;
  for (int i = 0; i < p.rounds; i++) {
    meet(p, ++round);
    int64_t start = now();
    p.sum += read(p.data, p.bytes);
    meet(p, ++round);
    int64_t took = now() - start;
    if (p.first && (*p.best == 0 || took < *p.best)) *p.best = took;
  }
  return nullptr;
}

// bandwidth(bytes, threads, rounds): bytes per second of the fastest round of reading memory on 2 MiB pages. Blocks.
napi_value js_bandwidth(napi_env env, napi_callback_info info) {
  Args a(env, info, 3);
  int64_t bytes = a.integer(0, 1 << 20, int64_t(1) << 40);
  int threads = int(a.integer(1, 1, MAX_THREADS)), rounds = int(a.integer(2, 1, 1000));
  if (!a.good) return nullptr;
  Region region;
  if (!region_alloc(&region, size_t(bytes)))
    return fail(env, "Cannot measure bandwidth: %lld bytes wanted", static_cast<long long>(bytes));
  static Probe probes[MAX_THREADS];
  std::atomic<int> met{0};
  int64_t best = 0;
  size_t share = size_t(bytes) / size_t(threads) / 4096 * 4096;
  int started = 0;
  for (; started < threads; started++) {
    probes[started] = {{}, region.data + share * size_t(started), share, rounds, threads, &met, 0, &best, started == 0};
    if (pthread_create(&probes[started].thread, nullptr, probe_main, &probes[started]) != 0) break;
  }
  if (started < threads) met = rounds * 2 * threads;   // those that started go through
  for (int i = 0; i < started; i++) pthread_join(probes[i].thread, nullptr);
  region_free(&region);
  if (started < threads) return fail(env, "Cannot start %d threads: the system gives no more", threads);
  return number(env, double(share) * threads / (double(best) * 1e-9));
}

// Threads may still work for this environment: they are waited for before its memory goes.
void on_exit(void* data) {
  Env* env = static_cast<Env*>(data);
  while (__atomic_load_n(&env->working, __ATOMIC_ACQUIRE) > 0) sched_yield();
  for (; env->opened > 0; env->opened--) pool_close();
  ::free(env->local);
  env->local = nullptr;
  napi_release_threadsafe_function(env->done, napi_tsfn_abort);
}

napi_value init(napi_env env, napi_value exports) {
  Env* own = static_cast<Env*>(calloc(1, sizeof(Env)));
  if (!own) return fail(env, "Cannot load the native addon: %zu bytes wanted", sizeof(Env));
  own->env = env;
  napi_set_instance_data(env, own, nullptr, nullptr);
  napi_create_threadsafe_function(env, nullptr, nullptr, string(env, "pith"), 0, 1, nullptr, nullptr, nullptr, on_done,
                                  &own->done);
  napi_unref_threadsafe_function(env, own->done);
  napi_add_env_cleanup_hook(env, on_exit, own);
  struct {
    const char* name;
    napi_callback function;
  } functions[] = {
#define X(name) {#name, js_##name},
      PITH_ADDON_FUNCTIONS(X)
#undef X
      {"info", js_info},   {"kernels", js_kernels}, {"open", js_open},
      {"close", js_close}, {"memory", js_memory},   {"bandwidth", js_bandwidth},
  };
  for (auto& f : functions) {
    napi_value function = nullptr;
    napi_create_function(env, f.name, NAPI_AUTO_LENGTH, f.function, nullptr, &function);
    set(env, exports, f.name, function);
  }
  return exports;
}

}  // namespace

}  // namespace pith

NAPI_MODULE_INIT() { return pith::init(env, exports); }
