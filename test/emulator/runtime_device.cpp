// Devices and versions.
#include <cstring>

#include "machine.h"
#include "streams.h"

using namespace emulated;

namespace {

constexpr int kDriverVersion = 13000;
constexpr int kOldDriverVersion = 12000;
constexpr int kRegisters = 65536;
constexpr int kMostThreads = 1024;
constexpr int kComputeModeProhibited = 2;

bool exists(int device) { return device >= 0 && device < machine().settings.devices; }

cudaError_t find_attribute(int* value, cudaDeviceAttr attribute) {
  const Preset& preset = *machine().preset;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = kMostThreads;
      break;
    case cudaDevAttrMaxGridDimX:
      *value = INT32_MAX;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(kSharedWithoutOptIn);
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      *value = kRegisters;
      break;
    case cudaDevAttrClockRate:
      *value = preset.clock_khz;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = machine().multiprocessors();
      break;
    case cudaDevAttrIntegrated:
      *value = 0;
      break;
    case cudaDevAttrComputeMode:
      *value = machine().settings.compute_mode;
      break;
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      break;
    case cudaDevAttrMemoryClockRate:
      *value = preset.memory_clock_khz;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = preset.memory_bus_bits;
      break;
    case cudaDevAttrL2CacheSize:
      *value = preset.l2_bytes;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = preset.threads_per_multiprocessor;
      break;
    case cudaDevAttrAsyncEngineCount:
      *value = 3;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = preset.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = preset.minor;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(preset.shared_per_multiprocessor);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(preset.shared_per_block);
      break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      *value = preset.major >= 8 ? 1024 : 0;
      break;
    case cudaDevAttrClusterLaunch:
      *value = preset.largest_cluster > 0;
      break;
    default:
      return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

int attribute(cudaDeviceAttr which) {
  int value = 0;
  find_attribute(&value, which);
  return value;
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return runtime_call("cudaGetDeviceCount", Needs::driver, false, [&](Lock&) {
    *count = machine().settings.devices;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return runtime_call("cudaGetDevice", Needs::driver, false, [&](Lock&) {
    *device = current_device();
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return runtime_call("cudaSetDevice", Needs::driver, false, [&](Lock&) {
    if (!exists(device)) return cudaErrorInvalidDevice;
    if (machine().settings.compute_mode == kComputeModeProhibited) return cudaErrorDevicesUnavailable;
    set_current_device(device);
    return machine().devices[device].lost;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return runtime_call("cudaGetDeviceProperties", Needs::driver, false, [&](Lock&) {
    if (!exists(device)) return cudaErrorInvalidDevice;
    const Preset& preset = *machine().preset;
    *properties = {};
    std::strncpy(properties->name, preset.name, sizeof properties->name - 1);
    properties->totalGlobalMem = machine().memory();
    properties->sharedMemPerBlock = kSharedWithoutOptIn;
    properties->regsPerBlock = kRegisters;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = kMostThreads;
    properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = kMostThreads;
    properties->maxThreadsDim[2] = 64;
    properties->maxGridSize[0] = INT32_MAX;
    properties->maxGridSize[1] = properties->maxGridSize[2] = UINT16_MAX;
    properties->major = preset.major;
    properties->minor = preset.minor;
    properties->multiProcessorCount = machine().multiprocessors();
    properties->canMapHostMemory = 1;
    properties->concurrentKernels = 1;
    properties->pciBusID = device + 1;
    properties->asyncEngineCount = attribute(cudaDevAttrAsyncEngineCount);
    properties->unifiedAddressing = 1;
    properties->memoryBusWidth = preset.memory_bus_bits;
    properties->l2CacheSize = preset.l2_bytes;
    properties->maxThreadsPerMultiProcessor = preset.threads_per_multiprocessor;
    properties->sharedMemPerMultiprocessor = preset.shared_per_multiprocessor;
    properties->regsPerMultiprocessor = kRegisters;
    properties->sharedMemPerBlockOptin = preset.shared_per_block;
    properties->reservedSharedMemPerBlock = static_cast<size_t>(attribute(cudaDevAttrReservedSharedMemoryPerBlock));
    properties->memoryPoolsSupported = 1;
    properties->clusterLaunch = preset.largest_cluster > 0;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return runtime_call("cudaDeviceGetAttribute", Needs::driver, false, [&](Lock&) {
    return exists(device) ? find_attribute(value, attribute) : cudaErrorInvalidDevice;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  return runtime_call("cudaDriverGetVersion", Needs::nothing, false, [&](Lock&) {
    const Driver driver = machine().settings.driver;
    *version = driver == Driver::ok ? kDriverVersion : driver == Driver::old ? kOldDriverVersion : 0;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return runtime_call("cudaRuntimeGetVersion", Needs::nothing, false, [&](Lock&) {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize(void) {
  return device_call("cudaDeviceSynchronize", [&](Lock& lock) { return synchronize_device(lock, current_device()); });
}

}  // extern "C"
