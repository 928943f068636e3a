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

constexpr int kLanes = 4;

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
      for (const WorkQueue::Job* job : queue->running_) job->control->stopped = true;
    }
    queue->has_work_.notify_all();
    // None is started any more.
    for (std::thread& thread : queue->threads_) {
      // A runtime may call exit() on a queue's own thread, as OpenMP's does where it cannot start its threads.
      if (thread.joinable() && thread.get_id() != std::this_thread::get_id()) thread.join();
    }
  }
}

void WorkQueue::set_threads(int most) {
  const std::lock_guard<std::mutex> lock(mutex_);
  most_threads_ = static_cast<size_t>(most);
}

bool WorkQueue::submit(Job* job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!start()) return false;
    waiting_.push_back(job);
  }
  has_work_.notify_one();
  return true;
}

// Starts a thread for one more job, where none is idle and there may be more. False where there is none at all.
bool WorkQueue::start() {
  if (ending_ || idle_ > waiting_.size() || threads_.size() >= most_threads_) return true;
  static const int registered = std::atexit(end_work);
  static_cast<void>(registered);
  try {
    threads_.emplace_back([this] { serve(); });
  } catch (const std::system_error&) {
    return !threads_.empty();
  }
  return true;
}

void WorkQueue::serve() {
  if (this == &work_queue(Lane::one_thread_calls) || this == &work_queue(Lane::team_calls)) let_others_go_first();
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    if (waiting_.empty() && !ending_) pause(lock);
    if (ending_) return;
    Job* job = waiting_.front();
    waiting_.pop_front();
    running_.push_back(job);
    lock.unlock();
    busy++;
    job->run();
    busy--;
    lock.lock();
    // Under the lock, so that whoever asks for this job finds it running or done.
    if (!ending_) job->done();
    running_.erase(std::find(running_.begin(), running_.end(), job));
    left_memory_ = true;
    is_done_.notify_all();
  }
}

// Waits for work.
void WorkQueue::pause(std::unique_lock<std::mutex>& lock) {
  const auto is_over = [this] { return ending_ || !waiting_.empty(); };
  // Short calls leave little, and are often made again after a pause.
  const bool may_search = this != &work_queue(Lane::short_calls);
  idle_++;
  if (!has_work_.wait_for(lock, kPause, is_over)) {
    if (may_search && left_memory_ && busy == 0) {
      left_memory_ = false;
      lock.unlock();
      give_back_free_memory();
      lock.lock();
    }
    has_work_.wait(lock, is_over);
  }
  idle_--;
}

WorkQueue::Job* WorkQueue::running(const Control& control) const {
  const auto is_it = [&](const Job* job) { return job->control.get() == &control; };
  const auto found = std::find_if(running_.begin(), running_.end(), is_it);
  return found == running_.end() ? nullptr : *found;
}

WorkQueue::Job* WorkQueue::take(const Control& control) {
  const auto is_it = [&](const Job* job) { return job->control.get() == &control; };
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), is_it);
  if (found == waiting_.end()) {
    if (const Job* job = running(control)) job->control->stopped = true;
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
  is_done_.wait(lock, [&] { return running(control) == nullptr; });
}

}  // namespace softmax_native::addon
