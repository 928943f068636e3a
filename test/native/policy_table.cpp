// Prints how the launch policy (native/cuda/policy.h) treats rows of every length from 1 to 300,000 on each GPU, as JSON:
// ranges of lengths with one regime, and over each range the passes over memory and the bytes in flight that the plan is
// predicted to have. Rows are as many as make 256 MB, or few ("rows": 4).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "../emulator/presets.h"
#include "cuda/policy.h"

using namespace softmax_native::cuda;

namespace {

constexpr int64_t kLongest = 300'000;

struct Range {
  int64_t first = 0, last = 0;
  std::string regime;
  double most_passes = 0;
  double least_in_flight = 0;
  double largest_step = 1;  // of the predicted time for an element, from one length to the next
};

void print(const Range& range, bool first) {
  std::printf("%s{\"first\":%lld,\"last\":%lld,\"regime\":\"%s\",\"passes\":%.3f,\"bytesInFlight\":%.0f,\"step\":%.3f}",
              first ? "" : ",", static_cast<long long>(range.first), static_cast<long long>(range.last),
              range.regime.c_str(), range.most_passes, range.least_in_flight, range.largest_step);
}

void print_table(const char* name, const DeviceProperties& device, int64_t element_size, int64_t fixed_rows) {
  std::printf("{\"device\":\"%s\",\"elementSize\":%lld,\"rows\":%lld,\"ranges\":[", name,
              static_cast<long long>(element_size), static_cast<long long>(fixed_rows));
  Range range;
  bool any = false;
  double before = 0;
  for (int64_t k = 1; k <= kLongest; k++) {
    const int64_t rows = fixed_rows > 0 ? fixed_rows : std::max<int64_t>(1, (256 << 20) / (k * element_size));
    const Layout layout{rows, k, 1};
    const Plan plan = softmax_plan(layout, element_size, device);
    const Prediction predicted = predict(plan, layout, element_size, device);
    std::string regime = name_of(plan.regime);
    if (plan.blocks_per_row > 1) regime += " x" + std::to_string(plan.blocks_per_row);
    const double time = predicted.seconds / static_cast<double>(rows * k);
    const double step = before > 0 ? std::max(time / before, 1.0) : 1;
    before = time;
    if (regime != range.regime) {
      if (range.first > 0) print(range, !any), any = true;
      range = {k, k, regime, predicted.passes, predicted.bytes_in_flight, step};
    }
    range.last = k;
    range.most_passes = std::max(range.most_passes, predicted.passes);
    range.least_in_flight = std::min(range.least_in_flight, predicted.bytes_in_flight);
    range.largest_step = std::max(range.largest_step, step);
  }
  print(range, !any);
  std::printf("]}");
}

}  // namespace

int main() {
  bool first = true;
  std::printf("[");
  for (const char* name : {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"}) {
    const emulated::Preset& preset = *emulated::find_preset(name);
    const int capability = preset.major * 10 + preset.minor;
    const DeviceProperties device = {capability,
                                     largest_cluster(capability, capability),
                                     preset.multiprocessors,
                                     static_cast<int64_t>(preset.shared_per_block),
                                     static_cast<int64_t>(preset.shared_per_multiprocessor),
                                     static_cast<int64_t>(preset.l2_bytes)};
    for (const int64_t element_size : {4, 8}) {
      for (const int64_t rows : {0, 4}) {
        std::printf(first ? "" : ",\n");
        first = false;
        print_table(name, device, element_size, rows);
      }
    }
  }
  std::printf("]\n");
  return 0;
}
