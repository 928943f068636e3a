// A thread that downloads tensors and waits for the GPU, so that the thread of JavaScript need not. It works on the
// jobs of one session in the order in which they were begun, and meanwhile gives memory back that the session no longer
// uses.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "staging.h"

namespace softmax_native::cuda {

// A loop that allocates and frees goes round many times in this; a person or another process that waits for memory
// hardly notices it.
constexpr std::chrono::milliseconds kGiveBackPeriod{250};

class Background {
 public:
  explicit Background(Device& device);
  // Ends the thread, then frees what it used.
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // Starts the thread, if it does not run yet.
  Error start();

  // Enqueues the job after the work that is in the stream now.
  Error submit(Job* job, cudaStream_t stream);

  // Has the device's pool looked at, from now on every kGiveBackPeriod until there is nothing to give back: first when
  // the stream, too, has come past what was released in it so far.
  void give_back_after(cudaStream_t stream);

  // Waits until the job of this number, and all before, are done.
  void wait_for(uint64_t number);

  // Ends the thread when it has done its current step; jobs that are not done by then never are. Makes no CUDA call
  // by itself.
  void stop();

 private:
  struct Entry {
    Job* job;
    cudaEvent_t after;
  };

  using Clock = std::chrono::steady_clock;

  void run();
  Error perform(const Entry& entry);
  // Waits for a job. False when the pool is to be looked at instead, or the thread to end.
  bool next(Entry* entry);
  void give_back();

  Device& device_;
  Staging staging_;
  cudaStream_t stream_ = nullptr;
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> waiting_;
  uint64_t begun_ = 0;
  uint64_t done_ = 0;
  // What the pool waits for, and when it is looked at next; never while none is there.
  std::set<cudaStream_t> released_in_;
  Clock::time_point look_ = Clock::time_point::max();
  std::atomic<bool> stopping_{false};
};

}  // namespace softmax_native::cuda
