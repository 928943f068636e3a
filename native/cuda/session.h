// What one JavaScript environment has on the GPUs: a Session for each device it used, with its own streams and
// page-locked memory, so that environments do not wait for each other.
#pragma once

#include <memory>
#include <unordered_set>
#include <vector>

#include "background.h"
#include "memory.h"
#include "staging.h"

namespace softmax_native::cuda {

// Batches of a call on host arrays that are on the device at a time: one is uploaded, one computed, one downloaded.
constexpr int kSlots = 3;

// The streams of calls on host arrays, which overlap, and the events that order them.
struct Lanes {
  cudaStream_t upload = nullptr;
  cudaStream_t compute = nullptr;
  cudaStream_t download = nullptr;
  cudaEvent_t allocated = nullptr;
  cudaEvent_t uploaded[kSlots] = {};
  cudaEvent_t computed[kSlots] = {};
  cudaEvent_t downloaded[kSlots] = {};
};

struct Session {
  Session(Environment& environment, Device& device);
  // Waits for what is under way and frees everything.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The first call of every entry point, but for a CallersDevice: the device is the thread's current one, and what the
  // session needs is there.
  Error enter() {
    RETURN_ERROR(device.enter());
    return stream == nullptr ? open() : Error{};
  }
  Error open();
  Error open_lanes();
  Error open_background();

  // Gives memory that was released in the stream back to the driver, unless it is used again before long.
  void give_back_after(cudaStream_t stream);

  // Waits for downloads under way of memory that is about to be written: they are of its state before.
  void await_downloads(const void* memory, int64_t bytes);

  Environment& environment;
  Device& device;
  cudaStream_t stream = nullptr;  // of the tensors
  Lanes lanes;
  Staging uploads;
  Staging downloads;
  std::unique_ptr<Background> background;
  std::vector<Job*> jobs;  // begun and not finished
};

class Environment {
 public:
  // The session of a device, entered.
  Error enter(int device, Session** session);
  // Any device that can be used, as the thread's current one: one that is in use, where there is one.
  Error enter_any(Device** device);

  void end();
  // Frees everything; what is used later is made anew.
  void close_sessions();

  std::unordered_set<Tensor*> tensors;

 private:
  // The handles stay, of nothing, until JavaScript drops them.
  void abandon_handles();

  std::vector<std::unique_ptr<Session>> sessions_;  // by device, null where not used
};

}  // namespace softmax_native::cuda
