// The accesses of copies, fills and releases, in the terms of the checks of device threads' accesses.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulated {

// Reports work of other streams on these bytes that is not ordered before the running work, and memory that does not
// exist yet; notes the access.
void check_copy(uintptr_t begin, size_t bytes, bool writes);

}  // namespace emulated
