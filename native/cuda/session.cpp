#include "session.h"

namespace softmax_native::cuda {
namespace {

// Streams that do not wait for the legacy default stream, on which other code may work.
Error make_stream(Device& device, cudaStream_t* stream) {
  if (*stream != nullptr) return {};
  return device.check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "making a CUDA stream");
}

Error make_event(Device& device, cudaEvent_t* event) {
  if (*event != nullptr) return {};
  return device.check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "making a CUDA event");
}

void destroy(cudaStream_t stream) {
  if (stream == nullptr) return;
  // The stream's memory must not be freed under its work. An error of that work concerns nobody any more.
  if (cudaStreamSynchronize(stream) != cudaSuccess) cudaGetLastError();
  if (cudaStreamDestroy(stream) != cudaSuccess) cudaGetLastError();
}

void destroy(cudaEvent_t event) {
  if (event != nullptr && cudaEventDestroy(event) != cudaSuccess) cudaGetLastError();
}

}  // namespace

Session::Session(Environment& of, Device& on) : environment(of), device(on), uploads(on, 0), downloads(on, 0) {}

Error Session::open() { return make_stream(device, &stream); }

Error Session::open_lanes() {
  RETURN_ERROR(make_stream(device, &lanes.upload));
  RETURN_ERROR(make_stream(device, &lanes.compute));
  RETURN_ERROR(make_stream(device, &lanes.download));
  RETURN_ERROR(make_event(device, &lanes.allocated));
  for (int slot = 0; slot < kSlots; slot++) {
    RETURN_ERROR(make_event(device, &lanes.uploaded[slot]));
    RETURN_ERROR(make_event(device, &lanes.computed[slot]));
    RETURN_ERROR(make_event(device, &lanes.downloaded[slot]));
  }
  return {};
}

Error Session::open_background() {
  if (background == nullptr) background = std::make_unique<Background>(device);
  return background->start();
}

Session::~Session() {
  if (cudaSetDevice(device.index) != cudaSuccess) cudaGetLastError();
  background.reset();
  destroy(stream);
  destroy(lanes.upload);
  destroy(lanes.compute);
  destroy(lanes.download);
  destroy(lanes.allocated);
  for (int slot = 0; slot < kSlots; slot++) {
    destroy(lanes.uploaded[slot]);
    destroy(lanes.computed[slot]);
    destroy(lanes.downloaded[slot]);
  }
  uploads.close();
  downloads.close();
}

void Session::give_back_after(cudaStream_t of) {
  // Without the thread the memory stays in the pool, until somebody needs it or the session ends.
  if (!open_background()) background->give_back_after(of);
}

void Session::await_downloads(const void* memory, int64_t bytes) {
  const auto* first = static_cast<const unsigned char*>(memory);
  for (const Job* job : jobs) {
    if (job->tensor == nullptr) continue;
    const auto* downloaded = static_cast<const unsigned char*>(job->tensor->pointer);
    if (first < downloaded + job->bytes && downloaded < first + bytes) background->wait_for(job->number);
  }
}

Error Environment::enter(int index, Session** session) {
  Device* device = nullptr;
  RETURN_ERROR(find_device(index, &device));
  const auto i = static_cast<size_t>(index);
  if (sessions_.size() <= i) sessions_.resize(i + 1);
  // Refused devices get no session.
  if (sessions_[i] == nullptr) {
    RETURN_ERROR(device->enter());
    sessions_[i] = std::make_unique<Session>(*this, *device);
  }
  *session = sessions_[i].get();
  return (*session)->enter();
}

Error Environment::enter_any(Device** device) {
  RETURN_ERROR(find_device(0, device));
  Error error;
  // To start another would take time and memory.
  for (const bool started : {true, false}) {
    for (Device* candidate : machine().devices) {
      if (candidate->started() != started) continue;
      *device = candidate;
      error = candidate->enter();
      if (!error) return {};
    }
  }
  return error;
}

void Environment::close_sessions() {
  if (sessions_.empty()) return;
  const CallersDevice callers;
  for (const auto& session : sessions_) {
    if (session == nullptr) continue;
    // Before the memory that its jobs read is freed.
    session->background.reset();
    if (cudaSetDevice(session->device.index) != cudaSuccess) cudaGetLastError();
    for (Tensor* tensor : tensors) {
      if (tensor->session != session.get() || !tensor->owned) continue;
      release(session->device, tensor->pointer, tensor->bytes, session->stream);
    }
  }
  abandon_handles();
  for (auto& session : sessions_) {
    if (session == nullptr) continue;
    Device& device = session->device;
    session.reset();  // which waits for its streams
    device.give_back_all();
  }
  sessions_.clear();
}

void Environment::abandon_handles() {
  for (const auto& session : sessions_) {
    if (session == nullptr) continue;
    for (Job* job : session->jobs) job->session = nullptr;
  }
  for (Tensor* tensor : tensors) {
    tensor->session = nullptr;
    tensor->disposed = true;
    if (tensor->dropped) delete tensor;
  }
  tensors.clear();
}

void Environment::end() {
  if (!process_ends()) return close_sessions();
  // A handler of exit() has stopped the threads, but for one that another thread of the process has started since: a
  // moment that no test can meet.
  for (const auto& session : sessions_) {
    if (session != nullptr && session->background != nullptr) session->background->stop();
  }
  abandon_handles();
  // The runtime and the driver take care of the rest. They are not called again, as they may be gone already.
  for (auto& session : sessions_) static_cast<void>(session.release());
}

Environment* begin_environment() { return new Environment; }

void end_environment(Environment& environment) { environment.end(); }

void delete_environment(Environment* environment) { delete environment; }

Error start(Environment& environment, int device) {
  const CallersDevice callers;
  Session* session = nullptr;
  return environment.enter(device, &session);
}

#ifdef SOFTMAX_EMULATED_CUDA
void forget_devices(Environment& environment) {
  environment.close_sessions();
  forget_machine();
}

Error free_memory(Environment& environment, int device, int64_t* bytes) {
  const CallersDevice callers;
  Session* session = nullptr;
  RETURN_ERROR(environment.enter(device, &session));
  size_t free_bytes = 0, all = 0;
  RETURN_ERROR(session->device.check(cudaMemGetInfo(&free_bytes, &all), "asking for the device's memory"));
  *bytes = static_cast<int64_t>(free_bytes);
  return {};
}
#endif

}  // namespace softmax_native::cuda
