// Shadow memory: what is known of every 4 bytes that device code may touch.
//
// All such memory lies in one range of addresses, [device 0 | shared memory | device 1 | pinned host memory], and the
// cell of a word is found by arithmetic. A cell tells which of its bytes exist, which have been written, who wrote the
// word last and when, and who has read it since. Of pinned memory, which the host uses without being seen, the cells
// tell only about copies and about what kernels write.
//
// Time is a number that every barrier raises. Two accesses are ordered when one thread made both, or when a barrier in
// which both threads took part came between; otherwise, if one of them writes, they are a data race. Because CUDA's
// barriers are nested (warp, block, cluster, grid), the time of the last barrier of each scope decides that exactly,
// and the readers of a word are told by the smallest scope that holds them all, with the time of the last of them:
// no barrier of that scope came between them, or the later reader would have replaced the earlier.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace emulated {

constexpr size_t kDeviceWindow = size_t(16) << 30;
constexpr size_t kPinnedWindow = size_t(16) << 30;
constexpr size_t kSharedSlot = size_t(256) << 10;  // more than the shared memory of any block
constexpr int kSharedSlots = 16;                   // the blocks of a cluster
constexpr size_t kSharedWindow = kSharedSlot * kSharedSlots;

enum class Window { device0, shared, device1, pinned };
constexpr int kWindows = 4;
constexpr size_t kWindowBytes[kWindows] = {kDeviceWindow, kSharedWindow, kDeviceWindow, kPinnedWindow};

// Reserves the addresses. False when the system refuses.
bool reserve_windows();
uintptr_t window_begin(Window window);
// The window that holds the address, if any.
bool find_window(uintptr_t address, Window* window);
// Makes the first `bytes` of a window, and their cells, usable.
bool commit_window(Window window, size_t bytes);
// Gives the memory behind [begin, end) back to the system. Its bytes no longer exist.
void discard(uintptr_t begin, uintptr_t end);

// The low bits of a time, a place in a cluster (block rank, thread) and masks of bytes, packed:
//   write   time:38 | block rank:4 | thread:10 | bytes written:4 | bytes ever written:4 | bytes that exist:4
//   read    time:38 | block rank:4 | thread:10 | bytes read:4 | scope:4
struct Cell {
  uint64_t write;
  uint64_t read;
};

constexpr int kTimeShift = 26;
constexpr int kPlaceShift = 12;
constexpr uint64_t kPlaceMask = 0x3fff;
constexpr int kMaskShift = 8;
constexpr int kInitialisedShift = 4;
constexpr uint64_t kExistMask = 0xf;
constexpr uint64_t kKnownMask = 0xff;  // which bytes exist and which were ever written
constexpr uint64_t kLastTime = uint64_t(1) << 38;

// The threads that a cell's read record stands for: one, or several of a warp, block, cluster or grid.
enum Scope : uint64_t { kNobody = 0, kThread = 1, kWarp = 2, kBlock = 3, kCluster = 4, kGrid = 5 };

constexpr uint64_t time_of(uint64_t record) { return record >> kTimeShift; }
constexpr uint64_t place_of(uint64_t record) { return record >> kPlaceShift & kPlaceMask; }
constexpr uint64_t bytes_of(uint64_t record) { return record >> kMaskShift & 0xf; }
constexpr uint64_t scope_of(uint64_t record) { return record & 0xf; }
constexpr uint64_t place(unsigned block_rank, unsigned thread) { return uint64_t(block_rank) << 10 | thread; }

constexpr uintptr_t kNoStack = UINTPTR_MAX / 2;

// What the running device thread compares cells with. One object, which only the thread that holds the machine changes;
// others read `stack_low` alone.
struct Running {
  uintptr_t stack_low = kNoStack;  // of the running fiber: by it, hooks know device threads from host threads
  uintptr_t allowed_begin = 0;     // the windows of the running device and of shared memory
  size_t allowed_bytes = 0;
  uintptr_t shared_begin = 0;
  uintptr_t cells = 0;  // the cell of address a is at cells + 4 a, rounded down to a cell

  uint64_t time = 1;
  uint64_t place = 0;
  uint64_t stamp = 0;         // time and place where a record has them
  uint64_t warp_barrier = 0;  // time of the last barrier of the running warp, ...
  uint64_t block_barrier = 0;
  uint64_t cluster_barrier = 0;
  uint64_t cluster_start = 0;
  uint64_t grid_start = 0;
  uint64_t settled = 0;  // what happened before this time is ordered before the running kernel or copy
};
extern Running running;

// While it lives, the running device thread counts as a host thread: for reports, which are host code.
class HostCode {
 public:
  HostCode() : stack_low_(running.stack_low) { running.stack_low = kNoStack; }
  ~HostCode() { running.stack_low = stack_low_; }
  HostCode(const HostCode&) = delete;
  HostCode& operator=(const HostCode&) = delete;

 private:
  const uintptr_t stack_low_;
};

inline Cell* cell_of(uintptr_t address) {
  return reinterpret_cast<Cell*>(running.cells + (address & ~uintptr_t(3)) * 4);
}

// The next time. Ends the process when 2^38 of them are used up, which takes hours of barriers.
uint64_t next_time();

// Bookkeeping of whole ranges, for allocations and copies. Bytes that come to exist have not been written.
void set_exists(uintptr_t begin, size_t bytes, bool exists);
// They come to exist in a stream: what touches them must be ordered after that, as if they were written now.
void set_exists_from_now(uintptr_t begin, size_t bytes);
void set_written(uintptr_t begin, size_t bytes);
void copy_written(uintptr_t to, uintptr_t from, size_t bytes);
void set_read(uintptr_t begin, size_t bytes);

}  // namespace emulated
