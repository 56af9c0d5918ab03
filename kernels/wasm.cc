// The module's exports: memory by address, weights into panels, programs, sampling, threads. No libc; memory is imported.
// TypeScript (src/engine/backends/wasm.ts) owns every object; addresses are of the module's memory. Every thread has an
// instance of the module over the same memory; all exports but `work` are for the thread that made the backend.
#include "adapters.h"
#include "cpu.h"
#include "program.h"

#define PITH_EXPORT(name) extern "C" __attribute__((export_name(#name)))

namespace pith {

extern const Isa isa_wasm;

// --- Memory: blocks in the order of their addresses, each behind a header of 64 bytes; the first that fits -------------

namespace {

struct Header {
  uint32_t bytes;     // of the block, a multiple of 64; the next header follows it
  uint32_t used;
};
constexpr uint32_t HEAD = 64, WASM_PAGE = 65536;
extern "C" uint8_t __heap_base;
uint32_t heap, top;   // first header; end of the last block

Header* at(uint32_t address) { return reinterpret_cast<Header*>(static_cast<uintptr_t>(address)); }

// Makes memory reach up to `end`. False: there is no more.
bool grow(uint64_t end) {
  uint64_t now = uint64_t(__builtin_wasm_memory_size(0)) * WASM_PAGE;
  if (end <= now) return true;
  if (end > uint64_t(1) << 32) return false;
  return __builtin_wasm_memory_grow(0, (end - now + WASM_PAGE - 1) / WASM_PAGE) != SIZE_MAX;
}

}  // namespace

// Zeros, at an address that is a multiple of 64; 0: there is no room.
PITH_EXPORT(alloc) uint32_t wasm_alloc(uint32_t bytes) {
  if (!heap) heap = top = (uint32_t(reinterpret_cast<uintptr_t>(&__heap_base)) + 63) & ~63u;
  uint64_t rounded = (uint64_t(bytes) + 63) & ~uint64_t(63), wanted = rounded ? rounded : 64;
  for (uint32_t a = heap; a < top; a += HEAD + at(a)->bytes) {
    Header* h = at(a);
    if (h->used) continue;
    while (a + HEAD + h->bytes < top && !at(a + HEAD + h->bytes)->used) h->bytes += HEAD + at(a + HEAD + h->bytes)->bytes;
    if (h->bytes < wanted) continue;
    if (h->bytes >= wanted + HEAD + 64) {
      *at(a + HEAD + uint32_t(wanted)) = {h->bytes - uint32_t(wanted) - HEAD, 0};
      h->bytes = uint32_t(wanted);
    }
    h->used = 1;
    __builtin_memset(reinterpret_cast<void*>(uintptr_t(a + HEAD)), 0, h->bytes);
    return a + HEAD;
  }
  if (uint64_t(top) + HEAD + wanted > 0xffff0000u || !grow(uint64_t(top) + HEAD + wanted)) return 0;
  *at(top) = {uint32_t(wanted), 1};  // memory that grew is zero, and nothing below `top` is ever given back
  uint32_t address = top + HEAD;
  top = address + uint32_t(wanted);
  return address;
}

PITH_EXPORT(free) void wasm_free(uint32_t address) {
  if (address) at(address - HEAD)->used = 0;
}

// --- Names ------------------------------------------------------------------------------------------------------------

// Texts end with a zero byte; null behind the last.
PITH_EXPORT(kernel_name) const char* wasm_kernel_name(int32_t i) {
  int count;
  const Kernel* kernels = isa_wasm.kernels(&count);
  return i < count ? kernels[i].name : nullptr;
}
PITH_EXPORT(type_name) const char* wasm_type_name(int32_t i) {
  return i < TYPES ? TYPE_NAMES[i] : nullptr;
}

static Refusal refused;

// --- Weights ----------------------------------------------------------------------------------------------------------

PITH_EXPORT(packed_bytes) double wasm_packed_bytes(int32_t type, int32_t rows, int32_t cols) {
  return double(uint64_t(row_bytes(Type(type), cols)) * ((uint64_t(rows) + PANEL - 1) / PANEL * PANEL));
}
// Refused (see `refusal`): a scale that is infinite or NaN, for which kernels here have no room.
static Refusal check_scales(int32_t type, int64_t cols, int64_t row, int64_t nrows, const uint8_t* src) {
  if (type != Q8_0 && type != Q4_0) return {};
  size_t bytes = row_bytes(Type(type), BLOCK), blocks = size_t(nrows * (cols / BLOCK));
  for (size_t b = 0; b < blocks; b++) {
    uint16_t d;
    __builtin_memcpy(&d, src + b * bytes, 2);
    if ((d >> 10 & 31) == 31) return {"exponent of a scale in row", row + int64_t(b) / (cols / BLOCK), 31, 30};
  }
  return {};
}

PITH_EXPORT(pack_rows) void wasm_pack_rows(uint8_t* dst, int32_t type, int32_t rows, int32_t cols, int32_t row,
                                           int32_t nrows, const uint8_t* src, int32_t heads) {
  refused = check_scales(type, cols, row, nrows, src);
  if (!refused.what) pack_rows(dst, Type(type), rows, cols, row, nrows, src, heads);
}

// --- Adapters ---------------------------------------------------------------------------------------------------------

PITH_EXPORT(adapters_bytes) double wasm_adapters_bytes(int32_t slots, int32_t linears) {
  return double(adapters_bytes(slots, linears));
}
PITH_EXPORT(adapters_make) void wasm_adapters_make(Adapters* table, int32_t slots, int32_t linears) {
  adapters_make(table, slots, linears);
}
PITH_EXPORT(adapters_empty) void wasm_adapters_empty(Adapters* table, int32_t slot) { adapters_empty(table, slot); }
// Packs a matrix as it would lie in a file, or a vector of f32, from `from` to `data`.
PITH_EXPORT(adapters_part)
void wasm_adapters_part(Adapters* table, int32_t slot, int32_t linear, int32_t part, uint8_t* data, int32_t type,
                        int32_t rows, int32_t cols, float scale, const uint8_t* from) {
  adapter_part_pack(data, part, Type(type), rows, cols, from);
  adapters_part(table, slot, linear, AdapterPart(part), data, Type(type), rows, cols, scale);
}

// --- Programs ---------------------------------------------------------------------------------------------------------

// Why the last call that can be refused was: a text or null, then index, found, wanted.
PITH_EXPORT(refusal) const char* wasm_refusal() { return refused.what; }
PITH_EXPORT(refusal_number) double wasm_refusal_number(int32_t i) {
  return double(i == 0 ? refused.index : i == 1 ? refused.found : refused.wanted);
}

PITH_EXPORT(program_bytes) uint32_t wasm_program_bytes(const int32_t* image, uint32_t words) {
  int count;
  isa_wasm.kernels(&count);
  return uint32_t(program_bytes(image, words, count, &refused));
}
PITH_EXPORT(program_make) Program* wasm_program_make(void* block, const int32_t* image, uint8_t* arena, uint8_t* inputs) {
  int count;
  Program* program = program_make(block, image, isa_wasm.kernels(&count));
  program_place(program, arena, inputs);
  return program;
}
PITH_EXPORT(program_arena) double wasm_program_arena(const int32_t* image) {
  return double(uint32_t(image[5])) + double(image[6]) * 0x1p32;
}
PITH_EXPORT(program_bind)
void wasm_program_bind(Program* program, int32_t slot, uint8_t* data, int32_t type, int32_t packed, int32_t rows,
                       int32_t cols, uint32_t bytes) {
  refused = program_bind(program, slot, {data, type, packed, rows, cols, int64_t(bytes)});
}
// Bytes of shared scratch that a run of these sizes needs.
PITH_EXPORT(program_resolve) uint32_t wasm_program_resolve(Program* program, int32_t T, int32_t S, int32_t R) {
  size_t shared = 0;
  refused = program_resolve(program, T, S, R, &shared);
  return uint32_t(shared);
}

PITH_EXPORT(local_bytes) uint32_t wasm_local_bytes() { return LOCAL_BYTES; }

// --- Jobs: a run, then the sampling of some of its rows ---------------------------------------------------------------

// Bytes of scratch for sampling a row of a packed request.
PITH_EXPORT(sample_scratch) uint32_t wasm_sample_scratch(const int32_t* ints, int32_t row, int32_t vocab) {
  return uint32_t(isa_wasm.sample_scratch(ints, row, vocab));
}

namespace {

struct Job {
  const Program* program;       // or null: only sampling
  int32_t T, S, R, threads;
  uint8_t *shared, *local;      // LOCAL_BYTES at `local` for each thread, what `program_resolve` said at `shared`
  int32_t rows, vocab, stride;  // sampling: `rows` of logits [.., vocab], `stride` answers each
  float* logits;
  const int32_t* ints;
  const double* floats;
  int32_t* ids;
  double* logprobs;
  uint8_t* scratch;             // `scratch_bytes` for each thread
  uint32_t scratch_bytes;
  Encoding* encoding;           // or null: rows to be rounded to blocks
  const uint8_t* read;          // or null: memory to read, to measure that
  uint32_t read_bytes;
};

void sample_rows(const Job& job, int thread) {
  for (int32_t row = thread; row < job.rows; row += job.threads)
    isa_wasm.sample(job.logits + int64_t(row) * job.vocab, job.vocab, job.ints, job.floats, row, job.stride,
                    job.ids + int64_t(row) * job.stride, job.logprobs + int64_t(row) * job.stride,
                    job.scratch + int64_t(thread) * job.scratch_bytes);
}

volatile uint64_t read_sum[MAX_THREADS];

// One thread's part of the job.
void do_part(const Job& job, void (*meet)(const Run&, int), int thread) {
  if (job.program) {
    Run run = {};
    run.T = job.T;
    run.S = job.S;
    run.R = job.R;
    run.threads = job.threads;
    run.meet = meet;
    run.shared = job.shared;
    for (int i = 0; i < job.threads; i++) run.local[i] = job.local + size_t(i) * LOCAL_BYTES;
    program_run(job.program, run, thread);
    if (job.rows && job.threads > 1) meet(run, thread);
  }
  sample_rows(job, thread);
  if (job.encoding) encoding_work(*job.encoding, isa_wasm.encode, job.local + size_t(thread) * LOCAL_BYTES);
  if (job.read) {
    int64_t begin, end;
    share(job.read_bytes, 4096, job.threads, thread, &begin, &end);
    read_sum[thread] = isa_wasm.read(job.read + begin, size_t(end - begin));
  }
}
void meet_alone(const Run&, int) {}

// --- Threads: the one job that all of them work on --------------------------------------------------------------------

// Turns of a loop that only looks, 1 to 2 ns each, before a thread sleeps: as in pool.cc, a thread's patience shrinks when
// it was in vain (something else has the other core) and grows back slowly. There is nothing between looking and sleeping
// here, and to be woken takes 50 us, longer than most threads are late: so even the least is that long. Between jobs it is
// short, because JavaScript may be waiting for this very core.
constexpr int IDLE_PATIENCE = 2000, LEAST_PATIENCE = 50000, MOST_PATIENCE = 500000;

struct alignas(64) Worker {
  uint32_t seen;      // the job it did last
  int32_t patience;
};
Worker workers[MAX_THREADS];
Job draft, job;    // what is being stated; what the threads do
alignas(64) uint32_t posted;     // number of the job; 0: none yet
alignas(64) int32_t left;        // threads that have not finished it
alignas(64) uint32_t arrived, phase, sleepers;
bool stopping;

uint32_t now(const uint32_t& word) { return __atomic_load_n(&word, __ATOMIC_SEQ_CST); }

// Returns when `word` is no longer `old`: after some looking, asleep. True: it came while looking.
bool await(uint32_t& word, uint32_t old, int patience) {
  for (int turn = 0; turn < patience; turn++)
    if (now(word) != old) return true;
  while (now(word) == old) __builtin_wasm_memory_atomic_wait32(reinterpret_cast<int*>(&word), int(old), -1);
  return false;
}

void meet_others(const Run& run, int thread) {
  uint32_t before = now(phase);
  if (__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST) == uint32_t(run.threads)) {
    __atomic_store_n(&arrived, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&phase, before + 1, __ATOMIC_SEQ_CST);
    // Who counted itself in before the store is woken; who did so later finds the new phase.
    if (now(sleepers)) __builtin_wasm_memory_atomic_notify(reinterpret_cast<int*>(&phase), run.threads);
    return;
  }
  Worker& w = workers[thread];
  for (int turn = 0; turn < w.patience; turn++)
    if (now(phase) != before) {
      if (w.patience < MOST_PATIENCE) w.patience += 1 + w.patience / 32;
      return;
    }
  w.patience = w.patience / 4 > LEAST_PATIENCE ? w.patience / 4 : LEAST_PATIENCE;
  __atomic_add_fetch(&sleepers, 1, __ATOMIC_SEQ_CST);
  await(phase, before, 0);
  __atomic_sub_fetch(&sleepers, 1, __ATOMIC_SEQ_CST);
}

}  // namespace

// States the next job: a run of `program` (or null).
PITH_EXPORT(job_run)
void wasm_job_run(const Program* program, int32_t T, int32_t S, int32_t R, int32_t threads, uint8_t* shared, uint8_t* local) {
  draft = {};
  draft.program = program;
  draft.T = T;
  draft.S = S;
  draft.R = R;
  draft.threads = threads;
  draft.shared = shared;
  draft.local = local;
}
// and what is sampled after it.
PITH_EXPORT(job_sample)
void wasm_job_sample(float* logits, int32_t rows, int32_t vocab, int32_t stride, const int32_t* ints, const double* floats,
                     int32_t* ids, double* logprobs, uint8_t* scratch, uint32_t scratch_bytes) {
  draft.logits = logits;
  draft.rows = rows;
  draft.vocab = vocab;
  draft.stride = stride;
  draft.ints = ints;
  draft.floats = floats;
  draft.ids = ids;
  draft.logprobs = logprobs;
  draft.scratch = scratch;
  draft.scratch_bytes = scratch_bytes;
}
// Or rows of floats to blocks: states it at `block` (encoding_bytes), where `encoding_bad` finds the answer.
PITH_EXPORT(encoding_bytes) uint32_t wasm_encoding_bytes() { return sizeof(Encoding); }
PITH_EXPORT(job_encode)
void wasm_job_encode(Encoding* block, int32_t type, int32_t from, int32_t rows, int32_t cols, const uint8_t* values,
                     const float* importance, uint8_t* out, int32_t threads, uint8_t* local) {
  *block = {Type(type), Type(from), rows, cols, values, importance, out, 0, int64_t(rows) * cols};
  draft = {};
  draft.threads = threads;
  draft.local = local;
  draft.encoding = block;
}
// Row · cols + column of the first block that could not be encoded; -1: none.
PITH_EXPORT(encoding_bad) double wasm_encoding_bad(const Encoding* block) {
  return block->bad < block->rows * block->cols ? double(block->bad) : -1;
}
// Or only a read of memory, as fast as it goes.
PITH_EXPORT(job_read) void wasm_job_read(const uint8_t* data, uint32_t bytes, int32_t threads) {
  draft = {};
  draft.threads = threads;
  draft.read = data;
  draft.read_bytes = bytes;
}
// Does the job, which is for one thread, here and now.
PITH_EXPORT(job_here) void wasm_job_here() { do_part(draft, meet_alone, 0); }
// Gives it to all threads; they must have finished the one before.
PITH_EXPORT(job_post) void wasm_job_post() {
  job = draft;
  __atomic_store_n(&left, job.threads, __ATOMIC_SEQ_CST);
  __atomic_add_fetch(&posted, 1, __ATOMIC_SEQ_CST);
  __builtin_wasm_memory_atomic_notify(reinterpret_cast<int*>(&posted), MAX_THREADS);
}
// Ends all threads that wait for a job.
PITH_EXPORT(stop) void wasm_stop() {
  __atomic_store_n(&stopping, true, __ATOMIC_SEQ_CST);
  wasm_job_post();
}
// Waits for a job and does this thread's part. 1: it was the last to finish; 0: another one will be; -1: the end.
PITH_EXPORT(work) int32_t wasm_work(int32_t thread) {
  Worker& w = workers[thread];
  await(posted, w.seen, IDLE_PATIENCE);
  w.seen++;  // the next job comes after all have finished this one
  if (__atomic_load_n(&stopping, __ATOMIC_SEQ_CST)) return -1;
  if (!w.patience) w.patience = MOST_PATIENCE;
  do_part(job, meet_others, thread);
  return __atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) == 0;
}

}  // namespace pith

// What the compiler calls for a product of 128 bits (overflow checks of 64), in terms of 32 x 32 -> 64.
extern "C" __int128 __multi3(__int128 a, __int128 b) {
  uint64_t a0 = uint64_t(a), b0 = uint64_t(b), mask = 0xffffffff;
  uint64_t low = (a0 & mask) * (b0 & mask), m1 = (a0 >> 32) * (b0 & mask), m2 = (a0 & mask) * (b0 >> 32);
  uint64_t middle = (low >> 32) + (m1 & mask) + (m2 & mask);
  uint64_t high = (a0 >> 32) * (b0 >> 32) + (m1 >> 32) + (m2 >> 32) + (middle >> 32);
  high += a0 * uint64_t(b >> 64) + uint64_t(a >> 64) * b0;
  return __int128((unsigned __int128)(high) << 64 | (middle << 32 | (low & mask)));
}

// What the compiler calls for copies whose size it does not know, when it does not use the instruction.
extern "C" void* memcpy(void* to, const void* from, size_t n) {
  __builtin_memcpy(to, from, n);
  return to;
}
extern "C" void* memmove(void* to, const void* from, size_t n) {
  __builtin_memmove(to, from, n);
  return to;
}
extern "C" void* memset(void* to, int value, size_t n) {
  __builtin_memset(to, value, n);
  return to;
}
