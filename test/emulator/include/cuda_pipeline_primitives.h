// Stands in for CUDA's asynchronous copies from global to shared memory. A copy is done when its thread waits for it and
// not before, so that what is read too early is not there yet.
#pragma once

#include "emulated/device_functions.h"

namespace emulated {

// Whether the device has them; on others the real ones copy at once.
[[gnu::const]] bool has_async_copies();
void start_copy(void* to, const void* from, size_t bytes);
void end_group_of_copies();
void wait_for_copies(size_t groups_left);

}  // namespace emulated

inline void __pipeline_memcpy_async(void* to, const void* from, size_t bytes) { emulated::start_copy(to, from, bytes); }
inline void __pipeline_commit() { emulated::end_group_of_copies(); }
inline void __pipeline_wait_prior(size_t groups_left) { emulated::wait_for_copies(groups_left); }
