// Streams and events. Work put into a stream waits there until a host thread synchronises or asks; then the streams
// take turns in random order, as far as events allow. So a host that does not wait for its results does not get them,
// and one that asks finds more done or less.
//
// Clocks tell which work is ordered before which: a stream's clock counts, for every stream, how much of its work is
// ordered before what the stream does next. Two kernels or copies that touch the same memory without such an order are
// a data race even when they happened to run in the right one.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "include/emulated/runtime.h"

namespace emulated {

using Clock = std::vector<uint64_t>;
using Lock = std::unique_lock<std::mutex>;

struct Event {
  unsigned flags = 0;
  int device = 0;
  uint64_t recorded = 0;   // calls of cudaEventRecord
  uint64_t completed = 0;  // of which the stream has come so far
  double milliseconds = 0;
  Clock clock;
};

struct Operation {
  std::function<cudaError_t()> run;  // with the machine locked; an error loses the device
  bool even_when_lost = false;
  cudaHostFn_t host_function = nullptr;
  void* data = nullptr;
  std::shared_ptr<Event> awaited;
  uint64_t awaited_record = 0;
  std::shared_ptr<Event> recorded;
  uint64_t record = 0;

  uint64_t number = 0;  // in the order of being enqueued, over all streams
  std::shared_ptr<const Clock> host_clock;
};

struct Stream {
  size_t id;
  int device;
  bool legacy;        // the default stream, ordered with all that are not non-blocking
  bool non_blocking;  // cudaStreamNonBlocking
  bool busy = false;  // a host function of it is being called
  Clock clock;
  std::deque<Operation> work;
};

// The object behind a handle, null where it is none. Null stands for the current device's default stream.
std::shared_ptr<Stream> find_stream(cudaStream_t handle);
std::shared_ptr<Event> find_event(cudaEvent_t handle);

cudaStream_t create_stream(int device, unsigned flags);
void destroy_stream(cudaStream_t handle);
cudaEvent_t create_event(int device, unsigned flags);
void destroy_event(cudaEvent_t handle);
size_t count_streams();
size_t count_events();

void enqueue(Stream* stream, Operation operation);
void enqueue(Stream* stream, std::function<cudaError_t()> run);
void record_event(Stream* stream, const std::shared_ptr<Event>& event);
void await_event(Stream* stream, const std::shared_ptr<Event>& event);
// True once the stream (the event's last record) is done.
bool is_idle(const Stream& stream);
bool is_complete(const Event& event);
// A host thread has seen that the stream is idle, or the event complete.
void host_has_seen(const Stream& stream);
void host_has_seen(const Event& event);

// Does work until the stream's is done (all of the device's; the event), or the device is lost.
cudaError_t synchronize_stream(Lock& lock, const std::shared_ptr<Stream>& stream);
cudaError_t synchronize_device(Lock& lock, int device);
cudaError_t synchronize_event(Lock& lock, const std::shared_ptr<Event>& event);
// Does some work somewhere, or none: the device may be ahead of a host that asks, or behind. One that only asks gets its
// answer at last.
void make_progress(Lock& lock);

// Calls queued host functions from a thread of its own, as CUDA does.
void start_host_functions();

// Lets what is queued for lost devices end without effect, and counts all that was done as waited for.
void settle_everything(Lock& lock);

// For the checks: whether what happened at `time` is ordered before the work that is running.
bool is_settled(uint64_t time);

}  // namespace emulated
