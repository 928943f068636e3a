#include "cuda_environment.h"

#include <algorithm>
#include <string>

#include "arguments.h"
#include "errors.h"

namespace softmax_native::addon {
namespace {

// What the garbage collector is told of a tensor's memory, so that it looks for tensors that nobody disposes of before
// the device is full. No more than this for each, or it would stop the program for every one of a gigabyte.
constexpr int64_t kMostPressure = int64_t{8} << 20;

void add_pressure(napi_env env, const cuda::Tensor& tensor, int sign) {
  int64_t total;
  if (!tensor.owned) return;
  ignore(napi_adjust_external_memory(env, sign * std::min(tensor.bytes, kMostPressure), &total));
}

void drop_tensor(napi_env env, void* data, void*) {
  auto* tensor = static_cast<cuda::Tensor*>(data);
  if (!tensor->disposed) add_pressure(env, *tensor, -1);
  cuda::drop(tensor);
}

void free_page_locked(napi_env, void* memory, void*) { cuda::free_page_locked(memory); }

// `value` is a reference, as the call that makes it is an argument too.
bool set(napi_env env, napi_value object, const char* name, napi_status made, const napi_value& value) {
  return made == napi_ok && napi_set_named_property(env, object, name, value) == napi_ok;
}

}  // namespace

// Until it is settled, or else until the environment's end.
struct CudaEnvironment::Promise : cuda::Job {
  CudaEnvironment* owner;
  napi_deferred deferred;
  napi_ref array;  // null where there is none
};

bool CudaEnvironment::begin(napi_env env) {
  auto* self = new CudaEnvironment;
  const auto destroy = [](napi_env, void* data, void*) { delete static_cast<CudaEnvironment*>(data); };
  constexpr auto kFailed = "Could not keep the native state of this environment";
  if (napi_set_instance_data(env, self, destroy, nullptr) != napi_ok) {
    delete self;
    return not_made(env, kFailed);
  }
  return napi_add_env_cleanup_hook(env, end, self) == napi_ok ? true : not_made(env, kFailed);
}

CudaEnvironment& CudaEnvironment::of(napi_env env) {
  void* self = nullptr;
  ignore(napi_get_instance_data(env, &self));  // which begin() has set, or there would be no functions to call
  return *static_cast<CudaEnvironment*>(self);
}

CudaEnvironment::~CudaEnvironment() {
  for (Promise* promise : promises_) delete promise;
  cuda::delete_environment(environment_);
}

void CudaEnvironment::end(void* self) { cuda::end_environment(*static_cast<CudaEnvironment*>(self)->environment_); }

// The hooks of an environment's end are called last first: the thread that settles promises must have ended before what
// it calls is taken away.
napi_status CudaEnvironment::end_before_others(napi_env env) {
  const napi_status removed = napi_remove_env_cleanup_hook(env, end, this);
  return removed == napi_ok ? napi_add_env_cleanup_hook(env, end, this) : removed;
}

#ifdef SOFTMAX_EMULATED_CUDA
void CudaEnvironment::begin_anew() {
  end(this);
  cuda::delete_environment(environment_);
  environment_ = cuda::begin_environment();
}
#endif

napi_value CudaEnvironment::handle_of(napi_env env, cuda::Tensor* tensor) {
  napi_value handle = nullptr;
  if (napi_create_external(env, tensor, drop_tensor, nullptr, &handle) != napi_ok) {
    cuda::drop(tensor);
    return not_made(env, "Could not make a handle of device memory");
  }
  add_pressure(env, *tensor, 1);
  return handle;
}

cuda::Tensor* CudaEnvironment::tensor_of(napi_env env, napi_value handle) const {
  void* data = nullptr;
  if (napi_get_value_external(env, handle, &data) != napi_ok) return nullptr;
  return cuda::find_tensor(*environment_, data);
}

void CudaEnvironment::free(napi_env env, cuda::Tensor& tensor) {
  if (tensor.disposed) return;
  add_pressure(env, tensor, -1);
  cuda::free(tensor);
}

napi_status CudaEnvironment::page_locked_buffer(napi_env env, void* memory, int64_t bytes, napi_value* buffer) {
  const napi_status status = napi_create_external_arraybuffer(env, memory, static_cast<size_t>(bytes),
                                                              addon::free_page_locked, nullptr, buffer);
  if (status == napi_no_external_buffers_allowed) cuda::free_page_locked(memory);  // which else Node does
  return status;
}

napi_status CudaEnvironment::open_completions(napi_env env) {
  if (completions_ != nullptr) return napi_ok;
  napi_value name;
  napi_status status = napi_create_string_utf8(env, "softmax-native", NAPI_AUTO_LENGTH, &name);
  if (status == napi_ok) {
    status = napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, complete,
                                             &completions_);
  }
  if (status == napi_ok) status = end_before_others(env);
  // Only a promise that is not settled keeps the process alive.
  return status == napi_ok ? napi_unref_threadsafe_function(env, completions_) : status;
}

napi_value CudaEnvironment::promise(napi_env env, int device, cuda::Tensor* tensor, napi_value array, void* data,
                                    int64_t bytes) {
  // The array must not be collected while the other thread writes to it.
  napi_ref kept = nullptr;
  napi_deferred deferred;
  napi_value result;
  if (open_completions(env) != napi_ok ||
      (array != nullptr && napi_create_reference(env, array, 1, &kept) != napi_ok) ||
      napi_create_promise(env, &deferred, &result) != napi_ok) {
    if (kept != nullptr) ignore(napi_delete_reference(env, kept));
    return not_made(env, "Could not make a promise");
  }
  auto* promise = new Promise;
  promise->tensor = tensor;
  promise->array = kept;
  promise->cuda::Job::array = data;
  promise->bytes = bytes;
  promise->owner = this;
  promise->deferred = deferred;
  promise->done = [](cuda::Job* job) {
    auto* done = static_cast<Promise*>(job);
    // Refused only when the environment ends, and then nobody waits for it.
    ignore(napi_call_threadsafe_function(done->owner->completions_, done, napi_tsfn_nonblocking));
  };
  // It only counts for how long the process goes on, and so do its errors.
  if (promises_.empty()) ignore(napi_ref_threadsafe_function(env, completions_));
  promises_.insert(promise);
  if (cuda::Error error = cuda::begin(*environment_, device, promise)) {
    promise->error = std::move(error);
    complete(env, nullptr, this, promise);
  }
  return result;
}

void CudaEnvironment::complete(napi_env env, napi_value, void* data, void* job) {
  if (env == nullptr) return;
  auto* self = static_cast<CudaEnvironment*>(data);
  auto* promise = static_cast<Promise*>(job);
  cuda::finish(promise);
  if (promise->array != nullptr) ignore(napi_delete_reference(env, promise->array));
  napi_value nothing = nullptr;
  const bool settled = promise->error
                           ? napi_reject_deferred(env, promise->deferred, error_object(env, promise->error)) == napi_ok
                           : napi_get_undefined(env, &nothing) == napi_ok &&
                                 napi_resolve_deferred(env, promise->deferred, nothing) == napi_ok;
  // Refused only where no JavaScript can run any more, and then nobody waits for it.
  static_cast<void>(settled);
  self->promises_.erase(promise);
  delete promise;
  if (self->promises_.empty()) ignore(napi_unref_threadsafe_function(env, self->completions_));
}

napi_value error_object(napi_env env, const cuda::Error& error) {
  const bool absent = error.code == cuda::kAbsent;
  const std::string message = cuda::message_of(error), name = absent ? "" : cuda::error_name(error.code);
  napi_value code, text, value, object = nullptr;
  const bool made =
      napi_create_string_utf8(env, absent ? "ERR_CUDA_UNAVAILABLE" : "ERR_CUDA", NAPI_AUTO_LENGTH, &code) == napi_ok &&
      napi_create_string_utf8(env, message.data(), message.size(), &text) == napi_ok &&
      napi_create_error(env, code, text, &object) == napi_ok &&
      (absent || (set(env, object, "cudaCode", napi_create_int32(env, error.code, &value), value) &&
                  set(env, object, "cudaName", napi_create_string_utf8(env, name.data(), name.size(), &value), value) &&
                  set(env, object, "wroteNothing", napi_get_boolean(env, error.wrote_nothing, &value), value)));
  return made ? object : nullptr;
}

napi_value cuda_failure(napi_env env, const cuda::Error& error) {
  const napi_value object = error_object(env, error);
  if (object == nullptr || napi_throw(env, object) != napi_ok) {
    return not_made(env, "A call of CUDA failed, and no error could be made to say how");
  }
  return nullptr;
}

}  // namespace softmax_native::addon
