#include "async_copies.h"

#include <cstring>
#include <vector>

#include "check.h"
#include "include/cuda_pipeline_primitives.h"
#include "machine.h"
#include "warps.h"

namespace emulated {
namespace {

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  size_t group;
};

struct Copies {
  std::vector<Copy> started;  // in order, and not waited for
  size_t groups = 0;          // that have ended
};

// By the place of a thread in its cluster; never destroyed, as the machine is not.
std::vector<Copies>& all_copies() {
  static auto* const copies = new std::vector<Copies>(kSharedSlots << 10);
  return *copies;
}

Copies& copies_of_thread() { return all_copies()[running.place & kPlaceMask]; }

template <size_t bytes>
void copy_checked(const Copy& copy) {
  check_aligned<bytes, false>(reinterpret_cast<uintptr_t>(copy.from));
  check_aligned<bytes, true>(reinterpret_cast<uintptr_t>(copy.to));
  std::memcpy(copy.to, copy.from, bytes);
}

}  // namespace

bool has_async_copies() { return machine().code_capability() >= 80; }

void start_copy(void* to, const void* from, size_t bytes) {
  if (!in_shared(reinterpret_cast<uintptr_t>(to)) || in_shared(reinterpret_cast<uintptr_t>(from))) {
    const HostCode host_code;
    add_finding(
        "asynchronous copy in " + kernel_name(state.grid->call->kernel),
        text("out of bounds: %s: an asynchronous copy from %p to %p, which is none from global to shared memory",
             running_thread().c_str(), from, to));
    end_grid(cudaErrorIllegalAddress);
  }
  const HostCode host_code;
  Copies& copies = copies_of_thread();
  copies.started.push_back({to, from, bytes, copies.groups});
}

void end_group_of_copies() { copies_of_thread().groups++; }

void wait_for_copies(size_t groups_left) {
  Copies& copies = copies_of_thread();
  size_t done = 0;
  for (; done < copies.started.size() && copies.started[done].group + groups_left < copies.groups; done++) {
    const Copy& copy = copies.started[done];
    if (copy.bytes == 4) copy_checked<4>(copy);
    if (copy.bytes == 8) copy_checked<8>(copy);
    if (copy.bytes == 16) copy_checked<16>(copy);
  }
  const HostCode host_code;
  copies.started.erase(copies.started.begin(), copies.started.begin() + static_cast<ptrdiff_t>(done));
}

void forget_copies() {
  for (Copies& copies : all_copies()) copies = {};
}

void require_no_copies() {
  Copies& copies = copies_of_thread();
  const size_t left = copies.started.size();
  copies.groups = 0;
  if (left == 0) return;
  const HostCode host_code;
  add_finding("asynchronous copies in " + kernel_name(state.grid->call->kernel),
              text("not waited for: %s ends before %zu of its asynchronous copies", running_thread().c_str(), left));
  end_grid(cudaErrorLaunchFailure);
}

}  // namespace emulated
