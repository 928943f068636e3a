#include "operations.h"

#include "array_calls.h"

namespace softmax_native::addon {
namespace {

template <class Call>
napi_value compute(napi_env env, napi_callback_info info) {
  CpuCall<Call> call;
  if (!call.read(env, info) || call.of.is_empty()) return nullptr;
  if (call.compute(nullptr) == cpu::Status::out_of_memory) return out_of_memory(env);
  return nullptr;
}

}  // namespace

napi_value softmax(napi_env env, napi_callback_info info) { return compute<SoftmaxCall>(env, info); }

napi_value row_max(napi_env env, napi_callback_info info) { return compute<RowMaxCall>(env, info); }

napi_value softmax_jacobian(napi_env env, napi_callback_info info) { return compute<JacobianCall>(env, info); }

}  // namespace softmax_native::addon
