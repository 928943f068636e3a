// How other threads watch a call that computes in the background, and stop it.
#pragma once

#include <atomic>
#include <cstdint>

namespace softmax_native {

struct Control {
  // Set by whoever no longer wants the result: the call ends soon, and what it has written is of no use.
  std::atomic<bool> stopped{false};
  // Elements that are done, of x or of the Jacobian. It only grows, and may exceed their number by a step.
  std::atomic<int64_t> done{0};
};

inline bool is_stopped(const Control* control) { return control != nullptr && control->stopped; }

}  // namespace softmax_native
