// The check of one access of device code to memory: bounds, alignment, initialisation, data races.
//
// Of a thread's local variables, which are its own, only the bounds of arrays are checked, and those only where the
// array is named with its index (-fsanitize=bounds): reads of locals that nothing has written stay unseen.
#pragma once

#include <cstdint>

#include "fiber.h"
#include "shadow.h"

namespace emulated {

// Where an access is not plainly right. Each reports what it finds; those that cannot go on do not return. Outside the
// windows there are also a kernel's parameters, constants and pinned memory, which are allowed.
[[gnu::cold, gnu::noinline]] void check_outside(uintptr_t address, size_t bytes, bool writes);
[[gnu::cold, gnu::noinline]] void report_misaligned(uintptr_t address, size_t alignment, bool writes);
[[gnu::cold, gnu::noinline]] void report_missing(uintptr_t address, bool writes);
// An array of C++ type `type` has no element `index`, which the code at `file` and `line` uses.
[[gnu::cold, gnu::noinline]] void report_index(const char* type, long long index, const char* file, unsigned line);
[[gnu::cold, gnu::noinline]] void report_uninitialised(uintptr_t address);
[[gnu::cold, gnu::noinline]] void report_race(uintptr_t address, bool writes, uint64_t other, bool other_writes);
[[gnu::cold, gnu::noinline]] void report_early_peer(uintptr_t address, bool writes);
// Whether what happened at `time`, before the running kernel, is ordered before it.
[[gnu::cold, gnu::noinline]] bool settled_by_streams(uint64_t time);

// Whether an access of the thread at `other`, or of several threads of `scope` of whom it is one, is ordered before
// the running thread's next.
inline bool ordered(uint64_t time, uint64_t other, uint64_t scope) {
  if (time < running.settled) return true;
  if (time < running.grid_start) return settled_by_streams(time);
  if (time < running.cluster_start || scope == kGrid) return false;
  const uint64_t apart = other ^ running.place;
  if (apart == 0 && scope == kThread) return true;
  if (apart >> 10 != 0 || scope == kCluster) return time < running.cluster_barrier;
  if (apart >> 5 != 0 || scope == kBlock) return time < running.block_barrier;
  return time < running.warp_barrier;
}

inline uint64_t common_scope(uint64_t time, uint64_t other, uint64_t scope) {
  if (time < running.cluster_start) return kGrid;
  const uint64_t apart = other ^ running.place;
  const uint64_t smallest = apart >> 10 != 0 ? kCluster : apart >> 5 != 0 ? kBlock : kWarp;
  return scope > smallest ? scope : smallest;
}

// One word, of which the access touches the bytes of `mask`.
template <bool writes>
[[gnu::noinline]] void check_word(Cell* cell, uint64_t mask, uintptr_t address, bool shared) {
  uint64_t write = cell->write;
  uint64_t read = cell->read;
  if (shared) {
    // What earlier blocks left in shared memory is no more than garbage.
    if (time_of(write) < running.cluster_start) write &= kExistMask;
    if (time_of(read) < running.cluster_start) read = 0;
  }
  if ((write & mask) != mask) [[unlikely]] {
    report_missing(address, writes);
  }
  if ((bytes_of(write) & mask) != 0 && !ordered(time_of(write), place_of(write), kThread)) [[unlikely]] {
    report_race(address, writes, write, true);
  }
  const uint64_t by_me = running.stamp | mask << kMaskShift;
  if constexpr (writes) {
    if ((bytes_of(read) & mask) != 0 && !ordered(time_of(read), place_of(read), scope_of(read))) [[unlikely]] {
      report_race(address, writes, read, false);
    }
    *cell = {by_me | (write & kKnownMask) | mask << kInitialisedShift, 0};
  } else {
    if ((write >> kInitialisedShift & mask) != mask) [[unlikely]] {
      report_uninitialised(address);
      cell->write = write | mask << kInitialisedShift;  // told once
    }
    uint64_t scope = kThread;
    uint64_t before = 0;
    if (scope_of(read) != kNobody && !ordered(time_of(read), place_of(read), scope_of(read))) {
      scope = common_scope(time_of(read), place_of(read), scope_of(read));
      before = read & uint64_t(0xf) << kMaskShift;
    }
    cell->read = by_me | before | scope;
  }
}

// The same for all of a word of device or pinned memory, where nearly always nothing but earlier kernels and copies
// have touched it.
template <bool writes>
inline void check_whole_word(Cell* cell, uintptr_t address, uint64_t stamp, uint64_t settled) {
  constexpr uint64_t all = 0xf;
  const uint64_t write = cell->write;
  const uint64_t needed = writes ? all : all << kInitialisedShift;
  if (time_of(write) >= settled || time_of(cell->read) >= settled || (write & needed) != needed) {
    return check_word<writes>(cell, all, address, false);
  }
  if constexpr (writes) {
    *cell = {stamp | all << kMaskShift | all << kInitialisedShift | all, 0};
  } else {
    cell->read = stamp | all << kMaskShift | kThread;
  }
}

inline bool in_shared(uintptr_t address) { return address - running.shared_begin < kSharedWindow; }

// Shared memory of another block of the cluster may be touched only once a barrier of the cluster has shown that the
// block has started.
inline void check_peer(uintptr_t address, bool writes) {
  const bool own = (address - running.shared_begin) / kSharedSlot == running.place >> 10;
  if (!own && running.cluster_barrier == running.cluster_start) [[unlikely]] {
    report_early_peer(address, writes);
  }
}

inline bool on_device(uintptr_t frame) {
  return frame - __atomic_load_n(&running.stack_low, __ATOMIC_RELAXED) < kStackBytes;
}
inline bool on_own_stack(uintptr_t address) { return address - running.stack_low < kStackBytes; }
inline bool is_allowed(uintptr_t address) { return address - running.allowed_begin < running.allowed_bytes; }

// Whole words.
template <bool writes>
inline void check_whole_words(uintptr_t address, size_t words) {
  Cell* const cell = cell_of(address);
  if (in_shared(address)) {
    check_peer(address, writes);
    for (size_t word = 0; word < words; word++) check_word<writes>(cell + word, 0xf, address + 4 * word, true);
    return;
  }
  const uint64_t stamp = running.stamp;
  const uint64_t settled = running.settled;
  for (size_t word = 0; word < words; word++) {
    check_whole_word<writes>(cell + word, address + 4 * word, stamp, settled);
  }
}

// An access of any size and alignment by a device thread.
template <bool writes>
inline void check_bytes(uintptr_t address, size_t bytes) {
  if (bytes == 0 || on_own_stack(address)) return;
  if (!is_allowed(address)) return check_outside(address, bytes, writes);
  if ((address | bytes) % 4 == 0) return check_whole_words<writes>(address, bytes / 4);
  const bool shared = in_shared(address);
  if (shared) check_peer(address, writes);
  for (const uintptr_t end = address + bytes; address < end;) {
    const uintptr_t word = address & ~uintptr_t(3);
    const uintptr_t next = word + 4 < end ? word + 4 : end;
    check_word<writes>(cell_of(word), (0xfu << (address - word) & 0xfu) & (0xfu >> (word + 4 - next)), address, shared);
    address = next;
  }
}

// An access of 4, 8 or 16 bytes, which is to be aligned to its size.
template <size_t bytes, bool writes>
inline void check_aligned(uintptr_t address) {
  if (on_own_stack(address)) return;
  if (!is_allowed(address)) [[unlikely]] {
    return check_outside(address, bytes, writes);
  }
  if (address % bytes != 0) [[unlikely]] {
    report_misaligned(address, bytes, writes);
  }
  check_whole_words<writes>(address, bytes / 4);
}

}  // namespace emulated
