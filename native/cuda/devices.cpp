#include "devices.h"

#include <algorithm>
#include <limits>

#include "launch.h"
#include "memory.h"

namespace softmax_native::cuda {
namespace {

// The driver that the CUDA runtime in this library needs at least.
#if CUDART_VERSION >= 13000
constexpr auto kMinimumDriver = "r580";
#elif CUDART_VERSION >= 12000
constexpr auto kMinimumDriver = "r525";
#else
#error "softmax-native needs CUDA 12 or later"
#endif

// What the pool keeps of unused memory for good: the three batches of a call on host arrays and a workspace. To give
// memory back to the driver and to get it again may cost milliseconds, more than a kernel takes, so the pool holds more
// than this for a while (kGiveBackPeriod); but other processes and other libraries need the GPU's memory as well.
constexpr int64_t kKept = int64_t{32} << 20;

// As a part of a sentence.
std::string description_of(const Error& error) {
  return error.action + " failed: " + error_name(error.code) + " (" + std::to_string(error.code) +
         "): " + error_text(error.code);
}

std::string version_text(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

// cudaComputeModeProhibited. In the exclusive mode a device can be used while no other process does, which its start
// tells.
constexpr int kComputeModeProhibited = 2;

// 0 where it is not known.
int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  if (cudaDeviceGetAttribute(&value, which, device) == cudaSuccess) return value;
  cudaGetLastError();
  return 0;
}

// Every function used here works without a context.
Device* describe_device(int index) {
  auto* device = new Device;
  device->index = index;
  cudaDeviceProp properties;
  if (const Error error = error_of(cudaGetDeviceProperties(&properties, index), "reading the device's properties")) {
    device->unusable = description_of(error);
    device->memory = 0;
    device->has_pools = false;
    device->properties = {};
    return device;
  }
  device->name = properties.name;
  device->memory = static_cast<int64_t>(properties.totalGlobalMem);
  device->has_pools = attribute(cudaDevAttrMemoryPoolsSupported, index) != 0;
  device->compute_capability = properties.major * 10 + properties.minor;
  device->properties.compute_capability = device->compute_capability;
  device->properties.largest_cluster = 1;  // until it is known which code runs
  device->properties.multiprocessors = properties.multiProcessorCount;
  device->properties.shared_per_block = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  device->properties.shared_per_multiprocessor = static_cast<int64_t>(properties.sharedMemPerMultiprocessor);
  device->properties.l2_bytes = properties.l2CacheSize;
  device->properties.memory_bus_bits = properties.memoryBusWidth;
  if (device->compute_capability < SOFTMAX_CUDA_LOWEST_ARCHITECTURE) {
    device->unusable = "its compute capability " + version_text(device->compute_capability) + " is below " +
                       version_text(SOFTMAX_CUDA_LOWEST_ARCHITECTURE) + ", the lowest that this build has kernels for";
  } else if (attribute(cudaDevAttrComputeMode, index) == kComputeModeProhibited) {
    device->unusable = "its compute mode is 'prohibited' (nvidia-smi --compute-mode changes it)";
  }
  return device;
}

Machine* look_for_devices() {
  auto* found = new Machine;
  if (cudaRuntimeGetVersion(&found->runtime_version) != cudaSuccess) cudaGetLastError();
  if (cudaDriverGetVersion(&found->driver_version) != cudaSuccess) cudaGetLastError();
  int count = 0;  // which an error leaves as it is
  found->error = error_of(cudaGetDeviceCount(&count), "looking for CUDA devices");
  if (found->error) return found;
  for (int index = 0; index < count; index++) found->devices.push_back(describe_device(index));
  return found;
}

#ifndef SOFTMAX_EMULATED_CUDA
// The driver's functions for the thread's current context (CUresult and CUcontext are an int and a pointer to it). They
// are asked of the runtime, as this library is to load where there is no driver; null there.
struct Driver {
  int (*get_current)(void** context);
  int (*set_current)(void* context);
};

void* driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result;
#if CUDART_VERSION >= 12050
  const cudaError_t status = cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &result);
#else
  const cudaError_t status = cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &result);
#endif
  if (status != cudaSuccess) cudaGetLastError();
  return status == cudaSuccess && result == cudaDriverEntryPointSuccess ? function : nullptr;
}

const Driver& driver() {
  static const Driver functions{reinterpret_cast<int (*)(void**)>(driver_function("cuCtxGetCurrent")),
                                reinterpret_cast<int (*)(void*)>(driver_function("cuCtxSetCurrent"))};
  return functions;
}
#endif

std::mutex looking;
std::atomic<Machine*> found_machine{nullptr};

}  // namespace

Machine& machine() {
  if (Machine* found = found_machine.load(std::memory_order_acquire)) return *found;
  const std::lock_guard<std::mutex> lock(looking);
  if (found_machine.load() == nullptr) found_machine.store(look_for_devices(), std::memory_order_release);
  return *found_machine.load();
}

Error find_device(int index, Device** device) {
  Machine& found = machine();
  if (found.error) return found.error;
  if (index < 0 || static_cast<size_t>(index) >= found.devices.size()) {
    return {cudaErrorInvalidDevice, "choosing CUDA device " + std::to_string(index)};
  }
  *device = found.devices[static_cast<size_t>(index)];
  return {};
}

Error Device::enter() {
  if (is_broken_) return broken();
  if (started_) return check(cudaSetDevice(index), "choosing the CUDA device");
  return start();
}

Error Device::start() {
  const std::lock_guard<std::mutex> lock(mutex_);
  // An error here may pass, for instance when another process has the device for itself, so it breaks nothing.
  if (!unusable.empty()) {
    return {cudaErrorNoKernelImageForDevice, "using a GPU of compute capability " + version_text(compute_capability)};
  }
  RETURN_ERROR(error_of(cudaSetDevice(index), "choosing the CUDA device"));
  if (started_) return {};
  RETURN_ERROR(error_of(cudaFree(nullptr), "making a CUDA context"));
  notice_end_of_process();
  int compiled_for = 0;
  RETURN_ERROR(error_of(compiled_capability(&compiled_for), "loading the kernels"));
  properties.compute_capability = planned_capability(compute_capability, compiled_for);
  const int cluster = largest_cluster(compute_capability, compiled_for);
  RETURN_ERROR(error_of(launchable_cluster(properties, cluster, &properties.largest_cluster), "loading the kernels"));
  if (has_pools) {
    cudaMemPoolProps pool_properties{};
    pool_properties.allocType = cudaMemAllocationTypePinned;
    pool_properties.location.type = cudaMemLocationTypeDevice;
    pool_properties.location.id = index;
    // It would give back everything above its threshold whenever somebody waits for a stream: in the midst of a loop that
    // looks at every result. give_back() does it instead.
    auto kept = std::numeric_limits<uint64_t>::max();
    if (pool_ == nullptr) {
      RETURN_ERROR(error_of(cudaMemPoolCreate(&pool_, &pool_properties), "making a pool of device memory"));
    }
    RETURN_ERROR(error_of(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &kept),
                          "setting up the pool of device memory"));
  }
  started_ = true;
  return {};
}

Error Device::failed(cudaError_t status, std::string action) {
  // Otherwise whoever asks for the last error next would take this one for its own.
  cudaGetLastError();
  Error error{status, std::move(action)};
  // A dead context answers every call with its error, a living one tells whether the stream is busy.
  const cudaError_t now = cudaStreamQuery(nullptr);
  if (now != cudaSuccess) cudaGetLastError();
  // While others in the process capture a graph it says that it may not be asked.
  const bool is_captured = now >= cudaErrorStreamCaptureUnsupported && now <= cudaErrorStreamCaptureWrongThread;
  if (now != cudaSuccess && now != cudaErrorNotReady && !is_captured) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!is_broken_) first_error_ = error;
    is_broken_ = true;
  }
  return error;
}

Error Device::broken() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return {first_error_.code, "using CUDA device " + std::to_string(index) + " again after " + first_error_.action};
}

void Device::destroy_pool() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (pool_ != nullptr) cudaMemPoolDestroy(pool_);
  pool_ = nullptr;
}

void Device::count_allocated(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(counting_);
  in_use_ += bytes;
  most_in_use_ = std::max(most_in_use_, in_use_);
  held_ = std::max(held_, in_use_);
}

bool Device::count_released(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(counting_);
  in_use_ -= bytes;
  return pool_ != nullptr && held_ > in_use_ + kKept;
}

bool Device::give_back() {
  const std::lock_guard<std::mutex> lock(counting_);
  const int64_t keep = most_in_use_ + kKept;
  most_in_use_ = in_use_;
  if (pool_ != nullptr && cudaMemPoolTrimTo(pool_, static_cast<size_t>(keep)) != cudaSuccess) cudaGetLastError();
  held_ = std::min(held_, keep);
  return keep > in_use_ + kKept;
}

void Device::give_back_all() {
  const std::lock_guard<std::mutex> lock(counting_);
  if (pool_ != nullptr && cudaMemPoolTrimTo(pool_, 0) != cudaSuccess) cudaGetLastError();
  held_ = most_in_use_ = in_use_;
}

std::string Device::reason() {
  if (!unusable.empty()) return unusable;
  if (!is_broken_) return {};
  const std::lock_guard<std::mutex> lock(mutex_);
  return description_of(first_error_);
}

Info info() {
  Machine& found = machine();
  Info info{true, found.runtime_version, found.driver_version, kMinimumDriver, found.error, {}};
  for (Device* device : found.devices) {
    info.devices.push_back({device->name, device->compute_capability, device->memory,
                            device->properties.multiprocessors, device->reason()});
  }
  return info;
}

#ifdef SOFTMAX_EMULATED_CUDA

CallersDevice::CallersDevice() : known_(cudaGetDevice(&current_) == cudaSuccess) {
  if (!known_) cudaGetLastError();
}

CallersDevice::~CallersDevice() {
  if (known_ && cudaSetDevice(current_) != cudaSuccess) cudaGetLastError();
}

#else

CallersDevice::CallersDevice()
    : known_(driver().get_current != nullptr && driver().set_current != nullptr &&
             driver().get_current(&current_) == 0) {}

CallersDevice::~CallersDevice() {
  if (known_) driver().set_current(current_);
}

#endif

#ifdef SOFTMAX_EMULATED_CUDA
int current_device() {
  int device = -1;
  if (cudaGetDevice(&device) != cudaSuccess) cudaGetLastError();
  return device;
}

void set_current_device(int device) {
  if (cudaSetDevice(device) != cudaSuccess) cudaGetLastError();
}
#endif

void forget_machine() {
  const std::lock_guard<std::mutex> lock(looking);
  Machine* found = found_machine.exchange(nullptr);
  if (found == nullptr) return;
  for (Device* device : found->devices) device->destroy_pool();
}

bool take_warning() {
  static std::atomic<bool> taken{false};
  return !taken.exchange(true);
}

bool is_started(int index) {
  Device* device = nullptr;
  return !find_device(index, &device) && device->started();
}

std::string error_name(int code) { return cudaGetErrorName(static_cast<cudaError_t>(code)); }

std::string error_text(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

std::string message_of(const Error& error) {
  std::string text = description_of(error);
  if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

}  // namespace softmax_native::cuda
