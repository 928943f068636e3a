// Memory on a device, in the order of a stream, and page-locked memory of the host.
#pragma once

#include "devices.h"

namespace softmax_native::cuda {

// From the device's pool, on the thread's current device, aligned to 256 bytes at least: work that comes later in the
// stream may use it. Null for 0 bytes. What the pool holds of freed memory is given back before an allocation fails.
Error allocate(Device& device, int64_t bytes, cudaStream_t stream, void** memory);

// The memory is free again once the stream has come this far. True when the pool then holds more than it may keep:
// Session::give_back_after() is to be told of the stream.
bool release(Device& device, void* memory, int64_t bytes, cudaStream_t stream);

// Device memory of one scope.
class ScopedMemory {
 public:
  ScopedMemory(Device& device, cudaStream_t stream) : device_(device), stream_(stream) {}
  ~ScopedMemory() { release(device_, memory_, bytes_, stream_); }
  ScopedMemory(const ScopedMemory&) = delete;
  ScopedMemory& operator=(const ScopedMemory&) = delete;

  Error allocate(int64_t bytes) {
    bytes_ = bytes;
    return cuda::allocate(device_, bytes, stream_, &memory_);
  }
  unsigned char* data() const { return static_cast<unsigned char*>(memory_); }

 private:
  Device& device_;
  cudaStream_t stream_;
  void* memory_ = nullptr;
  int64_t bytes_ = 0;
};

// Calls launch(workspace) with `bytes` of memory for the work that it enqueues on the stream.
template <class Launch>
Error with_workspace(Device& device, int64_t bytes, cudaStream_t stream, Launch launch) {
  if (bytes == 0) return launch(nullptr);
  ScopedMemory workspace(device, stream);
  RETURN_ERROR(workspace.allocate(bytes));
  return launch(workspace.data());
}

// Whether all of an array lies in memory of allocate_page_locked().
bool is_page_locked(const void* array, int64_t bytes);

// Whether exit() has come to the end of the CUDA runtime: nothing is freed on a GPU any more, as the system frees it.
bool process_ends();
// Has that noticed. To be called when the runtime has registered its own handler of exit(), which is called after ours.
void notice_end_of_process();

}  // namespace softmax_native::cuda
