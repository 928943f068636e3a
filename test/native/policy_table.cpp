// Prints how the launch policy (native/cuda/policy.h) treats rows of every length on each GPU, as JSON: ranges of
// lengths with one regime, and over each range what its plans are predicted to do at worst. Softmax over the last axis
// and over others, for many rows ("bytes" together) and few; row max; the Jacobian.
//
// `policy_table plans` checks instead that the plans of a few hundred thousand arrays can be launched, leave no row out,
// and have room for all that the kernels put into shared memory.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "../emulator/presets.h"
#include "cuda/policy.h"

using namespace softmax_native::cuda;

namespace {

constexpr int64_t kManyBytes = 256 << 20;
constexpr int64_t kFewJacobianBytes = 16 << 20;

// What a plan is, in a word, and what is expected of it.
struct Expected {
  std::string regime;
  double passes;
  double bytes_in_flight;
  double seconds;    // 0 where it is not predicted
  double blocks;     // for each multiprocessor, at the last length
  double registers;  // that the policy counts with
  double shared_bytes;
};

struct Range {
  int64_t first = 0, last = 0;
  Expected worst;
  double largest_step = 1;  // of the predicted time for an element, from one length to the next
};

void print(const Range& range, bool first) {
  const Expected& worst = range.worst;
  std::printf(
      "%s{\"first\":%lld,\"last\":%lld,\"regime\":\"%s\",\"passes\":%.3f,\"bytesInFlight\":%.0f,\"step\":%.3f,"
      "\"blocks\":%.2f,\"registers\":%.0f,\"sharedBytes\":%.0f}",
      first ? "" : ",", static_cast<long long>(range.first), static_cast<long long>(range.last), worst.regime.c_str(),
      worst.passes, worst.bytes_in_flight, range.largest_step, worst.blocks, worst.registers, worst.shared_bytes);
}

template <class Expect>
void print_ranges(int64_t longest, Expect expect) {
  Range range;
  bool any = false;
  double before = 0;
  for (int64_t k = 1; k <= longest; k++) {
    const Expected expected = expect(k);
    const double step = before > 0 ? std::max(expected.seconds / before, 1.0) : 1;
    before = expected.seconds;
    if (expected.regime != range.worst.regime) {
      if (range.first > 0) print(range, !any), any = true;
      range = {k, k, expected, step};
    }
    range.last = k;
    range.largest_step = std::max(range.largest_step, step);
    Expected& worst = range.worst;
    worst.passes = std::max(worst.passes, expected.passes);
    worst.bytes_in_flight = std::min(worst.bytes_in_flight, expected.bytes_in_flight);
    worst.blocks = expected.blocks;
    worst.registers = std::max(worst.registers, expected.registers);
    worst.shared_bytes = std::max(worst.shared_bytes, expected.shared_bytes);
  }
  print(range, !any);
}

double per_multiprocessor(int64_t blocks, const DeviceProperties& device) {
  return static_cast<double>(blocks) / device.multiprocessors;
}

Expected softmax_expected(Layout layout, int64_t element_size, const DeviceProperties& device) {
  const Plan plan = softmax_plan(layout, element_size, device);
  const Prediction predicted = predict(plan, layout, element_size, device);
  std::string regime = name_of(plan.regime);
  if (plan.blocks_per_row > 1) regime += " x" + std::to_string(plan.blocks_per_row);
  return {regime,
          predicted.passes,
          predicted.bytes_in_flight,
          predicted.seconds / static_cast<double>(layout.outer * layout.k * layout.inner),
          per_multiprocessor(plan.blocks, device),
          static_cast<double>(policy::registers_per_thread(plan, element_size, device.compute_capability)),
          static_cast<double>(plan.shared_bytes)};
}

Expected row_max_expected(Layout layout, int64_t element_size, const DeviceProperties& device) {
  const RowMaxPlan plan = row_max_plan(layout, device);
  const std::string regime = layout.k < 4             ? "rows of 1 to 3"
                             : plan.columns > 0       ? "columns"
                             : plan.lanes_per_row > 0 ? "lanes"
                                                      : "blocks";
  const double in_flight = row_max_bytes_in_flight(plan, layout, element_size, device);
  return {plan.slices > 1 ? regime + " in slices" : regime,
          1,
          in_flight,
          0,
          per_multiprocessor(plan.blocks, device),
          static_cast<double>(row_max_registers(plan, element_size, device.compute_capability)),
          0};
}

Expected jacobian_expected(int64_t rows, int64_t k, int64_t element_size, const DeviceProperties& device) {
  if (!jacobian_in_tiles(rows, k, element_size, device)) {
    const JacobianLines lines = jacobian_lines(rows * k, k, element_size);
    const int64_t blocks = policy::ceil_div(rows * k, lines.per_block) * lines.parts_of_line;
    return {"stream", 1, 0, 0, per_multiprocessor(blocks, device), 0, 0};
  }
  const Plan plan = jacobian_plan(rows, k, element_size, device);
  // Tiles end where a line does, or are of hundreds of lines, of which two are written in part.
  const int64_t bytes = plan.tile_outer * k * k * element_size;
  const bool whole = bytes % 128 == 0 || bytes >= 256 * 128 || plan.blocks == 1;
  return {whole ? "tile" : "tile of part lines", 1, 0, 0, per_multiprocessor(plan.blocks, device), 0,
          static_cast<double>(plan.shared_bytes)};
}

// What is wrong with the plan, or null.
const char* fault_of(const Plan& plan, Layout layout, int64_t element_size, const DeviceProperties& device) {
  const int64_t chunks = policy::ceil_div(layout.k, kChunkColumns);
  if (plan.shared_bytes > device.shared_per_block) return "more shared memory than a block may have";
  if (plan.blocks < 1 || plan.blocks > INT32_MAX) return "no number of blocks";
  const bool in_tiles =
      plan.regime == Regime::tile || plan.regime == Regime::columns || plan.regime == Regime::split_columns;
  if (!in_tiles) return nullptr;

  const int64_t rows = plan.tile_outer * plan.tile_inner;
  const int64_t tiles =
      policy::ceil_div(layout.outer, plan.tile_outer) * policy::ceil_div(layout.inner, plan.tile_inner);
  if (plan.tile_inner < 1 || plan.tile_inner > layout.inner || plan.tile_outer > layout.outer)
    return "no size of a tile";
  if (plan.rows_per_block != rows) return "another number of rows";
  if (plan.regime == Regime::tile) {
    if (plan.warps > 4) return "more threads than the kernel is compiled for";
    if (plan.blocks != tiles) return "rows without a block";
    const bool terms = policy::terms_in_memory(layout.k, element_size);
    if (!terms && plan.elements * plan.lanes_per_row < layout.k) return "columns without a register";
    const bool span = plan.tile_inner == layout.inner && plan.stride == layout.inner;
    if (!span && (plan.tile_outer > 1 || plan.stride < plan.tile_inner)) return "lines that overlap";
    // A span may begin anywhere in its first 16 bytes.
    const int64_t logits =
        span ? rows * layout.k * element_size + 16 - element_size : layout.k * plan.stride * element_size;
    if (terms ? plan.tail_offset * element_size < logits : plan.tail_offset != 0) return "tails among the logits";
    const int64_t end = terms ? (plan.tail_offset + rows * layout.k) * element_size : logits;
    return end > plan.shared_bytes ? "a tile larger than its memory" : nullptr;
  }
  if (plan.tile_inner > plan.warps * 32) return "fewer threads than adjacent rows";
  if (plan.warps > 16) return "more threads than the kernel is compiled for";
  if (plan.regime == Regime::split_columns) {
    if (plan.warps < rows || plan.stride < kChunkColumns) return "rows without a warp or room";
    if (plan.slices * plan.chunks_per_block < chunks || plan.blocks != tiles * plan.slices) return "chunks left out";
    return rows * plan.stride * element_size > plan.shared_bytes ? "a tile larger than its memory" : nullptr;
  }
  if (plan.blocks_per_row * plan.chunks_per_block < chunks || plan.blocks != tiles * plan.blocks_per_row)
    return "chunks left out";
  if (plan.stride < std::min(layout.k, plan.chunks_per_block * kChunkColumns)) return "rows that overlap";
  const int64_t logits = policy::ceil_div(rows * plan.stride * element_size, 16) * 16;
  const int64_t sums = rows * (chunks + 1) * policy::kSlotScalars * element_size;
  return logits + sums > plan.shared_bytes ? "a tile larger than its memory" : nullptr;
}

int64_t wrong_plans = 0;

// Of arrays of all kinds of lengths and widths; returns how many there were.
int64_t check_plans(const char* name, const DeviceProperties& device) {
  int64_t plans = 0;
  for (int64_t k = 1; k < 70'000; k += k < 300 ? 1 : k < 1100 ? 7 : k / 9) {
    for (int64_t inner = 1; inner < 5000; inner += inner < 70 ? 1 : inner / 3) {
      for (const int64_t outer : {1, 3, 70, 10'000}) {
        for (const int64_t size : {4, 8}) {
          const Layout layout{outer, k, inner};
          const char* const fault = fault_of(softmax_plan(layout, size, device), layout, size, device);
          plans++;
          if (fault == nullptr || ++wrong_plans > 20) continue;
          std::printf("%s, (%lld, %lld, %lld) of %lld bytes: %s\n", name, static_cast<long long>(outer),
                      static_cast<long long>(k), static_cast<long long>(inner), static_cast<long long>(size), fault);
        }
      }
    }
  }
  return plans;
}

bool first_table = true;

template <class Expect>
void print_table(const char* name, const char* operation, int64_t element_size, const char* rows, int64_t inner,
                 int64_t longest, Expect expect) {
  std::printf(
      "%s{\"device\":\"%s\",\"operation\":\"%s\",\"elementSize\":%lld,\"rows\":\"%s\",\"inner\":%lld,\"ranges\":[",
      first_table ? "" : ",\n", name, operation, static_cast<long long>(element_size), rows,
      static_cast<long long>(inner));
  first_table = false;
  print_ranges(longest, expect);
  std::printf("]}");
}

}  // namespace

int main(int argc, char** argv) {
  const bool only_check = argc > 1 && std::strcmp(argv[1], "plans") == 0;
  int64_t plans = 0;
  if (!only_check) std::printf("[");
  for (const char* name : {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90 (H200)", "sm_100", "sm_120"}) {
    const std::string architecture(name, std::strcspn(name, " "));
    const emulated::Preset& preset = *emulated::find_preset(architecture);
    const int capability = preset.major * 10 + preset.minor;
    const DeviceProperties device = {capability,
                                     largest_cluster(capability, capability),
                                     preset.multiprocessors,
                                     static_cast<int64_t>(preset.shared_per_block),
                                     static_cast<int64_t>(preset.shared_per_multiprocessor),
                                     static_cast<int64_t>(preset.l2_bytes),
                                     architecture == name ? preset.memory_bus_bits : 6144};
    if (only_check) {
      plans += check_plans(name, device);
      continue;
    }
    for (const int64_t size : {4, 8}) {
      // Along the last axis, and other ones, narrow and wide, of whole sectors and not: as many rows as make
      // kManyBytes, or no more than four.
      for (const int64_t inner : {1, 9, 64}) {
        constexpr int64_t longest = 300'000;
        const auto many = [&](int64_t k) {
          return Layout{std::max<int64_t>(1, kManyBytes / (k * inner * size)), k, inner};
        };
        const auto few = [&](int64_t k) { return Layout{inner == 1 ? 4 : 1, k, inner}; };
        print_table(name, "softmax", size, "many", inner, longest,
                    [&](int64_t k) { return softmax_expected(many(k), size, device); });
        print_table(name, "softmax", size, "few", inner, longest,
                    [&](int64_t k) { return softmax_expected(few(k), size, device); });
        print_table(name, "rowMax", size, "many", inner, longest,
                    [&](int64_t k) { return row_max_expected(many(k), size, device); });
        print_table(name, "rowMax", size, "few", inner, longest,
                    [&](int64_t k) { return row_max_expected(few(k), size, device); });
      }
      for (const int64_t result_bytes : {kManyBytes, kFewJacobianBytes}) {
        print_table(name, "jacobian", size, result_bytes == kManyBytes ? "many" : "few", 1, 2000, [&](int64_t k) {
          return jacobian_expected(std::max<int64_t>(1, result_bytes / (k * k * size)), k, size, device);
        });
      }
    }
  }
  if (only_check) {
    std::printf("%lld plans, %lld wrong\n", static_cast<long long>(plans), static_cast<long long>(wrong_plans));
    return wrong_plans > 0;
  }
  std::printf("]\n");
  return 0;
}
