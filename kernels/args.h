// Reading arguments that JavaScript passed, and throwing. A reader that fails has thrown: return null at once.
#pragma once
#include <node_api.h>
#include <stdarg.h>
#include <stdio.h>

#include "handles.h"

namespace pith {

__attribute__((format(printf, 2, 3))) inline napi_value fail(napi_env env, const char* format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, nullptr, text);
  return nullptr;
}

extern const napi_type_tag HANDLE_TAG;

struct Bytes {
  uint8_t* data = nullptr;
  size_t bytes = 0, length = 0;
  napi_typedarray_type type = napi_uint8_array;
};

struct Args {
  napi_env env;
  napi_value v[12];
  size_t n = 12;
  bool good = true;

  Args(napi_env env_, napi_callback_info info, size_t wanted) : env(env_) {
    napi_get_cb_info(env, info, &n, v, nullptr, nullptr);
    if (n < wanted) {
      good = false;
      fail(env, "Cannot call the native addon: found %zu arguments, wanted %zu", n, wanted);
    }
  }

  Env* data() const {
    void* p = nullptr;
    napi_get_instance_data(env, &p);
    return static_cast<Env*>(p);
  }

  void bad(size_t i, const char* wanted) {
    if (good) fail(env, "Cannot call the native addon: argument %zu is not %s", i, wanted);
    good = false;
  }

  // An integer in [low, high]; up to 2^53.
  int64_t integer(size_t i, int64_t low, int64_t high) {
    double x = 0;
    if (!good) return 0;
    if (napi_get_value_double(env, v[i], &x) != napi_ok || x != x) return bad(i, "a number"), 0;
    if (x < double(low) || x > double(high) || x != double(int64_t(x))) {
      fail(env, "Cannot call the native addon: argument %zu is %.17g, wanted an integer from %lld to %lld", i, x,
           static_cast<long long>(low), static_cast<long long>(high));
      good = false;
      return 0;
    }
    return int64_t(x);
  }

  int32_t int32(size_t i, int32_t low) { return int32_t(integer(i, low, INT32_MAX)); }
  int64_t size(size_t i) { return integer(i, 0, int64_t(1) << 53); }

  Bytes typed(size_t i) {
    Bytes b;
    void* data = nullptr;
    if (!good) return b;
    bool is = false;
    napi_is_typedarray(env, v[i], &is);
    if (!is) return bad(i, "a typed array"), b;
    napi_get_typedarray_info(env, v[i], &b.type, &b.length, &data, nullptr, nullptr);
    static const int sizes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
    b.data = static_cast<uint8_t*>(data);
    b.bytes = b.length * size_t(sizes[b.type]);
    return b;
  }

  Bytes typed(size_t i, napi_typedarray_type type, const char* wanted) {
    Bytes b = typed(i);
    if (good && b.type != type) bad(i, wanted);
    return b;
  }

  // At most `room - 1` bytes of UTF-8, zero-terminated.
  void text(size_t i, char* into, size_t room) {
    size_t length = 0;
    into[0] = 0;
    if (!good) return;
    if (napi_get_value_string_utf8(env, v[i], nullptr, 0, &length) != napi_ok) return bad(i, "a string");
    if (length >= room) return bad(i, "a shorter string");
    napi_get_value_string_utf8(env, v[i], into, room, &length);
  }

  template <class H>
  H* handle(size_t i, Kind kind, const char* what) {
    if (!good) return nullptr;
    napi_valuetype type;
    bool ours = false;
    void* p = nullptr;
    napi_typeof(env, v[i], &type);
    if (type == napi_external) napi_check_object_type_tag(env, v[i], &HANDLE_TAG, &ours);
    if (ours) napi_get_value_external(env, v[i], &p);
    Handle* h = static_cast<Handle*>(p);
    if (!h || h->kind != kind) {
      bad(i, what);
      return nullptr;
    }
    if (h->freed) {
      good = false;
      fail(env, "Cannot use %s: it was freed", what);
      return nullptr;
    }
    return static_cast<H*>(h);
  }
  Storage* storage(size_t i) { return handle<Storage>(i, STORAGE, "a storage"); }
};

inline napi_value number(napi_env env, double x) {
  napi_value v = nullptr;
  napi_create_double(env, x, &v);
  return v;
}
inline napi_value string(napi_env env, const char* s) {
  napi_value v = nullptr;
  napi_create_string_utf8(env, s, NAPI_AUTO_LENGTH, &v);
  return v;
}
inline void set(napi_env env, napi_value object, const char* name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

}  // namespace pith
