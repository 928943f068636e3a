// The GPUs of this machine: found once per process, without a context; started when one is first used.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cuda.h"

// Returns the error of an expression from the function, if there is one.
#define RETURN_ERROR(expression) \
  if (Error error = (expression)) return error

namespace softmax_native::cuda {

class Device {
 public:
  int index;
  std::string name;
  std::string unusable;  // why it could never be used, empty if it can
  int64_t memory;        // in bytes
  bool has_pools;
  int compute_capability = 0;
  // What launches are planned for: from the start of the device on, the generation that the kernels were compiled for,
  // where that is an earlier one.
  DeviceProperties properties;

  // Makes it the thread's current device, with a context and a pool. The error is that of a broken device, if it is one.
  Error enter();
  bool started() const { return started_; }
  cudaMemPool_t pool() const { return pool_; }  // null where allocation is not ordered by streams

  // The error of a CUDA call that was made on this device, if it is one. An error that every later call would return,
  // because the context is dead, puts the device out of use for the process.
  Error check(cudaError_t status, const char* action) {
    return status == cudaSuccess ? Error{} : failed(status, action);
  }
  Error failed(cudaError_t status, std::string action);

  // Why it cannot be used now.
  std::string reason();

  void destroy_pool();

  // Counts what is taken from the pool and given to it, so that the pool need not be asked.
  void count_allocated(int64_t bytes);
  // True when there is more in the pool than it may keep: give_back() is then to be called before long.
  bool count_released(int64_t bytes);

  // Gives back to the driver what nothing has used since the last call, as far as streams have come past it. True when
  // there may be more to give back after as long again. Needs no current device, and waits for nothing.
  bool give_back();
  // The same at once, of all that is not in use.
  void give_back_all();

  // Guards what is measured once.
  std::mutex measuring;
  std::optional<Costs> costs;

 private:
  Error start();
  Error broken();

  std::mutex mutex_;
  std::atomic<bool> started_{false};
  std::atomic<bool> is_broken_{false};
  Error first_error_;
  cudaMemPool_t pool_ = nullptr;

  std::mutex counting_;
  int64_t in_use_ = 0;
  int64_t most_in_use_ = 0;  // since give_back() was last called
  int64_t held_ = 0;         // the most that the pool can hold, in use or not
};

struct Machine {
  int runtime_version = 0;
  int driver_version = 0;
  Error error;
  std::vector<Device*> devices;
};

// Never destroyed, as everything here that belongs to the process: no CUDA call is made by a static destructor.
Machine& machine();

Error find_device(int index, Device** device);

// While it lives the thread may make other devices its current one; its end makes current again what was so before. The
// addon's threads belong to the program, in which other code may use CUDA as well. What is kept is the driver's context:
// to give back a device that has none would make one, and other copies of the runtime know of contexts only.
class CallersDevice {
 public:
  CallersDevice();
  ~CallersDevice();
  CallersDevice(const CallersDevice&) = delete;
  CallersDevice& operator=(const CallersDevice&) = delete;

 private:
#ifdef SOFTMAX_EMULATED_CUDA
  int current_ = 0;  // the emulated machine has no driver below its runtime
#else
  void* current_ = nullptr;
#endif
  bool known_;
};

// For tests, which go on with other devices. The devices known so far stay valid, without their pools.
void forget_machine();

// The error of a call for which there is no device to put out of use.
inline Error error_of(cudaError_t status, const char* action) {
  if (status == cudaSuccess) return {};
  cudaGetLastError();
  return {status, action};
}

}  // namespace softmax_native::cuda
