// Threads that carry out jobs in the order in which they come, so that no thread of JavaScript waits for them. They are none
// of libuv's: files and names are looked up meanwhile. Jobs that divide their work among OpenMP's threads have a queue of one
// thread, as OpenMP keeps a team for each thread that ever asked for one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cpu/cpu.h"

namespace softmax_native::addon {

class WorkQueue {
 public:
  // A job belongs to whoever submits it, and must live until done() has been called, or remove() or stop() has returned.
  class Job {
   public:
    // `bytes` of arrays that it reads and writes.
    Job(std::shared_ptr<Control> of, int64_t bytes) : control(std::move(of)), bytes_of_arrays(bytes) {}
    virtual ~Job() = default;
    // Both are called on a thread of the queue. run() should end soon when the control says that it was stopped; after done()
    // the queue does not know the job any more, and done() may let another thread delete it.
    virtual void run() = 0;
    virtual void done() = 0;

    const std::shared_ptr<Control> control;
    const int64_t bytes_of_arrays;
  };

  // Queues are never destroyed: their threads run until the process ends.
  WorkQueue() = default;
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // How many jobs may run at once, each on a thread of its own: 1 until this is said, and no fewer than that later.
  void set_threads(int most);

  // False where the system gives no thread, or no memory.
  bool submit(Job* job);

  // Takes the job with this control out of the queue, where it waits; it is never run then, nor done. Null where it does
  // not wait: it is stopped then if it runs, and done soon.
  Job* stop(const Control& control);

  // As stop(), and waits until the queue has nothing to do with the job any more.
  void remove(const Control& control);

 private:
  bool start();
  void serve();
  void wait(std::unique_lock<std::mutex>& lock);
  void give_back_memory(std::unique_lock<std::mutex>& lock);
  Job* take(const Control& control);
  Job* running(const Control& control) const;

  std::mutex mutex_;
  std::condition_variable has_work_;
  std::condition_variable is_done_;
  std::deque<Job*> waiting_;
  std::vector<Job*> running_;
  std::vector<std::thread> threads_;
  size_t most_threads_ = 1;
  size_t idle_ = 0;                                 // threads that wait for work
  int64_t left_bytes_ = 0;                          // of arrays of jobs that were done since free memory was given back
  std::chrono::steady_clock::time_point last_end_;  // of a job
  bool ending_ = false;

  friend void end_work();
};

// The queues of a process. Short calls do not wait for long ones, and neither for a GPU. Of long calls, those that use one
// thread run beside each other, and the others, which share a team, follow each other.
enum class Lane { short_calls, one_thread_calls, team_calls, gpu };
WorkQueue& work_queue(Lane lane);

// Ends the queues' threads. Registered with atexit() when the first of them starts; whoever uses a runtime that has
// handlers of its own registers it again after those. It may be called more than once.
void end_work();

}  // namespace softmax_native::addon
