// Programs as JavaScript sees them: made from an image, bound to storage, run on the pool or, when they are tiny, at once
// on the JavaScript thread. Sampling rides on the run.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <new>

#include "args.h"
#include "cpu.h"
#include "pool.h"
#include "program.h"

namespace pith {

// What is to be sampled after the next run, and the answers of the last one.
struct Sampling {
  int32_t rows, stride, vocab;
  int64_t logits;          // byte offset in the arena
  size_t scratch_bytes;    // of one thread
  uint8_t* block;          // scratch of each thread, floats, logprobs, ints, ids
  size_t room;
  uint8_t* scratch;
  double *floats, *logprobs;
  int32_t *ints, *ids;
};

struct Executable : Handle, Settle, Job {
  Program* program;
  const Isa* isa;
  Region block, arena, shared;
  napi_ref input_buffer;
  Storage** bound;         // of each slot
  Run run;
  bool running;
  Sampling sampling;
};

namespace {

void unbind(Executable* e) {
  for (int i = 0; e->program && i < e->program->nslots; i++)
    if (e->bound[i]) handle_release(e->bound[i]);
  ::free(e->bound);
  e->bound = nullptr;
}

// Gives back all but the handle itself.
void empty(Executable* e) {
  unbind(e);
  region_free(&e->arena);
  region_free(&e->shared);
  if (e->program) ::free(e->program->spent);
  region_free(&e->block);
  ::free(e->sampling.block);
  e->sampling = {};
  e->program = nullptr;
  if (e->input_buffer) napi_delete_reference(e->env->env, e->input_buffer);
  e->input_buffer = nullptr;
}

void sample_rows(Executable* e, int thread, int threads) {
  const Sampling& s = e->sampling;
  float* logits = reinterpret_cast<float*>(e->arena.data + s.logits);
  for (int r = thread; r < s.rows; r += threads)
    e->isa->sample(logits + int64_t(r) * s.vocab, s.vocab, s.ints, s.floats, r, s.stride, s.ids + int64_t(r) * s.stride,
                   s.logprobs + int64_t(r) * s.stride, s.scratch + size_t(thread) * s.scratch_bytes);
}

void work(Job* job, int thread) {
  Executable* e = static_cast<Executable*>(job);
  program_run(e->program, e->run, thread);
  if (e->sampling.rows == 0) return;
  if (e->run.threads > 1) pool_meet(e->run, thread);
  sample_rows(e, thread, e->run.threads);
}

void done(Job* job) { promise_finished(static_cast<Executable*>(job)); }

void unuse(Executable* e) {
  e->running = false;
  for (int i = 0; i < e->program->nslots; i++)
    if (e->bound[i]) storage_unuse(e->bound[i]);
  if (e->freed) empty(e);
}

void settle_run(Settle* settle, napi_env js) {
  Executable* e = static_cast<Executable*>(settle);
  napi_value nothing = nullptr;
  if (js) {
    napi_get_undefined(js, &nothing);
    napi_resolve_deferred(js, e->deferred, nothing);
  } else {
    e->input_buffer = nullptr;   // went with the environment
  }
  unuse(e);
  handle_release(e);
}

// run(executable, T, S, R[, threads]): everything but the work. Null: thrown.
Executable* prepare(Args& a, int threads) {
  Executable* e = a.handle<Executable>(0, EXECUTABLE, "an executable");
  int32_t T = a.int32(1, 0), S = a.int32(2, 0), R = a.int32(3, 0);
  if (!a.good) return nullptr;
  if (e->running) return fail(a.env, "Cannot run a program: it is running"), nullptr;
  for (int i = 0; i < e->program->nslots; i++) {
    Storage* s = e->bound[i];
    if (!s) return fail(a.env, "Cannot run a program: slot %d is not bound", i), nullptr;
    if (s->freed) return fail(a.env, "Cannot run a program: the storage of slot %d was freed", i), nullptr;
  }
  size_t shared = 0;
  e->run.threads = threads;
  Refusal r = program_resolve(e->program, T, S, R, &shared);
  if (r.what)
    return fail(a.env, "Cannot run a program with %s = %lld: it was made for at most %lld", r.what,
                static_cast<long long>(r.found), static_cast<long long>(r.wanted)),
           nullptr;
  if (shared > e->shared.bytes) {
    region_free(&e->shared);
    if (!region_alloc(&e->shared, shared))
      return fail(a.env, "Cannot allocate scratch: %zu bytes wanted", shared), nullptr;
  }
  e->run.T = T;
  e->run.S = S;
  e->run.R = R;
  e->run.shared = e->shared.data;
  return e;
}

}  // namespace

void executable_destroy(Handle* handle) {
  Executable* e = static_cast<Executable*>(handle);
  empty(e);
  ::free(e);
}

void executable_free(Handle* handle) {
  Executable* e = static_cast<Executable*>(handle);
  if (e->freed) return;
  e->freed = true;
  if (!e->running) empty(e);
}

static const Isa* find_isa(const char* name) {
  int n;
  const Isa* const* all = isas(&n);
  for (int i = 0; i < n; i++)
    if (!strcmp(all[i]->name, name)) return all[i];
  return nullptr;
}

// program(image, isa)
napi_value js_program(napi_env env, napi_callback_info info) {
  Args a(env, info, 2);
  char name[32];
  Bytes image = a.typed(0, napi_int32_array, "an Int32Array");
  a.text(1, name, sizeof name);
  if (!a.good) return nullptr;
  const Isa* isa = find_isa(name);
  if (!isa) return fail(env, "Cannot make a program: there are no kernels \"%s\" here", name);
  int nkernels;
  const Kernel* kernels = isa->kernels(&nkernels);
  Refusal refusal;
  const int32_t* words = reinterpret_cast<const int32_t*>(image.data);
  size_t bytes = program_bytes(words, image.length, nkernels, &refusal);
  if (refusal.what)
    return fail(env, "Cannot make a program: %s %lld is %lld, wanted %lld", refusal.what,
                static_cast<long long>(refusal.index), static_cast<long long>(refusal.found),
                static_cast<long long>(refusal.wanted));
  void* memory = malloc(sizeof(Executable));
  if (!memory) return fail(env, "Cannot allocate a program: %zu bytes wanted", sizeof(Executable));
  Executable* e = new (memory) Executable();
  e->kind = EXECUTABLE;
  e->refs = 1;
  e->Settle::env = a.data();
  e->isa = isa;
  e->work = work;
  e->done = done;
  e->run.meet = pool_meet;
  e->run.tiles = isa->tiles;
  const char* what = "a program";
  size_t wanted = bytes;
  bool good = region_alloc(&e->block, bytes);
  if (good) {
    e->program = program_make(e->block.data, words, kernels);
    wanted = size_t(e->program->nslots) * sizeof(Storage*);
    e->bound = static_cast<Storage**>(calloc(wanted + 1, 1));
    good = e->bound;
  }
  if (good) {
    what = "the planned memory of a program";
    wanted = size_t(e->program->arena_bytes);
    good = region_alloc(&e->arena, wanted);
  }
  void* data = nullptr;
  napi_value buffer = nullptr;
  if (good) {
    what = "the inputs of a program";
    wanted = size_t(e->program->input_bytes) + 64;
    good = napi_create_arraybuffer(env, wanted, &data, &buffer) == napi_ok &&
           napi_create_reference(env, buffer, 1, &e->input_buffer) == napi_ok;
  }
  if (!good) {
    handle_release(e);
    return fail(env, "Cannot allocate %s: %zu bytes wanted", what, wanted);
  }
  uintptr_t start = (reinterpret_cast<uintptr_t>(data) + 63) / 64 * 64;
  program_place(e->program, e->arena.data, reinterpret_cast<uint8_t*>(start));
  return handle_make(env, e);
}

// inputs(executable): [ArrayBuffer, byte at which input offset 0 is].
napi_value js_inputs(napi_env env, napi_callback_info info) {
  Args a(env, info, 1);
  Executable* e = a.handle<Executable>(0, EXECUTABLE, "an executable");
  if (!a.good) return nullptr;
  napi_value buffer = nullptr, answer = nullptr;
  void* data = nullptr;
  napi_get_reference_value(env, e->input_buffer, &buffer);
  napi_get_arraybuffer_info(env, buffer, &data, nullptr);
  napi_create_array_with_length(env, 2, &answer);
  napi_set_element(env, answer, 0, buffer);
  napi_set_element(env, answer, 1, number(env, double(-reinterpret_cast<uintptr_t>(data) % 64)));
  return answer;
}

// bind(executable, slot, storage)
napi_value js_bind(napi_env env, napi_callback_info info) {
  Args a(env, info, 3);
  Executable* e = a.handle<Executable>(0, EXECUTABLE, "an executable");
  int32_t slot = a.int32(1, 0);
  Storage* s = a.storage(2);
  if (!a.good) return nullptr;
  if (e->running) return fail(env, "Cannot bind storage: the program is running");
  Refusal r = program_bind(e->program, slot,
                           {s->region.data, s->type, s->packed, s->rows, s->cols, int64_t(s->region.bytes)});
  if (r.what)
    return fail(env, "Cannot bind storage: %s %lld is %lld, wanted %lld", r.what, static_cast<long long>(r.index),
                static_cast<long long>(r.found), static_cast<long long>(r.wanted));
  s->refs++;
  if (e->bound[slot]) handle_release(e->bound[slot]);
  e->bound[slot] = s;
  return nullptr;
}

// run(executable, T, S, R, threads): a promise.
napi_value js_run(napi_env env, napi_callback_info info) {
  Args a(env, info, 5);
  int threads = int(a.integer(4, 1, MAX_THREADS));
  Executable* e = prepare(a, threads);
  if (!e) return nullptr;
  for (int i = 0; i < threads; i++)
    if (!(e->run.local[i] = pool_local(i)))
      return fail(env, "Cannot run a program on %d threads: the pool has %d", threads, i);
  for (int i = 0; i < e->program->nslots; i++) {
    e->bound[i]->users++;
    e->bound[i]->refs++;
  }
  e->running = true;
  e->refs++;
  e->threads = threads;
  napi_value promise = promise_open(e->Settle::env, e, settle_run);
  pool_post(e);
  return promise;
}

// runNow(executable, T, S, R): on this thread.
napi_value js_runNow(napi_env env, napi_callback_info info) {
  Args a(env, info, 4);
  Executable* e = prepare(a, 1);
  if (!e) return nullptr;
  Env* own = a.data();
  if (!own->local) {
    void* local = nullptr;
    if (posix_memalign(&local, 64, LOCAL_BYTES) != 0)
      return fail(env, "Cannot allocate scratch: %zu bytes wanted", LOCAL_BYTES);
    own->local = static_cast<uint8_t*>(local);
  }
  e->run.local[0] = own->local;
  work(e, 0);
  return nullptr;
}

// output(executable, at, array): copies from byte `at` of the planned memory.
napi_value js_output(napi_env env, napi_callback_info info) {
  Args a(env, info, 3);
  Executable* e = a.handle<Executable>(0, EXECUTABLE, "an executable");
  int64_t at = a.size(1);
  Bytes b = a.typed(2);
  if (!a.good) return nullptr;
  if (e->running) return fail(env, "Cannot read an output: the program is running");
  if (uint64_t(at) > e->arena.bytes || b.bytes > e->arena.bytes - uint64_t(at))
    return fail(env, "Cannot read an output: bytes %lld to %lld, but there are %zu", static_cast<long long>(at),
                static_cast<long long>(at + int64_t(b.bytes)), e->arena.bytes);
  if (b.bytes) memcpy(b.data, e->arena.data + at, b.bytes);
  return nullptr;
}

static double seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

// profile(executable): begins to measure; later, what thread 0 spent in each node and waiting before it, and from zero again.
napi_value js_profile(napi_env env, napi_callback_info info) {
  Args a(env, info, 1);
  Executable* e = a.handle<Executable>(0, EXECUTABLE, "an executable");
  if (!a.good) return nullptr;
  if (e->running) return fail(env, "Cannot profile: the program is running");
  Program* p = e->program;
  size_t bytes = size_t(p->nnodes) * 16;
  napi_value buffer = nullptr, answer = nullptr;
  void* data = nullptr;
  if (napi_create_arraybuffer(env, bytes, &data, &buffer) != napi_ok) return fail(env, "Cannot profile: no memory");
  if (!p->spent) p->spent = static_cast<double*>(calloc(bytes + 1, 1));
  if (!p->spent) return fail(env, "Cannot allocate a profile: %zu bytes wanted", bytes);
  p->clock = seconds;
  if (bytes) memcpy(data, p->spent, bytes), memset(p->spent, 0, bytes);
  napi_create_typedarray(env, napi_float64_array, bytes / 8, buffer, 0, &answer);
  return answer;
}

// sampling(executable, rows, stride, vocab, logits, ints, floats, threads): what the next run, and `sample`, samples.
napi_value js_sampling(napi_env env, napi_callback_info info) {
  Args a(env, info, 8);
  Executable* e = a.handle<Executable>(0, EXECUTABLE, "an executable");
  int32_t rows = a.int32(1, 0), stride = a.int32(2, 1), vocab = a.int32(3, 0);
  int64_t logits = a.size(4);
  Bytes ints = a.typed(5, napi_int32_array, "an Int32Array"), floats = a.typed(6, napi_float64_array, "a Float64Array");
  int threads = int(a.integer(7, 1, MAX_THREADS));
  if (!a.good) return nullptr;
  Sampling& s = e->sampling;
  if (e->running) return fail(env, "Cannot set what to sample: the program is running");
  s.rows = 0;
  if (rows == 0) return nullptr;
  int64_t bytes;
  if (__builtin_mul_overflow(int64_t(rows) * 4, int64_t(vocab), &bytes) || logits % 4 ||
      logits > e->program->arena_bytes || bytes > e->program->arena_bytes - logits)
    return fail(env, "Cannot sample: %d rows of %d logits at byte %lld, but there are %lld bytes", rows, vocab,
                static_cast<long long>(logits), static_cast<long long>(e->program->arena_bytes));
  size_t scratch = 0;
  for (int r = 0; r < rows; r++) {
    size_t one = e->isa->sample_scratch(reinterpret_cast<int32_t*>(ints.data), r, vocab);
    if (one > scratch) scratch = one;
  }
  scratch = (scratch + 63) / 64 * 64;
  size_t answers = size_t(rows) * size_t(stride);
  size_t room = scratch * size_t(threads) + floats.bytes + answers * 8 + ints.bytes + answers * 4;
  if (room > s.room) {
    ::free(s.block);
    s.block = static_cast<uint8_t*>(malloc(room));
    s.room = s.block ? room : 0;
    if (!s.block) return fail(env, "Cannot allocate scratch for sampling: %zu bytes wanted", room);
  }
  s.scratch = s.block;
  s.scratch_bytes = scratch;
  s.floats = reinterpret_cast<double*>(s.scratch + scratch * size_t(threads));
  s.logprobs = s.floats + floats.length;
  s.ints = reinterpret_cast<int32_t*>(s.logprobs + answers);
  s.ids = s.ints + ints.length;
  memcpy(s.floats, floats.data, floats.bytes);
  memcpy(s.ints, ints.data, ints.bytes);
  s.stride = stride;
  s.vocab = vocab;
  s.logits = logits;
  s.rows = rows;
  return nullptr;
}

// sample(executable): samples the logits that lie there, on this thread.
napi_value js_sample(napi_env env, napi_callback_info info) {
  Args a(env, info, 1);
  Executable* e = a.handle<Executable>(0, EXECUTABLE, "an executable");
  if (!a.good) return nullptr;
  if (e->running) return fail(env, "Cannot sample: the program is running");
  sample_rows(e, 0, 1);
  return nullptr;
}

// sampled(executable, ids, logprobs): fills them with the answers, `rows` times `stride` of each.
napi_value js_sampled(napi_env env, napi_callback_info info) {
  Args a(env, info, 3);
  Executable* e = a.handle<Executable>(0, EXECUTABLE, "an executable");
  Bytes ids = a.typed(1, napi_int32_array, "an Int32Array"), logprobs = a.typed(2, napi_float64_array, "a Float64Array");
  if (!a.good) return nullptr;
  const Sampling& s = e->sampling;
  size_t answers = size_t(s.rows) * size_t(s.stride);
  if (e->running || ids.length != answers || logprobs.length != answers)
    return fail(env, "Cannot read what was sampled: found room for %zu and %zu, wanted %zu", ids.length,
                logprobs.length, answers);
  if (answers == 0) return nullptr;
  memcpy(ids.data, s.ids, ids.bytes);
  memcpy(logprobs.data, s.logprobs, logprobs.bytes);
  return nullptr;
}

}  // namespace pith
