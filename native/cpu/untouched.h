// Memory that the process has, but has not used yet.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace softmax_native::cpu {

// Whether the middle page of some memory is still to come: the system finds it, and fills it with zeros, at its first
// use. False where the system does not tell.
inline bool is_untouched(const void* memory, int64_t bytes) {
#if defined(__linux__)
  static const auto page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t middle = reinterpret_cast<uintptr_t>(memory) + static_cast<uintptr_t>(bytes) / 2;
  unsigned char is_there = 1;
  return mincore(reinterpret_cast<void*>(middle / page_size * page_size), 1, &is_there) == 0 && (is_there & 1) == 0;
#else
  static_cast<void>(memory), static_cast<void>(bytes);
  return false;
#endif
}

}  // namespace softmax_native::cpu
