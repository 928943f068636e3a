// The GPUs that the emulated device can be.
#pragma once

#include <cstddef>
#include <string>

namespace emulated {

struct Preset {
  const char* architecture;
  const char* name;
  int major, minor;
  int multiprocessors;
  size_t memory;
  size_t shared_per_block;  // with cudaFuncAttributeMaxDynamicSharedMemorySize
  size_t shared_per_multiprocessor;
  int threads_per_multiprocessor;
  int l2_bytes;
  int clock_khz;
  int memory_clock_khz;
  int memory_bus_bits;
  int largest_cluster;  // with cudaFuncAttributeNonPortableClusterSizeAllowed; 0 without clusters
};

constexpr size_t kSharedWithoutOptIn = 48 * 1024;
constexpr int kLargestPortableCluster = 8;

// Null where there is no such preset.
const Preset* find_preset(const std::string& architecture);

}  // namespace emulated
