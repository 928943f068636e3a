#include "memory.h"

#include <cstdlib>
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
struct PageLockedArray {
  int64_t bytes;
  int device;  // whose context was used for it
};
struct PageLocked {
  std::mutex mutex;
  std::map<uintptr_t, PageLockedArray> arrays;
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
  const CallersDevice callers;
  // Page-locked memory needs a context, whichever: every device can use it.
  Device* device = nullptr;
  RETURN_ERROR(environment.enter_any(&device));
  if (cudaError_t status = cudaHostAlloc(memory, static_cast<size_t>(bytes), cudaHostAllocPortable)) {
    return device->failed(status, "allocating " + std::to_string(bytes) + " bytes of page-locked memory");
  }
  std::memset(*memory, 0, static_cast<size_t>(bytes));
  const std::lock_guard<std::mutex> lock(page_locked().mutex);
  page_locked().arrays[reinterpret_cast<uintptr_t>(*memory)] = {bytes, device->index};
  return {};
}

void free_page_locked(void* memory) {
  int device;
  {
    const std::lock_guard<std::mutex> lock(page_locked().mutex);
    const auto array = page_locked().arrays.find(reinterpret_cast<uintptr_t>(memory));
    device = array->second.device;
    page_locked().arrays.erase(array);
  }
  if (process_ends()) return;
  const CallersDevice callers;
  // On a thread without a context the runtime would make one, on whichever device.
  if (cudaSetDevice(device) != cudaSuccess) cudaGetLastError();
  if (cudaFreeHost(memory) != cudaSuccess) cudaGetLastError();
}

bool is_page_locked(const void* array, int64_t bytes) {
  const auto first = reinterpret_cast<uintptr_t>(array);
  const std::lock_guard<std::mutex> lock(page_locked().mutex);
  auto after = page_locked().arrays.upper_bound(first);
  if (after == page_locked().arrays.begin()) return false;
  --after;
  const auto length = static_cast<uintptr_t>(after->second.bytes);
  return first - after->first <= length && static_cast<uintptr_t>(bytes) <= length - (first - after->first);
}

bool process_ends() { return ends; }

void notice_end_of_process() {
  static const int registered = std::atexit([] { ends = true; });
  static_cast<void>(registered);
}

}  // namespace softmax_native::cuda
