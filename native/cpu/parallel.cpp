// Threads by OpenMP.
#include "parallel.h"

#include <strings.h>

#include <cstdlib>

#include "cpu.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace softmax_native::cpu {
namespace {

// What idle OpenMP threads do between calls, as OMP_WAIT_POLICY says. Read when the library is loaded, which is when the
// OpenMP runtime reads it too.
enum class Idle { sleep, spin, unknown };

Idle idle_threads() {
  const char* policy = std::getenv("OMP_WAIT_POLICY");
  if (!policy) return Idle::unknown;
  return strcasecmp(policy, "active") == 0 ? Idle::spin : Idle::sleep;
}

// Left to its default the runtime lets threads spin for milliseconds after each call; ending them after each call made
// calls of 0.2 milliseconds take 8. So there is one thread then.
const Idle kIdle = idle_threads();

}  // namespace

bool has_threads() {
#if defined(_OPENMP)
  return kIdle != Idle::unknown;
#else
  return false;
#endif
}

bool passive_wait() { return kIdle != Idle::spin; }

void parallel_ranges(int64_t items, int threads, void (*work)(void* context, int64_t begin, int64_t end),
                     void* context) {
  if (threads > items) threads = static_cast<int>(items);
#if defined(_OPENMP)
  if (threads > 1 && has_threads()) {
#pragma omp parallel num_threads(threads)
    {
      const int64_t team = omp_get_num_threads();
      const int64_t self = omp_get_thread_num();
      const int64_t share = items / team, extra = items % team;
      const int64_t begin = self * share + (self < extra ? self : extra);
      work(context, begin, begin + share + (self < extra ? 1 : 0));
    }
    return;
  }
#endif
  if (items > 0) work(context, 0, items);
}

}  // namespace softmax_native::cpu
