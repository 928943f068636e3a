// Kernel launches: what the runtime refuses, and what it enqueues.
#include <algorithm>
#include <map>
#include <memory>
#include <tuple>

#include "copies.h"
#include "findings.h"
#include "grid.h"
#include "kernel_name.h"
#include "machine.h"
#include "shadow.h"
#include "streams.h"

using namespace emulated;

namespace {

constexpr unsigned kMostThreads = 1024;

struct KernelLimits {
  size_t shared_bytes = kSharedWithoutOptIn;
  bool any_cluster_size = false;
};

// Of a kernel on the current device: what is set for one device says nothing of another.
KernelLimits& limits_of(const void* kernel) {
  static auto* limits = new std::map<std::tuple<const Preset*, int, const void*>, KernelLimits>;
  return (*limits)[{machine().preset, current_device(), kernel}];
}

dim3 cluster_of(const cudaLaunchConfig_t& config) {
  for (unsigned i = 0; i < config.numAttrs; i++) {
    const auto& value = config.attrs[i].val.clusterDim;
    if (config.attrs[i].id == cudaLaunchAttributeClusterDimension) return dim3(value.x, value.y, value.z);
  }
  return dim3(1);
}

bool is_grid(dim3 grid) {
  return grid.x > 0 && grid.x <= INT32_MAX && grid.y > 0 && grid.y <= UINT16_MAX && grid.z > 0 && grid.z <= UINT16_MAX;
}

bool is_block(dim3 block) {
  return block.x > 0 && block.x <= kMostThreads && block.y > 0 && block.y <= kMostThreads && block.z > 0 &&
         block.z <= 64 && block.x * block.y * block.z <= kMostThreads;
}

// The largest cluster that the device runs this kernel in. The blocks of a cluster run in one group of multiprocessors,
// so that a GPU that is cut into small partitions may have smaller ones than its generation promises.
unsigned largest_cluster(const KernelLimits& limits) {
  const int allowed = limits.any_cluster_size ? machine().preset->largest_cluster : kLargestPortableCluster;
  const int there = machine().settings.cluster;
  return static_cast<unsigned>(there != 0 ? std::min(there, allowed) : allowed);
}

cudaError_t check_cluster(dim3 grid, dim3 cluster, const KernelLimits& limits) {
  if (cluster.x == 1 && cluster.y == 1 && cluster.z == 1) return cudaSuccess;
  if (machine().preset->largest_cluster == 0) return cudaErrorNotSupported;
  if (cluster.x == 0 || cluster.y != 1 || cluster.z != 1) return cudaErrorInvalidValue;
  if (grid.x % cluster.x != 0) return cudaErrorInvalidClusterSize;
  return cluster.x > largest_cluster(limits) ? cudaErrorInvalidClusterSize : cudaSuccess;
}

cudaError_t check_block(const cudaLaunchConfig_t& config, const void* kernel, const KernelLimits& limits) {
  const dim3 block = config.blockDim;
  if (!is_block(block)) return cudaErrorInvalidConfiguration;
  if (block.x * block.y * block.z > kernel_symbol(kernel).most_threads) return cudaErrorInvalidValue;
  return config.dynamicSmemBytes > limits.shared_bytes ? cudaErrorInvalidValue : cudaSuccess;
}

// Of a kernel, with nothing but threads and shared memory to limit them.
uint64_t blocks_per_multiprocessor(const cudaLaunchConfig_t& config) {
  const Preset& preset = *machine().preset;
  const uint64_t threads = uint64_t(config.blockDim.x) * config.blockDim.y * config.blockDim.z;
  const uint64_t by_threads = static_cast<unsigned>(preset.threads_per_multiprocessor) / threads;
  const size_t reserved = preset.shared_per_multiprocessor - preset.shared_per_block;
  return std::min(by_threads, uint64_t(preset.shared_per_multiprocessor / (config.dynamicSmemBytes + reserved)));
}

// A GPU that has clusters runs code of earlier generations in them too, but what this code does in a cluster was compiled
// out of it.
void require_clusters_in_code(const void* kernel, unsigned cluster) {
  const int capability = machine().code_capability();
  if (cluster == 1 || capability >= 90) return;
  add_finding("clusters of old code",
              text("misuse: %s is launched in clusters of %u, which its code for %d.%d knows not",
                   kernel_name(kernel).c_str(), cluster, capability / 10, capability % 10));
}

void allow_windows(int device) {
  // The windows of device 0, of shared memory and of device 1 lie in this order.
  running.allowed_begin = window_begin(device == 0 ? Window::device0 : Window::shared);
  running.allowed_bytes = kDeviceWindow + kSharedWindow;
}

}  // namespace

namespace emulated {

cudaError_t launch(const cudaLaunchConfig_t* config, std::unique_ptr<const KernelCall> call) {
  return device_call("cudaLaunchKernelEx", [&](Lock&) {
    const auto stream = find_stream(config->stream);
    if (stream == nullptr || stream->device != current_device()) return cudaErrorInvalidResourceHandle;
    const KernelLimits& limits = limits_of(call->kernel);
    if (!is_grid(config->gridDim)) return cudaErrorInvalidConfiguration;
    const dim3 cluster = cluster_of(*config);
    cudaError_t error = check_block(*config, call->kernel, limits);
    if (error == cudaSuccess) error = check_cluster(config->gridDim, cluster, limits);
    if (error != cudaSuccess) return error;
    require_clusters_in_code(call->kernel, cluster.x);
    if (!reserve_windows()) return cudaErrorMemoryAllocation;

    machine().launches[kernel_name(call->kernel)]++;
    const std::shared_ptr<const KernelCall> shared_call = std::move(call);
    const Grid grid{shared_call.get(), config->gridDim, config->blockDim, cluster.x, config->dynamicSmemBytes};
    const int device = stream->device;
    enqueue(stream.get(), [shared_call, grid, device] {
      const cudaError_t injected_error = injected("kernel", device, false);
      if (injected_error != cudaSuccess) return injected_error;
      allow_windows(device);
      return run_grid(grid, &machine().random);
    });
    return cudaSuccess;
  });
}

}  // namespace emulated

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  return device_call("cudaFuncSetAttribute", [&](Lock&) {
    KernelLimits& limits = limits_of(kernel);
    switch (attribute) {
      case cudaFuncAttributeMaxDynamicSharedMemorySize:
        if (value < 0 || static_cast<size_t>(value) > machine().preset->shared_per_block) return cudaErrorInvalidValue;
        limits.shared_bytes = std::max(static_cast<size_t>(value), kSharedWithoutOptIn);
        return cudaSuccess;
      case cudaFuncAttributeNonPortableClusterSizeAllowed:
        if (machine().preset->largest_cluster == 0) return cudaErrorNotSupported;
        limits.any_cluster_size = value != 0;
        return cudaSuccess;
      case cudaFuncAttributePreferredSharedMemoryCarveout:
        return value < -1 || value > 100 ? cudaErrorInvalidValue : cudaSuccess;
    }
    return cudaErrorInvalidValue;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  return device_call("cudaFuncGetAttributes", [&](Lock&) {
    *attributes = {};
    attributes->maxThreadsPerBlock = static_cast<int>(kernel_symbol(kernel).most_threads);
    attributes->numRegs = 32;
    attributes->ptxVersion = machine().code_capability();
    attributes->binaryVersion = machine().compute_capability();
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(limits_of(kernel).shared_bytes);
    return cudaSuccess;
  });
}

// Both look at the kernel's attributes and at the block's size and shared memory in the configuration; the first passes
// over the cluster in it.
cudaError_t cudaOccupancyMaxPotentialClusterSize(int* blocks, const void* kernel, const cudaLaunchConfig_t* config) {
  return device_call("cudaOccupancyMaxPotentialClusterSize", [&](Lock&) {
    if (machine().preset->largest_cluster == 0) return cudaErrorNotSupported;
    const KernelLimits& limits = limits_of(kernel);
    const cudaError_t error = check_block(*config, kernel, limits);
    if (error == cudaSuccess) *blocks = static_cast<int>(largest_cluster(limits));
    return error;
  });
}

cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, const void* kernel, const cudaLaunchConfig_t* config) {
  return device_call("cudaOccupancyMaxActiveClusters", [&](Lock&) {
    if (machine().preset->largest_cluster == 0) return cudaErrorNotSupported;
    const KernelLimits& limits = limits_of(kernel);
    const dim3 cluster = cluster_of(*config);
    cudaError_t error = check_block(*config, kernel, limits);
    if (error == cudaSuccess) error = check_cluster(cluster, cluster, limits);
    if (error != cudaSuccess) return error;
    const auto multiprocessors = static_cast<unsigned>(machine().multiprocessors());
    *clusters = static_cast<int>(multiprocessors * blocks_per_multiprocessor(*config) / cluster.x);
    return cudaSuccess;
  });
}

}  // extern "C"
