// The emulated machine: its settings and devices, and what every runtime function does first and last.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>

#include "emulator.h"
#include "include/emulated/runtime.h"
#include "presets.h"
#include "random.h"

namespace emulated {

constexpr int kMostDevices = 2;

struct Device {
  cudaError_t lost = cudaSuccess;  // the sticky error, after which nothing but its report works
  size_t allocated = 0;            // outside pools
  size_t pooled = 0;               // held by pools, whether in use or not
};

struct Injection {
  std::string call;
  int calls_left;
  cudaError_t error;
  bool sticky;
};

struct Machine {
  Machine();

  std::mutex mutex;  // of everything: one host thread at a time is in the machine
  std::condition_variable changed;
  Settings settings;
  const Preset* preset;
  Random random;
  Device devices[kMostDevices];
  std::list<Injection> injections;
  std::map<std::string, std::function<void()>> interludes;  // by runtime function
  std::map<std::string, uint64_t> launches;

  size_t memory() const { return settings.memory != 0 ? settings.memory : preset->memory; }
  int compute_capability() const { return preset->major * 10 + preset->minor; }
  int code_capability() const { return settings.ptx != 0 ? settings.ptx : compute_capability(); }
  int multiprocessors() const {
    return settings.multiprocessors != 0 ? settings.multiprocessors : preset->multiprocessors;
  }
};

// Never destroyed: threads may still use it while the process ends.
Machine& machine();

// Per host thread, as in CUDA.
int current_device();
void set_current_device(int device);
cudaError_t last_error();
// Remembers the error for cudaGetLastError, unless it is a success or no failure.
cudaError_t remember(cudaError_t error);
void forget_last_error();

// Whether the thread is in a host function that a stream calls, which must not use the runtime.
void set_in_host_function(bool in);
bool in_host_function();
cudaError_t report_host_function(const char* call);

// Runs what was interposed before this call, if anything was.
void run_interlude(const char* call, std::unique_lock<std::mutex>& lock);

// What an injection for this call says, counting the call.
cudaError_t injected(const char* call, int device, bool by_any_name);

// Pools give back what they hold beyond their threshold, as they do when the host waits.
void trim_pools(int device);

// Whether there is a driver and a device.
cudaError_t check_driver();

enum class Needs { nothing, driver, device };

// A runtime function: `body` runs with the machine locked, after the reasons to fail were tried. A function that
// releases something does so even then: CUDA's may report an earlier error, but they do release.
template <class Body>
cudaError_t runtime_call(const char* name, Needs needs, bool releases, Body body) {
  std::unique_lock<std::mutex> lock(machine().mutex);
  if (in_host_function()) return report_host_function(name);
  run_interlude(name, lock);
  cudaError_t error = cudaSuccess;
  if (needs != Needs::nothing) error = check_driver();
  const int device = current_device();
  if (error == cudaSuccess) error = injected(name, device, true);
  if (error == cudaSuccess && needs == Needs::device) error = machine().devices[device].lost;
  if (error == cudaSuccess || releases) {
    const cudaError_t own = body(lock);
    if (error == cudaSuccess) error = own;
  }
  return remember(error);
}

template <class Body>
cudaError_t device_call(const char* name, Body body) {
  return runtime_call(name, Needs::device, false, body);
}
template <class Body>
cudaError_t release_call(const char* name, Body body) {
  return runtime_call(name, Needs::device, true, body);
}

}  // namespace emulated
