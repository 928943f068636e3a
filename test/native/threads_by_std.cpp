// Threads by the standard library, in place of native/cpu/parallel.cpp, for ThreadSanitizer: it knows how these threads
// wait for each other, while it takes the futexes of GCC's OpenMP runtime for nothing and reports races that are none.
// Which ranges there are is the same.
#include <thread>
#include <vector>

#include "cpu/cpu.h"
#include "cpu/parallel.h"

namespace softmax_native::cpu {

bool has_threads() { return true; }

bool passive_wait() { return true; }

void parallel_ranges(int64_t items, int threads, void (*work)(void* context, int64_t begin, int64_t end),
                     void* context) {
  if (items <= 0) return;
  const int64_t team = threads < items ? threads : items;
  const int64_t share = items / team, extra = items % team;
  const auto range = [=](int64_t self) {
    const int64_t begin = self * share + (self < extra ? self : extra);
    work(context, begin, begin + share + (self < extra ? 1 : 0));
  };
  std::vector<std::thread> others;
  for (int64_t self = 1; self < team; self++) others.emplace_back(range, self);
  range(0);
  for (std::thread& other : others) other.join();
}

}  // namespace softmax_native::cpu
