// Control of the emulated device, for tests: which GPU it is, what fails, and what it saw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace emulated {

enum class Driver {
  ok,
  none,  // no driver is installed: its version is 0, and every call gives cudaErrorInsufficientDriver
  old,   // a driver that is older than the runtime needs: the same error, with a version below the runtime's
};

struct Settings {
  std::string device = "sm_90";  // a name of presets.cpp
  int devices = 1;               // 0 to 2, all alike
  uint64_t seed = 1;             // of every order that CUDA leaves open
  Driver driver = Driver::ok;
  int compute_mode = 0;     // 2 where the administrator has prohibited computing (cudaComputeModeProhibited)
  size_t memory = 0;        // bytes of device memory, or 0 for as many as the real GPU has
  int multiprocessors = 0;  // 0 for as many as the real GPU has; with few, small arrays are as much work as large ones
  int cluster = 0;          // blocks of the largest cluster of a small partition of the GPU, 0 for the whole one
  int ptx = 0;              // 75 where the driver compiled the kernels from PTX of 7.5, 0 for code of the GPU's own
};

// What SOFTMAX_EMULATED_DEVICE, SOFTMAX_EMULATED_DEVICES, SOFTMAX_EMULATED_SEED, SOFTMAX_EMULATED_MULTIPROCESSORS,
// SOFTMAX_EMULATED_CLUSTER and SOFTMAX_EMULATED_PTX say, until configure() is called.
Settings settings();
// False when no such device exists or the numbers are out of range; nothing is changed then.
bool configure(const Settings& settings);

// The nth call of runtime function `call`, from now on, returns `error` and has no effect, unless it releases
// something: that is released all the same. A sticky error loses the device: every later call returns it too.
// "*" stands for any runtime function but those that only name errors; "kernel" and "copy" for a kernel or copy that was
// accepted and then fails when it runs, which is always sticky.
void inject(const std::string& call, int nth, int error, bool sticky);

// The injections whose call has not come yet.
size_t pending_injections();

// Runs `interlude` before the next call of runtime function `call`, on the calling thread: what another thread may have
// done just then.
void interpose(const std::string& call, std::function<void()> interlude);

// Takes back all injections, mends lost devices, and forgets findings and launches. Allocations stay.
void clear();

// Errors of device code, and of the use of the runtime, in words; each was also printed to stderr.
std::vector<std::string> findings();

struct Amount {
  size_t count = 0;
  size_t bytes = 0;
};
struct Live {
  Amount device;
  Amount pinned;
  size_t streams = 0;
  size_t events = 0;
};
// What was made and not released yet. Memory that a stream is still to release counts as released.
Live live();

// How often each kernel was launched, by its name with template arguments.
std::map<std::string, uint64_t> launches();

}  // namespace emulated
