// A thread that downloads tensors and waits for the GPU, so that the thread of JavaScript need not. It works on the
// jobs of one session in the order in which they were begun.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "staging.h"

namespace softmax_native::cuda {

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

  void run();
  Error perform(const Entry& entry);

  Device& device_;
  Staging staging_;
  cudaStream_t stream_ = nullptr;
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> waiting_;
  uint64_t begun_ = 0;
  uint64_t done_ = 0;
  std::atomic<bool> stopping_{false};
};

}  // namespace softmax_native::cuda
