// Quantizes a GGUF file with the llama.cpp that node-llama-cpp carries prebuilt, which its JavaScript does not offer.
// Usage: quantize <libllama.so> <in.gguf> <out.gguf> <number of a llama_ftype> [pure]
// The library is opened at run time; the interface below is that of the version pinned in package.json.
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  int32_t threads, file_type, output_type, embedding_type;
  bool allow_requantize, quantize_output, only_copy, pure, keep_split, dry_run;
  void *pointers[4];
  size_t max_buffer;
} Params;

int main(int argc, char **argv) {
  if (argc < 5) return fprintf(stderr, "Cannot quantize: %d arguments, wanted 4 or 5\n", argc - 1), 2;
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
  if (!library) return fprintf(stderr, "Cannot open the library: %s\n", dlerror()), 2;
  Params (*defaults)(void) = (Params (*)(void))dlsym(library, "llama_model_quantize_default_params");
  uint32_t (*quantize)(const char *, const char *, const Params *) =
      (uint32_t (*)(const char *, const char *, const Params *))dlsym(library, "llama_model_quantize");
  if (!defaults || !quantize) return fprintf(stderr, "Cannot quantize: no such function in %s\n", argv[1]), 2;
  Params params = defaults();
  params.threads = 2;
  params.file_type = atoi(argv[4]);
  params.pure = argc > 5 && strcmp(argv[5], "pure") == 0;
  return quantize(argv[2], argv[3], &params) == 0 ? 0 : 1;
}
