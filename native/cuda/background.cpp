#include "background.h"

#include <cstdlib>
#include <set>
#include <system_error>

#include "memory.h"

namespace softmax_native::cuda {
namespace {

// The threads that run. process.exit() ends the process without telling the environments of the main thread, so that
// the threads are ended by a handler of exit(): registered after those of the CUDA runtime, it is called before them.
struct Running {
  std::mutex mutex;
  std::set<Background*> all;
};
Running& running() {
  static auto* threads = new Running;
  return *threads;
}

void end_threads() {
  const std::lock_guard<std::mutex> lock(running().mutex);
  for (Background* background : running().all) background->stop();
}

}  // namespace

Background::Background(Device& device) : device_(device), staging_(device, cudaEventBlockingSync) {}

Background::~Background() {
  {
    const std::lock_guard<std::mutex> lock(running().mutex);
    running().all.erase(this);
  }
  stop();
  if (stream_ != nullptr) {
    if (cudaStreamSynchronize(stream_) != cudaSuccess) cudaGetLastError();
    if (cudaStreamDestroy(stream_) != cudaSuccess) cudaGetLastError();
  }
  for (const Entry& entry : waiting_) {
    if (cudaEventDestroy(entry.after) != cudaSuccess) cudaGetLastError();
  }
  staging_.close();
}

Error Background::start() {
  if (thread_.joinable()) return {};
  if (stream_ == nullptr) {
    RETURN_ERROR(device_.check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a CUDA stream"));
  }
  static const int registered = std::atexit(end_threads);
  static_cast<void>(registered);
  const std::lock_guard<std::mutex> lock(running().mutex);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    return {cudaErrorOperatingSystem, "starting a thread"};
  }
  running().all.insert(this);
  return {};
}

Error Background::submit(Job* job, cudaStream_t stream) {
  cudaEvent_t after = nullptr;
  RETURN_ERROR(device_.check(cudaEventCreateWithFlags(&after, cudaEventDisableTiming | cudaEventBlockingSync),
                             "making a CUDA event"));
  if (Error error = device_.check(cudaEventRecord(after, stream), "recording a CUDA event")) {
    if (cudaEventDestroy(after) != cudaSuccess) cudaGetLastError();
    return error;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    job->number = ++begun_;
    waiting_.push_back({job, after});
  }
  changed_.notify_all();
  return {};
}

void Background::wait_for(uint64_t number) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return done_ >= number || stopping_; });
}

void Background::stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Background::run() {
  if (cudaSetDevice(device_.index) != cudaSuccess) cudaGetLastError();  // what follows then fails and says so
  while (true) {
    Entry entry;
    const bool found = next(&entry);
    if (stopping_) return;
    if (!found) {
      give_back();
      continue;
    }
    Error error = perform(entry);
    if (cudaEventDestroy(entry.after) != cudaSuccess) cudaGetLastError();
    if (stopping_) return;
    entry.job->error = std::move(error);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      done_ = entry.job->number;
    }
    changed_.notify_all();
    entry.job->done(entry.job);
  }
}

bool Background::next(Entry* entry) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_ && Clock::now() < look_) {
    if (!waiting_.empty()) {
      *entry = waiting_.front();
      waiting_.pop_front();
      return true;
    }
    if (look_ == Clock::time_point::max()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, look_);
    }
  }
  return false;
}

void Background::give_back_after(cudaStream_t stream) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    released_in_.insert(stream);
    if (look_ != Clock::time_point::max()) return;
    look_ = Clock::now() + kGiveBackPeriod;
  }
  changed_.notify_all();
}

void Background::give_back() {
  std::set<cudaStream_t> streams;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    streams.swap(released_in_);
    look_ = Clock::time_point::max();
  }
  bool busy = false;
  for (cudaStream_t stream : streams) {
    // An error is left to whoever waits for the stream's work.
    const cudaError_t status = cudaStreamQuery(stream);
    if (status != cudaSuccess) cudaGetLastError();
    busy = busy || status == cudaErrorNotReady;
  }
  if (!busy && !device_.give_back()) return;
  for (cudaStream_t stream : streams) give_back_after(stream);
}

Error Background::perform(const Entry& entry) {
  const Job& job = *entry.job;
  if (job.tensor == nullptr) {
    return device_.check(cudaEventSynchronize(entry.after), "waiting for the work on the device");
  }
  Error error = device_.check(cudaStreamWaitEvent(stream_, entry.after, 0), "waiting for the work on the device");
  auto* array = static_cast<unsigned char*>(job.array);
  const auto* memory = static_cast<const unsigned char*>(job.tensor->pointer);
  for (int64_t first = 0; first < job.bytes && !error && !stopping_; first += Staging::kPieceBytes) {
    const int64_t bytes = job.bytes - first < Staging::kPieceBytes ? job.bytes - first : Staging::kPieceBytes;
    error = staging_.download(flat_region(array + first, bytes, false), memory + first, stream_);
  }
  if (!error && !stopping_) error = staging_.finish();
  if (error || stopping_) {
    // No copy may be under way into pieces that are used again.
    if (error && cudaStreamSynchronize(stream_) != cudaSuccess) cudaGetLastError();
    staging_.discard();
  }
  return error;
}

}  // namespace softmax_native::cuda
