// Device and pinned host memory: which addresses are handed out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "shadow.h"

namespace emulated {

struct Allocation {
  uintptr_t begin = 0;
  size_t bytes = 0;
  Window window = Window::device0;
  void* pool = nullptr;   // the stream-ordered pool it is from, if any
  bool exists = true;     // false until the stream that allocates it has come so far
  bool released = false;  // its release is queued in a stream
};

// `bytes` > 0 of memory at a multiple of 256, with bytes around it that belong to nobody. Null when the window is full.
// Memory of a pool does not exist yet.
Allocation* allocate(Window window, size_t bytes, void* pool);
// Its addresses are used again as late as possible, so that use after the release is seen.
void release(Allocation* allocation);

// The live allocation that holds the address, or that begins there.
Allocation* find_allocation(const void* address);
Allocation* find_allocation_at(const void* begin);

// "byte 1024 of a device allocation of 1024 bytes", "byte 3 of a released ...", for findings.
std::string describe_allocated(uintptr_t address);

// Of those whose release has not been asked for.
void count_allocations(Window window, size_t* count, size_t* bytes);

}  // namespace emulated
