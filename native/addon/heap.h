// What the C library's heap does with memory that is freed.
#pragma once

#include <cstddef>
#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace softmax_native::addon {

// glibc's malloc gives freed memory back to the system, until a program frees a block of more than 128 KB: from then on
// it keeps as much as twice the largest such block, of up to 32 MB, and serves blocks up to that size from it. Here that
// happens before the first large result, because the garbage collector frees arrays by tens of megabytes at a time. Where
// the environment sets malloc's thresholds they stay.
inline void let_malloc_keep_memory() {
#if defined(__GLIBC__)
  constexpr size_t kLargest = (size_t{32} << 20) - (size_t{64} << 10);
  void* volatile block = std::malloc(kLargest);
  std::free(block);
#endif
}

// Gives back what it keeps. Calls from many threads leave memory in as many heaps of glibc, a gigabyte after a thousand
// overlapping calls in nine threads, of which only those that go on would be used again.
inline void give_back_free_memory() {
#if defined(__GLIBC__)
  static_cast<void>(malloc_trim(0));
#endif
}

}  // namespace softmax_native::addon
