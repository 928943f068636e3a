// Tensors: memory on a device that JavaScript holds handles of, and the operations that are enqueued on it.
#include "launch.h"
#include "session.h"

namespace softmax_native::cuda {
namespace {

template <class T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.pointer);
}

template <class T>
constexpr auto bytes_of(int64_t count) {
  return count * static_cast<int64_t>(sizeof(T));
}

Tensor* add_tensor(Session& session, void* pointer, int64_t bytes, bool owned) {
  auto* tensor = new Tensor{&session, session.device.index, pointer, bytes, owned, false, false, 0};
  session.environment.tensors.insert(tensor);
  return tensor;
}

// Not in the middle of the copies that an error leaves behind.
Error abandon(Session& session, Staging& staging, Error error) {
  if (cudaStreamSynchronize(session.stream) != cudaSuccess) cudaGetLastError();
  staging.discard();
  return error;
}

void release_memory(Tensor& tensor) {
  if (!tensor.owned || tensor.session == nullptr || process_ends()) return;
  Device& device = tensor.session->device;
  const CallersDevice callers;
  // Also on a broken device: whatever the runtime still does about it, nobody else will ask it to.
  if (cudaSetDevice(device.index) != cudaSuccess) cudaGetLastError();
  Session& session = *tensor.session;
  if (release(device, tensor.pointer, tensor.bytes, session.stream)) session.give_back_after(session.stream);
  tensor.pointer = nullptr;
}

}  // namespace

Error allocate(Environment& environment, int device, int64_t bytes, Tensor** tensor) {
  const CallersDevice callers;
  Session* session = nullptr;
  RETURN_ERROR(environment.enter(device, &session));
  void* memory = nullptr;
  RETURN_ERROR(allocate(session->device, bytes, session->stream, &memory));
  *tensor = add_tensor(*session, memory, bytes, true);
  return {};
}

Error from_pointer(Environment& environment, int device, uint64_t pointer, int64_t bytes, Tensor** tensor) {
  const CallersDevice callers;
  Session* session = nullptr;
  RETURN_ERROR(environment.enter(device, &session));
  auto* memory = reinterpret_cast<void*>(static_cast<uintptr_t>(pointer));
  if (bytes > 0) {
    cudaPointerAttributes attributes{};
    RETURN_ERROR(session->device.check(cudaPointerGetAttributes(&attributes, memory), "looking at a pointer"));
    const bool on_device = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
    if (!on_device || attributes.device != device) {
      return {cudaErrorInvalidDevicePointer,
              "taking a pointer that is not memory of CUDA device " + std::to_string(device)};
    }
  }
  *tensor = add_tensor(*session, memory, bytes, false);
  return {};
}

Tensor* find_tensor(Environment& environment, const void* handle) {
  // The address is looked up before it is followed: it may be that of another addon's object.
  auto* tensor = static_cast<Tensor*>(const_cast<void*>(handle));
  return environment.tensors.count(tensor) != 0 ? tensor : nullptr;
}

void free(Tensor& tensor) {
  if (tensor.disposed) return;
  tensor.disposed = true;
  if (tensor.jobs == 0) release_memory(tensor);
}

void drop(Tensor* tensor) {
  if (tensor->session != nullptr) {
    free(*tensor);
    if (tensor->jobs > 0) {
      tensor->dropped = true;
      return;
    }
    tensor->session->environment.tensors.erase(tensor);
  }
  delete tensor;
}

Error upload(Tensor& tensor, const void* array, int64_t bytes) {
  const CallersDevice callers;
  Session& session = *tensor.session;
  RETURN_ERROR(session.enter());
  session.await_downloads(tensor.pointer, bytes);
  // What fits the pieces need not wait for the stream.
  const bool direct = bytes > Staging::kBytes && is_page_locked(array, bytes);
  Error error = copy_to_device(session.device, session.uploads, flat_region(array, bytes, direct), tensor.pointer,
                               session.stream);
  if (!error && direct) error = session.device.check(cudaStreamSynchronize(session.stream), "copying to the device");
  return error ? abandon(session, session.uploads, std::move(error)) : error;
}

Error download(Tensor& tensor, void* array, int64_t bytes) {
  const CallersDevice callers;
  Session& session = *tensor.session;
  RETURN_ERROR(session.enter());
  const bool direct = is_page_locked(array, bytes);
  Error error = copy_from_device(session.device, session.downloads, flat_region(array, bytes, direct), tensor.pointer,
                                 session.stream);
  if (!error && direct) error = session.device.check(cudaStreamSynchronize(session.stream), "copying from the device");
  if (!error) error = session.downloads.finish();
  return error ? abandon(session, session.downloads, std::move(error)) : error;
}

template <class T>
Error softmax(Tensor& x, Tensor& out, Layout layout) {
  const CallersDevice callers;
  Session& session = *x.session;
  Device& device = session.device;
  RETURN_ERROR(session.enter());
  session.await_downloads(out.pointer, bytes_of<T>(layout.outer * layout.k * layout.inner));
  const int64_t bytes = softmax_workspace<T>(layout, device.properties);
  return with_workspace(device, bytes, session.stream, [&](void* workspace) {
    return device.check(softmax(data<const T>(x), data<T>(out), layout, device.properties, workspace, session.stream),
                        "launching softmax");
  });
}

template <class T>
Error row_max(Tensor& x, Tensor& max, Tensor* argmax, Layout layout) {
  const CallersDevice callers;
  Session& session = *x.session;
  Device& device = session.device;
  RETURN_ERROR(session.enter());
  const int64_t rows = layout.outer * layout.inner;
  session.await_downloads(max.pointer, bytes_of<T>(rows));
  if (argmax != nullptr) session.await_downloads(argmax->pointer, bytes_of<int32_t>(rows));
  const int64_t bytes = row_max_workspace<T>(layout, device.properties);
  return with_workspace(device, bytes, session.stream, [&](void* workspace) {
    return device.check(row_max(data<const T>(x), data<T>(max), argmax == nullptr ? nullptr : data<int32_t>(*argmax),
                                layout, device.properties, workspace, session.stream),
                        "launching rowMax");
  });
}

template <class T>
Error softmax_jacobian(Tensor& x, Tensor& out, int64_t rows, int64_t k) {
  const CallersDevice callers;
  Session& session = *x.session;
  Device& device = session.device;
  RETURN_ERROR(session.enter());
  session.await_downloads(out.pointer, bytes_of<T>(rows * k * k));
  const int64_t bytes = jacobian_workspace<T>(rows, k, device.properties);
  return with_workspace(device, bytes, session.stream, [&](void* workspace) {
    return device.check(jacobian(data<const T>(x), data<T>(out), rows, k, device.properties, workspace, session.stream),
                        "launching softmaxJacobian");
  });
}

Error begin(Environment& environment, int device, Job* job) {
  const CallersDevice callers;
  job->session = nullptr;
  Session* session = nullptr;
  RETURN_ERROR(environment.enter(device, &session));
  RETURN_ERROR(session->open_background());
  RETURN_ERROR(session->background->submit(job, session->stream));
  job->session = session;
  session->jobs.push_back(job);
  if (job->tensor != nullptr) job->tensor->jobs++;
  return {};
}

void finish(Job* job) {
  if (job->session == nullptr) return;
  std::vector<Job*>& jobs = job->session->jobs;
  for (size_t i = 0; i < jobs.size(); i++) {
    if (jobs[i] == job) {
      jobs.erase(jobs.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
  }
  Tensor* tensor = job->tensor;
  if (tensor == nullptr || --tensor->jobs > 0) return;
  if (tensor->disposed) release_memory(*tensor);
  if (tensor->dropped) {
    tensor->session->environment.tensors.erase(tensor);
    delete tensor;
  }
}

template Error softmax<float>(Tensor&, Tensor&, Layout);
template Error softmax<double>(Tensor&, Tensor&, Layout);
template Error row_max<float>(Tensor&, Tensor&, Tensor*, Layout);
template Error row_max<double>(Tensor&, Tensor&, Tensor*, Layout);
template Error softmax_jacobian<float>(Tensor&, Tensor&, int64_t, int64_t);
template Error softmax_jacobian<double>(Tensor&, Tensor&, int64_t, int64_t);

}  // namespace softmax_native::cuda
