// Which instruction set's kernels run.
#include "dispatch.h"

#include <cstdlib>
#include <cstring>

#include "cpu.h"

namespace softmax_native::cpu {
namespace {

constexpr int kMostTables = 3;

struct Choice {
  const char* names[kMostTables + 1] = {};
  const KernelTable* chosen = nullptr;
  const char* requested = nullptr;

  Choice() {
    const KernelTable* tables[kMostTables] = {};
    int count = 0;
    tables[count++] = &kScalarKernels;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables[count++] = &kAvx2Kernels;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma")) {
      tables[count++] = &kAvx512Kernels;
    }
#elif defined(__aarch64__)
    tables[count++] = &kNeonKernels;
#endif
    for (int i = 0; i < count; i++) names[i] = tables[i]->isa;

    requested = std::getenv("SOFTMAX_NATIVE_ISA");
    if (requested && *requested == '\0') requested = nullptr;
    if (!requested) {
      chosen = tables[count - 1];
      return;
    }
    for (int i = 0; i < count; i++) {
      if (std::strcmp(requested, tables[i]->isa) == 0) chosen = tables[i];
    }
  }
};

const Choice& choice() {
  static const Choice only;
  return only;
}

}  // namespace

const KernelTable* chosen_kernels() { return choice().chosen; }

const char* const* available_isas() { return choice().names; }

const char* isa() { return choice().chosen ? choice().chosen->isa : nullptr; }

const char* requested_isa() { return choice().requested; }

}  // namespace softmax_native::cpu
