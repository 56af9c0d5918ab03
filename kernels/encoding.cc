// Rows of floats to blocks, for JavaScript: a piece is copied in, encoded by the pool, and copied out.
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "cpu.h"
#include "pool.h"

namespace pith {

namespace {

struct EncodeJob : Settle, Job, Encoding {
  EncodeFn encode;
  size_t bytes;
};

void work(Job* job, int thread) {
  EncodeJob* e = static_cast<EncodeJob*>(job);
  encoding_work(*e, e->encode, pool_local(thread));
}

void done(Job* job) { promise_finished(static_cast<EncodeJob*>(job)); }

// Resolves to the bytes; to a number when a block could not be encoded: see Encoding.bad.
void settle(Settle* settle, napi_env js) {
  EncodeJob* e = static_cast<EncodeJob*>(settle);
  if (js) {
    napi_value answer = nullptr, buffer = nullptr;
    void* data = nullptr;
    if (e->bad < e->rows * e->cols) {
      answer = number(js, double(e->bad));
    } else if (napi_create_arraybuffer(js, e->bytes, &data, &buffer) == napi_ok) {
      memcpy(data, e->out, e->bytes);
      napi_create_typedarray(js, napi_uint8_array, e->bytes, buffer, 0, &answer);
    } else {
      napi_value pending = nullptr;
      napi_get_and_clear_last_exception(js, &pending);
      answer = number(js, -1);
    }
    napi_resolve_deferred(js, e->deferred, answer);
  }
  ::free(e);
}

}  // namespace

// encode(isa, type, rows, cols, values, importance or an empty array, threads): a promise.
napi_value js_encode(napi_env env, napi_callback_info info) {
  Args a(env, info, 7);
  int n;
  const Isa* const* all = isas(&n);
  int64_t isa = a.integer(0, 0, n - 1);
  int64_t type = a.integer(1, 0, TYPES - 1), rows = a.integer(2, 0, INT32_MAX), cols = a.integer(3, 1, INT32_MAX);
  Bytes values = a.typed(4, napi_float32_array, "a Float32Array"), importance = a.typed(5, napi_float32_array, "a Float32Array");
  int threads = int(a.integer(6, 1, MAX_THREADS));
  if (a.good && !is_encodable(int32_t(type))) a.bad(1, "the number of a type that floats are rounded to");
  if (a.good && cols % block_columns(Type(type))) a.bad(3, "a whole number of blocks");
  if (a.good && int64_t(values.length) != rows * cols) a.bad(4, "rows x cols values");
  if (a.good && importance.length && int64_t(importance.length) != cols) a.bad(5, "of cols values");
  if (!a.good) return nullptr;
  size_t out = size_t(rows) * row_bytes(Type(type), cols), head = (sizeof(EncodeJob) + 63) / 64 * 64;
  uint8_t* block = static_cast<uint8_t*>(malloc(head + values.bytes + importance.bytes + out));
  if (!block) return fail(env, "Cannot encode: %zu bytes wanted", head + values.bytes + importance.bytes + out);
  EncodeJob* e = reinterpret_cast<EncodeJob*>(block);
  memset(static_cast<void*>(e), 0, sizeof *e);
  float* to = reinterpret_cast<float*>(block + head);
  memcpy(to, values.data, values.bytes);
  memcpy(to + values.length, importance.data, importance.bytes);
  e->Encoding::type = Type(type);
  e->rows = rows;
  e->cols = cols;
  e->values = to;
  e->importance = importance.length ? to + values.length : nullptr;
  e->out = reinterpret_cast<uint8_t*>(to + values.length + importance.length);
  e->bytes = out;
  e->Encoding::next = 0;
  e->bad = rows * cols;
  e->encode = all[isa]->encode;
  e->threads = threads;
  e->Job::work = work;
  e->Job::done = done;
  napi_value promise = promise_open(a.data(), e, settle);
  pool_post(e);
  return promise;
}

}  // namespace pith
