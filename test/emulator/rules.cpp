// The emulated runtime keeps CUDA's rules: what it refuses, with which error, and what it knows of memory and streams.
// Prints the expectations that do not hold, with their lines, and ends with 1 when there are any.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "emulator.h"
#include "presets.h"

namespace {

int failures = 0;

#define EXPECT(condition) expect(condition, #condition, __LINE__)
#define EXPECT_ERROR(call, error) expect_error(call, error, #call, __LINE__)

void expect(bool holds, const char* what, int line) {
  if (holds) return;
  failures++;
  std::printf("line %d: %s\n", line, what);
}

void expect_error(cudaError_t got, cudaError_t expected, const char* what, int line) {
  if (got == expected) return;
  failures++;
  std::printf("line %d: %s gives %s, not %s\n", line, what, cudaGetErrorName(got), cudaGetErrorName(expected));
}

__global__ void nothing() {}
__global__ void write_one(float* y) {
  if (threadIdx.x == 0) *y = 1;
}
__global__ void add_one(float* y) {
  if (threadIdx.x == 0) *y += 1;
}

struct Launch {
  dim3 grid = 8;
  dim3 block = 64;
  size_t shared_bytes = 0;
  unsigned cluster = 1;
  cudaStream_t stream = nullptr;
};

// A launch in the runtime's terms.
struct Configuration {
  explicit Configuration(const Launch& launch) {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {launch.cluster, 1, 1};
    config.gridDim = launch.grid;
    config.blockDim = launch.block;
    config.dynamicSmemBytes = launch.shared_bytes;
    config.stream = launch.stream;
    config.attrs = &attribute;
    config.numAttrs = launch.cluster == 1 ? 0 : 1;
  }
  cudaLaunchAttribute attribute = {};
  cudaLaunchConfig_t config = {};
};

template <class... Parameters, class... Arguments>
cudaError_t launch(const Launch& launch, void (*kernel)(Parameters...), Arguments... arguments) {
  const Configuration configuration(launch);
  return cudaLaunchKernelEx(&configuration.config, kernel, arguments...);
}

void devices(const emulated::Preset& preset) {
  int count = 0, major = 0, clusters = -1;
  EXPECT_ERROR(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT(count == 1);
  cudaDeviceProp properties;
  EXPECT_ERROR(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT(std::strcmp(properties.name, preset.name) == 0);
  EXPECT(properties.sharedMemPerBlockOptin == preset.shared_per_block);
  EXPECT(properties.sharedMemPerMultiprocessor >= properties.sharedMemPerBlockOptin);
  EXPECT_ERROR(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), cudaSuccess);
  EXPECT(major == properties.major);
  EXPECT_ERROR(cudaDeviceGetAttribute(&clusters, cudaDevAttrClusterLaunch, 0), cudaSuccess);
  EXPECT(clusters == (major >= 9 ? 1 : 0));
  EXPECT_ERROR(cudaGetDeviceProperties(&properties, 1), cudaErrorInvalidDevice);
  EXPECT_ERROR(cudaSetDevice(1), cudaErrorInvalidDevice);
  EXPECT_ERROR(cudaSetDevice(0), cudaSuccess);
}

void last_error() {
  EXPECT_ERROR(cudaSetDevice(7), cudaErrorInvalidDevice);
  EXPECT_ERROR(cudaPeekAtLastError(), cudaErrorInvalidDevice);
  EXPECT_ERROR(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT_ERROR(cudaGetLastError(), cudaSuccess);
  EXPECT(std::strcmp(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation") == 0);
  EXPECT(std::strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory") == 0);
}

void refused_launches(const emulated::Preset& preset) {
  EXPECT_ERROR(launch({}, nothing), cudaSuccess);
  EXPECT_ERROR(launch({8, 1024}, nothing), cudaSuccess);
  EXPECT_ERROR(launch({8, 1025}, nothing), cudaErrorInvalidConfiguration);
  EXPECT_ERROR(launch({8, 0}, nothing), cudaErrorInvalidConfiguration);
  EXPECT_ERROR(launch({0, 64}, nothing), cudaErrorInvalidConfiguration);
  EXPECT_ERROR(launch({1u << 31, 64}, nothing), cudaErrorInvalidConfiguration);
  EXPECT_ERROR(launch({dim3(1, 65536), 64}, nothing), cudaErrorInvalidConfiguration);

  EXPECT_ERROR(launch({8, 64, 48 * 1024}, nothing), cudaSuccess);
  EXPECT_ERROR(launch({8, 64, 48 * 1024 + 1}, nothing), cudaErrorInvalidValue);
  const int most = static_cast<int>(preset.shared_per_block);
  const auto attribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
  EXPECT_ERROR(cudaFuncSetAttribute(nothing, attribute, most + 1), cudaErrorInvalidValue);
  EXPECT_ERROR(cudaFuncSetAttribute(nothing, attribute, most), cudaSuccess);
  EXPECT_ERROR(launch({8, 64, preset.shared_per_block}, nothing), cudaSuccess);
  EXPECT_ERROR(launch({8, 64, preset.shared_per_block + 1}, nothing), cudaErrorInvalidValue);
  cudaFuncAttributes attributes;
  EXPECT_ERROR(cudaFuncGetAttributes(&attributes, nothing), cudaSuccess);
  EXPECT(attributes.maxDynamicSharedSizeBytes == most);

  if (preset.largest_cluster == 0) {
    EXPECT_ERROR(launch({8, 64, 0, 2}, nothing), cudaErrorNotSupported);
  } else {
    EXPECT_ERROR(launch({8, 64, 0, 8}, nothing), cudaSuccess);
    EXPECT_ERROR(launch({8, 64, 0, 3}, nothing), cudaErrorInvalidClusterSize);
    EXPECT_ERROR(launch({32, 64, 0, 16}, nothing), cudaErrorInvalidClusterSize);
    EXPECT_ERROR(cudaFuncSetAttribute(nothing, cudaFuncAttributeNonPortableClusterSizeAllowed, 1), cudaSuccess);
    EXPECT_ERROR(launch({32, 64, 0, 16}, nothing),
                 preset.largest_cluster >= 16 ? cudaSuccess : cudaErrorInvalidClusterSize);
  }
  EXPECT_ERROR(launch({8, 64, 0, 1, reinterpret_cast<cudaStream_t>(&failures)}, nothing),
               cudaErrorInvalidResourceHandle);
  EXPECT_ERROR(cudaDeviceSynchronize(), cudaSuccess);
  cudaGetLastError();
}

__global__ void __launch_bounds__(128) bounded() {}
template <class T>
__global__ void __launch_bounds__(256, sizeof(T) == 4 ? 2 : 1) bounded_instance() {}

// More threads than a kernel was compiled for are refused.
void launch_bounds() {
  cudaFuncAttributes attributes;
  for (const auto& [kernel, most] : {std::pair(&bounded, 128), std::pair(&bounded_instance<float>, 256)}) {
    EXPECT_ERROR(cudaFuncGetAttributes(&attributes, kernel), cudaSuccess);
    EXPECT(attributes.maxThreadsPerBlock == most);
    EXPECT_ERROR(launch({8, static_cast<unsigned>(most)}, kernel), cudaSuccess);
    EXPECT_ERROR(launch({8, dim3(2, static_cast<unsigned>(most) / 2)}, kernel), cudaSuccess);
    EXPECT_ERROR(launch({8, static_cast<unsigned>(most) + 1}, kernel), cudaErrorInvalidValue);
    EXPECT_ERROR(launch({8, dim3(3, static_cast<unsigned>(most) / 2)}, kernel), cudaErrorInvalidValue);
  }
  EXPECT_ERROR(cudaFuncGetAttributes(&attributes, nothing), cudaSuccess);
  EXPECT(attributes.maxThreadsPerBlock == 1024);
  EXPECT_ERROR(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT(emulated::launches().count("bounded") == 1 && emulated::launches().count("bounded_instance<float>") == 1);
  cudaGetLastError();
}

__global__ void in_clusters() {}

// The runtime says how large a cluster may be, and larger ones are refused.
void clusters(const emulated::Preset& preset) {
  int count = -1;
  const auto ask_largest = [&](const Launch& launch) {
    const Configuration configuration(launch);
    return cudaOccupancyMaxPotentialClusterSize(&count, in_clusters, &configuration.config);
  };
  const auto ask_active = [&](const Launch& launch) {
    const Configuration configuration(launch);
    return cudaOccupancyMaxActiveClusters(&count, in_clusters, &configuration.config);
  };
  const auto largest = [&](const Launch& launch) {
    EXPECT_ERROR(ask_largest(launch), cudaSuccess);
    return count;
  };
  const auto active = [&](const Launch& launch) {
    EXPECT_ERROR(ask_active(launch), cudaSuccess);
    return count;
  };
  if (preset.largest_cluster == 0) {
    EXPECT_ERROR(ask_largest({}), cudaErrorNotSupported);
    EXPECT_ERROR(ask_active({}), cudaErrorNotSupported);
    EXPECT(count == -1);
    cudaGetLastError();
    return;
  }
  EXPECT(largest({}) == 8);
  EXPECT(largest({8, 64, 0, 2}) == 8);
  EXPECT(active({8, 1024, 0, 8}) == preset.multiprocessors * (preset.threads_per_multiprocessor / 1024) / 8);
  count = -1;
  EXPECT_ERROR(ask_active({16, 64, 0, 16}), cudaErrorInvalidClusterSize);
  EXPECT_ERROR(ask_largest({8, 1025}), cudaErrorInvalidConfiguration);
  EXPECT_ERROR(ask_largest({8, 64, preset.shared_per_block}), cudaErrorInvalidValue);
  EXPECT(count == -1);

  EXPECT_ERROR(cudaFuncSetAttribute(in_clusters, cudaFuncAttributeNonPortableClusterSizeAllowed, 1), cudaSuccess);
  EXPECT_ERROR(cudaFuncSetAttribute(in_clusters, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(preset.shared_per_block)),
               cudaSuccess);
  EXPECT(largest({}) == preset.largest_cluster);
  // With all of a multiprocessor's shared memory, one block in each.
  EXPECT(active({8, 64, preset.shared_per_block, 8}) == preset.multiprocessors / 8);

  emulated::Settings settings = emulated::settings();
  for (const int there : {4, 1}) {
    settings.cluster = there;
    EXPECT(emulated::configure(settings));
    EXPECT(largest({}) == there);
    EXPECT_ERROR(launch({8, 64, 0, static_cast<unsigned>(there)}, in_clusters), cudaSuccess);
    EXPECT_ERROR(launch({8, 64, 0, static_cast<unsigned>(2 * there)}, in_clusters), cudaErrorInvalidClusterSize);
    EXPECT_ERROR(launch({8, 64, 0, 8}, nothing), cudaErrorInvalidClusterSize);
  }
  settings.cluster = 100;  // larger than there are
  EXPECT(emulated::configure(settings));
  EXPECT(largest({}) == preset.largest_cluster);
  settings.cluster = -1;
  EXPECT(!emulated::configure(settings));
  settings.cluster = 0;
  EXPECT(emulated::configure(settings));
  EXPECT_ERROR(cudaDeviceSynchronize(), cudaSuccess);
  cudaGetLastError();
}

__global__ void on_two_devices() {}

// A kernel's attributes belong to the device that was current when they were set.
void attributes_of_devices(const emulated::Preset& preset) {
  emulated::Settings settings = emulated::settings();
  settings.devices = 2;
  EXPECT(emulated::configure(settings));
  const int most = static_cast<int>(preset.shared_per_block);
  const bool has_clusters = preset.largest_cluster > 8;
  EXPECT_ERROR(cudaFuncSetAttribute(on_two_devices, cudaFuncAttributeMaxDynamicSharedMemorySize, most), cudaSuccess);
  if (has_clusters) {
    EXPECT_ERROR(cudaFuncSetAttribute(on_two_devices, cudaFuncAttributeNonPortableClusterSizeAllowed, 1), cudaSuccess);
  }
  for (const int device : {1, 0}) {
    EXPECT_ERROR(cudaSetDevice(device), cudaSuccess);
    cudaFuncAttributes attributes;
    EXPECT_ERROR(cudaFuncGetAttributes(&attributes, on_two_devices), cudaSuccess);
    EXPECT(attributes.maxDynamicSharedSizeBytes == (device == 0 ? most : 48 * 1024));
    EXPECT_ERROR(launch({8, 64, preset.shared_per_block}, on_two_devices),
                 device == 0 ? cudaSuccess : cudaErrorInvalidValue);
    if (has_clusters) {
      EXPECT_ERROR(launch({32, 64, 0, 16}, on_two_devices), device == 0 ? cudaSuccess : cudaErrorInvalidClusterSize);
    }
    EXPECT_ERROR(cudaDeviceSynchronize(), cudaSuccess);
  }
  settings.devices = 1;
  EXPECT(emulated::configure(settings));
  cudaGetLastError();
}

// The code is the device's own, or what the driver made of older PTX.
void generations(const emulated::Preset& preset) {
  const int capability = preset.major * 10 + preset.minor;
  emulated::Settings settings = emulated::settings();
  cudaFuncAttributes attributes;
  for (const int ptx : {0, 75, capability}) {
    settings.ptx = ptx;
    EXPECT(emulated::configure(settings));
    EXPECT_ERROR(cudaFuncGetAttributes(&attributes, nothing), cudaSuccess);
    EXPECT(attributes.binaryVersion == capability && attributes.ptxVersion == (ptx == 0 ? capability : ptx));
  }
  settings.ptx = capability + 1;
  EXPECT(!emulated::configure(settings));
  settings.ptx = 0;
  EXPECT(emulated::configure(settings));
}

void memory() {
  size_t before, during, total;
  EXPECT_ERROR(cudaMemGetInfo(&before, &total), cudaSuccess);
  char* device;
  char* pinned;
  std::vector<char> host(1000);
  EXPECT_ERROR(cudaMalloc(&device, 1000), cudaSuccess);
  EXPECT_ERROR(cudaMemGetInfo(&during, &total), cudaSuccess);
  EXPECT(during == before - 1000);
  EXPECT(reinterpret_cast<uintptr_t>(device) % 256 == 0);
  EXPECT_ERROR(cudaHostAlloc(&pinned, 1000, cudaHostAllocDefault), cudaSuccess);
  EXPECT(emulated::live().device.bytes == 1000 && emulated::live().pinned.count == 1);

  cudaPointerAttributes attributes;
  EXPECT_ERROR(cudaPointerGetAttributes(&attributes, device + 999), cudaSuccess);
  EXPECT(attributes.type == cudaMemoryTypeDevice && attributes.device == 0);
  EXPECT_ERROR(cudaPointerGetAttributes(&attributes, pinned), cudaSuccess);
  EXPECT(attributes.type == cudaMemoryTypeHost);
  EXPECT_ERROR(cudaPointerGetAttributes(&attributes, host.data()), cudaSuccess);
  EXPECT(attributes.type == cudaMemoryTypeUnregistered);

  EXPECT_ERROR(cudaMemcpy(device, host.data(), 1000, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_ERROR(cudaMemcpy(host.data(), device, 1000, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_ERROR(cudaMemcpy2DAsync(device, 10, pinned, 10, 11, 5, cudaMemcpyHostToDevice), cudaErrorInvalidPitchValue);
  for (int i = 0; i < 1000; i++) pinned[i] = static_cast<char>(i % 100);
  EXPECT_ERROR(cudaMemset(device, 0, 1000), cudaSuccess);
  EXPECT_ERROR(cudaMemcpy2DAsync(device, 20, pinned, 10, 10, 50, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_ERROR(cudaMemcpy(host.data(), device, 1000, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT(host[0] == 0 && host[9] == 9 && host[10] == 0 && host[29] == 19 && host[989] == 99);

  char* none;
  EXPECT_ERROR(cudaMalloc(&none, total), cudaErrorMemoryAllocation);
  EXPECT_ERROR(cudaFree(pinned), cudaErrorInvalidValue);
  EXPECT_ERROR(cudaFree(device), cudaSuccess);
  EXPECT_ERROR(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_ERROR(cudaFree(nullptr), cudaSuccess);
  cudaGetLastError();
}

void pools() {
  cudaMemPoolProps properties = {};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location = {cudaMemLocationTypeDevice, 0};
  cudaMemPool_t pool;
  EXPECT_ERROR(cudaMemPoolCreate(&pool, &properties), cudaSuccess);
  const auto attribute = [&](cudaMemPoolAttr which) {
    unsigned long long value = ~0ull;
    EXPECT_ERROR(cudaMemPoolGetAttribute(pool, which, &value), cudaSuccess);
    return value;
  };
  float* first;
  float* second;
  EXPECT_ERROR(cudaMallocFromPoolAsync(&first, 1000, pool, nullptr), cudaSuccess);
  EXPECT_ERROR(cudaMallocFromPoolAsync(&second, 500, pool, nullptr), cudaSuccess);
  EXPECT_ERROR(cudaFreeAsync(first, nullptr), cudaSuccess);
  EXPECT_ERROR(cudaFreeAsync(first, nullptr), cudaErrorInvalidValue);
  EXPECT(attribute(cudaMemPoolAttrUsedMemCurrent) == 1500);  // the stream has not come so far
  EXPECT(emulated::live().device.count == 1);                // but who counts what leaks need not wait for it
  EXPECT_ERROR(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT(attribute(cudaMemPoolAttrUsedMemCurrent) == 500);
  EXPECT(attribute(cudaMemPoolAttrReservedMemCurrent) == 500);

  unsigned long long threshold = 4000;
  EXPECT_ERROR(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold), cudaSuccess);
  EXPECT_ERROR(cudaMallocFromPoolAsync(&first, 1000, pool, nullptr), cudaSuccess);
  EXPECT_ERROR(cudaFreeAsync(first, nullptr), cudaSuccess);
  EXPECT_ERROR(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT(attribute(cudaMemPoolAttrReservedMemCurrent) == 1500);
  EXPECT_ERROR(cudaMemPoolTrimTo(pool, 0), cudaSuccess);
  EXPECT(attribute(cudaMemPoolAttrReservedMemCurrent) == 500);

  // What is left keeps the pool alive.
  EXPECT_ERROR(cudaMemPoolDestroy(pool), cudaSuccess);
  EXPECT_ERROR(cudaFreeAsync(second, nullptr), cudaSuccess);
  EXPECT_ERROR(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_ERROR(cudaMemPoolTrimTo(pool, 0), cudaErrorInvalidValue);
  cudaGetLastError();
}

void streams() {
  cudaStream_t blocking, free;
  cudaEvent_t event, untimed;
  EXPECT_ERROR(cudaStreamCreateWithFlags(&blocking, cudaStreamDefault), cudaSuccess);
  EXPECT_ERROR(cudaStreamCreateWithFlags(&free, cudaStreamNonBlocking), cudaSuccess);
  EXPECT_ERROR(cudaEventCreate(&event), cudaSuccess);
  EXPECT_ERROR(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming), cudaSuccess);
  EXPECT(emulated::live().streams == 2 && emulated::live().events == 2);

  float* y;
  float host = 0;
  EXPECT_ERROR(cudaMalloc(&y, sizeof(float)), cudaSuccess);

  // The default stream and blocking streams wait for each other, without events.
  for (int round = 0; round < 20; round++) {
    EXPECT_ERROR(launch({1, 32, 0, 1, blocking}, write_one, y), cudaSuccess);
    EXPECT_ERROR(launch({1, 32}, add_one, y), cudaSuccess);
    EXPECT_ERROR(launch({1, 32, 0, 1, blocking}, add_one, y), cudaSuccess);
    EXPECT_ERROR(cudaMemcpy(&host, y, sizeof host, cudaMemcpyDeviceToHost), cudaSuccess);
    EXPECT(host == 3);
  }

  // A kernel may write pinned memory that a later copy reads.
  float* pinned;
  EXPECT_ERROR(cudaMallocHost(&pinned, sizeof(float)), cudaSuccess);
  *pinned = 0;
  EXPECT_ERROR(launch({1, 32, 0, 1, free}, write_one, pinned), cudaSuccess);
  EXPECT_ERROR(cudaMemcpyAsync(y, pinned, sizeof(float), cudaMemcpyHostToDevice, free), cudaSuccess);
  EXPECT_ERROR(cudaStreamSynchronize(free), cudaSuccess);
  EXPECT_ERROR(cudaFreeHost(pinned), cudaSuccess);

  // An event that was never recorded is over; one that was is not until its stream has come so far, which may be before
  // the host first asks or after.
  EXPECT_ERROR(cudaEventQuery(event), cudaSuccess);
  int before = 0, after = 0;
  for (int round = 0; round < 20; round++) {
    EXPECT_ERROR(launch({1, 32, 0, 1, free}, write_one, y), cudaSuccess);
    EXPECT_ERROR(launch({1, 32, 0, 1, free}, add_one, y), cudaSuccess);
    EXPECT_ERROR(cudaEventRecord(event, free), cudaSuccess);
    cudaError_t answer = cudaEventQuery(event);
    ++(answer == cudaSuccess ? before : after);
    for (; answer == cudaErrorNotReady; answer = cudaEventQuery(event)) {
      EXPECT_ERROR(cudaPeekAtLastError(), cudaSuccess);
    }
    EXPECT_ERROR(answer, cudaSuccess);
    EXPECT_ERROR(cudaStreamQuery(free), cudaSuccess);
    EXPECT_ERROR(cudaMemcpy(&host, y, sizeof host, cudaMemcpyDeviceToHost), cudaSuccess);
    EXPECT(host == 2);
  }
  EXPECT(before > 0 && after > 0);

  // Asking only a stream, or waiting, leads there too.
  EXPECT_ERROR(launch({1, 32, 0, 1, free}, add_one, y), cudaSuccess);
  cudaError_t answer = cudaErrorNotReady;
  while (answer == cudaErrorNotReady) answer = cudaStreamQuery(free);
  EXPECT_ERROR(answer, cudaSuccess);
  EXPECT_ERROR(launch({1, 32, 0, 1, free}, add_one, y), cudaSuccess);
  EXPECT_ERROR(cudaEventRecord(event, free), cudaSuccess);
  EXPECT_ERROR(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_ERROR(cudaEventQuery(event), cudaSuccess);
  EXPECT_ERROR(cudaStreamQuery(free), cudaSuccess);

  float milliseconds = -1;
  EXPECT_ERROR(cudaEventElapsedTime(&milliseconds, event, event), cudaSuccess);
  EXPECT(milliseconds == 0);
  EXPECT_ERROR(cudaEventElapsedTime(&milliseconds, event, untimed), cudaErrorInvalidResourceHandle);

  int calls = 0;
  const auto count_call = [](void* data) { ++*static_cast<int*>(data); };
  EXPECT_ERROR(cudaLaunchHostFunc(free, count_call, &calls), cudaSuccess);
  EXPECT_ERROR(cudaStreamSynchronize(free), cudaSuccess);
  EXPECT(calls == 1);

  EXPECT_ERROR(cudaEventDestroy(event), cudaSuccess);
  EXPECT_ERROR(cudaEventDestroy(event), cudaErrorInvalidResourceHandle);
  EXPECT_ERROR(cudaEventDestroy(untimed), cudaSuccess);
  EXPECT_ERROR(cudaStreamDestroy(blocking), cudaSuccess);
  EXPECT_ERROR(cudaStreamDestroy(free), cudaSuccess);
  EXPECT(emulated::live().streams == 0 && emulated::live().events == 0);
  EXPECT_ERROR(cudaFree(y), cudaSuccess);
  cudaGetLastError();
}

void injections() {
  void* memory;
  emulated::inject("cudaMalloc", 2, cudaErrorMemoryAllocation, false);
  EXPECT_ERROR(cudaMalloc(&memory, 100), cudaSuccess);
  EXPECT_ERROR(cudaFree(memory), cudaSuccess);
  EXPECT(emulated::pending_injections() == 1);
  EXPECT_ERROR(cudaMalloc(&memory, 100), cudaErrorMemoryAllocation);
  EXPECT_ERROR(cudaMalloc(&memory, 100), cudaSuccess);

  // A lost device answers everything with its error, but still takes back what it gave.
  emulated::inject("kernel", 1, cudaErrorIllegalAddress, true);
  EXPECT_ERROR(launch({}, nothing), cudaSuccess);
  EXPECT_ERROR(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_ERROR(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_ERROR(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_ERROR(launch({}, nothing), cudaErrorIllegalAddress);
  const size_t before = emulated::live().device.count;
  EXPECT_ERROR(cudaFree(memory), cudaErrorIllegalAddress);
  EXPECT(emulated::live().device.count == before - 1);
  emulated::clear();
  EXPECT_ERROR(cudaDeviceSynchronize(), cudaSuccess);
}

void drivers() {
  emulated::Settings settings = emulated::settings();
  int version, count;
  settings.driver = emulated::Driver::none;
  EXPECT(emulated::configure(settings));
  EXPECT_ERROR(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_ERROR(cudaDriverGetVersion(&version), cudaSuccess);
  EXPECT(version == 0);
  settings.driver = emulated::Driver::old;
  EXPECT(emulated::configure(settings));
  EXPECT_ERROR(cudaFree(nullptr), cudaErrorInsufficientDriver);
  EXPECT_ERROR(cudaDriverGetVersion(&version), cudaSuccess);
  EXPECT(version > 0 && version < CUDART_VERSION);
  settings.driver = emulated::Driver::ok;
  settings.devices = 0;
  EXPECT(emulated::configure(settings));
  EXPECT_ERROR(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  settings.device = "sm_1";
  EXPECT(!emulated::configure(settings));
}

}  // namespace

int main() {
  const emulated::Preset& preset = *emulated::find_preset(emulated::settings().device);
  devices(preset);
  last_error();
  refused_launches(preset);
  launch_bounds();
  clusters(preset);
  attributes_of_devices(preset);
  generations(preset);
  memory();
  pools();
  streams();
  injections();
  drivers();
  EXPECT(emulated::findings().empty());
  std::printf("%s: %d failed\n", preset.name, failures);
  return failures == 0 ? 0 : 1;
}
