#include "operations.h"

#include "array_calls.h"
#include "cpu/cpu.h"

namespace softmax_native::addon {
namespace {

// Calls `operation` with x's memory as a pointer to what it holds.
template <class Operation>
napi_value run(napi_env env, const View& x, Operation operation) {
  const cpu::Status status =
      x.type == napi_float32_array ? operation(static_cast<float*>(x.data)) : operation(static_cast<double*>(x.data));
  if (status == cpu::Status::out_of_memory) return out_of_memory(env);
  return nullptr;
}

constexpr auto kExpectedThreads = "Expected an integer of at least 1 for threads but received another value";

}  // namespace

napi_value softmax(napi_env env, napi_callback_info info) {
  const Arguments<7> arguments(env, info);
  SoftmaxCall call;
  int threads;
  if (!read_softmax(env, arguments.value, &call)) return nullptr;
  if (!read_threads(env, arguments[5], &threads)) return out_of_range(env, kExpectedThreads);
  const Sizes& sizes = call.sizes;
  if (sizes.count == 0) return nullptr;
  return run(env, call.x, [&](auto* logits) {
    return cpu::softmax(logits, static_cast<decltype(logits)>(call.out.data), {sizes.outer, sizes.k, sizes.inner},
                        threads, is_true(env, arguments[6]));
  });
}

napi_value row_max(napi_env env, napi_callback_info info) {
  const Arguments<7> arguments(env, info);
  RowMaxCall call;
  int threads;
  if (!read_row_max(env, arguments.value, &call)) return nullptr;
  if (!read_threads(env, arguments[6], &threads)) return out_of_range(env, kExpectedThreads);
  const Sizes& sizes = call.sizes;
  if (sizes.rows == 0) return nullptr;
  return run(env, call.x, [&](auto* logits) {
    return cpu::row_max(logits, static_cast<decltype(logits)>(call.max.data), static_cast<int32_t*>(call.argmax.data),
                        {sizes.outer, sizes.k, sizes.inner}, threads);
  });
}

napi_value softmax_jacobian(napi_env env, napi_callback_info info) {
  const Arguments<6> arguments(env, info);
  JacobianCall call;
  int threads;
  if (!read_jacobian(env, arguments.value, &call)) return nullptr;
  if (!read_threads(env, arguments[4], &threads)) return out_of_range(env, kExpectedThreads);
  const JacobianSizes& sizes = call.sizes;
  if (sizes.entries == 0) return nullptr;
  return run(env, call.x, [&](auto* logits) {
    return cpu::softmax_jacobian(logits, static_cast<decltype(logits)>(call.out.data), sizes.rows, sizes.k, threads,
                                 is_true(env, arguments[5]));
  });
}

}  // namespace softmax_native::addon
