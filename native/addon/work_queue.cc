#include "work_queue.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <system_error>

#include "heap.h"

#if defined(__linux__)
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace softmax_native::addon {
namespace {

constexpr int kLanes = 3;

// Programs that make calls again and again make them within this; in a pause as long as that nobody minds the few
// milliseconds in which the heap is searched.
constexpr std::chrono::seconds kPause{1};

// Jobs of any queue that are under way.
std::atomic<int> busy{0};

// Makes way for the event loop: where every processor computes, a timer of its thread came up to 8 milliseconds late in 99
// of 100 cases, and 5 with this. OpenMP's team inherits it, and where nobody else wants the processors it costs nothing.
void let_others_go_first() {
#if defined(__linux__)
  constexpr int kNice = 10;
  static_cast<void>(setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNice));
#endif
}

WorkQueue* queues() {
  static auto* all = new WorkQueue[kLanes];
  return all;
}

}  // namespace

WorkQueue& work_queue(Lane lane) { return queues()[static_cast<int>(lane)]; }

// process.exit() tells no environment of the main thread, but exit() calls this, before the memory and the runtimes that
// the jobs use are taken away.
void end_work() {
  for (WorkQueue* queue = queues(); queue != queues() + kLanes; queue++) {
    {
      const std::lock_guard<std::mutex> lock(queue->mutex_);
      queue->ending_ = true;
      if (queue->running_ != nullptr) queue->running_->control->stopped = true;
    }
    queue->changed_.notify_all();
    // A runtime may call exit() on the queue's own thread, as OpenMP's does where it cannot start its threads.
    if (queue->thread_.joinable() && queue->thread_.get_id() != std::this_thread::get_id()) queue->thread_.join();
  }
}

bool WorkQueue::submit(Job* job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!start()) return false;
    waiting_.push_back(job);
  }
  changed_.notify_all();
  return true;
}

bool WorkQueue::start() {
  if (thread_.joinable() || ending_) return true;
  static const int registered = std::atexit(end_work);
  static_cast<void>(registered);
  try {
    thread_ = std::thread([this] { serve(); });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

void WorkQueue::serve() {
  if (this == &work_queue(Lane::long_calls)) let_others_go_first();
  std::unique_lock<std::mutex> lock(mutex_);
  const auto has_work = [this] { return ending_ || !waiting_.empty(); };
  // Short calls leave little, and are often made again after a pause.
  const bool leaves_memory = this != &work_queue(Lane::short_calls);
  while (true) {
    if (!changed_.wait_for(lock, kPause, has_work)) {
      lock.unlock();
      if (leaves_memory && busy == 0) give_back_free_memory();
      lock.lock();
      changed_.wait(lock, has_work);
    }
    if (ending_) return;
    running_ = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    busy++;
    running_->run();
    busy--;
    lock.lock();
    // Under the lock, so that whoever asks for this job finds it running or done.
    if (!ending_) running_->done();
    running_ = nullptr;
    changed_.notify_all();
  }
}

WorkQueue::Job* WorkQueue::take(const Control& control) {
  const auto is_it = [&](const Job* job) { return job->control.get() == &control; };
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), is_it);
  if (found == waiting_.end()) {
    if (running_ != nullptr && is_it(running_)) running_->control->stopped = true;
    return nullptr;
  }
  Job* job = *found;
  waiting_.erase(found);
  return job;
}

WorkQueue::Job* WorkQueue::stop(const Control& control) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return take(control);
}

void WorkQueue::remove(const Control& control) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (take(control) != nullptr) return;
  // What runs at the end of the process is waited for there.
  changed_.wait(lock, [&] { return running_ == nullptr || running_->control.get() != &control; });
}

}  // namespace softmax_native::addon
