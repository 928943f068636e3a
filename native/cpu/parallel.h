// The one place that starts threads.
#pragma once

#include <cstdint>

namespace softmax_native::cpu {

// Calls work(context, begin, end) for adjoining ranges that cover [0, items), on up to `threads` threads at once; with
// one thread, in the caller and without touching the thread pool. `work` must not throw.
void parallel_ranges(int64_t items, int threads, void (*work)(void* context, int64_t begin, int64_t end),
                     void* context);

template <class Work>
void parallel_for(int64_t items, int threads, Work&& work) {
  parallel_ranges(
      items, threads, [](void* context, int64_t begin, int64_t end) { (*static_cast<Work*>(context))(begin, end); },
      &work);
}

}  // namespace softmax_native::cpu
