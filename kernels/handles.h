// What JavaScript holds of the addon's: storage and executables, as externals. A handle outlives what it stands for:
// after `free` its memory is gone, and using it is an error, not a crash. All of this on the JavaScript thread.
#pragma once
#include <node_api.h>

#include "load.h"
#include "memory.h"
#include "pith.h"

namespace pith {

enum Kind : int32_t { STORAGE, EXECUTABLE };

struct Handle {
  Kind kind;
  int refs;      // the external, and each binding to it
  bool freed;    // by JavaScript
};

struct Storage : Handle {
  Region region;
  int32_t type, packed;
  int64_t rows, cols;
  Region* slots; // of adapters: what each slot's matrices lie in
  int32_t nslots;
  int users;     // runs and loads that use the memory now; a `free` meanwhile takes effect when they end
  Load* load;
};

// State of one JavaScript environment (main thread or a Worker).
struct Env {
  napi_env env;
  napi_threadsafe_function done;   // takes what threads finished back to JavaScript: a Settle*
  int active;                      // promises that are open
  int working;                     // those that a thread has yet to finish (atomic)
  int opened;                      // how often this environment opened the pool
  uint8_t* local;                  // scratch of programs that run on the JavaScript thread, once one has
};

// A promise, and what settles it on the JavaScript thread once a thread has called `promise_finished`. `js` is null when
// the environment is going: then there is nobody to tell, and only memory to give back.
struct Settle {
  Env* env;
  napi_deferred deferred;
  void (*settle)(Settle* settle, napi_env js);
};
// Opens the promise and keeps the event loop alive until it is settled.
napi_value promise_open(Env* env, Settle* settle, void (*fn)(Settle*, napi_env));
// From any thread, once.
void promise_finished(Settle* settle);

napi_value handle_make(napi_env env, Handle* handle);
void handle_release(Handle* handle);
void executable_destroy(Handle* handle);
void executable_free(Handle* handle);

// Gives the memory back, now or after the last user.
void storage_free(Storage* storage);
void storage_unuse(Storage* storage);

// Functions of storage.cc and executable.cc, for the module's table.
#define PITH_ADDON_FUNCTIONS(X)                                                                                      \
  X(dense) X(weight) X(kv) X(adapters) X(slot) X(part) X(free) X(write) X(read) X(fill) X(load) X(program) X(inputs) X(bind) X(run) X(runNow) \
  X(output) X(profile) X(sampling) X(sample) X(sampled) \
  X(encode)
#define X(name) napi_value js_##name(napi_env env, napi_callback_info info);
PITH_ADDON_FUNCTIONS(X)
#undef X

}  // namespace pith
