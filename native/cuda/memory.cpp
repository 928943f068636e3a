#include "memory.h"

#include <cstring>
#include <map>

#include "session.h"

namespace softmax_native::cuda {
namespace {

cudaError_t allocate_once(Device& device, int64_t bytes, cudaStream_t stream, void** memory) {
  const auto size = static_cast<size_t>(bytes);
  return device.pool() == nullptr ? cudaMalloc(memory, size)
                                  : cudaMallocFromPoolAsync(memory, size, device.pool(), stream);
}

// The page-locked arrays of the process, by their first byte.
struct PageLocked {
  std::mutex mutex;
  std::map<uintptr_t, int64_t> bytes;
};
PageLocked& page_locked() {
  static auto* all = new PageLocked;
  return *all;
}

std::atomic<bool> ends{false};

}  // namespace

Error allocate(Device& device, int64_t bytes, cudaStream_t stream, void** memory) {
  *memory = nullptr;
  if (bytes == 0) return {};
  cudaError_t status = allocate_once(device, bytes, stream, memory);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    // Memory that was freed in a stream can be given back once the stream has come that far.
    if (cudaDeviceSynchronize() != cudaSuccess) cudaGetLastError();
    device.give_back_all();
    status = allocate_once(device, bytes, stream, memory);
  }
  if (status == cudaSuccess) {
    device.count_allocated(bytes);
    return {};
  }
  *memory = nullptr;
  return device.failed(status, "allocating " + std::to_string(bytes) + " bytes of device memory");
}

bool release(Device& device, void* memory, int64_t bytes, cudaStream_t stream) {
  if (memory == nullptr) return false;
  // Without a pool the call waits for all work on the device, so that the order of streams does not matter.
  const cudaError_t status = device.pool() == nullptr ? cudaFree(memory) : cudaFreeAsync(memory, stream);
  // Whatever the stream did before and that fails now is found by the next call that can tell of it.
  if (status != cudaSuccess) cudaGetLastError();
  return device.count_released(bytes);
}

Error allocate_page_locked(Environment& environment, int64_t bytes, void** memory) {
  // Page-locked memory needs a context, whichever: every device can use it.
  Device* device = nullptr;
  RETURN_ERROR(environment.enter_any(&device));
  if (cudaError_t status = cudaHostAlloc(memory, static_cast<size_t>(bytes), cudaHostAllocPortable)) {
    return device->failed(status, "allocating " + std::to_string(bytes) + " bytes of page-locked memory");
  }
  std::memset(*memory, 0, static_cast<size_t>(bytes));
  const std::lock_guard<std::mutex> lock(page_locked().mutex);
  page_locked().bytes[reinterpret_cast<uintptr_t>(*memory)] = bytes;
  return {};
}

void free_page_locked(void* memory) {
  {
    const std::lock_guard<std::mutex> lock(page_locked().mutex);
    page_locked().bytes.erase(reinterpret_cast<uintptr_t>(memory));
  }
  if (!process_ends() && cudaFreeHost(memory) != cudaSuccess) cudaGetLastError();
}

bool is_page_locked(const void* array, int64_t bytes) {
  const auto first = reinterpret_cast<uintptr_t>(array);
  const std::lock_guard<std::mutex> lock(page_locked().mutex);
  auto after = page_locked().bytes.upper_bound(first);
  if (after == page_locked().bytes.begin()) return false;
  --after;
  return first - after->first <= static_cast<uintptr_t>(after->second) &&
         static_cast<uintptr_t>(bytes) <= static_cast<uintptr_t>(after->second) - (first - after->first);
}

void end_process() { ends = true; }

bool process_ends() { return ends; }

}  // namespace softmax_native::cuda
