// See program.h.
#include "program.h"

namespace pith {

namespace {

int64_t join(const int32_t* words) { return int64_t(uint64_t(uint32_t(words[0])) | uint64_t(uint32_t(words[1])) << 32); }

// Rows, columns and bytes (4 each) of dimensions; false when they do not fit.
bool measure(const int32_t* d, int64_t* rows, int64_t* cols, int64_t* bytes) {
  *cols = d[2];
  return !__builtin_mul_overflow(int64_t(d[0]), int64_t(d[1]), rows) && !__builtin_mul_overflow(*rows, *cols, bytes) &&
         !__builtin_mul_overflow(*bytes, int64_t(4), bytes);
}

// Cuts the block at `base` (0: only to know its size).
size_t layout(Program* p, uintptr_t base) {
  uintptr_t at = base;
  auto take = [&](size_t bytes) {
    uintptr_t where = at;
    at = (at + bytes + 63) / 64 * 64;
    return where;
  };
  take(sizeof(Program));
  size_t n = size_t(p->ntensors), m = size_t(p->nnodes);
  p->tensors = reinterpret_cast<Tensor*>(take(n * sizeof(Tensor)));
  p->offset = reinterpret_cast<int64_t*>(take(n * sizeof(int64_t)));
  p->space = reinterpret_cast<int32_t*>(take(n * sizeof(int32_t)));
  p->slot = reinterpret_cast<int32_t*>(take(n * sizeof(int32_t)));
  p->outermost = reinterpret_cast<int32_t*>(take(n * sizeof(int32_t)));
  p->scratch = reinterpret_cast<ScratchFn*>(take(m * sizeof(ScratchFn)));
  p->nodes = reinterpret_cast<Node*>(take(m * sizeof(Node)));
  return at - base;
}

void read_header(Program* p, const int32_t* image) {
  p->ntensors = image[2];
  p->nnodes = image[3];
  p->nslots = image[4];
  p->arena_bytes = join(image + 5);
  p->input_bytes = join(image + 7);
  for (int i = 0; i < 3; i++) p->maxima[i] = image[9 + i];
}

// Dimensions of a tensor record, with the symbol's given size.
void dimensions(const int32_t* t, const int32_t* sizes, int32_t* d) {
  for (int i = 0; i < 3; i++) d[i] = t[7 + i];
  if (t[5]) d[3 - t[6]] = sizes[t[5] - 1];
}

Refusal check_tensor(const int32_t* t, int64_t i, const Program& p) {
  if (t[0] < ARENA || t[0] > INPUT) return {"space of tensor", i, t[0], INPUT};
  if (t[0] == SLOT && (t[1] < 0 || t[1] >= p.nslots)) return {"slot of tensor", i, t[1], p.nslots - 1};
  if (t[4] != F32 && t[4] != I32) return {"type of tensor", i, t[4], F32};
  if (t[6] < 0 || t[6] > 3) return {"rank of tensor", i, t[6], 3};
  if (t[5] < 0 || t[5] > 3 || (t[5] > 0 && (t[6] == 0 || t[0] == SLOT))) return {"symbol of tensor", i, t[5], 0};
  for (int k = 0; k < 3; k++) {
    if (t[7 + k] < 0) return {"dimension of tensor", i, t[7 + k], 0};
    if (k < 3 - t[6] && t[7 + k] != 1) return {"missing dimension of tensor", i, t[7 + k], 1};
  }
  int32_t d[3];
  int64_t rows, cols, bytes, end;
  dimensions(t, p.maxima, d);
  if (!measure(d, &rows, &cols, &bytes)) return {"size of tensor", i, -1, 0};
  if (t[0] == SLOT) return {};
  int64_t offset = join(t + 2), room = t[0] == ARENA ? p.arena_bytes : p.input_bytes;
  if (offset < 0 || offset % 64) return {"offset of tensor", i, offset, offset / 64 * 64};
  if (__builtin_add_overflow(offset, bytes, &end) || end > room) return {"end of tensor", i, offset + bytes, room};
  return {};
}

}  // namespace

size_t program_bytes(const int32_t* image, size_t words, int nkernels, Refusal* refusal) {
  auto refuse = [&](const char* what, int64_t index, int64_t found, int64_t wanted) {
    *refusal = {what, index, found, wanted};
    return size_t(0);
  };
  *refusal = {};
  if (words < size_t(IMAGE_HEADER)) return refuse("number of words of the image", 0, int64_t(words), IMAGE_HEADER);
  if (image[0] != IMAGE_MAGIC) return refuse("magic word", 0, image[0], IMAGE_MAGIC);
  if (image[1] != IMAGE_VERSION) return refuse("version", 0, image[1], IMAGE_VERSION);
  for (int i = 2; i < 5; i++)
    if (image[i] < 0) return refuse("header word", i, image[i], 0);
  for (int i = 9; i < 12; i++)
    if (image[i] < 0) return refuse("header word", i, image[i], 0);
  Program p = {};
  read_header(&p, image);
  if (p.arena_bytes < 0 || p.arena_bytes > PTRDIFF_MAX) return refuse("arena", 0, p.arena_bytes, PTRDIFF_MAX);
  if (p.input_bytes < 0 || p.input_bytes > MOST_INPUT) return refuse("input block", 0, p.input_bytes, MOST_INPUT);

  int64_t left = int64_t(words) - IMAGE_HEADER;
  if (p.nslots > left) return refuse("number of slots", 0, p.nslots, left);
  if (int64_t(p.ntensors) * IMAGE_TENSOR > left)
    return refuse("number of words of the tensors", 0, left, int64_t(p.ntensors) * IMAGE_TENSOR);
  const int32_t* at = image + IMAGE_HEADER;
  for (int i = 0; i < p.ntensors; i++, at += IMAGE_TENSOR) {
    *refusal = check_tensor(at, i, p);
    if (refusal->what) return 0;
  }
  left -= int64_t(p.ntensors) * IMAGE_TENSOR;
  const Node* limit = nullptr;
  constexpr int most_tensors = sizeof(limit->t) / sizeof(limit->t[0]);
  constexpr int most_ints = sizeof(limit->i) / sizeof(limit->i[0]), most_floats = sizeof(limit->f) / sizeof(limit->f[0]);
  for (int n = 0; n < p.nnodes; n++) {
    if (left < IMAGE_NODE) return refuse("number of words left for node", n, left, IMAGE_NODE);
    if (at[0] < 0 || at[0] >= nkernels) return refuse("opcode of node", n, at[0], nkernels - 1);
    for (int k = 2; k < 6; k++)
      if (at[k] < 0) return refuse("count of node", n, at[k], 0);
    if (int64_t(at[2]) + at[3] > most_tensors) return refuse("number of tensors of node", n, int64_t(at[2]) + at[3], most_tensors);
    if (at[4] > most_ints) return refuse("number of ints of node", n, at[4], most_ints);
    if (at[5] > most_floats) return refuse("number of floats of node", n, at[5], most_floats);
    int tensors = at[2] + at[3], size = IMAGE_NODE + tensors + at[4] + at[5];
    if (left < size) return refuse("number of words left for node", n, left, size);
    for (int k = 0; k < tensors; k++)
      if (at[IMAGE_NODE + k] < 0 || at[IMAGE_NODE + k] >= p.ntensors)
        return refuse("tensor of node", n, at[IMAGE_NODE + k], p.ntensors - 1);
    at += size;
    left -= size;
  }
  if (left) return refuse("number of words after the last node", p.nnodes - 1, left, 0);
  return layout(&p, 0);
}

Program* program_make(void* block, const int32_t* image, const Kernel* kernels) {
  Program* p = static_cast<Program*>(block);
  read_header(p, image);
  layout(p, reinterpret_cast<uintptr_t>(block));
  p->spent = nullptr;
  p->clock = nullptr;
  for (int i = 0; i < 3; i++) p->current[i] = -1;
  const int32_t* at = image + IMAGE_HEADER;
  for (int i = 0; i < p->ntensors; i++, at += IMAGE_TENSOR) {
    Tensor& t = p->tensors[i];
    int64_t bytes;
    t = {};
    t.type = at[4];
    t.sym = at[5];
    p->space[i] = at[0];
    p->slot[i] = at[1];
    p->offset[i] = join(at + 2);
    p->outermost[i] = t.sym ? 3 - at[6] : 0;
    dimensions(at, p->maxima, t.d);
    measure(t.d, &t.rows, &t.cols, &bytes);
  }
  for (int n = 0; n < p->nnodes; n++) {
    Node& node = p->nodes[n];
    node = {};
    node.fn = kernels[at[0]].fn;
    p->scratch[n] = kernels[at[0]].shared;
    node.barrier = at[1];
    node.noutputs = at[2];
    node.ninputs = at[3];
    node.nints = at[4];
    node.nfloats = at[5];
    at += IMAGE_NODE;
    for (int k = 0; k < node.noutputs + node.ninputs; k++) node.t[k] = &p->tensors[*at++];
    for (int k = 0; k < node.nints; k++) node.i[k] = *at++;
    for (int k = 0; k < node.nfloats; k++) __builtin_memcpy(&node.f[k], at++, 4);
  }
  return p;
}

void program_place(Program* p, uint8_t* arena, uint8_t* inputs) {
  for (int i = 0; i < p->ntensors; i++) {
    if (p->space[i] == ARENA) p->tensors[i].data = arena + p->offset[i];
    if (p->space[i] == INPUT) p->tensors[i].data = inputs + p->offset[i];
  }
}

Refusal program_bind(Program* p, int32_t slot, const Binding& b) {
  if (slot < 0 || slot >= p->nslots) return {"slot", 0, slot, p->nslots - 1};
  for (int i = 0; i < p->ntensors; i++) {
    const Tensor& t = p->tensors[i];
    if (p->space[i] != SLOT || p->slot[i] != slot) continue;
    if (b.type == KV_F32 || b.type == KV_F16 || b.type == KV_Q8_0 || b.type == ADAPTERS) {
      if (t.rows * t.cols > 0) return {"number of elements that slot wants of KV pages or adapters,", slot, t.rows * t.cols, 0};
    } else if (b.packed) {
      if (b.rows != t.rows) return {"number of rows of the weight for slot", slot, b.rows, t.rows};
      if (b.cols != t.cols) return {"number of columns of the weight for slot", slot, b.cols, t.cols};
    } else if (b.bytes < t.rows * t.cols * 4) {
      return {"number of bytes for slot", slot, b.bytes, t.rows * t.cols * 4};
    }
  }
  for (int i = 0; i < p->ntensors; i++) {
    Tensor& t = p->tensors[i];
    if (p->space[i] != SLOT || p->slot[i] != slot) continue;
    t.data = b.data;
    t.type = b.type;
    t.packed = b.packed;
  }
  return {};
}

Refusal program_resolve(Program* p, int32_t T, int32_t S, int32_t R, size_t* shared) {
  const int32_t sizes[3] = {T, S, R};
  const char* names[3] = {"T", "S", "R"};
  bool same = true;
  for (int i = 0; i < 3; i++) {
    if (sizes[i] < 0 || sizes[i] > p->maxima[i]) return {names[i], 0, sizes[i], p->maxima[i]};
    same &= sizes[i] == p->current[i];
    p->current[i] = sizes[i];
  }
  if (!same) {
    for (int i = 0; i < p->ntensors; i++) {
      Tensor& t = p->tensors[i];
      if (!t.sym) continue;
      int64_t bytes;
      t.d[p->outermost[i]] = sizes[t.sym - 1];
      measure(t.d, &t.rows, &t.cols, &bytes);
    }
  }
  *shared = 0;
  for (int n = 0; n < p->nnodes; n++) {
    size_t bytes = p->scratch[n] ? p->scratch[n](p->nodes[n], T, S, R) : 0;
    if (bytes > *shared) *shared = bytes;
  }
  return {};
}

void program_run(const Program* p, const Run& run, int thread) {
  bool timed = p->spent && thread == 0;
  double from = timed ? p->clock() : 0;
  for (int n = 0; n < p->nnodes; n++) {
    const Node& node = p->nodes[n];
    if (node.barrier && run.threads > 1) run.meet(run, thread);
    double begin = timed ? p->clock() : 0;
    node.fn(run, node, thread);
    if (!timed) continue;
    double end = p->clock();
    p->spent[n * 2] += end - begin;
    p->spent[n * 2 + 1] += begin - from;
    from = end;
  }
}

}  // namespace pith
