// Storage as JavaScript sees it: dense memory, packed weights (filled from bytes or loaded from a file), KV
// pages and adapters.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "adapters.h"
#include "args.h"

namespace pith {

const napi_type_tag HANDLE_TAG = {0x9d1f6a0c52e84b37, 0x8a4be27f0c6d1935};

static void release_memory(Storage* storage) {
  for (int32_t i = 0; i < storage->nslots; i++) region_free(&storage->slots[i]);
  ::free(storage->slots);
  storage->slots = nullptr;
  storage->nslots = 0;
  region_free(&storage->region);
}

void handle_release(Handle* handle) {
  if (--handle->refs > 0) return;
  if (handle->kind == EXECUTABLE) return executable_destroy(handle);
  release_memory(static_cast<Storage*>(handle));
  ::free(handle);
}

static void finalize(napi_env env, void* data, void*) {
  Handle* handle = static_cast<Handle*>(data);
  int64_t ignored;
  if (handle->kind == STORAGE) {
    Storage* storage = static_cast<Storage*>(handle);
    if (!handle->freed) napi_adjust_external_memory(env, -int64_t(storage->region.bytes), &ignored);
  }
  handle_release(handle);
}

// Takes over one reference.
napi_value handle_make(napi_env env, Handle* handle) {
  napi_value v = nullptr;
  if (napi_create_external(env, handle, finalize, nullptr, &v) != napi_ok) {
    handle_release(handle);
    return fail(env, "Cannot make a handle");
  }
  napi_type_tag_object(env, v, &HANDLE_TAG);
  return v;
}

void storage_unuse(Storage* storage) {
  if (--storage->users == 0 && storage->freed) release_memory(storage);
  handle_release(storage);
}

void storage_free(Storage* storage) {
  if (storage->freed) return;
  storage->freed = true;
  if (storage->load) load_cancel(storage->load);
  if (storage->users == 0) release_memory(storage);
}

static napi_value make(napi_env env, const char* what, int64_t bytes, Storage fields) {
  Storage* storage = static_cast<Storage*>(malloc(sizeof(Storage)));
  if (!storage || !region_alloc(&fields.region, size_t(bytes))) {
    ::free(storage);
    return fail(env, "Cannot allocate %s: %lld bytes wanted", what, static_cast<long long>(bytes));
  }
  fields.kind = STORAGE;
  fields.refs = 1;
  fields.freed = false;
  fields.users = 0;
  fields.load = nullptr;
  memcpy(static_cast<void*>(storage), &fields, sizeof fields);
  int64_t ignored;
  napi_adjust_external_memory(env, bytes, &ignored);
  return handle_make(env, storage);
}

// dense(type, bytes)
napi_value js_dense(napi_env env, napi_callback_info info) {
  Args a(env, info, 2);
  Storage s = {};
  s.type = a.int32(0, 0);
  int64_t bytes = a.size(1);
  if (a.good && s.type != F32 && s.type != I32) a.bad(0, "the number of f32 or i32");
  if (!a.good) return nullptr;
  return make(env, "dense memory", bytes, s);
}

// weight(type, rows, cols)
napi_value js_weight(napi_env env, napi_callback_info info) {
  Args a(env, info, 3);
  Storage s = {};
  s.type = a.int32(0, 0);
  s.rows = a.integer(1, 0, INT32_MAX);
  s.cols = a.integer(2, 0, INT32_MAX);
  s.packed = 1;
  if (a.good && !is_weight(s.type)) a.bad(0, "the number of a weight type");
  if (a.good && s.cols % block_columns(Type(s.type))) a.bad(2, "a whole number of blocks");
  if (!a.good) return nullptr;
  return make(env, "a weight", int64_t(packed_bytes(Type(s.type), s.rows, s.cols)), s);
}

// kv(type, bytes)
napi_value js_kv(napi_env env, napi_callback_info info) {
  Args a(env, info, 2);
  Storage s = {};
  s.type = a.int32(0, 0);
  int64_t bytes = a.size(1);
  if (a.good && s.type != KV_F32 && s.type != KV_F16 && s.type != KV_Q8_0) a.bad(0, "the number of a KV type");
  if (!a.good) return nullptr;
  return make(env, "KV pages", bytes, s);
}

// adapters(slots, linears): a table of empty slots.
napi_value js_adapters(napi_env env, napi_callback_info info) {
  Args a(env, info, 2);
  Storage s = {};
  s.type = ADAPTERS;
  s.nslots = int32_t(a.integer(0, 0, 1 << 16));
  int32_t linears = int32_t(a.integer(1, 0, 1 << 16));
  if (!a.good) return nullptr;
  s.slots = static_cast<Region*>(calloc(size_t(s.nslots) + 1, sizeof(Region)));
  if (!s.slots) return fail(env, "Cannot allocate adapters: %d slots wanted", s.nslots);
  napi_value handle = make(env, "adapters", int64_t(adapters_bytes(s.nslots, linears)), s);
  if (!handle) return ::free(s.slots), nullptr;
  void* p = nullptr;
  napi_get_value_external(env, handle, &p);
  adapters_make(reinterpret_cast<Adapters*>(static_cast<Storage*>(p)->region.data), s.nslots, linears);
  return handle;
}

static Adapters* table_of(Args& a, Storage* s) {
  if (!a.good) return nullptr;
  if (s->type != ADAPTERS) return a.bad(0, "adapters"), nullptr;
  return reinterpret_cast<Adapters*>(s->region.data);
}

// slot(adapters, slot, bytes): empties a slot and gives it so much memory. No run may use it.
napi_value js_slot(napi_env env, napi_callback_info info) {
  Args a(env, info, 3);
  Storage* s = a.storage(0);
  Adapters* table = table_of(a, s);
  int32_t slot = a.good ? int32_t(a.integer(1, 0, table->slots - 1)) : 0;
  int64_t bytes = a.size(2);
  if (!a.good) return nullptr;
  adapters_empty(table, slot);
  region_free(&s->slots[slot]);
  if (bytes > 0 && !region_alloc(&s->slots[slot], size_t(bytes)))
    return fail(env, "Cannot allocate an adapter: %lld bytes wanted", static_cast<long long>(bytes));
  return nullptr;
}

// part(adapters, slot, linear, part, type, rows, cols, scale, at, bytes): puts a matrix as it would lie in a file (part G:
// a vector of f32) into the slot's memory at byte `at`.
napi_value js_part(napi_env env, napi_callback_info info) {
  Args a(env, info, 10);
  Storage* s = a.storage(0);
  Adapters* table = table_of(a, s);
  if (!table) return nullptr;
  int32_t slot = int32_t(a.integer(1, 0, table->slots - 1)), linear = int32_t(a.integer(2, 0, table->linears - 1));
  int32_t part = int32_t(a.integer(3, PART_A, PART_G)), type = int32_t(a.integer(4, F32, Q4_0));
  int32_t rows = a.int32(5, 1), cols = a.int32(6, 1);
  double scale = 0;
  if (a.good && napi_get_value_double(env, a.v[7], &scale) != napi_ok) a.bad(7, "a number");
  int64_t at = a.size(8);
  Bytes b = a.typed(9);
  if (a.good && (type == Q8_0 || type == Q4_0) && cols % BLOCK && !by_columns(part, Type(type)))
    a.bad(6, "a multiple of 32");
  if (!a.good) return nullptr;
  Region& region = s->slots[slot];
  size_t bytes = adapter_part_bytes(part, Type(type), rows, cols);
  size_t wanted = adapter_part_file_bytes(part, Type(type), rows, cols);
  if (b.bytes != wanted) return fail(env, "Cannot fill an adapter: found %zu bytes, wanted %zu", b.bytes, wanted);
  if (at % 64 || uint64_t(at) > region.bytes || bytes > region.bytes - uint64_t(at))
    return fail(env, "Cannot fill an adapter: bytes %lld to %lld, but its slot has %zu", static_cast<long long>(at),
                static_cast<long long>(at + int64_t(bytes)), region.bytes);
  uint8_t* to = region.data + at;
  adapter_part_pack(to, part, Type(type), rows, cols, b.data);
  adapters_part(table, slot, linear, AdapterPart(part), to, Type(type), rows, cols, float(scale));
  return nullptr;
}

// free(handle): more than once is fine.
napi_value js_free(napi_env env, napi_callback_info info) {
  Args a(env, info, 1);
  if (!a.good) return nullptr;
  bool ours = false;
  void* p = nullptr;
  napi_valuetype type;
  napi_typeof(env, a.v[0], &type);
  if (type == napi_external) napi_check_object_type_tag(env, a.v[0], &HANDLE_TAG, &ours);
  if (!ours) return a.bad(0, "a handle"), nullptr;
  napi_get_value_external(env, a.v[0], &p);
  Handle* handle = static_cast<Handle*>(p);
  if (handle->kind == EXECUTABLE) return executable_free(handle), nullptr;
  Storage* storage = static_cast<Storage*>(handle);
  int64_t ignored;
  if (!storage->freed) napi_adjust_external_memory(env, -int64_t(storage->region.bytes), &ignored);
  storage_free(storage);
  return nullptr;
}

static napi_value copy(napi_env env, napi_callback_info info, bool in) {
  Args a(env, info, 3);
  Storage* s = a.storage(0);
  Bytes b = a.typed(1);
  int64_t at = a.size(2);
  if (!a.good) return nullptr;
  if (uint64_t(at) > s->region.bytes || b.bytes > s->region.bytes - uint64_t(at))
    return fail(env, "Cannot %s storage: bytes %lld to %lld, but it has %zu", in ? "write" : "read",
                static_cast<long long>(at), static_cast<long long>(at + int64_t(b.bytes)), s->region.bytes);
  if (b.bytes == 0) return nullptr;
  if (in)
    memcpy(s->region.data + at, b.data, b.bytes);
  else
    memcpy(b.data, s->region.data + at, b.bytes);
  return nullptr;
}

// write(storage, array, at): copies the array to byte `at`.
napi_value js_write(napi_env env, napi_callback_info info) { return copy(env, info, true); }
// read(storage, array, at): fills the array.
napi_value js_read(napi_env env, napi_callback_info info) { return copy(env, info, false); }

static bool check_heads(Args& a, const Storage& s, int32_t heads) {
  if (heads && s.rows % (2 * int64_t(heads))) {
    fail(a.env, "Cannot fill a weight: %lld rows in %d heads, wanted an even number for each",
         static_cast<long long>(s.rows), heads);
    a.good = false;
  }
  return a.good;
}

// fill(weight, row, rows, bytes, heads): rows as they lie in a file.
napi_value js_fill(napi_env env, napi_callback_info info) {
  Args a(env, info, 5);
  Storage* s = a.storage(0);
  int64_t row = a.size(1), rows = a.size(2);
  Bytes b = a.typed(3);
  int32_t heads = a.int32(4, 0);
  if (!a.good) return nullptr;
  if (!s->packed) return a.bad(0, "a weight"), nullptr;
  if (!check_heads(a, *s, heads)) return nullptr;
  if (row > s->rows || rows > s->rows - row)
    return fail(env, "Cannot fill a weight: rows %lld to %lld, but it has %lld", static_cast<long long>(row),
                static_cast<long long>(row + rows), static_cast<long long>(s->rows));
  size_t wanted = size_t(rows) * row_bytes(Type(s->type), s->cols);
  if (b.bytes != wanted) return fail(env, "Cannot fill a weight: found %zu bytes, wanted %zu", b.bytes, wanted);
  pack_rows(s->region.data, Type(s->type), s->rows, s->cols, row, rows, b.data, heads);
  return nullptr;
}

// A load, its promise and its path in one piece.
struct Loading : Settle, Load {
  Storage* storage;
  char text[4096];
};

static void loaded(Load* load) { promise_finished(static_cast<Loading*>(load)); }

// Resolves to [error, end]: see Load.
static void settle_load(Settle* settle, napi_env js) {
  Loading* l = static_cast<Loading*>(settle);
  if (js) {
    napi_value answer = nullptr;
    napi_create_array_with_length(js, 2, &answer);
    napi_set_element(js, answer, 0, number(js, l->error));
    napi_set_element(js, answer, 1, number(js, double(l->end)));
    napi_resolve_deferred(js, l->deferred, answer);
  }
  l->storage->load = nullptr;
  storage_unuse(l->storage);
  ::free(l);
}

// load(weight, path, offset, heads, threads): all rows. A promise of [error, end].
napi_value js_load(napi_env env, napi_callback_info info) {
  Args a(env, info, 5);
  Storage* s = a.storage(0);
  int64_t offset = a.size(2);
  int32_t heads = a.int32(3, 0);
  int32_t threads = int32_t(a.integer(4, 1, MAX_THREADS));
  if (!a.good) return nullptr;
  if (!s->packed || s->load) return a.bad(0, "a weight that is not loading"), nullptr;
  if (!check_heads(a, *s, heads)) return nullptr;
  Loading* l = static_cast<Loading*>(calloc(1, sizeof(Loading)));
  if (!l) return fail(env, "Cannot load a weight: %zu bytes wanted", sizeof(Loading));
  a.text(1, l->text, sizeof l->text);
  if (!a.good) return ::free(l), nullptr;
  l->storage = s;
  l->path = l->text;
  l->offset = offset;
  l->dst = s->region.data;
  l->type = Type(s->type);
  l->rows = s->rows;
  l->cols = s->cols;
  l->heads = heads;
  l->done = loaded;
  napi_value promise = promise_open(a.data(), l, settle_load);
  s->load = l;
  s->users++;
  s->refs++;
  if (!load_start(l, threads)) {
    l->error = EAGAIN;
    promise_finished(l);
  }
  return promise;
}

}  // namespace pith
