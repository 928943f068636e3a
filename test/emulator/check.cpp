// What the checks of accesses report, in words.
#include "check.h"

#include <cstring>

#include "allocations.h"
#include "findings.h"
#include "grid.h"
#include "kernel_name.h"
#include "streams.h"

namespace emulated {
namespace {

const char* verb(bool writes) { return writes ? "writes" : "reads"; }

// The block whose shared memory this is, by its rank, and how far from its beginning.
std::string describe_shared(uintptr_t address) {
  const uintptr_t offset = address - running.shared_begin;
  const auto rank = static_cast<unsigned>(offset / kSharedSlot);
  const auto place = static_cast<long long>(offset % kSharedSlot) - 1024 - 16;
  const bool own = rank == running.place >> 10;
  if (!own && rank < running_cluster() && has_exited(rank)) {
    return text("byte %lld of the shared memory of block %u of the cluster, which has ended", place, rank);
  }
  return text("byte %lld of the %zu bytes of shared memory of %s", place, running_shared_bytes(),
              own ? "its block" : text("block %u of the cluster", rank).c_str());
}

std::string describe(uintptr_t address) {
  Window window;
  if (!find_window(address, &window)) return text("%p, which is host memory", reinterpret_cast<void*>(address));
  if (window == Window::shared) return describe_shared(address);
  return describe_allocated(address) + (window == Window::pinned || is_allowed(address) ? "" : " on another device");
}

// Whom a cell's record stands for.
std::string who_touched(uint64_t record, bool write) {
  if (time_of(record) < running.grid_start) return "work of another stream";
  if (time_of(record) < running.cluster_start) return "another block";
  if (write || scope_of(record) == kThread) return thread_at(place_of(record));
  return scope_of(record) == kGrid ? "several blocks" : thread_at(place_of(record)) + " and others";
}

// `more` makes the end of the text, which is host code.
template <class More>
void report(const char* kind, uintptr_t address, bool writes, More more) {
  const HostCode host_code;
  add_finding(std::string(kind) + verb(writes) + kernel_name(running_call().kernel),
              std::string(kind) + ": " + running_thread() + ": " + verb(writes) + " " + describe(address) + more());
}

}  // namespace

void check_outside(uintptr_t address, size_t bytes, bool writes) {
  const auto parameters = reinterpret_cast<uintptr_t>(&running_call());
  if (!writes && address - parameters < running_call().bytes) return;
  if (!writes && is_constant(reinterpret_cast<void*>(address))) return;
  const Allocation* pinned = find_allocation(reinterpret_cast<void*>(address));
  if (pinned != nullptr && pinned->window == Window::pinned) {
    if (address + bytes <= pinned->begin + pinned->bytes) {
      if (writes) set_written(address, bytes);
      return;
    }
    address = pinned->begin + pinned->bytes;
  }
  report("out of bounds", address, writes, [] { return ""; });
  end_grid(cudaErrorIllegalAddress);
}

void report_misaligned(uintptr_t address, size_t alignment, bool writes) {
  if (on_own_stack(address)) return;
  report("misaligned", address, writes, [&] { return text(", at an address that is no multiple of %zu", alignment); });
  end_grid(cudaErrorMisalignedAddress);
}

void report_missing(uintptr_t address, bool writes) {
  report("out of bounds", address, writes, [] { return ""; });
  end_grid(cudaErrorIllegalAddress);
}

void report_index(const char* type, long long index, const char* file, unsigned line) {
  const HostCode host_code;
  const char* slash = std::strrchr(file, '/');
  add_finding(std::string("index") + kernel_name(running_call().kernel) + std::to_string(line),
              text("out of bounds: %s: uses element %lld of an array of type %s, at %s:%u", running_thread().c_str(),
                   index, type, slash == nullptr ? file : slash + 1, line));
  end_grid(cudaErrorIllegalAddress);
}

void report_uninitialised(uintptr_t address) {
  report("uninitialised", address, false, [] { return ", which nothing has written"; });
}

void report_race(uintptr_t address, bool writes, uint64_t other, bool other_writes) {
  report("race", address, writes, [&] {
    const char* writing = time_of(other) < running.grid_start ? "written or allocated" : "written";
    return std::string(", ") + (other_writes ? writing : "read") + " by " + who_touched(other, other_writes) +
           " without a barrier between";
  });
}

void report_early_peer(uintptr_t address, bool writes) {
  report("race", address, writes,
         [] { return " before a barrier of the cluster has shown that this block has started"; });
}

bool settled_by_streams(uint64_t time) { return is_settled(time); }

}  // namespace emulated
