#include "shadow.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace emulated {

Running running;

namespace {

constexpr size_t kCommitStep = size_t(16) << 20;
constexpr size_t kPage = 64 * 1024;  // a multiple of every system's
uintptr_t windows = 0;
size_t committed[kWindows] = {};

void* reserve(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

bool make_usable(uintptr_t begin, size_t bytes) {
  return mprotect(reinterpret_cast<void*>(begin), bytes, PROT_READ | PROT_WRITE) == 0;
}

constexpr size_t all_windows() {
  size_t bytes = 0;
  for (const size_t window : kWindowBytes) bytes += window;
  return bytes;
}

// Calls f(cell, bytes of the cell) for every word that [begin, begin + bytes) touches.
template <class F>
inline void for_each_cell(uintptr_t begin, size_t bytes, F f) {
  if (bytes == 0) return;
  const uintptr_t end = begin + bytes;
  uintptr_t word = begin & ~uintptr_t(3);
  Cell* cell = cell_of(begin);
  if (word < begin || end < word + 4) {
    const unsigned first = static_cast<unsigned>(begin - word);
    const unsigned last = static_cast<unsigned>(std::min<uintptr_t>(end - word, 4));
    f(cell++, (0xfu << first & 0xfu) & (0xfu >> (4 - last)));
    word += 4;
  }
  for (; word + 4 <= end; word += 4) f(cell++, 0xfu);
  if (word < end) f(cell, 0xfu >> (4 - (end - word)));
}

}  // namespace

bool reserve_windows() {
  if (windows != 0) return true;
  void* memory = reserve(all_windows());
  void* cells = reserve(all_windows() * (sizeof(Cell) / 4));
  if (memory == nullptr || cells == nullptr) return false;
  windows = reinterpret_cast<uintptr_t>(memory);
  running.cells = reinterpret_cast<uintptr_t>(cells) - windows * (sizeof(Cell) / 4);
  running.shared_begin = window_begin(Window::shared);
  return commit_window(Window::shared, kSharedWindow);
}

uintptr_t window_begin(Window window) {
  uintptr_t begin = windows;
  for (int i = 0; i < static_cast<int>(window); i++) begin += kWindowBytes[i];
  return begin;
}

bool find_window(uintptr_t address, Window* window) {
  if (windows == 0 || address - windows >= all_windows()) return false;
  for (int i = 0; i < kWindows; i++) {
    if (address - window_begin(Window(i)) < kWindowBytes[i]) *window = Window(i);
  }
  return true;
}

bool commit_window(Window window, size_t bytes) {
  size_t& usable = committed[static_cast<int>(window)];
  if (bytes <= usable) return true;
  bytes = (bytes + kCommitStep - 1) / kCommitStep * kCommitStep;
  bytes = std::min(bytes, kWindowBytes[static_cast<int>(window)]);
  const uintptr_t begin = window_begin(window) + usable;
  if (!make_usable(begin, bytes - usable)) return false;
  if (!make_usable(reinterpret_cast<uintptr_t>(cell_of(begin)), (bytes - usable) * (sizeof(Cell) / 4))) return false;
  usable = bytes;
  return true;
}

void discard(uintptr_t begin, uintptr_t end) {
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage;
  const uintptr_t last = end / kPage * kPage;
  if (first >= last) {
    set_exists(begin, end - begin, false);
    return;
  }
  set_exists(begin, first - begin, false);
  set_exists(last, end - last, false);
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  madvise(cell_of(first), (last - first) * (sizeof(Cell) / 4), MADV_DONTNEED);
}

uint64_t next_time() {
  if (++running.time < kLastTime) return running.time;
  std::fputs("emulated CUDA: too many barriers for one process\n", stderr);
  std::abort();
}

void set_exists(uintptr_t begin, size_t bytes, bool exists) {
  for_each_cell(begin, bytes, [exists](Cell* cell, uint64_t mask) {
    const uint64_t others = cell->write & ~(mask | mask << kInitialisedShift);
    cell->write = exists ? others | mask : others;
    if (mask == 0xf) *cell = {exists ? mask : 0, 0};
  });
}

void set_exists_from_now(uintptr_t begin, size_t bytes) {
  const uint64_t now = running.time << kTimeShift;
  for_each_cell(begin, bytes, [now](Cell* cell, uint64_t mask) { *cell = {now | mask << kMaskShift | mask, 0}; });
}

void set_written(uintptr_t begin, size_t bytes) {
  const uint64_t now = running.time << kTimeShift;
  for_each_cell(begin, bytes, [now](Cell* cell, uint64_t mask) {
    const uint64_t known = cell->write & kKnownMask;
    *cell = {now | mask << kMaskShift | mask << kInitialisedShift | known, 0};
  });
}

void copy_written(uintptr_t to, uintptr_t from, size_t bytes) {
  const uint64_t now = running.time << kTimeShift;
  // A word of the target has its bytes from one word of the source, or from two.
  for_each_cell(to, bytes, [&, word = to & ~uintptr_t(3)](Cell* cell, uint64_t mask) mutable {
    const uintptr_t source = from + (word - to);
    const unsigned shift = source % 4;
    uint64_t written = cell_of(source)->write >> kInitialisedShift & 0xf;
    if (shift != 0) written |= (cell_of(source + 4)->write >> kInitialisedShift & 0xf) << 4;
    written = written >> shift & mask;
    const uint64_t others = cell->write & kKnownMask & ~(mask << kInitialisedShift);
    *cell = {now | mask << kMaskShift | written << kInitialisedShift | others, 0};
    word += 4;
  });
}

void set_read(uintptr_t begin, size_t bytes) {
  const uint64_t now = running.time << kTimeShift;
  for_each_cell(begin, bytes, [now](Cell* cell, uint64_t mask) { cell->read = now | mask << kMaskShift | kGrid; });
}

}  // namespace emulated
