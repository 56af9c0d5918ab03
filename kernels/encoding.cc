// Rows of floats to blocks, for JavaScript: the pool reads its bytes and writes the blocks where JavaScript wants them.
// Both arrays are held until then; an environment that goes waits for its jobs (addon.cc), so they are there.
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "cpu.h"
#include "pool.h"

namespace pith {

namespace {

struct EncodeJob : Settle, Job, Encoding {
  EncodeFn encode;
  napi_ref held[2];
};

void work(Job* job, int thread) {
  EncodeJob* e = static_cast<EncodeJob*>(job);
  encoding_work(*e, e->encode, pool_local(thread));
}

void done(Job* job) { promise_finished(static_cast<EncodeJob*>(job)); }

// Resolves to -1, or where a block could not be encoded: see Encoding.bad.
void settle(Settle* settle, napi_env js) {
  EncodeJob* e = static_cast<EncodeJob*>(settle);
  if (js) {
    for (napi_ref ref : e->held) napi_delete_reference(js, ref);
    napi_resolve_deferred(js, e->deferred, number(js, e->bad < e->rows * e->cols ? double(e->bad) : -1));
  }
  ::free(e);
}

}  // namespace

// encode(isa, type, type of the values, rows, cols, bytes, importance or an empty array, bytes to fill, threads): a promise.
napi_value js_encode(napi_env env, napi_callback_info info) {
  Args a(env, info, 9);
  int n;
  const Isa* const* all = isas(&n);
  int64_t isa = a.integer(0, 0, n - 1), type = a.integer(1, 0, TYPES - 1), from = a.integer(2, 0, TYPES - 1);
  int64_t rows = a.integer(3, 0, INT32_MAX), cols = a.integer(4, 1, INT32_MAX);
  Bytes values = a.typed(5, napi_uint8_array, "a Uint8Array"), importance = a.typed(6, napi_float32_array, "a Float32Array");
  Bytes out = a.typed(7, napi_uint8_array, "a Uint8Array");
  int threads = int(a.integer(8, 1, MAX_THREADS));
  if (a.good && !is_encodable(int32_t(type))) a.bad(1, "the number of a type that floats are rounded to");
  if (a.good && !is_float(int32_t(from))) a.bad(2, "the number of a type of floats");
  if (a.good && cols % block_columns(Type(type))) a.bad(4, "a whole number of blocks");
  if (a.good && int64_t(values.length) != rows * cols * (from == F32 ? 4 : 2)) a.bad(5, "of rows x cols values");
  if (a.good && importance.length && int64_t(importance.length) != cols) a.bad(6, "of cols values");
  if (a.good && out.length != size_t(rows) * row_bytes(Type(type), cols)) a.bad(7, "as long as the blocks");
  if (!a.good) return nullptr;
  size_t head = (sizeof(EncodeJob) + 63) / 64 * 64;
  uint8_t* block = static_cast<uint8_t*>(malloc(head + importance.bytes));
  if (!block) return fail(env, "Cannot encode: %zu bytes wanted", head + importance.bytes);
  EncodeJob* e = reinterpret_cast<EncodeJob*>(block);
  memset(static_cast<void*>(e), 0, sizeof *e);
  memcpy(block + head, importance.data, importance.bytes);
  e->Encoding::type = Type(type);
  e->from = Type(from);
  e->rows = rows;
  e->cols = cols;
  e->values = values.data;
  e->importance = importance.length ? reinterpret_cast<float*>(block + head) : nullptr;
  e->out = out.data;
  e->Encoding::next = 0;
  e->bad = rows * cols;
  e->encode = all[isa]->encode;
  e->threads = threads;
  e->Job::work = work;
  e->Job::done = done;
  if (napi_create_reference(env, a.v[5], 1, &e->held[0]) != napi_ok ||
      napi_create_reference(env, a.v[7], 1, &e->held[1]) != napi_ok) {
    if (e->held[0]) napi_delete_reference(env, e->held[0]);
    ::free(e);
    return fail(env, "Cannot encode: the arrays cannot be held");
  }
  napi_value promise = promise_open(a.data(), e, settle);
  pool_post(e);
  return promise;
}

}  // namespace pith
