// The one place that starts threads.
#pragma once

#include <cstdint>

#include "ops/control.h"

namespace softmax_native::cpu {

// Calls work(context, begin, end) for adjoining ranges that cover [0, items), on up to `threads` threads at once; with
// one thread, in the caller and without touching the thread pool. `work` must not throw.
void parallel_ranges(int64_t items, int threads, void (*work)(void* context, int64_t begin, int64_t end),
                     void* context);

// A call in the background is divided into steps: between them it may be stopped, and tells how far it is.
struct Steps {
  Control* control = nullptr;  // null for a call that goes on to its end
  int64_t items = 1;           // in a step
  double elements = 0;         // that an item counts for
};

template <class Work>
void parallel_for(int64_t items, int threads, const Steps& steps, Work&& work) {
  const auto range = [&](int64_t begin, int64_t end) {
    if (steps.control == nullptr) return work(begin, end);
    while (begin < end && !steps.control->stopped) {
      const int64_t next = end - begin < steps.items ? end : begin + steps.items;
      work(begin, next);
      steps.control->done += static_cast<int64_t>(static_cast<double>(next - begin) * steps.elements);
      begin = next;
    }
  };
  parallel_ranges(
      items, threads,
      [](void* context, int64_t begin, int64_t end) { (*static_cast<decltype(range)*>(context))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&range)));
}

}  // namespace softmax_native::cpu
