// What the addon keeps for one JavaScript environment about the GPUs: handles of tensors, promises, and the end.
#pragma once

#include <node_api.h>

#include <unordered_set>

#include "cuda/cuda.h"

namespace softmax_native::addon {

class CudaEnvironment {
 public:
  // Makes it the environment's instance data. False with an exception pending.
  static bool begin(napi_env env);
  static CudaEnvironment& of(napi_env env);

  cuda::Environment& operator*() const { return *environment_; }

  // A handle that owns the tensor, null with an exception pending.
  napi_value handle_of(napi_env env, cuda::Tensor* tensor);
  // Null where the value is no handle of this environment.
  cuda::Tensor* tensor_of(napi_env env, napi_value handle) const;
  void free(napi_env env, cuda::Tensor& tensor);

  // A promise that is kept when the tensor's bytes are in `array`, whose memory is at `data`; without a tensor, at the end
  // of the work enqueued so far. Null with an exception pending.
  napi_value promise(napi_env env, int device, cuda::Tensor* tensor, napi_value array, void* data, int64_t bytes);

#ifdef SOFTMAX_EMULATED_CUDA
  // For tests: the end of the environment, as far as the GPUs notice it, and the beginning of another in the same thread.
  void begin_anew();
#endif

  // An ArrayBuffer over page-locked memory, which it owns.
  napi_status page_locked_buffer(napi_env env, void* memory, int64_t bytes, napi_value* buffer);

 private:
  struct Promise;

  CudaEnvironment() : environment_(cuda::begin_environment()) {}
  ~CudaEnvironment();

  static void end(void* self);
  napi_status end_before_others(napi_env env);
  napi_status open_completions(napi_env env);
  static void complete(napi_env env, napi_value, void* self, void* promise);

  cuda::Environment* environment_;
  napi_threadsafe_function completions_ = nullptr;
  std::unordered_set<Promise*> promises_;
};

// The JavaScript error of a CUDA error: code 'ERR_CUDA', cudaCode, cudaName and wroteNothing; or that there is no CUDA in
// this build. Null where none can be made.
napi_value error_object(napi_env env, const cuda::Error& error);
// Throws it.
napi_value cuda_failure(napi_env env, const cuda::Error& error);

}  // namespace softmax_native::addon
