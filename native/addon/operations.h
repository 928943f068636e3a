// The operations on the CPU, as Node-API callbacks.
#pragma once

#include <node_api.h>

namespace softmax_native::addon {

// softmax(x, out, outer, k, inner, threads, isNew); out may be exactly x.
napi_value softmax(napi_env env, napi_callback_info info);

// rowMax(x, max, argmax | undefined, outer, k, inner, threads)
napi_value row_max(napi_env env, napi_callback_info info);

// softmaxJacobian(x, out, rows, k, threads, isNew)
napi_value softmax_jacobian(napi_env env, napi_callback_info info);

}  // namespace softmax_native::addon
