#include "allocations.h"

#include <iterator>
#include <map>

#include "findings.h"

namespace emulated {
namespace {

constexpr size_t kAlignment = 256;

// By first address; never destroyed, since threads may still use them while the process ends.
auto& live = *new std::map<uintptr_t, Allocation>;
auto& gone = *new std::map<uintptr_t, Allocation>;  // for descriptions, until their addresses are used again
auto* const unused = new std::map<uintptr_t, uintptr_t>[kWindows];
uintptr_t top[kWindows] = {};

// What an allocation takes of the window: itself, and at least as much as the alignment that belongs to nobody.
size_t extent(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment; }

uintptr_t take_unused(int window, size_t bytes) {
  for (auto range = unused[window].begin(); range != unused[window].end(); ++range) {
    const auto [begin, end] = *range;
    if (end - begin < bytes) continue;
    unused[window].erase(range);
    if (end - begin > bytes) unused[window][begin + bytes] = end;
    gone.erase(gone.lower_bound(begin), gone.lower_bound(begin + bytes));
    return begin;
  }
  return 0;
}

void give_unused(int window, uintptr_t begin, uintptr_t end) {
  const auto after = unused[window].find(end);
  if (after != unused[window].end()) {
    end = after->second;
    unused[window].erase(after);
  }
  const auto next = unused[window].lower_bound(begin);
  if (next != unused[window].begin() && std::prev(next)->second == begin) {
    std::prev(next)->second = end;
  } else {
    unused[window][begin] = end;
  }
}

uintptr_t take_addresses(Window window, size_t bytes) {
  const int w = static_cast<int>(window);
  if (!reserve_windows()) return 0;
  if (top[w] == 0) top[w] = window_begin(window) + kAlignment;
  const uintptr_t begin = top[w];
  const size_t used = begin + bytes - window_begin(window);
  if (bytes > kWindowBytes[w] || used > kWindowBytes[w] || !commit_window(window, used)) return take_unused(w, bytes);
  top[w] += bytes;
  return begin;
}

const Allocation* holder(const std::map<uintptr_t, Allocation>& allocations, uintptr_t address) {
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return nullptr;
  const Allocation& found = std::prev(next)->second;
  return address - found.begin < found.bytes ? &found : nullptr;
}

const char* name(Window window) { return window == Window::pinned ? "pinned" : "device"; }

}  // namespace

Allocation* allocate(Window window, size_t bytes, void* pool) {
  if (bytes > kWindowBytes[static_cast<int>(window)]) return nullptr;
  const uintptr_t begin = take_addresses(window, extent(bytes));
  if (begin == 0) return nullptr;
  const bool exists = pool == nullptr;
  if (window != Window::pinned && exists) set_exists(begin, bytes, true);
  return &(live[begin] = {begin, bytes, window, pool, exists, false});
}

void release(Allocation* allocation) {
  const Allocation was = *allocation;
  live.erase(was.begin);
  discard(was.begin, was.begin + was.bytes);
  gone[was.begin] = was;
  give_unused(static_cast<int>(was.window), was.begin, was.begin + extent(was.bytes));
}

Allocation* find_allocation(const void* address) {
  return const_cast<Allocation*>(holder(live, reinterpret_cast<uintptr_t>(address)));
}

Allocation* find_allocation_at(const void* begin) {
  const auto found = live.find(reinterpret_cast<uintptr_t>(begin));
  return found == live.end() ? nullptr : &found->second;
}

std::string describe_allocated(uintptr_t address) {
  const Allocation* allocation = holder(live, address);
  const char* state = "";
  if (allocation == nullptr) {
    allocation = holder(gone, address);
    state = "released ";
  }
  if (allocation == nullptr) {
    // Outside of any: told by the nearest one before or after.
    state = "";
    const auto next = live.upper_bound(address);
    if (next != live.begin() && std::prev(next)->second.begin + (size_t(1) << 30) > address) {
      allocation = &std::prev(next)->second;
    } else if (next != live.end()) {
      allocation = &next->second;
    }
  }
  if (allocation == nullptr) return text("%p, where nothing is allocated", reinterpret_cast<void*>(address));
  return text("byte %lld of a %s%s allocation of %zu bytes%s",
              static_cast<long long>(static_cast<intptr_t>(address - allocation->begin)), state,
              name(allocation->window), allocation->bytes,
              allocation->exists ? "" : ", to which its stream has not come yet");
}

void count_allocations(Window window, size_t* count, size_t* bytes) {
  *count = *bytes = 0;
  for (const auto& [begin, allocation] : live) {
    if (allocation.window != window || allocation.released) continue;
    ++*count;
    *bytes += allocation.bytes;
  }
}

}  // namespace emulated
