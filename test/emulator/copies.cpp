#include "copies.h"

#include "allocations.h"
#include "findings.h"
#include "shadow.h"
#include "streams.h"

namespace emulated {
namespace {

bool is_ordered(uint64_t record) { return time_of(record) < running.settled || is_settled(time_of(record)); }

}  // namespace

void check_copy(uintptr_t begin, size_t bytes, bool writes) {
  const Allocation* allocation = find_allocation(reinterpret_cast<void*>(begin));
  if (allocation != nullptr && !allocation->exists) {
    add_finding("copy before an allocation", std::string("out of bounds: a copy, fill or release ") +
                                                 (writes ? "writes " : "reads ") + describe_allocated(begin));
  }
  // Without unordered work, every access so far is ordered before this one.
  if (running.settled < running.grid_start) {
    for (uintptr_t word = begin & ~uintptr_t(3); word < begin + bytes; word += 4) {
      const Cell& cell = *cell_of(word);
      if (is_ordered(cell.write) && (!writes || is_ordered(cell.read))) continue;
      add_finding("race of a copy", std::string("race: a copy, fill or release ") + (writes ? "writes " : "reads ") +
                                        describe_allocated(word) + ", which work of another stream has " +
                                        (is_ordered(cell.write) ? "read" : "written or allocated") +
                                        " without an order between");
      break;
    }
  }
  if (!writes) set_read(begin, bytes);
}

}  // namespace emulated
