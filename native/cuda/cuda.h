// The CUDA back end, as the addon calls it: which GPUs there are, the operations on arrays in host memory, and tensors,
// which stay in device memory between calls. No CUDA header is included here: a build without CUDA has the same
// functions (absent.cpp), and a program that never asks for a GPU makes no CUDA call.
//
// An Environment is what one JavaScript environment, the main thread's or a worker's, owns on the GPUs. Its functions
// are called on its own thread; environments share nothing but the devices' memory pools.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/control.h"
#include "policy.h"

namespace softmax_native::cuda {

// What went wrong: the number of the CUDA error, 0 for none, and what was done, as in "copying to the device".
struct [[nodiscard]] Error {
  int code = 0;
  std::string action;
  // Of a call on host arrays: that nothing was written to its results, so that the CPU can take the call over.
  bool wrote_nothing = false;

  explicit operator bool() const { return code != 0; }
};

// The code of a build without CUDA.
constexpr int kAbsent = -1;

std::string error_name(int code);            // "cudaErrorMemoryAllocation"
std::string error_text(int code);            // "out of memory"
std::string message_of(const Error& error);  // "Copying to the device failed: cudaErrorX (n): text"

struct DeviceInfo {
  std::string name;
  int compute_capability;  // 90 for 9.0
  int64_t memory;          // in bytes
  int multiprocessors;
  std::string reason;  // why it cannot be used, as a part of a sentence; empty when it can
};

struct Info {
  bool built;                  // false where there are no kernels
  int runtime_version;         // 13000 for 13.0
  int driver_version;          // the newest runtime that the driver serves; 0 without a driver
  const char* minimum_driver;  // "r580"
  Error error;                 // of looking for devices
  std::vector<DeviceInfo> devices;
};

// Looks for GPUs, once per process. Makes no context, which would take memory and 0.3 seconds.
Info info();

// True once per process: for whoever warns that there is a driver or a GPU, and none that can be used.
bool take_warning();

class Environment;
struct Session;

// Memory on a device. The JavaScript handle owns the object, and drop() is its finalizer.
struct Tensor {
  Session* session;  // of its environment and device; null when the environment has ended
  int device;
  void* pointer;
  int64_t bytes;
  bool owned;     // to be freed
  bool disposed;  // by free(): not to be used again
  bool dropped;   // by its handle: to be deleted with its last job
  int jobs;       // that read it
};

Environment* begin_environment();

// Frees everything it had on the GPUs, after waiting for work that is under way: others may follow, in the main thread
// too, where a program embeds Node.js. Only when exit() has come to the end of the CUDA runtime no CUDA call is made.
void end_environment(Environment& environment);
void delete_environment(Environment* environment);

// Makes the context, the stream and the pool. Every function that takes a device does it by itself.
Error start(Environment& environment, int device);
// Whether any environment did.
bool is_started(int device);

// Measured once per process and device.
struct Costs {
  double upload;    // bytes per second from page-locked memory
  double download;  // and to it
  double staging;   // bytes per second of a copy between a large array and page-locked memory
  double launch;    // seconds of a small launch and of waiting for it
};
Error costs(Environment& environment, int device, Costs* costs);

// Arrays in host memory. They are processed in batches that overlap upload, computation and download, with a bounded
// amount of device memory. On return the results are there, or nothing uses the arrays any more. With a `control` another
// thread may stop the call between batches; it then returns without an error.
template <class T>
Error softmax(Environment& environment, int device, const T* x, T* out, Layout layout,  // out may be x
              Control* control = nullptr);
template <class T>
Error row_max(Environment& environment, int device, const T* x, T* max, int32_t* argmax /* may be null */,
              Layout layout, Control* control = nullptr);
template <class T>
Error softmax_jacobian(Environment& environment, int device, const T* x, T* out, int64_t rows, int64_t k,
                       Control* control = nullptr);

// Tensors. `*tensor` is set when there is no error.
Error allocate(Environment& environment, int device, int64_t bytes, Tensor** tensor);
// Memory of others, on this device.
Error from_pointer(Environment& environment, int device, uint64_t pointer, int64_t bytes, Tensor** tensor);
// The tensor that a handle stands for, null if it is not one of this environment.
Tensor* find_tensor(Environment& environment, const void* handle);
// Frees the memory once what was enqueued before has used it. May be called again.
void free(Tensor& tensor);
void drop(Tensor* tensor);

// These are enqueued on the environment's stream: what is enqueued later sees their result. The host array may be
// reused on return.
Error upload(Tensor& tensor, const void* array, int64_t bytes);
template <class T>
Error softmax(Tensor& x, Tensor& out, Layout layout);  // out may be x
template <class T>
Error row_max(Tensor& x, Tensor& max, Tensor* argmax, Layout layout);
template <class T>
Error softmax_jacobian(Tensor& x, Tensor& out, int64_t rows, int64_t k);

// Waits for the data.
Error download(Tensor& tensor, void* array, int64_t bytes);

// A download, or without a tensor only a wait, that does not block: of the state the device has after what was enqueued
// so far. `done` is called on another thread, with `error` set; then, on the environment's own thread, finish() ends
// it. The object and the array must live until then or until the environment's end, and nobody else may use the array.
// Whatever writes to the memory meanwhile waits until it was copied.
struct Job {
  Tensor* tensor;
  void* array;
  int64_t bytes;
  void (*done)(Job* job);
  Error error;

  Session* session;
  uint64_t number;
};
Error begin(Environment& environment, int device, Job* job);
void finish(Job* job);

// Page-locked memory, filled with zeros, from and to which the GPU copies by itself. Parts of it are recognised wherever
// an array is given. Freed on any thread.
Error allocate_page_locked(Environment& environment, int64_t bytes, void** memory);
void free_page_locked(void* memory);

#ifdef SOFTMAX_EMULATED_CUDA
// For tests that go on with other devices: ends what the environment has, and looks for devices anew.
void forget_devices(Environment& environment);
// The bytes of a device's memory that others could have.
Error free_memory(Environment& environment, int device, int64_t* bytes);
// The thread's current device, which other code in the process may have chosen.
int current_device();
void set_current_device(int device);
#endif

}  // namespace softmax_native::cuda
