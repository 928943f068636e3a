// The native calls, as Node-API callbacks. lib/ checks what the caller passed and explains it; these check again
// whatever the memory's safety rests on, before anything is written, and find overlapping memory by its address.
#pragma once

#include <node_api.h>

namespace softmax_native::addon {

// softmax(x, out, outer, k, inner, threads); out may be exactly x.
napi_value softmax(napi_env env, napi_callback_info info);

// rowMax(x, max, argmax | undefined, outer, k, inner, threads)
napi_value row_max(napi_env env, napi_callback_info info);

// softmaxJacobian(x, out, rows, k, threads)
napi_value softmax_jacobian(napi_env env, napi_callback_info info);

}  // namespace softmax_native::addon
