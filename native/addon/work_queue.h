// A thread that carries out jobs one after another, so that no thread of JavaScript waits for them. It is not one of
// libuv's: files and names are looked up meanwhile. As one thread starts all of a queue's work, OpenMP keeps one team for
// it, however many calls overlap.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "cpu/cpu.h"

namespace softmax_native::addon {

class WorkQueue {
 public:
  // A job belongs to whoever submits it, and must live until done() has been called, or remove() or stop() has returned.
  class Job {
   public:
    explicit Job(std::shared_ptr<Control> of) : control(std::move(of)) {}
    virtual ~Job() = default;
    // Both are called on the queue's thread. run() should end soon when the control says that it was stopped; after done()
    // the queue does not know the job any more, and done() may let another thread delete it.
    virtual void run() = 0;
    virtual void done() = 0;

    const std::shared_ptr<Control> control;
  };

  // Queues are never destroyed: their threads run until the process ends.
  WorkQueue() = default;
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // False where the system gives no thread.
  bool submit(Job* job);

  // Takes the job with this control out of the queue, where it waits; it is never run then, nor done. Null where it does
  // not wait: it is stopped then if it runs, and done soon.
  Job* stop(const Control& control);

  // As stop(), and waits until the queue has nothing to do with the job any more.
  void remove(const Control& control);

 private:
  bool start();
  void serve();
  Job* take(const Control& control);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job*> waiting_;
  Job* running_ = nullptr;
  bool ending_ = false;
  std::thread thread_;

  friend void end_work();
};

// The queues of a process. Short calls do not wait for long ones, and neither for a GPU.
enum class Lane { short_calls, long_calls, gpu };
WorkQueue& work_queue(Lane lane);

// Ends the queues' threads. Registered with atexit() when the first of them starts; whoever uses a runtime that has
// handlers of its own registers it again after those. It may be called more than once.
void end_work();

}  // namespace softmax_native::addon
