#include "work_queue.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>
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

// Free memory is searched for and given back in a pause as long as this, as programs that make calls again and again make
// them within it, and only after calls whose arrays were as large as this together: the heap is locked meanwhile, for
// milliseconds, or a tenth of a second where a program has left a gigabyte in small pieces.
constexpr std::chrono::seconds kPause{1};
constexpr int64_t kWorthASearch = int64_t{1} << 28;

// Jobs of any queue that are under way.
std::atomic<int> busy{0};

// Makes way for the event loop, which gets a processor sooner: two thirds of the time where the two want the same one. With a
// higher number other busy programs would have nearly all of it. OpenMP's team inherits this.
void let_others_go_first() {
#if defined(__linux__)
  constexpr int kNice = 3;
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
  }
  for (WorkQueue* queue = queues(); queue != queues() + kLanes; queue++) {
    // No more of them are started.
    for (std::thread& thread : queue->threads_) {
      // A runtime may call exit() on a queue's own thread, as OpenMP's does where it cannot start its threads.
      if (thread.joinable() && thread.get_id() != std::this_thread::get_id()) thread.join();
    }
  }
}

void WorkQueue::set_threads(int most) {
  const std::lock_guard<std::mutex> lock(mutex_);
  most_threads_ = std::max(most_threads_, static_cast<size_t>(most));
}

bool WorkQueue::submit(Job* job) {
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!start()) return false;
    waiting_.push_back(job);
  } catch (const std::bad_alloc&) {
    return false;
  }
  has_work_.notify_one();
  return true;
}

// Starts a thread for one more job, where none is idle and there may be more. False where there is none at all.
bool WorkQueue::start() {
  if (ending_ || idle_ > waiting_.size() || threads_.size() >= most_threads_) return true;
  static const int registered = std::atexit(end_work);
  static_cast<void>(registered);
  running_.reserve(threads_.size() + 1);
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
    if (waiting_.empty()) wait(lock);
    if (ending_) return;
    Job* job = waiting_.front();
    waiting_.pop_front();
    running_.push_back(job);
    lock.unlock();
    busy++;
    job->run();
    busy--;
    const int64_t bytes = job->bytes_of_arrays;
    lock.lock();
    // Under the lock, so that whoever asks for this job finds it running or done.
    if (!ending_) job->done();
    running_.erase(std::find(running_.begin(), running_.end(), job));
    last_end_ = std::chrono::steady_clock::now();
    left_bytes_ += bytes;
    is_done_.notify_all();
  }
}

// Until there is work, or the process ends. One of the threads that wait gives memory back in a pause of the queue.
void WorkQueue::wait(std::unique_lock<std::mutex>& lock) {
  const auto is_over = [this] { return ending_ || !waiting_.empty(); };
  idle_++;
  while (!is_over()) {
    if (left_bytes_ < kWorthASearch) {
      has_work_.wait(lock);
      continue;
    }
    const auto now = std::chrono::steady_clock::now();
    if (now < last_end_ + kPause) {
      has_work_.wait_until(lock, last_end_ + kPause);
    } else if (busy > 0) {
      has_work_.wait_until(lock, now + kPause);
    } else {
      give_back_memory(lock);
    }
  }
  idle_--;
}

void WorkQueue::give_back_memory(std::unique_lock<std::mutex>& lock) {
  left_bytes_ = 0;
  idle_--;
  lock.unlock();
  give_back_free_memory();
  lock.lock();
  idle_++;
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
